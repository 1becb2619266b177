//! Counts the events of the store by the tree that their key belongs to, as the original does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::{self, Cell, Counter, Gauge, Histogram};
use crate::store::keys::READ_MODEL;
use crate::store::{Entry, Event};

const TREES: usize = READ_MODEL.len();

/// What the original calls the entries of each tree.
const RESOURCES: [&str; TREES] = [
    "INSTANCE",
    "LEASE",
    "GOODBYE",
    "OVERRIDE",
    "SERVICE",
    "SERVICE_INDEX",
    "SERVICE_ALIAS",
    "SERVICE_TAG",
    "SCHEMA_REF",
    "SCHEMA_SUMMARY",
    "DEPENDENCY_RULE",
    "DEPENDENCY_QUEUE",
    "DOMAIN",
    "PROJECT",
    "ACCOUNT",
    "ROLE",
    "ACCOUNT_LOCK",
];

#[derive(Debug)]
struct Tree {
    events: Counter,
    /// From the arrival of an event to the snapshot that holds it.
    applied: Histogram,
    waiting: Gauge,
    /// From the arrival of an event until the hub has it.
    dispatched: Histogram,
    /// The entries that were read, and their size.
    entries: AtomicU64,
    bytes: AtomicU64,
}

/// One for each of [`READ_MODEL`].
macro_rules! trees {
    ($($place:literal)*) => {
        [$(Tree::new(READ_MODEL[$place])),*]
    };
}

static CELLS: [Tree; TREES] = trees!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);

impl Tree {
    const fn new(prefix: &'static str) -> Self {
        let labels = [prefix, "", ""];
        Self {
            events: Counter::of(metrics::BACKEND_EVENTS, labels),
            applied: Histogram::of_original(metrics::BACKEND_EVENT_DURATIONS, labels),
            waiting: Gauge::of(metrics::DISPATCH_EVENTS, labels),
            dispatched: Histogram::of_original(metrics::DISPATCH_EVENT_DURATIONS, labels),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn read(&self, entries: &[Entry]) {
        let bytes: usize = entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
        self.entries.fetch_add(entries.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Makes `GET /metrics` report these counts.
pub(super) fn register() {
    for tree in &CELLS {
        let cells: [&'static dyn Cell; 4] = [&tree.events, &tree.applied, &tree.waiting, &tree.dispatched];
        cells.into_iter().for_each(metrics::cells::register);
    }
}

fn place(key: &str) -> Option<usize> {
    READ_MODEL.iter().position(|prefix| key.starts_with(prefix))
}

/// Notes the sizes of the entries of a page of a listing, which are of one tree.
pub(super) fn listed(page: &[Entry]) {
    let tree = page.first().and_then(|entry| CELLS.get(place(&entry.key)?));
    if let Some(tree) = tree {
        tree.read(page);
    }
}

/// Notes how many changes of instances the hub has not taken yet.
pub(super) fn unsent(changes: usize) {
    if let Some(instances) = CELLS.first() {
        instances.waiting.set(changes);
    }
}

/// The mean size of the entries of a resource that were read: keys and values. 0 if none was.
pub fn mean_bytes(resource: &str) -> f64 {
    let place = RESOURCES.iter().position(|known| *known == resource);
    let Some(tree) = place.and_then(|place| CELLS.get(place)) else { return 0.0 };
    let entries = tree.entries.load(Ordering::Relaxed);
    if entries == 0 { 0.0 } else { tree.bytes.load(Ordering::Relaxed) as f64 / entries as f64 }
}

/// How many events of each tree a step has.
#[derive(Debug, Default)]
pub struct Tally([usize; TREES]);

impl Tally {
    pub(super) fn count(&mut self, event: &Event) {
        let key = match event {
            Event::Put(entry) => &entry.key,
            Event::Delete { key, .. } => key,
        };
        let Some(place) = place(key) else { return };
        if let (Event::Put(entry), Some(tree)) = (event, CELLS.get(place)) {
            tree.read(std::slice::from_ref(entry));
        }
        if let Some(count) = self.0.get_mut(place) {
            *count += 1;
        }
    }

    /// The events are in a published snapshot, and the hub has them.
    pub(super) fn done(&self, applied: Duration, dispatched: Duration) {
        for (tree, count) in CELLS.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            tree.events.add(count);
            tree.applied.observe_many(applied, count);
            tree.dispatched.observe_many(dispatched, count);
        }
    }
}
