//! HubActor: knows which session watches for which consumer, and pushes changes to the sessions. A frame is encoded once for
//! all sessions.

pub mod messages;
pub mod outbox;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::messages::{
    CountWatchers, ListWatchers, SnapshotPublished, Subscribe, SubscriptionId, Unsubscribe, WatcherCounts,
    WatcherPage, WatcherState,
};
use self::outbox::{End, EventFrame, Outbox};
use super::mailbox::{Resident, Work};
use crate::cache::{InstanceChange, ServiceView, Snapshot, SnapshotReader};
use crate::clock::Stopwatch;
use crate::domain::json;
use crate::domain::{ServiceId, Tenant};
use crate::error::Error;
use crate::metrics::requests::domain_label;
use crate::metrics::{self, Depth};
use crate::rbac::signed_in::Holder;
use actix::prelude::{Actor, AsyncContext, Context, Handler, MessageResult};

pub const MAILBOX: usize = 1024;
static DEPTH: Depth = Depth::new("HubActor");
/// How often the hub looks for sessions whose `Unsubscribe` could not be sent.
const SWEEP: Duration = Duration::from_secs(30);

/// How often the hub looks whether accounts or roles have changed.
const CHECK_HOLDERS: Duration = Duration::from_millis(250);

/// The close code of a session whose account may not watch any more.
pub const NOT_PERMITTED: u16 = 4003;

/// A session that watches.
struct Watcher {
    id: SubscriptionId,
    outbox: Outbox,
    /// The account that may watch, if one is needed.
    holder: Option<Holder>,
    /// Where the client is.
    client: Option<SocketAddr>,
    /// Since when it watches.
    since: Stopwatch,
}

/// The sessions of one consumer.
type Watchers = Vec<Watcher>;

#[derive(Default)]
pub struct HubActor {
    watchers: HashMap<(Tenant, ServiceId), Watchers>,
    /// Where accounts and roles are read; `None` while accounts are off.
    accounts: Option<SnapshotReader>,
    /// The number of changes of accounts and roles that all holders were last checked at.
    checked_at: Option<u64>,
}

impl HubActor {
    /// A hub for sessions that need an account.
    pub fn with_accounts(reader: SnapshotReader) -> Self {
        Self { accounts: Some(reader), ..Self::default() }
    }

    /// Pushes changes in order. A publish often holds many changes of one provider, so its receivers are looked up once.
    fn push_all(&self, snapshot: &Snapshot, changes: &[InstanceChange], published: Stopwatch) {
        if self.watchers.is_empty() {
            return;
        }
        let mut receivers = HashMap::new();
        for change in changes {
            let Some(provider) = &change.service else { continue };
            let receivers = receivers
                .entry((&change.at.tenant, &provider.path))
                .or_insert_with(|| self.receivers(snapshot, &change.at.tenant, provider));
            push(receivers, change, provider, published);
        }
    }

    /// The sessions of every consumer that depends on a provider. Each consumer counts once, however many rules name it.
    fn receivers(&self, snapshot: &Snapshot, tenant: &Tenant, provider: &ServiceView) -> Vec<&Watchers> {
        let mut told: HashSet<(Tenant, ServiceId)> = HashSet::new();
        let mut receivers = Vec::new();
        for consumer in snapshot.consumer_keys(tenant, provider) {
            for service in snapshot.services_of(consumer) {
                let at = (Tenant::from(consumer.tenant.as_str()), service.id.clone());
                if let Some(watchers) = self.watchers.get(&at)
                    && told.insert(at)
                {
                    receivers.push(watchers);
                }
            }
        }
        receivers
    }

    /// Ends the sessions whose account has been deleted or may not watch any more.
    fn end_forbidden(&mut self) {
        let Some(reader) = &self.accounts else { return };
        let snapshot = reader.load();
        let view = &snapshot.access;
        if self.checked_at.replace(view.changes()) == Some(view.changes()) {
            return;
        }
        for watcher in self.watchers.values().flatten() {
            if let Some(refusal) = watcher.holder.as_ref().and_then(|holder| holder.refusal(view)) {
                watcher.outbox.finish(not_permitted(&refusal));
            }
        }
    }

    /// Drops sessions that have ended without an `Unsubscribe`, because the mailbox was full.
    fn sweep(&mut self) {
        self.watchers.retain(|_, watchers| {
            watchers.retain(|watcher| !watcher.outbox.is_closed());
            !watchers.is_empty()
        });
    }
}

fn push(receivers: &[&Watchers], change: &InstanceChange, provider: &ServiceView, published: Stopwatch) {
    if receivers.is_empty() {
        return;
    }
    let (at, frame) = (Arc::new(change.at.clone()), encode(change, provider).published(published));
    for watchers in receivers {
        for watcher in *watchers {
            watcher.outbox.push(&at, &frame);
        }
        metrics::EVENTS_PUSHED.add(watchers.len());
    }
}

fn encode(change: &InstanceChange, provider: &ServiceView) -> EventFrame {
    let key = json::encode(&provider.record.document.key(&change.at.tenant));
    let frame = EventFrame::new(change.action, &key, &change.json);
    if change.was_shown { frame.of_shown() } else { frame }
}

/// How a session ends whose account may not keep it.
pub fn not_permitted(refusal: &Error) -> End {
    End::Close { code: NOT_PERMITTED, reason: Cow::Borrowed(refusal.code.message()) }
}

impl Resident for HubActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for HubActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP, |actor, _| actor.sweep());
        if self.accounts.is_some() {
            ctx.run_interval(CHECK_HOLDERS, |actor, _| actor.end_forbidden());
        }
    }
}

impl Handler<Work<SnapshotPublished>> for HubActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<SnapshotPublished>, _: &mut Self::Context) {
        self.push_all(&message.snapshot, &message.changes, message.published);
    }
}

impl Handler<Work<Subscribe>> for HubActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<Subscribe>, _: &mut Self::Context) {
        let Subscribe { id, tenant, consumer, outbox, holder, client } = message;
        let watchers = self.watchers.entry((tenant, consumer)).or_default();
        if holder.is_some() {
            // Its account may have changed since the request was admitted.
            self.checked_at = None;
        }
        watchers.push(Watcher { id, outbox, holder, client, since: Stopwatch::start() });
    }
}

impl Handler<Work<Unsubscribe>> for HubActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<Unsubscribe>, _: &mut Self::Context) {
        let at = (message.tenant, message.consumer);
        let Some(watchers) = self.watchers.get_mut(&at) else { return };
        watchers.retain(|watcher| watcher.id != message.subscription);
        if watchers.is_empty() {
            self.watchers.remove(&at);
        }
    }
}

impl Handler<Work<ListWatchers>> for HubActor {
    type Result = MessageResult<Work<ListWatchers>>;

    fn handle(&mut self, Work { message, .. }: Work<ListWatchers>, _: &mut Self::Context) -> Self::Result {
        let ListWatchers { consumers, after, most } = message;
        let mut found = Vec::new();
        for consumer in &consumers {
            let watchers = self.watchers.get(consumer).into_iter().flatten();
            found.extend(
                watchers.filter(|watcher| !watcher.outbox.is_closed()).map(|watcher| (consumer, watcher)),
            );
        }
        let total = found.len();
        found.retain(|(_, watcher)| after.is_none_or(|after| watcher.id.number() > after));
        found.sort_unstable_by_key(|(_, watcher)| watcher.id.number());
        let state = |(consumer, watcher): (&(Tenant, ServiceId), &Watcher)| WatcherState {
            id: watcher.id,
            consumer: consumer.clone(),
            client: watcher.client,
            since: watcher.since,
            sent: watcher.outbox.sent(),
            pending: watcher.outbox.pending(),
        };
        MessageResult(WatcherPage { total, watchers: found.into_iter().take(most).map(state).collect() })
    }
}

impl Handler<Work<CountWatchers>> for HubActor {
    type Result = MessageResult<Work<CountWatchers>>;

    fn handle(&mut self, _: Work<CountWatchers>, _: &mut Self::Context) -> Self::Result {
        let mut counts = WatcherCounts::default();
        for ((tenant, _), watchers) in &self.watchers {
            *counts.by_domain.entry(domain_label(tenant.domain()).to_owned()).or_default() += watchers.len();
            counts.pending += watchers.iter().map(|watcher| watcher.outbox.pending()).sum::<usize>();
        }
        MessageResult(counts)
    }
}
