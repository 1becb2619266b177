//! How many connections are open, and how a further one is treated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The answer to a connection that is closed without reading its request.
pub(super) const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=UTF-8\r\n\
Retry-After: 1\r\nConnection: close\r\n\r\n\
{\"errorCode\":\"503001\",\"errorMessage\":\"Service overloaded\"}";

/// The size of the reserve is at most this. Each connection of the reserve lasts for
/// [`RESERVE_LIMIT`](super::connection::RESERVE_LIMIT) at most, so a health check soon finds a free place.
const MOST_RESERVED: usize = 256;

/// How many connections at a time are answered [`OVERLOADED`].
const MOST_TOLD: usize = 64;

#[derive(Debug)]
pub(super) struct Gauge {
    open: AtomicUsize,
    most: usize,
    reserve: usize,
}

/// How a new connection is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionClass {
    /// All requests are served.
    Regular,
    /// The limit is reached. The connection may send one request: a request for the health of the server is served, all others are
    /// rejected because of the load.
    Reserve,
    /// The reserve is full too. The connection is answered [`OVERLOADED`].
    Told,
    /// Too many connections are being answered [`OVERLOADED`]. This one is closed at once, because each holds a file.
    Dropped,
}

impl Gauge {
    pub(super) fn new(most: usize) -> Arc<Self> {
        let reserve = (most / 16).clamp(1, MOST_RESERVED);
        Arc::new(Self { open: AtomicUsize::new(0), most, reserve })
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Counts one more connection.
    pub(super) fn enter(self: &Arc<Self>) -> (ConnectionSlot, ConnectionClass) {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        let with_reserve = self.most.saturating_add(self.reserve);
        let class = if before < self.most {
            ConnectionClass::Regular
        } else if before < with_reserve {
            ConnectionClass::Reserve
        } else if before < with_reserve.saturating_add(MOST_TOLD) {
            ConnectionClass::Told
        } else {
            ConnectionClass::Dropped
        };
        (ConnectionSlot(Arc::clone(self)), class)
    }
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot(Arc<Gauge>);

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_limit_some_are_asked_some_are_told_and_the_rest_is_dropped() {
        use ConnectionClass::{Dropped, Regular, Reserve, Told};
        let gauge = Gauge::new(16);
        let mut held: Vec<_> = (0..16 + 1 + MOST_TOLD).map(|_| gauge.enter()).collect();
        let count = |expected| held.iter().filter(|(_, class)| *class == expected).count();
        assert_eq!([count(Regular), count(Reserve), count(Told), count(Dropped)], [16, 1, MOST_TOLD, 0]);
        assert_eq!(gauge.enter().1, Dropped);
        assert_eq!(gauge.open(), held.len(), "a dropped connection is not counted");
        drop(held.pop());
        assert_eq!(gauge.enter().1, Told);
    }
}
