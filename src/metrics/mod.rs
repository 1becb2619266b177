//! Counters of the process. Written where things happen, read by `/metrics`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

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
    /// Retired service versions.
    RETIRED_SERVICES = "retired_services_total", "Old service versions without instances that this node's retirement job has deleted.";
    /// Retired schema contents.
    RETIRED_SCHEMA_CONTENTS = "retired_schema_contents_total", "Schema contents without a reference that this node's retirement job has deleted.";
    /// Requests refused for load.
    REFUSED_FOR_LOAD = "requests_refused_for_load_total", "Requests answered 429 or 503 because too much was waiting, in the server, a mailbox or the queue of writes.";
    /// Lines of the log that were dropped.
    LOG_LINES_DROPPED = "log_lines_dropped_total", "Lines of the log that were dropped because the output did not take them in time.";
    /// Events pushed.
    EVENTS_PUSHED = "watch_events_pushed_total", "Events handed to watchers.";
}

/// Requests answered by some threads, by the first digit of their status. A line of the cache of its own: threads that count
/// in one line take it from each other with every request.
#[derive(Debug)]
#[repr(align(128))]
struct Requests([AtomicU64; STATUS_CLASSES]);

const STATUS_CLASSES: usize = 5;
const SHARES: usize = 16;
static REQUESTS: [Requests; SHARES] =
    [const { Requests([const { AtomicU64::new(0) }; STATUS_CLASSES]) }; SHARES];

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

/// Requests answered, by the first digit of their status: 1 to 5.
pub fn requests() -> [u64; STATUS_CLASSES] {
    let mut sums = [0; STATUS_CLASSES];
    for share in &REQUESTS {
        for (sum, count) in sums.iter_mut().zip(&share.0) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
    sums
}

/// Messages that an actor has not finished: those in its mailbox and those it works on.
#[derive(Debug)]
pub struct Depth {
    /// The actor's name.
    pub actor: &'static str,
    messages: std::sync::atomic::AtomicI64,
}

impl Depth {
    /// None yet.
    pub const fn new(actor: &'static str) -> Self {
        Self { actor, messages: std::sync::atomic::AtomicI64::new(0) }
    }

    /// How many there are.
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

    /// A message was sent; it counts until what is returned is dropped.
    pub fn enter(&'static self) -> InMailbox {
        self.messages.fetch_add(1, Ordering::Relaxed);
        InMailbox(self)
    }
}

/// A message on its way.
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
