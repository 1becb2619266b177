//! Holds back expiries that come in mass, so that a network fault between owners and registry does not empty the registry.
//! Reads no clock: time is an argument.
//!
//! Every expiry waits for [`WINDOW`]. Then it passes, unless one of two rules holds it:
//!
//! - (a) preservation: the expiries that wait or are held are at least 80 % of all instances, and there are more than 5
//!   instances. The rule applies until no expiry waits or is held.
//! - (b) share: the expiries of the last heartbeat interval and 5 s are more than a configured share of the instances at the
//!   start of that time, and more than 5. (It looks at a whole interval, because owners that are cut off miss their heartbeats
//!   over an interval, and because a store ends only so many leases a second.) The first expiries may have passed by then: at
//!   most that share.
//!
//! A held expiry passes when the TTL of its instance has passed once more, after 600 s at most. An instance that registers
//! again is no longer held. An expiry that no rule holds also waits while a heartbeat for the instance is on its way, until the
//! same time at most, because the heartbeat may write the instance again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::domain::event::InstanceRef;

/// How long every expiry waits.
pub const WINDOW: Duration = Duration::from_secs(2);
/// Rule (a) applies to more instances than this, rule (b) to more expiries.
const LEAST_CROWD: usize = 5;
/// Longest hold.
const MAX_HOLD: Duration = Duration::from_secs(600);
/// Rule (b) adds this to the heartbeat interval.
const SLACK: Duration = Duration::from_secs(5);
/// How many expiries are remembered for rule (b). If there are more at once, the share is exceeded in any case.
const MAX_REMEMBERED: usize = 1_000_000;

/// The shortest time between two log lines about newly held expiries. Thousands of expiries come in hundreds of batches.
const TELL_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardRules {
    pub preservation: Preservation,
    /// The share of rule (b). 0.2 is 20 %, and 1 turns the rule off.
    pub share: f64,
}

/// Whether rule (a) applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preservation {
    /// It applies, as in the original server.
    On,
    Off,
}

/// Why an expiry is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldRule {
    /// It waits for [`WINDOW`].
    Window,
    Preservation,
    /// Rule (b).
    Share,
}

impl HoldRule {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Preservation => "preservation",
            Self::Share => "share",
        }
    }
}

/// What the guard must know of an expired instance.
#[derive(Clone, Copy, Debug)]
pub struct ExpiryFacts {
    pub ttl_seconds: i64,
    pub interval_seconds: i64,
    /// How many instances the snapshot showed before, this one included.
    pub shown_before: usize,
}

#[derive(Debug)]
struct HeldExpiry {
    since: Monotonic,
    due: Monotonic,
    expiry: ExpiryFacts,
    rule: HoldRule,
}

#[derive(Debug)]
pub struct ExpiryGuard {
    rules: GuardRules,
    waiting: HashMap<InstanceRef, HeldExpiry>,
    by_due: BTreeSet<(Monotonic, InstanceRef)>,
    /// The time of each recent expiry, and how many instances the snapshot showed before it.
    recent: VecDeque<(Monotonic, usize)>,
    /// How many of `waiting` a rule holds.
    held_count: usize,
    /// Set while rule (a) applies.
    preserving: Option<Crowd>,
    /// Newly held and not logged yet: by rule (a), by rule (b).
    untold: [Untold; 2],
    tell_after: Monotonic,
}

#[derive(Clone, Copy, Debug, Default)]
struct Untold {
    newly: usize,
    crowd: Option<Crowd>,
}

/// The numbers that made a rule apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    pub since: Monotonic,
    pub expired: usize,
    /// The instances they are compared with.
    pub of: usize,
}

/// What a rule has begun to hold since the last log line about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldReport {
    pub newly: usize,
    /// How many this rule holds now, the new ones included.
    pub in_all: usize,
    /// What made the rule apply: these expiries or earlier ones.
    pub crowd: Crowd,
}

/// What [`ExpiryGuard::judge`] decides.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GuardVerdict {
    /// The expiries that pass.
    pub pass: Vec<InstanceRef>,
    /// The expiries that a rule newly holds, and until when at most.
    pub held: Vec<(InstanceRef, HoldRule, Monotonic)>,
    /// How many rule (a) newly holds.
    pub newly_preserved: usize,
    /// How many rule (b) newly holds.
    pub newly_shared: usize,
    /// To log now about rule (a).
    pub preserved: Option<HoldReport>,
    /// To log now about rule (b). Of several crowds, the largest.
    pub shared: Option<HoldReport>,
}

impl GuardVerdict {
    /// The lines to log: what is newly held, and why.
    pub fn lines(&self, now: Monotonic) -> Vec<String> {
        let begin = |held: &HoldReport| format!("{} expired instances are held", held.newly);
        let preserved = self.preserved.as_ref().map(|held| {
            let Crowd { since, expired, of } = held.crowd;
            let begun = match now.saturating_sub(since).as_secs() {
                0 => "now".to_owned(),
                ago => format!("{ago} s ago"),
            };
            format!(
                "{}, {} in all, by the rule of preservation: it began {begun}, when {expired} of {of} had expired (80 % \
                 and more), and goes on until none is held",
                begin(held),
                held.in_all
            )
        });
        let shared = self.shared.as_ref().map(|held| {
            let Crowd { expired, of, .. } = held.crowd;
            format!(
                "{}, {} in all, by the rule of the share: {expired} of {of} expired within a heartbeat interval and 5 s",
                begin(held),
                held.in_all
            )
        });
        preserved.into_iter().chain(shared).collect()
    }
}

impl Untold {
    fn add(&mut self, newly: usize, crowd: Option<Crowd>) {
        if newly == 0 {
            return;
        }
        self.newly += newly;
        self.crowd = self.crowd.into_iter().chain(crowd).max_by_key(|crowd| crowd.expired);
    }
}

impl ExpiryGuard {
    pub fn new(rules: GuardRules) -> Self {
        let (waiting, by_due, recent) = (HashMap::new(), BTreeSet::new(), VecDeque::new());
        let untold = [Untold::default(); 2];
        let tell_after = Monotonic::ZERO;
        Self { rules, waiting, by_due, recent, held_count: 0, preserving: None, untold, tell_after }
    }

    pub fn rules(&self) -> GuardRules {
        self.rules
    }

    /// Takes an expiry.
    pub fn expire(&mut self, at: InstanceRef, expiry: ExpiryFacts, now: Monotonic) {
        if self.waiting.contains_key(&at) {
            return;
        }
        if self.recent.len() >= MAX_REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((now, expiry.shown_before));
        let due = now + WINDOW;
        self.by_due.insert((due, at.clone()));
        self.waiting.insert(at, HeldExpiry { since: now, due, expiry, rule: HoldRule::Window });
    }

    /// Drops the expiry of an instance that is there again or gone for another reason.
    pub fn forget(&mut self, at: &InstanceRef) {
        if let Some(waiting) = self.take(at) {
            self.by_due.remove(&(waiting.due, at.clone()));
            self.end_preserving();
        }
    }

    fn take(&mut self, at: &InstanceRef) -> Option<HeldExpiry> {
        let waiting = self.waiting.remove(at)?;
        self.held_count -= usize::from(waiting.rule != HoldRule::Window);
        Some(waiting)
    }

    /// How many expiries a rule holds.
    pub fn held_count(&self) -> usize {
        self.held_count
    }

    /// Whether a rule holds an expiry of this instance.
    pub fn is_held(&self, at: &InstanceRef) -> bool {
        self.waiting.get(at).is_some_and(|waiting| waiting.rule != HoldRule::Window)
    }

    /// Whether an expiry of this instance waits or is held.
    pub fn holds(&self, at: &InstanceRef) -> bool {
        self.waiting.contains_key(at)
    }

    /// When [`Self::judge`] must run next.
    pub fn next_due(&self) -> Option<Monotonic> {
        let tells = self.untold.iter().any(|untold| untold.newly > 0).then_some(self.tell_after);
        self.by_due.first().map(|(due, _)| *due).into_iter().chain(tells).min()
    }

    /// All expiries that wait or are held: the rule, since when, until when.
    pub fn held(&self) -> impl Iterator<Item = (&InstanceRef, HoldRule, Monotonic, Monotonic)> {
        self.waiting.iter().map(|(at, waiting)| (at, waiting.rule, waiting.since, waiting.due))
    }

    /// Lets due expiries pass, and holds those that a rule holds. `total` is the number of instances in the snapshot, expired
    /// ones included. `is_awaited` says whether a heartbeat for an instance is on its way.
    pub fn judge(
        &mut self,
        now: Monotonic,
        total: usize,
        is_awaited: impl Fn(&InstanceRef) -> bool,
    ) -> GuardVerdict {
        let mut verdict = GuardVerdict::default();
        // Counted once, before any expiry passes: expiries that pass now still count for the others.
        let gone = self.waiting.len();
        let is_on = self.rules.preservation == Preservation::On;
        let is_most = is_on && gone * 10 >= total * 8 && total > LEAST_CROWD;
        if is_most && self.by_due.first().is_some_and(|(due, _)| *due <= now) {
            self.preserving.get_or_insert(Crowd { since: now, expired: gone, of: total });
        }
        let mut widest: Option<Crowd> = None;
        while let Some((due, at)) = self.by_due.first().cloned() {
            if due > now {
                break;
            }
            self.by_due.pop_first();
            let Some(waiting) = self.waiting.get(&at) else { continue };
            let share = match (waiting.rule, self.preserving) {
                (HoldRule::Window, None) => self.share_met(waiting, now),
                _ => None,
            };
            let rule = match waiting.rule {
                HoldRule::Window if self.preserving.is_some() => Some(HoldRule::Preservation),
                HoldRule::Window if share.is_some() => Some(HoldRule::Share),
                _ => None,
            };
            let until = rule.map(|rule| (rule, waiting.since + hold_time(waiting.expiry.ttl_seconds)));
            match until.filter(|(_, until)| *until > now) {
                Some((rule, until)) => {
                    match rule {
                        HoldRule::Preservation => verdict.newly_preserved += 1,
                        _ => verdict.newly_shared += 1,
                    }
                    widest = widest.into_iter().chain(share).max_by_key(|crowd| crowd.expired);
                    self.by_due.insert((until, at.clone()));
                    verdict.held.push((at.clone(), rule, until));
                    if let Some(waiting) = self.waiting.get_mut(&at) {
                        self.held_count += usize::from(waiting.rule == HoldRule::Window);
                        (waiting.rule, waiting.due) = (rule, until);
                    }
                }
                None => {
                    let last = waiting.since + hold_time(waiting.expiry.ttl_seconds);
                    let again = (now + WINDOW).min(last);
                    if waiting.rule == HoldRule::Window && again > now && is_awaited(&at) {
                        self.by_due.insert((again, at.clone()));
                        if let Some(waiting) = self.waiting.get_mut(&at) {
                            waiting.due = again;
                        }
                    } else {
                        self.take(&at);
                        verdict.pass.push(at);
                    }
                }
            }
        }
        let [preserved, shared] = &mut self.untold;
        preserved.add(verdict.newly_preserved, self.preserving);
        shared.add(verdict.newly_shared, widest);
        if now >= self.tell_after {
            verdict.preserved = self.tell(0, HoldRule::Preservation, now);
            verdict.shared = self.tell(1, HoldRule::Share, now);
        }
        self.end_preserving();
        self.drop_old(now);
        verdict
    }

    fn tell(&mut self, which: usize, rule: HoldRule, now: Monotonic) -> Option<HoldReport> {
        let Untold { newly, crowd } = std::mem::take(self.untold.get_mut(which)?);
        let crowd = crowd.filter(|_| newly > 0)?;
        self.tell_after = now + TELL_EVERY;
        let in_all = self.waiting.values().filter(|waiting| waiting.rule == rule).count();
        Some(HoldReport { newly, in_all, crowd })
    }

    fn end_preserving(&mut self) {
        if self.waiting.is_empty() {
            self.preserving = None;
        }
    }

    fn share_met(&self, waiting: &HeldExpiry, now: Monotonic) -> Option<Crowd> {
        let interval =
            Duration::from_secs(u64::try_from(waiting.expiry.interval_seconds).unwrap_or(0)).min(MAX_HOLD);
        let start = now.saturating_sub(interval + SLACK);
        let first = self.recent.partition_point(|(when, _)| *when < start);
        let expired = self.recent.len() - first;
        let shown = self.recent.get(first).map_or(0, |(_, shown_before)| *shown_before);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let is_met = expired as f64 > self.rules.share * shown as f64;
        (is_met && expired > LEAST_CROWD).then_some(Crowd { since: now, expired, of: shown })
    }

    fn drop_old(&mut self, now: Monotonic) {
        let start = now.saturating_sub(MAX_HOLD + SLACK);
        let old = self.recent.partition_point(|(when, _)| *when < start);
        self.recent.drain(..old);
    }
}

fn hold_time(ttl_seconds: i64) -> Duration {
    match u64::try_from(ttl_seconds) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds).min(MAX_HOLD),
        _ => MAX_HOLD,
    }
}
