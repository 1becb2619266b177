//! The Store port: etcd's semantics in few verbs. Implemented by `store::etcd` and `store::embedded`; the suite in
//! `store::conformance` says what both must do.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub use crate::domain::event::Revision;

/// A key: UTF-8 text, no trailing slash (`/cse-sr/inst/files/…`).
pub type Key = Arc<str>;

/// Identifies a lease. Positive; never used twice, also not across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key with its value, as of some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value; owns its bytes (never a slice that keeps a whole page of a listing alive).
    pub value: Bytes,
    /// Revision of the put that created the key.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Puts since the key was created: 1 after the first.
    pub version: i64,
    /// The lease the key goes with.
    pub lease: Option<LeaseId>,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist (etcd: `create_revision = 0`).
    Absent(Key),
    /// The key exists (etcd: `version != 0`).
    Present(Key),
    /// The key exists and was last put at this revision.
    Unchanged {
        /// The key.
        key: Key,
        /// Its `mod_revision`.
        mod_revision: Revision,
    },
    /// No key starts with this text (etcd: `create_revision = 0` over the range).
    NoneBelow(Key),
    /// Keys start with this text, and none of them has this value (etcd: `value != …` over the range). As in etcd it does
    /// not hold where no key starts with it: that is [`Compare::NoneBelow`].
    NoneBelowIs {
        /// The text.
        prefix: Key,
        /// The value.
        value: Bytes,
    },
    /// The key exists with exactly this value.
    ValueIs {
        /// The key.
        key: Key,
        /// The value.
        value: Bytes,
    },
}

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key; attaches it to the lease, or detaches it from any (`None`).
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Bytes,
        /// The lease; if it does not exist the transaction is aborted with [`Reason::LeaseNotFound`].
        lease: Option<LeaseId>,
    },
    /// Deletes a key; no error if it is absent.
    Delete(Key),
    /// Deletes every key that starts with this text.
    DeletePrefix(Key),
    /// Reads a key: none or one entry.
    Get(Key),
    /// Reads every key that starts with this text, in key order.
    GetPrefix(Key),
}

/// `if` all of `compares` hold, do `then`, else do `otherwise`; atomic, at one revision.
///
/// A key may be written once in a transaction (a `DeletePrefix` that covers a written key counts), as etcd demands; else
/// [`Reason::DuplicateKey`]. Deletions in the order given: a reader of the watch sees them in that order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Done if they hold.
    pub then: Vec<Op>,
    /// Done if not.
    pub otherwise: Vec<Op>,
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether the compares held.
    pub succeeded: bool,
    /// The store's revision after it. Comes through the watch only if `changed`.
    pub revision: Revision,
    /// Whether the branch taken wrote a key or deleted an existing one.
    pub changed: bool,
    /// One list for each `Get` and `GetPrefix` of the branch taken, in order.
    pub reads: Vec<Vec<Entry>>,
}

/// Why something was surely not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Over etcd's request limit (1.5 MiB; etcd's text: `etcdserver: request is too large`).
    TooLarge,
    /// More than 128 operations in one transaction (`etcdserver: too many operations in txn request`).
    TooManyOps,
    /// A key written twice in one transaction (`etcdserver: duplicate key given in txn request`).
    DuplicateKey,
    /// The lease is not there (`etcdserver: requested lease not found`).
    LeaseNotFound,
    /// No space: etcd's quota (NOSPACE alarm) or the disk.
    NoSpace,
    /// The store cannot be reached or is shutting down, and the request never left.
    Unavailable,
    /// Too much waits before it, in this process; the store was not asked.
    Busy,
    /// Not authenticated or not permitted.
    Denied,
    /// Anything else that the store refused.
    Refused,
}

/// An error knows its outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Surely not written.
    #[error("{message}")]
    Aborted {
        /// Why.
        reason: Reason,
        /// The store's own words.
        message: String,
    },
    /// Maybe written: a time-out or a connection lost after the request left. Settle it by fencing, not by reading alone
    /// (it may commit after you looked): revoke the lease the write hangs on, or submit the same write again under
    /// [`Compare::Absent`].
    #[error("{message}")]
    Unknown {
        /// What happened.
        message: String,
    },
}

impl StoreError {
    /// Whether the store refuses the transaction for what it is: submitted again, it is refused again.
    pub fn is_final(&self) -> bool {
        use Reason::{DuplicateKey, TooLarge, TooManyOps};
        matches!(self, Self::Aborted { reason: TooLarge | TooManyOps | DuplicateKey, .. })
    }
}

/// What a grant costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantCost {
    /// Memory only: grant when needed.
    Free,
    /// A consensus round: worth granting ahead.
    RoundTrip,
}

/// A granted lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The TTL granted, seconds.
    pub ttl_seconds: i64,
}

/// The answer to one renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Renewed to its full TTL (seconds).
    Renewed(i64),
    /// The lease is gone: expired or revoked.
    NotFound,
    /// No answer: the store is away or slow. The lease may be alive; try again.
    Unanswered(String),
}

/// A part of a listing. All pages of one listing are of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Below one of the prefixes, in key order; at most 2,000.
    pub entries: Vec<Entry>,
    /// The revision listed. A watch from `revision + 1` misses nothing.
    pub revision: Revision,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Put: the new entry (`version` 1: created).
    Put(Entry),
    /// Deleted, by a transaction or with its lease.
    Delete {
        /// The key.
        key: Key,
        /// The revision of the deletion.
        revision: Revision,
    },
}

/// What a watch hands over at once: all events of one or more whole revisions, in order. A revision is never split over
/// two batches. Expiry and revocation delete `inst/files/…` before `inst/leases/…` (key order).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The revision of the last event.
    pub revision: Revision,
    /// Never empty.
    pub events: Vec<Event>,
}

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The revision asked for is no longer kept (compaction, bounded history, or this watcher was too slow): list again.
    #[error("revision compacted, list again")]
    Compacted,
    /// The store's revision is below the one to watch from, where it has been before: it was set back (etcd restored from a
    /// backup). Nothing would come until it gets there again, and then not what was missed: list again.
    #[error("the store was set back to revision {0}, list again")]
    SetBack(Revision),
    /// The stream was lost: watch again from the last revision seen.
    #[error("{0}")]
    Lost(String),
    /// The store was closed: nothing will come any more.
    #[error("the store is closed")]
    Closed,
}

/// A store. Every call has a time limit of its own and answers within it.
pub trait Store: Send + Sync + 'static {
    /// Lists everything below some prefixes, none of which starts with another one, at one fixed revision, in pages.
    ///
    /// The pages of one prefix come in key order; those of several may come mixed, so that a store can read them side by
    /// side. At least one page comes, empty if nothing is there. Ends after the first error.
    fn list(&self, prefixes: &[&str]) -> BoxStream<'static, Result<Page, StoreError>>;

    /// Commits transactions, one outcome for each in the same order.
    ///
    /// A failing compare or an error of one does not touch the others. The caller keeps to: no key written by two
    /// transactions of one batch; no transaction depends on another of the same batch; ≤ 120 transactions and ≤ 1 MB
    /// (a single larger transaction is submitted alone). Within a batch the outcomes may share a revision (etcd) or not.
    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<Result<TxnOutcome, StoreError>>>;

    /// Grants a lease. A TTL outside 2..=9_000_000_000 is moved to the nearest bound.
    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>>;

    /// What [`Store::grant`] costs here.
    fn grant_cost(&self) -> GrantCost;

    /// Renews leases; one answer for each in the same order. Renewals of other leases are not delayed by a dead one.
    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>>;

    /// Ends a lease; its keys are deleted in one revision. `Ok(false)`: it was not there.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>>;

    /// Watches a prefix from a revision on (inclusive), past revisions first.
    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>>;

    /// The current revision, linearizable: at least that of every write answered before this call by any node.
    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>>;

    /// A revision that the watch of `/cse-sr/` surely reaches and that is at least [`Store::revision`]: where others write
    /// outside that prefix, the current revision may never come through the watch, so etcd's implementation puts and
    /// deletes a key `/cse-sr/bookmarks/<random>`. The embedded store answers its revision.
    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>>;

    /// Ends in order: what was accepted is finished or refused, buffers are flushed. Later calls answer
    /// [`Reason::Unavailable`].
    fn close(&self) -> BoxFuture<'static, ()>;
}
