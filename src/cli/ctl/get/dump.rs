//! Services and instances of all tenants, out of the dump of a node.

use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output::{items, text};
use super::super::session::Session;

/// What the node holds, each document with the members `domain` and `project`.
pub struct Dump {
    pub services: Vec<Value>,
    pub instances: Vec<Value>,
}

/// Reads the dump, which a node shows to the tenant `default/default` only.
pub async fn read(session: &mut Session<'_, '_>) -> Result<Dump, Failure> {
    let answer = session.get("admin/dump?options=cache").await?;
    // The keys are /cse-sr/ms/files/DOMAIN/PROJECT/… and /cse-sr/inst/files/DOMAIN/PROJECT/….
    let documents = |list: &str| -> Vec<Value> {
        let placed = |entry: &Value| {
            let mut parts = text(entry, "/key").split('/').skip(4);
            let mut document = entry.get("value").cloned().unwrap_or_default();
            let members = document.as_object_mut()?;
            members.insert("domain".to_owned(), json!(parts.next()?));
            members.insert("project".to_owned(), json!(parts.next()?));
            Some(document)
        };
        items(&answer, list).iter().filter_map(placed).collect()
    };
    Ok(Dump { services: documents("/cache/services"), instances: documents("/cache/instances") })
}
