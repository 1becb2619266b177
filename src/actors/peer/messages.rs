//! What the PeerActor takes.

use actix::Message;

use crate::error::Error;

/// Registers this node; answered after the first try. One that the store refused is followed by others, each beat.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct JoinCluster;

/// Unregisters this node, before a stop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveCluster;
