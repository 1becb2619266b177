//! `GET /v4/{project}/govern/services/{serviceId}/watchers`: who is told of the changes of a service, by this node.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::neighbors::{Partner, Partners, service_facts};
use crate::actors::hub::messages::{ListWatchers, WatcherPage, WatcherState};
use crate::actors::mailbox::ask;
use crate::cache::snapshot::Snapshot;
use crate::clock::Stopwatch;
use crate::domain::time::rfc3339;
use crate::domain::{ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::dto::search::{self as dto, WatcherSummary};
use crate::http::paging::{AFTER, LIMIT, PageQuery};
use crate::http::reply::Reply;
use crate::http::slices::{Pace, in_time};
use crate::http::spec::{Load, Operation, Success};

pub const WATCHERS: Operation = Operation::new(
    "govern",
    "listWatchers",
    "Lists the watches on this node that are told of the changes of a service: those of its consumers by the dependency rules, the oldest \
     first.",
)
.with(&[LIMIT, AFTER])
.answers(Success::Json(dto::WATCHERS))
.fails_with(&[Code::ServiceNotExists, Code::Overloaded, Code::Unavailable])
.for_own_pages();

/// How long a request waits for the HubActor.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a page of watches has besides the members of every page.
#[derive(Serialize)]
struct OfNode<'a> {
    node: &'a str,
}

/// `GET /v4/{project}/govern/services/{serviceId}/watchers`.
pub async fn watchers(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let page = PageQuery::of(&call)?;
        let after = page.after::<u64>()?;
        let snapshot = api.reader.load_full();
        let of = Partners::of(&snapshot, &call)?;
        let turn = api.turns.take().await?;
        let mut consumers = Vec::new();
        let take = |partner: Partner<'_>| {
            consumers.push((Tenant::from(partner.tenant), partner.service.id.clone()));
        };
        of.consumers(&mut Pace::default(), take).await;
        drop(turn);
        let found = list(&api, ListWatchers { consumers, after, most: page.limit + 1 }).await?;
        let now = api.clock.unix_millis();
        let items = found.watchers.iter().map(|watcher| summary(&snapshot, of.tenant, watcher, now));
        let last = found.watchers.get(page.limit - 1).map(|watcher| watcher.id.number());
        let answer = page.page(snapshot.revision, found.total, items, |_| last);
        api.encoded(Load::View, &answer.with(OfNode { node: &api.rules.metrics.instance }))
    })
    .await
}

/// How many watches a consumer has on this node.
pub(super) async fn sessions_of(api: &Api, tenant: &Tenant, consumer: &ServiceId) -> Result<usize, Error> {
    let consumers = vec![(tenant.clone(), consumer.clone())];
    Ok(list(api, ListWatchers { consumers, after: None, most: 0 }).await?.total)
}

async fn list(api: &Api, message: ListWatchers) -> Result<WatcherPage, Error> {
    ask(&api.hub, message, PATIENCE).await.map_err(refused)
}

fn summary(snapshot: &Snapshot, own: &Tenant, watcher: &WatcherState, now: u64) -> WatcherSummary {
    let (tenant, id) = &watcher.consumer;
    let consumer = snapshot.service(tenant, id.as_str());
    let shown = |at: Stopwatch| {
        let ago = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        rfc3339(i64::try_from(now.saturating_sub(ago)).unwrap_or(i64::MAX))
    };
    WatcherSummary {
        consumer: consumer.map(|consumer| {
            service_facts(snapshot, own, Partner { tenant: tenant.as_str(), service: consumer })
        }),
        client: watcher.client.map(|client| client.to_string()).unwrap_or_default(),
        connected_since: shown(watcher.since),
        sent: i64::try_from(watcher.sent.count).ok(),
        pending: i64::try_from(watcher.pending).ok(),
        last_sent: watcher.sent.last.map(shown).unwrap_or_default(),
    }
}
