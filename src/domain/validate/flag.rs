//! Query parameters that choose one of a few ways, parsed into a type each.

use super::rule::Shown;
use crate::error::Error;

/// Whether a service is deleted although it has instances or consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Refuse then.
    No,
    /// Delete all the same.
    Yes,
}

impl Force {
    /// `force` of a deletion: empty, `true`, `false`, `1` or `0`, in exactly this spelling.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "false" | "0" => Ok(Self::No),
            "true" | "1" => Ok(Self::Yes),
            _ => Err(Error::invalid("parameter force must be false or true")),
        }
    }
}

/// Whether a list of schemas comes with their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaTexts {
    /// Ids and summaries only.
    LeftOut,
    /// All.
    Included,
}

impl SchemaTexts {
    /// `withSchema` of a list: `0`, `1` or blank.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "1" => Ok(Self::Included),
            "0" => Ok(Self::LeftOut),
            _ if text.trim().is_empty() => Ok(Self::LeftOut),
            _ => Err(Error::invalid("parameter withSchema must be 1 or 0")),
        }
    }
}

/// What is asked to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistenceKind {
    /// A service, by its key.
    Microservice,
    /// A schema of a service.
    Schema,
}

impl ExistenceKind {
    /// `type` of an existence request, in exactly this spelling.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "microservice" => Ok(Self::Microservice),
            "schema" => Ok(Self::Schema),
            _ => Err(Error::invalid("Only micro-service and schema can be used as type.")),
        }
    }
}

/// `type` of a request to `instances/action`; `query` is the only one. Checked before the body is read.
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
        check(SchemaTexts::parse, &["", " ", "0"], Ok(SchemaTexts::LeftOut));
        check(SchemaTexts::parse, &["1"], Ok(SchemaTexts::Included));
        check(SchemaTexts::parse, &["2", "true", " 1"], Err("parameter withSchema must be 1 or 0"));
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
