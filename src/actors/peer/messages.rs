//! The messages of the PeerActor.

use actix::Message;

use crate::error::Error;

/// Registers this node. Answered after the first try. If that fails, the actor tries again with each heartbeat of the node.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct JoinCluster;

/// Unregisters this node before the daemon stops.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveCluster;
