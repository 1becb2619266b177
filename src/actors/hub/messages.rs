//! The messages of the HubActor.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Message;

use super::outbox::{Outbox, OutboxSent};
use crate::cache::find::Wanted;
use crate::cache::{InstanceChange, ServiceView, Snapshot};
use crate::clock::Stopwatch;
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::{ServiceId, Tenant};
use crate::rbac::signed_in::Holder;

/// A new snapshot is published. Sent after readers can load the snapshot.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SnapshotPublished {
    pub snapshot: Arc<Snapshot>,
    /// When readers could load the changes.
    pub published: Stopwatch,
    /// The changes since the last message, in order.
    pub changes: Arc<[InstanceChange]>,
    /// These changes and those of the earlier messages are all changes up to this revision.
    pub up_to: Revision,
}

/// Tells watches of the instances of providers that their consumers look for. Sent if a provider appeared before this node knew that
/// the consumer looks for it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ShowWanted {
    pub snapshot: Arc<Snapshot>,
    pub wanted: Vec<Wanted>,
}

/// Names a subscription. The subscriber makes it, so the subscriber need not wait for the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId(u64);

impl SubscriptionId {
    /// An id that no other subscription of this process has.
    pub fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }

    /// A later subscription has a higher number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// A consumer watches the providers it depends on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe {
    pub id: SubscriptionId,
    pub tenant: Tenant,
    pub consumer: ServiceId,
    /// The hub puts the events here.
    pub outbox: Outbox,
    /// The account that may watch. The hub ends the session when it may not any more. `None` if nobody needs an account.
    pub holder: Option<Holder>,
    /// Where the client is.
    pub client: Option<SocketAddr>,
}

/// A session has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unsubscribe {
    pub tenant: Tenant,
    pub consumer: ServiceId,
    pub subscription: SubscriptionId,
}

/// Lists the sessions of some consumers, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "WatcherPage")]
pub struct ListWatchers {
    pub consumers: Vec<(Tenant, ServiceId)>,
    /// Only sessions after the one with this number.
    pub after: Option<u64>,
    /// Most sessions of the answer.
    pub most: usize,
}

#[derive(Clone, Debug, Default)]
pub struct WatcherPage {
    /// The number of all sessions of these consumers.
    pub total: usize,
    pub watchers: Vec<WatcherState>,
}

/// A session, and what it was sent.
#[derive(Clone, Debug)]
pub struct WatcherState {
    pub id: SubscriptionId,
    pub consumer: (Tenant, ServiceId),
    pub client: Option<SocketAddr>,
    pub since: Stopwatch,
    pub sent: OutboxSent,
    /// How many instances have an event that waits.
    pub pending: usize,
}

/// Answers how far the sessions are that are told of the changes of an instance.
#[derive(Debug, Message)]
#[rtype(result = "PushProgress")]
pub struct ListProgress {
    pub snapshot: Arc<Snapshot>,
    /// The service of the instance.
    pub provider: Arc<ServiceView>,
    pub at: InstanceRef,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushProgress {
    /// All changes up to this revision are in the outboxes.
    pub pushed: Revision,
    pub watches: Vec<WatchProgress>,
}

/// How far a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchProgress {
    pub id: SubscriptionId,
    pub tenant: Tenant,
    pub consumer: ServiceId,
    pub client: Option<IpAddr>,
    /// Whether a change of the instance waits for the session.
    pub owes: bool,
    /// When the session last wrote a change, or began: Unix time, milliseconds.
    pub last: Option<i64>,
}

/// Answers how many sessions there are.
#[derive(Debug, Message)]
#[rtype(result = "WatcherCounts")]
pub struct CountWatchers;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatcherCounts {
    /// By the domain of the consumer, or the name for all domains that metrics do not tell apart.
    pub by_domain: BTreeMap<String, usize>,
    /// The events that the sessions have not taken yet.
    pub pending: usize,
}
