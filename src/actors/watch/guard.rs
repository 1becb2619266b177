//! Holds back expiries that come in mass, so that a network fault between owners and registry does not empty the registry.
//! Reads no clock: time is an argument.
//!
//! Every expiry waits for [`WINDOW`]. Then it passes, unless one of three rules holds it:
//!
//! - (a) preservation: the expiries that wait or are held are at least 80 % of all instances, and there are more than 5
//!   instances. The rule applies until no expiry waits or is held.
//! - (b) share: the expiries of the last heartbeat interval and 5 s are more than a configured share of the instances at the
//!   start of that time, and more than 5. (It looks at a whole interval, because owners that are cut off miss their heartbeats
//!   over an interval, and because a store ends only so many leases a second.) The first expiries may have passed by then: at
//!   most that share.
//! - (c) service, off unless configured: of a service with at least 3 instances, at most a configured share may pass of the
//!   expiries of one heartbeat interval. The rule decides when an expiry comes, from the expiries before it and from the
//!   instances that the store then held. It never looks at what has passed or registered again meanwhile. So nodes that see the
//!   same events decide alike, unless the interval ends between two events.
//!
//! A held expiry passes when the TTL of its instance has passed once more, after 600 s at most. An instance that registers
//! again is no longer held. Any expiry also waits while a heartbeat for the instance is on its way, for 600 s at most, because the
//! heartbeat may write the instance again: a store that has ended leases may take no writes for longer than a TTL.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::domain::event::InstanceRef;
use crate::domain::{ServiceId, Tenant};

/// How long every expiry waits.
pub const WINDOW: Duration = Duration::from_secs(2);
/// Rule (a) applies to more instances than this, rule (b) to more expiries.
const LEAST_CROWD: usize = 5;
/// Rule (c) applies to services with at least this many instances.
const LEAST_OF_SERVICE: usize = 3;
/// Longest hold, longest wait for a heartbeat, and longest interval.
const MAX_HOLD: Duration = Duration::from_secs(600);
/// Rule (b) adds this to the heartbeat interval.
const SLACK: Duration = Duration::from_secs(5);
/// How many expiries are remembered for rule (b), and for rule (c). If there are more at once, the share is exceeded in any case.
const MAX_REMEMBERED: usize = 1_000_000;

/// The shortest time between two log lines about newly held expiries. Thousands of expiries come in hundreds of batches.
const TELL_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuardRules {
    pub preservation: Preservation,
    /// The share of rule (b). 0.2 is 20 %, and 1 turns the rule off.
    pub share: f64,
    /// The share of rule (c). 1 turns the rule off.
    pub service_share: f64,
}

/// Whether rule (a) applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preservation {
    /// It applies, as in the original server.
    On,
    Off,
}

/// Why an expiry is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldRule {
    /// It waits for [`WINDOW`].
    Window,
    Preservation,
    /// Rule (b).
    Share,
    /// Rule (c).
    Service,
}

impl HoldRule {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Preservation => "preservation",
            Self::Share => "share",
            Self::Service => "service",
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
    /// How many of them belong to the same service.
    pub of_service: usize,
}

#[derive(Debug)]
struct HeldExpiry {
    since: Monotonic,
    due: Monotonic,
    expiry: ExpiryFacts,
    rule: HoldRule,
    /// Set if rule (c) holds the expiry after the window.
    excess: Option<Crowd>,
}

type ServiceKey = (Tenant, ServiceId);

/// What rule (c) knows of a service.
#[derive(Debug, Default)]
struct ServiceExpiries {
    /// How many expiries wait or are held.
    waiting: usize,
    /// How many expiries the rule has let pass since this entry was made.
    let_pass: usize,
    recent: VecDeque<ServiceExpiry>,
}

#[derive(Clone, Copy, Debug)]
struct ServiceExpiry {
    when: Monotonic,
    /// How many instances of the service the store held before, this one included.
    stored_before: usize,
    /// [`ServiceExpiries::let_pass`] before this expiry.
    let_pass_before: usize,
}

#[derive(Debug)]
pub struct ExpiryGuard {
    rules: GuardRules,
    waiting: HashMap<InstanceRef, HeldExpiry>,
    by_due: BTreeSet<(Monotonic, InstanceRef)>,
    /// The time of each recent expiry, and how many instances the snapshot showed before it.
    recent: VecDeque<(Monotonic, usize)>,
    /// The services with expiries that are recent, wait or are held. Empty if rule (c) is off.
    services: HashMap<ServiceKey, ServiceExpiries>,
    /// The entries of [`ServiceExpiries::recent`] of all services, in order.
    recent_of_services: VecDeque<(Monotonic, ServiceKey)>,
    /// How many of `waiting` a rule holds.
    held_count: usize,
    /// Set while rule (a) applies.
    preserving: Option<Crowd>,
    /// Newly held and not logged yet: by rule (a), by rule (b), by rule (c).
    untold: [Untold; 3],
    tell_after: Monotonic,
}

#[derive(Clone, Debug, Default)]
struct Untold {
    newly: usize,
    crowd: Option<Crowd>,
    /// The service that the crowd belongs to, for rule (c).
    service: Option<ServiceKey>,
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
    /// To log now about rule (a).
    pub preserved: Option<HoldReport>,
    /// To log now about rule (b). Of several crowds, the largest.
    pub shared: Option<HoldReport>,
    /// To log now about rule (c), with the service of the largest crowd.
    pub of_service: Option<(HoldReport, ServiceKey)>,
}

impl GuardVerdict {
    /// How many a rule newly holds.
    pub fn newly(&self, rule: HoldRule) -> usize {
        self.held.iter().filter(|(_, of, _)| *of == rule).count()
    }

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
        let of_service = self.of_service.as_ref().map(|(held, (tenant, service))| {
            let Crowd { expired, of, .. } = held.crowd;
            format!(
                "{}, {} in all, by the rule of the service: {expired} of {of} instances of the service '{service}' of {tenant} \
                 expired within a heartbeat interval",
                begin(held),
                held.in_all
            )
        });
        preserved.into_iter().chain(shared).chain(of_service).collect()
    }
}

impl Untold {
    fn add(&mut self, crowd: Option<Crowd>, at: &InstanceRef) {
        self.newly += 1;
        let largest = self.crowd.map_or(0, |crowd| crowd.expired);
        if crowd.is_some_and(|crowd| crowd.expired > largest) {
            self.crowd = crowd;
            self.service = Some((at.tenant.clone(), at.service.clone()));
        }
    }
}

impl ExpiryGuard {
    pub fn new(rules: GuardRules) -> Self {
        Self {
            rules,
            waiting: HashMap::new(),
            by_due: BTreeSet::new(),
            recent: VecDeque::new(),
            services: HashMap::new(),
            recent_of_services: VecDeque::new(),
            held_count: 0,
            preserving: None,
            untold: Default::default(),
            tell_after: Monotonic::ZERO,
        }
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
        let excess = self.expire_of_service(&at, &expiry, now);
        let due = now + WINDOW;
        self.by_due.insert((due, at.clone()));
        self.waiting.insert(at, HeldExpiry { since: now, due, expiry, rule: HoldRule::Window, excess });
    }

    /// Counts an expiry for rule (c). Returns the crowd that it is too much in, if it is.
    fn expire_of_service(&mut self, at: &InstanceRef, expiry: &ExpiryFacts, now: Monotonic) -> Option<Crowd> {
        if self.rules.service_share >= 1.0 {
            return None;
        }
        if self.recent_of_services.len() >= MAX_REMEMBERED {
            self.drop_first_of_services();
        }
        let key = (at.tenant.clone(), at.service.clone());
        let service = self.services.entry(key.clone()).or_default();
        // What waits or is held is shown, but the store does not hold it any more.
        let stored_before = expiry.of_service.saturating_sub(service.waiting);
        let let_pass_before = service.let_pass;
        service.recent.push_back(ServiceExpiry { when: now, stored_before, let_pass_before });
        let start = now.saturating_sub(expiry.interval());
        let first = service.recent.partition_point(|expiry| expiry.when < start);
        let expired = service.recent.len() - first;
        let begin = service.recent.get(first).copied()?;
        let let_pass = let_pass_before - begin.let_pass_before + 1;
        let is_excess = begin.stored_before >= LEAST_OF_SERVICE
            && exceeds(let_pass, self.rules.service_share, begin.stored_before);
        service.let_pass += usize::from(!is_excess);
        service.waiting += 1;
        self.recent_of_services.push_back((now, key));
        is_excess.then_some(Crowd { since: now, expired, of: begin.stored_before })
    }

    /// Forgets the oldest expiry that is remembered for rule (c).
    fn drop_first_of_services(&mut self) {
        let Some((_, key)) = self.recent_of_services.pop_front() else { return };
        if let Some(service) = self.services.get_mut(&key) {
            service.recent.pop_front();
            self.drop_service_if_done(&key);
        }
    }

    fn drop_service_if_done(&mut self, key: &ServiceKey) {
        if self.services.get(key).is_some_and(|service| service.waiting == 0 && service.recent.is_empty()) {
            self.services.remove(key);
        }
    }

    /// Drops the expiry of an instance that is there again or gone for another reason.
    pub fn forget(&mut self, at: &InstanceRef) {
        if self.waiting.is_empty() {
            return;
        }
        if let Some(waiting) = self.take(at) {
            self.by_due.remove(&(waiting.due, at.clone()));
            self.end_preserving();
        }
    }

    fn take(&mut self, at: &InstanceRef) -> Option<HeldExpiry> {
        let waiting = self.waiting.remove(at)?;
        self.held_count -= usize::from(waiting.rule != HoldRule::Window);
        if !self.services.is_empty() {
            let key = (at.tenant.clone(), at.service.clone());
            if let Some(service) = self.services.get_mut(&key) {
                service.waiting = service.waiting.saturating_sub(1);
                self.drop_service_if_done(&key);
            }
        }
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
                HoldRule::Window if self.preserving.is_some() => {
                    Some((HoldRule::Preservation, 0, self.preserving))
                }
                HoldRule::Window if share.is_some() => Some((HoldRule::Share, 1, share)),
                HoldRule::Window if waiting.excess.is_some() => Some((HoldRule::Service, 2, waiting.excess)),
                _ => None,
            };
            let until = waiting.since + hold_time(waiting.expiry.ttl_seconds);
            match rule.filter(|_| until > now) {
                Some((rule, which, crowd)) => {
                    if let Some(untold) = self.untold.get_mut(which) {
                        untold.add(crowd, &at);
                    }
                    self.by_due.insert((until, at.clone()));
                    verdict.held.push((at.clone(), rule, until));
                    if let Some(waiting) = self.waiting.get_mut(&at) {
                        self.held_count += usize::from(waiting.rule == HoldRule::Window);
                        (waiting.rule, waiting.due) = (rule, until);
                    }
                }
                None => {
                    let again = (now + WINDOW).min(waiting.since + MAX_HOLD);
                    if again > now && is_awaited(&at) {
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
        if now >= self.tell_after {
            verdict.preserved = self.tell(0, HoldRule::Preservation, now).map(|(report, _)| report);
            verdict.shared = self.tell(1, HoldRule::Share, now).map(|(report, _)| report);
            verdict.of_service = self.tell(2, HoldRule::Service, now);
        }
        self.end_preserving();
        self.drop_old(now);
        verdict
    }

    fn tell(&mut self, which: usize, rule: HoldRule, now: Monotonic) -> Option<(HoldReport, ServiceKey)> {
        let Untold { newly, crowd, service } = std::mem::take(self.untold.get_mut(which)?);
        let (crowd, service) = crowd.zip(service)?;
        self.tell_after = now + TELL_EVERY;
        let in_all = self.waiting.values().filter(|waiting| waiting.rule == rule).count();
        Some((HoldReport { newly, in_all, crowd }, service))
    }

    fn end_preserving(&mut self) {
        if self.waiting.is_empty() {
            self.preserving = None;
        }
    }

    fn share_met(&self, waiting: &HeldExpiry, now: Monotonic) -> Option<Crowd> {
        // Instances that come and go may expire more often than there are instances.
        if self.rules.share >= 1.0 {
            return None;
        }
        let start = now.saturating_sub(waiting.expiry.interval() + SLACK);
        let first = self.recent.partition_point(|(when, _)| *when < start);
        let expired = self.recent.len() - first;
        let shown = self.recent.get(first).map_or(0, |(_, shown_before)| *shown_before);
        let is_met = exceeds(expired, self.rules.share, shown);
        (is_met && expired > LEAST_CROWD).then_some(Crowd { since: now, expired, of: shown })
    }

    fn drop_old(&mut self, now: Monotonic) {
        let start = now.saturating_sub(MAX_HOLD + SLACK);
        let old = self.recent.partition_point(|(when, _)| *when < start);
        self.recent.drain(..old);
        while self.recent_of_services.front().is_some_and(|(when, _)| *when < start) {
            self.drop_first_of_services();
        }
    }
}

impl ExpiryFacts {
    fn interval(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.interval_seconds).unwrap_or(0)).min(MAX_HOLD)
    }
}

/// Whether `part` is more than this share of `whole`.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn exceeds(part: usize, share: f64, whole: usize) -> bool {
    part as f64 > share * whole as f64
}

fn hold_time(ttl_seconds: i64) -> Duration {
    match u64::try_from(ttl_seconds) {
        Ok(seconds) if seconds > 0 => Duration::from_secs(seconds).min(MAX_HOLD),
        _ => MAX_HOLD,
    }
}
