//! Stores the registry's data: the port, its two implementations, the keys and the values.
//!
//! Invariant: this layer knows etcd's semantics (revisions, leases, transactions, watches) and the registry's keys, but no
//! rule of the registry. It does not import its sibling `cache`.

pub mod codec;
#[cfg(feature = "test-doubles")]
pub mod conformance;
pub mod embedded;
pub mod etcd;
#[cfg(feature = "test-doubles")]
pub mod faulty;
pub mod keys;
pub mod metered;
pub mod port;

pub use port::{
    Compare, Entry, Event, GrantCost, KeepAlive, Key, Lease, LeaseId, Op, Page, Reason, Revision, Store,
    StoreError, Txn, TxnOutcome, TxnResult, WatchBatch, WatchError, on_other_thread,
};
