//! Writers of one key take turns, in the order they came. Optimistic tries are then spent on other nodes only: however many
//! write one key at this node, none of them runs out of tries because of the others, and nobody who writes another key waits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Code, Error};
use crate::store::Key;

/// Who may wait for one key, with the one whose turn it is; a further one is refused.
const MAX_WAITING: usize = 1_000;
/// How long a turn is waited for. With what an operation may take (1.5 s) less than a request waits for its answer (5 s).
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The queues of the keys that are being written. Lives on one thread; clones share them.
#[derive(Clone, Default)]
pub(super) struct WriteTurns(Rc<RefCell<HashMap<Key, KeyQueue>>>);

struct KeyQueue {
    /// One permit, handed on in the order it was asked for.
    turn: Arc<Semaphore>,
    /// Who has it or waits for it; the queue goes with the last.
    members: usize,
}

/// A place in the queue of a key, left when it is dropped.
struct TurnPlace {
    turns: WriteTurns,
    key: Key,
}

/// The turn of one writer, given on when it is dropped.
#[must_use = "the turn is over when this is dropped"]
pub(super) struct WriteTurn {
    /// Dropped first: the next one has its turn before the place is given up.
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
        let Some(queue) = queues.get_mut(&self.key) else { return };
        queue.members -= 1;
        if queue.members == 0 {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
