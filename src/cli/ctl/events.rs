//! `events`.

use clap::Args;

use super::each_node::{self, Extent};
use super::event_line;
use super::failure::Failure;
use super::names;
use super::output::shown;
use super::session::Session;
use super::watching::Watch;

/// Print what has happened: what came, changed and went, when, why, and who was told
#[derive(Args)]
pub struct Events {
    /// Begin at this time: RFC 3339, or so long ago. Without it, and with --watch, begin now
    #[arg(long, value_name = "TIME", default_value = "1h", default_value_if("watch", "true", None))]
    since: Option<String>,
    /// End before this time: RFC 3339, or so long ago
    #[arg(long, value_name = "TIME", conflicts_with = "watch")]
    before: Option<String>,
    /// Only events of these kinds, such as instance.expired, or instance for all kinds that begin so
    #[arg(long, value_name = "KINDS")]
    kind: Option<String>,
    #[arg(long, value_name = "SERVICE", help = format!("Only events of this service. {}", names::SERVICE_HELP))]
    service: Option<String>,
    /// Only events of the instance with this id
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// Only events of instances with this host name
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only the latest so many events, of all nodes together
    #[arg(long, value_name = "NUMBER", conflicts_with = "watch")]
    limit: Option<usize>,
    #[arg(long, help = each_node::HELP, conflicts_with = "watch")]
    all_nodes: bool,
    /// Go on, and print a line for each event as it happens
    #[arg(short, long)]
    watch: bool,
}

impl Events {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        let service = match &self.service {
            // A service that is gone has events, too. Its id finds them.
            Some(argument) => match names::find_service(session, argument).await {
                Ok(service) => shown(&service, "/serviceId"),
                Err(failure) if failure.code == super::failure::NO => argument.clone(),
                Err(failure) => return Err(failure),
            },
            None => String::new(),
        };
        let given = |option: &Option<String>| option.clone().unwrap_or_default();
        let mut query = vec![
            ("kind", given(&self.kind)),
            ("serviceId", service),
            ("instanceId", given(&self.instance)),
            ("host", given(&self.host)),
        ];
        if self.watch {
            let watch = Watch::open(session, query, given(&self.since)).await?;
            return watch.follow(session, &[]).await;
        }
        query.extend([("since", given(&self.since)), ("before", given(&self.before))]);
        if self.limit.is_some() {
            query.push(("order", "desc".to_owned()));
        }
        let extent = Extent::new(self.all_nodes);
        let mut answers = each_node::pages(session, extent, "admin/events", &query, self.limit).await?;
        if self.limit.is_some() {
            answers.of_nodes.iter_mut().for_each(|(_, events)| events.reverse());
        }
        event_line::list(session, extent, &answers, self.limit)?;
        answers.complete()
    }
}
