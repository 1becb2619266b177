//! CompactionActor: compacts etcd, so that its database does not grow with each write. Each node publishes how far its watch
//! is. One node at a time compacts for all, up to what no node needs any more.
//!
//! A record in the store takes the place of a lock: a node that replaces it as it has read it compacts, any other does nothing.
//! So it does not matter which node ends, and when.

pub mod messages;
mod plan;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use bytes::Bytes;
use uuid::Uuid;

use self::messages::CompactNow;
use self::plan::{CompactionPatience, CompactionPlan, CompactionRecord, SAMPLES, WatchMark};
use super::freshness::Freshness;
use super::leased_key::LeasedKey;
use super::mailbox::{Resident, Work, run_until_end};
use super::single::commit_alone;
use crate::cache::SnapshotReader;
use crate::clock::Clock;
use crate::domain::json;
use crate::error::{Code, Error};
use crate::metrics::{self, Depth};
use crate::store::{Compare, Entry, Key, Op, Reason, Revision, Store, StoreError, Txn, keys};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 4;
static DEPTH: Depth = Depth::new("CompactionActor");
/// The longest pause between two marks.
const LONGEST_PACE: Duration = Duration::from_secs(300);
/// A mark ends after this many missed paces, but not before [`SHORTEST_TTL`]: a node whose connection is lost for a moment is
/// still waited for.
const PACES_MISSED: u32 = 3;
const SHORTEST_TTL: Duration = Duration::from_secs(30);

pub struct CompactionActor {
    core: Rc<CompactionCore>,
}

/// How this node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionRules {
    /// How much history stays. `None`: this node does not compact. It says all the same how far its watch is.
    pub retention: Option<Duration>,
}

impl CompactionRules {
    /// The pause between two marks.
    fn pace(&self) -> Duration {
        self.retention.map_or(LONGEST_PACE, |retention| (retention / SAMPLES).min(LONGEST_PACE))
    }

    fn mark_ttl_seconds(&self) -> i64 {
        let ttl = (self.pace() * PACES_MISSED).max(SHORTEST_TTL);
        i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)
    }
}

pub struct CompactionCore {
    store: Arc<dyn Store>,
    reader: SnapshotReader,
    /// Makes the snapshot reach the revision of the store, even if others write keys that the watch does not bring.
    freshness: Freshness,
    clock: Clock,
    rules: CompactionRules,
    /// Names this process for operators (`<host>-<pid>`).
    node: String,
    mark: LeasedKey,
    /// The revision of the store when this node began to list it.
    began_at: Cell<Option<Revision>>,
    /// Logs once that the compaction fails.
    failing: Trouble,
    /// Logs once which nodes hold it back.
    waiting: Trouble,
}

impl CompactionActor {
    pub fn new(
        store: Arc<dyn Store>,
        reader: SnapshotReader,
        freshness: Freshness,
        clock: Clock,
        rules: CompactionRules,
        node: String,
    ) -> Self {
        let retention = rules.retention.unwrap_or_default().as_secs();
        metrics::RETENTION_OF_COMPACTION.set(usize::try_from(retention).unwrap_or(usize::MAX));
        let mark = keys::watch_mark(&Uuid::new_v4().simple().to_string());
        let mark = LeasedKey::new(Arc::clone(&store), mark, rules.mark_ttl_seconds());
        let core = CompactionCore {
            store,
            reader,
            freshness,
            clock,
            rules,
            node,
            mark,
            began_at: Cell::new(None),
            failing: Trouble::default(),
            waiting: Trouble::default(),
        };
        Self { core: Rc::new(core) }
    }
}

impl Resident for CompactionActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for CompactionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, work(Rc::clone(&self.core)));
    }
}

impl Handler<Work<CompactNow>> for CompactionActor {
    type Result = ResponseFuture<Result<Option<Revision>, Error>>;

    fn handle(&mut self, work: Work<CompactNow>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            round(&core).await.map_err(|error| Error::new(Code::Unavailable, error.to_string()))
        })
    }
}

async fn work(core: Rc<CompactionCore>) {
    loop {
        let is_listed = core.reader.load().revision >= 0;
        // A failure of the round is logged there.
        let _ = round(&core).await;
        if is_listed {
            tokio::time::sleep(core.rules.pace()).await;
        } else {
            // The first mark says where the listing began. The next one should not come much later than the end of the listing.
            let _ = tokio::time::timeout(core.rules.pace(), core.reader.wait_until_complete()).await;
        }
    }
}

/// Publishes how far the watch is, and compacts if that is due. Answers up to which revision.
async fn round(core: &CompactionCore) -> Result<Option<Revision>, StoreError> {
    let done = publish_and_compact(core).await;
    match &done {
        Ok(_) => {
            if core.failing.is_over() {
                log::info!("the compaction of etcd works again");
            }
        }
        Err(error) => {
            metrics::COMPACTIONS_FAILED.add(1);
            if core.failing.fails(&error.to_string()) {
                log::warn!(
                    "etcd was not compacted, trying again each {:?}: {}",
                    core.rules.pace(),
                    advice(error)
                );
            }
        }
    }
    done
}

/// The error, and what an operator can do about it.
fn advice(error: &StoreError) -> String {
    match error {
        StoreError::Aborted { reason: Reason::Denied, message } => format!(
            "{message}; give the user \"registry.etcd.username\" the role root of etcd, or start etcd with \
             --auto-compaction-retention=1 and set registry.etcd.compaction.retention to 0"
        ),
        error => error.to_string(),
    }
}

async fn publish_and_compact(core: &CompactionCore) -> Result<Option<Revision>, StoreError> {
    // If the watch is behind, the mark says so.
    let _ = core.freshness.try_catch_up().await;
    let read = publish(core).await?;
    let Some(retention) = core.rules.retention else { return Ok(None) };
    let now = i64::try_from(core.clock.unix_millis()).unwrap_or(i64::MAX);
    let stored = read.record.as_ref().and_then(|entry| decoded::<CompactionRecord>(&entry.value));
    let Some(next) = plan::plan(stored.unwrap_or_default(), &read.marks, (now, read.revision), retention)
    else {
        return Ok(None);
    };
    log_behind(core, &next);
    if !replace(core, read.record.as_ref(), &next.record).await? {
        return Ok(None);
    }
    let Some(up_to) = next.up_to else { return Ok(None) };
    if !core.store.compact(up_to).await? {
        return Ok(None);
    }
    metrics::COMPACTIONS.add(1);
    metrics::LAST_COMPACTED_REVISION.set(usize::try_from(up_to).unwrap_or_default());
    metrics::LAST_COMPACTED_AT.set(usize::try_from(core.clock.unix_seconds()).unwrap_or_default());
    log::debug!("etcd is compacted up to revision {up_to}");
    Ok(Some(up_to))
}

/// What a node reads when it publishes its mark.
struct SharedState {
    record: Option<Entry>,
    marks: BTreeMap<String, WatchMark>,
    revision: Revision,
}

/// Puts the mark of this node, and reads the record and all marks in the same transaction.
async fn publish(core: &CompactionCore) -> Result<SharedState, StoreError> {
    let mark = WatchMark { node: core.node.clone(), revision: needed(core).await? };
    let reads = vec![Op::Get(keys::COMPACTION.into()), Op::GetPrefix(keys::WATCH_MARKS.into())];
    let outcome = core.mark.write(Bytes::from(json::encode(&mark)), reads).await?;
    let mut reads = outcome.reads.into_iter();
    let record = reads.next().and_then(|entries| entries.into_iter().next());
    let marks = reads.next().into_iter().flatten().filter_map(|entry| {
        let id = entry.key.strip_prefix(keys::WATCH_MARKS)?.to_owned();
        Some((id, decoded::<WatchMark>(&entry.value)?))
    });
    Ok(SharedState { record, marks: marks.collect(), revision: outcome.revision })
}

/// The revision after which this node needs the history. While it lists the store for the first time, that is where it began. A smaller
/// number would hold the compaction back as long as a node ends again and again before it has listed the store.
async fn needed(core: &CompactionCore) -> Result<Revision, StoreError> {
    let shown = core.reader.load().revision;
    if shown >= 0 {
        return Ok(shown);
    }
    if let Some(began) = core.began_at.get() {
        return Ok(began);
    }
    let began = core.store.revision().await?;
    core.began_at.set(Some(began));
    Ok(began)
}

/// Replaces the record, if it is as it was read. `false`: another node was faster, and compacts.
async fn replace(
    core: &CompactionCore,
    read: Option<&Entry>,
    record: &CompactionRecord,
) -> Result<bool, StoreError> {
    let key = Key::from(keys::COMPACTION);
    let compare = match read {
        Some(entry) => Compare::Unchanged { key: Key::clone(&key), mod_revision: entry.mod_revision },
        None => Compare::Absent(Key::clone(&key)),
    };
    let put = Op::Put { key, value: Bytes::from(json::encode(record)), lease: None };
    let txn = Txn { compares: vec![compare], then: vec![put], otherwise: Vec::new() };
    commit_alone(&core.store, txn).await.map(|outcome| outcome.succeeded)
}

fn log_behind(core: &CompactionCore, plan: &CompactionPlan) {
    for node in &plan.behind {
        let (name, revision) = (&node.mark.node, node.mark.revision);
        let line = match node.patience {
            CompactionPatience::Waits => format!(
                "the compaction of etcd waits for node \"{name}\", whose watch does not go on after revision {revision}; restart that \
                 node if it hangs"
            ),
            CompactionPatience::Over => format!(
                "the compaction of etcd no longer waits for node \"{name}\", whose watch does not go on after revision {revision}; that \
                 node lists etcd again if it goes on"
            ),
        };
        if core.waiting.fails(&line) {
            log::warn!("{line}");
        }
    }
    if plan.behind.is_empty() && core.waiting.is_over() {
        log::info!("the compaction of etcd waits for no node any more");
    }
}

/// A value that another version may have written. `None` if it cannot be read: then it counts as absent.
fn decoded<T: json::DecodeJson>(value: &[u8]) -> Option<T> {
    json::decode(value).ok()
}
