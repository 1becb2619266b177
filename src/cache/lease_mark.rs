//! What this node knows about a lease: whether a heartbeat waits for its renewal, and until when the lease lives.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The state of one lease. All snapshots that hold the lease's instance share it.
#[derive(Debug)]
pub struct LeaseMark {
    lease: i64,
    marked: AtomicBool,
    /// Monotonic time at which the lease last had its full TTL, as far as this node knows, in milliseconds. 0 means never.
    full_millis: AtomicU64,
    /// TTL in the store's last answer to a renewal by this node. 0 means that there was no renewal. A TTL of more than
    /// 136 years is kept as 136 years.
    ttl_seconds: AtomicU32,
    /// Number of the last listing that held the lease or after which the lease was written.
    listing: AtomicU32,
    /// Monotonic time of the first renewal that was sent since the last heartbeat, in tenths of a second, rounded up. 0 means
    /// that none was sent.
    first_sent: AtomicU32,
    /// Number of heartbeats that were taken and are not settled, see [`Self::is_awaited`].
    awaited: AtomicU16,
    has_ended: AtomicBool,
}

impl LeaseMark {
    /// An unmarked lease that is known since this listing.
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

    /// Notes that this listing holds the lease too.
    pub(super) fn listed(&self, listing: u32) {
        self.listing.fetch_max(listing, Ordering::Relaxed);
    }

    /// Notes that the instance unregistered.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// Whether the lease has certainly expired, given that it is gone and the number of the current listing. `false` if the
    /// instance unregistered. Also `false` if the lease is missing since a listing: a listing does not tell whether the
    /// instance unregistered or expired.
    pub fn surely_expired(&self, listing: u32) -> bool {
        !self.has_ended.load(Ordering::Relaxed) && self.listing.load(Ordering::Relaxed) >= listing
    }

    /// The store's id of the lease.
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Marks the lease for renewal. `true` if it was not marked: this caller queues it, so that it is queued once.
    pub fn mark(&self) -> bool {
        // The load comes first because most heartbeats find the mark set. They then do not write to the cache line.
        !self.marked.load(Ordering::Relaxed) && !self.marked.swap(true, Ordering::AcqRel)
    }

    /// Clears the mark before the renewal is sent, so that a heartbeat during the renewal asks for another one.
    pub fn clear(&self) {
        self.marked.store(false, Ordering::Release);
    }

    /// Notes a heartbeat of the instance.
    pub fn beat(&self) {
        if self.first_sent.load(Ordering::Relaxed) != 0 {
            self.first_sent.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that a renewal is sent at this monotonic time. The heartbeat may have come long before.
    pub fn sent(&self, now: Duration) {
        let tenths = u32::try_from(now.as_millis() / 100 + 1).unwrap_or(u32::MAX);
        // Only the first renewal since the last heartbeat counts.
        let _ = self.first_sent.compare_exchange(0, tenths, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether the instance has sent no heartbeat for this time. The time counts from the first renewal after the last
    /// heartbeat.
    pub fn was_silent_for(&self, time: Duration, now: Duration) -> bool {
        match self.first_sent.load(Ordering::Relaxed) {
            0 => false,
            tenths => now.saturating_sub(Duration::from_millis(u64::from(tenths) * 100)) >= time,
        }
    }

    /// Notes a heartbeat that was taken and whose effect is not known yet.
    pub fn await_one(&self) {
        self.awaited.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the effect of a heartbeat is known: the lease was renewed, the instance was written again, or the instance
    /// will be removed.
    pub fn settle_one(&self) {
        self.awaited.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a heartbeat was taken and is not settled. While it is not settled, an instance stays even if its lease has ended,
    /// because the heartbeat may write the instance again.
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed) > 0
    }

    /// Notes a renewal that was sent at this monotonic time, and the TTL that the store answered.
    pub fn renewed(&self, sent: Duration, ttl_seconds: i64) {
        self.ttl_seconds.store(saturating(ttl_seconds), Ordering::Relaxed);
        self.was_full(sent);
    }

    /// Notes that the lease had its full TTL at this monotonic time, whatever its TTL.
    pub fn was_full(&self, when: Duration) {
        let millis = u64::try_from(when.as_millis()).unwrap_or(u64::MAX);
        self.full_millis.fetch_max(millis, Ordering::Relaxed);
    }

    /// Monotonic time of the last heartbeat that this node took: when it last sent a renewal, which is up to a quarter of a second
    /// later. `None` if this node has never renewed the lease, because another node takes the heartbeats.
    pub fn last_beat(&self) -> Option<Duration> {
        let has_renewed = self.ttl_seconds.load(Ordering::Relaxed) != 0;
        has_renewed.then(|| Duration::from_millis(self.full_millis.load(Ordering::Relaxed)))
    }

    /// Monotonic time until which the lease certainly lives. Zero if nothing is known. The TTL is the one that the store
    /// answered to this node, because another node may have granted the lease for less than the document says. Without such an
    /// answer it is `ttl_seconds`.
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
