//! Holds back expiries that come in mass, so that a cut between owners and registry does not empty it. Pure: time is an
//! argument.
//!
//! Every expiry waits [`WINDOW`], then passes unless a rule holds it: (a) preservation: expiries that wait or are held
//! are 80 % and more of all instances, which are more than 5; it goes on until nothing waits any more; (b) share: expiries of the last heartbeat interval and 5 s are
//! more than a configured share of what was held at its start, and more than 5 (a store ends only so many leases a
//! second, and owners that are cut off miss their beats over a whole interval). A held one is let go when its own TTL has
//! passed, 600 s at most; one that registers again is no longer held.

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

/// Why an expiry is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// It waits its window.
    Window,
    /// Rule (a).
    Preservation,
    /// Rule (b).
    Share,
}

/// An expired instance.
#[derive(Clone, Copy, Debug)]
pub struct Expiry {
    /// Its TTL, seconds.
    pub ttl_seconds: i64,
    /// Its heartbeat interval, seconds.
    pub interval_seconds: i64,
    /// Instances held before it, this one included.
    pub held_before: usize,
}

#[derive(Debug)]
struct Waiting {
    since: Monotonic,
    due: Monotonic,
    expiry: Expiry,
    rule: Rule,
}

/// The guard.
#[derive(Debug)]
pub struct ExpiryGuard {
    share: f64,
    waiting: HashMap<InstanceRef, Waiting>,
    by_due: BTreeSet<(Monotonic, InstanceRef)>,
    /// When, and how many instances were held before.
    recent: VecDeque<(Monotonic, usize)>,
    preserving: bool,
}

/// What a look at the clock brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// These pass.
    pub pass: Vec<InstanceRef>,
    /// Newly held by rule (a).
    pub preserved: usize,
    /// Newly held by rule (b).
    pub shared: usize,
}

impl ExpiryGuard {
    /// A guard with the share of rule (b): 0.2 is 20 %.
    pub fn new(share: f64) -> Self {
        let (waiting, by_due, recent) = (HashMap::new(), BTreeSet::new(), VecDeque::new());
        Self { share, waiting, by_due, recent, preserving: false }
    }

    /// An expiry was seen.
    pub fn expire(&mut self, at: InstanceRef, expiry: Expiry, now: Monotonic) {
        if self.waiting.contains_key(&at) {
            return;
        }
        if self.recent.len() >= MAX_REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((now, expiry.held_before));
        let due = now + WINDOW;
        self.by_due.insert((due, at.clone()));
        self.waiting.insert(at, Waiting { since: now, due, expiry, rule: Rule::Window });
    }

    /// The instance is there again, or gone for another reason.
    pub fn forget(&mut self, at: &InstanceRef) {
        if let Some(waiting) = self.waiting.remove(at) {
            self.by_due.remove(&(waiting.due, at.clone()));
            self.preserving &= !self.waiting.is_empty();
        }
    }

    /// Whether an expiry of this instance waits or is held.
    pub fn holds(&self, at: &InstanceRef) -> bool {
        self.waiting.contains_key(at)
    }

    /// When to look again.
    pub fn next_due(&self) -> Option<Monotonic> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// All that wait or are held, with the rule and since when.
    pub fn held(&self) -> impl Iterator<Item = (&InstanceRef, Rule, Monotonic, Monotonic)> {
        self.waiting.iter().map(|(at, waiting)| (at, waiting.rule, waiting.since, waiting.due))
    }

    /// Lets go what is due and holds what a rule holds. `total` is how many instances the snapshot has, these included.
    pub fn judge(&mut self, now: Monotonic, total: usize) -> Verdict {
        let mut verdict = Verdict::default();
        // Judged as one: what is due now does not shrink the crowd it came with.
        let gone = self.waiting.len();
        let is_most = gone * 10 >= total * 8 && total > ALWAYS_PASS;
        self.preserving |= is_most && self.by_due.first().is_some_and(|(due, _)| *due <= now);
        while let Some((due, at)) = self.by_due.first().cloned() {
            if due > now {
                break;
            }
            self.by_due.pop_first();
            let Some(waiting) = self.waiting.get(&at) else { continue };
            let rule = match waiting.rule {
                Rule::Window if self.preserving => Some(Rule::Preservation),
                Rule::Window if self.is_share_met(waiting, now) => Some(Rule::Share),
                _ => None,
            };
            let until = rule.map(|rule| (rule, waiting.since + hold_time(waiting.expiry.ttl_seconds)));
            match until.filter(|(_, until)| *until > now) {
                Some((rule, until)) => {
                    match rule {
                        Rule::Preservation => verdict.preserved += 1,
                        _ => verdict.shared += 1,
                    }
                    self.by_due.insert((until, at.clone()));
                    if let Some(waiting) = self.waiting.get_mut(&at) {
                        (waiting.rule, waiting.due) = (rule, until);
                    }
                }
                None => {
                    self.waiting.remove(&at);
                    verdict.pass.push(at);
                }
            }
        }
        self.preserving &= !self.waiting.is_empty();
        self.drop_old(now);
        verdict
    }

    fn is_share_met(&self, waiting: &Waiting, now: Monotonic) -> bool {
        let interval =
            Duration::from_secs(u64::try_from(waiting.expiry.interval_seconds).unwrap_or(0)).min(MAX_HOLD);
        let start = now.saturating_sub(interval + SLACK);
        let first = self.recent.partition_point(|(when, _)| *when < start);
        let expired = self.recent.len() - first;
        let held = self.recent.get(first).map_or(0, |(_, held_before)| *held_before);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let is_met = expired as f64 > self.share * held as f64;
        is_met && expired > ALWAYS_PASS
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
