//! How much a server does at once: requests that wait for something, and bytes of bodies. What is beyond is refused before it
//! costs anything.
//!
//! A request takes a place while it waits; one that is answered from memory needs none, so it only looks whether one is free.
//! The last places are kept from what waits for the store: however slow that is, finds and heartbeats go on until they
//! themselves have taken the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Code, Error};
use crate::http::spec::Load;
use crate::metrics;

/// The share of the places that is kept from what waits for the store.
const KEPT: usize = 8;

/// What a body may have without being counted: about what the connection's own buffer holds. Registrations, properties and
/// beats stay below it, so that large bodies, or slow ones, never keep them out.
const UNCOUNTED: usize = 8 * 1024;

/// The requests and bytes of a server, all workers together.
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

    /// Why a request is refused, if it is. A look and not a count: each worker runs one handler at a time, so there may be as
    /// many places taken above the limit as there are workers, and what needs no place costs the others nothing.
    pub(super) fn refusal(&self, load: Load) -> Option<Error> {
        let most = match load {
            Load::Always => return None,
            Load::Find | Load::Memory => self.most,
            Load::Store => self.most - self.most / KEPT,
        };
        (self.waiting.load(Ordering::Relaxed) >= most).then(|| refusal(load))
    }

    /// Takes a place; it is free again when the guard is dropped.
    pub(super) fn wait(self: &Arc<Self>, load: Load) -> Option<Place> {
        (load != Load::Always).then(|| {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            Place(Arc::clone(self))
        })
    }

    /// For a body to be read.
    pub(super) fn body(self: &Arc<Self>) -> BodySpace {
        BodySpace { admission: Arc::clone(self), counted: 0 }
    }
}

/// What an overloaded server answers: 429 to a find, which makes clients keep what they know, and 503 to all else.
pub(in crate::http) fn refusal(load: Load) -> Error {
    metrics::REFUSED_FOR_LOAD.add(1);
    Error::new(if load == Load::Find { Code::TooManyRequests } else { Code::Overloaded }, "")
}

/// The place of a request that waits.
#[derive(Debug)]
pub(super) struct Place(Arc<Admission>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory of one body, until its request is answered.
#[derive(Debug)]
pub(super) struct BodySpace {
    admission: Arc<Admission>,
    counted: usize,
}

impl BodySpace {
    /// Whether there is room for a body of `length` bytes, of which this is the part that has come.
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
    fn the_store_gets_fewer_places_than_finds() {
        let admission = Admission::new(16, 0);
        let mut places: Vec<Place> = (0..13).filter_map(|_| admission.wait(Load::Store)).collect();
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
    fn bodies_have_their_memory_while_they_last() {
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
