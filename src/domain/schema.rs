//! Schemas. The store holds each text under its hash, and services refer to the hash.

use md5::{Digest, Md5};

use crate::json_object;

json_object! {
    /// A schema of a service, as clients send and get it.
    pub struct Schema {
        /// Id, unique within the service.
        "schemaId" => schema_id: String,
        /// Any letters and digits. Clients compare summaries to see whether a schema has changed.
        "summary" => summary: String,
        /// Text of the schema.
        "schema" => schema: String,
    }
}

/// The hash under which the store holds a schema's text: lower-case hex MD5 of `<schemaId>: <content>`.
pub fn content_hash(schema_id: &str, content: &str) -> String {
    hex::encode(Md5::new().chain_update(schema_id).chain_update(": ").chain_update(content).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vector() {
        assert_eq!(content_hash("hello", r#"{"swagger":"2.0"}"#), "63f4f9073f4cba5b0a8ff13a7c2e5208");
    }
}
