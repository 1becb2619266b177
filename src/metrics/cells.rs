//! What counts: counters, gauges and histograms of one or few threads. A cell is a `static` beside the code that measures, or in
//! the table in `mod.rs`. Requests are counted in [`super::requests`], because they come too often for a cell that threads share.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::counts::{BUCKETS, Counts, Measured, Window, nanos};
use super::family::{Family, LabelValues, UNLABELED};
use super::page::Page;
use super::{MAILBOX_LIMIT, MAILBOX_MESSAGES};

/// Something that `GET /metrics` reports.
pub trait Cell: Debug + Sync {
    fn collect(&self, page: &mut Page);

    /// Called every [`TICK`](super::counts::TICK).
    fn tick(&self, _now: Duration) {}
}

/// The cells that are not in the table in `mod.rs`.
static REGISTERED: Mutex<Vec<&'static dyn Cell>> = Mutex::new(Vec::new());

/// Makes `GET /metrics` report cells. A second call with the same cell does nothing.
pub fn register(cell: &'static dyn Cell) {
    let mut cells = REGISTERED.lock();
    if !cells.iter().any(|known| std::ptr::addr_eq(*known, cell)) {
        cells.push(cell);
    }
}

pub(super) fn registered() -> Vec<&'static dyn Cell> {
    REGISTERED.lock().clone()
}

/// A count that only grows.
#[derive(Debug)]
pub struct Counter {
    family: Family,
    labels: LabelValues,
    value: AtomicU64,
}

impl Counter {
    pub const fn of(family: Family, labels: LabelValues) -> Self {
        Self { family, labels, value: AtomicU64::new(0) }
    }

    pub fn add(&self, by: usize) {
        self.value.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Cell for Counter {
    fn collect(&self, page: &mut Page) {
        page.value(&self.family, &self.labels, self.value() as f64);
    }
}

/// A number that rises and falls.
#[derive(Debug)]
pub struct Gauge {
    family: Family,
    labels: LabelValues,
    value: AtomicI64,
}

impl Gauge {
    pub const fn of(family: Family, labels: LabelValues) -> Self {
        Self { family, labels, value: AtomicI64::new(0) }
    }

    pub fn set(&self, value: usize) {
        self.value.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    pub fn value(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Cell for Gauge {
    fn collect(&self, page: &mut Page) {
        page.value(&self.family, &self.labels, self.value() as f64);
    }
}

/// Values by size. Reported as a histogram of ours, as a summary of the original, or as both.
#[derive(Debug)]
pub struct Histogram {
    measured: Measured,
    ours: Option<(Family, LabelValues)>,
    original: Option<(Family, LabelValues)>,
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
    window: Mutex<Window>,
}

impl Histogram {
    const fn new(measured: Measured) -> Self {
        Self {
            measured,
            ours: None,
            original: None,
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            window: Mutex::new(Window::new()),
        }
    }

    /// Durations.
    pub const fn of(family: Family, labels: LabelValues) -> Self {
        let mut histogram = Self::new(Measured::Time);
        histogram.ours = Some((family, labels));
        histogram
    }

    pub const fn of_sizes(family: Family) -> Self {
        let mut histogram = Self::new(Measured::Size);
        histogram.ours = Some((family, UNLABELED));
        histogram
    }

    /// Durations that only the original's family reports.
    pub const fn of_original(family: Family, labels: LabelValues) -> Self {
        Self::new(Measured::Time).and_original(family, labels)
    }

    /// Also reports the durations in a family of the original.
    pub const fn and_original(mut self, family: Family, labels: LabelValues) -> Self {
        self.original = Some((family, labels));
        self
    }

    pub fn observe(&self, took: Duration) {
        self.observe_many(took, 1);
    }

    /// Counts a duration several times.
    pub fn observe_many(&self, took: Duration, times: usize) {
        let (nanos, times) = (nanos(took), u64::try_from(times).unwrap_or(u64::MAX));
        self.count(nanos, nanos.saturating_mul(times), times);
    }

    pub fn observe_size(&self, size: usize) {
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        self.count(size, size, 1);
    }

    fn count(&self, value: u64, sum: u64, times: u64) {
        if let Some(bucket) = self.buckets.get(self.measured.bucket(value)) {
            bucket.fetch_add(times, Ordering::Relaxed);
        }
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        Counts {
            buckets: std::array::from_fn(|at| self.buckets.get(at).map_or(0, |n| n.load(Ordering::Relaxed))),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl Cell for Histogram {
    fn collect(&self, page: &mut Page) {
        let counts = self.counts();
        if let Some((family, labels)) = &self.ours {
            page.histogram(family, labels, self.measured, &counts);
        }
        if let Some((family, labels)) = &self.original {
            page.summary(family, labels, &counts, &self.window.lock().minute(&counts));
        }
    }

    fn tick(&self, now: Duration) {
        if self.original.is_some() {
            self.window.lock().tick(now, self.counts());
        }
    }
}

/// How many messages an actor has not finished: the messages in its mailbox and those it works on.
#[derive(Debug)]
pub struct Depth {
    pub actor: &'static str,
    messages: AtomicI64,
    limit: AtomicI64,
}

impl Depth {
    pub const fn new(actor: &'static str) -> Self {
        Self { actor, messages: AtomicI64::new(0), limit: AtomicI64::new(0) }
    }

    pub fn messages(&self) -> u64 {
        u64::try_from(self.messages.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Makes `GET /metrics` report this mailbox, which has `limit` places.
    pub fn register(&'static self, limit: usize) {
        self.limit.store(i64::try_from(limit).unwrap_or(i64::MAX), Ordering::Relaxed);
        register(self);
    }

    /// Counts a message until the returned value is dropped.
    pub fn enter(&'static self) -> InMailbox {
        self.messages.fetch_add(1, Ordering::Relaxed);
        InMailbox(self)
    }
}

impl Cell for Depth {
    fn collect(&self, page: &mut Page) {
        page.value(&MAILBOX_MESSAGES, &[self.actor], self.messages() as f64);
        page.value(&MAILBOX_LIMIT, &[self.actor], self.limit.load(Ordering::Relaxed) as f64);
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
