//! Parses query parameters that have a few fixed values.

use super::rule::Shown;
use crate::error::Error;

/// Whether to delete a service that has instances or consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    No,
    Yes,
}

impl Force {
    /// Parses `force` of a deletion: empty, `true`, `false`, `1` or `0`. Case counts.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "false" | "0" => Ok(Self::No),
            "true" | "1" => Ok(Self::Yes),
            _ => Err(Error::invalid("parameter force must be false or true")),
        }
    }
}

/// Whether a list of schemas includes their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithSchema {
    /// The list has ids and summaries only.
    LeftOut,
    Included,
}

impl WithSchema {
    /// What [`Self::parse`] accepts, as a regular expression for the description of the API.
    pub const ACCEPTED: &str =
        r"^(?:[01]|[\u0009-\u000d \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*)$";

    /// Parses `withSchema` of a list: `0`, `1` or blank.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "1" => Ok(Self::Included),
            "0" => Ok(Self::LeftOut),
            _ if text.trim().is_empty() => Ok(Self::LeftOut),
            _ => Err(Error::invalid("parameter withSchema must be 1 or 0")),
        }
    }
}

/// Whether a list of services has the numbers of their instances instead of the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOnly {
    No,
    Yes,
}

impl CountOnly {
    /// What [`Self::parse`] accepts.
    pub const ACCEPTED: &[&str] = &["", "0", "1"];

    /// Parses `countOnly` of a list: empty, `0` or `1`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "0" => Ok(Self::No),
            "1" => Ok(Self::Yes),
            _ => Err(Error::invalid("parameter countOnly must be 1 or 0")),
        }
    }
}

/// What an existence request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistenceKind {
    Microservice,
    Schema,
}

impl ExistenceKind {
    /// What [`Self::parse`] accepts.
    pub const NAMES: &[&str] = &["microservice", "schema"];

    /// Parses `type` of an existence request. Case counts.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "microservice" => Ok(Self::Microservice),
            "schema" => Ok(Self::Schema),
            _ => Err(Error::invalid("Only micro-service and schema can be used as type.")),
        }
    }
}

/// Validates `type` of a request to `instances/action`. Only `query` is valid. This runs before the body is read.
pub fn batch_action(text: &str) -> Result<(), Error> {
    match text {
        "query" => Ok(()),
        _ => Err(Error::invalid(format!("Invalid action: {}", Shown::new(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(
        parse: fn(&str) -> Result<T, Error>,
        texts: &[&str],
        expected: Result<T, &str>,
    ) {
        for text in texts {
            let parsed = parse(text).map_err(|error| error.detail.into_owned());
            assert_eq!(
                parsed.as_ref().map_err(String::as_str),
                expected.as_ref().map_err(|e| *e),
                "{text:?}"
            );
        }
    }

    #[test]
    fn force() {
        check(Force::parse, &["", "false", "0"], Ok(Force::No));
        check(Force::parse, &["true", "1"], Ok(Force::Yes));
        let bad = ["abc", "TRUE", "True", "2", "yes", " true", "t", " "];
        check(Force::parse, &bad, Err("parameter force must be false or true"));
    }

    #[test]
    fn with_schema() {
        check(WithSchema::parse, &["", " ", "0"], Ok(WithSchema::LeftOut));
        check(WithSchema::parse, &["1"], Ok(WithSchema::Included));
        check(WithSchema::parse, &["2", "true", " 1"], Err("parameter withSchema must be 1 or 0"));
    }

    #[test]
    fn count_only() {
        check(CountOnly::parse, &["", "0"], Ok(CountOnly::No));
        check(CountOnly::parse, &["1"], Ok(CountOnly::Yes));
        check(CountOnly::parse, &["2", "x", "true", " "], Err("parameter countOnly must be 1 or 0"));
    }

    #[test]
    fn existence_type() {
        check(ExistenceKind::parse, &["microservice"], Ok(ExistenceKind::Microservice));
        check(ExistenceKind::parse, &["schema"], Ok(ExistenceKind::Schema));
        let bad = ["", "nope", "Microservice", "MICROSERVICE", "service"];
        check(ExistenceKind::parse, &bad, Err("Only micro-service and schema can be used as type."));
    }

    #[test]
    fn action() {
        check(batch_action, &["query"], Ok(()));
        check(batch_action, &[""], Err("Invalid action: "));
        check(batch_action, &["QUERY"], Err("Invalid action: QUERY"));
        check(batch_action, &[" query"], Err("Invalid action:  query"));
    }
}
