//! The answer to a batch find, joined from instances that are JSON already.

use bytes::Bytes;

use super::error::ErrorBody;
use crate::domain::json;
use crate::error::Error;

/// Answer to a batch find: a part for each list of the body that asked for something.
#[derive(Clone, Debug, Default)]
pub struct BatchFindAnswer {
    /// Of the services.
    pub services: Option<BatchFindResult>,
    /// Of the instances.
    pub instances: Option<BatchFindResult>,
}

/// What became of the elements of one list; an element is named by its index in the body.
#[derive(Clone, Debug, Default)]
pub struct BatchFindResult {
    failed: Vec<Failed>,
    not_modified: Vec<usize>,
    updated: Vec<Updated>,
}

#[derive(Clone, Debug)]
struct Failed {
    indexes: Vec<usize>,
    error: Error,
}

#[derive(Clone, Debug)]
struct Updated {
    index: usize,
    revision: String,
    instances: Vec<Bytes>,
}

impl BatchFindResult {
    /// An element failed. Elements with one code share an entry, which shows the error of the first.
    pub fn add_failed(&mut self, index: usize, error: Error) {
        match self.failed.iter_mut().find(|failed| failed.error.code == error.code) {
            Some(failed) => failed.indexes.push(index),
            None => self.failed.push(Failed { indexes: vec![index], error }),
        }
    }

    /// An element has the revision the client has.
    pub fn add_not_modified(&mut self, index: usize) {
        self.not_modified.push(index);
    }

    /// An element has another revision, and these instances, each the JSON of one.
    pub fn add_updated(&mut self, index: usize, revision: String, instances: Vec<Bytes>) {
        self.updated.push(Updated { index, revision, instances });
    }
}

impl BatchFindAnswer {
    /// The answer's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let parts = || [&self.services, &self.instances].into_iter().flatten();
        let instances = parts().flat_map(|part| &part.updated).flat_map(|updated| &updated.instances);
        let size: usize = instances.map(|instance| instance.len() + 1).sum();
        let mut out = Vec::with_capacity(size + 1024);
        let mut answer = ObjectWriter::new(&mut out);
        if let Some(part) = &self.services {
            part.write(answer.member("services"));
        }
        if let Some(part) = &self.instances {
            part.write(answer.member("instances"));
        }
        answer.end();
        out
    }
}

impl BatchFindResult {
    fn write(&self, out: &mut Vec<u8>) {
        let mut result = ObjectWriter::new(out);
        if !self.failed.is_empty() {
            write_list(result.member("failed"), &self.failed, Failed::write);
        }
        if !self.not_modified.is_empty() {
            json::encode_into(&self.not_modified, result.member("notModified"));
        }
        if !self.updated.is_empty() {
            write_list(result.member("updated"), &self.updated, Updated::write);
        }
        result.end();
    }
}

impl Failed {
    fn write(&self, out: &mut Vec<u8>) {
        let mut failed = ObjectWriter::new(out);
        json::encode_into(&self.indexes, failed.member("indexes"));
        json::encode_into(&ErrorBody::of_element(&self.error), failed.member("error"));
        failed.end();
    }
}

impl Updated {
    fn write(&self, out: &mut Vec<u8>) {
        let mut updated = ObjectWriter::new(out);
        json::encode_into(&self.index, updated.member("index"));
        json::encode_into(&self.revision, updated.member("rev"));
        if !self.instances.is_empty() {
            let write = |instance: &Bytes, out: &mut Vec<u8>| out.extend_from_slice(instance);
            write_list(updated.member("instances"), &self.instances, write);
        }
        updated.end();
    }
}

/// Writes an object member by member, so that ready JSON can be put between.
struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    before: u8,
}

impl<'a> ObjectWriter<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Starts a member; its value is to be written to what is returned.
    fn member(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.push(self.before);
        self.before = b',';
        json::encode_into(&name, self.out);
        self.out.push(b':');
        self.out
    }

    fn end(self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

fn write_list<T>(out: &mut Vec<u8>, elements: &[T], write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn check(answer: &BatchFindAnswer, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&answer.to_json()), expected);
    }

    fn missing(code: Code) -> Error {
        Error::new(code, "a <b>")
    }

    #[test]
    fn bytes() {
        let mut services = BatchFindResult::default();
        services.add_updated(
            0,
            "r1".to_owned(),
            vec![Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{}")],
        );
        services.add_failed(1, missing(Code::ServiceNotExists));
        services.add_not_modified(2);
        services.add_updated(3, "r2".to_owned(), Vec::new());
        services.add_failed(4, Error::new(Code::ServiceNotExists, "another"));
        services.add_failed(5, missing(Code::InstanceNotExists));
        let answer = BatchFindAnswer { services: Some(services), instances: None };
        let error = |code: &str, message: &str| {
            format!(
                r#"{{"errorCode":"{code}","errorMessage":"{message}","detail":"{message}(a \u003cb\u003e)"}}"#
            )
        };
        check(
            &answer,
            &format!(
                r#"{{"services":{{"failed":[{{"indexes":[1,4],"error":{}}},{{"indexes":[5],"error":{}}}],"notModified":[2],"updated":[{{"index":0,"rev":"r1","instances":[{{"a":1}},{{}}]}},{{"index":3,"rev":"r2"}}]}}}}"#,
                error("400012", "Micro-service does not exist"),
                error("400017", "Instance does not exist"),
            ),
        );
    }

    #[test]
    fn parts() {
        check(&BatchFindAnswer::default(), "{}");
        let mut part = BatchFindResult::default();
        part.add_not_modified(0);
        let answer = BatchFindAnswer { services: Some(BatchFindResult::default()), instances: Some(part) };
        check(&answer, r#"{"services":{},"instances":{"notModified":[0]}}"#);
    }
}
