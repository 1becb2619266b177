//! `get node`.

use clap::Args;

use super::super::failure::Failure;
use super::super::output::{Column, Listing, column, items, shown};
use super::super::session::Session;
use super::super::times::{ago, lasting};

/// List the nodes of the cluster: what each shows, and whether it agrees with the others
#[derive(Args)]
pub struct GetNode {}

impl GetNode {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let items = session.pages("admin/nodes", &[], None).await?;
        let clock = session.clock.clone();
        let mut columns = vec![
            column("NODE", "/node"),
            column("ENDPOINT", "/endpoint"),
            column("VERSION", "/version"),
            column("REVISION", "/revision"),
            column("AGREES", "/agrees"),
            column("SERVICES", "/services"),
            column("INSTANCES", "/instances"),
            column("WATCHERS", "/watchers"),
            column("HELD", "/heldExpiries"),
            Column("ALARMS", Box::new(alarms)),
            Column("SEEN", Box::new(|node| lasting(node, "/ageSeconds"))),
            Column("AGE", Box::new(move |node| ago(&clock, node, "/started"))),
        ];
        if session.output.is_wide() {
            columns.extend([
                column("DIGEST", "/digest"),
                column("CLOCK", "/clockOffsetSeconds"),
                column("INSTANCE", "/instanceId"),
                column("STORE", "/storeContact/state"),
            ]);
        }
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: |node| shown(node, "/node") })
    }
}

/// The names of the alarms, whether the node sends names or objects with an `id`.
fn alarms(node: &serde_json::Value) -> String {
    let name =
        |alarm: &serde_json::Value| alarm.get("id").map_or_else(|| shown(alarm, ""), |_| shown(alarm, "/id"));
    items(node, "/alarms").iter().map(name).collect::<Vec<_>>().join(",")
}
