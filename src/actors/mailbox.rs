//! The two ways to send to an actor. Both are bounded, and neither hides a receiver that is gone.

use std::time::Duration;

use actix::dev::ToEnvelope;
use actix::prelude::{Actor, Addr, Handler, MailboxError, Message, SendError};

use crate::metrics::Depth;

/// An actor whose unfinished messages are counted.
pub trait Measured {
    /// The count.
    const DEPTH: &'static Depth;
}

/// Why a message was not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The mailbox stayed full, or the answer did not come within the limit.
    #[error("the actor did not answer in time")]
    Late,
    /// The mailbox is full.
    #[error("the actor's mailbox is full")]
    Full,
    /// The actor is gone: the process is ending.
    #[error("the actor is gone")]
    Gone,
}

/// Sends and waits for the answer, both within a limit. A full mailbox makes the sender wait.
pub async fn ask<A, M>(actor: &Addr<A>, message: M, limit: Duration) -> Result<M::Result, Refused>
where
    A: Actor + Handler<M> + Measured,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let _counted = A::DEPTH.enter();
    match tokio::time::timeout(limit, actor.send(message)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(MailboxError::Closed)) => Err(Refused::Gone),
        Ok(Err(MailboxError::Timeout)) | Err(_) => Err(Refused::Late),
    }
}

/// Sends without waiting. What to do when the mailbox is full is the sender's decision.
pub fn tell<A, M>(actor: &Addr<A>, message: M) -> Result<(), Refused>
where
    A: Actor + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    actor.try_send(message).map_err(|error| match error {
        SendError::Full(_) => Refused::Full,
        SendError::Closed(_) => Refused::Gone,
    })
}
