//! The types of request bodies and of answers. One file per resource.
//!
//! A body is read in two steps. [`body`] decodes it into a type that has the members as the client sent them. Then a method of
//! that type (`into_…`) returns valid domain values, or 400001: after it, no member is `null`, missing or out of range. The rules
//! are in [`crate::domain::validate`]. This module does not import routes, actors or the snapshot.

pub mod account;
pub mod admin;
pub mod cut;
pub mod dependency;
pub mod drain;
pub mod error;
pub mod event;
pub mod explain;
pub mod find;
pub mod find_answer;
pub mod govern;
pub mod instance;
pub mod joined;
pub mod node;
pub mod schema;
pub mod search;
pub mod service;
pub mod tag;
pub mod target_group;

#[cfg(test)]
mod random;

use crate::domain::json::{self, DecodeJson};
use crate::domain::validate::rule::Shown;
use crate::error::Error;

/// The error of a decoder is cut after this many characters, because it repeats paths and values of the body.
const SHOWN_CHARACTERS: usize = 500;

/// Decodes the body of a request. `null` is decoded as an empty object. 400001 names the path of the wrong member.
pub fn body<T: DecodeJson>(bytes: &[u8]) -> Result<T, Error> {
    json::decode(bytes).map_err(|error| Error::invalid(Shown::up_to(SHOWN_CHARACTERS, error).to_string()))
}

/// As [`body`], but `null` is 400001. For accounts and roles, where an empty object takes something away.
pub fn object_body<T: DecodeJson>(bytes: &[u8]) -> Result<T, Error> {
    body::<Option<T>>(bytes)?.ok_or_else(|| Error::invalid("the body is null, and must be an object"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_object;

    /// `Err`: a part of the error.
    pub(super) fn check_read<T: std::fmt::Debug + PartialEq>(
        result: Result<T, Error>,
        expected: Result<T, &str>,
    ) {
        match (result, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected),
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (result, expected) => panic!("{result:?}, not {expected:?}"),
        }
    }

    json_object! {
        /// A body.
        pub struct BodySample {
            /// A number.
            "port" => port: i32,
        }
    }

    fn check(bytes: &[u8], expected: Result<i32, &str>) {
        check_read(body::<BodySample>(bytes).map(|sample| sample.port), expected);
    }

    #[test]
    fn bodies() {
        check(br#"{"PORT":5,"more":{"a":[1]}}"#, Ok(5));
        check(b"null", Ok(0));
        check(b"{}    ", Ok(0));
        check(b"", Err("unexpected end of JSON input"));
        check(b" \n", Err("unexpected end of JSON input"));
        check(br#"{"port":"x"}"#, Err("field 'port'"));
        check(br#"{"port":1e2}"#, Err("field 'port'"));
        check(br#"{"port":3000000000}"#, Err("field 'port'"));
        check(b"{", Err("EOF"));
        check(b"[]", Err("expected an object"));
        check(b"{} {}", Err("trailing"));
    }

    #[test]
    fn null_is_no_object() {
        let decoded = |bytes: &[u8]| object_body::<BodySample>(bytes).map(|sample| sample.port);
        assert_eq!(decoded(br#"{"port":5}"#).ok(), Some(5));
        assert_eq!(decoded(b"{}").ok(), Some(0));
        for null in [&b"null"[..], b" null "] {
            assert!(decoded(null).is_err_and(|error| error.detail.contains("null")));
        }
    }

    #[test]
    fn what_is_shown_of_a_body_is_bounded() {
        let long = format!(r#"{{"port":"{}"}}"#, "x".repeat(100_000));
        let detail = body::<BodySample>(long.as_bytes()).err().map(|error| error.detail.chars().count());
        assert_eq!(detail, Some(SHOWN_CHARACTERS + 1));
        let deep = "[".repeat(100_000);
        assert!(body::<BodySample>(format!(r#"{{"x":{deep}"#).as_bytes()).is_err());
    }
}
