//! What the HubActor takes.

use std::sync::Arc;

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

/// Names a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId(pub u64);

/// A consumer watches the providers it depends on.
#[derive(Debug, Message)]
#[rtype(result = "SubscriptionId")]
pub struct Subscribe {
    /// Tenant of the consumer.
    pub tenant: Tenant,
    /// The consumer.
    pub consumer: ServiceId,
    /// Where its events go.
    pub outbox: Arc<Outbox>,
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
