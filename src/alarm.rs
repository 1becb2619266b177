//! Alarms: what is wrong with this node now, for operators. They are in memory only. There is one entry for each kind of alarm.
//!
//! An alarm that is over stays in the list, with its last text, until an operator empties the list.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// An alarm of [`AlarmKind::InternalError`] ends when no further error has come for this long.
pub const QUIET: Duration = Duration::from_secs(300);

/// Of errors that follow each other, one in this time renews the text of the alarm, and one is logged.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// The value of `raised` of an alarm that is not active.
const NOT_RAISED: u64 = u64::MAX;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The store has not answered for long. It ends when the store answers.
    StoreAway,
    /// A request was answered with a status of 500 or more. It ends after [`QUIET`].
    InternalError,
    /// Another node shows something else than this one at the same revision, or this node does not show what the store holds. It ends
    /// when the nodes, or this node and the store, agree again.
    DigestDiffers,
}

impl AlarmKind {
    pub const ALL: [Self; 3] = [Self::StoreAway, Self::InternalError, Self::DigestDiffers];

    /// The alarm with this name.
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// The name of the alarm, as the original server spells those that it has.
    pub fn id(self) -> &'static str {
        match self {
            Self::StoreAway => "BackendConnectionRefuse",
            Self::InternalError => "InternalError",
            Self::DigestDiffers => "DigestDiffers",
        }
    }
}

/// What this node differs from: the reasons for [`AlarmKind::DigestDiffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffersFrom {
    OtherNode = 1,
    Store = 2,
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub kind: AlarmKind,
    pub is_active: bool,
    /// What happened last.
    pub detail: String,
}

/// Lets one of the events that follow each other through each [`RENEWED_EVERY`]. Clones share the time of the last one.
#[derive(Clone, Debug)]
pub struct Pace(Arc<AtomicU64>);

impl Default for Pace {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(NOT_RAISED)))
    }
}

impl Pace {
    pub fn lets_through(&self, now: Duration) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        // Of several threads, the one that sets the time goes through.
        !is_recent(last, now)
            && self.0.compare_exchange(last, millis(now), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn is_recent(last: u64, now: Duration) -> bool {
    last != NOT_RAISED && now.saturating_sub(Duration::from_millis(last)) < RENEWED_EVERY
}

/// The alarms of a node. Clones share them. Times are those of the node's monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Alarms(Arc<[AlarmState; AlarmKind::ALL.len()]>);

#[derive(Debug)]
struct AlarmState {
    /// Milliseconds of the last event that renewed the alarm, or [`NOT_RAISED`].
    raised: AtomicU64,
    /// The text of the last event. `None` if the alarm is not in the list.
    detail: Mutex<Option<String>>,
    /// The reasons that go on, one bit for each [`DiffersFrom`].
    reasons: AtomicU8,
}

impl Default for AlarmState {
    fn default() -> Self {
        Self { raised: AtomicU64::new(NOT_RAISED), detail: Mutex::default(), reasons: AtomicU8::new(0) }
    }
}

impl Alarms {
    /// Notes that something is wrong. While the same is noted again and again, nearly all calls read only the time.
    pub fn raise(&self, kind: AlarmKind, now: Duration, detail: impl FnOnce() -> String) {
        let state = self.state(kind);
        if is_recent(state.raised.load(Ordering::Relaxed), now) {
            return;
        }
        let mut held = state.detail.lock();
        *held = Some(detail());
        state.raised.store(millis(now), Ordering::Relaxed);
    }

    /// Notes that something is right again.
    pub fn clear(&self, kind: AlarmKind) {
        self.state(kind).raised.store(NOT_RAISED, Ordering::Relaxed);
    }

    /// Raises [`AlarmKind::DigestDiffers`] for this reason.
    pub fn raise_differs(&self, from: DiffersFrom, now: Duration, detail: impl FnOnce() -> String) {
        self.state(AlarmKind::DigestDiffers).reasons.fetch_or(from as u8, Ordering::SeqCst);
        self.raise(AlarmKind::DigestDiffers, now, detail);
    }

    /// Notes that this reason is over. The alarm ends if no other goes on.
    pub fn clear_differs(&self, from: DiffersFrom) {
        let bit = from as u8;
        let before = self.state(AlarmKind::DigestDiffers).reasons.fetch_and(!bit, Ordering::SeqCst);
        if before & !bit == 0 {
            self.clear(AlarmKind::DigestDiffers);
        }
    }

    /// Takes an alarm off the list. If it is still wrong, it comes back with the next event.
    pub fn forget(&self, kind: AlarmKind) {
        let state = self.state(kind);
        let mut held = state.detail.lock();
        *held = None;
        state.raised.store(NOT_RAISED, Ordering::Relaxed);
    }

    /// Empties the list.
    pub fn forget_all(&self) {
        AlarmKind::ALL.into_iter().for_each(|kind| self.forget(kind));
    }

    /// The entries of the list.
    pub fn list(&self, now: Duration) -> Vec<Alarm> {
        let entry = |kind| {
            let detail = self.state(kind).detail.lock().clone()?;
            Some(Alarm { kind, is_active: self.is_active(kind, now), detail })
        };
        AlarmKind::ALL.into_iter().filter_map(entry).collect()
    }

    /// Whether an alarm is active.
    pub fn is_active(&self, kind: AlarmKind, now: Duration) -> bool {
        let raised = self.state(kind).raised.load(Ordering::Relaxed);
        let is_quiet = || now.saturating_sub(Duration::from_millis(raised)) >= QUIET;
        raised != NOT_RAISED && !(kind == AlarmKind::InternalError && is_quiet())
    }

    fn state(&self, kind: AlarmKind) -> &AlarmState {
        let [store_away, internal_error, digest_differs] = &*self.0;
        match kind {
            AlarmKind::StoreAway => store_away,
            AlarmKind::InternalError => internal_error,
            AlarmKind::DigestDiffers => digest_differs,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NOT_RAISED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn check(alarms: &Alarms, now: Duration, expected: &[(AlarmKind, bool, &str)]) {
        let list = alarms.list(now);
        let shown: Vec<_> =
            list.iter().map(|alarm| (alarm.kind, alarm.is_active, alarm.detail.as_str())).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_alarm_of_the_store_ends_when_the_store_answers() {
        let alarms = Alarms::default();
        check(&alarms, START, &[]);
        alarms.clear(AlarmKind::StoreAway);
        check(&alarms, START, &[]);
        alarms.raise(AlarmKind::StoreAway, START, || "a".to_owned());
        check(&alarms, START + 2 * QUIET, &[(AlarmKind::StoreAway, true, "a")]);
        alarms.clear(AlarmKind::StoreAway);
        check(&alarms, START, &[(AlarmKind::StoreAway, false, "a")]);
        alarms.raise(AlarmKind::StoreAway, START, || "b".to_owned());
        check(&alarms, START, &[(AlarmKind::StoreAway, true, "b")]);
        alarms.forget_all();
        check(&alarms, START, &[]);
    }

    #[test]
    fn an_error_is_over_after_a_quiet_time() {
        let alarms = Alarms::default();
        alarms.raise(AlarmKind::InternalError, START, || "a".to_owned());
        let again = START + Duration::from_secs(100);
        alarms.raise(AlarmKind::InternalError, again, || "b".to_owned());
        let last = Duration::from_millis(1);
        check(&alarms, again + QUIET - last, &[(AlarmKind::InternalError, true, "b")]);
        check(&alarms, again + QUIET, &[(AlarmKind::InternalError, false, "b")]);
        alarms.raise(AlarmKind::InternalError, again + QUIET, || "c".to_owned());
        check(&alarms, again + QUIET, &[(AlarmKind::InternalError, true, "c")]);
        assert!(!alarms.is_active(AlarmKind::StoreAway, again));
    }

    #[test]
    fn a_difference_is_over_when_no_reason_goes_on() {
        let (alarms, kind) = (Alarms::default(), AlarmKind::DigestDiffers);
        alarms.raise_differs(DiffersFrom::OtherNode, START, || "a".to_owned());
        alarms.raise_differs(DiffersFrom::Store, START + 2 * RENEWED_EVERY, || "b".to_owned());
        alarms.clear_differs(DiffersFrom::Store);
        alarms.clear_differs(DiffersFrom::Store);
        check(&alarms, START, &[(kind, true, "b")]);
        alarms.clear_differs(DiffersFrom::OtherNode);
        check(&alarms, START, &[(kind, false, "b")]);
    }

    #[test]
    fn one_alarm_is_forgotten_and_the_others_stay() {
        let alarms = Alarms::default();
        alarms.raise(AlarmKind::StoreAway, START, || "a".to_owned());
        alarms.raise(AlarmKind::InternalError, START, || "b".to_owned());
        alarms.forget(AlarmKind::StoreAway);
        check(&alarms, START, &[(AlarmKind::InternalError, true, "b")]);
        alarms.raise(AlarmKind::StoreAway, START, || "c".to_owned());
        check(&alarms, START, &[(AlarmKind::StoreAway, true, "c"), (AlarmKind::InternalError, true, "b")]);
    }

    #[test]
    fn a_storm_of_errors_makes_one_text_a_second() {
        let (alarms, mut texts) = (Alarms::default(), 0);
        for millis in 0..3000 {
            let now = START + Duration::from_millis(millis);
            alarms.raise(AlarmKind::InternalError, now, || {
                texts += 1;
                String::new()
            });
        }
        assert_eq!(texts, 3);
        let pace = Pace::default();
        let through = (0..3000).filter(|millis| pace.lets_through(START + Duration::from_millis(*millis)));
        assert_eq!(through.count(), 3);
        alarms.forget_all();
        alarms.raise(AlarmKind::InternalError, START, || "anew".to_owned());
        check(&alarms, START, &[(AlarmKind::InternalError, true, "anew")]);
    }
}
