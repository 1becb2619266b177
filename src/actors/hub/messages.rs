//! What the HubActor takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Message;

use super::outbox::Outbox;
use crate::cache::{InstanceChange, Snapshot};
use crate::domain::{ServiceId, Tenant};

/// A new snapshot is published; sent after it can be read.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SnapshotPublished {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// What changed since the last one, in order.
    pub changes: Arc<[InstanceChange]>,
}

/// Names a subscription. The subscriber chooses it, so that it need not wait for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId(u64);

impl SubscriptionId {
    /// One that no other subscription of this process has.
    pub fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// A consumer watches the providers it depends on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe {
    /// Its name.
    pub id: SubscriptionId,
    /// Tenant of the consumer.
    pub tenant: Tenant,
    /// The consumer.
    pub consumer: ServiceId,
    /// Where its events go.
    pub outbox: Outbox,
}

/// A watcher is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unsubscribe {
    /// Tenant of the consumer.
    pub tenant: Tenant,
    /// The consumer.
    pub consumer: ServiceId,
    /// The subscription.
    pub subscription: SubscriptionId,
}

/// Counts the watchers.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct CountWatchers;
