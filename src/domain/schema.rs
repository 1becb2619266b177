//! Schemas: contents addressed by hash, referred to by services.

use md5::{Digest, Md5};

use super::service::hex;
use crate::json_object;

json_object! {
    /// A schema of a service, as clients send and get it.
    pub struct Schema {
        /// Unique within the service.
        "schemaId" => schema_id: String,
        /// Opaque, alphanumeric; clients compare it.
        "summary" => summary: String,
        /// The text.
        "schema" => schema: String,
    }
}

/// Under which a content is stored: lower-case hex MD5 of `<schemaId>: <content>`.
pub fn content_hash(schema_id: &str, content: &str) -> String {
    hex(&Md5::new().chain_update(schema_id).chain_update(": ").chain_update(content).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vector() {
        assert_eq!(content_hash("hello", r#"{"swagger":"2.0"}"#), "63f4f9073f4cba5b0a8ff13a7c2e5208");
    }
}
