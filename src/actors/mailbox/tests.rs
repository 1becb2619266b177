//! A mailbox counts and limits the messages that an actor has not finished, even if nobody waits for them. An actor gives signs of life
//! while it would handle messages.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, Message, ResponseFuture};
use tokio::sync::Notify;

use super::{Mailbox, Refused, Resident, Work, ask, ask_if_free, tell};
use crate::actors::lifeline::Lifelines;
use crate::actors::tests::{PATIENCE, eventually};
use crate::metrics::Depth;

/// Works on a message until it is told to finish.
struct SlowActor {
    finish: Rc<Notify>,
}

static DEPTH: Depth = Depth::new("SlowActor");

impl Actor for SlowActor {
    type Context = Context<Self>;
}

impl Resident for SlowActor {
    const MAILBOX: usize = 3;
    const DEPTH: &'static Depth = &DEPTH;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Wait;

impl Handler<Work<Wait>> for SlowActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, work: Work<Wait>, _: &mut Self::Context) -> Self::Result {
        let finish = Rc::clone(&self.finish);
        Box::pin(async move {
            let _place = work.place;
            finish.notified().await;
        })
    }
}

#[actix::test]
async fn a_message_counts_until_its_work_ends() {
    let lifelines = Lifelines::default();
    lifelines.release();
    let finish = Rc::new(Notify::new());
    let slow = Mailbox::start_here(&lifelines, || SlowActor { finish: Rc::clone(&finish) });
    assert_eq!(tell(&slow, Wait), Ok(()), "the sender of this one waits for nothing");
    // The sender gives up at once, and the work goes on.
    assert_eq!(ask(&slow, Wait, Duration::ZERO).await, Err(Refused::Late));
    assert_eq!(DEPTH.messages(), 2, "so does what nobody waits for any more");
    let second = ask_if_free(&slow, Wait, PATIENCE);
    tokio::pin!(second);
    tokio::select! {
        biased;
        answer = &mut second => panic!("{answer:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(DEPTH.messages(), 3);
    assert_eq!(tell(&slow, Wait), Err(Refused::Full));
    assert_eq!(ask_if_free(&slow, Wait, PATIENCE).await, Err(Refused::Full));
    assert_eq!(
        ask(&slow, Wait, Duration::from_millis(1)).await,
        Err(Refused::Late),
        "a full mailbox makes it wait"
    );
    finish.notify_waiters();
    assert_eq!(second.await, Ok(()));
    eventually("every place is free", || DEPTH.messages() == 0).await;
}

/// Its messages are not those that the other test counts.
struct StuckActor;

static DEPTH_OF_STUCK: Depth = Depth::new("StuckActor");

impl Actor for StuckActor {
    type Context = Context<Self>;
}

impl Resident for StuckActor {
    const MAILBOX: usize = 3;
    const DEPTH: &'static Depth = &DEPTH_OF_STUCK;
}

impl Handler<Work<Wait>> for StuckActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, work: Work<Wait>, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            let _place = work.place;
            std::future::pending().await
        })
    }
}

/// Says that it has begun, and keeps its thread until the sender of this drops the other end.
#[derive(Message)]
#[rtype(result = "()")]
struct Stick(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Handler<Work<Stick>> for StuckActor {
    type Result = ();

    fn handle(&mut self, work: Work<Stick>, _: &mut Self::Context) {
        let Stick(begun, end) = work.message;
        begun.send(()).unwrap();
        assert!(end.recv().is_err());
    }
}

#[actix::test]
async fn an_actor_that_is_stuck_gives_no_sign_of_life() {
    let lifelines = Lifelines::default();
    lifelines.release();
    let arbiter = actix::Arbiter::new();
    let stuck = Mailbox::start(&arbiter.handle(), &lifelines, || StuckActor);
    let signs = lifelines.signs_of_life();
    signs.begin();
    eventually("it answers", || signs.silent().is_empty()).await;
    // An actor that waits for the store is not stuck.
    assert_eq!(ask(&stuck, Wait, Duration::ZERO).await, Err(Refused::Late));
    signs.begin();
    eventually("it answers", || signs.silent().is_empty()).await;
    let ((begun, has_begun), (end, until)) = (mpsc::channel(), mpsc::channel());
    assert_eq!(tell(&stuck, Stick(begun, until)), Ok(()));
    has_begun.recv().unwrap();
    signs.begin();
    assert_eq!(signs.silent(), ["StuckActor"]);
    drop(end);
    eventually("it answers again", || signs.silent().is_empty()).await;
}
