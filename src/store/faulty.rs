//! A test double: a store in front of another one that fails, waits and leaves outcomes open as a test says. It counts
//! calls and records batches. It is used by tests only, of this crate and of what is built on it.
//!
//! A call first waits at its gate, if that is shut, then takes the next fault of its kind's script, if there is one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Semaphore, broadcast};

use super::port::{
    GrantCost, KeepAlive, Lease, LeaseId, Page, Reason, Revision, Store, StoreError, Txn, TxnOutcome,
    WatchBatch, WatchError,
};

/// The calls of the port that can fail or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Store::list`].
    List,
    /// [`Store::batch`].
    Batch,
    /// [`Store::grant`].
    Grant,
    /// [`Store::keep_alive`].
    KeepAlive,
    /// [`Store::revoke`].
    Revoke,
    /// [`Store::watch`].
    Watch,
    /// [`Store::revision`].
    Revision,
    /// [`Store::bookmark`].
    Bookmark,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// It is refused and not done. A renewal is unanswered, a watch is lost.
    Refused(Reason),
    /// It is done, and its outcome is unknown to the caller.
    UnknownDone,
    /// It is not done, and its outcome is unknown to the caller.
    UnknownNotDone,
    /// Its outcome is unknown to the caller; it is done by [`FaultyStore::finish_late`]. Only for batches, else as
    /// [`Fault::UnknownNotDone`].
    UnknownLate,
}

/// The store; clones are the same store.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    cost: GrantCost,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: HashMap<Call, CallState>,
    batches: Vec<Vec<Txn>>,
    late: Vec<Vec<Txn>>,
    is_away: bool,
    /// Ends the watches there are.
    watch_end: Option<broadcast::Sender<WatchError>>,
}

#[derive(Default)]
struct CallState {
    begun: usize,
    script: VecDeque<Fault>,
    gate: Option<Arc<Semaphore>>,
}

/// More than any test lets through a gate at once.
const ALL: usize = Semaphore::MAX_PERMITS >> 1;

impl FaultyStore {
    /// In front of a store, with nothing failing.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        let cost = inner.grant_cost();
        Self { inner, cost, state: Arc::default() }
    }

    /// The same with another cost of grants.
    #[must_use]
    pub fn costing(self, cost: GrantCost) -> Self {
        Self { cost, ..self }
    }

    /// What happens to the next calls of a kind, one fault each.
    pub fn script(&self, call: Call, faults: impl IntoIterator<Item = Fault>) {
        self.state().calls.entry(call).or_default().script.extend(faults);
    }

    /// From now on each call is refused as if the store could not be reached.
    pub fn go_away(&self) {
        self.state().is_away = true;
    }

    /// Ends [`FaultyStore::go_away`].
    pub fn come_back(&self) {
        self.state().is_away = false;
    }

    /// Ends the watches there are, with this error.
    pub fn end_watches(&self, error: WatchError) {
        if let Some(end) = self.state().watch_end.take() {
            // Nobody watches.
            let _ = end.send(error);
        }
    }

    /// From now on calls of a kind wait.
    pub fn shut(&self, call: Call) {
        self.state().calls.entry(call).or_default().gate = Some(Arc::new(Semaphore::new(0)));
    }

    /// Lets so many of the calls that wait, or will, go on.
    pub fn let_through(&self, call: Call, count: usize) {
        if let Some(gate) = self.state().calls.get(&call).and_then(|state| state.gate.as_ref()) {
            gate.add_permits(count);
        }
    }

    /// Lets all that wait go on; nothing waits any more.
    pub fn open(&self, call: Call) {
        let gate = self.state().calls.entry(call).or_default().gate.take();
        if let Some(gate) = gate {
            gate.add_permits(ALL);
        }
    }

    /// How many calls of a kind were begun.
    pub fn begun(&self, call: Call) -> usize {
        self.state().calls.get(&call).map_or(0, |state| state.begun)
    }

    /// The batches that came, whatever became of them.
    pub fn batches(&self) -> Vec<Vec<Txn>> {
        self.state().batches.clone()
    }

    /// Does now what [`Fault::UnknownLate`] has kept back; the outcomes, batch by batch.
    pub async fn finish_late(&self) -> Vec<Vec<Result<TxnOutcome, StoreError>>> {
        let late = std::mem::take(&mut self.state().late);
        let mut outcomes = Vec::with_capacity(late.len());
        for txns in late {
            outcomes.push(self.inner.batch(txns).await);
        }
        outcomes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at the gate; what happens then.
    fn pass(&self, call: Call) -> impl Future<Output = Fault> + Send + use<> {
        let gate = {
            let mut state = self.state();
            let state = state.calls.entry(call).or_default();
            state.begun += 1;
            state.gate.clone()
        };
        let this = self.clone();
        async move {
            if let Some(gate) = gate
                && let Ok(permit) = gate.acquire().await
            {
                permit.forget();
            }
            let mut state = this.state();
            if state.is_away {
                return Fault::Refused(Reason::Unavailable);
            }
            state.calls.entry(call).or_default().script.pop_front().unwrap_or(Fault::None)
        }
    }

    /// A call with one outcome.
    fn guarded<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(Arc<dyn Store>) -> BoxFuture<'static, Result<T, StoreError>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (fault, inner) = (self.pass(call), Arc::clone(&self.inner));
        async move {
            match fault.await {
                Fault::None => work(inner).await,
                Fault::Refused(reason) => Err(refused(reason)),
                Fault::UnknownDone => {
                    drop(work(inner).await);
                    Err(unknown())
                }
                Fault::UnknownNotDone | Fault::UnknownLate => Err(unknown()),
            }
        }
        .boxed()
    }
}

fn refused(reason: Reason) -> StoreError {
    StoreError::Aborted { reason, message: "refused by a test".to_owned() }
}

fn unknown() -> StoreError {
    StoreError::Unknown { message: "left open by a test".to_owned() }
}

impl Store for FaultyStore {
    fn list(&self, prefixes: &[&str]) -> BoxStream<'static, Result<Page, StoreError>> {
        let (fault, inner) = (self.pass(Call::List), Arc::clone(&self.inner));
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        let pages = async move {
            match fault.await {
                Fault::None => inner.list(&prefixes.iter().map(String::as_str).collect::<Vec<_>>()),
                Fault::Refused(reason) => stream::iter([Err(refused(reason))]).boxed(),
                _ => stream::iter([Err(unknown())]).boxed(),
            }
        };
        pages.flatten_stream().boxed()
    }

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<Result<TxnOutcome, StoreError>>> {
        self.state().batches.push(txns.clone());
        let (fault, this) = (self.pass(Call::Batch), self.clone());
        async move {
            let count = txns.len();
            let all = |error: StoreError| vec![Err(error); count];
            match fault.await {
                Fault::None => this.inner.batch(txns).await,
                Fault::Refused(reason) => all(refused(reason)),
                Fault::UnknownDone => {
                    drop(this.inner.batch(txns).await);
                    all(unknown())
                }
                Fault::UnknownNotDone => all(unknown()),
                Fault::UnknownLate => {
                    this.state().late.push(txns);
                    all(unknown())
                }
            }
        }
        .boxed()
    }

    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        self.guarded(Call::Grant, move |inner| inner.grant(ttl_seconds))
    }

    fn grant_cost(&self) -> GrantCost {
        self.cost
    }

    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>> {
        let (fault, inner) = (self.pass(Call::KeepAlive), Arc::clone(&self.inner));
        async move {
            let unanswered = vec![KeepAlive::Unanswered("unanswered by a test".to_owned()); leases.len()];
            match fault.await {
                Fault::None => inner.keep_alive(leases).await,
                Fault::UnknownDone => {
                    inner.keep_alive(leases).await;
                    unanswered
                }
                _ => unanswered,
            }
        }
        .boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.guarded(Call::Revoke, move |inner| inner.revoke(lease))
    }

    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
        let (fault, inner, prefix) = (self.pass(Call::Watch), Arc::clone(&self.inner), prefix.to_owned());
        let mut end = self.state().watch_end.get_or_insert_with(|| broadcast::channel(1).0).subscribe();
        let batches = async move {
            match fault.await {
                Fault::None => {
                    let ended = async move { end.recv().await.map(Err) };
                    let batches = inner.watch(&prefix, from).map(Some).chain(stream::iter([None]));
                    let ends = stream::once(ended).map(|end| end.ok());
                    stream::select(batches, ends)
                        .scan(false, |is_over, next| {
                            let next = next.filter(|_| !*is_over);
                            *is_over |= next.as_ref().is_none_or(Result::is_err);
                            std::future::ready(next)
                        })
                        .boxed()
                }
                _ => stream::iter([Err(WatchError::Lost("lost by a test".to_owned()))]).boxed(),
            }
        };
        batches.flatten_stream().boxed()
    }

    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        self.guarded(Call::Revision, |inner| inner.revision())
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        self.guarded(Call::Bookmark, |inner| inner.bookmark())
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}
