//! A test double: a store in front of another store. It fails, waits and leaves outcomes unknown as a test demands. It counts
//! calls and records batches.
//!
//! A call first waits at its gate, if the gate is shut. Then it takes the next fault of the script for its kind.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, broadcast};

use super::port::{
    Event, GrantCost, KeepAlive, Lease, LeaseId, Page, Reason, Revision, Store, StoreError, Txn, TxnResult,
    WatchBatch, WatchError,
};

/// The calls of the port that can fail or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreCall {
    List,
    Batch,
    Grant,
    KeepAlive,
    Revoke,
    Watch,
    Revision,
    Bookmark,
    Compact,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call succeeds.
    None,
    /// The call is refused and not done. A renewal is unanswered, a watch is lost.
    Refused(Reason),
    /// The call is done, but its outcome is unknown to the caller.
    UnknownDone,
    /// The call is not done, and its outcome is unknown to the caller.
    UnknownNotDone,
    /// The outcome is unknown to the caller, and [`FaultyStore::finish_late`] does the call. Only for batches; other calls
    /// take it as [`Fault::UnknownNotDone`].
    UnknownLate,
}

/// Says of a key whether it is meant.
type KeyFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Clones are the same store.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    cost: GrantCost,
    state: Arc<Mutex<FaultyState>>,
}

#[derive(Default)]
struct FaultyState {
    calls: HashMap<StoreCall, CallState>,
    batches: Vec<Vec<Txn>>,
    late: Vec<Vec<Txn>>,
    compactions: Vec<Revision>,
    is_away: bool,
    /// Ends the open watches.
    watch_end: Option<broadcast::Sender<WatchError>>,
    /// Whether watches lose the event of a key.
    loses: Option<KeyFilter>,
    lost: usize,
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
    pub fn new(inner: Arc<dyn Store>) -> Self {
        let cost = inner.grant_cost();
        Self { inner, cost, state: Arc::default() }
    }

    /// The same store with another cost of grants.
    #[must_use]
    pub fn costing(self, cost: GrantCost) -> Self {
        Self { cost, ..self }
    }

    /// The store behind this one, whose calls neither fail nor wait.
    pub fn inner(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner)
    }

    /// Adds faults for the next calls of a kind, one for each call.
    pub fn script(&self, call: StoreCall, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().calls.entry(call).or_default().script.extend(faults);
    }

    /// Refuses each call from now on, as if the store could not be reached.
    pub fn go_away(&self) {
        self.state.lock().is_away = true;
    }

    /// Ends [`FaultyStore::go_away`].
    pub fn come_back(&self) {
        self.state.lock().is_away = false;
    }

    /// Ends the open watches with this error.
    pub fn end_watches(&self, error: WatchError) {
        if let Some(end) = self.state.lock().watch_end.take() {
            // An error means that there is no open watch.
            let _ = end.send(error);
        }
    }

    /// Makes watches lose the events of some keys, without a word.
    pub fn lose_events(&self, of: impl Fn(&str) -> bool + Send + Sync + 'static) {
        self.state.lock().loses = Some(Arc::new(of));
    }

    /// Ends [`FaultyStore::lose_events`].
    pub fn lose_nothing(&self) {
        self.state.lock().loses = None;
    }

    /// Number of events that watches have lost.
    pub fn lost_events(&self) -> usize {
        self.state.lock().lost
    }

    /// Takes the lost events out of a batch. `None` if nothing is left.
    fn without_lost(&self, mut batch: WatchBatch) -> Option<WatchBatch> {
        let loses = self.state.lock().loses.clone();
        if let Some(loses) = loses {
            let before = batch.events.len();
            batch.events.retain(|event| match event {
                Event::Put(entry) => !loses(&entry.key),
                Event::Delete { key, .. } => !loses(key),
            });
            self.state.lock().lost += before - batch.events.len();
        }
        (!batch.events.is_empty()).then_some(batch)
    }

    /// Makes calls of a kind wait from now on.
    pub fn shut(&self, call: StoreCall) {
        self.state.lock().calls.entry(call).or_default().gate = Some(Arc::new(Semaphore::new(0)));
    }

    /// Lets this many waiting or later calls through.
    pub fn let_through(&self, call: StoreCall, count: usize) {
        if let Some(gate) = self.state.lock().calls.get(&call).and_then(|state| state.gate.as_ref()) {
            gate.add_permits(count);
        }
    }

    /// Ends [`FaultyStore::shut`] and lets all waiting calls through.
    pub fn open(&self, call: StoreCall) {
        let gate = self.state.lock().calls.entry(call).or_default().gate.take();
        if let Some(gate) = gate {
            gate.add_permits(ALL);
        }
    }

    /// Number of calls of a kind so far.
    pub fn begun(&self, call: StoreCall) -> usize {
        self.state.lock().calls.get(&call).map_or(0, |state| state.begun)
    }

    /// All batches so far, including failed ones.
    pub fn batches(&self) -> Vec<Vec<Txn>> {
        self.state.lock().batches.clone()
    }

    /// The revisions of all compactions so far, including failed ones.
    pub fn compactions(&self) -> Vec<Revision> {
        self.state.lock().compactions.clone()
    }

    /// Does the batches that [`Fault::UnknownLate`] has kept back. Returns the outcomes of each batch.
    pub async fn finish_late(&self) -> Vec<Vec<TxnResult>> {
        let late = std::mem::take(&mut self.state.lock().late);
        let mut outcomes = Vec::with_capacity(late.len());
        for txns in late {
            outcomes.push(self.inner.batch(txns).await);
        }
        outcomes
    }

    /// Waits at the gate, then takes the next fault.
    fn pass(&self, call: StoreCall) -> impl Future<Output = Fault> + Send + use<> {
        let gate = {
            let mut state = self.state.lock();
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
            let mut state = this.state.lock();
            if state.is_away {
                return Fault::Refused(Reason::Unavailable);
            }
            state.calls.entry(call).or_default().script.pop_front().unwrap_or(Fault::None)
        }
    }

    /// A call with one outcome.
    fn guarded<T: Send + 'static>(
        &self,
        call: StoreCall,
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
        let (fault, inner) = (self.pass(StoreCall::List), Arc::clone(&self.inner));
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

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<TxnResult>> {
        self.state.lock().batches.push(txns.clone());
        let (fault, this) = (self.pass(StoreCall::Batch), self.clone());
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
                    this.state.lock().late.push(txns);
                    all(unknown())
                }
            }
        }
        .boxed()
    }

    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        self.guarded(StoreCall::Grant, move |inner| inner.grant(ttl_seconds))
    }

    /// One call, however many leases it grants.
    fn grants(&self, ttl_seconds: i64, count: usize) -> BoxFuture<'static, Result<Vec<Lease>, StoreError>> {
        self.guarded(StoreCall::Grant, move |inner| inner.grants(ttl_seconds, count))
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn grant_cost(&self) -> GrantCost {
        self.cost
    }

    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>> {
        let (fault, inner) = (self.pass(StoreCall::KeepAlive), Arc::clone(&self.inner));
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
        self.guarded(StoreCall::Revoke, move |inner| inner.revoke(lease))
    }

    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
        let (fault, inner, prefix) =
            (self.pass(StoreCall::Watch), Arc::clone(&self.inner), prefix.to_owned());
        let mut end = self.state.lock().watch_end.get_or_insert_with(|| broadcast::channel(1).0).subscribe();
        let this = self.clone();
        let batches = async move {
            match fault.await {
                Fault::None => {
                    let ended = async move { end.recv().await.map(Err) };
                    let batches = inner.watch(&prefix, from).filter_map(move |batch| {
                        std::future::ready(match batch {
                            Ok(batch) => this.without_lost(batch).map(Ok),
                            Err(error) => Some(Err(error)),
                        })
                    });
                    let batches = batches.map(Some).chain(stream::iter([None]));
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
        self.guarded(StoreCall::Revision, |inner| inner.revision())
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        self.guarded(StoreCall::Bookmark, |inner| inner.bookmark())
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.state.lock().compactions.push(revision);
        self.guarded(StoreCall::Compact, move |inner| inner.compact(revision))
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}
