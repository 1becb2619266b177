//! Knows which processes use an entry of the registry's own service. Nodes may advertise one address, for example that of a
//! load balancer. Then they share one entry, which must exist as long as one of them runs.
//!
//! Each process puts a key of its own on a lease of its own. A process that leaves ends that lease first. Then it deletes the
//! entry only if no other key is left. If several leave at once, the last one that looks finds no key. The key of a process
//! that died ends with its lease.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::actors::leased_key::LeasedKey;
use crate::actors::single::commit_alone;
use crate::domain::service::derived_id;
use crate::domain::{InstanceId, ServiceId};
use crate::store::{Key, Op, Store, StoreError, Txn, keys};

/// How many keys of former processes a start removes at most. A process that restarts again and again leaves one each time.
const MAX_PREDECESSORS: usize = 100;

/// What nodes share: an address, and the service they are instances of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The advertised `host:port`.
    pub address: String,
    /// The service of their version.
    pub service: ServiceId,
}

impl Stand {
    /// The prefix of the keys of all processes that share it.
    pub fn prefix(&self) -> Key {
        keys::presence(&self.address, self.service.as_str(), "")
    }

    /// The id of a new entry, as long as other instance ids. Nodes that start at once derive the same id.
    pub fn instance(&self) -> InstanceId {
        let mut id = derived_id(&self.prefix());
        id.truncate(32);
        id.into()
    }
}

/// The key of this process.
#[derive(Clone)]
pub struct Presence {
    pub stand: Stand,
    key: Arc<LeasedKey>,
}

impl Presence {
    /// Puts the key. Its value is `place`, which says where the process runs.
    pub async fn put(
        store: &Arc<dyn Store>,
        stand: Stand,
        place: &str,
        ttl_seconds: i64,
    ) -> Result<Self, StoreError> {
        let id = Uuid::new_v4().simple().to_string();
        let key = keys::presence(&stand.address, stand.service.as_str(), &id);
        let key = Arc::new(LeasedKey::new(Arc::clone(store), key, ttl_seconds));
        let presence = Self { stand, key };
        match presence.key.write(Bytes::copy_from_slice(place.as_bytes()), Vec::new()).await {
            Ok(_) => Ok(presence),
            Err(error) => {
                // The key may have been written. If its lease cannot be revoked either, it expires.
                let _ = presence.end().await;
                Err(error)
            }
        }
    }

    /// Renews the lease. `false` if the lease is gone.
    pub async fn renew(&self) -> bool {
        self.key.renew().await
    }

    /// Revokes the lease, and with it the key.
    pub async fn end(&self) -> Result<(), StoreError> {
        self.key.end().await
    }
}

/// Removes the keys of former processes in the same place, whatever their version. They have died, because this process could
/// not have started beside them. If two places have the same name after all, the other process finds its key gone with its next
/// heartbeat, and puts a new one.
pub async fn end_predecessors(store: &Arc<dyn Store>, address: &str, place: &str) -> Result<(), StoreError> {
    let then = vec![Op::GetPrefix(keys::presences_at(address))];
    let entries = commit_alone(store, Txn { then, ..Txn::default() }).await?.reads.into_iter().flatten();
    let left = entries.filter(|entry| entry.value == place.as_bytes()).filter_map(|entry| entry.lease);
    for lease in left.take(MAX_PREDECESSORS) {
        store.revoke(lease).await?;
    }
    Ok(())
}
