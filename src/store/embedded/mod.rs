//! The embedded durable store: one machine, one process, a folder of files.
//!
//! All data is in memory. The disk holds a log of the changes and, from time to time, a snapshot of all data. One thread, the
//! committer, owns the state. Callers put commands into its bounded queue and wait for the reply. The committer does all
//! waiting commands, writes their changes to the log as one group, and syncs. Only then it publishes the changes and replies:
//! **nothing is shown before it is on disk**. A failed sync ends the process, because it is then unknown what the disk holds.
//!
//! A command passes `caller` (queue) → `committer` → `command` → `keyspace` (the rules) → `log` (via `format`) → `history`
//! (watchers) → reply. At start, `recovery` reads the files. The store must not know any rule of the registry.

mod caller;
mod command;
mod committer;
mod disk;
#[cfg(feature = "test-doubles")]
pub mod faulty_disk;
mod format;
mod history;
mod item;
pub mod journal;
mod key;
mod keyspace;
mod lease;
mod limits;
mod log;
mod recovery;
mod snapshot;
mod stats;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Semaphore, watch};

use self::caller::{Caller, QUEUE_ROOM};
use self::command::Command;
use self::committer::Committer;
pub use self::disk::{Disk, EVENTS};
use self::disk::{DiskFolder, FolderError};
use self::history::{Bounds, History, Published};
use self::keyspace::KeyspaceListing;
use self::lease::{LeaseClock, LeaseIds};
pub use self::recovery::OpenError;
use self::recovery::{Recovered, recover};
use self::snapshot::Snapshots;
use self::stats::SharedStats;
pub use self::stats::Stats;
use super::port::{
    Entry, GrantCost, KeepAlive, Lease, LeaseId, Page, Revision, Store, StoreError, Txn, TxnResult,
    WatchBatch, WatchError, on_other_thread,
};
use crate::clock::Clock;

/// Limits of a store. The defaults are for production.
#[derive(Clone)]
pub struct Options {
    /// Number of events kept for watches that start in the past or lag behind. A registration has two events.
    pub history_events: usize,
    /// Estimated bytes of these events. They share most of their bytes with the stored data.
    pub history_bytes: usize,
    /// The store makes a snapshot when the log is longer than this and longer than the last snapshot, bytes.
    pub snapshot_log_bytes: u64,
    /// If the committer did not check leases for longer than this, it took no renewals either, so all deadlines move by the
    /// time missed. A test that moves a manual clock by more than this sets it higher.
    pub late_tolerance: Duration,
    /// How long a caller waits for room in the queue (64 MiB) before it gets [`Unavailable`](super::Reason::Unavailable).
    pub queue_wait: Duration,
    /// How long a caller waits for the reply to a queued command. After that the outcome is unknown.
    pub answer_wait: Duration,
    /// Called when it is unknown what the disk holds. Must end the process. If it returns (in tests), the store is closed.
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_events: 65_536,
            history_bytes: 32 << 20,
            snapshot_log_bytes: 32 << 20,
            late_tolerance: Duration::from_secs(1),
            queue_wait: Duration::from_secs(5),
            answer_wait: Duration::from_secs(10),
            on_fatal: Arc::new(|message| {
                ::log::error!("{message}; the process ends, because it is unknown what the disk holds");
                ::log::logger().flush();
                std::process::exit(FATAL_EXIT_CODE);
            }),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").finish_non_exhaustive()
    }
}

/// The process's exit code after a fatal error of the disk (`EX_SOFTWARE` of sysexits).
const FATAL_EXIT_CODE: i32 = 70;

/// Entries of a page of a listing: the port's limit.
const PAGE: usize = 2_000;

/// When the store is dropped, the committer finishes the queued commands. [`Store::close`] also waits for that.
#[derive(Debug)]
pub struct EmbeddedStore {
    caller: Arc<Caller>,
}

impl EmbeddedStore {
    /// Opens the store in a folder. Creates the folder if it does not exist, closes it to other users and locks it against
    /// other processes. Blocks while it reads the files (about 0.3 s for 100,000 instances).
    pub fn open(dir: &Path, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let folder = DiskFolder::open(dir).map_err(|error| match error {
            FolderError::Locked(pid) => OpenError::Locked { folder: dir.to_owned(), pid },
            FolderError::Io(path, error) => OpenError::Io { path, error },
        })?;
        Self::open_on(Arc::new(folder), options, clock)
    }

    pub fn open_on(disk: Arc<dyn Disk>, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let Recovered { mut keyspace, log, store, snapshot_length } = recover(&disk)?;
        let mut time = LeaseClock::new(clock, options.late_tolerance);
        keyspace.leases.restart(time.look());
        let lease_ids = LeaseIds::new(&keyspace.leases);
        let revision = keyspace.revision;
        let stats = SharedStats::default();
        stats.lock().note(&keyspace, &log, false);
        stats.lock().snapshot_bytes = snapshot_length;
        let bounds = Bounds { events: options.history_events, bytes: options.history_bytes };
        // Revision 1 of a new store has no events. The past events of an older store are not kept.
        let dropped = if revision == 1 { 0 } else { revision };
        let history = Arc::new(History::new(bounds, dropped));
        let (publisher, published) = watch::channel(Published { revision, registry_revision: revision });
        let (queue, inbox) = mpsc::channel();
        let permits = Arc::new(Semaphore::new(QUEUE_ROOM as usize));
        let path = disk.path("");
        let committer = Committer {
            disk,
            keyspace,
            log,
            time,
            inbox,
            permits: permits.clone(),
            history: history.clone(),
            published: publisher,
            stats: stats.clone(),
            snapshots: Snapshots::new(store, options.snapshot_log_bytes, snapshot_length),
            on_fatal: options.on_fatal.clone(),
        };
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| committer.run())).is_err() {
                (options.on_fatal)("the store's committer panicked");
            }
        };
        let spawned = std::thread::Builder::new().name("store-committer".to_owned()).spawn(run);
        spawned.map_err(|error| OpenError::Io { path, error })?;
        let (queue_wait, answer_wait) = (options.queue_wait, options.answer_wait);
        let caller = Caller { queue, permits, published, history, lease_ids, stats, queue_wait, answer_wait };
        Ok(Self { caller: Arc::new(caller) })
    }

    pub fn stats(&self) -> Stats {
        *self.caller.stats.lock()
    }

    /// For tests that move the clock: ends all expired leases now, or tries to if the disk is full. Without this call the
    /// store checks leases four times a second.
    pub fn poke(&self) -> BoxFuture<'static, ()> {
        let caller = self.caller.clone();
        async move {
            let _ = caller.ask(1, |reply| Command::Poke { reply }).await;
        }
        .boxed()
    }
}

/// The entries of a page, and the rest of the listing. `None`: the listing has ended.
type NextPage = Option<(Vec<Entry>, KeyspaceListing)>;

/// Another thread makes the next page while the reader takes the page before it.
fn next_page(mut listing: KeyspaceListing) -> BoxFuture<'static, Result<NextPage, StoreError>> {
    on_other_thread(move || listing.next(PAGE).map(|entries| (entries, listing))).boxed()
}

impl Store for EmbeddedStore {
    fn list(&self, prefixes: &[&str]) -> BoxStream<'static, Result<Page, StoreError>> {
        let caller = self.caller.clone();
        let prefixes: VecDeque<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let pages = async move {
            let (items, revision) = match caller.ask(1, |reply| Command::List { reply }).await {
                Ok(listed) => listed,
                Err(unanswered) => return stream::iter([Err(unanswered.to_error())]).boxed(),
            };
            let first = next_page(KeyspaceListing::new(items, prefixes));
            stream::unfold((Some(first), true), move |(reading, is_first)| async move {
                match reading?.await {
                    Ok(Some((entries, listing))) => {
                        Some((Ok(Page { entries, revision }), (Some(next_page(listing)), false)))
                    }
                    Ok(None) => is_first.then(|| (Ok(Page { entries: Vec::new(), revision }), (None, false))),
                    Err(error) => Some((Err(error), (None, false))),
                }
            })
            .boxed()
        };
        pages.flatten_stream().boxed()
    }

    fn name(&self) -> &'static str {
        "embedded"
    }

    fn grant_cost(&self) -> GrantCost {
        GrantCost::Free
    }

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<TxnResult>> {
        let caller = self.caller.clone();
        async move { caller.batch(txns).await }.boxed()
    }

    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        let caller = self.caller.clone();
        async move { caller.grant(ttl_seconds).await }.boxed()
    }

    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>> {
        let caller = self.caller.clone();
        async move {
            let asked = leases.len();
            if asked == 0 {
                return Vec::new();
            }
            let bytes = asked * size_of::<LeaseId>();
            match caller.ask(bytes, |reply| Command::KeepAlive { leases, reply }).await {
                Ok(answers) => answers,
                Err(unanswered) => vec![KeepAlive::Unanswered(unanswered.message().to_owned()); asked],
            }
        }
        .boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>> {
        let caller = self.caller.clone();
        async move {
            let revoked = caller.ask(1, |reply| Command::Revoke { lease, reply }).await;
            revoked.unwrap_or_else(|unanswered| Err(unanswered.to_error()))
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
        history::watch(self.caller.history.clone(), self.caller.published.clone(), prefix.to_owned(), from)
    }

    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        // The committer publishes a write before it replies, so this is not below the revision of any answered write.
        std::future::ready(self.caller.published().map(|published| published.revision)).boxed()
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        let caller = self.caller.clone();
        async move { caller.bookmark().await }.boxed()
    }

    /// The history is bounded, see [`history`].
    fn compact(&self, _: Revision) -> BoxFuture<'static, Result<bool, StoreError>> {
        std::future::ready(self.caller.published().map(|_| false)).boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let caller = self.caller.clone();
        async move { caller.close().await }.boxed()
    }
}
