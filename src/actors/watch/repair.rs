//! Repairs the snapshot where it does not show what the store holds, because an event of the watch was lost. Reads the keys from the
//! store, and hands what they hold to the watch, which alone publishes.

use std::cell::{Cell, RefCell};

use tokio::sync::{Notify, oneshot};

use super::state::RepairRead;
use super::{WatchCore, publish};
use crate::actors::single::commit_alone;
use crate::error::{Code, Error};
use crate::store::{Entry, Key, Op, StoreError, Txn};

/// How many keys are read in one transaction. Each may have a value of some kilobytes.
const KEYS_AT_ONCE: usize = 100;

/// What the watch is asked to do between two events.
#[derive(Default)]
pub(super) struct Repairs {
    asked: Notify,
    is_to_list: Cell<bool>,
    /// The number of the last repair that has begun.
    begun: Cell<u64>,
    ready: RefCell<Option<ReadyRepair>>,
}

/// A repair whose keys are read.
struct ReadyRepair {
    reads: Vec<RepairRead>,
    /// How many keys were taken over.
    reply: oneshot::Sender<usize>,
}

impl Repairs {
    pub(super) fn list_again(&self) {
        self.is_to_list.set(true);
        self.asked.notify_one();
    }

    pub(super) fn take_list_again(&self) -> bool {
        self.is_to_list.take()
    }

    /// The next repair takes the place of the one before. Returns its number.
    fn begin(&self) -> u64 {
        self.ready.take();
        self.begun.set(self.begun.get() + 1);
        self.begun.get()
    }

    /// Returns when something is asked for.
    pub(super) async fn wait(&self) {
        self.asked.notified().await;
    }

    /// A listing takes the place of everything that was asked for.
    pub(super) fn drop_all(&self) {
        self.is_to_list.set(false);
        self.ready.take();
    }
}

/// Reads the keys, and waits until the watch has taken over what they hold. A repair that comes while another one runs replaces it.
pub(super) async fn repair(core: &WatchCore, keys: Vec<Key>) -> Result<usize, Error> {
    let number = core.repairs.begin();
    core.state.borrow_mut().begin_repair(keys.iter().cloned());
    let mut reads = Vec::with_capacity(keys.len());
    for keys in keys.chunks(KEYS_AT_ONCE) {
        let entries =
            read(core, keys).await.map_err(|error| Error::new(Code::Unavailable, error.to_string()))?;
        reads.extend(keys.iter().cloned().zip(entries).map(|(key, entry)| RepairRead { key, entry }));
    }
    // What was read is true only if no later event says otherwise, so all events up to the reads must be there.
    core.freshness.try_catch_up().await?;
    // Events about these keys are no longer noted, so what was read may be old.
    if core.repairs.begun.get() != number {
        return Err(replaced());
    }
    let (reply, repaired) = oneshot::channel();
    core.repairs.ready.replace(Some(ReadyRepair { reads, reply }));
    core.repairs.asked.notify_one();
    repaired.await.map_err(|_| replaced())
}

fn replaced() -> Error {
    Error::new(Code::Unavailable, "another repair or a listing has begun meanwhile")
}

async fn read(core: &WatchCore, keys: &[Key]) -> Result<Vec<Option<Entry>>, StoreError> {
    let then = keys.iter().cloned().map(Op::Get).collect();
    let outcome = commit_alone(&core.store, Txn { then, ..Txn::default() }).await?;
    Ok(outcome.reads.into_iter().map(|entries| entries.into_iter().next()).collect())
}

/// Takes over what a repair has read.
pub(super) async fn apply(core: &WatchCore) {
    let Some(ReadyRepair { reads, reply }) = core.repairs.ready.take() else { return };
    let (step, repaired) = {
        let mut state = core.state.borrow_mut();
        let repaired = state.repair(reads, core.clock.monotonic());
        (state.step(), repaired)
    };
    publish(core, step, None).await;
    // Nobody may wait any more.
    let _ = reply.send(repaired);
}
