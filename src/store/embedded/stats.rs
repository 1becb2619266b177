//! Counters that the committer alone writes. Tests and benchmarks read them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::keyspace::Keyspace;
use super::log::Log;

/// What the store holds, and what it has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub keys: u64,
    pub leases: u64,
    /// Bytes of the log's segments.
    pub log_bytes: u64,
    /// Bytes of the last snapshot; 0 if there is none.
    pub snapshot_bytes: u64,
    /// Groups written, each with one sync.
    pub groups: u64,
    /// Groups refused because they could not be written.
    pub groups_refused: u64,
    /// Snapshots written.
    pub snapshots: u64,
}

pub(super) type SharedStats = Arc<Mutex<Stats>>;

impl Stats {
    pub(super) fn note(&mut self, keyspace: &Keyspace, log: &Log, wrote_group: bool) {
        self.keys = keyspace.items.len() as u64;
        self.leases = keyspace.leases.len() as u64;
        self.log_bytes = log.total();
        self.groups += u64::from(wrote_group);
    }
}
