//! The messages of the ConsumerActor.

use std::net::IpAddr;

use actix::Message;
use tokio::sync::watch;

use crate::domain::event::{InstanceRef, Revision};
use crate::domain::{ServiceId, Tenant};
use crate::error::Error;

/// Names a drain on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DrainId(pub u64);

/// Begins to count which consumers learn of a change of an instance. Sent before the change is written.
#[derive(Debug, Message)]
#[rtype(result = "Result<StartedDrain, Error>")]
pub struct StartDrain(pub InstanceRef);

/// A drain that counts.
#[derive(Debug)]
pub struct StartedDrain {
    pub id: DrainId,
    /// The newest state. It has no revision before [`DrainWritten`] is taken in.
    pub receipt: watch::Receiver<DrainReceipt>,
}

/// The change of the instance is written at this revision.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DrainWritten {
    pub id: DrainId,
    pub revision: Revision,
}

/// Nobody waits for the drain any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct EndDrain(pub DrainId);

/// This node stops: the others do not wait for it any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveOthers;

/// Which consumers have learned of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainReceipt {
    /// 0: the change is not written yet.
    pub revision: Revision,
    /// How many processes of consumers use the service.
    pub of: usize,
    /// How many of them have been sent the change, or have asked since.
    pub seen: usize,
    /// Some of the others, at most [`MOST_MISSING`].
    pub missing: Vec<MissingConsumer>,
    /// The addresses of the nodes that take part, and of those that have stopped lately.
    pub nodes: Vec<String>,
    /// The nodes that have not said how many of their consumers have learned of the change.
    pub silent: Vec<String>,
}

/// How many consumers a receipt names.
pub const MOST_MISSING: usize = 200;

impl DrainReceipt {
    /// Whether every node has said that all of its consumers have learned of the change.
    pub fn is_complete(&self) -> bool {
        self.revision > 0 && self.seen == self.of && self.silent.is_empty()
    }
}

/// A process of a consumer that has not learned of a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingConsumer {
    pub tenant: Tenant,
    pub consumer: ServiceId,
    pub client: Option<IpAddr>,
    /// The node that it is connected to, or that it asked last.
    pub node: String,
    /// When it was last sent something, or asked: Unix time, milliseconds.
    pub last: Option<i64>,
}
