//! Ends the process when an actor ends unexpectedly. A panic in a handler ends an actor for good, and a process without that
//! actor would only look alive. A restarted process lists the store again, in less than a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The exit code of a process that lost an actor (`EX_SOFTWARE`).
pub const EXIT_CODE: i32 = 70;

/// Shared by all lifelines of a process. Says whether actors may end.
#[derive(Clone, Debug, Default)]
pub struct Lifelines(Arc<AtomicBool>);

impl Lifelines {
    /// Makes the lifeline that an actor's context holds.
    pub fn tie(&self, actor: &'static str) -> Lifeline {
        Lifeline { actor, released: Arc::clone(&self.0) }
    }

    /// Lets actors end from now on, because the process stops in an orderly way.
    pub fn release(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Ends the process if it is dropped before [`Lifelines::release`].
#[derive(Debug)]
pub struct Lifeline {
    actor: &'static str,
    released: Arc<AtomicBool>,
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
