//! Lets the writers of one key take turns, in the order they came. So only writes of other nodes use up the tries of an
//! optimistic write, however many writers of the key this node has. Writers of other keys do not wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Code, Error};
use crate::store::Key;

/// How many writers one key may have, the one whose turn it is included. A further writer is rejected.
const MAX_WAITING: usize = 1_000;
/// How long a writer waits for its turn. Together with the time in which an operation starts tries (1.5 s) this is less than a request waits for
/// its answer (5 s).
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The queues of the keys that are being written. Lives on one thread. Clones share the queues.
#[derive(Clone, Default)]
pub(super) struct WriteTurns(Rc<RefCell<HashMap<Key, KeyQueue>>>);

struct KeyQueue {
    /// One permit. Writers get it in the order they asked for it.
    turn: Arc<Semaphore>,
    /// How many writers have the permit or wait for it. The last one removes the queue.
    members: usize,
}

/// A place in the queue of a key. Dropping it leaves the queue.
struct TurnPlace {
    turns: WriteTurns,
    key: Key,
}

/// The turn of one writer. Dropping it ends the turn.
#[must_use = "the turn is over when this is dropped"]
pub(super) struct WriteTurn {
    /// Dropped first, so that the next writer has its turn before this one leaves the queue.
    _permit: OwnedSemaphorePermit,
    _place: TurnPlace,
}

impl WriteTurns {
    /// Waits for the turn to write a key.
    pub(super) async fn take(&self, key: &Key) -> Result<WriteTurn, Error> {
        let busy = || Error::new(Code::Unavailable, "many write the same data, try again");
        let (place, turn) = self.join(key).ok_or_else(busy)?;
        match tokio::time::timeout(MAX_WAIT, turn.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(WriteTurn { _permit: permit, _place: place }),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    fn join(&self, key: &Key) -> Option<(TurnPlace, Arc<Semaphore>)> {
        let mut queues = self.0.borrow_mut();
        let queue = queues
            .entry(Key::clone(key))
            .or_insert_with(|| KeyQueue { turn: Arc::new(Semaphore::new(1)), members: 0 });
        if queue.members >= MAX_WAITING {
            return None;
        }
        queue.members += 1;
        let turn = Arc::clone(&queue.turn);
        Some((TurnPlace { turns: self.clone(), key: Key::clone(key) }, turn))
    }
}

impl Drop for TurnPlace {
    fn drop(&mut self) {
        let mut queues = self.turns.0.borrow_mut();
        let Entry::Occupied(mut queue) = queues.entry(Key::clone(&self.key)) else { return };
        queue.get_mut().members -= 1;
        if queue.get().members == 0 {
            queue.remove();
        }
    }
}

#[cfg(test)]
mod tests;
