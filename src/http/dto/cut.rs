//! Cuts members out of stored documents, without decoding them.
//!
//! A document is JSON as this server writes it: no blanks, members in the order of their declaration, and a `"` in a text is escaped.
//! So the name of a member with its quotes, its colon and the bracket of its value is in no text.

use std::ops::Range;

use crate::domain::json::{self, TextMap};
use crate::http::slices::Out;

/// Writes a service without its list of schemas.
pub fn service_without_schemas(out: &mut impl Out, document: &[u8]) {
    match member(document, b"\"schemas\":[") {
        Some(found) => {
            let (before, after) = around(document, &found);
            out.bytes(before);
            out.bytes(after);
        }
        None => out.bytes(document),
    }
}

/// Writes an instance with only those of its properties that `kept` names.
pub fn instance_with_properties(out: &mut impl Out, document: &[u8], kept: &TextMap) {
    const NAME: &[u8] = b"\"properties\":{";
    let Some(found) = member(document, NAME) else { return out.bytes(document) };
    let mut properties = TextMap::new();
    if !kept.is_empty() {
        let value = document.get(found.start + NAME.len() - 1..found.end).unwrap_or_default();
        properties = json::decode(value).unwrap_or_default();
        properties.retain(|name, _| kept.contains_key(name));
    }
    if properties.is_empty() {
        let (before, after) = around(document, &found);
        out.bytes(before);
        out.bytes(after);
    } else {
        out.bytes(document.get(..found.start + NAME.len() - 1).unwrap_or_default());
        out.value(&properties);
        out.bytes(document.get(found.end..).unwrap_or_default());
    }
}

/// The place of a member: its name and its value. `name` ends with the bracket that opens the value.
fn member(document: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let start = memchr::memmem::find(document, name)?;
    let value = start + name.len() - 1;
    let (mut depth, mut in_text, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in (value..).zip(document.get(value..)?) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    return Some(start..at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// What is before and after a member, without the comma that belongs to it.
fn around<'d>(document: &'d [u8], member: &Range<usize>) -> (&'d [u8], &'d [u8]) {
    let before = document.get(..member.start).unwrap_or_default();
    let after = document.get(member.end..).unwrap_or_default();
    match (before.strip_suffix(b","), after.strip_prefix(b",")) {
        (Some(before), _) => (before, after),
        (None, Some(after)) => (before, after),
        (None, None) => (before, after),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::domain::service::ServicePath;
    use crate::domain::{Instance, Service};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// The cut text must be what encoding the changed document gives.
    fn check_service(document: Service) {
        let json = json::encode(&document);
        let expected = json::encode(&Service { schemas: Vec::new(), ..document });
        assert_eq!(text(|out| service_without_schemas(out, &json)), String::from_utf8(expected).unwrap());
    }

    fn check_instance(document: &Instance, kept: &[&str]) {
        let kept: TextMap = kept.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let mut expected = document.clone();
        expected.properties.retain(|name, _| kept.contains_key(name));
        let json = json::encode(document);
        assert_eq!(
            text(|out| instance_with_properties(out, &json, &kept)),
            String::from_utf8(json::encode(&expected)).unwrap()
        );
    }

    fn map(pairs: &[(&str, &str)]) -> TextMap {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_service_loses_its_schemas() {
        let confusing = [r#""schemas":["#, "]", "\\", "\"", "{", r#"x","schemas":[1],"#];
        let plain = Service { service_name: "n".to_owned(), ..Service::default() };
        check_service(plain.clone());
        check_service(Service { schemas: vec!["a".to_owned(), "b".to_owned()], ..plain.clone() });
        for text in confusing {
            check_service(Service {
                description: text.to_owned(),
                schemas: vec![text.to_owned(), "b".to_owned()],
                paths: vec![Some(ServicePath { path: text.to_owned(), property: map(&[("schemas", text)]) })],
                properties: map(&[("schemas", text), (text, "x")]),
                ..plain.clone()
            });
        }
        assert_eq!(text(|out| service_without_schemas(out, br#"{"schemas":["a"]}"#)), "{}");
    }

    #[test]
    fn an_instance_keeps_the_named_properties() {
        let plain = Instance { instance_id: "i".to_owned(), status: "UP".to_owned(), ..Instance::default() };
        for kept in [&[][..], &["a"], &["a", "}"], &["none"]] {
            check_instance(&plain, kept);
            for text in [r#""properties":{"#, "}", "\\", "\"", "<", r#"x","properties":{},"#] {
                let instance = Instance {
                    host_name: text.to_owned(),
                    endpoints: vec![text.to_owned(), "properties".to_owned()],
                    properties: map(&[("a", text), (text, "b"), ("properties", "{")]),
                    ..plain.clone()
                };
                check_instance(&instance, kept);
            }
        }
    }
}
