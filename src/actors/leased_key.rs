//! A lease of this process, and a key on a lease of its own: it says something about this process as long as the process lives.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::single::commit_alone;
use crate::store::{KeepAlive, Key, LeaseId, Op, Reason, Store, StoreError, Txn, TxnOutcome};

/// A lease of this process. It ends when it was not renewed for its TTL.
pub(super) struct OwnLease {
    store: Arc<dyn Store>,
    ttl_seconds: i64,
    lease: Mutex<Option<LeaseId>>,
}

impl OwnLease {
    pub(super) fn new(store: Arc<dyn Store>, ttl_seconds: i64) -> Self {
        Self { store, ttl_seconds, lease: Mutex::default() }
    }

    /// `None` if there is none, or it is known to have ended.
    pub(super) fn current(&self) -> Option<LeaseId> {
        *self.lease.lock()
    }

    /// A new lease, which is the current one only when it is kept.
    pub(super) async fn grant(&self) -> Result<LeaseId, StoreError> {
        Ok(self.store.grant(self.ttl_seconds).await?.id)
    }

    pub(super) fn keep(&self, lease: LeaseId) {
        *self.lease.lock() = Some(lease);
    }

    pub(super) fn take(&self) -> Option<LeaseId> {
        self.lease.lock().take()
    }

    /// Notes that a lease has ended. Another one may have taken its place meanwhile.
    fn has_ended(&self, lease: LeaseId) {
        let mut current = self.lease.lock();
        if *current == Some(lease) {
            *current = None;
        }
    }

    /// Renews the lease. `false` if there is none, or it has ended.
    pub(super) async fn renew(&self) -> bool {
        let Some(lease) = self.current() else { return false };
        let lives = self.store.keep_alive(vec![lease]).await != [KeepAlive::NotFound];
        if !lives {
            self.has_ended(lease);
        }
        lives
    }

    /// Commits a transaction that puts keys on the lease.
    pub(super) async fn commit(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let lease = self.current();
        commit_alone(&self.store, txn).await.inspect_err(|error| {
            if matches!(error, StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) {
                lease.inspect(|lease| self.has_ended(*lease));
            }
        })
    }
}

/// A key of this process. Only this process writes it.
pub(super) struct LeasedKey {
    lease: OwnLease,
    key: Key,
}

impl LeasedKey {
    /// Writes nothing yet. The key ends when it was not renewed for its TTL.
    pub(super) fn new(store: Arc<dyn Store>, key: Key, ttl_seconds: i64) -> Self {
        Self { lease: OwnLease::new(store, ttl_seconds), key }
    }

    /// Renews the lease, or takes a new one if it has ended, and writes the value. The same transaction does `reads`.
    pub(super) async fn write(&self, value: Bytes, reads: Vec<Op>) -> Result<TxnOutcome, StoreError> {
        self.lease.renew().await;
        let lease = match self.lease.current() {
            Some(lease) => lease,
            None => self.lease.grant().await?,
        };
        self.lease.keep(lease);
        let put = Op::Put { key: Key::clone(&self.key), value, lease: Some(lease) };
        let then = std::iter::once(put).chain(reads).collect();
        self.lease.commit(Txn { then, ..Txn::default() }).await
    }

    /// Renews the lease. `false` if there is none, or it has ended.
    pub(super) async fn renew(&self) -> bool {
        self.lease.renew().await
    }

    /// Revokes the lease, and with it the key.
    pub(super) async fn end(&self) -> Result<(), StoreError> {
        match self.lease.take() {
            Some(lease) => self.lease.store.revoke(lease).await.map(drop),
            None => Ok(()),
        }
    }
}
