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
    CountWatchers, ListProgress, ListWatchers, PushProgress, ShowWanted, SnapshotPublished, Subscribe,
    SubscriptionId, Unsubscribe, WatchProgress, WatcherCounts, WatcherPage, WatcherState,
};
use self::outbox::{End, EventFrame, Outbox};
use super::interests::Interests;
use super::mailbox::{Mailbox, Resident, Work, tell};
use crate::cache::find::{Wanted, may_see};
use crate::cache::snapshot::{NamePath, name_path};
use crate::cache::{Action, InstanceChange, ServiceView, Snapshot, SnapshotReader};
use crate::clock::{Clock, Stopwatch};
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::json;
use crate::domain::{ServiceId, ServiceKey, Tenant};
use crate::error::Error;
use crate::metrics::requests::domain_label;
use crate::metrics::{self, Depth};
use crate::rbac::signed_in::Holder;
use crate::recorder::delivery::{Delivery, NAMED_CONSUMERS, NamedConsumers};
use crate::recorder::{Note, Recorder};
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

/// Consumers: tenant and id.
type ByConsumer<T> = HashMap<(Tenant, ServiceId), T>;

/// How many lists of named consumers are remembered, so that the deliveries of one provider share one.
const NAMED_LISTS: usize = 4096;

pub struct HubActor {
    watchers: ByConsumer<Watchers>,
    /// Providers that consumers look for.
    interests: Interests,
    recorder: Recorder,
    clock: Clock,
    /// By provider: the consumers that were last told.
    named: HashMap<(Tenant, NamePath), NamedConsumers>,
    /// All changes up to this revision are pushed.
    pushed: Revision,
    /// Where accounts and roles are read; `None` while accounts are off.
    accounts: Option<SnapshotReader>,
    /// The number of changes of accounts and roles that all holders were last checked at.
    checked_at: Option<u64>,
}

/// The sessions that are told of the changes of one provider.
struct Audience<'h> {
    receivers: Vec<&'h Watchers>,
    /// How many sessions they are.
    watches: usize,
    named: NamedConsumers,
}

impl HubActor {
    /// `accounts` is where accounts and roles are read, if sessions need an account.
    pub fn new(
        interests: Interests,
        recorder: Recorder,
        clock: Clock,
        accounts: Option<SnapshotReader>,
    ) -> Self {
        let (watchers, named) = (HashMap::new(), HashMap::new());
        Self { watchers, interests, recorder, clock, named, pushed: 0, accounts, checked_at: None }
    }

    /// Pushes changes in order. A publish often holds many changes of one provider, so its receivers are looked up once.
    fn push_all(&mut self, snapshot: &Snapshot, changes: &[InstanceChange], published: Stopwatch) {
        if self.watchers.is_empty() {
            return;
        }
        let Self { watchers, interests, recorder, clock, named, .. } = self;
        let ago = i64::try_from(published.elapsed().as_millis()).unwrap_or_default();
        let published_at = i64::try_from(clock.unix_millis()).unwrap_or(i64::MAX).saturating_sub(ago);
        let mut audiences: HashMap<_, Audience<'_>> = HashMap::new();
        for change in changes {
            let Some(provider) = &change.service else { continue };
            let tenant = &change.at.tenant;
            let audience = audiences.entry((tenant, &provider.path)).or_insert_with(|| {
                let receivers = receivers(watchers, interests, snapshot, tenant, provider);
                Audience::new(receivers, (tenant, &provider.path), named)
            });
            if let Some(delivery) = push(audience, change, provider, (published, published_at)) {
                recorder.note(Note::Pushed(delivery));
            }
        }
    }

    /// Tells a consumer's sessions of the instances of a provider that it looks for. Its interest came too late for their push.
    fn show(&self, snapshot: &Snapshot, wanted: &Wanted) {
        let Wanted { consumer: at, tenant, path } = wanted;
        let Some(watchers) = self.watchers.get(at) else { return };
        let Some(consumer) = snapshot.service(&at.0, at.1.as_str()) else { return };
        for node in snapshot.versions(tenant, path) {
            let Some(provider) = node.view.as_ref().filter(|provider| may_see(consumer, provider)) else {
                continue;
            };
            if snapshot.ids_of(snapshot.consumer_keys(tenant, provider)).contains(at) {
                // It has found the provider since.
                continue;
            }
            for (instance, entry) in node.instances.entries() {
                let change = InstanceChange {
                    at: InstanceRef { tenant: tenant.clone(), service: provider.id.clone(), instance },
                    revision: entry.mod_revision,
                    action: Action::Create,
                    was_shown: false,
                    service: None,
                    json: entry.json(),
                    before: None,
                };
                let frame = Arc::new(encode(&change, provider));
                let at = Arc::new(change.at);
                watchers.iter().for_each(|watcher| watcher.outbox.push(&at, &frame));
                metrics::EVENTS_PUSHED.add(watchers.len());
            }
        }
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

    /// Sends [`ShowWanted`] if a provider has instances already when the node learns that a consumer looks for it.
    pub fn show_if_there(hub: &Mailbox<Self>, reader: &SnapshotReader, mut noted: Vec<Wanted>) {
        let snapshot = reader.load_full();
        let is_there = |wanted: &Wanted| {
            snapshot.versions(&wanted.tenant, &wanted.path).any(|version| !version.instances.is_empty())
        };
        noted.retain(is_there);
        if !noted.is_empty() {
            // If the mailbox is full, the consumer learns it with its next find.
            let _ = tell(hub, ShowWanted { snapshot, wanted: noted });
        }
    }
}

/// The sessions of every consumer that is told of a provider's changes: those that depend on it, and those that have looked for it
/// in vain. Each consumer counts once, however many rules name it.
fn receivers<'h>(
    watchers: &'h ByConsumer<Watchers>,
    interests: &Interests,
    snapshot: &Snapshot,
    tenant: &Tenant,
    provider: &ServiceView,
) -> Vec<((Tenant, ServiceId), &'h Watchers)> {
    let mut told: HashSet<(Tenant, ServiceId)> = HashSet::new();
    let mut receivers = Vec::new();
    let keys = snapshot.consumer_keys(tenant, provider);
    for consumer in &keys {
        for service in snapshot.services_of(consumer) {
            let at = (Tenant::from(consumer.tenant.as_str()), service.id.clone());
            if let Some(watchers) = watchers.get(&at)
                && told.insert(at.clone())
            {
                receivers.push((at, watchers));
            }
        }
    }
    if interests.count() > 0 {
        add_interested(watchers, interests, snapshot, (tenant, provider), &keys, &mut receivers);
    }
    receivers
}

/// Adds the sessions of consumers that have looked for a provider in vain. Ends the interests that are over.
fn add_interested<'h>(
    watchers: &'h ByConsumer<Watchers>,
    interests: &Interests,
    snapshot: &Snapshot,
    (tenant, provider): (&Tenant, &ServiceView),
    rules: &[&ServiceKey],
    receivers: &mut Vec<((Tenant, ServiceId), &'h Watchers)>,
) {
    let paths = paths(snapshot, tenant, provider);
    let of_path = |path: NamePath| {
        let consumers = interests.of(tenant, &path);
        consumers.into_iter().map(move |consumer| (consumer, Arc::clone(&path)))
    };
    let wanted: Vec<_> = paths.into_iter().flat_map(of_path).collect();
    if wanted.is_empty() {
        return;
    }
    let mut told = snapshot.ids_of(rules.iter().copied());
    // The rules of a provider that is gone are dropped soon. The interests then take their place.
    let exists = snapshot.tenant(tenant).is_some_and(|view| view.name(&provider.path).is_some());
    for (consumer, path) in wanted {
        let view = snapshot.service(&consumer.0, consumer.1.as_str());
        if view.is_none() || (exists && told.contains(&consumer)) {
            interests.end(&consumer, tenant, &path);
        } else if view.is_some_and(|view| may_see(view, provider))
            && let Some(watchers) = watchers.get(&consumer)
            && told.insert(consumer.clone())
        {
            receivers.push((consumer, watchers));
        }
    }
}

/// The name paths under which finds show a provider: its name, and its alias while no service has that name.
fn paths(snapshot: &Snapshot, tenant: &Tenant, provider: &ServiceView) -> Vec<NamePath> {
    let document = &provider.record.document;
    let alias = (!document.alias.is_empty())
        .then(|| name_path(&document.environment, &document.app_id, &document.alias));
    let is_free = |path: &String| snapshot.tenant(tenant).is_none_or(|view| view.name(path).is_none());
    let alias = alias.filter(is_free).map(NamePath::from);
    std::iter::once(Arc::clone(&provider.path)).chain(alias).collect()
}

impl<'h> Audience<'h> {
    fn new(
        receivers: Vec<((Tenant, ServiceId), &'h Watchers)>,
        provider: (&Tenant, &NamePath),
        known: &mut HashMap<(Tenant, NamePath), NamedConsumers>,
    ) -> Self {
        let watches = receivers.iter().map(|(_, watchers)| watchers.len()).sum();
        let (consumers, receivers): (Vec<_>, Vec<_>) = receivers.into_iter().unzip();
        let mut consumers = consumers;
        consumers.truncate(NAMED_CONSUMERS);
        if consumers.is_empty() {
            return Self { receivers, watches, named: NamedConsumers::from([]) };
        }
        if known.len() >= NAMED_LISTS {
            known.clear();
        }
        let named = known.entry((provider.0.clone(), Arc::clone(provider.1))).or_insert_with(|| [].into());
        if **named != *consumers {
            *named = consumers.into();
        }
        Self { receivers, watches, named: Arc::clone(named) }
    }
}

/// `published` is when readers could load the change: for metrics, and as Unix time in milliseconds.
fn push(
    audience: &Audience<'_>,
    change: &InstanceChange,
    provider: &ServiceView,
    published: (Stopwatch, i64),
) -> Option<Arc<Delivery>> {
    let Audience { receivers, watches, named } = audience;
    if *watches == 0 {
        return None;
    }
    let at = Arc::new(change.at.clone());
    let delivery = Delivery::new(change.revision, Arc::clone(&at), Arc::clone(named), *watches, published.1);
    let delivery = Arc::new(delivery);
    let frame = encode(change, provider).published(published.0).marking(Arc::clone(&delivery));
    let frame = Arc::new(frame);
    for watchers in receivers {
        for watcher in *watchers {
            watcher.outbox.push(&at, &frame);
        }
        metrics::EVENTS_PUSHED.add(watchers.len());
    }
    Some(delivery)
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
        self.pushed = self.pushed.max(message.up_to);
    }
}

impl Handler<Work<ShowWanted>> for HubActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<ShowWanted>, _: &mut Self::Context) {
        message.wanted.iter().for_each(|wanted| self.show(&message.snapshot, wanted));
    }
}

impl Handler<Work<ListProgress>> for HubActor {
    type Result = MessageResult<Work<ListProgress>>;

    fn handle(&mut self, Work { message, .. }: Work<ListProgress>, _: &mut Self::Context) -> Self::Result {
        let ListProgress { snapshot, provider, at } = message;
        let now = i64::try_from(self.clock.unix_millis()).unwrap_or(i64::MAX);
        let receivers = receivers(&self.watchers, &self.interests, &snapshot, &at.tenant, &provider);
        let progress = |tenant: &Tenant, consumer: &ServiceId, watcher: &Watcher| {
            // A client lists when it connects.
            let ago = Some(watcher.outbox.sent().last.unwrap_or(watcher.since).elapsed());
            let ago = ago.and_then(|ago| i64::try_from(ago.as_millis()).ok());
            WatchProgress {
                id: watcher.id,
                tenant: tenant.clone(),
                consumer: consumer.clone(),
                client: watcher.client.map(|client| client.ip()),
                owes: watcher.outbox.owes(&at),
                last: ago.map(|ago| now.saturating_sub(ago)),
            }
        };
        let watches = receivers.iter().flat_map(|((tenant, consumer), watchers)| {
            let open = watchers.iter().filter(|watcher| !watcher.outbox.is_closed());
            open.map(|watcher| progress(tenant, consumer, watcher))
        });
        MessageResult(PushProgress { pushed: self.pushed, watches: watches.collect() })
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
