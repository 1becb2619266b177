//! Tags: the body that replaces the tags of a service, and the answer that lists them.

use std::collections::BTreeMap;

use super::body;
use crate::domain::json::TextMap;
use crate::domain::validate;
use crate::error::Error;
use crate::json_object;

/// Decodes and validates the body that replaces the tags of a service. If it has no tags, all tags are deleted. Unlike other
/// bodies, the original server decodes it as a map of maps: only a member named exactly `tags` counts, and all other members
/// must be objects of strings too.
pub fn replacement(bytes: &[u8], service_id: &str, tag_quota: usize) -> Result<TextMap, Error> {
    let mut maps: BTreeMap<String, TextMap> = body(bytes)?;
    let tags = maps.remove("tags").unwrap_or_default();
    validate::tag::replace(service_id, &tags, tag_quota)?;
    Ok(tags)
}

json_object! {
    /// The tags of a service.
    pub struct Tags {
        /// The tags by name.
        "tags" => tags: TextMap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: Result<&[(&str, &str)], &str>) {
        match (replacement(input.as_bytes(), "s", 2), expected) {
            (Ok(tags), Ok(pairs)) => {
                let expected = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
                assert_eq!(tags, expected.collect::<TextMap>());
            }
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (result, _) => panic!("{input}: {result:?}"),
        }
    }

    #[test]
    fn bodies() {
        check(r#"{"tags":{"a":"b","c":"d"}}"#, Ok(&[("a", "b"), ("c", "d")]));
        for none in ["{}", "null", r#"{"tags":{}}"#, r#"{"tags":null}"#] {
            check(none, Ok(&[]));
        }
        check(r#"{"tags":{"a":"b","c":"d","e":"f"}}"#, Err("AddServiceTagsRequest.Tags"));
        check(r#"{"tags":{"a":null}}"#, Err("AddServiceTagsRequest.Tags[a]"));
        check("", Err("unexpected end of JSON input"));
        check(r#"{"tags":[]}"#, Err("field 'tags'"));
        check(r#"{"tags":{"a":1}}"#, Err("field 'tags.a'"));
    }

    #[test]
    fn only_this_spelling_counts_and_all_members_are_maps() {
        check(r#"{"Tags":{"a":"b"}}"#, Ok(&[]));
        check(r#"{"tags":{"a":"b"},"Tags":{"c":"d"}}"#, Ok(&[("a", "b")]));
        check(r#"{"tags":{"a":"b"},"tags":{"c":"d"}}"#, Ok(&[("c", "d")]));
        check(r#"{"tags":{},"other":{"not":"validated "},"more":null}"#, Ok(&[]));
        check(r#"{"tags":{},"other":"x"}"#, Err("field 'other'"));
        check(r#"{"tags":{},"other":{"a":1}}"#, Err("field 'other.a'"));
    }
}
