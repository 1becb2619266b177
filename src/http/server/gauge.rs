//! How many connections there are, and what becomes of one more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a connection is told that is not asked what it wants.
pub(super) const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=UTF-8\r\n\
Retry-After: 1\r\nConnection: close\r\n\r\n\
{\"errorCode\":\"503001\",\"errorMessage\":\"Service overloaded\"}";

/// Most connections beyond the limit that are still asked what they want. Each lasts for
/// [`RESERVE_LIMIT`](super::connection::RESERVE_LIMIT) at most, so a probe finds one free soon.
const MOST_RESERVED: usize = 256;

/// Most connections at once that are only told that there are too many.
const MOST_TOLD: usize = 64;

/// How many connections are open, of how many.
#[derive(Debug)]
pub(crate) struct Gauge {
    open: AtomicUsize,
    most: usize,
    reserve: usize,
}

/// A connection's place.
#[derive(Debug)]
pub(crate) enum Entry {
    /// There was one.
    Place(Slot),
    /// All places are taken; this is one of the reserve, to ask one question from: whoever asks after the server's health is
    /// answered, all others are told that it has too much to do.
    Reserve(Slot),
    /// The reserve is taken, too; this one is told so, unasked.
    Told(Slot),
    /// So many are just being told that there is nothing to be said to this one: each of them holds a file.
    Full,
}

impl Gauge {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let reserve = (most / 16).clamp(1, MOST_RESERVED);
        Arc::new(Self { open: AtomicUsize::new(0), most, reserve })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// A place for one more connection.
    pub(crate) fn enter(self: &Arc<Self>) -> Entry {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        let slot = Slot(Arc::clone(self));
        if before < self.most {
            Entry::Place(slot)
        } else if before < self.most.saturating_add(self.reserve) {
            Entry::Reserve(slot)
        } else if before < self.most.saturating_add(self.reserve).saturating_add(MOST_TOLD) {
            Entry::Told(slot)
        } else {
            Entry::Full
        }
    }
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Gauge>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_limit_some_are_asked_some_are_told_and_the_rest_is_dropped() {
        let gauge = Gauge::new(16);
        let mut held: Vec<Entry> = (0..16 + 1 + MOST_TOLD).map(|_| gauge.enter()).collect();
        let place = |entry: &Entry| match entry {
            Entry::Place(_) => "place",
            Entry::Reserve(_) => "reserve",
            Entry::Told(_) => "told",
            Entry::Full => "full",
        };
        let count = |what| held.iter().filter(|entry| place(entry) == what).count();
        assert_eq!([count("place"), count("reserve"), count("told"), count("full")], [16, 1, MOST_TOLD, 0]);
        assert_eq!(place(&gauge.enter()), "full");
        assert_eq!(gauge.open(), held.len(), "one that is dropped holds nothing");
        drop(held.pop());
        assert_eq!(place(&gauge.enter()), "told");
    }
}
