//! A store for tests that does what another one does, until it is told to fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::port::{
    GrantCost, KeepAlive, Lease, LeaseId, Page, Reason, Revision, Store, StoreError, Txn, TxnOutcome,
    WatchBatch, WatchError,
};

/// The store.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    /// Whether nobody learns the revision.
    pub hides_revision: AtomicBool,
    /// Batches whose answer is lost, and that are done before.
    pub loses_answers: AtomicUsize,
}

impl FaultyStore {
    /// A store that does not fail yet.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, hides_revision: AtomicBool::new(false), loses_answers: AtomicUsize::new(0) }
    }

    fn unless_hidden(
        &self,
        revision: BoxFuture<'static, Result<Revision, StoreError>>,
    ) -> BoxFuture<'static, Result<Revision, StoreError>> {
        if self.hides_revision.load(Ordering::SeqCst) {
            let error = StoreError::Aborted { reason: Reason::Unavailable, message: "hidden".to_owned() };
            return std::future::ready(Err(error)).boxed();
        }
        revision
    }
}

impl Store for FaultyStore {
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<Page, StoreError>> {
        self.inner.list(prefix)
    }

    fn batch(&self, txns: Vec<Txn>) -> BoxFuture<'static, Vec<Result<TxnOutcome, StoreError>>> {
        let lose = |left: usize| left.checked_sub(1);
        let loses = self.loses_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok();
        let done = self.inner.batch(txns);
        async move {
            let outcomes = done.await;
            if !loses {
                return outcomes;
            }
            let lost = StoreError::Unknown { message: "the answer was lost".to_owned() };
            outcomes.into_iter().map(|_| Err(lost.clone())).collect()
        }
        .boxed()
    }

    fn grant(&self, ttl_seconds: i64) -> BoxFuture<'static, Result<Lease, StoreError>> {
        self.inner.grant(ttl_seconds)
    }

    fn grant_cost(&self) -> GrantCost {
        self.inner.grant_cost()
    }

    fn keep_alive(&self, leases: Vec<LeaseId>) -> BoxFuture<'static, Vec<KeepAlive>> {
        self.inner.keep_alive(leases)
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'static, Result<bool, StoreError>> {
        self.inner.revoke(lease)
    }

    fn watch(&self, prefix: &str, from: Revision) -> BoxStream<'static, Result<WatchBatch, WatchError>> {
        self.inner.watch(prefix, from)
    }

    fn revision(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        self.unless_hidden(self.inner.revision())
    }

    fn bookmark(&self) -> BoxFuture<'static, Result<Revision, StoreError>> {
        self.unless_hidden(self.inner.bookmark())
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}
