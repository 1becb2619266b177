//! Where the registry's data lives: the port, its two implementations, the keys and the values.
//!
//! Invariant: this layer knows etcd's semantics (revisions, leases, transactions, watches) and the registry's key forms,
//! and no rule of the registry. It imports `domain` and nothing above; `cache` is its sibling and is not imported.

pub mod codec;
#[cfg(feature = "test-doubles")]
pub mod conformance;
pub mod embedded;
pub mod etcd;
#[cfg(feature = "test-doubles")]
pub mod faulty;
pub mod keys;
pub mod port;

pub use port::{
    Compare, Entry, Event, GrantCost, KeepAlive, Key, Lease, LeaseId, Op, Page, Reason, Revision, Store,
    StoreError, Txn, TxnOutcome, WatchBatch, WatchError,
};
