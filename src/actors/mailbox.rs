//! Starts actors and sends messages to them. A mailbox is bounded and counted, and the end of an actor is noticed.
//!
//! A message takes a place in the mailbox and keeps it until the work for it ends, even if the sender has stopped waiting. So
//! the size of a mailbox also limits what an actor works on at once. The metric `mailbox_messages` reports the places taken.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt as _, wrap_future};
use actix::prelude::{
    Actor, ActorContext as _, Addr, ArbiterHandle, AsyncContext as _, Context, Handler, MailboxError,
    Message, SendError,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::lifeline::{Lifeline, Lifelines};
use crate::metrics::{Depth, InMailbox};
use crate::trace::{self, RequestContext, StepKind};

/// An actor that lives as long as the process.
pub trait Resident: Actor<Context = Context<Self>> {
    /// How many messages may wait or be worked on at once.
    const MAILBOX: usize;
    /// Counts them, under the name of the actor: a `static` beside the actor.
    const DEPTH: &'static Depth;
}

/// The address of an actor, with the places of its mailbox. Clones share the places.
pub struct Mailbox<A: Resident> {
    address: Addr<A>,
    places: Arc<Semaphore>,
}

/// A message with its place in the mailbox. A handler whose work goes on after it returns moves the place into that work.
pub struct Work<M> {
    pub message: M,
    pub place: MailboxPlace,
    /// The request that the sender works for.
    pub request: Option<RequestContext>,
}

/// A message's place in a mailbox.
pub struct MailboxPlace {
    _permit: OwnedSemaphorePermit,
    _counted: InMailbox,
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

impl<M: Message> Message for Work<M> {
    type Result = M::Result;
}

impl<A: Resident> Clone for Mailbox<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), places: Arc::clone(&self.places) }
    }
}

impl<A: Resident> Mailbox<A> {
    /// Starts an actor on the arbiter's thread. `make` runs on that thread.
    pub fn start(
        arbiter: &ArbiterHandle,
        lifelines: &Lifelines,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Self {
        let lifeline = lifelines.tie(A::DEPTH.actor);
        Self::around(A::start_in_arbiter(arbiter, move |ctx| {
            settle(ctx, lifeline);
            make()
        }))
    }

    /// Starts an actor on this thread.
    pub fn start_here(lifelines: &Lifelines, make: impl FnOnce() -> A) -> Self {
        let lifeline = lifelines.tie(A::DEPTH.actor);
        Self::around(A::create(move |ctx| {
            settle(ctx, lifeline);
            make()
        }))
    }

    fn around(address: Addr<A>) -> Self {
        A::DEPTH.register(A::MAILBOX);
        Self { address, places: Arc::new(Semaphore::new(A::MAILBOX)) }
    }

    /// The actor's address. Messages sent to it take no place in the mailbox: only for a test that breaks an actor.
    #[cfg(feature = "test-doubles")]
    pub fn address(&self) -> &Addr<A> {
        &self.address
    }

    fn place_if_free(&self) -> Result<MailboxPlace, Refused> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Ok(place::<A>(permit)),
            Err(TryAcquireError::NoPermits) => Err(Refused::Full),
            Err(TryAcquireError::Closed) => Err(Refused::Gone),
        }
    }

    async fn place(&self) -> Result<MailboxPlace, Refused> {
        Arc::clone(&self.places).acquire_owned().await.map(place::<A>).map_err(|_| Refused::Gone)
    }

    async fn send<M>(&self, message: M, place: MailboxPlace) -> Result<M::Result, Refused>
    where
        A: Handler<Work<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let request = trace::current();
        self.address.send(Work { message, place, request }).await.map_err(|error| match error {
            MailboxError::Closed => Refused::Gone,
            MailboxError::Timeout => Refused::Late,
        })
    }
}

fn place<A: Resident>(permit: OwnedSemaphorePermit) -> MailboxPlace {
    MailboxPlace { _permit: permit, _counted: A::DEPTH.enter() }
}

/// The actor's context holds the lifeline, so it is dropped when the actor ends, however it ends. The context gives it a turn as it does
/// for messages, so it answers only while messages would be handled.
fn settle<A: Resident>(ctx: &mut Context<A>, lifeline: Lifeline) {
    ctx.set_mailbox_capacity(A::MAILBOX);
    ctx.spawn(wrap_future(lifeline.hold()));
}

/// Runs an actor's own work beside its messages. The actor ends when the work does.
pub fn run_until_end<A: Resident>(ctx: &mut Context<A>, work: impl Future<Output = ()> + 'static) {
    ctx.spawn(wrap_future::<_, A>(work).map(|(), _, ctx: &mut Context<A>| ctx.stop()));
}

/// Sends and waits for the answer, both within a limit. A full mailbox makes the sender wait.
pub async fn ask<A, M>(actor: &Mailbox<A>, message: M, limit: Duration) -> Result<M::Result, Refused>
where
    A: Resident + Handler<Work<M>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let answered = async { actor.send(message, actor.place().await?).await };
    tokio::time::timeout(limit, answered).await.unwrap_or(Err(Refused::Late))
}

/// Like [`ask`], but a full mailbox rejects the message at once.
pub async fn ask_if_free<A, M>(actor: &Mailbox<A>, message: M, limit: Duration) -> Result<M::Result, Refused>
where
    A: Resident + Handler<Work<M>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let answered = actor.send(message, actor.place_if_free()?);
    tokio::time::timeout(limit, answered).await.unwrap_or(Err(Refused::Late))
}

/// Sends without waiting for the answer. A full mailbox rejects the message at once.
pub fn tell<A, M>(actor: &Mailbox<A>, message: M) -> Result<(), Refused>
where
    A: Resident + Handler<Work<M>>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    let work = Work { message, place: actor.place_if_free()?, request: trace::current() };
    actor.address.try_send(work).map_err(|error| match error {
        SendError::Full(_) => Refused::Full,
        SendError::Closed(_) => Refused::Gone,
    })
}

/// Does the work of a message as a step of the request that the sender works for.
pub async fn for_request<F: Future>(
    request: Option<RequestContext>,
    step: &'static str,
    work: Pin<&mut F>,
) -> F::Output {
    let step = trace::step_of(request.as_ref(), step, StepKind::Internal);
    let context = step.context().or(request);
    trace::within(context, work).await
}

/// Makes an actor's handler of each message run its operation, in the place of the message and for the request that sent it.
macro_rules! operations {
    ($actor:ident: $($message:ident => $operation:path => $reply:ty,)*) => {$(
        impl Handler<Work<$message>> for $actor {
            type Result = ResponseFuture<$reply>;

            fn handle(&mut self, work: Work<$message>, _: &mut Self::Context) -> Self::Result {
                let Work { message, place, request } = work;
                let core = Rc::clone(&self.core);
                // A future that is made outside and moved in would take its bytes twice, and they are copied into the box.
                Box::pin(async move {
                    let _place = place;
                    let operation = std::pin::pin!($operation(core, message));
                    let step = concat!(stringify!($actor), " ", stringify!($message));
                    $crate::actors::mailbox::for_request(request, step, operation).await
                })
            }
        }
    )*};
}
pub(super) use operations;

#[cfg(test)]
mod tests;
