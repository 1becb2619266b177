//! The end of what goes on beside a test, in threads of its scope.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets its flag when it is dropped: also when an assertion fails, since a scope waits for its threads before it tells why.
pub struct StopWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
