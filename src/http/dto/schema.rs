//! Schemas: bodies of writing one and replacing all, and answers.

use crate::domain::schema::Schema;
use crate::domain::validate;
use crate::error::Error;
use crate::json_object;

json_object! {
    /// Body of writing one schema. Ids in it do not count.
    pub struct PutSchema {
        /// The text; required.
        "schema" => schema: String,
        /// Its summary.
        "summary" => summary: String,
    }
}

impl PutSchema {
    /// The schema, valid with the ids of the path; 400001 otherwise.
    pub fn into_schema(self, service_id: &str, schema_id: &str) -> Result<Schema, Error> {
        let schema = Schema { schema_id: schema_id.to_owned(), summary: self.summary, schema: self.schema };
        validate::schema::put(service_id, &schema)?;
        Ok(schema)
    }
}

json_object! {
    /// Body of replacing all schemas of a service. A service id in it does not count.
    pub struct PutSchemas {
        /// The new ones; required.
        "schemas" => schemas: Vec<Option<Schema>>,
    }
}

impl PutSchemas {
    /// The schemas, valid, each id once; 400001 otherwise.
    pub fn into_schemas(self, service_id: &str, schema_quota: usize) -> Result<Vec<Schema>, Error> {
        let schemas: Option<Vec<Schema>> = self.schemas.into_iter().collect();
        let schemas = schemas.ok_or_else(validate::schema::invalid_request)?;
        validate::schema::replace(service_id, &schemas, schema_quota)?;
        Ok(schemas)
    }
}

json_object! {
    /// Answer: the text of a schema.
    pub struct SchemaText {
        /// The text.
        "schema" => schema: String,
    }
}

json_object! {
    /// Answer: the schemas of a service, with texts and summaries as far as there are and were asked for.
    pub struct SchemaList {
        /// The schemas.
        "schemas" => schemas: Vec<Schema>,
    }
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;

    fn check<T: std::fmt::Debug + PartialEq>(result: Result<T, Error>, expected: Result<T, &str>) {
        match (result, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected),
            (Err(error), Err(part)) => assert!(error.detail.contains(part), "{error}"),
            (result, expected) => panic!("{result:?}, not {expected:?}"),
        }
    }

    fn schema(schema_id: &str, schema: &str, summary: &str) -> Schema {
        Schema { schema_id: schema_id.to_owned(), schema: schema.to_owned(), summary: summary.to_owned() }
    }

    #[test]
    fn one() {
        let read =
            |input: &str| body::<PutSchema>(input.as_bytes()).and_then(|body| body.into_schema("s", "real"));
        check(
            read(r#"{"schemaId":"fake","serviceId":5,"Schema":"x","SUMMARY":"y"}"#),
            Ok(schema("real", "x", "y")),
        );
        check(read(r#"{"schema":" "}"#), Ok(schema("real", " ", "")));
        check(read(r#"{"summary":"x"}"#), Err("ModifySchemaRequest.Schema"));
        check(read(r#"{"schema":"x","summary":"_"}"#), Err("ModifySchemaRequest.Summary"));
        check(read(r#"{"schema":5}"#), Err("field 'schema'"));
        check(read(""), Err("unexpected end of JSON input"));
    }

    #[test]
    fn all() {
        let read =
            |input: &str| body::<PutSchemas>(input.as_bytes()).and_then(|body| body.into_schemas("s", 2));
        let list = |elements: &str| read(&format!(r#"{{"schemas":[{elements}]}}"#));
        let element = |id: &str| format!(r#"{{"schemaId":"{id}","schema":"t","summary":"u"}}"#);
        check(
            list(&[element("a"), element("b")].join(",")),
            Ok(vec![schema("a", "t", "u"), schema("b", "t", "u")]),
        );
        check(list(&[element("a"), element("b"), element("c")].join(",")), Err("Invalid request."));
        check(list(&[element("a"), element("a")].join(",")), Err("Invalid request."));
        for bad in ["", "null", "{}", r#"{"schemaId":"a","schema":"t"}"#] {
            check(list(bad), Err("Invalid request."));
        }
        check(read("{}"), Err("Invalid request."));
        check(read(r#"{"schemas":"x"}"#), Err("field 'schemas'"));
    }
}
