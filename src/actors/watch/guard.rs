//! Holds back expiries that come in mass, so that a cut between owners and registry does not empty it. Pure: time is an
//! argument.
//!
//! Every expiry waits [`WINDOW`], then passes unless a rule holds it: (a) preservation: expiries that wait or are held
//! are 80 % and more of all instances, which are more than 5; it goes on until nothing waits any more; (b) share: expiries
//! of the last heartbeat interval and 5 s are more than a configured share of what was held at its start, and more than 5
//! (a store ends only so many leases a second, and owners that are cut off miss their beats over a whole interval). What
//! came first may have passed by then: at most that share. A held one is let go when its own TTL has passed, 600 s at most;
//! one that registers again is no longer held. One for which a beat is on its way waits on, as long at most: the beat may
//! write it again.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::domain::event::InstanceRef;

/// How long every expiry waits.
pub const WINDOW: Duration = Duration::from_secs(2);
/// Rule (a) needs more instances than this, rule (b) more expiries.
const ALWAYS_PASS: usize = 5;
/// Longest hold.
const MAX_HOLD: Duration = Duration::from_secs(600);
/// What rule (b) adds to the heartbeat interval.
const SLACK: Duration = Duration::from_secs(5);
/// Expiries remembered for rule (b); with more at once the share is met in any case.
const MAX_REMEMBERED: usize = 1_000_000;

/// What is newly held is told this often at most: thousands come in hundreds of batches.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Which rules are in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardRules {
    /// Rule (a).
    pub preservation: Preservation,
    /// The share of rule (b): 0.2 is 20 %, 1 turns it off.
    pub share: f64,
}

/// Whether rule (a) is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preservation {
    /// As in the original.
    On,
    /// It holds nothing.
    Off,
}

/// Why an expiry is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HoldRule {
    /// It waits its window.
    Window,
    /// Rule (a).
    Preservation,
    /// Rule (b).
    Share,
}

/// An expired instance.
#[derive(Clone, Copy, Debug)]
pub struct ExpiryFacts {
    /// Its TTL, seconds.
    pub ttl_seconds: i64,
    /// Its heartbeat interval, seconds.
    pub interval_seconds: i64,
    /// Instances held before it, this one included.
    pub held_before: usize,
}

#[derive(Debug)]
struct HeldExpiry {
    since: Monotonic,
    due: Monotonic,
    expiry: ExpiryFacts,
    rule: HoldRule,
}

/// The guard.
#[derive(Debug)]
pub struct ExpiryGuard {
    rules: GuardRules,
    waiting: HashMap<InstanceRef, HeldExpiry>,
    by_due: BTreeSet<(Monotonic, InstanceRef)>,
    /// When, and how many instances were held before.
    recent: VecDeque<(Monotonic, usize)>,
    /// Rule (a) is met.
    preserving: Option<Crowd>,
    /// Newly held and not told yet: by rule (a), by rule (b).
    untold: [Untold; 2],
    tell_after: Monotonic,
}

#[derive(Clone, Copy, Debug, Default)]
struct Untold {
    newly: usize,
    crowd: Option<Crowd>,
}

/// How a rule was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// When.
    pub since: Monotonic,
    /// Expiries that met it.
    pub expired: usize,
    /// Instances they are judged against.
    pub of: usize,
}

/// What a rule has begun to hold since that was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldReport {
    /// How many.
    pub newly: usize,
    /// How many this rule holds now, these included.
    pub in_all: usize,
    /// How the rule was met: by these, or before them.
    pub crowd: Crowd,
}

/// What a look at the clock brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct GuardVerdict {
    /// These pass.
    pub pass: Vec<InstanceRef>,
    /// How many are newly held by rule (a).
    pub newly_preserved: usize,
    /// How many are newly held by rule (b).
    pub newly_shared: usize,
    /// To be told now: held by rule (a).
    pub preserved: Option<HoldReport>,
    /// To be told now: held by rule (b); of several of them the widest crowd.
    pub shared: Option<HoldReport>,
}

impl GuardVerdict {
    /// What is to be told: what is newly held and why, in a line each.
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
    /// A guard that holds nothing yet.
    pub fn new(rules: GuardRules) -> Self {
        let (waiting, by_due, recent) = (HashMap::new(), BTreeSet::new(), VecDeque::new());
        let untold = [Untold::default(); 2];
        Self { rules, waiting, by_due, recent, preserving: None, untold, tell_after: Monotonic::ZERO }
    }

    /// Which rules are in force.
    pub fn rules(&self) -> GuardRules {
        self.rules
    }

    /// An expiry was seen.
    pub fn expire(&mut self, at: InstanceRef, expiry: ExpiryFacts, now: Monotonic) {
        if self.waiting.contains_key(&at) {
            return;
        }
        if self.recent.len() >= MAX_REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((now, expiry.held_before));
        let due = now + WINDOW;
        self.by_due.insert((due, at.clone()));
        self.waiting.insert(at, HeldExpiry { since: now, due, expiry, rule: HoldRule::Window });
    }

    /// The instance is there again, or gone for another reason.
    pub fn forget(&mut self, at: &InstanceRef) {
        if let Some(waiting) = self.waiting.remove(at) {
            self.by_due.remove(&(waiting.due, at.clone()));
            self.end_preserving();
        }
    }

    /// Whether an expiry of this instance waits or is held.
    pub fn holds(&self, at: &InstanceRef) -> bool {
        self.waiting.contains_key(at)
    }

    /// When to look again.
    pub fn next_due(&self) -> Option<Monotonic> {
        let tells = self.untold.iter().any(|untold| untold.newly > 0).then_some(self.tell_after);
        self.by_due.first().map(|(due, _)| *due).into_iter().chain(tells).min()
    }

    /// All that wait or are held, with the rule and since when.
    pub fn held(&self) -> impl Iterator<Item = (&InstanceRef, HoldRule, Monotonic, Monotonic)> {
        self.waiting.iter().map(|(at, waiting)| (at, waiting.rule, waiting.since, waiting.due))
    }

    /// Lets go what is due and holds what a rule holds. `total` is how many instances the snapshot has, these included;
    /// `is_awaited` says for which a beat is on its way.
    pub fn judge(
        &mut self,
        now: Monotonic,
        total: usize,
        is_awaited: impl Fn(&InstanceRef) -> bool,
    ) -> GuardVerdict {
        let mut verdict = GuardVerdict::default();
        // Judged as one: what is due now does not shrink the crowd it came with.
        let gone = self.waiting.len();
        let is_on = self.rules.preservation == Preservation::On;
        let is_most = is_on && gone * 10 >= total * 8 && total > ALWAYS_PASS;
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
                    if let Some(waiting) = self.waiting.get_mut(&at) {
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
                        self.waiting.remove(&at);
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
        let held = self.recent.get(first).map_or(0, |(_, held_before)| *held_before);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let is_met = expired as f64 > self.rules.share * held as f64;
        (is_met && expired > ALWAYS_PASS).then_some(Crowd { since: now, expired, of: held })
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
