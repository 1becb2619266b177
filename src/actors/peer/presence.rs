//! Which processes stand behind an entry of the registry's own service. Nodes may share one advertised address (that of a
//! load balancer), and then they share one entry: it must outlive each of them but the last.
//!
//! Each process puts a key of its own, on a lease of its own. Who leaves ends that lease first, and deletes the entry only if
//! no other key is left: of several that leave at once the last to look finds none. The key of a process that died goes with
//! its lease.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::domain::service::derived_id;
use crate::domain::{InstanceId, ServiceId};
use crate::store::{KeepAlive, Key, LeaseId, Op, Store, StoreError, Txn, TxnOutcome, keys};

/// Predecessors that are ended at most: a process that starts over and over leaves one a start.
const MAX_PREDECESSORS: usize = 100;

/// What nodes stand behind together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// `host:port` under which they are reached.
    pub address: String,
    /// The service they are instances of: that of their version.
    pub service: ServiceId,
}

impl Stand {
    /// What the keys of all of them begin with.
    pub fn prefix(&self) -> Key {
        keys::presence(&self.address, self.service.as_str(), "")
    }

    /// The id of a new entry, as long as those of other instances: nodes that start at once make the same one.
    pub fn instance(&self) -> InstanceId {
        let mut id = derived_id(&self.prefix());
        id.truncate(32);
        id.into()
    }
}

/// The key of this process.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Where.
    pub stand: Stand,
    lease: LeaseId,
}

impl Presence {
    /// Puts the key; its value says where the process runs.
    pub async fn put(
        store: &Arc<dyn Store>,
        stand: Stand,
        place: &str,
        ttl_seconds: i64,
    ) -> Result<Self, StoreError> {
        let lease = store.grant(ttl_seconds).await?.id;
        let id = Uuid::new_v4().simple().to_string();
        let key = keys::presence(&stand.address, stand.service.as_str(), &id);
        let put = Op::Put { key, value: Bytes::copy_from_slice(place.as_bytes()), lease: Some(lease) };
        let presence = Self { stand, lease };
        match commit(store, vec![put]).await {
            Ok(_) => Ok(presence),
            Err(error) => {
                // Maybe written. If its lease cannot be ended either, it ends by itself.
                let _ = presence.end(store).await;
                Err(error)
            }
        }
    }

    /// Keeps it for another TTL; false if it is gone.
    pub async fn renew(&self, store: &Arc<dyn Store>) -> bool {
        store.keep_alive(vec![self.lease]).await != [KeepAlive::NotFound]
    }

    /// Ends it.
    pub async fn end(&self, store: &Arc<dyn Store>) -> Result<(), StoreError> {
        store.revoke(self.lease).await.map(drop)
    }
}

/// Ends what processes that ran in the same place have left, of whatever version: they died, or this one could not have
/// started. (Where two places are called alike after all, the other process finds its key gone with its next beat, and puts
/// another one.)
pub async fn end_predecessors(store: &Arc<dyn Store>, address: &str, place: &str) -> Result<(), StoreError> {
    let read = vec![Op::GetPrefix(keys::presences_at(address))];
    let entries = commit(store, read).await?.reads.into_iter().flatten();
    let left = entries.filter(|entry| entry.value == place.as_bytes()).filter_map(|entry| entry.lease);
    for lease in left.take(MAX_PREDECESSORS) {
        store.revoke(lease).await?;
    }
    Ok(())
}

async fn commit(store: &Arc<dyn Store>, then: Vec<Op>) -> Result<TxnOutcome, StoreError> {
    let nothing = || Err(StoreError::Unknown { message: "the store answered nothing".to_owned() });
    store.batch(vec![Txn { then, ..Txn::default() }]).await.pop().unwrap_or_else(nothing)
}
