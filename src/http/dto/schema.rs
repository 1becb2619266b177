//! Schemas: the bodies that write one schema or replace all schemas, and the answers.

use crate::domain::schema::Schema;
use crate::domain::validate;
use crate::error::Error;
use crate::json_object;

json_object! {
    /// The body that writes one schema. Ids in it are ignored.
    pub struct SchemaBody {
        /// The text. Required.
        "schema" => schema: String,
        /// The summary of the schema.
        "summary" => summary: String,
    }
}

impl SchemaBody {
    /// The schema, after validation; 400001 if it is invalid. The ids come from the path.
    pub fn into_schema(self, service_id: &str, schema_id: &str) -> Result<Schema, Error> {
        let schema = Schema { schema_id: schema_id.to_owned(), summary: self.summary, schema: self.schema };
        validate::schema::put(service_id, &schema)?;
        Ok(schema)
    }
}

json_object! {
    /// The body that replaces all schemas of a service. A service id in it is ignored.
    pub struct SchemasBody {
        /// The new schemas. Required.
        "schemas" => schemas: Vec<Option<Schema>>,
    }
}

impl SchemasBody {
    /// The schemas, after validation; 400001 if one is invalid or if an id is there twice.
    pub fn into_schemas(self, service_id: &str, schema_quota: usize) -> Result<Vec<Schema>, Error> {
        let schemas: Option<Vec<Schema>> = self.schemas.into_iter().collect();
        let schemas = schemas.ok_or_else(validate::schema::invalid_request)?;
        validate::schema::replace(service_id, &schemas, schema_quota)?;
        Ok(schemas)
    }
}

json_object! {
    /// The text of a schema.
    pub struct SchemaText {
        /// The text of the schema.
        "schema" => schema: String,
    }
}

json_object! {
    /// The schemas of a service. Texts are left out if the request did not ask for them, summaries if there are none.
    pub struct SchemaList {
        /// The schemas.
        "schemas" => schemas: Vec<Schema>,
    }
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::super::tests::check_read as check;
    use super::*;

    fn schema(schema_id: &str, schema: &str, summary: &str) -> Schema {
        Schema { schema_id: schema_id.to_owned(), schema: schema.to_owned(), summary: summary.to_owned() }
    }

    #[test]
    fn one() {
        let read =
            |input: &str| body::<SchemaBody>(input.as_bytes()).and_then(|body| body.into_schema("s", "real"));
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
            |input: &str| body::<SchemasBody>(input.as_bytes()).and_then(|body| body.into_schemas("s", 2));
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
