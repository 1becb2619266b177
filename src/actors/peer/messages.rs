//! What the PeerActor takes.

use actix::Message;

use crate::error::Error;

/// Registers this node; answered when it is, so that a start that cannot do it fails.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct JoinCluster;

/// Unregisters this node, before a stop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveCluster;
