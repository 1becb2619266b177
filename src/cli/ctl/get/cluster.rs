//! `get cluster`.

use clap::Args;
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output::{Listing, column, shown};
use super::super::session::Session;

/// List the stores that the node knows
#[derive(Args)]
pub struct GetCluster {}

impl GetCluster {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let answer = session.get("admin/clusters").await?;
        let clusters = answer.get("clusters").and_then(Value::as_object).cloned().unwrap_or_default();
        let item = |(name, endpoints): (String, Value)| json!({"cluster": name, "endpoints": endpoints});
        let items = clusters.into_iter().map(item).collect();
        let columns = vec![column("CLUSTER", "/cluster"), column("ENDPOINTS", "/endpoints")];
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: |item| shown(item, "/cluster") })
    }
}
