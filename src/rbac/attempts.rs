//! Counts failed logins with an account's name from one address, and says when they lock it.
//!
//! The count is a bucket of [`FAILURES`] failures. It refills by one each [`REFILL_SECONDS`]. A failure that finds the bucket
//! empty bans. A good login gives nothing back.

use crate::domain::account::{ATTEMPTED, BANNED};
use crate::json_object;

/// Failures that a full bucket allows.
pub const FAILURES: i64 = 2;
/// Seconds after which one more failure is allowed.
pub const REFILL_SECONDS: i64 = 15 * 60;

json_object! {
    /// The count of failed logins.
    pub struct Attempts {
        /// When the bucket is full again, Unix seconds. A record with a time in the past says nothing, and may be deleted.
        "fullAt" => full_at: i64,
    }
}

/// What a failed login does to the lock of its account and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockStatus {
    /// The failure is counted.
    Attempted,
    /// Logins are rejected for some time, also those with the right password.
    Banned,
}

impl LockStatus {
    /// The `status` of the lock.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attempted => ATTEMPTED,
            Self::Banned => BANNED,
        }
    }
}

impl Attempts {
    /// Counts a failed login at `now`, Unix seconds.
    pub fn failed(&self, now: i64) -> (Self, LockStatus) {
        // A record of a node whose clock is ahead must not ban longer than the bucket takes to refill.
        let full_at = self.full_at.clamp(now, now.saturating_add(FAILURES * REFILL_SECONDS));
        // One failure is left if the bucket is full at the latest after the time in which all others refill.
        if full_at - now <= (FAILURES - 1) * REFILL_SECONDS {
            (Self { full_at: full_at.saturating_add(REFILL_SECONDS) }, LockStatus::Attempted)
        } else {
            (Self { full_at }, LockStatus::Banned)
        }
    }

    /// Whether the bucket is full at `now`, so that the record can be deleted.
    pub fn is_over(&self, now: i64) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LockStatus::{Attempted, Banned};

    const NOW: i64 = 1_700_000_000;
    const MINUTE: i64 = 60;

    /// Fails at these minutes.
    fn fail_at(minutes: &[i64]) -> Vec<LockStatus> {
        let mut attempts = Attempts::default();
        let fail = |minute: &i64| {
            let (next, status) = attempts.failed(NOW + minute * MINUTE);
            attempts = next;
            status
        };
        minutes.iter().map(fail).collect()
    }

    #[test]
    fn third_failure_bans() {
        assert_eq!(fail_at(&[0, 0, 0, 0]), [Attempted, Attempted, Banned, Banned]);
        assert_eq!(fail_at(&[0, 14, 14]), [Attempted, Attempted, Banned]);
    }

    #[test]
    fn one_failure_comes_back_each_15_minutes() {
        assert_eq!(fail_at(&[0, 0, 14, 15, 16]), [Attempted, Attempted, Banned, Attempted, Banned]);
        assert_eq!(fail_at(&[0, 0, 30, 30, 30]), [Attempted, Attempted, Attempted, Attempted, Banned]);
        assert_eq!(fail_at(&[0, 20, 40, 60]), [Attempted; 4]);
    }

    /// A ban does not fill the bucket, and a failure of a banned pair takes nothing from it.
    #[test]
    fn the_bucket_stays_empty_over_a_short_ban() {
        assert_eq!(fail_at(&[0, 0, 1, 2, 3, 15]), [Attempted, Attempted, Banned, Banned, Banned, Attempted]);
    }

    #[test]
    fn clocks_that_go_back_do_not_lengthen_the_ban() {
        let ahead = Attempts { full_at: NOW + 1_000_000 };
        let (next, status) = ahead.failed(NOW);
        assert_eq!(status, Banned);
        assert_eq!(next.failed(NOW + REFILL_SECONDS).1, Attempted);
        assert_eq!(Attempts { full_at: i64::MAX }.failed(i64::MAX).1, Attempted);
    }

    #[test]
    fn the_record_ends_when_the_bucket_is_full() {
        let (once, _) = Attempts::default().failed(NOW);
        assert!(!once.is_over(NOW + REFILL_SECONDS - 1));
        assert!(once.is_over(NOW + REFILL_SECONDS));
        assert!(Attempts::default().is_over(NOW));
    }

    #[test]
    fn has_a_json_form() {
        let (once, _) = Attempts::default().failed(NOW);
        let text = serde_json::to_string(&once).unwrap_or_default();
        assert_eq!(text, r#"{"fullAt":1700000900}"#);
        assert_eq!(crate::domain::json::decode::<Attempts>(text.as_bytes()).ok(), Some(once));
    }
}
