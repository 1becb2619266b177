//! Members that an object names more than once, merged as Go's `encoding/json` merges them: it decodes a later value into
//! what an earlier one left.
//!
//! - An object is read over the one that is there: its members replace those of the same name, others stay.
//! - A map gets further keys. The value of a key it has is replaced as a whole, whatever the value is.
//! - A list is read over the one that is there, element by element, and then has as many elements as the later one. What it
//!   loses stays behind its end: a longer list after that is read over those elements.
//! - `null` empties lists, maps and objects, and leaves texts, numbers and flags as they are. An empty list forgets what is
//!   behind its end.
//!
//! Hardly any text has such members, so they cost nothing until one does. Then the whole text is read into a tree by the
//! shape of its type, and written again without doubles.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::MemberName;
use crate::domain::shape::{ObjectShape, Shape};

/// The text with each member once. It was read as a value of the shape before, so whatever it holds has the right type.
pub(super) fn merged(text: &str, shape: Shape) -> serde_json::Result<Vec<u8>> {
    let mut root = Node::Nothing;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Place { node: &mut root, shape }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    let mut out = Vec::with_capacity(text.len());
    serde_json::to_writer(&mut out, &Shaped { node: &root, shape })?;
    Ok(out)
}

/// What was read into one place so far.
#[derive(Debug)]
enum Node<'t> {
    /// Nothing, or `null`.
    Nothing,
    Text(Cow<'t, str>),
    Integer(i64),
    Flag(bool),
    List {
        /// Those behind `length` are what is left of a longer list.
        elements: Vec<Node<'t>>,
        length: usize,
    },
    Map(BTreeMap<Cow<'t, str>, Node<'t>>),
    /// By the position among the shape's members.
    Object(Vec<(usize, Node<'t>)>),
}

/// A place that the next value is read into.
struct Place<'n, 't> {
    node: &'n mut Node<'t>,
    shape: Shape,
}

impl<'t> DeserializeSeed<'t> for Place<'_, 't> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Place<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        match self.shape {
            Shape::Text | Shape::Integer | Shape::Flag => {}
            Shape::List(_) | Shape::Map(_) | Shape::Object(_) => *self.node = Node::Nothing,
        }
        Ok(())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<(), E> {
        *self.node = Node::Flag(flag);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        *self.node = Node::Integer(number);
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_i64(i64::try_from(number).map_err(E::custom)?)
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<(), E> {
        *self.node = Node::Text(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        *self.node = Node::Text(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut values: A) -> Result<(), A::Error> {
        let Shape::List(&shape) = self.shape else { return Err(unlike(self.shape)) };
        if !matches!(self.node, Node::List { .. }) {
            *self.node = Node::List { elements: Vec::new(), length: 0 };
        }
        let Node::List { elements, length } = self.node else { return Ok(()) };
        *length = 0;
        loop {
            if *length == elements.len() {
                elements.push(Node::Nothing);
            }
            let Some(node) = elements.get_mut(*length) else { break };
            if values.next_element_seed(Place { node, shape })?.is_none() {
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
            Shape::Map(&shape) => read_map(self.node, shape, members),
            Shape::Object(shape) => read_object(self.node, shape, members),
            shape => Err(unlike(shape)),
        }
    }
}

fn read_map<'t, A: MapAccess<'t>>(node: &mut Node<'t>, shape: Shape, mut members: A) -> Result<(), A::Error> {
    if !matches!(node, Node::Map(_)) {
        *node = Node::Map(BTreeMap::new());
    }
    let Node::Map(map) = node else { return Ok(()) };
    while let Some(MemberName(key)) = members.next_key()? {
        let mut value = Node::Nothing;
        members.next_value_seed(Place { node: &mut value, shape })?;
        map.insert(key, value);
    }
    Ok(())
}

fn read_object<'t, A: MapAccess<'t>>(
    node: &mut Node<'t>,
    shape: ObjectShape,
    mut members: A,
) -> Result<(), A::Error> {
    if !matches!(node, Node::Object(_)) {
        *node = Node::Object(Vec::new());
    }
    let Node::Object(known) = node else { return Ok(()) };
    while let Some(name) = members.next_key::<MemberName<'t>>()? {
        let found = shape.members.iter().enumerate().find(|(_, member)| name.is(member.name));
        let Some((index, member)) = found else {
            members.next_value::<IgnoredAny>()?;
            continue;
        };
        let at = known.iter().position(|(known, _)| *known == index).unwrap_or_else(|| {
            known.push((index, Node::Nothing));
            known.len() - 1
        });
        let Some((_, node)) = known.get_mut(at) else { break };
        members.next_value_seed(Place { node, shape: member.shape })?;
    }
    Ok(())
}

fn unlike<E: serde::de::Error>(shape: Shape) -> E {
    E::custom(format!("expected {shape:?}"))
}

/// A node to be written.
struct Shaped<'n, 't> {
    node: &'n Node<'t>,
    shape: Shape,
}

impl Serialize for Shaped<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.node, self.shape) {
            (Node::Text(text), _) => serializer.serialize_str(text),
            (Node::Integer(number), _) => serializer.serialize_i64(*number),
            (Node::Flag(flag), _) => serializer.serialize_bool(*flag),
            (Node::List { elements, length }, Shape::List(&shape)) => {
                let mut list = serializer.serialize_seq(Some(*length))?;
                for node in elements.iter().take(*length) {
                    list.serialize_element(&Shaped { node, shape })?;
                }
                list.end()
            }
            (Node::Map(members), Shape::Map(&shape)) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, node) in members {
                    map.serialize_entry(key, &Shaped { node, shape })?;
                }
                map.end()
            }
            (Node::Object(members), Shape::Object(shape)) => {
                let mut object = serializer.serialize_map(Some(members.len()))?;
                for (index, node) in members {
                    if let Some(member) = shape.members.get(*index) {
                        object.serialize_entry(member.name, &Shaped { node, shape: member.shape })?;
                    }
                }
                object.end()
            }
            _ => serializer.serialize_unit(),
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
        /// Innermost.
        pub struct Innermost {
            /// A number.
            "port" => port: i32,
            /// A text.
            "name" => name: String,
        }
    }

    json_object! {
        /// Inner.
        pub struct Inner {
            /// A number.
            "port" => port: i32,
            /// A text.
            "name" => name: String,
            /// A list.
            "tags" => tags: Vec<String>,
            /// An object.
            "next" => next: Option<Innermost>,
            /// A map.
            "map" => map: TextMap,
        }
    }

    json_object! {
        /// Sample.
        pub struct Sample {
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
            "inner" => inner: Option<Inner>,
            /// A list of objects.
            "list" => list: Vec<Option<Inner>>,
            /// A map of maps.
            "maps" => maps: std::collections::BTreeMap<String, TextMap>,
            /// A map of objects.
            "objects" => objects: std::collections::BTreeMap<String, Option<Inner>>,
        }
    }

    /// What is expected here and below is what Go 1.26 made of the same text for the same types.
    fn check(input: &str, expected: &str) {
        let sample: Sample = decode(input.as_bytes()).unwrap();
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
            let refused = decode::<Sample>(input.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(path), "{refused}");
        }
    }

    /// Injected: bodies of 2 MB that are nothing but one member again and again. What is left of each is small, and what it
    /// takes on the way grows with the body only.
    #[test]
    fn thousands_of_doubles_are_merged_in_one_go() {
        let many = |member: &str| format!("{{{}}}", vec![member; 2_000_000 / member.len()].join(","));
        check(&many(r#""inner":{"next":{"port":1}}"#), r#"{"inner":{"next":{"port":1}}}"#);
        check(&many(r#""properties":{"a":"1","b":"2"}"#), r#"{"properties":{"a":"1","b":"2"}}"#);
        check(&many(r#""schemas":["a","b"],"schemas":["c"]"#), r#"{"schemas":["c"]}"#);
        check(&many(r#""list":[{"tags":["a"]}],"list":[]"#), "{}");
        let list = |size: usize| format!(r#""schemas":[{}]"#, vec![r#""orders""#; size].join(","));
        let lists: Vec<String> = (0..600).map(list).collect();
        let sample: Sample = decode(format!("{{{}}}", lists.join(",")).as_bytes()).unwrap();
        assert_eq!(sample.schemas, vec!["orders"; 599]);
    }

    #[test]
    fn what_is_merged_has_each_member_once() {
        let shape = <Sample as crate::domain::shape::Shaped>::SHAPE;
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
