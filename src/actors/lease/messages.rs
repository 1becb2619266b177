//! The messages of the LeaseActor.

use actix::Message;

/// Renews the leases that are queued now, before the daemon stops. Answered when the store has answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FlushBeats;
