//! What the actors tell the recorder. Notes hold documents as the read model shares them: whoever tells something parses nothing.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::delivery::Delivery;
use super::event::{Cause, EventKind};
use crate::domain::event::{InstanceRef, Revision, ServiceRecord};
use crate::domain::{ServiceId, Tenant};

/// One message to the recorder.
#[derive(Debug)]
pub enum Note {
    /// The watch of the store brought changes. Sent before the snapshot with them is published.
    Seen(Step),
    /// A write of this node has ended.
    Wrote(Write),
    /// A change is on its way to watches.
    Pushed(Arc<Delivery>),
    /// Something happened that is no change of the store.
    Happened(Happening),
}

/// What one step of the watch changes.
#[derive(Debug)]
pub struct Step {
    /// Unix time, milliseconds.
    pub time: i64,
    /// All changes up to this revision have been told with this step.
    pub revision: Revision,
    pub changes: Vec<Change>,
    /// How many writes this node had begun: [`Recorder::begun`](super::Recorder::begun). Only these can be the cause of a change.
    pub begun: u64,
}

/// One change, in the order in which it happened.
#[derive(Debug)]
pub enum Change {
    Instance(SeenInstance),
    Service(SeenService),
    /// The store was listed from the beginning. `former` is the revision of the snapshot before, 0 for the first listing.
    Listed {
        former: Revision,
    },
}

/// A change of an instance.
#[derive(Debug)]
pub struct SeenInstance {
    pub at: InstanceRef,
    pub revision: Revision,
    pub turn: InstanceTurn,
    /// The key of the store whose change this is. A write of this node is found by it.
    pub key: Option<Arc<str>>,
    /// The document. If the instance is gone: its last one.
    pub json: Bytes,
    /// The document that was shown before.
    pub before: Option<Bytes>,
    pub service: Option<Arc<ServiceRecord>>,
}

/// What became of an instance.
#[derive(Debug, PartialEq, Eq)]
pub enum InstanceTurn {
    /// It was registered, or written again after its lease had ended.
    Created,
    Updated,
    SaidGoodbye,
    DeletedWithService,
    /// The values of [`Cause::Lease`].
    Expired {
        lease: i64,
        heartbeat_age: Option<u64>,
    },
    /// The values of [`Cause::Rule`].
    Held {
        rule: Arc<str>,
        until: i64,
    },
    /// No rule holds it any more: it is back, or somebody has released it.
    Released,
    /// A listing lacks it, or its document cannot be read any more.
    Missing,
    /// A listing shows it for the first time.
    Found,
    /// A listing shows another document.
    Differs,
}

/// A change of a service or of one of its schemas.
#[derive(Debug)]
pub struct SeenService {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub revision: Revision,
    pub kind: EventKind,
    pub key: Option<Arc<str>>,
    /// `None` if the service has no document.
    pub record: Option<Arc<ServiceRecord>>,
    pub schema: Option<Arc<str>>,
}

/// The end of a write that this node began.
#[derive(Debug)]
pub struct Write {
    /// [`Recorder::begin`](super::Recorder::begin).
    pub ticket: u64,
    /// What was written. Empty if nothing was.
    pub keys: SmallVec<[Arc<str>; 2]>,
    /// `None`: whether it was written, and when, is not known.
    pub revision: Option<Revision>,
    pub purpose: Purpose,
    pub cause: Cause,
}

/// Why this node writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    #[default]
    Other,
    /// To write an instance again whose lease ended although heartbeats came.
    Restore,
    /// A retirement job.
    Retire,
}

/// Something that is no change of the store.
#[derive(Debug)]
pub struct Happening {
    /// Unix time, milliseconds.
    pub time: i64,
    pub kind: EventKind,
    pub cause: Cause,
    pub detail: Option<Arc<str>>,
    /// The instance, for [`EventKind::InstanceReregistered`].
    pub instance: Option<SeenAgain>,
}

/// An instance that registered again without a change.
#[derive(Debug)]
pub struct SeenAgain {
    pub at: InstanceRef,
    pub json: Bytes,
    pub service: Option<Arc<ServiceRecord>>,
}
