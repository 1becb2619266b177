//! Group commit: hands waiting transactions to the store as one batch.
//!
//! The first transaction leaves at once. While batches are on their way, transactions gather. The more batches are on their
//! way, the more transactions must have gathered before the next batch leaves. So an idle registry answers after one round
//! trip, and a busy one fills its batches.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::causes::NotedWrite;
use super::super::store_step::store_step;
use crate::clock::{Clock, Monotonic};
use crate::recorder::{Purpose, Recorder};
use crate::store::{Compare, Key, Op, Reason, Store, StoreError, Txn, TxnOutcome};
use crate::trace::{self, RequestContext, Step};

/// How many batches are on their way at once.
const MAX_IN_FLIGHT: usize = 8;
/// How many transactions must have gathered for each batch on its way. So at low load, a batch that hangs holds up to 32 others until
/// the store's limit ends it. This is accepted, because a batch of their own would go to the same node of etcd and hang too.
const GATHER_PER_FLIGHT: usize = 32;
/// Transactions in one batch.
const MAX_TXNS: usize = 120;
/// Bytes in one batch.
const MAX_BYTES: usize = 1_000_000;
/// How many transactions may wait. A further one is rejected.
const MAX_WAITING: usize = 20_000;
/// How many bytes of transactions may wait. A further transaction is rejected.
const MAX_WAITING_BYTES: usize = 128 << 20;
/// How long a transaction may wait before it leaves, from [`Batcher::submit`] on. A request waits 5 s for its answer, so most of what
/// waits longer would leave for clients that were answered already. (What leaves all the same: see `take_back` in `instances.rs`.)
const MAX_WAIT: Duration = Duration::from_secs(4);
/// How many transactions are passed over for one batch because of their keys. If many transactions write one key, each batch
/// must not search all of them.
const MAX_PASSED_OVER: usize = 2 * MAX_TXNS;

type TxnAnswer = Result<TxnOutcome, StoreError>;

struct WaitingTxn {
    txn: Txn,
    size: usize,
    since: Monotonic,
    reply: oneshot::Sender<TxnAnswer>,
    /// The request that the transaction is for, if it is traced.
    request: Option<RequestContext>,
}

/// Gathers and submits transactions. Lives on one thread. Clones share one queue.
#[derive(Clone)]
pub struct Batcher {
    store: Arc<dyn Store>,
    clock: Clock,
    recorder: Recorder,
    state: Rc<RefCell<BatcherState>>,
}

#[derive(Default)]
struct BatcherState {
    waiting: VecDeque<WaitingTxn>,
    /// The bytes of `waiting`.
    bytes: usize,
    in_flight: usize,
}

impl Batcher {
    pub fn new(store: Arc<dyn Store>, clock: Clock, recorder: Recorder) -> Self {
        Self { store, clock, recorder, state: Rc::default() }
    }

    /// Commits a transaction, in one batch with others that wait.
    pub async fn submit(&self, txn: Txn) -> TxnAnswer {
        self.submit_for(txn, Purpose::Other).await
    }

    /// As [`Self::submit`]. The record of events shows the purpose.
    pub async fn submit_for(&self, txn: Txn, purpose: Purpose) -> TxnAnswer {
        let noted = NotedWrite::begin(&self.recorder, &txn, purpose);
        let outcome = self.commit(txn).await;
        if let Some(noted) = noted {
            noted.end(&outcome);
        }
        outcome
    }

    async fn commit(&self, txn: Txn) -> TxnAnswer {
        let (reply, outcome) = oneshot::channel();
        let size = txn_size(&txn);
        {
            let mut state = self.state.borrow_mut();
            if state.waiting.len() >= MAX_WAITING || state.bytes + size > MAX_WAITING_BYTES {
                let message = format!("{} transactions wait already, try again", state.waiting.len());
                return Err(StoreError::Aborted { reason: Reason::Busy, message });
            }
            state.bytes += size;
            let since = self.clock.monotonic();
            state.waiting.push_back(WaitingTxn { txn, size, since, reply, request: trace::traced() });
        }
        self.depart();
        outcome
            .await
            .unwrap_or_else(|_| Err(StoreError::Unknown { message: "the batch was dropped".to_owned() }))
    }

    fn depart(&self) {
        loop {
            let batch = {
                let mut state = self.state.borrow_mut();
                state.drop_late(self.clock.monotonic());
                let gathered = state.waiting.len();
                let enough = gathered > state.in_flight * GATHER_PER_FLIGHT || gathered >= MAX_TXNS;
                if gathered == 0 || state.in_flight >= MAX_IN_FLIGHT || !enough {
                    return;
                }
                state.in_flight += 1;
                let batch = take_batch(&mut state.waiting);
                state.bytes -= batch.iter().map(|waiting| waiting.size).sum::<usize>();
                batch
            };
            let batcher = self.clone();
            actix::spawn(async move {
                let steps = steps(&*batcher.store, &batch);
                let (txns, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.txn, w.reply)).unzip();
                let outcomes = batcher.store.batch(txns).await;
                for (mut step, outcome) in steps.into_iter().zip(&outcomes) {
                    if let Err(error) = outcome {
                        step.fail(error);
                    }
                }
                for (reply, outcome) in replies.into_iter().zip(outcomes) {
                    // Nobody waits any more: the request was given up.
                    let _ = reply.send(outcome);
                }
                batcher.state.borrow_mut().in_flight -= 1;
                batcher.depart();
            });
        }
    }
}

impl BatcherState {
    /// Rejects the transactions that have waited too long. They are at the front.
    fn drop_late(&mut self, now: Monotonic) {
        while self.waiting.front().is_some_and(|first| first.since + MAX_WAIT <= now) {
            let Some(late) = self.waiting.pop_front() else { return };
            self.bytes -= late.size;
            let message =
                format!("the transaction has waited for {} s behind others, try again", MAX_WAIT.as_secs());
            let refused = Err(StoreError::Aborted { reason: Reason::Busy, message });
            // Nobody waits any more: the request was given up.
            let _ = late.reply.send(refused);
        }
    }
}

/// The steps of the requests in a batch that are traced, one for each transaction: the batch belongs to several traces. Empty if no
/// request is traced.
fn steps(store: &dyn Store, batch: &[WaitingTxn]) -> Vec<Step> {
    if batch.iter().all(|waiting| waiting.request.is_none()) {
        return Vec::new();
    }
    let begin = |waiting: &WaitingTxn| store_step(store, waiting.request.as_ref(), "batch", batch.len());
    batch.iter().map(begin).collect()
}

/// Takes as many transactions from the front as fit. A transaction that writes or compares a key that an earlier one writes
/// waits for a later batch and keeps its place, because transactions of one batch do not see each other's writes.
fn take_batch(waiting: &mut VecDeque<WaitingTxn>) -> Vec<WaitingTxn> {
    if waiting.len() == 1 {
        return waiting.drain(..).collect();
    }
    let mut batch: Vec<WaitingTxn> = Vec::with_capacity(waiting.len().min(MAX_TXNS));
    let mut written = WrittenKeys::default();
    let mut left = VecDeque::new();
    let mut bytes = 0;
    while let Some(next) = waiting.pop_front() {
        let fits = batch.is_empty()
            || batch.len() < MAX_TXNS && bytes + next.size <= MAX_BYTES && left.len() < MAX_PASSED_OVER;
        if !fits {
            waiting.push_front(next);
            break;
        }
        let clashes = writes(&next.txn).chain(compares(&next.txn)).any(|key| written.touches(key));
        writes(&next.txn).for_each(|key| written.add(key));
        if clashes {
            left.push_back(next);
        } else {
            bytes += next.size;
            batch.push(next);
        }
    }
    while let Some(next) = left.pop_back() {
        waiting.push_front(next);
    }
    batch
}

/// The keys and prefixes that a batch writes. Prefixes are rare (deletion of a service), so only prefixes are scanned.
#[derive(Default)]
struct WrittenKeys {
    keys: HashSet<Key>,
    prefixes: Vec<Key>,
}

impl WrittenKeys {
    fn add(&mut self, key: &Key) {
        if is_prefix(key) {
            self.prefixes.push(Key::clone(key));
        } else {
            self.keys.insert(Key::clone(key));
        }
    }

    fn touches(&self, key: &Key) -> bool {
        self.keys.contains(key)
            || self.prefixes.iter().any(|prefix| key.starts_with(&**prefix) || prefix.starts_with(&**key))
            || is_prefix(key) && self.keys.iter().any(|known| known.starts_with(&**key))
    }
}

/// A prefix ends with a slash, and a key does not.
fn is_prefix(key: &Key) -> bool {
    key.ends_with('/')
}

fn writes(txn: &Txn) -> impl Iterator<Item = &Key> {
    txn.then.iter().chain(&txn.otherwise).filter_map(|op| match op {
        Op::Put { key, .. } | Op::Delete(key) | Op::DeletePrefix(key) => Some(key),
        Op::Get(_) | Op::GetPrefix(_) => None,
    })
}

fn compares(txn: &Txn) -> impl Iterator<Item = &Key> {
    txn.compares.iter().map(|compare| match compare {
        Compare::Absent(key) | Compare::Present(key) | Compare::NoneBelow(key) => key,
        Compare::Unchanged { key, .. } | Compare::ValueIs { key, .. } => key,
        Compare::NoneBelowIs { prefix, .. } => prefix,
    })
}

fn txn_size(txn: &Txn) -> usize {
    let op_size = |op: &Op| match op {
        Op::Put { key, value, .. } => key.len() + value.len() + 24,
        Op::Delete(key) | Op::DeletePrefix(key) | Op::Get(key) | Op::GetPrefix(key) => key.len() + 16,
    };
    let compares = txn.compares.len() * 160;
    compares + txn.then.iter().chain(&txn.otherwise).map(op_size).sum::<usize>()
}

#[cfg(test)]
mod tests;
