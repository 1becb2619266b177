//! Ends the threads that a test has started in its scope.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets its flag when it is dropped, also when an assertion fails. Otherwise the scope would wait for its threads forever.
pub struct StopWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
