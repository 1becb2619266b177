//! What the record keeps of an instance's document: status, host and endpoints, in one allocation that events share.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

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
        self.0.split(BREAK).nth(1).unwrap_or_default()
    }

    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.0.split(BREAK).skip(2)
    }
}

fn push(text: &mut String, part: &str) {
    if part.contains(BREAK) {
        text.extend(part.chars().filter(|c| *c != BREAK));
    } else {
        text.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_document_are_kept() {
        let document = br#"{"instanceId":"i","serviceId":"s","endpoints":["rest://10.0.0.9:80","a\u0000\"b"],"hostName":"h",
            "status":"UP","properties":{"status":"DOWN","hostName":"x"},"healthCheck":{"mode":"push","interval":30}}"#;
        let shown = Shown::of_document(document);
        assert_eq!((shown.status(), shown.host()), ("UP", "h"));
        assert_eq!(shown.endpoints().collect::<Vec<_>>(), ["rest://10.0.0.9:80", "a\"b"]);
        assert_eq!(Shown::of_packed(shown.packed()), shown);
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
