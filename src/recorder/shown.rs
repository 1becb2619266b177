//! What the record keeps of an instance's document: status, host and endpoints, in one allocation that events share.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use smallvec::SmallVec;

/// Between the parts. The documents' own are dropped.
const BREAK: char = '\0';

/// Status, host and endpoints of an instance. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Arc<str>);

/// The members of the document that are kept.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Members<'d> {
    #[serde(borrow)]
    endpoints: Vec<Cow<'d, str>>,
    #[serde(borrow, rename = "hostName")]
    host_name: Cow<'d, str>,
    #[serde(borrow)]
    status: Cow<'d, str>,
}

impl Shown {
    pub fn new<'e>(status: &str, host: &str, endpoints: impl Iterator<Item = &'e str>) -> Self {
        let mut text = String::with_capacity(status.len() + host.len() + 64);
        push(&mut text, status);
        text.push(BREAK);
        push(&mut text, host);
        for endpoint in endpoints {
            text.push(BREAK);
            push(&mut text, endpoint);
        }
        Self(text.into())
    }

    /// Reads a document in the form in which the read model keeps it. Of a text that is no document, nothing is kept.
    pub fn of_document(json: &[u8]) -> Self {
        if let Some(shown) = Scan(json).shown() {
            return shown;
        }
        let members = serde_json::from_slice::<Members<'_>>(json).unwrap_or_default();
        Self::new(&members.status, &members.host_name, members.endpoints.iter().map(|endpoint| &**endpoint))
    }

    pub(super) fn of_packed(text: &str) -> Self {
        Self(text.into())
    }

    pub(super) fn packed(&self) -> &str {
        &self.0
    }

    pub fn status(&self) -> &str {
        self.0.split(BREAK).next().unwrap_or_default()
    }

    pub fn host(&self) -> &str {
        Self::host_of(&self.0)
    }

    /// The host in the text of [`Self::packed`].
    pub(super) fn host_of(packed: &str) -> &str {
        packed.split(BREAK).nth(1).unwrap_or_default()
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.0.split(BREAK).skip(2)
    }
}

/// Reads the beginning of a document whose members come in the order of [`Instance`](crate::domain::Instance), without blanks and
/// escapes, as nearly all do. It takes a fifth of the time of a parser, because what is kept comes first.
struct Scan<'d>(&'d [u8]);

impl<'d> Scan<'d> {
    /// `None`: a parser has to read the document.
    fn shown(mut self) -> Option<Shown> {
        self.skip(b"{")?;
        for name in ["instanceId", "serviceId"] {
            if self.member(name) {
                self.text()?;
            }
        }
        let mut endpoints = SmallVec::<[&str; 4]>::new();
        if self.member("endpoints") {
            self.skip(b"[")?;
            loop {
                endpoints.push(self.text()?);
                if self.skip(b"]").is_some() {
                    break;
                }
                self.skip(b",")?;
            }
        }
        let host = if self.member("hostName") { self.text()? } else { "" };
        if !self.member("status") {
            return None;
        }
        let status = self.text()?;
        matches!(self.0.first(), Some(b',' | b'}')).then(|| Shown::new(status, host, endpoints.into_iter()))
    }

    fn skip(&mut self, token: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(token)?;
        Some(())
    }

    /// Skips the name of a member, if it comes next.
    fn member(&mut self, name: &str) -> bool {
        let rest = self.0.strip_prefix(b",").unwrap_or(self.0);
        let rest = rest.strip_prefix(b"\"").and_then(|rest| rest.strip_prefix(name.as_bytes()));
        let rest = rest.and_then(|rest| rest.strip_prefix(b"\":"));
        rest.is_some_and(|rest| {
            self.0 = rest;
            true
        })
    }

    fn text(&mut self) -> Option<&'d str> {
        let rest = self.0.strip_prefix(b"\"")?;
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        let (text, rest) = rest.split_at_checked(end)?;
        self.0 = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }
}

fn push(text: &mut String, part: &str) {
    if part.as_bytes().contains(&0) {
        text.extend(part.chars().filter(|c| *c != BREAK));
    } else {
        text.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Instance, json};

    #[test]
    fn the_members_of_a_document_are_kept() {
        let document = br#"{"instanceId":"i","serviceId":"s","endpoints":["rest://10.0.0.9:80","a\u0000\"b"],"hostName":"h",
            "status":"UP","properties":{"status":"DOWN","hostName":"x"},"healthCheck":{"mode":"push","interval":30}}"#;
        let shown = Shown::of_document(document);
        assert_eq!((shown.status(), shown.host()), ("UP", "h"));
        assert_eq!(shown.endpoints().collect::<Vec<_>>(), ["rest://10.0.0.9:80", "a\"b"]);
        assert_eq!(Shown::of_packed(shown.packed()), shown);
    }

    /// Both ways of reading keep the same.
    #[test]
    fn documents_are_scanned_as_they_are_parsed() {
        let instance = |endpoints: &[&str], host: &str, status: &str| {
            let instance = Instance {
                instance_id: "i".to_owned(),
                endpoints: endpoints.iter().map(|text| (*text).to_owned()).collect(),
                host_name: host.to_owned(),
                status: status.to_owned(),
                properties: [("status".to_owned(), "x".to_owned())].into(),
                ..Instance::default()
            };
            json::encode(&instance)
        };
        let check = |document: &[u8], is_scanned: bool| {
            let members = serde_json::from_slice::<Members<'_>>(document).unwrap_or_default();
            let endpoints = members.endpoints.iter().map(|endpoint| &**endpoint);
            let parsed = Shown::new(&members.status, &members.host_name, endpoints);
            assert_eq!(Shown::of_document(document), parsed);
            assert_eq!(Scan(document).shown().is_some(), is_scanned, "{}", String::from_utf8_lossy(document));
        };
        check(&instance(&["rest://10.0.0.9:80", "b"], "h", "UP"), true);
        check(&instance(&[], "", "UP"), true);
        check(&instance(&["ä", ""], "höst", "DOWN"), true);
        check(&instance(&["a<b"], "h", "UP"), false);
        check(&instance(&["a"], "h\"", "UP"), false);
        check(&instance(&["a"], "h", ""), false);
        check(br#"{"hostName":"h","endpoints":["a"],"status":"UP"}"#, false);
        check(br#"{"status":"UP"}"#, true);
        check(br#"{"status":"UP""#, false);
        check(br#"{"endpoints":[],"status":"UP"}"#, false);
        let whole = instance(&["rest://10.0.0.9:80"], "h", "UP");
        for end in 0..whole.len() {
            let _ = Shown::of_document(&whole[..end]);
        }
    }

    #[test]
    fn members_may_be_missing() {
        for (document, status) in
            [(&b"{}"[..], ""), (b"no json", ""), (b"", ""), (br#"{"status":"DOWN"}"#, "DOWN")]
        {
            let shown = Shown::of_document(document);
            assert_eq!((shown.status(), shown.host(), shown.endpoints().count()), (status, "", 0));
        }
    }
}
