//! Whether the store answers: kept by the PeerActor's probe, read by `/health`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Monotonic};

/// How long the store may be away until `/health` says so: clients then move to a node that can write.
pub const UNHEALTHY_AFTER: Duration = Duration::from_secs(50);

/// Stands for "it answers".
const IN_TOUCH: u64 = u64::MAX;

/// The state of the contact. Clones share it.
#[derive(Clone, Debug)]
pub struct Contact(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Monotonic milliseconds of the first probe that failed since the last answer, or [`IN_TOUCH`].
    away_since: AtomicU64,
    why: Mutex<String>,
}

impl Default for Contact {
    fn default() -> Self {
        Self(Arc::new(Inner { away_since: AtomicU64::new(IN_TOUCH), why: Mutex::default() }))
    }
}

impl Contact {
    /// The store answered.
    pub fn restored(&self) {
        self.0.away_since.store(IN_TOUCH, Ordering::Relaxed);
    }

    /// The store did not answer.
    pub fn lost(&self, now: Monotonic, why: String) {
        *self.0.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        let now = u64::try_from(now.as_millis()).unwrap_or(IN_TOUCH - 1);
        // What it is already away since stays.
        let _ = self.0.away_since.compare_exchange(IN_TOUCH, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Why the store has been away for so long that clients should know.
    pub fn complaint(&self, clock: &Clock) -> Option<String> {
        let since = self.0.away_since.load(Ordering::Relaxed);
        if since == IN_TOUCH {
            return None;
        }
        let away = clock.monotonic().saturating_sub(Duration::from_millis(since));
        (away >= UNHEALTHY_AFTER).then(|| self.0.why.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_after_a_while_and_until_it_ends() {
        let (contact, clock) = (Contact::default(), Clock::manual(0));
        assert_eq!(contact.complaint(&clock), None);
        contact.lost(clock.monotonic(), "first".to_owned());
        clock.advance(UNHEALTHY_AFTER - Duration::from_millis(1));
        // A second failure does not begin the outage anew.
        contact.lost(clock.monotonic(), "second".to_owned());
        assert_eq!(contact.complaint(&clock), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!(contact.complaint(&clock).as_deref(), Some("second"));
        contact.restored();
        assert_eq!(contact.complaint(&clock), None);
        clock.advance(UNHEALTHY_AFTER);
        assert_eq!(contact.complaint(&clock), None);
    }
}
