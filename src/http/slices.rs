//! Builds large answers in slices, so that no worker works on one for long.
//!
//! An answer is a walk over one snapshot. The walk runs twice: first over a counter, which gives the size, and then over the memory
//! that was reserved for that size. Both times it stops after each slice of work, and the worker serves other requests. One answer is
//! built at a time in the process, and a limited number of others wait for their turn. So a worker never has more than one slice between two requests,
//! however many clients ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::answer_memory::AnswerMemory;
use super::reply::Reply;
use super::server::refusal;
use super::spec::Load;
use crate::domain::json;
use crate::error::{Code, Error};

/// The work of a slice. Writing a byte costs 1, and each step of a walk costs [`STEP`]. It takes well below a millisecond.
pub(super) const SLICE: usize = 256 * 1024;

/// The work of a step, such as looking at a service, besides the bytes that it writes.
pub(super) const STEP: usize = 512;

/// How long a large answer may take, with the time until its turn comes.
const LIMIT: Duration = Duration::from_secs(30);

/// How many requests wait for their turn. Each of them keeps a snapshot, which may be an old one by then.
const MOST_WAITING: usize = 64;

/// The right to build large answers, which one request has at a time. Clones share it.
#[derive(Clone, Debug)]
pub struct Turns(Arc<TurnQueue>);

#[derive(Debug)]
struct TurnQueue {
    turn: Semaphore,
    waiting: AtomicUsize,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(TurnQueue { turn: Semaphore::new(1), waiting: AtomicUsize::new(0) }))
    }
}

impl Turns {
    /// Waits for the turn of this request. The turn ends when the result is dropped. 503 if too many requests wait.
    pub async fn take(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(turn) = self.0.turn.try_acquire() {
            return Ok(turn);
        }
        let place = WaitingForTurn::enter(&self.0.waiting);
        if place.before >= MOST_WAITING {
            return Err(refusal(Load::View));
        }
        // It is never closed.
        self.0.turn.acquire().await.map_err(|_| refusal(Load::View))
    }
}

/// Counts a request that waits, until it is dropped.
struct WaitingForTurn<'q> {
    waiting: &'q AtomicUsize,
    /// How many waited already.
    before: usize,
}

impl<'q> WaitingForTurn<'q> {
    fn enter(waiting: &'q AtomicUsize) -> Self {
        Self { waiting, before: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for WaitingForTurn<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ends each slice of a walk. The walk calls [`Pace::step`] before each of its steps.
#[derive(Debug, Default)]
pub struct Pace {
    work: usize,
}

impl Pace {
    /// One step that writes about `bytes` bytes. Lets the worker serve other requests if the slice is over.
    pub async fn step(&mut self, bytes: usize) {
        if self.work >= SLICE {
            self.work = 0;
            tokio::task::yield_now().await;
        }
        self.work = self.work.saturating_add(STEP).saturating_add(bytes);
    }
}

/// Takes the bytes of an answer.
pub trait Out {
    fn bytes(&mut self, bytes: &[u8]);

    /// A value as JSON.
    fn value(&mut self, value: &impl Serialize);
}

/// Counts the bytes.
#[derive(Debug, Default)]
struct Size(usize);

impl Out for Size {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }

    fn value(&mut self, value: &impl Serialize) {
        self.0 = self.0.saturating_add(json::encoded_size(value));
    }
}

impl Out for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn value(&mut self, value: &impl Serialize) {
        json::encode_into(value, self);
    }
}

/// Writes the names of an object's members, and the commas between them.
#[derive(Debug, Default)]
pub struct Members {
    any: bool,
}

impl Members {
    /// `"name":`. The value follows.
    pub fn name(&mut self, out: &mut impl Out, name: &str) {
        out.bytes(if self.any { b",\"" } else { b"\"" });
        self.any = true;
        out.bytes(name.as_bytes());
        out.bytes(b"\":");
    }
}

/// A list that is a member of an object. Without elements the member is left out.
#[derive(Debug)]
pub struct ListMember {
    name: &'static str,
    any: bool,
}

impl ListMember {
    pub fn new(name: &'static str) -> Self {
        Self { name, any: false }
    }

    /// Begins an element. Its value follows.
    pub fn element(&mut self, out: &mut impl Out, members: &mut Members) {
        if self.any {
            out.bytes(b",");
        } else {
            members.name(out, self.name);
            out.bytes(b"[");
            self.any = true;
        }
    }

    pub fn end(self, out: &mut impl Out) {
        if self.any {
            out.bytes(b"]");
        }
    }
}

/// A walk that writes an answer. It writes the same bytes each time.
pub trait Walk {
    fn write(&self, out: &mut impl Out, pace: &mut Pace) -> impl Future<Output = ()>;
}

/// 200 with the JSON document that a walk writes.
pub async fn built(answers: &Arc<AnswerMemory>, turns: &Turns, walk: &impl Walk) -> Result<Reply, Error> {
    let _turn = turns.take().await?;
    let mut pace = Pace::default();
    let mut size = Size::default();
    walk.write(&mut size, &mut pace).await;
    let space = answers.space(Load::View, size.0)?;
    let mut body = Vec::with_capacity(size.0);
    walk.write(&mut body, &mut pace).await;
    Ok(Reply::json(body).holding(space))
}

/// Runs the handler of a large answer, or a part of it, up to its limit of time. Over it the answer is 503.
pub async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::new(Code::Overloaded, "the answer took too long; ask again, or ask for less");
    tokio::time::timeout(LIMIT, answer).await.map_err(late)?
}

#[cfg(test)]
pub(crate) mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a walk writes, and how many slices it takes.
    pub fn walked(walk: &impl Walk) -> (String, usize) {
        let (mut out, mut pace) = (Vec::new(), Pace::default());
        let slices = slices(walk.write(&mut out, &mut pace));
        let (mut size, mut pace) = (Size::default(), Pace::default());
        slices_of(walk.write(&mut size, &mut pace), slices);
        assert_eq!(size.0, out.len(), "the size is that of the answer");
        (String::from_utf8(out).unwrap_or_default(), slices)
    }

    /// Runs a future to its end, and counts how often it was polled.
    pub fn slices(future: impl Future<Output = ()>) -> usize {
        let mut future = pin!(future);
        let mut polls = 1;
        while future.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Pending {
            polls += 1;
        }
        polls
    }

    fn slices_of(future: impl Future<Output = ()>, expected: usize) {
        assert_eq!(slices(future), expected, "both walks have the same slices");
    }

    /// Steps that write this many bytes each.
    struct Steps(usize, usize);

    impl Walk for Steps {
        async fn write(&self, out: &mut impl Out, pace: &mut Pace) {
            for _ in 0..self.0 {
                pace.step(self.1).await;
                out.bytes(&vec![b'x'; self.1]);
            }
        }
    }

    #[test]
    fn a_slice_ends_after_many_steps_or_many_bytes() {
        for (steps, bytes, expected) in [
            (0, 0, 1),
            (SLICE / STEP, 0, 1),
            (SLICE / STEP + 1, 0, 2),
            (10 * SLICE / STEP + 1, 0, 11),
            (4, SLICE, 4),
            (100, SLICE - STEP, 100),
        ] {
            assert_eq!(walked(&Steps(steps, bytes)).1, expected, "{steps} steps of {bytes} bytes");
        }
    }

    #[test]
    fn one_has_the_turn_some_wait_and_the_others_are_refused() {
        let turns = Turns::default();
        let mut context = Context::from_waker(Waker::noop());
        let take = || Box::pin(turns.take());
        let Poll::Ready(Ok(first)) = take().as_mut().poll(&mut context) else {
            panic!("the first has no turn")
        };
        let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| take()).collect();
        assert!(waiting.iter_mut().all(|taken| taken.as_mut().poll(&mut context).is_pending()));
        let refused = |polled| match polled {
            Poll::Ready(Err(Error { code, .. })) => code == Code::Overloaded,
            _ => false,
        };
        assert!(refused(take().as_mut().poll(&mut context)));
        drop(first);
        // In the order in which they came. A request that gives up makes room.
        assert!(waiting[1].as_mut().poll(&mut context).is_pending());
        let Poll::Ready(Ok(second)) = waiting[0].as_mut().poll(&mut context) else { panic!("no turn") };
        assert!(take().as_mut().poll(&mut context).is_pending(), "there is one place");
        waiting.truncate(10);
        drop(second);
        assert!(waiting[1].as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn empty_lists_are_left_out() {
        let (mut out, mut members) = (b"{".to_vec(), Members::default());
        let mut list = ListMember::new("a");
        for number in [1, 2] {
            list.element(&mut out, &mut members);
            out.value(&number);
        }
        list.end(&mut out);
        ListMember::new("b").end(&mut out);
        members.name(&mut out, "c");
        out.value(&"<");
        assert_eq!(String::from_utf8(out).ok().as_deref(), Some(r#"{"a":[1,2],"c":"\u003c""#));
    }
}
