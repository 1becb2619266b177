//! Request bodies and the answers built from values. One file a resource.
//!
//! A body is read in two steps: [`body`] decodes it into a type with the members as they were sent, and a method of
//! that type turns it into valid domain values, or 400001. After that no `null`, no missing member and no value out of
//! bounds is left. Nothing here knows routes, actors or the snapshot; the rules themselves are in
//! [`crate::domain::validate`].

pub mod dependency;
pub mod error;
pub mod find;
pub mod find_answer;
pub mod instance;
pub mod joined;
pub mod node;
pub mod schema;
pub mod service;
pub mod tag;

#[cfg(test)]
mod random;

use crate::domain::json::{self, DecodeJson};
use crate::domain::validate::rule::Shown;
use crate::error::Error;

/// Characters of a decoder's text that are shown at most; it repeats paths and values of the body.
const SHOWN_CHARACTERS: usize = 500;

/// Decodes a request's body; 400001 names the member that is wrong by its path. `null` is an empty object.
pub fn body<T: DecodeJson>(bytes: &[u8]) -> Result<T, Error> {
    json::decode(bytes).map_err(|error| Error::invalid(Shown::up_to(SHOWN_CHARACTERS, error).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_object;

    json_object! {
        /// Sample.
        pub struct Sample {
            /// A number.
            "port" => port: i32,
        }
    }

    fn check(bytes: &[u8], expected: Result<i32, &str>) {
        let decoded = body::<Sample>(bytes).map(|sample| sample.port).map_err(|error| error.detail);
        match (&decoded, expected) {
            (Ok(port), Ok(expected)) => assert_eq!(*port, expected),
            (Err(detail), Err(part)) => assert!(detail.contains(part), "{detail}"),
            _ => panic!("{decoded:?}, not {expected:?}"),
        }
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
    fn what_is_shown_of_a_body_is_bounded() {
        let long = format!(r#"{{"port":"{}"}}"#, "x".repeat(100_000));
        let detail = body::<Sample>(long.as_bytes()).err().map(|error| error.detail.chars().count());
        assert_eq!(detail, Some(SHOWN_CHARACTERS + 1));
        let deep = "[".repeat(100_000);
        assert!(body::<Sample>(format!(r#"{{"x":{deep}"#).as_bytes()).is_err());
    }
}
