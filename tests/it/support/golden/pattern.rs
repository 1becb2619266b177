//! A JSON document that keeps the order of its members, because a scenario binds values in that order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Number;

/// A document that a scenario sends or expects, with holes.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    Null,
    Bool(bool),
    Number(Number),
    /// A text, perhaps with holes.
    Text(String),
    Array(Vec<Pattern>),
    /// An object, whose member names may have holes as well.
    Object(Vec<(String, Pattern)>),
}

impl Pattern {
    /// Applies `change` to each text and each member name.
    pub fn map_texts(&self, change: &impl Fn(&str) -> String) -> Self {
        match self {
            Self::Text(text) => Self::Text(change(text)),
            Self::Array(items) => Self::Array(items.iter().map(|item| item.map_texts(change)).collect()),
            Self::Object(members) => {
                let changed = members.iter().map(|(name, value)| (change(name), value.map_texts(change)));
                Self::Object(changed.collect())
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Pattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E: Error>(self) -> Result<Pattern, E> {
                Ok(Pattern::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Pattern, E> {
                Ok(Pattern::Bool(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Pattern, E> {
                Ok(Pattern::Number(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Pattern, E> {
                Ok(Pattern::Number(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Pattern, E> {
                Number::from_f64(value).map(Pattern::Number).ok_or_else(|| E::custom("not a finite number"))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pattern, E> {
                Ok(Pattern::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Pattern, A::Error> {
                let mut array = Vec::new();
                while let Some(item) = items.next_element()? {
                    array.push(item);
                }
                Ok(Pattern::Array(array))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pattern, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = entries.next_entry()? {
                    members.push(member);
                }
                Ok(Pattern::Object(members))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order() {
        let text = r#"{"z":[1,-2,1.5,null,true,"ü"],"a":{},"m":18446744073709551615}"#;
        let pattern: Pattern = serde_json::from_str(text).unwrap();
        assert_eq!(pattern.to_string(), text);
    }

    #[test]
    fn texts_and_names_are_changed() {
        let pattern: Pattern = serde_json::from_str(r#"{"a":["b",1,{"c":null}]}"#).unwrap();
        assert_eq!(pattern.map_texts(&|text| text.to_uppercase()).to_string(), r#"{"A":["B",1,{"C":null}]}"#);
    }
}
