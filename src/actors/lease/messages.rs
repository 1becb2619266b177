//! What the LeaseActor takes.

use actix::Message;

/// Sends what is queued now and answers when the store has: before a stop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FlushBeats;
