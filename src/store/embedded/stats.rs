//! Counters for metrics. Written by the committer alone, read by anybody at any time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::keyspace::Keyspace;
use super::log::Log;

/// What the store holds and has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys held.
    pub keys: u64,
    /// Leases alive.
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

#[derive(Debug, Default)]
pub(super) struct Counters {
    keys: AtomicU64,
    leases: AtomicU64,
    log_bytes: AtomicU64,
    snapshot_bytes: AtomicU64,
    groups: AtomicU64,
    groups_refused: AtomicU64,
    snapshots: AtomicU64,
}

impl Counters {
    pub(super) fn note(&self, keyspace: &Keyspace, log: &Log) {
        self.keys.store(keyspace.items.len() as u64, Relaxed);
        self.leases.store(keyspace.leases.len() as u64, Relaxed);
        self.log_bytes.store(log.total(), Relaxed);
    }

    pub(super) fn note_group(&self) {
        self.groups.fetch_add(1, Relaxed);
    }

    pub(super) fn note_refusal(&self) {
        self.groups_refused.fetch_add(1, Relaxed);
    }

    /// A snapshot found or written.
    pub(super) fn note_snapshot_length(&self, bytes: u64) {
        self.snapshot_bytes.store(bytes, Relaxed);
    }

    pub(super) fn note_snapshot_written(&self) {
        self.snapshots.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> Stats {
        Stats {
            keys: self.keys.load(Relaxed),
            leases: self.leases.load(Relaxed),
            log_bytes: self.log_bytes.load(Relaxed),
            snapshot_bytes: self.snapshot_bytes.load(Relaxed),
            groups: self.groups.load(Relaxed),
            groups_refused: self.groups_refused.load(Relaxed),
            snapshots: self.snapshots.load(Relaxed),
        }
    }
}
