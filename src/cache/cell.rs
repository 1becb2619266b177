//! Where the current snapshot stands. One publisher, which cannot be cloned; any number of readers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use super::snapshot::Snapshot;
use crate::domain::event::Revision;

#[derive(Debug, Default)]
struct Cell {
    current: ArcSwap<Snapshot>,
    /// Who waits for which revision. Bounded by the requests under way: each waits for one.
    waiting: Mutex<BTreeMap<Revision, Vec<oneshot::Sender<()>>>>,
}

/// The right to publish.
#[derive(Debug)]
pub struct SnapshotPublisher(Arc<Cell>);

/// Loads the current snapshot; cheap to clone, never blocks.
#[derive(Clone, Debug)]
pub struct SnapshotReader(Arc<Cell>);

/// Revision of the snapshot a cell starts with: nothing was listed yet, not even an empty store.
const NOTHING: Revision = -1;

/// A cell that holds an empty snapshot; [`SnapshotReader::wait_until_complete`] tells it from an empty store.
pub fn cell() -> (SnapshotPublisher, SnapshotReader) {
    let cell = Arc::new(Cell::default());
    cell.current.store(Arc::new(Snapshot { revision: NOTHING, ..Snapshot::default() }));
    (SnapshotPublisher(Arc::clone(&cell)), SnapshotReader(cell))
}

impl SnapshotPublisher {
    /// Replaces the snapshot and wakes who waited for its revision.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let revision = snapshot.revision;
        self.0.current.store(snapshot);
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.first_key_value().is_none_or(|(first, _)| *first > revision) {
            return;
        }
        let later = waiting.split_off(&(revision + 1));
        let ready = std::mem::replace(&mut *waiting, later);
        drop(waiting);
        for waiter in ready.into_values().flatten() {
            // One that gave up has dropped its end.
            let _ = waiter.send(());
        }
    }
}

impl SnapshotReader {
    /// The current snapshot.
    pub fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.current.load()
    }

    /// The current snapshot, to keep.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.current.load_full()
    }

    /// Returns when the store was listed once.
    pub async fn wait_until_complete(&self) {
        self.wait_for(NOTHING + 1).await;
    }

    /// Returns when the snapshot holds a revision. The caller bounds the wait; dropping it is fine.
    pub async fn wait_for(&self, revision: Revision) {
        let woken = {
            if self.load().revision >= revision {
                return;
            }
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Again under the lock: a publish between the two looks wakes only those it finds.
            if self.load().revision >= revision {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            let same = waiting.entry(revision).or_default();
            if same.len() == same.capacity() {
                // Those that gave up go before the list grows: so looking through it costs little for each.
                same.retain(|waiter| !waiter.is_closed());
            }
            same.push(sender);
            receiver
        };
        // The sender is dropped without a word only with the cell itself.
        let _ = woken.await;
    }
}
