//! Validates writes of tags: replace all, change one, delete some.

use super::demand::{ConfiguredLimit, Demand, Demanded};
use super::member;
use super::rule::{MemberRule, ShownCount, ShownTexts};
use crate::domain::json::TextMap;
use crate::domain::shape::Shape;
use crate::error::Error;

/// The member `tags` of a body with tags.
pub(super) const REPLACEMENT: &[Demand] = &[
    Demand::new("tags", Demanded::Count(0, ConfiguredLimit::Tags)),
    Demand::new("tags", Demanded::Keys(member::TAG)),
    Demand::rule("tags{}", member::TAG),
];

/// The body that replaces all tags of a service. It is read as a map of maps, so other members are checked too.
pub const BODY: &[Demand] = &[
    Demand::new("", Demanded::Part(REPLACEMENT)),
    Demand::new("", Demanded::Others(Shape::Map(&Shape::Text))),
];

/// Validates tags that replace all tags of a service: at most `tag_quota`. There may be none.
pub fn replace(service_id: &str, tags: &TextMap, tag_quota: usize) -> Result<(), Error> {
    const FIELD: &str = "AddServiceTagsRequest.Tags";
    member::SERVICE_ID.check("AddServiceTagsRequest.ServiceId", service_id)?;
    let count = tags.len();
    MemberRule::at_most(tag_quota).check_count(FIELD, count, ShownCount(count))?;
    for (key, value) in tags {
        member::TAG.check(FIELD, key)?;
        member::TAG.check(format_args!("{FIELD}[{key}]"), value)?;
    }
    Ok(())
}

/// Validates a tag and its new value.
pub fn change(service_id: &str, key: &str, value: &str) -> Result<(), Error> {
    member::SERVICE_ID.check("UpdateServiceTagRequest.ServiceId", service_id)?;
    member::TAG.check("UpdateServiceTagRequest.Key", key)?;
    member::TAG.check("UpdateServiceTagRequest.Value", value)
}

/// Validates the keys of tags to delete: 1 to `tag_quota`. The path's last segment has them with commas between them.
pub fn delete<T: AsRef<str>>(service_id: &str, keys: &[T], tag_quota: usize) -> Result<(), Error> {
    const FIELD: &str = "DeleteServiceTagsRequest.Keys";
    member::SERVICE_ID.check("DeleteServiceTagsRequest.ServiceId", service_id)?;
    MemberRule::between(1, tag_quota).check_count(FIELD, keys.len(), ShownTexts(keys))?;
    for (index, key) in keys.iter().enumerate() {
        member::TAG.check(format_args!("{FIELD}[{index}]"), key.as_ref())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rule::refused_field;
    use super::*;

    fn check(result: Result<(), Error>, field: Option<&str>) {
        assert_eq!(refused_field(result).as_deref(), field);
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    fn one(key: &str, value: &str) -> TextMap {
        TextMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn all_to_replace() {
        let many = |count| -> TextMap { (0..count).map(|at| (format!("t{at}"), "x".to_owned())).collect() };
        check(replace("s", &TextMap::new(), 100), None);
        check(replace("s", &many(100), 100), None);
        check(replace("s", &many(101), 100), Some("AddServiceTagsRequest.Tags"));
        check(replace("s", &one(&x(64), &x(64)), 100), None);
        for bad in ["", " ", "0a", "_a", "a b", "ä", &x(65)] {
            check(replace("s", &one(bad, "x"), 100), Some("AddServiceTagsRequest.Tags"));
        }
        for bad in ["", "0a", "b c", "b/c", &x(65)] {
            check(replace("s", &one("k", bad), 100), Some("AddServiceTagsRequest.Tags[k]"));
        }
        check(replace(" ", &TextMap::new(), 100), Some("AddServiceTagsRequest.ServiceId"));
    }

    #[test]
    fn one_to_change() {
        check(change("s", "a", "b"), None);
        for bad in ["", " ", &x(65)] {
            check(change("s", bad, "b"), Some("UpdateServiceTagRequest.Key"));
        }
        for bad in ["", "0x", &x(65)] {
            check(change("s", "a", bad), Some("UpdateServiceTagRequest.Value"));
        }
        check(change("", "a", "b"), Some("UpdateServiceTagRequest.ServiceId"));
    }

    #[test]
    fn some_to_delete() {
        let split = |keys: &'static str| keys.split(',').collect::<Vec<_>>();
        check(delete("s", &split("a,b,a"), 100), None);
        check(delete::<&str>("s", &[], 100), Some("DeleteServiceTagsRequest.Keys"));
        check(delete("s", &split("a,b,c"), 2), Some("DeleteServiceTagsRequest.Keys"));
        check(delete("s", &split(","), 100), Some("DeleteServiceTagsRequest.Keys[0]"));
        check(delete("s", &split("g,"), 100), Some("DeleteServiceTagsRequest.Keys[1]"));
        check(delete("s", &[" "], 100), Some("DeleteServiceTagsRequest.Keys[0]"));
        check(delete("s", &[x(65)], 100), Some("DeleteServiceTagsRequest.Keys[0]"));
        check(delete(&x(65), &["a"], 100), Some("DeleteServiceTagsRequest.ServiceId"));
    }
}
