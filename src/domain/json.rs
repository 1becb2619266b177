//! JSON as the registry's clients know it: the rules of Go's `encoding/json`, which the original server used.
//!
//! Reading: member names match in any ASCII case, unknown members are ignored (objects declared `closed` refuse them), `null`
//! leaves the default, equal members are merged ([`merge`]), invalid UTF-8 and lone surrogates become U+FFFD. Writing: compact,
//! members in the order of declaration, empty ones left out, map keys sorted, `<`, `>`, `&`, U+2028 and U+2029 escaped.

mod merge;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;

use super::shape::Shaped;

/// A map of text to text: properties, tags. Sorted, as it goes out.
pub type TextMap = BTreeMap<String, String>;

/// What a member of a [`json_object!`] can do.
pub trait Member: Default {
    /// Left out when writing.
    fn is_empty(&self) -> bool;
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
}

/// What is known of a text while it is read.
#[derive(Debug)]
pub struct Reading {
    /// Bytes that elements of lists and entries of maps may still take.
    room: Cell<usize>,
    has_doubles: Cell<bool>,
}

/// Bytes of elements and entries for each byte of a text. Real ones take about as much as their text; `{}`, which stands for
/// a whole instance, would take a hundred times as much.
const ROOM_FACTOR: usize = 4;
/// And so much for any text.
const ROOM: usize = 1024 * 1024;

impl Reading {
    fn of(text: &str) -> Self {
        let room = text.len().saturating_mul(ROOM_FACTOR).saturating_add(ROOM);
        Self { room: Cell::new(room), has_doubles: Cell::new(false) }
    }

    /// A member came a second time.
    pub fn note_double(&self) {
        self.has_doubles.set(true);
    }

    /// For one more element or entry.
    fn take<T, E: serde::de::Error>(&self) -> Result<(), E> {
        match self.room.get().checked_sub(size_of::<T>()) {
            Some(left) => {
                self.room.set(left);
                Ok(())
            }
            None => Err(E::custom("too many elements: they take many times the memory of the text")),
        }
    }
}

/// A type that can be decoded.
pub trait Decoded: Default + Shaped + for<'de> FromJson<'de> {}

impl<T: Default + Shaped + for<'de> FromJson<'de>> Decoded for T {}

/// How a type is read when it is not `null`. Lists and maps read their elements with `null` as default.
pub trait FromJson<'de>: Sized {
    /// Reads one value.
    fn from_json<D: Deserializer<'de>>(deserializer: D, reading: &Reading) -> Result<Self, D::Error>;
}

/// A value, or `null` for its default: Go leaves the zero value.
#[derive(Debug)]
pub struct OrNull<'r, T> {
    reading: &'r Reading,
    of: PhantomData<T>,
}

impl<'r, T> OrNull<'r, T> {
    /// To be read next.
    pub fn new(reading: &'r Reading) -> Self {
        Self { reading, of: PhantomData }
    }
}

impl<'de, T: Default + FromJson<'de>> DeserializeSeed<'de> for OrNull<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: Default + FromJson<'de>> Visitor<'de> for OrNull<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::from_json(deserializer, self.reading)
    }
}

impl<'de> FromJson<'de> for String {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &Reading) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
    }
}

impl<'de> FromJson<'de> for i32 {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &Reading) -> Result<Self, D::Error> {
        i32::deserialize(deserializer)
    }
}

impl<'de> FromJson<'de> for bool {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &Reading) -> Result<Self, D::Error> {
        bool::deserialize(deserializer)
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for Option<T> {
    fn from_json<D: Deserializer<'de>>(deserializer: D, reading: &Reading) -> Result<Self, D::Error> {
        T::from_json(deserializer, reading).map(Some)
    }
}

impl<'de, T: Default + FromJson<'de>> FromJson<'de> for Vec<T> {
    fn from_json<D: Deserializer<'de>>(deserializer: D, reading: &Reading) -> Result<Self, D::Error> {
        struct Elements<'r, T>(OrNull<'r, T>);
        impl<'de, T: Default + FromJson<'de>> Visitor<'de> for Elements<'_, T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Vec<T>, A::Error> {
                let reading = self.0.reading;
                let mut elements = Vec::new();
                while let Some(element) = values.next_element_seed(OrNull::<T>::new(reading))? {
                    reading.take::<T, A::Error>()?;
                    elements.push(element);
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(Elements(OrNull::new(reading)))
    }
}

impl<'de, V: Default + FromJson<'de>> FromJson<'de> for BTreeMap<String, V> {
    fn from_json<D: Deserializer<'de>>(deserializer: D, reading: &Reading) -> Result<Self, D::Error> {
        struct Entries<'r, V>(OrNull<'r, V>);
        impl<'de, V: Default + FromJson<'de>> Visitor<'de> for Entries<'_, V> {
            type Value = BTreeMap<String, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let reading = self.0.reading;
                let mut entries = BTreeMap::new();
                while let Some(key) = members.next_key::<String>()? {
                    reading.take::<(String, V), A::Error>()?;
                    entries.insert(key, members.next_value_seed(OrNull::<V>::new(reading))?);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Entries(OrNull::new(reading)))
    }
}

/// Declares a JSON object type with the rules of this module: the struct, its `Serialize`, [`FromJson`], defaults and
/// [`Shaped`].
///
/// `pub struct Name, closed { … }` refuses a member it does not know: for objects where a misspelled member, ignored, would
/// widen what the request does.
#[macro_export]
macro_rules! json_object {
    (@unknown $map:ident $member:ident) => {
        $map.next_value::<::serde::de::IgnoredAny>()?;
    };
    (@unknown $map:ident $member:ident closed) => {
        return Err($member.unknown());
    };
    ($(#[doc = $about:literal])* pub struct $name:ident $(, $closed:ident)? {
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
            fn from_json<D: ::serde::Deserializer<'de>>(
                deserializer: D,
                reading: &$crate::domain::json::Reading,
            ) -> Result<Self, D::Error> {
                struct Members<'r>(&'r $crate::domain::json::Reading);
                impl<'de> ::serde::de::Visitor<'de> for Members<'_> {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut object = $name::default();
                        $(let mut $field = false;)*
                        while let Some(member) = map.next_key::<$crate::domain::json::MemberName<'de>>()? {
                            $(if member.is($wire) {
                                if ::std::mem::replace(&mut $field, true) {
                                    self.0.note_double();
                                }
                                let value = $crate::domain::json::OrNull::<$type>::new(self.0);
                                object.$field = map.next_value_seed(value)?;
                                continue;
                            })*
                            $crate::json_object!(@unknown map member $($closed)?);
                        }
                        Ok(object)
                    }
                }
                deserializer.deserialize_map(Members(reading))
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

    /// The refusal of a member that the object does not have.
    pub fn unknown<E: serde::de::Error>(&self) -> E {
        E::custom(format_args!("unknown member '{}'", self.0))
    }
}

impl<'de> Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = MemberName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
pub fn decode<T: Decoded>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let text = readable(bytes);
    let reading = Reading::of(&text);
    let value = read(&text, &reading).map_err(|_| DecodeError::Invalid(explain::<T>(&text)))?;
    if !reading.has_doubles.get() {
        return Ok(value);
    }
    drop(value);
    let merged = merge::merged(&text, T::SHAPE).and_then(|merged| {
        let text = std::str::from_utf8(&merged).map_err(serde_json::Error::custom)?;
        read(text, &Reading::of(text))
    });
    merged.map_err(|error| DecodeError::Invalid(format!("a member that is there more than once: {error}")))
}

fn read<T: Decoded>(text: &str, reading: &Reading) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = OrNull::new(reading).deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// Decodes again to say where it failed; only for the error answer, so that the good case does not pay for paths.
fn explain<T: Decoded>(text: &str) -> String {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracking = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    match OrNull::<T>::new(&Reading::of(text)).deserialize(tracking) {
        Ok(_) => match deserializer.end() {
            Ok(()) => "invalid JSON".to_owned(),
            Err(error) => format!("invalid JSON behind the value: {error}"),
        },
        Err(error) => {
            let path = track.path().to_string();
            match path.as_str() {
                "." => format!("invalid JSON: {error}"),
                _ => format!("field '{path}': {error}"),
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

/// Bytes of the shortest JSON of a value: compact, and without escapes that JSON does not need.
pub fn shortest_size(value: &impl Serialize) -> usize {
    let mut counted = Counted(0);
    // As in [`write`].
    let written = serde_json::to_writer(&mut counted, value);
    debug_assert!(written.is_ok());
    counted.0
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

    json_object! {
        /// One that takes nothing else.
        pub struct Strict, closed {
            /// Map.
            "properties" => properties: TextMap,
        }
    }

    #[test]
    fn closed_objects_refuse_what_they_do_not_know() {
        let known = decode::<Strict>(br#"{"Properties":{"any":"x"}}"#).unwrap();
        assert_eq!(known.properties.len(), 1);
        for unknown in [r#"{"property":{}}"#, r#"{"properties":{},"x":null}"#] {
            let error = decode::<Strict>(unknown.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("unknown member '"), "{error}");
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

    /// Injected: a body whose elements take a hundred times the memory of their text.
    #[test]
    fn elements_may_not_take_many_times_the_memory_of_their_text() {
        json_object! {
            /// Wide.
            pub struct Wide {
                /// Objects.
                "list" => list: Vec<Option<Sample>>,
                /// Texts.
                "texts" => texts: Vec<String>,
                /// Pairs.
                "pairs" => pairs: TextMap,
            }
        }
        let elements = |count: usize, element: &str| vec![element; count].join(",");
        let decode = |text: &str| decode::<Wide>(text.as_bytes()).map_err(|error| error.to_string());
        // A list that real clients send, and a short one of nothing.
        let real = r#"{"serviceName":"orders","properties":{"zone":"z1"},"inner":{"port":30100},"schemas":["orders"]}"#;
        let list = format!(r#"{{"list":[{}]}}"#, elements(20_000, real));
        assert_eq!(decode(&list).map(|wide| wide.list.len()), Ok(20_000));
        let list = format!(r#"{{"list":[{}]}}"#, elements(1_000, "{}"));
        assert_eq!(decode(&list).map(|wide| wide.list.len()), Ok(1_000));
        let pairs: Vec<String> = (0..700_000).map(|number| format!(r#""{number:x}":"""#)).collect();
        for (input, path) in [
            (format!(r#"{{"list":[{}]}}"#, elements(700_000, "{}")), "field 'list"),
            (format!(r#"{{"list":[{}]}}"#, elements(400_000, "null")), "field 'list"),
            (format!(r#"{{"texts":[{}]}}"#, elements(700_000, "\"\"")), "field 'texts"),
            (
                format!(r#"{{"list":[{}],"pairs":{{{}}}}}"#, elements(1_000, "{}"), pairs.join(",")),
                "field 'pairs",
            ),
        ] {
            let refused = decode(&input).unwrap_err();
            assert!(refused.starts_with(path) && refused.contains("too many elements"), "{refused}");
        }
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let sample: Sample = decode(b"{\"serviceName\":\"a\xff\xfeb\"}").unwrap();
        assert_eq!(sample.name, "a\u{FFFD}\u{FFFD}b");
    }
}
