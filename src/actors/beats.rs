//! Heartbeats on their way to the LeaseActor. A heartbeat does not enter a mailbox: the handler marks the lease and queues
//! it. Only the first heartbeat of a batch wakes the actor.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cache::{InstanceEntry, LeaseMark};
use crate::domain::event::InstanceRef;

/// A lease to renew, with what the LeaseActor needs to write the instance again if the lease has expired. While a `Beat`
/// exists, [`LeaseMark::is_awaited`] holds for its lease.
#[derive(Debug)]
pub struct Beat {
    pub at: InstanceRef,
    pub mark: Arc<LeaseMark>,
    /// The instance when the heartbeat came.
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

/// The queue of leases to renew. It holds a lease once, so the number of instances bounds it. Clones share the queue.
#[derive(Clone, Debug, Default)]
pub struct Beats(Arc<BeatQueue>);

#[derive(Debug, Default)]
struct BeatQueue {
    queue: Mutex<Vec<Beat>>,
    wake: Notify,
}

impl Beats {
    /// Takes a heartbeat: marks the lease, and queues it unless it is queued already.
    pub fn take(&self, at: impl FnOnce() -> InstanceRef, entry: &Arc<InstanceEntry>) -> BeatTaken {
        let Some(mark) = &entry.lease else { return BeatTaken::NoLease };
        mark.beat();
        if mark.mark() {
            self.push(Beat::new(at(), mark, entry));
        }
        BeatTaken::Queued
    }

    /// Queues a lease again whose renewal was not answered, unless a newer heartbeat has queued it.
    pub fn retry(&self, beat: Beat) {
        if beat.mark.mark() {
            self.push(beat);
        }
    }

    fn push(&self, beat: Beat) {
        let mut queue = self.0.queue.lock();
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

    /// Takes all that is queued, and clears the marks: a later heartbeat counts for the next batch.
    pub fn drain(&self) -> Vec<Beat> {
        let drained = std::mem::take(&mut *self.0.queue.lock());
        for beat in &drained {
            beat.mark.clear();
        }
        drained
    }

    /// How many leases are queued.
    pub fn len(&self) -> usize {
        self.0.queue.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The outcome of [`Beats::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatTaken {
    /// The next batch renews the lease.
    Queued,
    /// The instance has no lease to renew.
    NoLease,
}

#[cfg(test)]
mod tests;
