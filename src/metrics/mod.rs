//! The counters of the process. The code that does something counts it; `GET /metrics` reads the counters.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// A count that only grows.
#[derive(Debug)]
pub struct Counter {
    /// The name without the prefix that all names have.
    pub name: &'static str,
    pub help: &'static str,
    value: AtomicU64,
}

impl Counter {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicU64::new(0) }
    }

    pub fn add(&self, by: usize) {
        self.value.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($constant:ident = $name:literal, $help:literal;)*) => {
        $(#[doc = $help] pub static $constant: Counter = Counter::new($name, $help);)*

        pub static ALL: &[&Counter] = &[$(&$constant),*];
    };
}

counters! {
    LEASES_UNANSWERED = "lease_renewals_unanswered_total", "Lease renewals that the store did not answer. They are tried again.";
    INSTANCES_RESTORED = "instances_restored_total", "Instances written again because their heartbeats went on after their lease had ended.";
    SNAPSHOT_WAIT_EXPIRED = "snapshot_wait_expired_total", "Writes answered before the node's snapshot held them, because the wait for it timed out.";
    FOREIGN_VALUES = "foreign_values_total", "Keys or values in the store that could not be read and were skipped.";
    ETCD_LOGINS = "etcd_logins_total", "Tokens that etcd has given to this node: for each address the first, and each that replaces one that etcd refused.";
    RELISTS = "relists_total", "Complete listings of the store.";
    HELD_BY_PRESERVATION = "expiries_held_by_preservation_total", "Expiries held because the expiries that wait or are held are 80 % or more of all instances.";
    HELD_BY_SHARE = "expiries_held_by_share_total", "Expiries held because more than the configured share of all instances expired within a heartbeat interval.";
    RETIRED_SERVICES = "retired_services_total", "Old service versions without instances that this node's retirement job has deleted.";
    RETIRED_SCHEMA_CONTENTS = "retired_schema_contents_total", "Schema contents without a reference that this node's retirement job has deleted.";
    REFUSED_FOR_LOAD = "requests_refused_for_load_total", "Requests answered 429 or 503 because too much was waiting in the server, in a mailbox or in the queue of writes.";
    REFUSED_FOR_RATE = "requests_refused_for_rate_total", "Requests answered 429 because too many came from one client address (server.limit.connections).";
    REFUSED_FOR_ORIGIN = "requests_refused_for_origin_total", "Requests answered 403 because a page of another origin sent them (server.cors.origins).";
    LOG_LINES_DROPPED = "log_lines_dropped_total", "Log lines dropped because the output did not take them in time.";
    EVENTS_PUSHED = "watch_events_pushed_total", "Events handed to watchers.";
}

/// How many requests some threads have answered, by the first digit of the status. Each has cache lines of its own: threads
/// that count in the same cache line slow each other down.
#[derive(Debug)]
#[repr(align(128))]
struct StatusCounts([AtomicU64; STATUS_CLASSES]);

const STATUS_CLASSES: usize = 5;
const SHARES: usize = 16;
static REQUESTS: [StatusCounts; SHARES] =
    [const { StatusCounts([const { AtomicU64::new(0) }; STATUS_CLASSES]) }; SHARES];

/// Counts an answered request.
pub fn count_request(status: u16) {
    static NEXT_SHARE: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARE: usize = NEXT_SHARE.fetch_add(1, Ordering::Relaxed) % SHARES;
    }
    let class = usize::from(status / 100).saturating_sub(1);
    let share = SHARE.try_with(|share| *share).unwrap_or_default();
    if let Some(count) = REQUESTS.get(share).and_then(|requests| requests.0.get(class)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many requests were answered, by the first digit of the status, 1 to 5.
pub fn requests() -> [u64; STATUS_CLASSES] {
    let mut sums = [0; STATUS_CLASSES];
    for share in &REQUESTS {
        for (sum, count) in sums.iter_mut().zip(&share.0) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
    sums
}

/// How many messages an actor has not finished: the messages in its mailbox and those it works on.
#[derive(Debug)]
pub struct Depth {
    pub actor: &'static str,
    messages: std::sync::atomic::AtomicI64,
}

impl Depth {
    pub const fn new(actor: &'static str) -> Self {
        Self { actor, messages: std::sync::atomic::AtomicI64::new(0) }
    }

    pub fn messages(&self) -> u64 {
        u64::try_from(self.messages.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Makes [`mailboxes`] report this mailbox.
    pub fn register(&'static self) {
        let mut mailboxes = MAILBOXES.lock();
        if !mailboxes.iter().any(|known| std::ptr::eq(*known, self)) {
            mailboxes.push(self);
        }
    }

    /// Counts a message until the returned value is dropped.
    pub fn enter(&'static self) -> InMailbox {
        self.messages.fetch_add(1, Ordering::Relaxed);
        InMailbox(self)
    }
}

/// A message that is counted.
#[derive(Debug)]
pub struct InMailbox(&'static Depth);

impl Drop for InMailbox {
    fn drop(&mut self) {
        self.0.messages.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The mailboxes of the actors that were started.
static MAILBOXES: Mutex<Vec<&'static Depth>> = Mutex::new(Vec::new());

/// The name of each actor, and how many messages it has not finished.
pub fn mailboxes() -> Vec<(&'static str, u64)> {
    MAILBOXES.lock().iter().map(|depth| (depth.actor, depth.messages())).collect()
}
