//! Limits how often and how long an operation tries.

use std::time::Duration;

use crate::clock::{Clock, Monotonic};
use crate::error::{Code, Error};

/// How often an optimistic write is tried while its compares fail because other nodes write the same keys. Writers at this node
/// take turns.
const MAX_TRIES: usize = 16;
/// How long an operation tries.
const MAX_DURATION: Duration = Duration::from_millis(1_500);

/// Limits the tries of one operation in number and time.
pub(super) struct Deadline {
    clock: Clock,
    end: Monotonic,
    tries: usize,
}

impl Deadline {
    /// Starts the time of an operation.
    pub(super) fn new(clock: Clock) -> Self {
        let end = clock.monotonic() + MAX_DURATION;
        Self { clock, end, tries: MAX_TRIES }
    }

    /// Counts a try. 500011 if there are too many, or if the time is over.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if self.tries == 0 || self.is_over() {
            return Err(Error::new(Code::Unavailable, "the write did not succeed in time, try again"));
        }
        self.tries -= 1;
        Ok(())
    }

    pub(super) fn is_over(&self) -> bool {
        self.clock.monotonic() >= self.end
    }
}
