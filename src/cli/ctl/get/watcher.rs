//! `get watcher`.

use clap::Args;

use super::super::client::encode;
use super::super::each_node::{self, Extent};
use super::super::failure::Failure;
use super::super::names;
use super::super::output::{Column, Listing, column, shown};
use super::super::session::Session;
use super::super::times::ago;

/// List the watches on the node that are told of changes of a service
#[derive(Args)]
pub struct GetWatcher {
    #[arg(value_name = "SERVICE", help = names::SERVICE_HELP)]
    service: String,
    #[arg(long, help = each_node::HELP)]
    all_nodes: bool,
}

impl GetWatcher {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let services = names::find_services(session, &self.service).await?;
        let extent = Extent::new(self.all_nodes);
        let (mut items, mut complete) = (Vec::new(), Ok(()));
        for service in &services {
            let path = format!("govern/services/{}/watchers", encode(&shown(service, "/serviceId")));
            let answers = each_node::pages(session, extent, &path, &[], None).await?;
            items.extend(answers.items());
            complete = complete.and(answers.complete());
        }
        let clock = session.clock.clone();
        let sent = session.clock.clone();
        let mut columns = vec![
            Column("CONSUMER", Box::new(|watcher| names::service_name(&watcher["consumer"]))),
            column("CLIENT", "/client"),
            Column("CONNECTED", Box::new(move |watcher| ago(&clock, watcher, "/connectedSince"))),
            column("SENT", "/sent"),
            column("PENDING", "/pending"),
            Column("LAST-SENT", Box::new(move |watcher| ago(&sent, watcher, "/lastSent"))),
        ];
        if extent == Extent::EachNode {
            columns.insert(0, column("NODE", "/node"));
        }
        let output = session.output;
        let name = |watcher: &serde_json::Value| shown(watcher, "/consumer/serviceId");
        output.list(session.terminal, &Listing { columns, items, name })?;
        complete
    }
}
