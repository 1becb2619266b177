//! `get expiry`.

use clap::Args;

use super::super::failure::Failure;
use super::super::names;
use super::super::output::{Column, Listing, column, shown};
use super::super::session::Session;
use super::super::times::lasting;

/// List the expired instances that the node still shows, and the rule that holds each
#[derive(Args)]
pub struct GetExpiry {
    #[arg(value_name = "SERVICE", help = names::SERVICE_HELP)]
    service: Option<String>,
}

impl GetExpiry {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let mut items = Vec::new();
        match &self.service {
            Some(argument) => {
                for service in names::find_services(session, argument).await? {
                    let query = [("serviceId", shown(&service, "/serviceId"))];
                    items.extend(session.pages("admin/expiries", &query, None).await?);
                }
            }
            None => items = session.pages("admin/expiries", &[], None).await?,
        }
        let columns = vec![
            column("TENANT", "/tenant"),
            Column("SERVICE", Box::new(names::service_name)),
            column("INSTANCE", "/instanceId"),
            column("RULE", "/rule"),
            Column("HELD", Box::new(|expiry| lasting(expiry, "/heldSeconds"))),
            Column("RELEASED-IN", Box::new(|expiry| lasting(expiry, "/releasedInSeconds"))),
        ];
        let output = session.output;
        output.list(session.terminal, &Listing { columns, items, name: names::instance_name })
    }
}
