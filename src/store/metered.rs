//! A store that counts and times what another one does.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _};

use super::port::{
    GrantCost, KeepAlive, Lease, LeaseId, Page, Revision, Store, StoreError, Txn, TxnResult, WatchBatch,
    WatchError,
};
use crate::clock::Stopwatch;
use crate::metrics::{self, Cell, Counter, FAILURE, Histogram, SUCCESS};

/// The calls of one kind.
#[derive(Debug)]
struct Calls {
    done: Counter,
    failed: Counter,
    done_time: Histogram,
    failure_time: Histogram,
}

impl Calls {
    const fn new(operation: &'static str) -> Self {
        Self {
            done: Counter::of(metrics::BACKEND_OPERATIONS, [operation, SUCCESS, ""]),
            failed: Counter::of(metrics::BACKEND_OPERATIONS, [operation, FAILURE, ""]),
            done_time: Histogram::of(metrics::STORE_REQUEST, [operation, "done", ""])
                .and_original(metrics::BACKEND_OPERATION_DURATIONS, [operation, SUCCESS, ""]),
            failure_time: Histogram::of(metrics::STORE_REQUEST, [operation, "failed", ""])
                .and_original(metrics::BACKEND_OPERATION_DURATIONS, [operation, FAILURE, ""]),
        }
    }

    fn count(&self, began: Stopwatch, is_done: bool) {
        let (counter, time) =
            if is_done { (&self.done, &self.done_time) } else { (&self.failed, &self.failure_time) };
        counter.add(1);
        time.observe(began.elapsed());
    }

    fn register(&'static self) {
        let cells: [&'static dyn Cell; 4] = [&self.done, &self.failed, &self.done_time, &self.failure_time];
        cells.into_iter().for_each(metrics::cells::register);
    }
}

static BATCH: Calls = Calls::new("batch");
static LIST: Calls = Calls::new("list");
static GRANT: Calls = Calls::new("grant");
static KEEP_ALIVE: Calls = Calls::new("keep_alive");
static REVOKE: Calls = Calls::new("revoke");
static REVISION: Calls = Calls::new("revision");
static BOOKMARK: Calls = Calls::new("bookmark");
static COMPACT: Calls = Calls::new("compact");

/// Passes everything on to a store, and counts it.
pub struct MeteredStore(Arc<dyn Store>);

impl MeteredStore {
    pub fn new(store: Arc<dyn Store>) -> Self {
        for calls in [&BATCH, &LIST, &GRANT, &KEEP_ALIVE, &REVOKE, &REVISION, &BOOKMARK, &COMPACT] {
            calls.register();
        }
        Self(store)
    }
}

/// Counts a call by its result.
fn counted<T: 'static>(
    calls: &'static Calls,
    call: BoxFuture<'static, Result<T, StoreError>>,
) -> BoxFuture<'static, Result<T, StoreError>> {
    let began = Stopwatch::start();
    Box::pin(async move {
        let result = call.await;
        calls.count(began, result.is_ok());
        result
    })
}

impl Store for MeteredStore {
    fn list(&self, prefixes: &[&str]) -> BoxStream<'static, Result<Page, StoreError>> {
        // A listing takes as long as its reader. So each page counts, from the question for it to its arrival.
        let pages = self.0.list(prefixes);
        futures_util::stream::unfold(pages, |mut pages| async move {
            let began = Stopwatch::start();
            let page = pages.next().await?;
            LIST.count(began, page.is_ok());
            Some((page, pages))
        })
        .boxed()
    }

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<TxnResult>> {
        metrics::BATCH_SIZE.observe_size(txns.len());
        let (began, batch) = (Stopwatch::start(), self.0.batch(txns));
        Box::pin(async move {
            let results = batch.await;
            let (mut committed, mut refused, mut aborted, mut unknown) = (0, 0, 0, 0);
            for result in &results {
                match result {
                    Ok(outcome) if outcome.succeeded => committed += 1,
                    Ok(_) => refused += 1,
                    Err(StoreError::Aborted { .. }) => aborted += 1,
                    Err(StoreError::Unknown { .. }) => unknown += 1,
                }
            }
            metrics::TXNS_COMMITTED.add(committed);
            metrics::TXNS_REFUSED.add(refused);
            metrics::TXNS_ABORTED.add(aborted);
            metrics::TXNS_UNKNOWN.add(unknown);
            BATCH.count(began, aborted + unknown == 0);
            results
        })
    }

    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        counted(&GRANT, self.0.grant(ttl_seconds))
    }

    fn grants(&self, ttl_seconds: i64, count: usize) -> BoxFuture<'static, Result<Vec<Lease>, StoreError>> {
        let (began, grants) = (Stopwatch::start(), self.0.grants(ttl_seconds, count));
        Box::pin(async move {
            let granted = grants.await;
            let done = granted.as_ref().map_or(0, Vec::len);
            (0..count).for_each(|index| GRANT.count(began, index < done));
            granted
        })
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn grant_cost(&self) -> GrantCost {
        self.0.grant_cost()
    }

    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>> {
        let (began, renewals) = (Stopwatch::start(), self.0.keep_alive(leases));
        Box::pin(async move {
            let answers = renewals.await;
            let is_answered = !answers.iter().any(|answer| matches!(answer, KeepAlive::Unanswered(_)));
            KEEP_ALIVE.count(began, is_answered);
            answers
        })
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>> {
        counted(&REVOKE, self.0.revoke(lease))
    }

    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
        self.0.watch(prefix, from)
    }

    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        counted(&REVISION, self.0.revision())
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        counted(&BOOKMARK, self.0.bookmark())
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'static, Result<bool, StoreError>> {
        counted(&COMPACT, self.0.compact(revision))
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.0.close()
    }
}
