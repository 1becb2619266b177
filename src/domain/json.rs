//! JSON as the registry's clients know it: the rules of Go's `encoding/json`, which the original server used.
//!
//! Reading: member names match in any ASCII case, unknown members are ignored, `null` leaves the default, the last of
//! equal members wins (maps merge), invalid UTF-8 and lone surrogates become U+FFFD. Writing: compact, members in the
//! order of declaration, empty ones left out, map keys sorted, `<`, `>`, `&`, U+2028 and U+2029 escaped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::Serialize;

/// A map of text to text: properties, tags. Sorted, as it goes out.
pub type TextMap = BTreeMap<String, String>;

/// What a member of a [`json_object!`] can do.
pub trait Member: Default {
    /// Left out when writing.
    fn is_empty(&self) -> bool;
    /// A second member of the same name: replaces, or (maps) is merged.
    fn absorb(&mut self, newer: Self) {
        *self = newer;
    }
}

impl Member for String {
    fn is_empty(&self) -> bool {
        String::is_empty(self)
    }
}

impl Member for i32 {
    fn is_empty(&self) -> bool {
        *self == 0
    }
}

impl Member for bool {
    fn is_empty(&self) -> bool {
        !*self
    }
}

impl<T> Member for Vec<T> {
    fn is_empty(&self) -> bool {
        Vec::is_empty(self)
    }
}

impl<T> Member for Option<T> {
    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

impl<V> Member for BTreeMap<String, V> {
    fn is_empty(&self) -> bool {
        BTreeMap::is_empty(self)
    }

    fn absorb(&mut self, newer: Self) {
        self.extend(newer);
    }
}

/// A value, or `null` for its default: Go leaves the zero value.
#[derive(Debug)]
pub struct OrNull<T>(pub T);

impl<'de, T: Default + FromJson<'de>> Deserialize<'de> for OrNull<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(OrNull(Option::<Through<T>>::deserialize(deserializer)?.map(|value| value.0).unwrap_or_default()))
    }
}

struct Through<T>(T);

impl<'de, T: FromJson<'de>> Deserialize<'de> for Through<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::from_json(deserializer).map(Through)
    }
}

/// How a member's type is read when it is not `null`. Lists and maps read their elements with `null` as default.
pub trait FromJson<'de>: Sized {
    /// Reads one value.
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

impl<'de> FromJson<'de> for String {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
    }
}

impl<'de> FromJson<'de> for i32 {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i32::deserialize(deserializer)
    }
}

impl<'de> FromJson<'de> for bool {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer)
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for Option<T> {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::from_json(deserializer).map(Some)
    }
}

impl<'de, T: Default + FromJson<'de>> FromJson<'de> for Vec<T> {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let elements = Vec::<OrNull<T>>::deserialize(deserializer)?;
        Ok(elements.into_iter().map(|element| element.0).collect())
    }
}

impl<'de, V: Default + FromJson<'de>> FromJson<'de> for BTreeMap<String, V> {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = BTreeMap::<String, OrNull<V>>::deserialize(deserializer)?;
        Ok(members.into_iter().map(|(key, value)| (key, value.0)).collect())
    }
}

/// Declares a JSON object type with the rules of this module: the struct, its `Serialize`, `Deserialize`, defaults and
/// [`Shaped`](crate::domain::shape::Shaped).
#[macro_export]
macro_rules! json_object {
    ($(#[doc = $about:literal])* pub struct $name:ident {
        $($(#[doc = $doc:literal])* $wire:literal => $field:ident: $type:ty,)*
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $type,)* }

        impl $crate::domain::shape::Shaped for $name {
            const SHAPE: $crate::domain::shape::Shape =
                $crate::domain::shape::Shape::Object($crate::domain::shape::ObjectShape {
                    name: stringify!($name),
                    about: concat!($($about),*),
                    members: &[$($crate::domain::shape::MemberShape {
                        name: $wire,
                        about: concat!($($doc),*),
                        shape: <$type as $crate::domain::shape::Shaped>::SHAPE,
                    }),*],
                });
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeMap;
                let mut object = serializer.serialize_map(None)?;
                $(if !$crate::domain::json::Member::is_empty(&self.$field) {
                    object.serialize_entry($wire, &self.$field)?;
                })*
                object.end()
            }
        }

        impl<'de> $crate::domain::json::FromJson<'de> for $name {
            fn from_json<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <Self as ::serde::Deserialize>::deserialize(deserializer)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;
                impl<'de> ::serde::de::Visitor<'de> for Members {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut object = $name::default();
                        while let Some(name) = map.next_key::<$crate::domain::json::MemberName<'de>>()? {
                            $(if name.is($wire) {
                                let value = map.next_value::<$crate::domain::json::OrNull<$type>>()?;
                                $crate::domain::json::Member::absorb(&mut object.$field, value.0);
                                continue;
                            })*
                            map.next_value::<::serde::de::IgnoredAny>()?;
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Members)
            }
        }
    };
}

/// The name of a member as it was sent; borrowed where the input has no escapes.
#[derive(Debug)]
pub struct MemberName<'de>(Cow<'de, str>);

impl MemberName<'_> {
    /// Whether it is this name, in any ASCII case.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl<'de> Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> serde::de::Visitor<'de> for Text {
            type Value = MemberName<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a member name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(MemberName(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(MemberName(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Why a text could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing, or only blanks.
    Empty,
    /// Not JSON, or a member of another type than wanted; says which member, where, and what was wanted.
    Invalid(String),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("unexpected end of JSON input"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

/// Decodes one JSON value with nothing but blanks behind it; `null` is the default.
pub fn decode<T: DeserializeOwned + Default + for<'de> FromJson<'de>>(
    bytes: &[u8],
) -> Result<T, DecodeError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let text = readable(bytes);
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let value =
        OrNull::<T>::deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value.0));
    value.map_err(|_| DecodeError::Invalid(explain::<T>(&text)))
}

/// Decodes again to say where it failed; only for the error answer, so that the good case does not pay for paths.
fn explain<T: for<'de> FromJson<'de> + Default>(text: &str) -> String {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, OrNull<T>>(&mut deserializer) {
        Ok(_) => match deserializer.end() {
            Ok(()) => "invalid JSON".to_owned(),
            Err(error) => format!("invalid JSON behind the value: {error}"),
        },
        Err(error) => {
            let path = error.path().to_string();
            match path.as_str() {
                "." => format!("invalid JSON: {}", error.inner()),
                _ => format!("field '{path}': {}", error.inner()),
            }
        }
    }
}

/// The bytes as text that a JSON parser takes: invalid UTF-8 and lone surrogate escapes replaced by U+FFFD.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    // What is text already, as nearly all is, is found out much faster than it would be repaired.
    let text = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
    let is_surrogate = |w: &[u8]| w[0] == b'\\' && w[1] == b'u' && (w[2] | 0x20) == b'd';
    let has_surrogate = bytes.contains(&b'\\') && text.as_bytes().windows(3).any(is_surrogate);
    if has_surrogate { Cow::Owned(replace_lone_surrogates(&text)) } else { text }
}

fn replace_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                out.push_str(&text[copied..at]);
                out.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            _ => at += 2,
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// Encodes a value compactly with Go's escapes.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode_into(value, &mut out);
    out
}

/// Bytes that [`encode`] gives, counted without keeping them.
pub fn encoded_size(value: &impl Serialize) -> usize {
    let mut counted = Counted(0);
    write(value, &mut counted);
    counted.0
}

/// [`encode`] of a value whose size is known.
pub fn encode_sized(value: &impl Serialize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size);
    encode_into(value, &mut out);
    out
}

/// Bytes that were written and not kept.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// [`encode`] behind what is there.
pub fn encode_into(value: &impl Serialize, out: &mut Vec<u8>) {
    write(value, out);
}

fn write(value: &impl Serialize, out: &mut impl io::Write) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoEscapes);
    // Writing to memory cannot fail, and the types of this layer have text keys only.
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok());
}

/// The escapes of Go's `encoding/json`.
struct GoEscapes;

impl serde_json::ser::Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut written = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let (escape, length): (&[u8], usize) = match byte {
                b'<' => (b"\\u003c", 1),
                b'>' => (b"\\u003e", 1),
                b'&' => (b"\\u0026", 1),
                0xE2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => (b"\\u2028", 3),
                0xE2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => (b"\\u2029", 3),
                _ => continue,
            };
            writer.write_all(&bytes[written..at])?;
            writer.write_all(escape)?;
            written = at + length;
        }
        writer.write_all(&bytes[written..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: serde_json::ser::CharEscape,
    ) -> io::Result<()> {
        use serde_json::ser::CharEscape as E;
        let control = match escape {
            E::Quote => return writer.write_all(b"\\\""),
            E::ReverseSolidus | E::Solidus => return writer.write_all(b"\\\\"),
            E::LineFeed => return writer.write_all(b"\\n"),
            E::CarriageReturn => return writer.write_all(b"\\r"),
            E::Tab => return writer.write_all(b"\\t"),
            E::Backspace => 0x08,
            E::FormFeed => 0x0C,
            E::AsciiControl(byte) => byte,
        };
        write!(writer, "\\u{control:04x}")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    json_object! {
        /// Inner.
        pub struct Inner {
            /// A number.
            "port" => port: i32,
        }
    }

    json_object! {
        /// Sample.
        pub struct Sample {
            /// Text.
            "serviceName" => name: String,
            /// List.
            "schemas" => schemas: Vec<String>,
            /// Map.
            "properties" => properties: TextMap,
            /// Object.
            "inner" => inner: Option<Inner>,
        }
    }

    fn check(input: &str, expected: &str) {
        let sample: Sample = decode(input.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(encode(&sample)).unwrap(), expected, "{input}");
        assert_eq!(encoded_size(&sample), expected.len(), "{input}");
    }

    #[test]
    fn reads_like_go() {
        check("null", "{}");
        check(
            r#"{"SERVICEname":"a","x":[1],"schemas":null,"inner":{"PORT":3}}"#,
            r#"{"serviceName":"a","inner":{"port":3}}"#,
        );
        check(r#"{"serviceName":"a","serviceName":"b"}"#, r#"{"serviceName":"b"}"#);
        check(
            r#"{"properties":{"a":"1","n":null},"Properties":{"b":"2"}}"#,
            r#"{"properties":{"a":"1","b":"2","n":""}}"#,
        );
        check(r#"{"schemas":["a",null]}"#, r#"{"schemas":["a",""]}"#);
        check(
            r#"{"serviceName":"\ud83d\ude00 \ud83d \\ud83d"}"#,
            "{\"serviceName\":\"\u{1F600} \u{FFFD} \\\\ud83d\"}",
        );
    }

    #[test]
    fn writes_like_go() {
        check(
            r#"{"serviceName":"<a> & \u2028 \u0008 \t \u0001 \u007f"}"#,
            "{\"serviceName\":\"\\u003ca\\u003e \\u0026 \\u2028 \\u0008 \\t \\u0001 \u{7f}\"}",
        );
    }

    #[test]
    fn refuses_and_says_where() {
        let refused = |input: &str| decode::<Sample>(input.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused(" "), "unexpected end of JSON input");
        assert!(refused(r#"{"inner":{"port":1.5}}"#).contains("inner.port"));
        assert!(refused(r#"{"inner":{"port":3000000000}}"#).contains("inner.port"));
        assert!(refused(r#"{"schemas":[1]}"#).contains("schemas[0]"));
        assert!(refused(r#"{} x"#).contains("trailing"));
        assert!(refused("[]").contains("object"));
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let sample: Sample = decode(b"{\"serviceName\":\"a\xff\xfeb\"}").unwrap();
        assert_eq!(sample.name, "a\u{FFFD}\u{FFFD}b");
    }
}
