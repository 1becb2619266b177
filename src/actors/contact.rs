//! Whether the store answers, and since when. The PeerActor's probe writes it, and `/health` reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::alarm::{AlarmKind, Alarms};
use crate::clock::{Clock, Monotonic};

/// `/health` reports an outage of the store after this time. Clients then move to a node that can write.
pub const UNHEALTHY_AFTER: Duration = Duration::from_secs(50);

/// The value of `away_since` while the store answers.
const IN_TOUCH: u64 = u64::MAX;
/// The value of `answers_since` before the first answer.
const NEVER: u64 = u64::MAX;

/// Whether the store answers, and since when it does not. Clones share the state.
#[derive(Clone, Debug)]
pub struct Contact(Arc<ContactState>);

#[derive(Debug)]
struct ContactState {
    /// Monotonic milliseconds of the first probe that failed since the last answer, or [`IN_TOUCH`].
    away_since: AtomicU64,
    /// Monotonic milliseconds of the first answer after the last outage, or after the start; or [`NEVER`].
    answers_since: AtomicU64,
    why: Mutex<String>,
    /// An outage that `/health` reports is an alarm, too.
    alarms: Alarms,
}

impl Contact {
    pub fn new(alarms: Alarms) -> Self {
        let (away_since, answers_since) = (AtomicU64::new(IN_TOUCH), AtomicU64::new(NEVER));
        Self(Arc::new(ContactState { away_since, answers_since, why: Mutex::default(), alarms }))
    }

    /// Notes that the store answered.
    pub fn restored(&self, now: Monotonic) {
        let was_away = self.0.away_since.swap(IN_TOUCH, Ordering::Relaxed) != IN_TOUCH;
        if was_away || self.0.answers_since.load(Ordering::Relaxed) == NEVER {
            self.0.answers_since.store(millis(now), Ordering::Relaxed);
        }
        self.0.alarms.clear(AlarmKind::StoreAway);
    }

    /// Notes that the store did not answer. The first failure since the last answer begins the outage.
    pub fn lost(&self, now: Monotonic, why: String) {
        *self.0.why.lock() = why;
        // Fails if an outage has begun already: its beginning stays.
        let begun =
            self.0.away_since.compare_exchange(IN_TOUCH, millis(now), Ordering::Relaxed, Ordering::Relaxed);
        if begun.is_err_and(|since| now.saturating_sub(Duration::from_millis(since)) >= UNHEALTHY_AFTER) {
            self.0.alarms.raise(AlarmKind::StoreAway, now, || self.0.why.lock().clone());
        }
    }

    /// The alarms of this node, among them that the store has been away for [`UNHEALTHY_AFTER`].
    pub fn alarms(&self, clock: &Clock) -> &Alarms {
        if let Some(why) = self.complaint(clock) {
            self.0.alarms.raise(AlarmKind::StoreAway, clock.monotonic(), || why);
        }
        &self.0.alarms
    }

    /// How long the store has not answered. `None` while it answers.
    pub fn away(&self, clock: &Clock) -> Option<Duration> {
        let since = self.0.away_since.load(Ordering::Relaxed);
        (since != IN_TOUCH).then(|| clock.monotonic().saturating_sub(Duration::from_millis(since)))
    }

    /// How long the store has answered without an outage. `None` while it does not, and before its first answer.
    pub fn in_touch(&self, clock: &Clock) -> Option<Duration> {
        if self.0.away_since.load(Ordering::Relaxed) != IN_TOUCH {
            return None;
        }
        let since = self.0.answers_since.load(Ordering::Relaxed);
        (since != NEVER).then(|| clock.monotonic().saturating_sub(Duration::from_millis(since)))
    }

    /// The last error, if the store has been away for [`UNHEALTHY_AFTER`].
    pub fn complaint(&self, clock: &Clock) -> Option<String> {
        let away = self.away(clock)?;
        (away >= UNHEALTHY_AFTER).then(|| self.0.why.lock().clone())
    }
}

fn millis(time: Monotonic) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::Alarm;

    #[test]
    fn an_outage_is_told_after_a_while_and_until_it_ends() {
        let (contact, clock) = (Contact::new(Alarms::default()), Clock::manual(0));
        let alarms = || contact.alarms(&clock).list(clock.monotonic());
        assert_eq!(contact.complaint(&clock), None);
        contact.lost(clock.monotonic(), "first".to_owned());
        clock.advance(UNHEALTHY_AFTER - Duration::from_millis(1));
        // A second failure does not begin the outage anew.
        contact.lost(clock.monotonic(), "second".to_owned());
        assert_eq!(contact.complaint(&clock), None);
        assert_eq!(alarms(), []);
        clock.advance(Duration::from_millis(1));
        assert_eq!(contact.complaint(&clock).as_deref(), Some("second"));
        let alarm = |is_active| Alarm { kind: AlarmKind::StoreAway, is_active, detail: "second".to_owned() };
        assert_eq!(alarms(), [alarm(true)]);
        contact.restored(clock.monotonic());
        assert_eq!(contact.complaint(&clock), None);
        assert_eq!(alarms(), [alarm(false)]);
        clock.advance(UNHEALTHY_AFTER);
        assert_eq!(contact.complaint(&clock), None);
    }

    #[test]
    fn contact_and_outages_have_a_beginning() {
        let (contact, clock) = (Contact::new(Alarms::default()), Clock::manual(0));
        let second = Duration::from_secs(1);
        let state = |after| {
            clock.advance(after);
            (contact.in_touch(&clock), contact.away(&clock))
        };
        assert_eq!(state(second), (None, None));
        contact.restored(clock.monotonic());
        assert_eq!(state(second), (Some(second), None));
        contact.restored(clock.monotonic());
        assert_eq!(state(second), (Some(2 * second), None));
        contact.lost(clock.monotonic(), String::new());
        assert_eq!(state(second), (None, Some(second)));
        contact.restored(clock.monotonic());
        assert_eq!(state(second), (Some(second), None));
    }
}
