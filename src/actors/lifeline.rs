//! Ends the process when an actor ends unexpectedly. A panic in a handler ends an actor for good, and a process without that
//! actor would only look alive. A restarted process lists the store again, in less than a second.
//!
//! An actor that is stuck looks alive too. So a lifeline also answers whoever asks whether the actor still gets a turn.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::rounds::{Member, Rounds};

/// The exit code of a process that lost an actor (`EX_SOFTWARE`).
pub const EXIT_CODE: i32 = 70;

/// Shared by all lifelines of a process.
#[derive(Clone, Debug, Default)]
pub struct Lifelines {
    /// Whether actors may end.
    released: Arc<AtomicBool>,
    signs_of_life: Rounds,
}

impl Lifelines {
    /// Makes the lifeline that an actor's context holds.
    pub fn tie(&self, actor: &'static str) -> Lifeline {
        Lifeline { actor, released: Arc::clone(&self.released), member: self.signs_of_life.join(actor) }
    }

    /// Asks actors, and others who have joined, for a sign of life.
    pub fn signs_of_life(&self) -> &Rounds {
        &self.signs_of_life
    }

    /// Lets actors end from now on, because the process stops in an orderly way.
    pub fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
    }
}

/// Ends the process if it is dropped before [`Lifelines::release`].
#[derive(Debug)]
pub struct Lifeline {
    actor: &'static str,
    released: Arc<AtomicBool>,
    member: Member,
}

impl Lifeline {
    /// Answers as often as the actor's context gives this future a turn. Never returns.
    pub async fn hold(mut self) {
        while self.member.next().await {}
        pending::<()>().await;
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if !self.released.load(Ordering::SeqCst) {
            log::error!(
                "{} ended unexpectedly; the process ends with it, so that it can be restarted",
                self.actor
            );
            log::logger().flush();
            std::process::exit(EXIT_CODE);
        }
    }
}
