//! Counters of the process. Written where things happen, read by `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug)]
pub struct Counter {
    /// Name without the common prefix.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    value: AtomicU64,
}

impl Counter {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicU64::new(0) }
    }

    /// Adds.
    pub fn add(&self, by: usize) {
        self.value.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The count.
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $help:literal;)*) => {
        $($(#[$doc])* pub static $constant: Counter = Counter::new($name, $help);)*

        /// All of them.
        pub static ALL: &[&Counter] = &[$(&$constant),*];
    };
}

counters! {
    /// Lease renewals the store did not answer.
    LEASES_UNANSWERED = "lease_renewals_unanswered_total", "Lease renewals the store did not answer; they are tried again.";
    /// Instances written again after their lease was lost.
    INSTANCES_RESTORED = "instances_restored_total", "Instances written again because they kept beating while their lease ended.";
    /// Writes answered before the snapshot held them.
    SNAPSHOT_WAIT_EXPIRED = "snapshot_wait_expired_total", "Writes answered before the node's snapshot held them, because the wait ran out.";
    /// Foreign keys or values.
    FOREIGN_VALUES = "foreign_values_total", "Keys or values in the store that could not be read and were skipped.";
    /// Relists.
    RELISTS = "relists_total", "Complete listings of the store.";
    /// Expiries held by 4.17's rule.
    HELD_BY_PRESERVATION = "expiries_held_by_preservation_total", "Expiries held because 80 % and more of all instances expired within the window.";
    /// Expiries held by the wide rule.
    HELD_BY_SHARE = "expiries_held_by_share_total", "Expiries held because more than the configured share of all instances expired within a heartbeat interval.";
    /// Events pushed.
    EVENTS_PUSHED = "watch_events_pushed_total", "Events handed to watchers.";
    /// Requests.
    REQUESTS = "http_requests_total", "Requests answered.";
}
