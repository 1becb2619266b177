//! A key of this process on a lease of its own: it says something about this process as long as the process lives.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::single::commit_alone;
use crate::store::{KeepAlive, Key, LeaseId, Op, Reason, Store, StoreError, Txn, TxnOutcome};

/// A key of this process. Only this process writes it.
pub(super) struct LeasedKey {
    store: Arc<dyn Store>,
    key: Key,
    ttl_seconds: i64,
    lease: Mutex<Option<LeaseId>>,
}

impl LeasedKey {
    /// Writes nothing yet. The key ends when it was not renewed for its TTL.
    pub(super) fn new(store: Arc<dyn Store>, key: Key, ttl_seconds: i64) -> Self {
        Self { store, key, ttl_seconds, lease: Mutex::default() }
    }

    /// Renews the lease, or takes a new one if it has ended, and writes the value. The same transaction does `reads`.
    pub(super) async fn write(&self, value: Bytes, reads: Vec<Op>) -> Result<TxnOutcome, StoreError> {
        let lease = self.living_lease().await?;
        let put = Op::Put { key: Key::clone(&self.key), value, lease: Some(lease) };
        let then = std::iter::once(put).chain(reads).collect();
        commit_alone(&self.store, Txn { then, ..Txn::default() }).await.inspect_err(|error| {
            if matches!(error, StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) {
                *self.lease.lock() = None;
            }
        })
    }

    async fn living_lease(&self) -> Result<LeaseId, StoreError> {
        let lease = *self.lease.lock();
        if let Some(lease) = lease
            && self.renew().await
        {
            return Ok(lease);
        }
        let lease = self.store.grant(self.ttl_seconds).await?.id;
        *self.lease.lock() = Some(lease);
        Ok(lease)
    }

    /// Renews the lease. `false` if there is none, or it has ended.
    pub(super) async fn renew(&self) -> bool {
        let lease = *self.lease.lock();
        match lease {
            Some(lease) => self.store.keep_alive(vec![lease]).await != [KeepAlive::NotFound],
            None => false,
        }
    }

    /// Revokes the lease, and with it the key.
    pub(super) async fn end(&self) -> Result<(), StoreError> {
        let lease = self.lease.lock().take();
        match lease {
            Some(lease) => self.store.revoke(lease).await.map(drop),
            None => Ok(()),
        }
    }
}
