//! The mark a heartbeat leaves on a lease: set by whoever takes the beat, cleared by whoever renews.

use std::sync::atomic::{AtomicBool, Ordering};

/// One for each lease an instance hangs on, shared by all snapshots that hold the instance.
#[derive(Debug)]
pub struct LeaseMark {
    lease: i64,
    marked: AtomicBool,
}

impl LeaseMark {
    /// An unmarked one.
    pub fn new(lease: i64) -> Self {
        Self { lease, marked: AtomicBool::new(false) }
    }

    /// The lease.
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Marks it; `true` for the first since it was cleared, whose caller queues it: so it is queued once.
    pub fn mark(&self) -> bool {
        // The plain load spares the cache line the write when many beats come between two renewals.
        !self.marked.load(Ordering::Relaxed) && !self.marked.swap(true, Ordering::AcqRel)
    }

    /// Clears it, before the renewal is sent: a beat that comes while it is on its way counts for the next.
    pub fn clear(&self) {
        self.marked.store(false, Ordering::Release);
    }
}
