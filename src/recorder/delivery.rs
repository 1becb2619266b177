//! What became of one change on its way to the watches of this node.
//!
//! The hub makes one [`Delivery`] for a change that somebody watches. The frames in the outboxes share it, and each session marks
//! it when it has written the frame, or when it will never write it. Marking takes no lock, because thousands of sessions mark the
//! same delivery on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::event::{InstanceRef, Revision};
use crate::domain::{ServiceId, Tenant};

/// At most this many consumers of a change are known by name.
pub const NAMED_CONSUMERS: usize = 16;

/// Consumers by tenant and id, at most [`NAMED_CONSUMERS`]. Changes of one provider share the list while it stays the same.
pub type NamedConsumers = Arc<[(Tenant, ServiceId)]>;

/// One watch, in the upper half of [`Delivery::open`].
const LOST: u64 = 1 << 32;
/// Not sent yet, in [`Delivery::first`].
const NEVER: u32 = u32::MAX;

#[derive(Debug)]
pub struct Delivery {
    revision: Revision,
    at: Arc<InstanceRef>,
    consumers: NamedConsumers,
    /// When readers could load the change: Unix time, milliseconds.
    published: i64,
    /// The number of watches that the change was for.
    watches: u32,
    /// The lower half counts the watches that still wait, the upper half those that ended before the change was sent.
    open: AtomicU64,
    replaced: AtomicU32,
    /// When the change was first and last sent: milliseconds after `published`.
    first: AtomicU32,
    last: AtomicU32,
}

/// The state of a delivery at one moment. A consumer with several processes has a watch for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The watches that the change was for.
    pub consumers: u32,
    /// The watches whose connection has taken the change.
    pub sent: u32,
    pub waiting: u32,
    /// The watches that were sent a later change of the instance instead, or never had to know the instance.
    pub replaced: u32,
    /// The watches that ended before the change was sent. A client that connects again lists again.
    pub lost: u32,
    /// Unix time, milliseconds.
    pub first_sent: Option<i64>,
    pub last_sent: Option<i64>,
}

impl Delivery {
    /// The delivery of a change to `watches` watches, all of which wait. `published` is a Unix time in milliseconds.
    pub fn new(
        revision: Revision,
        at: Arc<InstanceRef>,
        consumers: NamedConsumers,
        watches: usize,
        published: i64,
    ) -> Self {
        let watches = u32::try_from(watches).unwrap_or(u32::MAX);
        Self {
            revision,
            at,
            consumers,
            published,
            watches,
            open: AtomicU64::new(watches.into()),
            replaced: AtomicU32::new(0),
            first: AtomicU32::new(NEVER),
            last: AtomicU32::new(0),
        }
    }

    /// The revision of the change in the store.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The instance that changed.
    pub fn at(&self) -> &Arc<InstanceRef> {
        &self.at
    }

    /// The first consumers that the change was for. [`Told::consumers`] counts their watches and those of the others.
    pub fn consumers(&self) -> &NamedConsumers {
        &self.consumers
    }

    /// A watch has taken the change, so long after it was published.
    pub fn sent(&self, after: Duration) {
        let after = u32::try_from(after.as_millis()).unwrap_or(NEVER).min(NEVER - 1);
        // Usually nothing is written here: many watches are sent a change within one millisecond.
        if after < self.first.load(Ordering::Relaxed) {
            self.first.fetch_min(after, Ordering::Relaxed);
        }
        if after > self.last.load(Ordering::Relaxed) {
            self.last.fetch_max(after, Ordering::Relaxed);
        }
        self.open.fetch_sub(1, Ordering::Release);
    }

    /// A watch will be sent a later change instead, or needs none.
    pub fn replaced(&self) {
        self.replaced.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Release);
    }

    /// A watch ended before it took the change.
    pub fn lost(&self) {
        self.open.fetch_add(LOST - 1, Ordering::Release);
    }

    /// Stays as it is when no watch waits any more.
    pub fn summary(&self) -> Told {
        let open = self.open.load(Ordering::Acquire);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let (waiting, lost) = (half(open), half(open >> 32));
        let replaced = self.replaced.load(Ordering::Relaxed);
        let first = self.first.load(Ordering::Relaxed);
        let time = |after: u32| self.published.saturating_add(after.into());
        let was_sent = first != NEVER;
        Told {
            consumers: self.watches,
            sent: self.watches.saturating_sub(waiting).saturating_sub(lost).saturating_sub(replaced),
            waiting,
            replaced,
            lost,
            first_sent: was_sent.then(|| time(first)),
            last_sent: was_sent.then(|| time(self.last.load(Ordering::Relaxed))),
        }
    }
}

/// Who is told of an event: the delivery, and when no watch waits any more, only what became of it.
#[derive(Debug)]
pub(super) struct Telling(Mutex<TellingState>);

#[derive(Debug)]
enum TellingState {
    /// Watches may still wait.
    Open(Arc<Delivery>),
    Settled(Told),
}

impl Telling {
    pub(super) fn of(delivery: Arc<Delivery>) -> Self {
        Self(Mutex::new(TellingState::Open(delivery)))
    }

    pub(super) fn settled(told: Told) -> Self {
        Self(Mutex::new(TellingState::Settled(told)))
    }

    pub(super) fn told(&self) -> Told {
        match &*self.0.lock() {
            TellingState::Open(delivery) => delivery.summary(),
            TellingState::Settled(told) => *told,
        }
    }

    /// Lets go of the delivery if no watch waits any more, or if `at_once`. Returns what is kept instead.
    pub(super) fn settle(&self, at_once: bool) -> Option<Told> {
        let mut state = self.0.lock();
        let TellingState::Open(delivery) = &*state else { return None };
        let told = delivery.summary();
        if told.waiting > 0 && !at_once {
            return None;
        }
        *state = TellingState::Settled(told);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::InstanceId;

    fn delivery(watches: usize) -> Delivery {
        let at = InstanceRef {
            tenant: Tenant::default_tenant(),
            service: ServiceId::from("s"),
            instance: InstanceId::from("i"),
        };
        Delivery::new(7, Arc::new(at), Vec::new().into(), watches, 1000)
    }

    #[test]
    fn each_watch_is_counted_once() {
        let delivery = delivery(5);
        assert_eq!(delivery.summary(), Told { consumers: 5, waiting: 5, ..Told::default() });
        delivery.sent(Duration::from_millis(3));
        delivery.sent(Duration::from_millis(20));
        delivery.sent(Duration::ZERO);
        delivery.lost();
        let sent = Told {
            consumers: 5,
            sent: 3,
            lost: 1,
            first_sent: Some(1000),
            last_sent: Some(1020),
            ..Told::default()
        };
        assert_eq!(delivery.summary(), Told { waiting: 1, ..sent });
        assert_ne!(delivery.summary().waiting, 0);
        delivery.replaced();
        assert_eq!(delivery.summary(), Told { replaced: 1, ..sent });
        assert_eq!(delivery.summary().waiting, 0);
    }

    #[test]
    fn many_threads_mark_one_delivery() {
        let delivery = delivery(4000);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for number in 0..1000 {
                        match number % 4 {
                            0 => delivery.lost(),
                            1 => delivery.replaced(),
                            _ => delivery.sent(Duration::from_millis(number)),
                        }
                    }
                });
            }
        });
        let told = delivery.summary();
        assert_eq!([told.sent, told.replaced, told.lost, told.waiting], [2000, 1000, 1000, 0]);
        assert_eq!((told.first_sent, told.last_sent), (Some(1002), Some(1999)));
    }

    #[test]
    fn a_recorded_delivery_is_small() {
        // The record keeps 100,000 of them in a few megabytes.
        assert!(std::mem::size_of::<Delivery>() <= 80);
    }
}
