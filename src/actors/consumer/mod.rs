//! ConsumerActor: what the nodes tell each other about consumers. It spreads which providers consumers look for in vain, and it
//! counts which consumers have learned that an instance drains.
//!
//! Nodes do not call each other. Each node writes keys below `/service-center/consumers/` on a lease of its own, and watches those
//! of the others. With the embedded store there is one node, and nothing is written.

mod drains;
pub mod messages;
mod records;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::{Mutex, Notify, watch};
use uuid::Uuid;

use self::drains::{NodeReceipt, Process, WatchTally, join};
use self::messages::{DrainId, DrainReceipt, DrainWritten, EndDrain, LeaveOthers, StartDrain, StartedDrain};
use self::records::{
    ConsumerKey, DrainRecord, InterestsRecord, NodeRecord, ReceiptRecord, WantedRecord, drain_key,
    interests_key, node_key, receipt_key,
};
use super::hub::HubActor;
use super::hub::messages::{ListProgress, PushProgress};
use super::interests::{Interests, NotedBy};
use super::leased_key::OwnLease;
use super::mailbox::{Mailbox, Resident, Work, ask_if_free, run_until_end};
use super::pollers::{DrainedService, Poller, Pollers};
use super::recovery::next_of_watch;
use super::single::commit_alone;
use crate::cache::find::{Wanted, may_see};
use crate::cache::{ServiceView, Snapshot, SnapshotReader};
use crate::clock::Clock;
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::json;
use crate::domain::shared::SharedServices;
use crate::domain::{InstanceId, ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::metrics::{self, Depth};
use crate::store::{Compare, Entry, Event, Key, LeaseId, Op, Store, StoreError, Txn, WatchError, keys};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 256;
static DEPTH: Depth = Depth::new("ConsumerActor");
/// How often new interests are written, and the lease is looked after.
const PACE: Duration = Duration::from_secs(1);
/// The TTL of the lease in seconds. The keys of a node that died end after that.
const LEASE_SECONDS: i64 = 15;
/// Every how many paces the lease is renewed.
const PACES_PER_RENEWAL: u32 = 4;
/// How many interests one key holds, and how many keys a node has for them. The oldest key is written over.
const INTERESTS_PER_KEY: usize = 200;
const INTEREST_KEYS: usize = 50;
/// How often the state of drains is looked at, while there are any.
const DRAIN_PACE: Duration = Duration::from_millis(100);
/// How many paces pass between two receipts that a node writes for one drain.
const PACES_PER_RECEIPT: u32 = 3;
/// How long the change of an instance waits until the other nodes count: this many pauses.
const START_TRIES: u32 = 25;
const START_PAUSE: Duration = Duration::from_millis(20);
/// How many drains of other nodes are counted at a time.
const MOST_FOREIGN_DRAINS: usize = 1000;
/// A drain ends after this time at the latest: longer than anybody may wait for it.
const LONGEST_DRAIN: Duration = Duration::from_secs(360);
/// How long the hub may take to say how far the watches are.
const HUB_LIMIT: Duration = Duration::from_secs(2);
/// How long the entry of a node that has stopped may be shown, if it could not be removed: its TTL is 120 s.
const ENTRY_STAYS: Duration = Duration::from_secs(180);
const MOST_GONE: usize = 1000;
/// The pause before the keys of the others are watched again.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Whether other nodes share the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeCount {
    One,
    Many,
}

#[derive(Clone, Debug)]
pub struct ConsumerRules {
    /// Consumers without a watch are waited for if they asked within this time.
    pub poll_interval: Duration,
    /// How many drains a node waits for at a time.
    pub most_drains: usize,
    pub nodes: NodeCount,
    /// The `host:port` under which the node registers itself.
    pub endpoint: String,
    pub shared: SharedServices,
}

/// What the actor shares with others.
#[derive(Clone)]
pub struct ConsumerParts {
    pub store: Arc<dyn Store>,
    pub reader: SnapshotReader,
    pub interests: Interests,
    pub pollers: Pollers,
    pub hub: Mailbox<HubActor>,
    pub clock: Clock,
}

pub struct ConsumerActor {
    core: Rc<ConsumerCore>,
}

struct ConsumerCore {
    parts: ConsumerParts,
    rules: ConsumerRules,
    /// Names this process for operators (`<host>-<pid>`).
    name: String,
    /// Names this process in keys.
    process: String,
    lease: OwnLease,
    granting: Mutex<()>,
    /// The node stops.
    is_leaving: Cell<bool>,
    /// The interests in the key that is being filled, and its number.
    filling: RefCell<(Vec<Wanted>, usize)>,
    /// The store may lack some of them, because the last put failed.
    is_unwritten: Cell<bool>,
    /// The other nodes that take part, by process.
    nodes: RefCell<BTreeMap<String, NodeRecord>>,
    /// The addresses of nodes that have stopped lately, and when.
    gone: RefCell<VecDeque<(Duration, String)>>,
    drains: RefCell<HashMap<DrainId, Drain>>,
    last_drain: Cell<u64>,
    /// Wakes the work on drains.
    has_drains: Notify,
    /// Logs once that the store does not take what this node writes, and that the keys of the others cannot be watched.
    writing: Trouble,
    watching: Trouble,
}

/// A drain that this node counts for itself or for another node.
struct Drain {
    at: InstanceRef,
    /// Its name in keys.
    name: String,
    /// 0: not known yet.
    revision: Revision,
    tally: WatchTally,
    polled: Vec<Process>,
    began: Duration,
    owner: Owner,
}

impl Drain {
    /// Whether nobody waits any more. The request may have gone before it learned the id of the drain, so that it could not end it.
    fn is_over(&self, now: Duration) -> bool {
        let is_left = matches!(&self.owner, Owner::Own { receipt, .. } if receipt.is_closed());
        is_left || now.saturating_sub(self.began) > LONGEST_DRAIN
    }
}

/// Who waits for a drain.
enum Owner {
    /// A request on this node.
    Own {
        receipt: watch::Sender<DrainReceipt>,
        /// What the other nodes have said, by process.
        others: BTreeMap<String, NodeReceipt>,
        /// The revision that the others have been told.
        told: Option<Revision>,
    },
    /// Another node. The last receipt that was written for it, and how many paces ago.
    Other { written: Option<NodeReceipt>, paces: u32 },
}

impl ConsumerActor {
    pub fn new(parts: ConsumerParts, rules: ConsumerRules, name: String) -> Self {
        let core = ConsumerCore {
            lease: OwnLease::new(Arc::clone(&parts.store), LEASE_SECONDS),
            parts,
            rules,
            name,
            process: Uuid::new_v4().simple().to_string(),
            granting: Mutex::new(()),
            is_leaving: Cell::new(false),
            filling: RefCell::default(),
            is_unwritten: Cell::new(false),
            nodes: RefCell::default(),
            gone: RefCell::default(),
            drains: RefCell::default(),
            last_drain: Cell::new(0),
            has_drains: Notify::new(),
            writing: Trouble::default(),
            watching: Trouble::default(),
        };
        Self { core: Rc::new(core) }
    }
}

impl Resident for ConsumerActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for ConsumerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, spread(Rc::clone(&self.core)));
        run_until_end(ctx, count_drains(Rc::clone(&self.core)));
        if self.core.rules.nodes == NodeCount::Many {
            run_until_end(ctx, learn(Rc::clone(&self.core)));
        }
    }
}

impl Handler<Work<StartDrain>> for ConsumerActor {
    type Result = ResponseFuture<Result<StartedDrain, Error>>;

    fn handle(&mut self, work: Work<StartDrain>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            core.start(work.message.0).await
        })
    }
}

impl Handler<Work<DrainWritten>> for ConsumerActor {
    type Result = ();

    fn handle(&mut self, Work { message, .. }: Work<DrainWritten>, _: &mut Self::Context) {
        if let Some(drain) = self.core.drains.borrow_mut().get_mut(&message.id) {
            drain.revision = message.revision;
        }
        self.core.has_drains.notify_one();
    }
}

impl Handler<Work<EndDrain>> for ConsumerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, work: Work<EndDrain>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            core.end(work.message.0).await;
        })
    }
}

impl Handler<Work<LeaveOthers>> for ConsumerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, work: Work<LeaveOthers>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            let _turn = core.granting.lock().await;
            core.is_leaving.set(true);
            if let Some(lease) = core.lease.take() {
                // If this fails, the others take the node for one that is cut off from the store.
                let then = vec![core.node_put(lease)];
                let _ = commit_alone(&core.parts.store, Txn { then, ..Txn::default() }).await;
                // If this fails, the keys end with the lease.
                let _ = core.parts.store.revoke(lease).await;
            }
        })
    }
}

impl ConsumerCore {
    /// Whether this node writes for others.
    fn has_others(&self) -> bool {
        self.rules.nodes == NodeCount::Many && !self.is_leaving.get()
    }

    /// Notes that a node of ours has gone. If it has stopped, the entry by which it registered itself may stay longer than its key
    /// here. Otherwise its lease has ended: it may be cut off from the store and still serve its clients. Its address then stays
    /// among those that do not count, as long as its entry is shown.
    fn node_went(&self, record: NodeRecord) {
        if !record.is_leaving {
            return;
        }
        let now = self.parts.clock.monotonic();
        let mut gone = self.gone.borrow_mut();
        gone.retain(|(when, _)| now.saturating_sub(*when) < ENTRY_STAYS);
        if gone.len() < MOST_GONE {
            gone.push_back((now, record.endpoint));
        }
    }

    /// The addresses of the nodes that take part, and of those that have stopped lately.
    fn addresses(&self) -> Vec<String> {
        let now = self.parts.clock.monotonic();
        let (nodes, gone) = (self.nodes.borrow(), self.gone.borrow());
        let gone = gone.iter().filter(|(when, _)| now.saturating_sub(*when) < ENTRY_STAYS);
        let others = nodes.values().map(|record| &record.endpoint).chain(gone.map(|(_, endpoint)| endpoint));
        std::iter::once(&self.rules.endpoint).chain(others).cloned().collect()
    }

    fn own_drains(&self) -> usize {
        let drains = self.drains.borrow();
        drains.values().filter(|drain| matches!(drain.owner, Owner::Own { .. })).count()
    }

    /// Begins to count, on this node and on the others.
    async fn start(&self, at: InstanceRef) -> Result<StartedDrain, Error> {
        if self.own_drains() >= self.rules.most_drains {
            metrics::REFUSED_FOR_LOAD.add(1);
            let detail = format!("{} drains wait already, see registry.drain.limit", self.rules.most_drains);
            return Err(Error::new(Code::Overloaded, detail));
        }
        let name = Uuid::new_v4().simple().to_string();
        let (receipt, receiver) = watch::channel(DrainReceipt::default());
        let owner = Owner::Own { receipt, others: BTreeMap::new(), told: None };
        let id = self.add(at.clone(), name.clone(), 0, owner);
        metrics::DRAINS.add(1);
        if self.has_others() {
            match self.tell_others(&name, &at, 0).await {
                Ok(()) => self.others_count(id).await,
                // The other nodes then begin to count when they learn that the change is written.
                Err(error) => self.fails(&error),
            }
        }
        Ok(StartedDrain { id, receipt: receiver })
    }

    /// Waits a moment until the other nodes count, so that they miss no find after the change.
    async fn others_count(&self, id: DrainId) {
        let do_count = || {
            let (drains, nodes) = (self.drains.borrow(), self.nodes.borrow());
            drains.get(&id).is_none_or(|drain| match &drain.owner {
                Owner::Own { others, .. } => nodes.keys().all(|process| others.contains_key(process)),
                Owner::Other { .. } => true,
            })
        };
        for _ in 0..START_TRIES {
            if do_count() {
                break;
            }
            tokio::time::sleep(START_PAUSE).await;
        }
    }

    fn add(&self, at: InstanceRef, name: String, revision: Revision, owner: Owner) -> DrainId {
        let id = DrainId(self.last_drain.get() + 1);
        self.last_drain.set(id.0);
        let snapshot = self.parts.reader.load();
        let provider = snapshot.service(&at.tenant, at.service.as_str());
        let polled = provider.map_or_else(Vec::new, |provider| {
            let document = &provider.record.document;
            let service =
                DrainedService::new(&at.tenant, &document.app_id, &document.service_name, &document.alias);
            self.parts.pollers.drain(id.0, service);
            let within = u32::try_from(self.rules.poll_interval.as_secs()).unwrap_or(u32::MAX);
            let mut recent = self.parts.pollers.recent(within, id.0);
            recent.retain(|poller| self.is_shown(&snapshot, &at.tenant, provider, poller));
            recent.into_iter().map(|poller| self.process_of(poller)).collect()
        });
        let began = self.parts.clock.monotonic();
        let drain = Drain { at, name, revision, tally: WatchTally::default(), polled, began, owner };
        self.drains.borrow_mut().insert(id, drain);
        self.has_drains.notify_one();
        id
    }

    /// Whether finds of a consumer that name a service show this version of it. Finds of shared services ignore the consumer.
    fn is_shown(
        &self,
        snapshot: &Snapshot,
        tenant: &Tenant,
        provider: &ServiceView,
        poller: &Poller,
    ) -> bool {
        let (shared, document) = (&self.rules.shared, &provider.record.document);
        let mut names = [&document.service_name, &document.alias].into_iter();
        if names.any(|name| shared.contains(tenant, &document.app_id, name)) {
            return document.environment == shared.environment;
        }
        let consumer = snapshot.service(&poller.tenant, poller.consumer.as_str());
        consumer.is_some_and(|consumer| may_see(consumer, provider))
    }

    fn process_of(&self, poller: Poller) -> Process {
        let ago = self.parts.clock.monotonic().as_secs().saturating_sub(poller.last.into());
        let last = self.parts.clock.unix_millis().saturating_sub(ago.saturating_mul(1000));
        let Poller { key, tenant, consumer, client, .. } = poller;
        Process { key, tenant, consumer, client, last: i64::try_from(last).ok() }
    }

    async fn end(&self, id: DrainId) {
        let Some(drain) = self.forget(id) else { return };
        if self.has_others() && matches!(drain.owner, Owner::Own { .. }) {
            self.remove_keys(&drain.name).await;
        }
    }

    /// Removes the keys of a drain that has ended.
    async fn remove_keys(&self, name: &str) {
        let then = vec![Op::Delete(drain_key(name)), Op::DeletePrefix(receipt_key(name, ""))];
        // If this fails, the keys end with the leases of their nodes.
        if let Err(error) = commit_alone(&self.parts.store, Txn { then, ..Txn::default() }).await {
            self.fails(&error);
        }
    }

    fn forget(&self, id: DrainId) -> Option<Drain> {
        self.parts.pollers.end_drain(id.0);
        self.drains.borrow_mut().remove(&id)
    }

    /// Tells the other nodes that an instance drains. The change is written at this revision, or will be (0).
    async fn tell_others(&self, name: &str, at: &InstanceRef, revision: Revision) -> Result<(), StoreError> {
        let record = DrainRecord {
            tenant: at.tenant.as_str().to_owned(),
            service: at.service.as_str().to_owned(),
            instance: at.instance.as_str().to_owned(),
            revision,
        };
        self.put(drain_key(name), json::encode(&record), Vec::new()).await?;
        if !self.drains.borrow().values().any(|drain| drain.name == name) {
            // It has ended meanwhile, and the put may have come after the removal.
            self.remove_keys(name).await;
        }
        Ok(())
    }

    /// Writes a receipt. Without the key of the drain, the drain has ended, and nobody would remove the receipt.
    async fn put_receipt(&self, drain: &str, receipt: &NodeReceipt) -> Result<(), StoreError> {
        let value = json::encode(&ReceiptRecord::from(receipt));
        self.put(receipt_key(drain, &self.process), value, vec![Compare::Present(drain_key(drain))]).await
    }

    /// Puts a key on the lease of this node, if the conditions hold.
    async fn put(&self, key: Key, value: Vec<u8>, compares: Vec<Compare>) -> Result<(), StoreError> {
        let lease = self.living_lease().await?;
        let put = Op::Put { key, value: Bytes::from(value), lease: Some(lease) };
        self.lease.commit(Txn { compares, then: vec![put], ..Txn::default() }).await.map(drop)
    }

    /// The lease of this node. A new one begins with the key that says that the node takes part.
    async fn living_lease(&self) -> Result<LeaseId, StoreError> {
        // Otherwise two writers could get a lease each, and the one that is not renewed would end with its keys.
        let _turn = self.granting.lock().await;
        if let Some(lease) = self.lease.current() {
            return Ok(lease);
        }
        let lease = self.lease.grant().await?;
        let mut then = vec![self.node_put(lease)];
        // What this node has written before went with the lease that has ended. The newest part is written again.
        then.extend(self.newest_interests(lease));
        commit_alone(&self.parts.store, Txn { then, ..Txn::default() }).await?;
        self.lease.keep(lease);
        Ok(lease)
    }

    /// Writes the key that says that the node takes part, or that it leaves.
    fn node_put(&self, lease: LeaseId) -> Op {
        let record = NodeRecord {
            node: self.name.clone(),
            endpoint: self.rules.endpoint.clone(),
            is_leaving: self.is_leaving.get(),
        };
        let value = Bytes::from(json::encode(&record));
        Op::Put { key: node_key(&self.process), value, lease: Some(lease) }
    }

    async fn put_node(&self) -> Result<(), StoreError> {
        let lease = self.living_lease().await?;
        self.lease.commit(Txn { then: vec![self.node_put(lease)], ..Txn::default() }).await.map(drop)
    }

    fn newest_interests(&self, lease: LeaseId) -> Option<Op> {
        let filling = self.filling.borrow();
        let (wanted, part) = &*filling;
        let key = interests_key(&self.process, *part);
        let value = Bytes::from(interests_value(wanted));
        (!wanted.is_empty()).then_some(Op::Put { key, value, lease: Some(lease) })
    }

    fn fails(&self, error: &StoreError) {
        if self.writing.fails(&error.to_string()) {
            log::warn!("other nodes were not told about consumers, trying again: {error}");
        }
    }
}

/// Writes what this node has noted, and keeps the time of the pollers.
async fn spread(core: Rc<ConsumerCore>) {
    let mut paces = 0_u32;
    loop {
        let now = u32::try_from(core.parts.clock.monotonic().as_secs()).unwrap_or(u32::MAX);
        let keep = u32::try_from(core.rules.poll_interval.as_secs()).unwrap_or(u32::MAX).saturating_add(5);
        core.parts.pollers.tick(now, keep);
        if core.has_others() {
            if paces.is_multiple_of(PACES_PER_RENEWAL) {
                core.lease.renew().await;
            }
            write_news(&core).await;
        } else {
            core.parts.interests.take_new(usize::MAX);
        }
        paces = paces.wrapping_add(1);
        tokio::time::sleep(PACE).await;
    }
}

/// Writes the new interests. After a failure there may be none: then the key of the node shows whether the store takes writes again.
async fn write_news(core: &ConsumerCore) {
    let has_failed = core.writing.goes_on();
    let written = async {
        if has_failed {
            core.put_node().await?;
        }
        write_interests(core).await
    };
    match written.await {
        Ok(()) if has_failed && core.writing.is_over() => {
            log::info!("other nodes are told about consumers again");
        }
        Ok(()) => {}
        Err(error) => core.fails(&error),
    }
}

/// Writes the new interests. Also writes the key of the node if it has none.
async fn write_interests(core: &ConsumerCore) -> Result<(), StoreError> {
    core.living_lease().await?;
    loop {
        let (room, part) = {
            let filling = core.filling.borrow();
            (INTERESTS_PER_KEY.saturating_sub(filling.0.len()), filling.1)
        };
        let is_unwritten = core.is_unwritten.get();
        if room == 0 && !is_unwritten {
            core.filling.replace((Vec::new(), (part + 1) % INTEREST_KEYS));
            continue;
        }
        let new = core.parts.interests.take_new(room);
        if new.is_empty() && !is_unwritten {
            return Ok(());
        }
        let value = {
            let mut filling = core.filling.borrow_mut();
            filling.0.extend(new);
            interests_value(&filling.0)
        };
        // If this fails, the next pace puts the same key again, with all of them.
        core.is_unwritten.set(true);
        core.put(interests_key(&core.process, part), value, Vec::new()).await?;
        core.is_unwritten.set(false);
    }
}

fn interests_value(wanted: &[Wanted]) -> Vec<u8> {
    json::encode(&InterestsRecord { wanted: wanted.iter().map(WantedRecord::from).collect() })
}

/// Lists and watches what other nodes write.
async fn learn(core: Rc<ConsumerCore>) {
    loop {
        let ended = match list(&core).await {
            Ok(revision) => follow(&core, revision).await,
            Err(error) => WatchError::Lost(error.to_string()),
        };
        match ended {
            WatchError::Closed => return std::future::pending().await,
            WatchError::Compacted | WatchError::SetBack(_) => {}
            WatchError::Lost(why) => {
                if core.watching.fails(&why) {
                    log::warn!("what other nodes write about consumers is not seen, trying again: {why}");
                }
            }
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

async fn list(core: &ConsumerCore) -> Result<Revision, StoreError> {
    let mut pages = core.parts.store.list(&[keys::CONSUMERS]);
    let (mut entries, mut revision) = (Vec::new(), 0);
    while let Some(page) = pages.next().await {
        let page = page?;
        entries.extend(page.entries);
        revision = page.revision;
    }
    let former = std::mem::take(&mut *core.nodes.borrow_mut());
    let is_listed = |drain: &Drain| {
        let key = drain_key(&drain.name);
        matches!(drain.owner, Owner::Own { .. }) || entries.iter().any(|entry| entry.key == key)
    };
    let ended: Vec<DrainId> = {
        let drains = core.drains.borrow();
        drains.iter().filter(|(_, drain)| !is_listed(drain)).map(|(id, _)| *id).collect()
    };
    ended.into_iter().for_each(|id| drop(core.forget(id)));
    entries.iter().for_each(|entry| take_in(core, entry));
    let went = former.into_iter().filter(|(process, _)| !core.nodes.borrow().contains_key(process));
    went.for_each(|(_, record)| core.node_went(record));
    Ok(revision)
}

async fn follow(core: &ConsumerCore, revision: Revision) -> WatchError {
    let mut batches = core.parts.store.watch(keys::CONSUMERS, revision + 1);
    let tell = || log::info!("what other nodes write about consumers is seen again");
    while let Some(batch) = next_of_watch(&mut batches, &core.watching, tell).await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return error,
        };
        for event in batch.events {
            match event {
                Event::Put(entry) => take_in(core, &entry),
                Event::Delete { key, .. } => take_out(core, &key),
            }
        }
    }
    WatchError::Lost("the stream ended".to_owned())
}

/// A value that another version may have written. `None` if it cannot be read: then it counts as absent.
fn decoded<T: json::DecodeJson>(entry: &Entry) -> Option<T> {
    json::decode(&entry.value).ok()
}

fn take_in(core: &ConsumerCore, entry: &Entry) {
    match ConsumerKey::parse(&entry.key) {
        Some(ConsumerKey::Node { process }) if process != core.process => {
            let record = decoded(entry).unwrap_or_default();
            core.nodes.borrow_mut().insert(process.to_owned(), record);
        }
        Some(ConsumerKey::Interests { process }) if process != core.process => {
            let record: InterestsRecord = decoded(entry).unwrap_or_default();
            let ConsumerParts { interests, hub, reader, .. } = &core.parts;
            let wanted = record.wanted.into_iter().map(Wanted::from);
            let noted = wanted.filter(|wanted| interests.note(wanted.clone(), NotedBy::EveryNode)).collect();
            HubActor::show_if_there(hub, reader, noted);
        }
        Some(ConsumerKey::Drain { drain }) => {
            if let Some(record) = decoded(entry) {
                take_in_drain(core, drain, record);
            }
        }
        Some(ConsumerKey::Receipt { drain, process }) if process != core.process => {
            let record: ReceiptRecord = decoded(entry).unwrap_or_default();
            let mut drains = core.drains.borrow_mut();
            let own = drains.values_mut().find(|own| own.name == drain);
            if let Some(Drain { owner: Owner::Own { others, .. }, .. }) = own {
                others.insert(process.to_owned(), record.into());
                core.has_drains.notify_one();
            }
        }
        _ => {}
    }
}

fn take_in_drain(core: &ConsumerCore, name: &str, record: DrainRecord) {
    let known = {
        let mut drains = core.drains.borrow_mut();
        let known = drains.values_mut().find(|drain| drain.name == name);
        known.map(|drain| {
            if matches!(drain.owner, Owner::Other { .. }) {
                drain.revision = record.revision;
            }
        })
    };
    if known.is_some() {
        core.has_drains.notify_one();
        return;
    }
    if core.drains.borrow().len() >= MOST_FOREIGN_DRAINS {
        return;
    }
    let at = InstanceRef {
        tenant: Tenant::from(record.tenant.as_str()),
        service: ServiceId::from(record.service),
        instance: InstanceId::from(record.instance),
    };
    core.add(at, name.to_owned(), record.revision, Owner::Other { written: None, paces: PACES_PER_RECEIPT });
}

fn take_out(core: &ConsumerCore, key: &str) {
    match ConsumerKey::parse(key) {
        Some(ConsumerKey::Node { process }) => {
            let went = core.nodes.borrow_mut().remove(process);
            went.into_iter().for_each(|record| core.node_went(record));
            core.has_drains.notify_one();
        }
        Some(ConsumerKey::Drain { drain }) => {
            let ended = {
                let drains = core.drains.borrow();
                let mut ended = drains
                    .iter()
                    .filter(|(_, known)| known.name == drain && matches!(known.owner, Owner::Other { .. }));
                ended.next().map(|(id, _)| *id)
            };
            ended.into_iter().for_each(|id| drop(core.forget(id)));
        }
        // What a node noted stays when the node has gone: a consumer may watch here.
        _ => {}
    }
}

/// Looks at the drains while there are any.
async fn count_drains(core: Rc<ConsumerCore>) {
    loop {
        if core.drains.borrow().is_empty() {
            core.has_drains.notified().await;
        }
        let all: Vec<DrainId> = core.drains.borrow().keys().copied().collect();
        for id in all {
            let now = core.parts.clock.monotonic();
            let is_over = core.drains.borrow().get(&id).is_some_and(|drain| drain.is_over(now));
            if is_over {
                core.end(id).await;
            } else {
                count(&core, id).await;
            }
        }
        // Something may have changed meanwhile. Then it is looked at again at once, but not more often than this.
        tokio::time::sleep(DRAIN_PACE / 5).await;
        let _ = tokio::time::timeout(DRAIN_PACE, core.has_drains.notified()).await;
    }
}

/// Looks how far a drain is on this node, and tells whoever waits.
async fn count(core: &ConsumerCore, id: DrainId) {
    let Some((at, revision)) = core.drains.borrow().get(&id).map(|drain| (drain.at.clone(), drain.revision))
    else {
        return;
    };
    if revision > 0
        && let Some(PushProgress { pushed, watches }) = progress(core, &at).await
        && let Some(drain) = core.drains.borrow_mut().get_mut(&id)
    {
        drain.tally.take_in(watches, pushed >= revision);
    }
    let own = {
        let drains = core.drains.borrow();
        let Some(drain) = drains.get(&id) else { return };
        let asked = if revision > 0 { core.parts.pollers.asked_since(id.0, revision) } else { Vec::new() };
        drain.tally.receipt(revision, &drain.polled, asked)
    };
    let to_tell = {
        let mut drains = core.drains.borrow_mut();
        let Some(drain) = drains.get_mut(&id) else { return };
        match &mut drain.owner {
            Owner::Own { receipt, others, told } => {
                let joined = joined(core, revision, &own, others);
                receipt.send_if_modified(|known| {
                    let is_new = *known != joined;
                    *known = joined;
                    is_new
                });
                let is_told = *told == Some(revision) || revision == 0 || !core.has_others();
                *told = Some(revision);
                (!is_told).then(|| ToTell::Revision(drain.name.clone()))
            }
            Owner::Other { written, paces } => {
                *paces = paces.saturating_add(1);
                let is_new = written.as_ref() != Some(&own);
                let is_due = *paces >= PACES_PER_RECEIPT && is_new && core.has_others();
                is_due.then(|| {
                    *paces = 0;
                    *written = Some(own.clone());
                    ToTell::Receipt(drain.name.clone(), own)
                })
            }
        }
    };
    let told = match to_tell {
        None => return,
        Some(ToTell::Revision(name)) => core.tell_others(&name, &at, revision).await,
        Some(ToTell::Receipt(name, receipt)) => core.put_receipt(&name, &receipt).await,
    };
    if let Err(error) = told {
        core.fails(&error);
        // It is tried again with the next pace.
        match core.drains.borrow_mut().get_mut(&id).map(|drain| &mut drain.owner) {
            Some(Owner::Own { told, .. }) => *told = None,
            Some(Owner::Other { written, .. }) => *written = None,
            None => {}
        }
    }
}

/// What the store is to be told.
enum ToTell {
    Revision(String),
    Receipt(String, NodeReceipt),
}

/// The receipts of all nodes as one.
fn joined(
    core: &ConsumerCore,
    revision: Revision,
    own: &NodeReceipt,
    others: &BTreeMap<String, NodeReceipt>,
) -> DrainReceipt {
    let nodes = core.nodes.borrow();
    // A node that has stopped has no watches any more. Its clients have connected to another one, and list there. One whose lease
    // has ended is reported by its address, see `node_went`.
    let (mut receipts, mut silent) = (BTreeMap::from([(core.name.clone(), own.clone())]), Vec::new());
    for (process, record) in nodes.iter() {
        // Containers may have the same host name and process id.
        let name = match receipts.contains_key(&record.node) {
            true => format!("{} {process}", record.node),
            false => record.node.clone(),
        };
        match others.get(process) {
            Some(receipt) => drop(receipts.insert(name, receipt.clone())),
            None => silent.push(name),
        }
    }
    DrainReceipt { nodes: core.addresses(), ..join(revision, &receipts, silent) }
}

/// How far the watches of an instance's service are. `None` if the service is gone, or the hub has too much to do.
async fn progress(core: &ConsumerCore, at: &InstanceRef) -> Option<PushProgress> {
    let snapshot = core.parts.reader.load_full();
    let provider = Arc::clone(snapshot.service(&at.tenant, at.service.as_str())?);
    let message = ListProgress { snapshot, provider, at: at.clone() };
    ask_if_free(&core.parts.hub, message, HUB_LIMIT).await.ok()
}
