//! Validates requests for schemas: ids in paths, one schema to write, all schemas to replace.

use std::collections::BTreeSet;
use std::fmt;

use super::demand::{ConfiguredLimit, Demand, Demanded};
use super::rule::{self, MemberRule};
use super::{member, pattern};
use crate::domain::schema::Schema;
use crate::error::Error;

/// A request of which only the ids of service and schema are validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaRequest {
    /// Read a schema, or ask whether it exists.
    Get,
    Delete,
}

impl fmt::Display for SchemaRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GetSchemaRequest",
            Self::Delete => "DeleteSchemaRequest",
        })
    }
}

const SUMMARY: MemberRule = MemberRule::at_most(128).and_like(pattern::SUMMARY);
const LISTED_SUMMARY: MemberRule = MemberRule::between(1, 128).and_like(pattern::SUMMARY);

/// The body that writes one schema.
pub const SCHEMA: &[Demand] = &[Demand::rule("schema", rule::REQUIRED), Demand::rule("summary", SUMMARY)];

/// The body that replaces all schemas.
pub const REPLACEMENT: &[Demand] = &[
    Demand::new("schemas", Demanded::Count(1, ConfiguredLimit::Schemas)),
    Demand::new("schemas", Demanded::Unique),
    Demand::rule("schemas[]", rule::REQUIRED),
    Demand::rule("schemas[].schemaId", member::SCHEMA_ID),
    Demand::rule("schemas[].summary", LISTED_SUMMARY),
    Demand::rule("schemas[].schema", rule::REQUIRED),
];

/// Validates the ids in a path or in an existence request.
pub fn ids(request: SchemaRequest, service_id: &str, schema_id: &str) -> Result<(), Error> {
    named_ids(&request, service_id, schema_id)
}

fn named_ids(place: &dyn fmt::Display, service_id: &str, schema_id: &str) -> Result<(), Error> {
    member::SERVICE_ID.check(format_args!("{place}.ServiceId"), service_id)?;
    member::SCHEMA_ID.check(format_args!("{place}.SchemaId"), schema_id)
}

/// Validates a schema to write. Its id is the one in the path, and its summary may be empty.
pub fn put(service_id: &str, schema: &Schema) -> Result<(), Error> {
    named_ids(&"ModifySchemaRequest", service_id, &schema.schema_id)?;
    rule::REQUIRED.check("ModifySchemaRequest.Schema", &schema.schema)?;
    SUMMARY.check("ModifySchemaRequest.Summary", &schema.summary)
}

/// Validates schemas that replace all schemas of a service: 1 to `schema_quota`, each id once, each with text and summary. The
/// error is the same for every mistake, as on the original server.
pub fn replace(service_id: &str, schemas: &[Schema], schema_quota: usize) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    let whole = MemberRule::between(1, schema_quota).check_count("Schemas", schemas.len(), "");
    whole
        .and_then(|()| member::SERVICE_ID.check("ServiceId", service_id))
        .and_then(|()| schemas.iter().try_for_each(listed))
        .ok()
        .filter(|()| schemas.iter().all(|schema| seen.insert(&schema.schema_id)))
        .ok_or_else(invalid_request)
}

fn listed(schema: &Schema) -> Result<(), Error> {
    member::SCHEMA_ID.check("SchemaId", &schema.schema_id)?;
    LISTED_SUMMARY.check("Summary", &schema.summary)?;
    rule::REQUIRED.check("Schema", &schema.schema)
}

/// The error for a request to replace all schemas.
pub fn invalid_request() -> Error {
    Error::invalid("Invalid request.")
}

#[cfg(test)]
mod tests {
    use super::super::rule::refused_field;
    use super::*;

    fn check(result: Result<(), Error>, field: Option<&str>) {
        assert_eq!(refused_field(result).as_deref(), field);
    }

    fn schema(schema_id: &str, text: &str, summary: &str) -> Schema {
        Schema { schema_id: schema_id.to_owned(), schema: text.to_owned(), summary: summary.to_owned() }
    }

    fn x(count: usize) -> String {
        "x".repeat(count)
    }

    #[test]
    fn ids_in_paths() {
        check(ids(SchemaRequest::Get, "s", &x(160)), None);
        check(ids(SchemaRequest::Delete, "s", "a-b_c.d"), None);
        for bad in ["", " ", "-a", "a b", &x(161)] {
            check(ids(SchemaRequest::Get, "s", bad), Some("GetSchemaRequest.SchemaId"));
            check(ids(SchemaRequest::Delete, "s", bad), Some("DeleteSchemaRequest.SchemaId"));
        }
        for bad in ["", " ", &x(65)] {
            check(ids(SchemaRequest::Get, bad, ""), Some("GetSchemaRequest.ServiceId"));
        }
    }

    #[test]
    fn one_to_write() {
        check(put("s", &schema(&x(160), " ", &x(128))), None);
        check(put("s", &schema("a", "x", "")), None);
        for bad in [" ", "-a", "a-", "_", "a b", "ä", "a@b", &x(161)] {
            check(put("s", &schema(bad, "x", "")), Some("ModifySchemaRequest.SchemaId"));
        }
        check(put("s", &schema("a", "", "x")), Some("ModifySchemaRequest.Schema"));
        for bad in ["_", "a b", "ä", &x(129)] {
            check(put("s", &schema("a", "x", bad)), Some("ModifySchemaRequest.Summary"));
        }
        check(put(" ", &schema("a", "x", "")), Some("ModifySchemaRequest.ServiceId"));
    }

    fn check_replace(schemas: &[Schema], valid: bool) {
        let expected = if valid { Ok(()) } else { Err(Error::invalid("Invalid request.")) };
        assert_eq!(replace("s", schemas, 100), expected);
    }

    /// An id may not come twice, because it would not be clear which text counts.
    #[test]
    fn all_to_replace() {
        let many =
            |count| -> Vec<Schema> { (0..count).map(|at| schema(&format!("s{at}"), "t", "u")).collect() };
        check_replace(&many(1), true);
        check_replace(&many(100), true);
        check_replace(&[schema(&x(160), "x", &x(128))], true);
        check_replace(&many(101), false);
        check_replace(&[], false);
        check_replace(&[schema("a", "", "u")], false);
        check_replace(&[schema("", "t", "u")], false);
        for bad in ["", "_", &x(129)] {
            check_replace(&[schema("a", "t", bad)], false);
        }
        for bad in ["-a", "b c", &x(161)] {
            check_replace(&[schema("a", "t", "u"), schema(bad, "t", "u")], false);
        }
        check_replace(&[schema("a", "1", "s1"), schema("a", "2", "s2")], false);
        for bad in ["", " ", &x(65)] {
            assert_eq!(replace(bad, &many(1), 100), Err(Error::invalid("Invalid request.")));
        }
    }
}
