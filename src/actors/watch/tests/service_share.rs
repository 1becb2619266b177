//! Rule (c): of the expiries of a service within one heartbeat interval, at most a share passes. And the release by hand.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use super::super::guard::{ExpiryFacts, HoldRule};
use super::*;

const INTERVAL: i64 = 30;
/// Longer than each of these tests.
const TTL: i64 = 590;

/// Only rule (c) applies.
fn only_of_services(service_share: f64) -> GuardRules {
    GuardRules { preservation: Preservation::Off, share: 1.0, service_share }
}

fn of(service: &str, instance: &str) -> InstanceRef {
    InstanceRef { tenant: tenant(), service: service.into(), instance: InstanceId::from(instance) }
}

fn held_by_the_rule(guard: &ExpiryGuard) -> BTreeSet<InstanceRef> {
    guard.held().filter(|(_, rule, ..)| *rule == HoldRule::Service).map(|(at, ..)| at.clone()).collect()
}

/// The instances of a service expire at these seconds, one each. Checks which are held 3 s after the last.
fn check(share: f64, instances: usize, expire_at: &[u64], held: &[usize]) {
    let mut guard = ExpiryGuard::new(only_of_services(share));
    let name = |number: usize| of("s", &format!("i{number}"));
    let mut shown = instances;
    for (number, second) in expire_at.iter().enumerate() {
        let now = seconds(1000 + second);
        shown -= guard.judge(now, shown, |_| false).pass.len();
        let expiry = ExpiryFacts {
            ttl_seconds: TTL,
            interval_seconds: INTERVAL,
            shown_before: shown,
            of_service: shown,
        };
        guard.expire(name(number), expiry, now);
    }
    let last = expire_at.last().copied().unwrap_or_default();
    guard.judge(seconds(1003 + last), shown, |_| false);
    let expected: BTreeSet<InstanceRef> = held.iter().map(|number| name(*number)).collect();
    assert_eq!(held_by_the_rule(&guard), expected, "{share} of {instances}, at {expire_at:?}");
}

#[test]
fn at_most_the_share_of_a_service_expires_within_an_interval() {
    check(0.5, 10, &[0; 10], &[5, 6, 7, 8, 9]);
    check(0.5, 10, &[0; 5], &[]);
    check(0.5, 3, &[0, 0, 0], &[1, 2]);
    check(0.3, 3, &[0, 0, 0], &[0, 1, 2]);
    check(0.2, 1000, &[0; 201], &[200]);
    // The interval is 30 s long.
    check(0.34, 4, &[0, 31], &[]);
    check(0.34, 4, &[0, 30], &[1]);
    // At second 31 one of seven has passed, and at second 41 none of six.
    check(0.25, 8, &[0, 10, 20, 31, 41], &[2, 3]);
}

#[test]
fn a_service_with_two_instances_is_not_guarded() {
    check(0.5, 2, &[0, 0], &[]);
    check(0.1, 1, &[0], &[]);
}

#[test]
fn the_rule_is_off_with_the_share_one() {
    check(1.0, 10, &[0; 10], &[]);
}

#[test]
fn what_is_held_passes_after_its_ttl() {
    let mut guard = ExpiryGuard::new(only_of_services(0.5));
    for number in 0..4 {
        let ttl_seconds = if number == 3 { 1 } else { 120 };
        let expiry = ExpiryFacts { ttl_seconds, interval_seconds: INTERVAL, shown_before: 4, of_service: 4 };
        guard.expire(of("s", &format!("i{number}")), expiry, seconds(100));
    }
    let verdict = guard.judge(seconds(102), 4, |_| false);
    let pass: Vec<&str> = verdict.pass.iter().map(|at| at.instance.as_str()).collect();
    assert_eq!(pass, ["i0", "i1", "i3"], "a TTL shorter than the window is over");
    assert_eq!(verdict.newly(HoldRule::Service), 1);
    let lines = verdict.lines(seconds(102));
    let line = "1 expired instances are held, 1 in all, by the rule of the service: 3 of 4 instances of the service 's' of \
                default/default expired within a heartbeat interval";
    assert_eq!(lines, [line]);
    assert_eq!(guard.next_due(), Some(seconds(220)));
    assert_eq!(guard.judge(seconds(220), 1, |_| false).pass, [of("s", "i2")]);
    assert_eq!(guard.next_due(), None);
}

#[test]
fn what_is_known_of_services_is_bounded_by_time() {
    let mut guard = ExpiryGuard::new(only_of_services(0.5));
    for number in 0..1000_usize {
        let now = seconds(100 + number as u64);
        let expiry = ExpiryFacts { ttl_seconds: 5, interval_seconds: 1, shown_before: 9, of_service: 9 };
        guard.expire(of(&format!("s{number}"), "i"), expiry, now);
        guard.judge(now, 9, |_| false);
    }
    guard.judge(seconds(3000), 9, |_| false);
    let facts = ExpiryFacts { ttl_seconds: 5, interval_seconds: 1, shown_before: 9, of_service: 9 };
    guard.expire(of("last", "i"), facts, seconds(4000));
    guard.judge(seconds(4000), 9, |_| false);
    let text = format!("{guard:?}");
    assert!(!text.contains("s999") && text.contains("last"), "{text}");
}

/// The rule as it is told. It looks at all expiries again each time.
#[derive(Default)]
struct NaiveRule {
    expired: Vec<NaiveExpiry>,
    held: BTreeSet<InstanceRef>,
}

struct NaiveExpiry {
    when: Duration,
    service: String,
    stored_before: usize,
    passes: bool,
}

impl NaiveRule {
    fn expire(&mut self, share: f64, at: &InstanceRef, stored_before: usize, now: Duration) {
        let service = at.service.to_string();
        let interval = Duration::from_secs(INTERVAL as u64);
        let recent: Vec<&NaiveExpiry> = self
            .expired
            .iter()
            .filter(|expiry| expiry.service == service && expiry.when + interval >= now)
            .collect();
        let begin = recent.first().map_or(stored_before, |expiry| expiry.stored_before);
        let passed = recent.iter().filter(|expiry| expiry.passes).count();
        let passes = begin < 3 || (passed + 1) as f64 <= share * begin as f64;
        if !passes {
            self.held.insert(at.clone());
        }
        self.expired.push(NaiveExpiry { when: now, service, stored_before, passes });
    }
}

/// A node: its guard, and what it shows.
struct GuardedNode {
    guard: ExpiryGuard,
    shown: BTreeSet<InstanceRef>,
}

impl GuardedNode {
    fn judge(&mut self, now: Duration) {
        for at in self.guard.judge(now, self.shown.len(), |_| false).pass {
            self.shown.remove(&at);
        }
    }

    fn expire(&mut self, at: &InstanceRef, now: Duration) {
        let of_service = self.shown.iter().filter(|shown| shown.service == at.service).count();
        let expiry = ExpiryFacts {
            ttl_seconds: TTL,
            interval_seconds: INTERVAL,
            shown_before: self.shown.len(),
            of_service,
        };
        self.guard.expire(at.clone(), expiry, now);
    }
}

/// Instances register and expire at random. Three nodes get the same events at slightly different times, and judge at different
/// times. All of them hold what the naive rule holds.
#[test]
fn nodes_with_the_same_events_hold_the_same() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let share = [0.1, 0.25, 0.34, 0.5, 0.8].into_iter().choose(&mut random).unwrap();
        let mut stored: BTreeMap<InstanceRef, ()> = BTreeMap::new();
        let mut rule = NaiveRule::default();
        let node =
            || GuardedNode { guard: ExpiryGuard::new(only_of_services(share)), shown: BTreeSet::new() };
        let mut nodes = [node(), node(), node()];
        let mut now = seconds(1000);
        let mut delays = [now; 3];
        for _ in 0..300 {
            // Events come each 4 s and reach all nodes within half a second. So no interval ends between two nodes.
            if random.random_range(0..4) == 0 {
                now += seconds(4);
                delays = [0; 3].map(|_| now + Duration::from_millis(random.random_range(0..500)));
            }
            let at = of(
                ["a", "b", "c"].into_iter().choose(&mut random).unwrap(),
                &format!("i{}", random.random_range(0..12)),
            );
            let service_count = |stored: &BTreeMap<InstanceRef, ()>| {
                stored.keys().filter(|stored| stored.service == at.service).count()
            };
            if stored.contains_key(&at) {
                rule.expire(share, &at, service_count(&stored), now);
                stored.remove(&at);
                nodes.iter_mut().zip(delays).for_each(|(node, now)| node.expire(&at, now));
            } else {
                stored.insert(at.clone(), ());
                rule.held.remove(&at);
                for node in &mut nodes {
                    node.guard.forget(&at);
                    node.shown.insert(at.clone());
                }
            }
            for (node, now) in nodes.iter_mut().zip(delays) {
                if random.random_range(0..3) == 0 {
                    node.judge(now);
                }
            }
        }
        for node in &mut nodes {
            node.judge(now + seconds(3));
            assert_eq!(held_by_the_rule(&node.guard), rule.held, "seed {seed}, share {share}");
            let shown: BTreeSet<InstanceRef> = stored.keys().chain(&rule.held).cloned().collect();
            assert_eq!(node.shown, shown, "seed {seed}: a node shows what the store holds and what is held");
        }
    }
}

/// Four instances, of which at most half may expire.
fn four() -> WatchWorld {
    let mut world = WatchWorld::with(only_of_services(0.5));
    for number in 0..4 {
        world.register(&format!("i{number}"), number);
    }
    world.pass(seconds(121));
    world.told();
    world
}

fn release(world: &mut WatchWorld) {
    let key = keys::release(&tenant(), "s");
    world.next(|world| vec![world.put(&key, "", 1)]);
    // The key ends with its own lease.
    world.next(|world| vec![world.delete(&key)]);
}

#[test]
fn the_rest_is_held_until_somebody_releases_it() {
    let mut world = four();
    (0..4).for_each(|number| world.expire(&format!("i{number}")));
    world.pass(seconds(2));
    let deleted = |name: &str| (Action::Delete, name.to_owned());
    assert_eq!(world.told().0, [deleted("i0"), deleted("i1")]);
    world.pass(seconds(100));
    assert!(world.has("i2") && world.has("i3"));
    release(&mut world);
    assert_eq!(world.told(), (vec![deleted("i2"), deleted("i3")], vec![]), "an expiry, no goodbye");
    assert_eq!(world.state.guard().next_due(), None);
    assert!(world.step().snapshot.tenant(&tenant()).is_none(), "nothing is left of the service");
}

#[test]
fn a_release_ends_also_what_only_waits_and_nothing_else() {
    let mut world = four();
    world.expire("i0");
    release(&mut world);
    assert_eq!(world.told().0, [(Action::Delete, "i0".to_owned())]);
    release(&mut world);
    assert_eq!(world.told(), (vec![], vec![]));
    assert!(["i1", "i2", "i3"].iter().all(|instance| world.has(instance)));
}
