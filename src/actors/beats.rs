//! Heartbeats on their way to the LeaseActor. A beat does not enter a mailbox: the handler marks the lease and queues
//! it, and only the first of a batch wakes the actor.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::cache::{InstanceEntry, LeaseMark};
use crate::domain::event::InstanceRef;

/// A lease to be renewed, with what is needed to write its instance again should the store have let it expire. As long as
/// it is there the lease is awaited.
#[derive(Debug)]
pub struct Beat {
    /// The instance.
    pub at: InstanceRef,
    /// Its lease.
    pub mark: Arc<LeaseMark>,
    /// As it was when the beat was taken.
    pub entry: Arc<InstanceEntry>,
}

impl Beat {
    fn new(at: InstanceRef, mark: &Arc<LeaseMark>, entry: &Arc<InstanceEntry>) -> Self {
        mark.await_one();
        Self { at, mark: Arc::clone(mark), entry: Arc::clone(entry) }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.mark.settle_one();
    }
}

/// The queue. Bounded by the instances held: a lease is in it once.
#[derive(Clone, Debug, Default)]
pub struct Beats(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<Vec<Beat>>,
    wake: Notify,
}

impl Beats {
    /// Takes a beat: marks the lease, and queues it unless it is queued.
    pub fn take(&self, at: impl FnOnce() -> InstanceRef, entry: &Arc<InstanceEntry>) -> Taken {
        let Some(mark) = &entry.lease else { return Taken::NoLease };
        mark.beat();
        if mark.mark() {
            self.push(Beat::new(at(), mark, entry));
        }
        Taken::Queued
    }

    /// Queues again what was not answered, unless a beat has done so.
    pub fn retry(&self, beat: Beat) {
        if beat.mark.mark() {
            self.push(beat);
        }
    }

    fn push(&self, beat: Beat) {
        let mut queue = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(beat);
        let is_first = queue.len() == 1;
        drop(queue);
        if is_first {
            self.0.wake.notify_one();
        }
    }

    /// Waits until something is queued.
    pub async fn wait(&self) {
        self.0.wake.notified().await;
    }

    /// Takes all that is queued. Marks are cleared: a beat that comes from here on counts for the next batch.
    pub fn drain(&self) -> Vec<Beat> {
        let drained = std::mem::take(&mut *self.0.queue.lock().unwrap_or_else(PoisonError::into_inner));
        for beat in &drained {
            beat.mark.clear();
        }
        drained
    }

    /// How many are queued.
    pub fn len(&self) -> usize {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The lease is renewed with the next batch.
    Queued,
    /// There is no lease to renew.
    NoLease,
}

#[cfg(test)]
mod tests;
