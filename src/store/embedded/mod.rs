//! The embedded durable store: one machine, one process, a folder of files.
//!
//! Everything is in memory; the disk holds a log of what was done and now and then a snapshot of all. One thread, the
//! committer, owns the state. Callers put commands into its bounded queue and wait for the reply; it does all that wait,
//! writes them to the log as one group, syncs, and only then publishes and answers: **nothing is shown before it is on
//! disk**. A failed sync ends the process, since nobody can know what the disk holds then.
//!
//! One command's way: `caller` (queue) → `committer` → `command` → `keyspace` (the rules) → `log` (via `format`) →
//! `history` (watchers) → reply. At start: `recovery`. It must not know any rule of the registry.

mod caller;
mod command;
mod committer;
mod disk;
#[cfg(feature = "test-doubles")]
pub mod faulty_disk;
mod format;
mod history;
mod item;
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
pub use self::disk::{Disk, DiskFile};
use self::disk::{Folder, FolderError};
use self::history::{Bounds, History, Published};
use self::keyspace::Listing;
use self::lease::LeaseClock;
pub use self::recovery::OpenError;
use self::recovery::{Recovered, recover};
use self::snapshot::Snapshots;
use self::stats::Counters;
pub use self::stats::Stats;
use super::port::{
    GrantCost, KeepAlive, Lease, LeaseId, Page, Revision, Store, StoreError, Txn, TxnOutcome, WatchBatch,
    WatchError,
};
use crate::clock::Clock;

/// How a store behaves; the defaults are for production.
#[derive(Clone)]
pub struct Options {
    /// Events kept for watches that start in the past or lag behind. A registration is two.
    pub history_events: usize,
    /// The same in bytes, by estimate. Most of it is shared with what is stored anyway.
    pub history_bytes: usize,
    /// A snapshot is made when the log is longer than this and longer than the last snapshot, bytes.
    pub snapshot_log_bytes: u64,
    /// If leases were not looked at for longer than this, nobody could renew them: all deadlines move by as much. A test
    /// that moves a manual clock in larger strides than this sets it higher.
    pub late_tolerance: Duration,
    /// How long a caller waits for room in the queue (64 MiB) before it gets [`Unavailable`](super::Reason::Unavailable).
    pub queue_wait: Duration,
    /// How long a caller waits for its answer, once queued, before the outcome is called unknown.
    pub answer_wait: Duration,
    /// Told when nobody knows what is on the disk, and must end the process. If it returns (in tests), the store is closed.
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
                ::log::error!("{message}: what the disk holds is unknown, ending the process");
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

/// Entries of a page of a listing; the port's limit.
const PAGE: usize = 2_000;

/// The embedded store. Dropping it lets the committer finish what it has; [`Store::close`] also waits for that.
#[derive(Debug)]
pub struct EmbeddedStore {
    caller: Arc<Caller>,
}

impl EmbeddedStore {
    /// Opens the store in a folder, which is made if it is not there, closed to other users and locked against other
    /// processes. Blocks while it reads what is there (about 0.3 s with 100,000 instances).
    pub fn open(dir: &Path, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let folder = Folder::open(dir).map_err(|error| match error {
            FolderError::Locked(pid) => OpenError::Locked { folder: dir.to_owned(), pid },
            FolderError::Io(path, error) => OpenError::Io { path, error },
        })?;
        Self::open_on(Arc::new(folder), options, clock)
    }

    /// Opens the store on a disk of the caller's.
    pub fn open_on(disk: Arc<dyn Disk>, options: Options, clock: Clock) -> Result<Self, OpenError> {
        let Recovered { mut keyspace, log, store, snapshot_length } = recover(&disk)?;
        let mut time = LeaseClock::new(clock, options.late_tolerance);
        keyspace.leases.restart(time.look());
        let revision = keyspace.revision;
        let counters = Arc::new(Counters::default());
        counters.note(&keyspace, &log);
        counters.note_snapshot_length(snapshot_length);
        let bounds = Bounds { events: options.history_events, bytes: options.history_bytes };
        // A new store's revision 1 has no events; of an older one's past none are kept.
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
            counters: counters.clone(),
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
        let caller = Caller { queue, permits, published, history, counters, queue_wait, answer_wait };
        Ok(Self { caller: Arc::new(caller) })
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> Stats {
        self.caller.counters.read()
    }

    /// Looks at the clock now and returns when every lease that is over has been ended (or could not be, because the disk
    /// is full). For tests that move the clock; a store looks by itself four times a second.
    pub fn poke(&self) -> BoxFuture<'static, ()> {
        let caller = self.caller.clone();
        async move {
            let _ = caller.ask(1, |reply| Command::Poke { reply }).await;
        }
        .boxed()
    }
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
            let mut listing = Listing::new(items, prefixes);
            let first = listing.next(PAGE).unwrap_or_default();
            stream::unfold(Some((listing, first)), move |state| {
                let next = state.map(|(mut listing, entries)| {
                    let rest = listing.next(PAGE).map(|more| (listing, more));
                    (Ok(Page { entries, revision }), rest)
                });
                std::future::ready(next)
            })
            .boxed()
        };
        pages.flatten_stream().boxed()
    }

    fn grant_cost(&self) -> GrantCost {
        GrantCost::Free
    }

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<Result<TxnOutcome, StoreError>>> {
        let caller = self.caller.clone();
        async move { caller.batch(txns).await }.boxed()
    }

    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        let caller = self.caller.clone();
        async move {
            let granted = caller.ask(1, |reply| Command::Grant { ttl_seconds, reply }).await;
            granted.unwrap_or_else(|unanswered| Err(unanswered.to_error()))
        }
        .boxed()
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
        // A write is published before it is answered, so this is at least the revision of every write answered.
        std::future::ready(self.caller.published().map(|published| published.revision)).boxed()
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        let caller = self.caller.clone();
        async move { caller.bookmark().await }.boxed()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let caller = self.caller.clone();
        async move { caller.close().await }.boxed()
    }
}
