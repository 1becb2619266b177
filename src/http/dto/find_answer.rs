//! The answer to a batch find. It is joined from instances whose JSON exists already. The size of the answer is computed before
//! it is joined: until then, equal elements share their instances, and in the joined answer each element has a copy of them.

use super::error::ErrorBody;
use crate::domain::json;
use crate::error::Error;

/// The instances of one element, as JSON.
pub trait ReadyInstances {
    /// The number of bytes that [`Self::write`] appends: the instances with commas between them. 0 if there are none.
    fn size(&self) -> usize;
    fn write(&self, out: &mut Vec<u8>);
}

/// The answer to a batch find: a part for each list of the request that is not empty.
#[derive(Clone, Debug)]
pub struct BatchFindAnswer<I> {
    pub services: Option<BatchFindResult<I>>,
    pub instances: Option<BatchFindResult<I>>,
}

/// The results for the elements of one list. An element is named by its index in the request.
#[derive(Clone, Debug)]
pub struct BatchFindResult<I> {
    failed: Vec<FailedElements>,
    not_modified: Vec<usize>,
    updated: Vec<UpdatedElement<I>>,
}

#[derive(Clone, Debug)]
struct FailedElements {
    indexes: Vec<usize>,
    error: Error,
}

#[derive(Clone, Debug)]
struct UpdatedElement<I> {
    index: usize,
    revision: String,
    instances: I,
}

/// The text of an answer without the instances, and the positions where they belong.
#[derive(Debug)]
pub struct Outline<'a, I> {
    text: Vec<u8>,
    gaps: Vec<(usize, &'a I)>,
}

impl<I> Default for BatchFindResult<I> {
    fn default() -> Self {
        Self { failed: Vec::new(), not_modified: Vec::new(), updated: Vec::new() }
    }
}

impl<I> BatchFindResult<I> {
    /// Adds an element that failed. Elements with the same error code share an entry, which has the error of the first one.
    pub fn add_failed(&mut self, index: usize, error: Error) {
        match self.failed.iter_mut().find(|failed| failed.error.code == error.code) {
            Some(failed) => failed.indexes.push(index),
            None => self.failed.push(FailedElements { indexes: vec![index], error }),
        }
    }

    /// Adds an element whose revision the client has already.
    pub fn add_not_modified(&mut self, index: usize) {
        self.not_modified.push(index);
    }

    /// Adds an element whose revision the client does not have.
    pub fn add_updated(&mut self, index: usize, revision: String, instances: I) {
        self.updated.push(UpdatedElement { index, revision, instances });
    }
}

impl<I: ReadyInstances> BatchFindAnswer<I> {
    pub fn outline(&self) -> Outline<'_, I> {
        let mut outline = Outline { text: Vec::with_capacity(1024), gaps: Vec::new() };
        let mut members = ObjectWriter::default();
        if let Some(part) = &self.services {
            members.begin("services", &mut outline.text);
            part.write(&mut outline);
        }
        if let Some(part) = &self.instances {
            members.begin("instances", &mut outline.text);
            part.write(&mut outline);
        }
        members.end(&mut outline.text);
        outline
    }
}

impl<I: ReadyInstances> Outline<'_, I> {
    /// The size of the whole answer in bytes.
    pub fn size(&self) -> usize {
        let instances = self.gaps.iter().map(|(_, instances)| instances.size());
        instances.fold(self.text.len(), usize::saturating_add)
    }

    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        let mut written = 0;
        for (at, instances) in &self.gaps {
            out.extend_from_slice(self.text.get(written..*at).unwrap_or_default());
            instances.write(&mut out);
            written = *at;
        }
        out.extend_from_slice(self.text.get(written..).unwrap_or_default());
        out
    }
}

impl<I: ReadyInstances> BatchFindResult<I> {
    fn write<'a>(&'a self, outline: &mut Outline<'a, I>) {
        let mut members = ObjectWriter::default();
        if !self.failed.is_empty() {
            members.begin("failed", &mut outline.text);
            write_list(outline, &self.failed, |failed, outline| failed.write(&mut outline.text));
        }
        if !self.not_modified.is_empty() {
            members.begin("notModified", &mut outline.text);
            json::encode_into(&self.not_modified, &mut outline.text);
        }
        if !self.updated.is_empty() {
            members.begin("updated", &mut outline.text);
            write_list(outline, &self.updated, UpdatedElement::write);
        }
        members.end(&mut outline.text);
    }
}

impl FailedElements {
    fn write(&self, out: &mut Vec<u8>) {
        let mut members = ObjectWriter::default();
        members.begin("indexes", out);
        json::encode_into(&self.indexes, out);
        members.begin("error", out);
        json::encode_into(&ErrorBody::of_element(&self.error), out);
        members.end(out);
    }
}

impl<I: ReadyInstances> UpdatedElement<I> {
    fn write<'a>(&'a self, outline: &mut Outline<'a, I>) {
        let (mut members, out) = (ObjectWriter::default(), &mut outline.text);
        members.begin("index", out);
        json::encode_into(&self.index, out);
        members.begin("rev", out);
        json::encode_into(&self.revision, out);
        if self.instances.size() > 0 {
            members.begin("instances", out);
            out.push(b'[');
            outline.gaps.push((out.len(), &self.instances));
            out.push(b']');
        }
        members.end(out);
    }
}

/// Writes a JSON object member by member, so that JSON that exists already can be inserted as a value.
#[derive(Default)]
struct ObjectWriter {
    is_open: bool,
}

impl ObjectWriter {
    /// Starts a member. The caller then writes its value.
    fn begin(&mut self, name: &str, out: &mut Vec<u8>) {
        out.push(if self.is_open { b',' } else { b'{' });
        self.is_open = true;
        json::encode_into(&name, out);
        out.push(b':');
    }

    fn end(self, out: &mut Vec<u8>) {
        if !self.is_open {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

fn write_list<'a, I, T>(
    outline: &mut Outline<'a, I>,
    elements: &'a [T],
    write: impl Fn(&'a T, &mut Outline<'a, I>),
) {
    outline.text.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            outline.text.push(b',');
        }
        write(element, outline);
    }
    outline.text.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    impl ReadyInstances for &str {
        fn size(&self) -> usize {
            self.len()
        }

        fn write(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(self.as_bytes());
        }
    }

    fn check(answer: &BatchFindAnswer<&str>, expected: &str) {
        let outline = answer.outline();
        assert_eq!(String::from_utf8_lossy(&outline.to_json()), expected);
        assert_eq!(outline.size(), expected.len());
    }

    fn missing(code: Code) -> Error {
        Error::new(code, "a <b>")
    }

    #[test]
    fn bytes() {
        let mut services = BatchFindResult::default();
        services.add_updated(0, "r1".to_owned(), r#"{"a":1},{}"#);
        services.add_failed(1, missing(Code::ServiceNotExists));
        services.add_not_modified(2);
        services.add_updated(3, "r2".to_owned(), "");
        services.add_failed(4, Error::new(Code::ServiceNotExists, "another"));
        services.add_failed(5, missing(Code::InstanceNotExists));
        services.add_updated(6, "r3".to_owned(), "{}");
        let answer = BatchFindAnswer { services: Some(services), instances: None };
        let error = |code: &str, message: &str| {
            format!(
                r#"{{"errorCode":"{code}","errorMessage":"{message}","detail":"{message}(a \u003cb\u003e)"}}"#
            )
        };
        check(
            &answer,
            &format!(
                r#"{{"services":{{"failed":[{{"indexes":[1,4],"error":{}}},{{"indexes":[5],"error":{}}}],"notModified":[2],"updated":[{{"index":0,"rev":"r1","instances":[{{"a":1}},{{}}]}},{{"index":3,"rev":"r2"}},{{"index":6,"rev":"r3","instances":[{{}}]}}]}}}}"#,
                error("400012", "Micro-service does not exist"),
                error("400017", "Instance does not exist"),
            ),
        );
    }

    #[test]
    fn parts() {
        check(&BatchFindAnswer { services: None, instances: None }, "{}");
        let mut part = BatchFindResult::default();
        part.add_not_modified(0);
        let answer = BatchFindAnswer { services: Some(BatchFindResult::default()), instances: Some(part) };
        check(&answer, r#"{"services":{},"instances":{"notModified":[0]}}"#);
    }
}
