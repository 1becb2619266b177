//! `history`.

use clap::Args;

use super::client::encode;
use super::each_node::{self, Extent};
use super::event_line;
use super::failure::{Failure, NO};
use super::names;
use super::output::{shown, text};
use super::session::Session;

/// Print the whole life of an instance, also when it is gone
#[derive(Args)]
pub struct History {
    #[arg(value_name = "INSTANCE", help = names::INSTANCE_HELP)]
    instance: String,
    #[arg(long, help = each_node::HELP)]
    all_nodes: bool,
}

impl History {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let extent = Extent::new(self.all_nodes);
        let unknown =
            || Failure::no(format!("the record of this node knows no instance '{}'", self.instance));
        let (service, instance) =
            match self.instance.split_once('/').filter(|_| !self.instance.contains("://")) {
                Some((service, instance)) => (service.to_owned(), instance.to_owned()),
                None => match names::find_instance(session, &self.instance).await {
                    Ok(found) => (shown(&found, "/serviceId"), shown(&found, "/instanceId")),
                    Err(failure) if failure.code == NO => {
                        of_the_past(session, extent, &self.instance).await?.ok_or_else(unknown)?
                    }
                    Err(failure) => return Err(failure),
                },
            };
        let path = format!("admin/instances/{}/{}/history", encode(&service), encode(&instance));
        let answers = each_node::pages(session, extent, &path, &[], None).await?;
        if answers.of_nodes.iter().all(|(_, events)| events.is_empty()) {
            // It may have come before the record began.
            let page = session.get(&format!("{path}?limit=1")).await?;
            let current = page.get("current").ok_or_else(unknown)?;
            let shown =
                format!("{} {}", text(current, "/status"), super::output::shown(current, "/endpoints"));
            session.note(&format!(
                "the record has no event of the instance since {}; it is shown now: {shown}",
                text(&page, "/completeSince")
            ));
        }
        event_line::list(session, extent, &answers, None)?;
        answers.complete()
    }
}

/// The service and id of an instance that is gone, by its id, out of the record.
async fn of_the_past(
    session: &mut Session<'_, '_>,
    extent: Extent,
    id: &str,
) -> Result<Option<(String, String)>, Failure> {
    let query = [("instanceId", id.to_owned())];
    let answers = each_node::pages(session, extent, "admin/events", &query, Some(1)).await?;
    let event = answers.items().into_iter().find(|event| text(event, "/instance/instanceId") == id);
    Ok(event.map(|event| (shown(&event, "/service/serviceId"), id.to_owned())))
}
