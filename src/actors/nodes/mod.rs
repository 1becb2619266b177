//! NodesActor: writes a summary of this node into the store, reads those of the other nodes, and compares their digests with that of
//! this node at the same revision. Nodes never call each other.

pub mod limits;
pub mod messages;
mod others;
pub mod summary;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use bytes::Bytes;
use futures_util::stream::StreamExt as _;
use uuid::Uuid;

use self::limits::NodeLimits;
use self::messages::{Agreement, EndSummary, ListNodes, NodeRow};
use self::others::{Arrival, OtherNodes};
use self::summary::{NodeSummary, digest_text};
use super::cluster::{self, address};
use super::contact::Contact;
use super::freshness::Freshness;
use super::hub::HubActor;
use super::hub::messages::CountWatchers;
use super::leased_key::LeasedKey;
use super::mailbox::{Mailbox, Resident, Work, ask, run_until_end, tell};
use super::recovery::next_of_watch;
use super::scrub::ScrubActor;
use super::scrub::messages::CompareNow;
use super::watch::WatchActor;
use super::watch::messages::DigestAt;
use crate::alarm::{Alarms, DiffersFrom};
use crate::cache::{Snapshot, SnapshotReader};
use crate::clock::Clock;
use crate::domain::json;
use crate::metrics::{self, Depth};
use crate::store::{Entry, Event, Revision, Store, StoreError, keys};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 16;
static DEPTH: Depth = Depth::new("NodesActor");
/// The pause between two summaries.
pub const PACE: Duration = Duration::from_secs(10);
/// A node counts as living until this long after its last summary: three are missing then.
const TTL_SECONDS: i64 = 30;
/// How long another actor may take to answer.
const LIMIT: Duration = Duration::from_secs(2);
/// How long this node may take to reach the revision of a summary, before it writes a bookmark to find out what is wrong.
const USUAL_LAG: Duration = Duration::from_secs(1);
/// The pause before the summaries are listed again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

pub struct NodesActor {
    core: Rc<NodesCore>,
}

/// What this node says about itself.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The host and the process.
    pub node: String,
    /// The address of the node for clients.
    pub endpoint: String,
    /// The release of the original server whose API the node implements.
    pub api_version: String,
    pub company: Company,
    /// The pause between two summaries: [`PACE`], except in tests.
    pub pace: Duration,
}

/// Whether there can be other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// The store is that of this machine.
    Alone,
    /// Nodes share the store.
    Shared,
}

/// The parts that the actor uses.
pub struct NodesParts {
    pub store: Arc<dyn Store>,
    pub reader: SnapshotReader,
    pub freshness: Freshness,
    pub watch: Mailbox<WatchActor>,
    pub hub: Mailbox<HubActor>,
    pub scrub: Mailbox<ScrubActor>,
    pub alarms: Alarms,
    pub contact: Contact,
    pub limits: NodeLimits,
    pub clock: Clock,
}

pub struct NodesCore {
    parts: NodesParts,
    /// Tells this process from all others.
    process: String,
    facts: NodeFacts,
    started: i64,
    key: LeasedKey,
    others: RefCell<OtherNodes>,
    /// Set by [`EndSummary`].
    is_leaving: Cell<bool>,
    /// Whether the alarm is one of this actor.
    has_raised: Cell<bool>,
    /// Logs once that the summary cannot be written.
    unwritten: Trouble,
    /// Logs once that those of others cannot be read.
    unread: Trouble,
}

impl NodesActor {
    pub fn new(parts: NodesParts, facts: NodeFacts) -> Self {
        let process = Uuid::new_v4().simple().to_string();
        let key = keys::node_summary(&process);
        let core = NodesCore {
            started: unix_millis(&parts.clock),
            key: LeasedKey::new(Arc::clone(&parts.store), key, TTL_SECONDS),
            parts,
            process,
            facts,
            others: RefCell::default(),
            is_leaving: Cell::new(false),
            has_raised: Cell::new(false),
            unwritten: Trouble::default(),
            unread: Trouble::default(),
        };
        Self { core: Rc::new(core) }
    }
}

impl Resident for NodesActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for NodesActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, write_summaries(Rc::clone(&self.core)));
        if self.core.facts.company == Company::Shared {
            run_until_end(ctx, read_summaries(Rc::clone(&self.core)));
        }
    }
}

impl Handler<Work<ListNodes>> for NodesActor {
    type Result = ResponseFuture<Vec<NodeRow>>;

    fn handle(&mut self, work: Work<ListNodes>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            list(&core).await
        })
    }
}

impl Handler<Work<EndSummary>> for NodesActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, work: Work<EndSummary>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        core.is_leaving.set(true);
        Box::pin(async move {
            let _place = work.place;
            if let Err(error) = core.key.end().await {
                log::warn!("the summary of this node could not be removed and ends with its lease: {error}");
            }
        })
    }
}

fn unix_millis(clock: &Clock) -> i64 {
    i64::try_from(clock.unix_millis()).unwrap_or(i64::MAX)
}

async fn write_summaries(core: Rc<NodesCore>) {
    core.parts.reader.wait_until_complete().await;
    while !core.is_leaving.get() {
        let summary = own_summary(&core).await;
        if core.facts.company == Company::Shared {
            let written = core.key.write(Bytes::from(json::encode(&summary)), Vec::new()).await;
            if core.is_leaving.get() {
                // It may have been written after `EndSummary` has ended it. If this fails too, it ends with its lease.
                let _ = core.key.end().await;
                break;
            }
            log_written(&core, &written.map(drop));
        }
        tokio::time::sleep(core.facts.pace).await;
    }
    // The actor lives as long as the process.
    std::future::pending().await
}

fn log_written(core: &NodesCore, written: &Result<(), StoreError>) {
    match written {
        Ok(()) => {
            if core.unwritten.is_over() {
                log::info!("the summary of this node is in the store again");
            }
        }
        Err(error) => {
            if core.unwritten.fails(&error.to_string()) {
                let pace = core.facts.pace;
                log::warn!(
                    "the summary of this node could not be written, trying again each {pace:?}: {error}"
                );
            }
        }
    }
}

async fn own_summary(core: &NodesCore) -> NodeSummary {
    let NodesParts { reader, hub, alarms, contact, limits, clock, .. } = &core.parts;
    let watchers = ask(hub, CountWatchers, LIMIT).await.map_or(0, |counts| counts.by_domain.values().sum());
    let snapshot = reader.load_full();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let active = alarms.list(clock.monotonic()).into_iter().filter(|alarm| alarm.is_active);
    let now = unix_millis(clock);
    // 0 stands for no time.
    let before = |ago: Option<Duration>| {
        let millis = ago.and_then(|ago| i64::try_from(ago.as_millis()).ok());
        millis.map_or(0, |millis| (now - millis).max(1))
    };
    NodeSummary {
        node: core.facts.node.clone(),
        instance_id: own_instance(core, &snapshot),
        endpoint: core.facts.endpoint.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: core.facts.api_version.clone(),
        started: core.started,
        revision: snapshot.revision,
        digest: digest_text(snapshot.digest()),
        held_digest: digest_text(snapshot.held_digest()),
        services: count(snapshot.tenants().map(|(_, view)| view.service_count).sum()),
        instances: count(snapshot.instance_count),
        watchers: count(watchers),
        held_expiries: count(snapshot.held_count()),
        alarms: active.map(|alarm| alarm.kind.id().to_owned()).collect(),
        store_reached: before(contact.in_touch(clock)),
        store_lost: before(contact.away(clock)),
        limits: limits.list(),
        time: now,
    }
}

/// The instance by which this node is registered. Empty if it is not.
fn own_instance(core: &NodesCore, snapshot: &Snapshot) -> String {
    let own = address(&core.facts.endpoint);
    let registered = cluster::registered(snapshot).into_iter();
    let mut own = registered.filter(|node| node.version == core.facts.api_version && node.has_address(own));
    own.next().map(|node| node.at.instance.to_string()).unwrap_or_default()
}

/// Keeps the summaries of the other nodes as the store has them.
async fn read_summaries(core: Rc<NodesCore>) {
    core.parts.reader.wait_until_complete().await;
    loop {
        if let Err(why) = list_and_watch(&core).await
            && core.unread.fails(&why)
        {
            log::warn!("the summaries of other nodes cannot be read, trying again until they can: {why}");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn list_and_watch(core: &NodesCore) -> Result<(), String> {
    let revision = list_summaries(core).await.map_err(|error| error.to_string())?;
    let mut batches = core.parts.store.watch(keys::NODES, revision + 1);
    let tell = || log::info!("the summaries of other nodes can be read again");
    while let Some(batch) = next_of_watch(&mut batches, &core.unread, tell).await {
        for event in batch.map_err(|error| error.to_string())?.events {
            match event {
                Event::Put(entry) => {
                    let arrival = Arrival::Watched { unix_millis: unix_millis(&core.parts.clock) };
                    if let Some(process) = note(core, &entry, arrival) {
                        compare(core, &process).await;
                    }
                }
                Event::Delete { key, .. } => {
                    if let Some(process) = keys::parse_node_summary(&key) {
                        core.others.borrow_mut().remove(process);
                        show_agreement(core);
                    }
                }
            }
        }
    }
    Err("the watch ended".to_owned())
}

/// Reads all summaries. Returns the revision at which they were read.
async fn list_summaries(core: &NodesCore) -> Result<Revision, StoreError> {
    let mut pages = core.parts.store.list(&[keys::NODES]);
    let (mut there, mut revision) = (HashSet::new(), 0);
    while let Some(page) = pages.next().await {
        let page = page?;
        revision = page.revision;
        there.extend(page.entries.iter().filter_map(|entry| note(core, entry, Arrival::Listed)));
    }
    core.others.borrow_mut().keep(|process| there.contains(process));
    for process in there {
        compare(core, &process).await;
    }
    Ok(revision)
}

/// Notes the summary of another node. Returns its process. `None` for any other entry.
fn note(core: &NodesCore, entry: &Entry, arrival: Arrival) -> Option<Arc<str>> {
    let process = keys::parse_node_summary(&entry.key).filter(|process| *process != core.process)?;
    // A summary of a version that writes another form counts as none.
    let summary = json::decode::<NodeSummary>(&entry.value).ok()?;
    let process = Arc::from(process);
    core.others.borrow_mut().note(Arc::clone(&process), summary, arrival, core.parts.clock.monotonic());
    Some(process)
}

/// Compares the digest of another node with the one that this node had at the same revision.
async fn compare(core: &NodesCore, process: &str) {
    let told = core.others.borrow().summary(process).and_then(NodeSummary::digest_at);
    let Some((revision, theirs)) = told else { return };
    let NodesParts { reader, freshness, watch, .. } = &core.parts;
    if tokio::time::timeout(USUAL_LAG, reader.wait_for(revision)).await.is_err() {
        // The event of that revision was lost, or the watch is late. A bookmark brings the snapshot to that revision at least.
        let _ = freshness.try_catch_up().await;
    }
    let Ok(Some(ours)) = ask(watch, DigestAt(revision), LIMIT).await else { return };
    let agreement = if ours == theirs { Agreement::Agree } else { Agreement::Differ };
    let before = core.others.borrow_mut().compared(process, agreement);
    show_agreement(core);
    if agreement == Agreement::Differ && before.is_some_and(|before| before != Agreement::Differ) {
        let node =
            core.others.borrow().summary(process).map(|summary| summary.node.clone()).unwrap_or_default();
        log::warn!(
            "node \"{node}\" has the digest {} at revision {revision}, and this node {}; both compare with the store",
            digest_text(theirs),
            digest_text(ours)
        );
        if let Err(refused) = tell(&core.parts.scrub, CompareNow) {
            log::warn!("the comparison with the store waits for its time: {refused}");
        }
    }
}

/// Raises the alarm while a node has another digest.
fn show_agreement(core: &NodesCore) {
    let others = core.others.borrow();
    let differing: Vec<&str> = others.differing().map(|summary| summary.node.as_str()).collect();
    metrics::NODES_DIFFERING.set(differing.len());
    if !differing.is_empty() {
        core.has_raised.set(true);
        core.parts.alarms.raise_differs(DiffersFrom::OtherNode, core.parts.clock.monotonic(), || {
            format!(
                "these nodes show something else than this one at the same revision: {}",
                differing.join(", ")
            )
        });
    } else if core.has_raised.take() {
        core.parts.alarms.clear_differs(DiffersFrom::OtherNode);
        log::info!("all nodes show the same again");
    }
}

async fn list(core: &NodesCore) -> Vec<NodeRow> {
    let own = own_summary(core).await;
    let now = core.parts.clock.monotonic();
    let others = core.others.borrow();
    let of_others = others.iter().map(|(process, other)| NodeRow::Other {
        process: process.to_string(),
        summary: other.summary.clone(),
        seen: other.seen(now),
    });
    let ours: HashSet<&str> = others
        .iter()
        .map(|(_, other)| other.summary.instance_id.as_str())
        .chain([own.instance_id.as_str()])
        .collect();
    let registered = cluster::registered(&core.parts.reader.load_full()).into_iter();
    let foreign = registered.filter(|node| !ours.contains(node.at.instance.as_str()));
    let foreign: Vec<NodeRow> = foreign
        .map(|node| NodeRow::Foreign {
            host_name: node.document.host_name,
            instance_id: node.at.instance.to_string(),
            endpoint: node.document.endpoints.into_iter().next().unwrap_or_default(),
            api_version: node.version,
        })
        .collect();
    let process = core.process.clone();
    let own = NodeRow::Own { process, summary: own.clone() };
    std::iter::once(own).chain(of_others).chain(foreign).collect()
}
