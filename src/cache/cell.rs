//! Holds the current snapshot. One publisher replaces it, any number of readers load it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::snapshot::Snapshot;
use crate::clock::Stopwatch;
use crate::domain::event::Revision;

#[derive(Debug, Default)]
struct SnapshotCell {
    current: ArcSwap<Snapshot>,
    /// When it was published; for metrics.
    published: Mutex<Option<Stopwatch>>,
    waiters: Mutex<Waiters>,
    /// Told of each snapshot that has queued dependency requests.
    queued: Notify,
}

/// Requests that wait for a revision. A request waits for one revision, and removes its entry when it stops waiting. So there
/// are never more entries than requests under way, even if nothing is published.
#[derive(Debug, Default)]
struct Waiters {
    by_revision: BTreeMap<WaiterKey, oneshot::Sender<()>>,
    last_number: u64,
}

/// The revision, and a number that tells apart the requests that wait for it.
type WaiterKey = (Revision, u64);

/// Removes a request's entry when the request is answered or given up.
struct WaiterGuard<'c> {
    cell: &'c SnapshotCell,
    key: WaiterKey,
}

impl Drop for WaiterGuard<'_> {
    fn drop(&mut self) {
        self.cell.waiters.lock().by_revision.remove(&self.key);
    }
}

/// The right to publish. It cannot be cloned, so a cell has one publisher.
#[derive(Debug)]
pub struct SnapshotPublisher(Arc<SnapshotCell>);

/// Loads the current snapshot. Cheap to clone; loading never blocks.
#[derive(Clone, Debug)]
pub struct SnapshotReader(Arc<SnapshotCell>);

/// Revision of the snapshot that a cell starts with. It is lower than the revision of an empty store.
const BEFORE_FIRST_LISTING: Revision = -1;

/// A cell with an empty snapshot. [`SnapshotReader::wait_until_complete`] waits until the store was listed.
pub fn cell() -> (SnapshotPublisher, SnapshotReader) {
    let cell = Arc::new(SnapshotCell::default());
    cell.current.store(Arc::new(Snapshot { revision: BEFORE_FIRST_LISTING, ..Snapshot::default() }));
    (SnapshotPublisher(Arc::clone(&cell)), SnapshotReader(cell))
}

impl SnapshotPublisher {
    /// Reads what it publishes.
    pub fn reader(&self) -> SnapshotReader {
        SnapshotReader(Arc::clone(&self.0))
    }

    /// Replaces the snapshot and wakes the requests that wait for its revision or an earlier one.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let (revision, has_queue) = (snapshot.revision, !snapshot.dependency_queue.is_empty());
        self.0.current.store(snapshot);
        *self.0.published.lock() = Some(Stopwatch::start());
        if has_queue {
            self.0.queued.notify_one();
        }
        let mut waiters = self.0.waiters.lock();
        let waiting = &mut waiters.by_revision;
        if waiting.first_key_value().is_none_or(|((first, _), _)| *first > revision) {
            return;
        }
        let later = waiting.split_off(&(revision + 1, 0));
        let ready = std::mem::replace(waiting, later);
        drop(waiters);
        for waiter in ready.into_values() {
            // Sending fails if the request was given up in the meantime.
            let _ = waiter.send(());
        }
    }
}

impl SnapshotReader {
    /// The current snapshot, for a short look. Use [`Self::load_full`] to keep it across an await.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.current.load()
    }

    /// The current snapshot, to keep.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.current.load_full()
    }

    /// The time since the current snapshot was published.
    pub fn age(&self) -> Duration {
        self.0.published.lock().map_or(Duration::ZERO, Stopwatch::elapsed)
    }

    /// Returns when the store was listed once.
    pub async fn wait_until_complete(&self) {
        self.wait_for(BEFORE_FIRST_LISTING + 1).await;
    }

    /// Returns when a snapshot with queued dependency requests was published since the last call. One task may call it. Other
    /// snapshots do not wake this task, because each wake costs more than a snapshot of one change.
    pub async fn wait_for_queue(&self) {
        self.0.queued.notified().await;
    }

    /// Returns when the snapshot holds a revision. The wait has no limit of its own: the caller sets one and drops the future.
    pub async fn wait_for(&self, revision: Revision) {
        if self.load().revision >= revision {
            return;
        }
        let (sender, woken) = oneshot::channel();
        let _guard = {
            let mut waiters = self.0.waiters.lock();
            // Look again under the lock: a publish since the first look did not find this request.
            if self.load().revision >= revision {
                return;
            }
            waiters.last_number += 1;
            let key = (revision, waiters.last_number);
            waiters.by_revision.insert(key, sender);
            WaiterGuard { cell: &self.0, key }
        };
        // An error means that the sender was dropped unused. That happens only when the cell itself is dropped.
        let _ = woken.await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use imbl::OrdSet;

    use super::*;

    fn waiting(reader: &SnapshotReader) -> usize {
        reader.0.waiters.lock().by_revision.len()
    }

    #[test]
    fn a_publish_wakes_the_requests_for_its_revision_and_earlier_ones() {
        let (publisher, reader) = cell();
        let (mut first, mut second, mut third) =
            (pin!(reader.wait_for(1)), pin!(reader.wait_for(2)), pin!(reader.wait_for(3)));
        for wait in
            [first.as_mut().now_or_never(), second.as_mut().now_or_never(), third.as_mut().now_or_never()]
        {
            assert_eq!(wait, None);
        }
        publisher.publish(Arc::new(Snapshot { revision: 2, ..Snapshot::default() }));
        assert_eq!(waiting(&reader), 1);
        assert_eq!(first.now_or_never(), Some(()));
        assert_eq!(second.now_or_never(), Some(()));
        assert_eq!(third.now_or_never(), None);
    }

    #[test]
    fn only_a_snapshot_with_queued_requests_wakes_the_task_that_applies_them() {
        let (publisher, reader) = cell();
        let queued = Snapshot { dependency_queue: OrdSet::unit("request".into()), ..Snapshot::default() };
        let mut waiting = pin!(reader.wait_for_queue());
        publisher.publish(Arc::new(Snapshot::default()));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        publisher.publish(Arc::new(queued.clone()));
        assert_eq!(waiting.now_or_never(), Some(()));
        // Nobody waits at that moment, and nothing is missed.
        publisher.publish(Arc::new(queued));
        assert_eq!(reader.wait_for_queue().now_or_never(), Some(()));
        assert_eq!(reader.wait_for_queue().now_or_never(), None);
    }

    #[test]
    fn a_request_that_is_given_up_leaves_nothing_behind() {
        let (_publisher, reader) = cell();
        let mut kept = pin!(reader.wait_for(2));
        assert_eq!(kept.as_mut().now_or_never(), None);
        for revision in 1..100 {
            assert_eq!(reader.wait_for(revision).now_or_never(), None);
        }
        assert_eq!(waiting(&reader), 1);
    }
}
