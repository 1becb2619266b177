//! What a long-lived actor holds so that its end is noticed: a panic in a handler ends an actor for good, and a process
//! that goes on without it would look alive. A restart lists anew in under a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a process that lost an actor (`EX_SOFTWARE`).
pub const EXIT_CODE: i32 = 70;

/// Shared by all lifelines of a process; says whether actors may end.
#[derive(Clone, Debug, Default)]
pub struct Lifelines(Arc<AtomicBool>);

impl Lifelines {
    /// A lifeline for an actor.
    pub fn tie(&self, actor: &'static str) -> Lifeline {
        Lifeline { actor, released: Arc::clone(&self.0) }
    }

    /// The process is stopping in order: actors may end from here on.
    pub fn release(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Ends the process when it is dropped before [`Lifelines::release`].
#[derive(Debug)]
pub struct Lifeline {
    actor: &'static str,
    released: Arc<AtomicBool>,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if !self.released.load(Ordering::SeqCst) {
            log::error!(
                "{} ended unexpectedly; the process ends with it, so that it can start anew",
                self.actor
            );
            log::logger().flush();
            std::process::exit(EXIT_CODE);
        }
    }
}
