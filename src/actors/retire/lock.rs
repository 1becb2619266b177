//! The lock of a job: a key that a node puts if it is absent, on a lease of its own, and deletes afterwards. All nodes on one
//! etcd use the same key, and so do nodes of the original server. The lock only saves double work. What a job may delete does
//! not depend on it.

use std::sync::Arc;

use bytes::Bytes;

use crate::actors::single::commit_alone;
use crate::store::{Compare, KeepAlive, Key, LeaseId, Op, Store, StoreError, Txn};

/// The TTL of the lock in seconds. The lock of a node that died ends after that.
const TTL: i64 = 60;

/// A lock that this process holds.
pub(super) struct JobLock {
    store: Arc<dyn Store>,
    key: Key,
    value: Bytes,
    lease: LeaseId,
}

/// Takes a lock. `None` if another run holds it. `owner` names this run and must differ from try to try.
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
            // The lock may have been written. Then it ends with its lease.
            held.end_lease().await;
            Err(error)
        }
    }
}

impl JobLock {
    /// Renews the lock for a full TTL. `false` if it is lost or may be lost.
    pub(super) async fn renew(&self) -> bool {
        let answers = self.store.keep_alive(vec![self.lease]).await;
        matches!(answers.as_slice(), [KeepAlive::Renewed(_)])
    }

    /// Releases the lock, unless another node holds it by now.
    pub(super) async fn release(self) {
        let (key, value) = (Key::clone(&self.key), self.value.clone());
        let compares = vec![Compare::ValueIs { key: Key::clone(&key), value }];
        let txn = Txn { compares, then: vec![Op::Delete(key)], otherwise: Vec::new() };
        if let Err(error) = self.commit(txn).await {
            log::debug!("lock \"{}\" was not released and ends with its lease: {error}", self.key);
        }
        self.end_lease().await;
    }

    async fn commit(&self, txn: Txn) -> Result<bool, StoreError> {
        commit_alone(&self.store, txn).await.map(|outcome| outcome.succeeded)
    }

    async fn end_lease(&self) {
        if let Err(error) = self.store.revoke(self.lease).await {
            log::debug!("lease {} was not revoked and expires: {error}", self.lease);
        }
    }
}
