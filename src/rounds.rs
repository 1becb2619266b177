//! Asks the parts of the process for an answer, one round at a time, and tells which parts have not answered. A part joins once, and
//! leaves when its [`Member`] is dropped.
//!
//! The watchdog asks actors and workers in this way whether they still get a turn on their threads. SIGHUP asks those who read files
//! again, and learns in this way when they are done.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

type Name = Cow<'static, str>;
/// Each member's name and last answer, as long as the member is there.
type Members = Arc<Mutex<Vec<(Name, Weak<AtomicU64>)>>>;

/// The number of a round that every member has answered that is gone.
const GONE: u64 = u64::MAX;

/// The side that asks. Clones ask the same members.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    current: watch::Sender<u64>,
    members: Members,
    answered: Arc<Notify>,
}

/// The side that answers.
#[derive(Debug)]
pub struct Member {
    current: watch::Receiver<u64>,
    /// The round that `next` has returned for.
    told: u64,
    /// The last round that was answered.
    answer: Arc<AtomicU64>,
    answered: Arc<Notify>,
}

impl Rounds {
    /// The member takes part from the next round on.
    pub fn join(&self, name: impl Into<Name>) -> Member {
        let mut current = self.current.subscribe();
        let told = *current.borrow_and_update();
        let answer = Arc::new(AtomicU64::new(told));
        self.members.lock().push((name.into(), Arc::downgrade(&answer)));
        Member { current, told, answer, answered: Arc::clone(&self.answered) }
    }

    pub fn begin(&self) {
        self.current.send_modify(|round| *round += 1);
    }

    /// The members that have not answered the current round.
    pub fn silent(&self) -> Vec<Name> {
        let round = *self.current.borrow();
        let mut silent = Vec::new();
        self.members.lock().retain(|(name, answer)| match answer.upgrade() {
            Some(answer) => {
                if answer.load(Ordering::Acquire) < round {
                    silent.push(name.clone());
                }
                true
            }
            None => false,
        });
        silent
    }

    /// Waits until every member has answered the current round.
    pub async fn complete(&self) {
        loop {
            let answered = self.answered.notified();
            if self.silent().is_empty() {
                return;
            }
            answered.await;
        }
    }
}

impl Member {
    /// Answers the round that the last call returned for, and waits for the next round. Rounds that have begun meanwhile are one.
    /// Returns `false` when nobody asks any more. A call that is canceled loses no round.
    pub async fn next(&mut self) -> bool {
        self.answer(self.told);
        if self.current.changed().await.is_err() {
            return false;
        }
        self.told = *self.current.borrow_and_update();
        true
    }

    fn answer(&self, round: u64) {
        self.answer.store(round, Ordering::Release);
        self.answered.notify_waiters();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.answer(GONE);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_member_answers_when_it_asks_for_the_next_round() {
        let rounds = Rounds::default();
        let mut quick = rounds.join("quick");
        let mut slow = rounds.join(format!("slow {}", 1));
        assert_eq!(rounds.silent(), [""; 0], "no round has begun");
        rounds.begin();
        assert_eq!(rounds.silent(), ["quick", "slow 1"]);
        for member in [&mut quick, &mut slow] {
            assert_eq!(member.next().now_or_never(), Some(true));
        }
        assert_eq!(rounds.silent(), ["quick", "slow 1"], "they are told, and have not answered");
        assert_eq!(quick.next().now_or_never(), None);
        assert_eq!(rounds.silent(), ["slow 1"]);
        assert_eq!(rounds.complete().now_or_never(), None);
        rounds.begin();
        // The answer to the first round is none to the second.
        assert_eq!(slow.next().now_or_never(), Some(true));
        assert_eq!(rounds.silent(), ["quick", "slow 1"]);
        drop(slow);
        assert_eq!(rounds.silent(), ["quick"], "who is gone owes no answer");
        assert_eq!(quick.next().now_or_never(), Some(true));
        drop(rounds);
        assert_eq!(quick.next().now_or_never(), Some(false));
    }

    #[test]
    fn the_last_answer_completes_a_round() {
        let rounds = Rounds::default();
        let (mut first, mut second) = (rounds.join("first"), rounds.join("second"));
        rounds.begin();
        let mut complete = std::pin::pin!(rounds.complete());
        assert_eq!(complete.as_mut().now_or_never(), None);
        for told in [Some(true), None] {
            assert_eq!(first.next().now_or_never(), told);
        }
        assert_eq!(complete.as_mut().now_or_never(), None);
        assert_eq!(second.next().now_or_never(), Some(true));
        assert_eq!(complete.as_mut().now_or_never(), None);
        drop(second);
        assert_eq!(complete.as_mut().now_or_never(), Some(()));
    }
}
