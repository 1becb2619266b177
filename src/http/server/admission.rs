//! Limits for the work at one time: requests that wait for something, and bytes of bodies. Requests over a limit are rejected before
//! they cost anything.
//!
//! A request takes a place while it waits. A request that is answered from memory takes no place, but it is rejected if none is free.
//! Requests that wait for the store may not take the last places. So with a slow store, finds and heartbeats are still served.
//! Large views may take fewer places still, so they are the first to be rejected.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Code, Error};
use crate::http::spec::Load;
use crate::metrics;

/// Requests that wait for the store may not take one place in 8.
const KEPT: usize = 8;

/// Large views may not take one place in 2.
const KEPT_FROM_VIEWS: usize = 2;

/// The first bytes of a body are not counted: about as many as the buffer of the connection holds. Registrations, properties and
/// heartbeats are smaller, so large or slow bodies never cause their rejection.
const UNCOUNTED: usize = 8 * 1024;

/// Counts for all workers of a server.
#[derive(Debug)]
pub(super) struct Admission {
    waiting: AtomicUsize,
    most: usize,
    body_bytes: AtomicUsize,
    most_body_bytes: usize,
}

impl Admission {
    pub(super) fn new(most: usize, most_body_bytes: usize) -> Arc<Self> {
        let (waiting, body_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { waiting, most, body_bytes, most_body_bytes })
    }

    /// How many requests wait for something.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many bytes of bodies are counted.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// The answer to a request that must be rejected. This reads the count and does not change it, so that requests without a place
    /// do not slow down other workers. As each worker runs one handler at a time, the limit may be exceeded by the number of workers.
    pub(super) fn refusal(&self, load: Load) -> Option<Error> {
        let most = match load {
            Load::Always => return None,
            Load::Find | Load::Memory => self.most,
            Load::Store => self.most - self.most / KEPT,
            Load::View => self.most - self.most / KEPT_FROM_VIEWS,
        };
        (self.waiting.load(Ordering::Relaxed) >= most).then(|| refusal(load))
    }

    /// Takes a place until the guard is dropped.
    pub(super) fn wait(self: &Arc<Self>, load: Load) -> Option<WaitingPlace> {
        (load != Load::Always).then(|| {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            WaitingPlace(Arc::clone(self))
        })
    }

    pub(super) fn body(self: &Arc<Self>) -> BodySpace {
        BodySpace { admission: Arc::clone(self), counted: 0 }
    }
}

/// The answer of an overloaded server: 429 to a find, because clients then keep the instances they know, and 503 to other requests.
pub(in crate::http) fn refusal(load: Load) -> Error {
    metrics::REFUSED_FOR_LOAD.add(1);
    Error::new(if load == Load::Find { Code::TooManyRequests } else { Code::Overloaded }, "")
}

/// The place of a request that waits.
#[derive(Debug)]
pub(super) struct WaitingPlace(Arc<Admission>);

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory that one body takes until its request is answered.
#[derive(Debug)]
pub(super) struct BodySpace {
    admission: Arc<Admission>,
    counted: usize,
}

impl BodySpace {
    /// Counts `length` bytes, of which some may be counted already. `false` if all bodies together are over the limit.
    pub(super) fn grow_to(&mut self, length: usize) -> bool {
        let more = length.saturating_sub(UNCOUNTED).saturating_sub(self.counted);
        if more == 0 {
            return true;
        }
        let before = self.admission.body_bytes.fetch_add(more, Ordering::Relaxed);
        self.counted += more;
        before.saturating_add(more) <= self.admission.most_body_bytes
    }
}

impl Drop for BodySpace {
    fn drop(&mut self) {
        if self.counted > 0 {
            self.admission.body_bytes.fetch_sub(self.counted, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(admission: &Admission, load: Load, expected: Option<Code>) {
        assert_eq!(admission.refusal(load).map(|error| error.code), expected, "{load:?}");
    }

    #[test]
    fn views_get_fewer_places_than_the_store_and_the_store_fewer_than_finds() {
        let admission = Admission::new(16, 0);
        let mut places: Vec<WaitingPlace> = (0..7).filter_map(|_| admission.wait(Load::View)).collect();
        check(&admission, Load::View, None);
        places.extend(admission.wait(Load::Find));
        check(&admission, Load::View, Some(Code::Overloaded));
        places.extend((0..5).filter_map(|_| admission.wait(Load::Store)));
        check(&admission, Load::Store, None);
        places.extend(admission.wait(Load::Store));
        check(&admission, Load::Store, Some(Code::Overloaded));
        check(&admission, Load::Find, None);
        check(&admission, Load::Memory, None);
        places.extend((0..2).filter_map(|_| admission.wait(Load::Find)));
        check(&admission, Load::Find, Some(Code::TooManyRequests));
        check(&admission, Load::Memory, Some(Code::Overloaded));
        check(&admission, Load::Always, None);
        assert!(admission.wait(Load::Always).is_none(), "it takes no place");
        drop(places);
        check(&admission, Load::Store, None);
    }

    #[test]
    fn bodies_hold_memory_until_they_are_dropped() {
        let admission = Admission::new(1, 1_000);
        let mut small: Vec<BodySpace> = (0..100).map(|_| admission.body()).collect();
        assert!(small.iter_mut().all(|space| space.grow_to(UNCOUNTED)));
        let (mut one, mut two) = (admission.body(), admission.body());
        assert!(one.grow_to(UNCOUNTED + 600) && one.grow_to(UNCOUNTED + 601));
        assert!(!two.grow_to(UNCOUNTED + 400));
        drop(two);
        assert!(one.grow_to(UNCOUNTED + 1_000) && !one.grow_to(UNCOUNTED + 1_001));
        drop(one);
        assert!(admission.body().grow_to(UNCOUNTED + 1_000));
    }
}
