//! JSON by the rules of Go's `encoding/json`. The original server used it, so clients rely on these rules.
//!
//! Reading:
//! - The name of a member matches in any ASCII case.
//! - Unknown members are ignored. An object that is declared `closed` rejects them.
//! - `null` leaves the default.
//! - A member that comes more than once is merged, see [`merge`].
//! - Invalid UTF-8 and lone surrogates become U+FFFD.
//!
//! Writing:
//! - The output has no blanks. Members come in the order of declaration, and the keys of a map are sorted.
//! - Empty members are left out.
//! - `<`, `>`, `&`, U+2028 and U+2029 are escaped.

mod canonical;
mod merge;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;

use self::canonical::PLAIN;
pub use self::canonical::is_canonical;
use super::shape::Shaped;

/// A map of text to text, for properties and tags. It is sorted, because its JSON is.
pub type TextMap = BTreeMap<String, String>;

/// A type that can be a member of a [`json_object!`].
pub trait Member: Default {
    /// Whether the member is left out in the JSON.
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

impl Member for i64 {
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

/// The state of decoding one text.
#[derive(Debug)]
pub struct DecodeState {
    /// Bytes of memory that further elements of lists and entries of maps may take.
    room: Cell<usize>,
    has_doubles: Cell<bool>,
    /// Where decoding failed, from the innermost value that was read when it failed: `inner.list[3]`.
    path: RefCell<String>,
}

/// Bytes of memory that elements and entries may take for each byte of the text, in addition to [`ROOM`]. Real ones take about
/// as many bytes as their text. An attacker's `{}` in a list of instances would take a hundred times as many.
const ROOM_FACTOR: usize = 4;
/// Bytes of memory that elements and entries of any text may take.
const ROOM: usize = 1024 * 1024;

impl DecodeState {
    fn new(text: &str) -> Self {
        let room = text.len().saturating_mul(ROOM_FACTOR).saturating_add(ROOM);
        Self { room: Cell::new(room), has_doubles: Cell::new(false), path: RefCell::default() }
    }

    /// Notes that an object has a member twice. The text is then merged and decoded again.
    pub fn note_double(&self) {
        self.has_doubles.set(true);
    }

    /// Notes that a value could not be decoded. To be called from the innermost value outwards.
    fn note_failure(&self, of: Step<'_>) {
        let mut path = self.path.borrow_mut();
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = match of {
            Step::Whole => return,
            Step::Member(name) => format!("{name}{dot}{path}"),
            Step::Element(index) => format!("[{index}]{dot}{path}"),
        };
    }

    /// Takes room for one more element or entry. Fails if there is not enough.
    fn take<T, E: serde::de::Error>(&self) -> Result<(), E> {
        match self.room.get().checked_sub(size_of::<T>()) {
            Some(left) => {
                self.room.set(left);
                Ok(())
            }
            None => Err(E::custom("too many elements: they take more memory than a text of this size may")),
        }
    }
}

/// A type that [`decode`] returns.
pub trait DecodeJson: Default + Shaped + for<'de> FromJson<'de> {}

impl<T: Default + Shaped + for<'de> FromJson<'de>> DecodeJson for T {}

/// A type that can be read from a JSON value other than `null`. In lists and maps, a `null` is read as the default.
pub trait FromJson<'de>: Sized {
    fn from_json<D: Deserializer<'de>>(deserializer: D, state: &DecodeState) -> Result<Self, D::Error>;
}

/// Which part of the value around it a value is.
#[derive(Clone, Copy, Debug)]
enum Step<'n> {
    /// There is no value around it.
    Whole,
    /// A member of an object, or an entry of a map.
    Member(&'n str),
    Element(usize),
}

/// Reads a value, and the default for `null`. Notes the place of the value if it cannot be read.
#[derive(Debug)]
pub struct OrNull<'r, T> {
    state: &'r DecodeState,
    step: Step<'r>,
    of: PhantomData<T>,
}

impl<'r, T> OrNull<'r, T> {
    fn new(state: &'r DecodeState, step: Step<'r>) -> Self {
        Self { state, step, of: PhantomData }
    }

    /// The value of a member.
    pub fn member(state: &'r DecodeState, name: &'r MemberName<'_>) -> Self {
        Self::new(state, Step::Member(&name.0))
    }
}

impl<'de, T: Default + FromJson<'de>> DeserializeSeed<'de> for OrNull<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        let (state, step) = (self.state, self.step);
        deserializer.deserialize_option(self).inspect_err(|_| state.note_failure(step))
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
        T::from_json(deserializer, self.state)
    }
}

impl<'de> FromJson<'de> for String {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &DecodeState) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
    }
}

/// A member that no type declares.
impl<'de> FromJson<'de> for IgnoredAny {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &DecodeState) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

impl<'de> FromJson<'de> for i32 {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &DecodeState) -> Result<Self, D::Error> {
        i32::deserialize(deserializer)
    }
}

impl<'de> FromJson<'de> for i64 {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &DecodeState) -> Result<Self, D::Error> {
        i64::deserialize(deserializer)
    }
}

impl<'de> FromJson<'de> for bool {
    fn from_json<D: Deserializer<'de>>(deserializer: D, _: &DecodeState) -> Result<Self, D::Error> {
        bool::deserialize(deserializer)
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for Option<T> {
    fn from_json<D: Deserializer<'de>>(deserializer: D, state: &DecodeState) -> Result<Self, D::Error> {
        T::from_json(deserializer, state).map(Some)
    }
}

impl<'de, T: Default + FromJson<'de>> FromJson<'de> for Vec<T> {
    fn from_json<D: Deserializer<'de>>(deserializer: D, state: &DecodeState) -> Result<Self, D::Error> {
        struct ListVisitor<'r, T>(&'r DecodeState, PhantomData<T>);
        impl<'de, T: Default + FromJson<'de>> Visitor<'de> for ListVisitor<'_, T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Vec<T>, A::Error> {
                let Self(state, _) = self;
                let mut elements = Vec::new();
                while let Some(element) = {
                    let step = Step::Element(elements.len());
                    values.next_element_seed(OrNull::<T>::new(state, step))?
                } {
                    state.take::<T, A::Error>()?;
                    elements.push(element);
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_seq(ListVisitor(state, PhantomData))
    }
}

impl<'de, V: Default + FromJson<'de>> FromJson<'de> for BTreeMap<String, V> {
    fn from_json<D: Deserializer<'de>>(deserializer: D, state: &DecodeState) -> Result<Self, D::Error> {
        struct MapVisitor<'r, V>(&'r DecodeState, PhantomData<V>);
        impl<'de, V: Default + FromJson<'de>> Visitor<'de> for MapVisitor<'_, V> {
            type Value = BTreeMap<String, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                let Self(state, _) = self;
                let mut entries = BTreeMap::new();
                while let Some(key) = members.next_key::<String>()? {
                    state.take::<(String, V), A::Error>()?;
                    let value = members.next_value_seed(OrNull::<V>::new(state, Step::Member(&key)))?;
                    entries.insert(key, value);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(MapVisitor(state, PhantomData))
    }
}

/// Declares a JSON object type with the rules of this module: the struct, and its `Serialize`, [`FromJson`], `Default` and
/// [`Shaped`]. The doc comments also go into the description of the API.
///
/// `pub struct Name, closed { … }` rejects unknown members. It is for requests that would do more than meant if a misspelled
/// member were ignored.
///
/// `"password" => password: String; secret,` is a member whose value neither `Debug` nor an error shows.
#[macro_export]
macro_rules! json_object {
    (@unknown $map:ident $state:expr, $member:ident) => {
        let value = $crate::domain::json::OrNull::<::serde::de::IgnoredAny>::member($state, &$member);
        $map.next_value_seed(value)?;
    };
    (@unknown $map:ident $state:expr, $member:ident closed) => {
        return Err($member.unknown());
    };
    (@shown $value:expr) => {
        $value
    };
    (@shown $value:expr, secret) => {
        &::std::format_args!("******")
    };
    (@read $error:ident, $read:expr) => {
        $read?
    };
    (@read $error:ident, $read:expr, secret) => {
        $read.map_err(|_| $error("expected a text"))?
    };
    ($(#[doc = $about:literal])* pub struct $name:ident $(, $closed:ident)? {
        $($(#[doc = $doc:literal])* $wire:literal => $field:ident: $type:ty $(; $secret:ident)?,)*
    }) => {
        $(#[doc = $about])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $doc])* pub $field: $type,)* }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), $crate::json_object!(@shown &self.$field $(, $secret)?)))*
                    .finish()
            }
        }

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
                state: &$crate::domain::json::DecodeState,
            ) -> Result<Self, D::Error> {
                struct ObjectVisitor<'r>(&'r $crate::domain::json::DecodeState);
                impl<'de> ::serde::de::Visitor<'de> for ObjectVisitor<'_> {
                    type Value = $name;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str("an object")
                    }

                    /// The text may be a secret in the wrong place, so the error does not show it.
                    fn visit_str<E: ::serde::de::Error>(self, _: &str) -> Result<$name, E> {
                        Err(E::invalid_type(::serde::de::Unexpected::Other("a text"), &self))
                    }

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        #[allow(unused_variables, reason = "most objects have no secret")]
                        let error = <A::Error as ::serde::de::Error>::custom::<&str>;
                        let mut object = $name::default();
                        $(let mut $field = false;)*
                        while let Some(member) = map.next_key::<$crate::domain::json::MemberName<'de>>()? {
                            $(if member.is($wire) {
                                if ::std::mem::replace(&mut $field, true) {
                                    self.0.note_double();
                                }
                                let value = $crate::domain::json::OrNull::<$type>::member(self.0, &member);
                                object.$field =
                                    $crate::json_object!(@read error, map.next_value_seed(value) $(, $secret)?);
                                continue;
                            })*
                            $crate::json_object!(@unknown map self.0, member $($closed)?);
                        }
                        Ok(object)
                    }
                }
                // Not `deserialize_map`, whose error shows a text in place of an object.
                deserializer.deserialize_any(ObjectVisitor(state))
            }
        }
    };
}

/// The name of a member as the client sent it. It is borrowed from the text unless it contains escapes.
#[derive(Debug)]
pub struct MemberName<'de>(Cow<'de, str>);

impl MemberName<'_> {
    /// Whether the name is this one, in any ASCII case.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }

    /// The error for a member that a closed object does not have.
    pub fn unknown<E: serde::de::Error>(&self) -> E {
        E::custom(format_args!("unknown member '{}'", self.0))
    }
}

impl<'de> Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
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
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Why a text could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The text is empty or has only blanks.
    Empty,
    /// The text is not JSON, or a member has the wrong type. The text says which member, where, and what was expected.
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

/// Decodes one JSON value. Only blanks may follow it. `null` gives the default.
pub fn decode<T: DecodeJson>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let text = readable(bytes);
    let state = DecodeState::new(&text);
    let value = read(&text, &state).map_err(DecodeError::Invalid)?;
    if !state.has_doubles.get() {
        return Ok(value);
    }
    drop(value);
    let merged = merge::merged(&text, T::SHAPE).map_err(|error| error.to_string()).and_then(|merged| {
        let text = std::str::from_utf8(&merged).map_err(|error| error.to_string())?;
        read(text, &DecodeState::new(text))
    });
    merged.map_err(|error| {
        DecodeError::Invalid(format!("cannot merge a member that comes more than once: {error}"))
    })
}

/// The error says what is wrong, and where.
fn read<T: DecodeJson>(text: &str, state: &DecodeState) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = OrNull::new(state, Step::Whole).deserialize(&mut deserializer);
    let value = value.map_err(|error| match state.path.take().as_str() {
        "" => format!("invalid JSON: {error}"),
        path => format!("field '{path}': {error}"),
    })?;
    match deserializer.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(format!("invalid JSON after the value: {error}")),
    }
}

/// The bytes as a text that a JSON parser accepts. Replaces invalid UTF-8 and lone surrogate escapes by U+FFFD.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    // Nearly every text is valid UTF-8, and `from_utf8` is much faster than `from_utf8_lossy`.
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
    out.push_str(&text[copied..]);
    out
}

/// Encodes a value with the rules of this module.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    encode_into(value, &mut out);
    out
}

/// The number of bytes that [`encode`] returns. The bytes themselves are not kept.
pub fn encoded_size(value: &impl Serialize) -> usize {
    let mut counter = ByteCounter(0);
    write(value, &mut counter);
    counter.0
}

/// Does what [`encode`] does, for a value whose size is known. It allocates once.
pub fn encode_sized(value: &impl Serialize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(size);
    encode_into(value, &mut out);
    out
}

/// Counts the bytes that are written to it.
struct ByteCounter(usize);

impl io::Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does what [`encode`] does, and appends the bytes to `out`.
pub fn encode_into(value: &impl Serialize, out: &mut Vec<u8>) {
    write(value, out);
}

fn write(value: &impl Serialize, out: &mut impl io::Write) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoEscapes);
    // Writing to memory does not fail, and all map keys of this layer's types are texts.
    let written = value.serialize(&mut serializer);
    debug_assert!(written.is_ok());
}

/// The number of bytes of a value's shortest JSON: without blanks, and without escapes that only Go writes.
pub fn shortest_size(value: &impl Serialize) -> usize {
    let mut counter = ByteCounter(0);
    // This does not fail, for the reasons in [`write`].
    let written = serde_json::to_writer(&mut counter, value);
    debug_assert!(written.is_ok());
    counter.0
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
        if bytes.iter().all(|byte| PLAIN[usize::from(*byte)]) {
            return writer.write_all(bytes);
        }
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
        /// An inner object.
        pub struct JsonInner {
            /// A number.
            "port" => port: i32,
        }
    }

    json_object! {
        /// An object with members of several types.
        pub struct JsonSample {
            /// Text.
            "serviceName" => name: String,
            /// List.
            "schemas" => schemas: Vec<String>,
            /// Map.
            "properties" => properties: TextMap,
            /// Object.
            "inner" => inner: Option<JsonInner>,
        }
    }

    json_object! {
        /// A closed object.
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

    #[test]
    fn secrets_are_not_shown() {
        json_object! {
            /// A login.
            pub struct JsonLogin {
                /// Not secret.
                "name" => name: String,
                /// Secret.
                "password" => password: String; secret,
            }
        }
        let login = decode::<JsonLogin>(br#"{"name":"tester","password":"7654321"}"#).unwrap();
        assert_eq!(login.password, "7654321");
        assert_eq!(format!("{login:?}"), r#"JsonLogin { name: "tester", password: ****** }"#);
        for input in [
            r#"{"password":7654321}"#,
            r#"{"password":[7654321]}"#,
            r#"{"password":true,"password":7654321}"#,
        ] {
            let error = decode::<JsonLogin>(input.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("password") && error.contains("expected a text"), "{error}");
            assert!(!error.contains("7654321"), "{error}");
        }
        for input in [r#""7654321""#, r#"{"password":"7654321"#, r#"{"password":"7654321"} 7654321"#] {
            let error = decode::<JsonLogin>(input.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains("7654321"), "{error}");
        }
    }

    fn check(input: &str, expected: &str) {
        let sample: JsonSample = decode(input.as_bytes()).unwrap();
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
        let refused = |input: &str| decode::<JsonSample>(input.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused(" "), "unexpected end of JSON input");
        assert!(refused(r#"{"inner":{"port":1.5}}"#).contains("inner.port"));
        assert!(refused(r#"{"inner":{"port":3000000000}}"#).contains("inner.port"));
        assert!(refused(r#"{"schemas":[1]}"#).contains("schemas[0]"));
        assert!(refused(r#"{} x"#).contains("trailing"));
        assert!(refused("[]").contains("object"));
    }

    /// The injected fault is a body whose elements take a hundred times the memory of their text.
    #[test]
    fn elements_may_not_take_many_times_the_memory_of_their_text() {
        json_object! {
            /// Wide.
            pub struct Wide {
                /// Objects.
                "list" => list: Vec<Option<JsonSample>>,
                /// Texts.
                "texts" => texts: Vec<String>,
                /// Pairs.
                "pairs" => pairs: TextMap,
            }
        }
        let elements = |count: usize, element: &str| vec![element; count].join(",");
        let decode = |text: &str| decode::<Wide>(text.as_bytes()).map_err(|error| error.to_string());
        // A list as real clients send it, and a short list of empty objects.
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
        let sample: JsonSample = decode(b"{\"serviceName\":\"a\xff\xfeb\"}").unwrap();
        assert_eq!(sample.name, "a\u{FFFD}\u{FFFD}b");
    }
}
