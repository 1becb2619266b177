//! A job's lock: a key put if it is absent, on a lease of its own, deleted by whoever put it. All nodes on one etcd take
//! the same one, servers of the original included. It saves doubled work; what a job may delete never depends on it.

use std::sync::Arc;

use bytes::Bytes;

use crate::store::{Compare, KeepAlive, Key, LeaseId, Op, Store, StoreError, Txn};

/// Seconds until the lock of a node that died goes.
const TTL: i64 = 60;

/// A lock this process holds.
pub(super) struct JobLock {
    store: Arc<dyn Store>,
    key: Key,
    value: Bytes,
    lease: LeaseId,
}

/// Takes a lock; `None` if somebody holds it. `owner` says who, and differs from try to try.
pub(super) async fn try_take(
    store: &Arc<dyn Store>,
    key: &'static str,
    owner: String,
) -> Result<Option<JobLock>, StoreError> {
    let (key, value) = (Key::from(key), Bytes::from(owner));
    let lease = store.grant(TTL).await?.id;
    let put = Op::Put { key: Key::clone(&key), value: value.clone(), lease: Some(lease) };
    let compares = vec![Compare::Absent(Key::clone(&key))];
    let held = JobLock { store: Arc::clone(store), key, value, lease };
    match held.commit(Txn { compares, then: vec![put], otherwise: Vec::new() }).await {
        Ok(true) => Ok(Some(held)),
        Ok(false) => {
            held.end_lease().await;
            Ok(None)
        }
        Err(error) => {
            // It may have been written: then it goes with its lease.
            held.end_lease().await;
            Err(error)
        }
    }
}

impl JobLock {
    /// Holds it for another full TTL; false if it is lost, or may be.
    pub(super) async fn renew(&self) -> bool {
        let answers = self.store.keep_alive(vec![self.lease]).await;
        matches!(answers.as_slice(), [KeepAlive::Renewed(_)])
    }

    /// Gives it back, unless it is another's by now.
    pub(super) async fn release(self) {
        let (key, value) = (Key::clone(&self.key), self.value.clone());
        let compares = vec![Compare::ValueIs { key: Key::clone(&key), value }];
        let txn = Txn { compares, then: vec![Op::Delete(key)], otherwise: Vec::new() };
        if let Err(error) = self.commit(txn).await {
            log::debug!("{} was not released and goes with its lease: {error}", self.key);
        }
        self.end_lease().await;
    }

    async fn commit(&self, txn: Txn) -> Result<bool, StoreError> {
        match self.store.batch(vec![txn]).await.pop() {
            Some(outcome) => outcome.map(|outcome| outcome.succeeded),
            None => Err(StoreError::Unknown { message: "the store answered nothing".to_owned() }),
        }
    }

    async fn end_lease(&self) {
        if let Err(error) = self.store.revoke(self.lease).await {
            log::debug!("lease {} was not revoked and ends by itself: {error}", self.lease);
        }
    }
}
