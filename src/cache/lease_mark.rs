//! The mark a heartbeat leaves on a lease: set by whoever takes the beat, cleared by whoever renews.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// One for each lease an instance hangs on, shared by all snapshots that hold the instance.
#[derive(Debug)]
pub struct LeaseMark {
    lease: i64,
    marked: AtomicBool,
    renewed_millis: AtomicU64,
    /// Number of the last listing in which, or after which, it was there.
    listing: AtomicU64,
    has_ended: AtomicBool,
}

impl LeaseMark {
    /// An unmarked one, there since this listing.
    pub fn new(lease: i64, listing: u64) -> Self {
        Self {
            lease,
            marked: AtomicBool::new(false),
            renewed_millis: AtomicU64::new(0),
            listing: AtomicU64::new(listing),
            has_ended: AtomicBool::new(false),
        }
    }

    /// It is there in this listing too.
    pub(super) fn listed(&self, listing: u64) {
        self.listing.fetch_max(listing, Ordering::Relaxed);
    }

    /// Its instance said goodbye.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Whether all that befell it is known since it was last seen, and was no goodbye: if not, a listing came after it was
    /// last there, and what is missing in a listing may have been unregistered.
    pub fn surely_expired(&self, listing: u64) -> bool {
        !self.has_ended.load(Ordering::Relaxed) && self.listing.load(Ordering::Relaxed) >= listing
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

    /// Notes a renewal that was sent at this monotonic time, or the receipt of the put.
    pub fn renewed(&self, sent: Duration) {
        let millis = u64::try_from(sent.as_millis()).unwrap_or(u64::MAX);
        self.renewed_millis.fetch_max(millis, Ordering::Relaxed);
    }

    /// When this node last knew the lease to be full; zero if it never did.
    pub fn last_renewed(&self) -> Duration {
        Duration::from_millis(self.renewed_millis.load(Ordering::Relaxed))
    }
}
