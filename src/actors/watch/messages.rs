//! The messages of the WatchActor.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;

use super::guard::HoldRule;
use crate::cache::ServiceView;
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::{ServiceId, Tenant};
use crate::error::Error;
use crate::rbac::Grant;
use crate::store::Key;

/// Lists the expired instances that are still shown, in the order of their names.
#[derive(Debug, Message)]
#[rtype(result = "HeldInstances")]
pub struct ListHeld {
    /// Only instances of this service.
    pub service: Option<(Tenant, ServiceId)>,
    /// What the caller may see.
    pub grant: Grant,
    /// Only instances after this one.
    pub after: Option<InstanceRef>,
    /// At most so many instances.
    pub limit: usize,
}

/// A part of the expired instances that are still shown.
#[derive(Clone, Debug)]
pub struct HeldInstances {
    /// The revision of the snapshot that shows them.
    pub revision: Revision,
    /// How many there are, whatever `after` and `limit`.
    pub total: usize,
    pub instances: Vec<HeldInstance>,
}

/// An expired instance that is still shown.
#[derive(Clone, Debug)]
pub struct HeldInstance {
    pub at: InstanceRef,
    /// `None` if the service has no document.
    pub service: Option<Arc<ServiceView>>,
    pub rule: HoldRule,
    /// The time since it expired.
    pub held_for: Duration,
    /// The time until it is removed at the latest.
    pub released_in: Duration,
}

/// Asks for the digest that the snapshot had at a revision. `None` if this node has not reached the revision yet, or does not know the
/// digest any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<u64>")]
pub struct DigestAt(pub Revision);

/// Reads keys from the store whose entries the snapshot shows differently, and shows what the store holds. Answers how many it took
/// over. A key that changed in the meantime is not one of them.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<usize, Error>")]
pub struct RepairKeys(pub Vec<Key>);

/// Lists the whole store again, because the watch does not bring what the store holds. While expired instances are held, a listing would
/// drop them all at once. Then the WatchActor only watches again. A watch that has just begun goes on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ListAgain;
