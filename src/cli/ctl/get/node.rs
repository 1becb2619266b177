//! `get node`.

use clap::Args;
use serde_json::Value;

use super::super::failure::Failure;
use super::super::output::{Column, Listing, column, items, shown, text};
use super::super::session::Session;
use super::super::times::{ago, lasting};

/// List the nodes of the cluster: what each shows, and whether it agrees with the others
///
/// AGREES is whether the node shows the same as the node that answers. It is empty if that is not known now: the two were not compared yet,
/// the other node has written nothing for 20 s (SEEN), or the node that answers does not reach the store (STORE is lost). A node that ended
/// without a goodbye stays in the list for up to 30 s, beside a new process at its endpoint. A node that does not reach the store lists the
/// others as it last saw them
#[derive(Args)]
pub struct GetNode {}

impl GetNode {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let items = session.pages("admin/nodes", &[], None).await?;
        let (clock, agrees) = (session.clock.clone(), agrees(&items));
        let mut columns = vec![
            column("NODE", "/node"),
            column("ENDPOINT", "/endpoint"),
            column("VERSION", "/version"),
            column("REVISION", "/revision"),
            agrees,
            column("STORE", "/storeContact/state"),
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
            ]);
        }
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: |node| shown(node, "/node") })
    }
}

/// A node writes each 10 s. If two of its summaries are missing, it has ended or does not reach the store.
const LATE_SECONDS: f64 = 20.0;

/// Whether the nodes agree now. Empty for a node that is late, and for all nodes if the node that answers does not reach the store: the
/// last comparison says nothing about now.
pub fn agrees(nodes: &[Value]) -> Column<'static> {
    let is_cut_off = nodes.iter().any(|node| {
        node.get("self") == Some(&Value::Bool(true)) && text(node, "/storeContact/state") == "lost"
    });
    Column(
        "AGREES",
        Box::new(move |node| {
            let age = node.get("ageSeconds").and_then(Value::as_f64).unwrap_or_default();
            if is_cut_off || age > LATE_SECONDS { String::new() } else { shown(node, "/agrees") }
        }),
    )
}

/// The names of the alarms, whether the node sends names or objects with an `id`.
fn alarms(node: &Value) -> String {
    let name = |alarm: &Value| alarm.get("id").map_or_else(|| shown(alarm, ""), |_| shown(alarm, "/id"));
    items(node, "/alarms").iter().map(name).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown_of(store: &str, age_seconds: f64) -> [String; 2] {
        let own = json!({"self": true, "agrees": true, "ageSeconds": 0.0, "storeContact": {"state": store}});
        let other = json!({"self": false, "agrees": true, "ageSeconds": age_seconds});
        let nodes = [own, other];
        let Column(_, cell) = agrees(&nodes);
        nodes.each_ref().map(cell)
    }

    #[test]
    fn only_nodes_that_can_be_compared_now_agree() {
        assert_eq!(shown_of("reached", 9.9), ["true", "true"]);
        assert_eq!(shown_of("reached", 26.0), ["true", ""], "it has ended, or does not reach the store");
        assert_eq!(shown_of("lost", 9.9), ["", ""]);
    }
}
