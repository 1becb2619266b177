//! Merges members that come more than once in an object, as Go's `encoding/json` does: Go decodes a later value into what the
//! earlier value left.
//!
//! - Object: the later object's members replace members with the same name. Other members stay.
//! - Map: the later map adds its keys. A key that is there gets the new value as a whole, whatever the value is.
//! - List: the later list is read over the earlier one, element by element. Its length becomes the length of the later list.
//!   Elements after the new end are kept hidden, and a still later, longer list is read over them.
//! - `null` empties lists, maps and objects. It leaves texts, numbers and flags as they are.
//! - An empty list also drops the hidden elements.
//!
//! Hardly any text has such members, so a text without them pays nothing. A text with them is read into a tree by the shape of
//! its type, and is written again with each member once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::MemberName;
use crate::domain::shape::{ObjectShape, Shape};

/// The text with each member once. The caller has decoded the text as this shape before, so all values have the right type.
pub(super) fn merged(text: &str, shape: Shape) -> serde_json::Result<Vec<u8>> {
    let mut root = MergedValue::Nothing;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    MergeTarget { value: &mut root, shape }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    let mut out = Vec::with_capacity(text.len());
    serde_json::to_writer(&mut out, &ShapedValue { value: &root, shape })?;
    Ok(out)
}

/// A value that all its occurrences so far were merged into.
#[derive(Debug)]
enum MergedValue<'t> {
    /// No value so far, or `null`.
    Nothing,
    Text(Cow<'t, str>),
    Integer(i64),
    Flag(bool),
    List {
        /// The elements from `length` on are hidden: they are left of a longer list.
        elements: Vec<MergedValue<'t>>,
        length: usize,
    },
    Map(BTreeMap<Cow<'t, str>, MergedValue<'t>>),
    /// Each member with its position among the shape's members.
    Object(Vec<(usize, MergedValue<'t>)>),
}

/// Reads the next value into one that is there.
struct MergeTarget<'n, 't> {
    value: &'n mut MergedValue<'t>,
    shape: Shape,
}

impl<'t> DeserializeSeed<'t> for MergeTarget<'_, 't> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for MergeTarget<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        match self.shape {
            Shape::Text | Shape::Integer | Shape::Long | Shape::Number | Shape::Flag => {}
            Shape::List(_) | Shape::Map(_) | Shape::Object(_) => *self.value = MergedValue::Nothing,
        }
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        *self.value = MergedValue::Flag(flag);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        *self.value = MergedValue::Integer(number);
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_i64(i64::try_from(number).map_err(E::custom)?)
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<(), E> {
        *self.value = MergedValue::Text(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        *self.value = MergedValue::Text(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut values: A) -> Result<(), A::Error> {
        let Shape::List(&shape) = self.shape else { return Err(unlike(self.shape)) };
        if !matches!(self.value, MergedValue::List { .. }) {
            *self.value = MergedValue::List { elements: Vec::new(), length: 0 };
        }
        let MergedValue::List { elements, length } = self.value else { return Err(unlike(self.shape)) };
        *length = 0;
        loop {
            if *length == elements.len() {
                elements.push(MergedValue::Nothing);
            }
            let value = &mut elements[*length];
            if values.next_element_seed(MergeTarget { value, shape })?.is_none() {
                break;
            }
            *length += 1;
        }
        if *length == 0 {
            elements.clear();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'t>>(self, members: A) -> Result<(), A::Error> {
        match self.shape {
            Shape::Map(shape) => read_map(self.value, shape, members),
            Shape::Object(shape) => read_object(self.value, shape, members),
            shape => Err(unlike(shape)),
        }
    }
}

fn read_map<'t, A: MapAccess<'t>>(
    target: &mut MergedValue<'t>,
    shape: &'static Shape,
    mut members: A,
) -> Result<(), A::Error> {
    if !matches!(target, MergedValue::Map(_)) {
        *target = MergedValue::Map(BTreeMap::new());
    }
    let MergedValue::Map(map) = target else { return Err(unlike(Shape::Map(shape))) };
    while let Some(MemberName(key)) = members.next_key()? {
        let mut value = MergedValue::Nothing;
        members.next_value_seed(MergeTarget { value: &mut value, shape: *shape })?;
        map.insert(key, value);
    }
    Ok(())
}

fn read_object<'t, A: MapAccess<'t>>(
    target: &mut MergedValue<'t>,
    shape: ObjectShape,
    mut members: A,
) -> Result<(), A::Error> {
    if !matches!(target, MergedValue::Object(_)) {
        *target = MergedValue::Object(Vec::new());
    }
    let MergedValue::Object(known) = target else { return Err(unlike(Shape::Object(shape))) };
    while let Some(name) = members.next_key::<MemberName<'t>>()? {
        let found = shape.members.iter().enumerate().find(|(_, member)| name.is(member.name));
        let Some((index, member)) = found else {
            members.next_value::<IgnoredAny>()?;
            continue;
        };
        let at = known.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
            known.push((index, MergedValue::Nothing));
            known.len() - 1
        });
        let (_, value) = &mut known[at];
        members.next_value_seed(MergeTarget { value, shape: member.shape })?;
    }
    Ok(())
}

/// The error for a value that does not have its shape.
fn unlike<E: serde::de::Error>(shape: Shape) -> E {
    E::custom(format!("expected {shape:?}"))
}

/// Writes a value by its shape.
struct ShapedValue<'n, 't> {
    value: &'n MergedValue<'t>,
    shape: Shape,
}

impl Serialize for ShapedValue<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.value, self.shape) {
            (MergedValue::Nothing, _) => serializer.serialize_unit(),
            (MergedValue::Text(text), _) => serializer.serialize_str(text),
            (MergedValue::Integer(number), _) => serializer.serialize_i64(*number),
            (MergedValue::Flag(flag), _) => serializer.serialize_bool(*flag),
            (MergedValue::List { elements, length }, Shape::List(&shape)) => {
                let mut list = serializer.serialize_seq(Some(*length))?;
                for value in elements.iter().take(*length) {
                    list.serialize_element(&ShapedValue { value, shape })?;
                }
                list.end()
            }
            (MergedValue::Map(members), Shape::Map(&shape)) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, &ShapedValue { value, shape })?;
                }
                map.end()
            }
            (MergedValue::Object(members), Shape::Object(shape)) => {
                let mut object = serializer.serialize_map(Some(members.len()))?;
                for (index, value) in members {
                    let member = &shape.members[*index];
                    object.serialize_entry(member.name, &ShapedValue { value, shape: member.shape })?;
                }
                object.end()
            }
            (MergedValue::List { .. } | MergedValue::Map(_) | MergedValue::Object(_), shape) => {
                Err(S::Error::custom(format!("expected {shape:?}")))
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{TextMap, decode, encode};
    use crate::domain::shape::Shape;
    use crate::json_object;

    json_object! {
        /// The inner object of an inner object.
        pub struct MergeInnermost {
            /// A number.
            "port" => port: i32,
            /// A text.
            "name" => name: String,
        }
    }

    json_object! {
        /// An inner object.
        pub struct MergeInner {
            /// A number.
            "port" => port: i32,
            /// A text.
            "name" => name: String,
            /// A list.
            "tags" => tags: Vec<String>,
            /// An object.
            "next" => next: Option<MergeInnermost>,
            /// A map.
            "map" => map: TextMap,
        }
    }

    json_object! {
        /// An object with members of every shape.
        pub struct MergeSample {
            /// A text.
            "serviceName" => name: String,
            /// A number.
            "count" => count: i32,
            /// A flag.
            "force" => force: bool,
            /// A list of texts.
            "schemas" => schemas: Vec<String>,
            /// A map of texts.
            "properties" => properties: TextMap,
            /// An object.
            "inner" => inner: Option<MergeInner>,
            /// A list of objects.
            "list" => list: Vec<Option<MergeInner>>,
            /// A map of maps.
            "maps" => maps: std::collections::BTreeMap<String, TextMap>,
            /// A map of objects.
            "objects" => objects: std::collections::BTreeMap<String, Option<MergeInner>>,
        }
    }

    /// The expected texts here and below are what Go 1.26 makes of the same texts with the same types.
    fn check(input: &str, expected: &str) {
        let sample: MergeSample = decode(input.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encode(&sample)).unwrap(), expected, "{input}");
    }

    #[test]
    fn a_later_text_number_or_flag_replaces_and_null_does_not() {
        check(r#"{"serviceName":"a","serviceName":"b"}"#, r#"{"serviceName":"b"}"#);
        check(r#"{"serviceName":"a","SERVICENAME":"b"}"#, r#"{"serviceName":"b"}"#);
        check(r#"{"serviceName":"a","serviceName":null}"#, r#"{"serviceName":"a"}"#);
        check(r#"{"serviceName":"a\u0062","serviceName":null}"#, r#"{"serviceName":"ab"}"#);
        check(
            r#"{"count":-1,"count":null,"force":true,"force":null,"count":-2}"#,
            r#"{"count":-2,"force":true}"#,
        );
        check(r#"{"force":true,"force":false}"#, "{}");
    }

    #[test]
    fn objects_are_merged_at_any_depth() {
        check(r#"{"inner":{"port":1},"inner":{"name":"b"}}"#, r#"{"inner":{"port":1,"name":"b"}}"#);
        check(
            r#"{"inner":{"port":1,"x":1,"x":[]},"INNER":{"Name":"b"}}"#,
            r#"{"inner":{"port":1,"name":"b"}}"#,
        );
        check(
            r#"{"inner":{"next":{"port":1}},"inner":{"next":{"name":"n"},"port":2}}"#,
            r#"{"inner":{"port":2,"next":{"port":1,"name":"n"}}}"#,
        );
        check(
            r#"{"inner":{"port":1,"port":2,"next":{"port":1},"next":{"name":"x"}}}"#,
            r#"{"inner":{"port":2,"next":{"port":1,"name":"x"}}}"#,
        );
        check(r#"{"inner":{"port":1},"inner":{}}"#, r#"{"inner":{"port":1}}"#);
        check(r#"{"inner":{"port":1},"inner":null}"#, "{}");
        check(r#"{"inner":{"port":1},"inner":null,"inner":{"name":"b"}}"#, r#"{"inner":{"name":"b"}}"#);
    }

    #[test]
    fn maps_get_further_keys_and_values_are_replaced_whole() {
        check(
            r#"{"properties":{"a":"1","b":"2"},"properties":{"b":"3","c":null}}"#,
            r#"{"properties":{"a":"1","b":"3","c":""}}"#,
        );
        check(r#"{"properties":{"a":"1"},"properties":null}"#, "{}");
        check(
            r#"{"properties":{"a":"1"},"properties":null,"properties":{"b":"2"}}"#,
            r#"{"properties":{"b":"2"}}"#,
        );
        check(
            r#"{"maps":{"x":{"a":"1"},"z":{}},"maps":{"x":{"b":"2"}}}"#,
            r#"{"maps":{"x":{"b":"2"},"z":{}}}"#,
        );
        check(
            r#"{"objects":{"x":{"port":1}},"objects":{"x":{"name":"b"},"y":null}}"#,
            r#"{"objects":{"x":{"name":"b"},"y":null}}"#,
        );
        check(r#"{"objects":{"x":{"port":1},"x":{"name":"b"}}}"#, r#"{"objects":{"x":{"name":"b"}}}"#);
        check(
            r#"{"objects":{"x":{"port":1},"x":{"next":{"port":1},"next":{"name":"b"}}}}"#,
            r#"{"objects":{"x":{"next":{"port":1,"name":"b"}}}}"#,
        );
    }

    #[test]
    fn lists_are_merged_element_by_element() {
        check(r#"{"schemas":["a","b","c"],"schemas":["d"]}"#, r#"{"schemas":["d"]}"#);
        check(r#"{"schemas":["a"],"schemas":[null,"b",null,null]}"#, r#"{"schemas":["a","b","",""]}"#);
        check(
            r#"{"list":[{"port":1},{"port":2}],"list":[{"name":"a"}]}"#,
            r#"{"list":[{"port":1,"name":"a"}]}"#,
        );
        check(r#"{"list":[{"port":1},null],"list":[null,{"name":"a"}]}"#, r#"{"list":[null,{"name":"a"}]}"#);
        check(r#"{"list":[{"port":1}],"list":[null],"list":[{"name":"a"}]}"#, r#"{"list":[{"name":"a"}]}"#);
        check(
            r#"{"list":[{"tags":["a","b"],"map":{"a":"1"}}],"list":[{"tags":["c"],"map":{"b":"2"}}]}"#,
            r#"{"list":[{"tags":["c"],"map":{"a":"1","b":"2"}}]}"#,
        );
    }

    #[test]
    fn a_list_is_read_over_what_a_longer_one_has_left() {
        check(
            r#"{"schemas":["a","b","c"],"schemas":["d"],"schemas":[null,null]}"#,
            r#"{"schemas":["d","b"]}"#,
        );
        check(
            r#"{"list":[{"port":1},{"port":2},{"port":3}],"list":[{"name":"a"}],"list":[{},{"name":"b"},null,{}]}"#,
            r#"{"list":[{"port":1,"name":"a"},{"port":2,"name":"b"},null,{}]}"#,
        );
        check(
            r#"{"inner":{"tags":["a","b","c"]},"inner":{"tags":["x"]},"inner":{"tags":["y",null]}}"#,
            r#"{"inner":{"tags":["y","b"]}}"#,
        );
        for emptied in ["[]", "null"] {
            check(
                &format!(r#"{{"schemas":["a","b","c"],"schemas":{emptied},"schemas":[null,null]}}"#),
                r#"{"schemas":["",""]}"#,
            );
        }
        check(r#"{"schemas":["a"],"schemas":[]}"#, "{}");
    }

    #[test]
    fn each_value_must_have_its_type_also_one_that_is_replaced() {
        for (input, path) in [
            (r#"{"serviceName":5,"serviceName":"a"}"#, "field 'serviceName'"),
            (r#"{"inner":{"port":1},"inner":{"port":"x"}}"#, "field 'inner.port'"),
            (r#"{"list":[{"port":1}],"list":{}}"#, "field 'list'"),
            (r#"{"count":3000000000,"count":1}"#, "field 'count'"),
        ] {
            let refused = decode::<MergeSample>(input.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(path), "{refused}");
        }
    }

    /// The injected fault is a body of 2 MB that repeats one member. The result is small, and the work and memory on the way are
    /// linear in the size of the body.
    #[test]
    fn thousands_of_doubles_are_merged_in_one_go() {
        let many = |member: &str| format!("{{{}}}", vec![member; 2_000_000 / member.len()].join(","));
        check(&many(r#""inner":{"next":{"port":1}}"#), r#"{"inner":{"next":{"port":1}}}"#);
        check(&many(r#""properties":{"a":"1","b":"2"}"#), r#"{"properties":{"a":"1","b":"2"}}"#);
        check(&many(r#""schemas":["a","b"],"schemas":["c"]"#), r#"{"schemas":["c"]}"#);
        check(&many(r#""list":[{"tags":["a"]}],"list":[]"#), "{}");
        let list = |size: usize| format!(r#""schemas":[{}]"#, vec![r#""orders""#; size].join(","));
        let lists: Vec<String> = (0..600).map(list).collect();
        let sample: MergeSample = decode(format!("{{{}}}", lists.join(",")).as_bytes()).unwrap();
        assert_eq!(sample.schemas, vec!["orders"; 599]);
    }

    #[test]
    fn what_is_merged_has_each_member_once() {
        let shape = <MergeSample as crate::domain::shape::Shaped>::SHAPE;
        let merged =
            |text: &str, shape: Shape| String::from_utf8(super::merged(text, shape).unwrap()).unwrap();
        assert_eq!(
            merged(r#"{"INNER":{"x":1,"port":1},"list":[{}],"inner":{"Port":2},"y":[[1.5]]}"#, shape),
            r#"{"inner":{"port":2},"list":[{}]}"#
        );
        assert_eq!(merged("null", shape), "null");
        assert!(super::merged(r#"{"list":5}"#, shape).is_ok(), "types are not its business");
        assert!(super::merged(r#"{"inner":[]}"#, shape).is_err());
    }
}
