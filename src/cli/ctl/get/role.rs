//! `get role`.

use clap::Args;
use serde_json::Value;

use super::super::client::Call;
use super::super::failure::Failure;
use super::super::output::{Column, Listing, column, items, shown};
use super::super::session::Session;

/// List the roles and what each allows
#[derive(Args)]
pub struct GetRole {}

impl GetRole {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let answer = session.call(&Call::get("/v4/roles")).await?;
        let columns = vec![column("NAME", "/name"), Column("ALLOWS", Box::new(allowed))];
        let items = items(&answer, "/data").to_vec();
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: |role| shown(role, "/name") })
    }
}

/// The permissions of a role: `get,update service[appId=shop]; get schema`.
fn allowed(role: &Value) -> String {
    let resource = |resource: &Value| {
        let labels = shown(resource, "/labels");
        let labels = if labels.is_empty() { String::new() } else { format!("[{labels}]") };
        format!("{}{labels}", shown(resource, "/type"))
    };
    let permission = |permission: &Value| {
        let resources: Vec<String> = items(permission, "/resources").iter().map(resource).collect();
        format!("{} {}", shown(permission, "/verbs"), resources.join(","))
    };
    items(role, "/perms").iter().map(permission).collect::<Vec<_>>().join("; ")
}
