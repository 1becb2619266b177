//! The mark a heartbeat leaves on a lease: set by whoever takes the beat, cleared by whoever renews.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// One for each lease an instance hangs on, shared by all snapshots that hold the instance.
#[derive(Debug)]
pub struct LeaseMark {
    lease: i64,
    marked: AtomicBool,
    /// When it was full, as far as this node knows; 0: never.
    full_millis: AtomicU64,
    /// Its TTL by the store's last answer to a renewal; 0: it was never renewed here. One of more than 136 years counts as
    /// that much.
    ttl_seconds: AtomicU32,
    /// Number of the last listing in which, or after which, it was there.
    listing: AtomicU32,
    /// When a renewal was first sent since the last beat, in tenths of a second, rounded up; 0: not yet.
    first_sent: AtomicU32,
    /// Beats taken for it that are not settled: see [`Self::is_awaited`].
    awaited: AtomicU16,
    has_ended: AtomicBool,
}

impl LeaseMark {
    /// An unmarked one, there since this listing.
    pub fn new(lease: i64, listing: u32) -> Self {
        Self {
            lease,
            marked: AtomicBool::new(false),
            full_millis: AtomicU64::new(0),
            ttl_seconds: AtomicU32::new(0),
            listing: AtomicU32::new(listing),
            first_sent: AtomicU32::new(0),
            awaited: AtomicU16::new(0),
            has_ended: AtomicBool::new(false),
        }
    }

    /// It is there in this listing too.
    pub(super) fn listed(&self, listing: u32) {
        self.listing.fetch_max(listing, Ordering::Relaxed);
    }

    /// Its instance said goodbye.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Whether all that befell it is known since it was last seen, and was no goodbye: if not, a listing came after it was
    /// last there, and what is missing in a listing may have been unregistered.
    pub fn surely_expired(&self, listing: u32) -> bool {
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

    /// Its owner beats.
    pub fn beat(&self) {
        if self.first_sent.load(Ordering::Relaxed) != 0 {
            self.first_sent.store(0, Ordering::Relaxed);
        }
    }

    /// A renewal is sent, for a beat that may have come long before.
    pub fn sent(&self, now: Duration) {
        let tenths = u32::try_from(now.as_millis() / 100 + 1).unwrap_or(u32::MAX);
        // A beat that comes in between counts from the next one.
        let _ = self.first_sent.compare_exchange(0, tenths, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether its owner has been silent for a time: counted from the first renewal after its last beat.
    pub fn was_silent_for(&self, time: Duration, now: Duration) -> bool {
        match self.first_sent.load(Ordering::Relaxed) {
            0 => false,
            tenths => now.saturating_sub(Duration::from_millis(u64::from(tenths) * 100)) >= time,
        }
    }

    /// A beat was taken, and it is not known yet what becomes of it.
    pub fn await_one(&self) {
        self.awaited.fetch_add(1, Ordering::Relaxed);
    }

    /// It is known: the lease was renewed, or its instance written again, or it is to be gone.
    pub fn settle_one(&self) {
        self.awaited.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a beat was taken that is not settled. Until it is, an instance whose lease has ended is not gone: the beat may
    /// write it again.
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) > 0
    }

    /// Notes a renewal that was sent at this monotonic time, and the TTL the store answered.
    pub fn renewed(&self, sent: Duration, ttl_seconds: i64) {
        self.ttl_seconds.store(saturating(ttl_seconds), Ordering::Relaxed);
        self.was_full(sent);
    }

    /// Notes that it was full then, of what TTL ever.
    pub fn was_full(&self, when: Duration) {
        let millis = u64::try_from(when.as_millis()).unwrap_or(u64::MAX);
        self.full_millis.fetch_max(millis, Ordering::Relaxed);
    }

    /// Until when it surely lives; zero if nothing is known. The TTL is the store's where this node has renewed it: another
    /// node may have granted it for less than the document says. Else it is the one given.
    pub fn lives_until(&self, ttl_seconds: i64) -> Duration {
        let full = Duration::from_millis(self.full_millis.load(Ordering::Relaxed));
        if full.is_zero() {
            return full;
        }
        let ttl = match self.ttl_seconds.load(Ordering::Relaxed) {
            0 => saturating(ttl_seconds),
            answered => answered,
        };
        full.saturating_add(Duration::from_secs(ttl.into()))
    }
}

fn saturating(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}
