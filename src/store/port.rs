//! The Store port: etcd's semantics in a few methods. `store::etcd` and `store::embedded` implement it. The suite in
//! `store::conformance` tests what both must do.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use futures_util::stream::BoxStream;

pub use crate::domain::event::Revision;
use crate::packed::compact::Compact;

/// A key: UTF-8 text, no trailing slash (`/cse-sr/inst/files/…`).
pub type Key = Arc<str>;

/// Identifies a lease. Positive. A store never uses an id twice, not even after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key with its value at a revision. Entries are equal whatever their compact form.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Key,
    /// Owns its bytes. It is never a slice that keeps a whole page of a listing in memory.
    pub value: Bytes,
    /// The value as the store keeps it in memory, for a reader who keeps it too.
    pub compact: Option<Compact>,
    /// Revision of the put that created the key.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Number of puts since the key was created: 1 after the first.
    pub version: i64,
    /// The key is deleted when this lease ends.
    pub lease: Option<LeaseId>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        let Self { key, value, compact: _, create_revision, mod_revision, version, lease } = self;
        (key, value, create_revision, mod_revision, version, lease)
            == (
                &other.key,
                &other.value,
                &other.create_revision,
                &other.mod_revision,
                &other.version,
                &other.lease,
            )
    }
}

impl Eq for Entry {}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist (etcd: `create_revision = 0`).
    Absent(Key),
    /// The key exists (etcd: `version != 0`).
    Present(Key),
    /// The key exists and was last put at this revision.
    Unchanged { key: Key, mod_revision: Revision },
    /// No key starts with this text (etcd: `create_revision = 0` over the range).
    NoneBelow(Key),
    /// Keys start with this text, and none of them has this value (etcd: `value != …` over the range). As in etcd, this does
    /// not hold if no key starts with the text; [`Compare::NoneBelow`] does.
    NoneBelowIs { prefix: Key, value: Bytes },
    /// The key exists with exactly this value.
    ValueIs { key: Key, value: Bytes },
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key and attaches it to the lease, or detaches it from any lease (`None`). If the lease does not exist, the
    /// transaction is aborted with [`Reason::LeaseNotFound`].
    Put { key: Key, value: Bytes, lease: Option<LeaseId> },
    /// Deletes a key; no error if it is absent.
    Delete(Key),
    /// Deletes every key that starts with this text.
    DeletePrefix(Key),
    /// Reads a key: none or one entry.
    Get(Key),
    /// Reads every key that starts with this text, in key order.
    GetPrefix(Key),
}

/// Does `then` if all of `compares` hold, else `otherwise`; atomically, at one revision.
///
/// As in etcd, a transaction may write a key only once, otherwise it is aborted with [`Reason::DuplicateKey`]. A
/// `DeletePrefix` that covers a written key counts as a write. The watch delivers deletions in the order given here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub then: Vec<Op>,
    pub otherwise: Vec<Op>,
}

/// The outcome of a transaction, or why there is none.
pub type TxnResult = Result<TxnOutcome, StoreError>;

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether the compares held.
    pub succeeded: bool,
    /// The store's revision after the transaction. The watch delivers it only if `changed`.
    pub revision: Revision,
    /// Whether the branch taken wrote a key or deleted an existing key.
    pub changed: bool,
    /// One list for each `Get` and `GetPrefix` of the branch taken, in order.
    pub reads: Vec<Vec<Entry>>,
}

/// Why the store has certainly not done a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Over etcd's request limit (1.5 MiB; etcd's text: `etcdserver: request is too large`).
    TooLarge,
    /// More than 128 operations in one transaction (`etcdserver: too many operations in txn request`).
    TooManyOps,
    /// A key is written twice in one transaction (`etcdserver: duplicate key given in txn request`).
    DuplicateKey,
    /// The lease does not exist (`etcdserver: requested lease not found`).
    LeaseNotFound,
    /// etcd's quota is used up (NOSPACE alarm) or the disk is full.
    NoSpace,
    /// The store cannot be reached or is shutting down, and the request was not sent.
    Unavailable,
    /// Too many requests wait in this process. The request was not sent.
    Busy,
    /// Not authenticated or not permitted.
    Denied,
    /// The store refused the request for another reason.
    Refused,
}

/// An error says whether the request may have been done. The message is the store's own text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Certainly not written.
    #[error("{message}")]
    Aborted { reason: Reason, message: String },
    /// Maybe written: the time limit passed or the connection was lost after the request was sent. A read does not settle
    /// the outcome, because the write may commit after the read. Revoke the write's lease, or submit the same write again
    /// with [`Compare::Absent`].
    #[error("{message}")]
    Unknown { message: String },
}

impl StoreError {
    /// Whether the store would refuse the same transaction again, because of its content.
    pub fn is_final(&self) -> bool {
        use Reason::{DuplicateKey, TooLarge, TooManyOps};
        matches!(self, Self::Aborted { reason: TooLarge | TooManyOps | DuplicateKey, .. })
    }
}

/// What a call of [`Store::grant`] costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantCost {
    /// Only memory: grant a lease when it is needed.
    Free,
    /// A consensus round: grant leases ahead.
    RoundTrip,
}

/// A granted lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// The TTL granted, seconds.
    pub ttl_seconds: i64,
}

/// The answer to one renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// Renewed to its full TTL (seconds).
    Renewed(i64),
    /// The lease expired or was revoked.
    NotFound,
    /// The store is away or slow. The lease may be alive: try again.
    Unanswered(String),
}

/// A part of a listing. All pages of one listing have the same revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most 2,000 entries below one of the prefixes, in key order.
    pub entries: Vec<Entry>,
    /// The revision listed. A watch from `revision + 1` misses nothing.
    pub revision: Revision,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The new entry. Its `version` is 1 if the key was created.
    Put(Entry),
    /// A transaction deleted the key, or its lease ended.
    Delete { key: Key, revision: Revision },
}

/// All events of one or more whole revisions, in order. A watch never splits a revision over two batches. The end of a lease
/// deletes its keys in key order: `inst/files/…` before `inst/leases/…`.
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
    /// The store no longer keeps the revision: it was compacted, the history is bounded, or the watcher was too slow. List
    /// again.
    #[error("revision compacted, list again")]
    Compacted,
    /// The store's revision is now below a revision it had before, for example because etcd was restored from a backup. A
    /// watch would deliver nothing until the store reaches that revision again, and would then miss changes. List again.
    #[error("the store was set back to revision {0}, list again")]
    SetBack(Revision),
    /// The connection was lost: watch again from the last revision received.
    #[error("{0}")]
    Lost(String),
    /// The store was closed. No more events come.
    #[error("the store is closed")]
    Closed,
}

/// Runs work that takes long on another thread, from now on.
pub fn on_other_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> + Send {
    let running = tokio::task::spawn_blocking(work);
    async {
        running.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(error) => StoreError::Aborted { reason: Reason::Unavailable, message: error.to_string() },
        })
    }
}

/// What was granted; the first error if nothing was.
pub(super) fn first_error_if_none<E>(grants: Vec<Result<Lease, E>>) -> Result<Vec<Lease>, E> {
    let (mut granted, mut error) = (Vec::with_capacity(grants.len()), None);
    for grant in grants {
        match grant {
            Ok(lease) => granted.push(lease),
            Err(why) => error = error.or(Some(why)),
        }
    }
    match error {
        Some(error) if granted.is_empty() => Err(error),
        _ => Ok(granted),
    }
}

/// A store. Each call has its own time limit and answers within it.
pub trait Store: Send + Sync + 'static {
    /// Lists all keys below some prefixes at one revision, in pages. No prefix starts with another prefix.
    ///
    /// The pages of one prefix come in key order. The pages of several prefixes may come mixed, so that a store can read the
    /// prefixes concurrently. At least one page comes, which is empty if there are no keys. The listing ends after the first
    /// error.
    fn list(&self, prefixes: &[&str]) -> BoxStream<'static, Result<Page, StoreError>>;

    /// Commits transactions. Returns one outcome for each, in the same order.
    ///
    /// A failed compare or an error of one transaction does not affect the others. The caller ensures that no two
    /// transactions of a batch write the same key, that no transaction depends on another one of the batch, and that the
    /// batch has at most 120 transactions and 1 MB. A larger transaction is submitted alone. The outcomes of a batch may
    /// have the same revision (etcd) or not.
    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<TxnResult>>;

    /// Grants a lease. A TTL outside 2..=9_000_000_000 seconds is moved to the nearest bound.
    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>>;

    /// Grants this many leases together, as [`Store::grant`] grants one. Returns fewer if some were not granted, and an error if none
    /// was.
    fn grants(&self, ttl_seconds: i64, count: usize) -> BoxFuture<'static, Result<Vec<Lease>, StoreError>> {
        let grants: Vec<_> = (0..count).map(|_| self.grant(ttl_seconds)).collect();
        async move { first_error_if_none(join_all(grants).await) }.boxed()
    }

    fn grant_cost(&self) -> GrantCost;

    /// The name of the store in traces: `etcd` or `embedded`.
    fn name(&self) -> &'static str;

    /// Renews leases. Returns one answer for each, in the same order. A dead lease does not delay the renewal of the others.
    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>>;

    /// Ends a lease and deletes its keys at one revision. `Ok(false)`: the lease did not exist.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>>;

    /// Watches a prefix from a revision on (inclusive). Past revisions come first.
    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>>;

    /// The current revision, linearizable: not below the revision of any write that any node answered before this call.
    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>>;

    /// A revision that the watch of `/cse-sr/` certainly reaches and that is not below [`Store::revision`]. If others write
    /// outside that prefix, the watch may never reach the current revision. The store then puts and deletes a key
    /// `/cse-sr/bookmarks/<random>`.
    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>>;

    /// Lets the store forget the history up to a revision. It keeps what the keys hold then. A watch from a later revision misses
    /// nothing. `Ok(false)`: there was nothing to do, because the history was compacted as far already, or because the store
    /// bounds its history itself.
    fn compact(&self, revision: Revision) -> BoxFuture<'static, Result<bool, StoreError>>;

    /// Finishes or refuses the accepted calls, then closes the store. Later calls answer [`Reason::Unavailable`].
    fn close(&self) -> BoxFuture<'static, ()>;
}
