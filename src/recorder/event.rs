//! One event of the record, and what it keeps of services and instances.

use std::net::IpAddr;
use std::sync::Arc;

use super::delivery::Told;
use super::id_hash::hash_of;
use super::shown::Shown;
use crate::domain::event::{Revision, ServiceRecord};
use crate::domain::{InstanceId, ServiceId, Tenant};
use crate::trace::RequestId;

/// Something that happened, as this node saw it.
#[derive(Debug)]
pub struct Event {
    /// The number of the event: grows by one with each event, also after a restart if the record is on disk.
    pub seq: u64,
    /// When this node saw it: Unix time, milliseconds.
    pub time: i64,
    /// The revision of the store at which it happened. 0 if it is not about the store.
    pub revision: Revision,
    pub kind: EventKind,
    /// The service that the event is about, or the service of the instance.
    pub service: Option<Arc<ServiceFacts>>,
    /// The instance after the event. If it is gone: as it was shown last.
    pub instance: Option<InstanceFacts>,
    /// What the instance showed before. `None` if it was not shown, or if the event did not change it.
    pub before: Option<Shown>,
    /// The id of a schema, why the store is lost, or why there is a gap.
    pub detail: Option<Arc<str>>,
    pub cause: Cause,
    /// Who was told of the event by now. `None` if no consumer of this node watches, or if the hub has not said yet.
    pub told: Option<Told>,
}

/// The parts of an event before it has a number.
#[derive(Clone, Debug)]
pub struct EventParts {
    pub time: i64,
    pub revision: Revision,
    pub kind: EventKind,
    pub service: Option<Arc<ServiceFacts>>,
    pub instance: Option<InstanceFacts>,
    pub before: Option<Shown>,
    pub detail: Option<Arc<str>>,
    pub cause: Cause,
}

/// Declares the kinds of events with their names, and the table of all kinds.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name in answers and queries: `instance.registered`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    InstanceRegistered = "instance.registered",
    /// The owner registered it again, and nothing that the registry keeps of it changed.
    InstanceReregistered = "instance.reregistered",
    /// Another document: endpoints, host, status or properties.
    InstanceChanged = "instance.changed",
    /// Its owner or an operator deleted it. After a new listing of the store also any other instance that is gone: its cause is then
    /// [`Cause::Unknown`].
    InstanceUnregistered = "instance.unregistered",
    /// Its lease ended, and this node shows it no more.
    InstanceExpired = "instance.expired",
    /// Its lease ended, but a rule keeps it shown.
    InstanceHeld = "instance.held",
    /// No rule holds it any more before its time was over: it is back, or somebody has released it.
    InstanceReleased = "instance.released",
    /// A node wrote it again, because its lease ended although heartbeats came.
    InstanceRestored = "instance.restored",
    InstanceDeletedWithService = "instance.deletedWithService",
    ServiceRegistered = "service.registered",
    /// Its document or its tags.
    ServiceChanged = "service.changed",
    ServiceDeleted = "service.deleted",
    /// The retirement job of this node deleted it.
    ServiceRetired = "service.retired",
    SchemaChanged = "schema.changed",
    SchemaDeleted = "schema.deleted",
    /// This node listed the store again. The events that follow with [`Cause::Unknown`] are the differences.
    StoreRelisted = "store.relisted",
    StoreLost = "store.lost",
    StoreBack = "store.back",
    NodeJoined = "node.joined",
    NodeLeft = "node.left",
    /// Events are missing before this one. The detail says why.
    Gap = "record.gap",
}

impl EventKind {
    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The part of the name before the dot: `instance`, `service`, `schema`, `store`, `node` or `record`.
    pub fn group(self) -> &'static str {
        self.name().split('.').next().unwrap_or_default()
    }

    /// Whether the instance is not shown any more.
    pub fn ends_instance(self) -> bool {
        matches!(self, Self::InstanceUnregistered | Self::InstanceExpired | Self::InstanceDeletedWithService)
    }
}

/// Why something happened, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A request that this node answered.
    Request(Arc<Requester>),
    /// The lease ended.
    Lease {
        /// The store's id of the lease. 0 if the instance had none.
        lease: i64,
        /// Milliseconds since the last heartbeat that this node took. `None` if it took none.
        heartbeat_age: Option<u64>,
    },
    /// A write of another node.
    OtherNode,
    /// This node by itself: for its own entry, or by a job.
    Node,
    /// A rule holds the expiry of the instance until this time (Unix time, milliseconds) at most.
    Rule { rule: Arc<str>, until: i64 },
    /// Nobody knows: a listing showed it.
    Unknown,
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// `None` while accounts are off, and on routes that need none.
    pub account: Option<Arc<str>>,
    pub client: Option<IpAddr>,
    pub request_id: RequestId,
}

/// What the record keeps of a service. Events of one service share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    pub tenant: Tenant,
    pub id: ServiceId,
    /// This and the following texts are empty if the service has no document.
    pub environment: Box<str>,
    pub app_id: Box<str>,
    pub name: Box<str>,
    pub version: Box<str>,
    /// Whether its instances are the nodes of the registry.
    pub is_registry: bool,
    /// By which the ring finds its events.
    pub(super) id_hash: u32,
}

/// An instance as an event shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceFacts {
    pub id: InstanceId,
    pub shown: Shown,
}

impl ServiceFacts {
    pub fn of(tenant: Tenant, id: ServiceId, record: Option<&ServiceRecord>) -> Self {
        let document = record.map(|record| &record.document);
        let text = |of: fn(&crate::domain::Service) -> &str| document.map(of).unwrap_or_default().into();
        let is_registry = document.is_some_and(|document| document.is_registry(&tenant));
        Self {
            environment: text(|document| &document.environment),
            app_id: text(|document| &document.app_id),
            name: text(|document| &document.service_name),
            version: text(|document| &document.version),
            id_hash: hash_of(id.as_str()),
            tenant,
            id,
            is_registry,
        }
    }
}

impl Event {
    pub fn new(seq: u64, parts: EventParts) -> Self {
        let EventParts { time, revision, kind, service, instance, before, detail, cause } = parts;
        Self { seq, time, revision, kind, service, instance, before, detail, cause, told: None }
    }
}
