//! Owners that vanish: nine in ten at once, three in ten, and one alone.
//!
//! When a registry loses most of its instances at once, a network fault is more likely than the end of all of them. So the
//! registry holds these expiries back for a while, logs that it does, and then lets the instances go.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::agreement::{agree_on, on_node};
use super::owners::Owners;
use super::proxy::{names, short_leases};
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{Instance, Registry, next_event};
use crate::support::scale::Scale;
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

/// Threads that register instances.
const REGISTRARS: usize = 8;
/// Instances that are registered before their owners begin to send heartbeats. To register thousands takes longer than a lease.
const LOT: usize = 1000;
/// Limit of a wait. In a long run a lease lasts one minute, and an expiry is held back for another.
const LONG_WAIT: Duration = Duration::from_secs(300);

/// The leases and heartbeats of all owners.
#[derive(Clone, Copy, Debug)]
struct Rhythm {
    /// The health check of the instances: seconds between two heartbeats, and how many may be missing.
    interval: u32,
    times: u32,
    /// The pause between two heartbeats. Several fit into the interval.
    every: Duration,
}

impl Rhythm {
    fn of_this_run() -> Self {
        let short = Self { interval: 3, times: 3, every: Duration::from_secs(1) };
        Scale::of_this_run().choose(short, Self { interval: 30, times: 1, every: Duration::from_secs(5) })
    }

    fn lease(self) -> Duration {
        Duration::from_secs(u64::from(self.interval * (self.times + 1)))
    }
}

struct MassExpiryScene {
    etcd: Etcd,
    nodes: [Daemon; 2],
    service: String,
    rhythm: Rhythm,
    /// Owners that send heartbeats to the first node until the end of the test.
    living: Vec<Owners>,
    /// Owners that send heartbeats to the first node until they vanish.
    mortal: Vec<Owners>,
    count: usize,
    watch: WebSocket,
}

impl MassExpiryScene {
    /// Starts two nodes, registers these instances at the first, and opens a watch at the second.
    fn new(living: &[String], mortal: &[String]) -> Self {
        let etcd = Etcd::start();
        let start = || Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
        let nodes = [start(), start()];
        let registry = Registry::new(nodes[0].client(), "default").patient();
        let service = registry.create_service("provider", "1.0.0").unwrap();
        let consumer = registry.create_service("consumer", "1.0.0").unwrap();
        let rhythm = Rhythm::of_this_run();
        let begin = Instant::now();
        let [mortal_owners, living_owners] = [mortal, living].map(|ids| {
            let lots = ids.chunks(LOT).map(|lot| {
                register_all(&registry, &service, lot, rhythm);
                Owners::beat(nodes[0].client(), &service, lot, rhythm.every)
            });
            lots.collect::<Vec<Owners>>()
        });
        let watching = Registry::new(nodes[1].client(), "default");
        watching.depend(&consumer, "provider", &service);
        let count = living.len() + mortal.len();
        let scene = Self {
            watch: WebSocket::open(nodes[1].address(), &watching.watch_target(&consumer), &[]).unwrap(),
            etcd,
            nodes,
            service,
            rhythm,
            living: living_owners,
            mortal: mortal_owners,
            count,
        };
        scene.agree_on(&[living, mortal].concat());
        say!("figure: mass expiry: {count} instances registered and agreed on after {:?}", begin.elapsed());
        scene
    }

    fn agree_on(&self, ids: &[String]) {
        agree_on(&[&self.nodes[0], &self.nodes[1]], &self.etcd, &self.service, ids);
    }

    fn mortals_vanish(&mut self) {
        for owners in self.mortal.drain(..) {
            owners.stop().assert_all_taken();
        }
    }

    /// Every heartbeat of the living owners was answered 200.
    fn assert_living_were_taken(&mut self) {
        for owners in self.living.drain(..) {
            owners.stop().assert_all_taken();
        }
    }

    /// The expired instances that this node holds back.
    fn held(&self, node: usize) -> HeldByRule {
        let mut held = HeldByRule::new();
        for expiry in self.nodes[node].client().all_items("/v4/default/admin/expiries").unwrap() {
            let word = |name: &str| expiry[name].as_str().unwrap_or_default().to_owned();
            held.entry(word("rule")).or_default().insert(word("instanceId"));
        }
        held
    }

    /// Waits until the rule `share` or `preservation` holds back all of these instances, and the node has logged it. Returns the
    /// instances by rule.
    ///
    /// In a short run all leases end at once, and no instance may go before. In a long run etcd ends only 1,000 leases a second.
    /// Then up to a fifth of all instances may go before the rule `share` applies.
    #[track_caller]
    fn wait_until_held(&mut self, node: usize, ids: &[String]) -> HeldByRule {
        let may_go = Scale::of_this_run().choose(0, self.count / 5);
        let held = eventually(LONG_WAIT, || {
            let held = self.held(node);
            let waits = held.get("window").map_or(0, BTreeSet::len);
            let in_all: usize = held.values().map(BTreeSet::len).sum();
            if waits > 0 || in_all + may_go < ids.len() {
                return Err(format!("{in_all} are held back, {waits} of them by no rule yet"));
            }
            let shown = self.shown(node);
            let gone = ids.iter().filter(|id| !shown.contains(*id)).count();
            let is_over = in_all + gone == ids.len();
            if is_over { Ok(held) } else { Err(format!("{in_all} are held back, {gone} are gone")) }
        });
        for (rule, held) in &held {
            assert!(
                held.iter().all(|id| id.starts_with("dies")),
                "an instance that lives is held back by {rule}: {held:?}"
            );
            let counted = self.nodes[node].metric(&format!("service_center_expiries_held_by_{rule}_total"));
            assert!(counted >= held.len(), "{counted} counted, {} held by {rule}", held.len());
        }
        eventually(GENEROUS, || self.nodes[node].process().log().contains("expired instances are held"));
        let counts: BTreeMap<&str, usize> =
            held.iter().map(|(rule, held)| (rule.as_str(), held.len())).collect();
        say!("figure: mass expiry: of {} gone node {node} holds {counts:?}", ids.len());
        held
    }

    fn shown(&self, node: usize) -> BTreeSet<String> {
        on_node(&self.nodes[node].client(), &self.service).unwrap().into_keys().collect()
    }

    /// Waits until this node holds no expiry back any more.
    #[track_caller]
    fn wait_until_let_go(&self, node: usize) {
        eventually(LONG_WAIT, || {
            let held: usize = self.held(node).values().map(BTreeSet::len).sum();
            if held == 0 { Ok(()) } else { Err(format!("{held} are held back")) }
        });
    }

    /// The next event, as action and instance id.
    fn event(&mut self) -> (String, String) {
        next_event(&mut self.watch, LONG_WAIT).unwrap()
    }
}

/// The ids of expired instances that a node still shows, by the rule that holds them back.
type HeldByRule = BTreeMap<String, BTreeSet<String>>;

fn register_all(registry: &Registry, service: &str, ids: &[String], rhythm: Rhythm) {
    let part = ids.len().div_ceil(REGISTRARS).max(1);
    thread::scope(|scope| {
        for ids in ids.chunks(part) {
            scope.spawn(move || {
                for id in ids {
                    let instance = Instance::named(id).with_health_check(rhythm.interval, rhythm.times);
                    registry.register(service, &instance).unwrap();
                }
            });
        }
    });
}

/// Injected: nine in ten owners vanish at once. Their instances stay visible on both nodes. Meanwhile a living owner unregisters
/// its instance, which is gone at once, and some of the vanished owners send heartbeats again, which keeps their instances. Then
/// the other instances go.
#[test]
fn nine_in_ten_vanished_owners_are_held_and_let_go() {
    let count = Scale::of_this_run().choose(100, 20_000);
    let (living, mortal) = (names("lives", count / 10), names("dies", count - count / 10));
    let mut scene = MassExpiryScene::new(&living, &mortal);
    let begin = Instant::now();
    scene.mortals_vanish();
    let held = [0, 1].map(|node| scene.wait_until_held(node, &mortal));
    let [first, second] = held.map(|mut by_rule| {
        let preserved = by_rule.remove("preservation").expect("most of all that are shown are gone");
        let shared = by_rule.remove("share").unwrap_or_default();
        (preserved, shared)
    });

    let registry = Registry::new(scene.nodes[0].client(), "default").patient();
    registry.unregister(&scene.service, &living[0]).unwrap();
    let mut gone = BTreeSet::new();
    loop {
        let (action, id) = scene.event();
        assert_eq!(action, "DELETE", "{id}");
        if id == living[0] {
            break;
        }
        let is_held = second.0.contains(&id) || second.1.contains(&id);
        assert!(!is_held && gone.insert(id.clone()), "a goodbye overtakes what is held: {id}");
    }
    assert_eq!(gone.len() + second.0.len() + second.1.len(), mortal.len());

    // Both nodes still hold these back, so they were the last to expire.
    let back: Vec<String> = first.0.intersection(&second.0).take(count / 20).cloned().collect();
    assert_eq!(back.len(), count / 20);
    scene.living.push(Owners::beat(scene.nodes[0].client(), &scene.service, &back, scene.rhythm.every));
    let is_back: BTreeSet<&String> = back.iter().collect();
    while gone.len() < mortal.len() - back.len() {
        let (action, id) = scene.event();
        match action.as_str() {
            "CREATE" => assert!(is_back.contains(&id), "{id} is created"),
            "DELETE" => assert!(!is_back.contains(&id) && gone.insert(id.clone()), "{id} is gone"),
            other => panic!("{other} of {id}"),
        }
    }
    (0..2).for_each(|node| scene.wait_until_let_go(node));
    scene.agree_on(&[&living[1..], &back].concat());
    scene.living.pop().unwrap().stop().assert_all_taken();
    say!("figure: mass expiry: over {:?} later, leases of {:?}", begin.elapsed(), scene.rhythm.lease());
}

/// Injected: three in ten owners vanish at once. That is too many for a coincidence (rule `share`), and too few for the rule
/// `preservation`.
#[test]
fn three_in_ten_vanished_owners_are_held_and_let_go() {
    let count = Scale::of_this_run().choose(100, 5_000);
    let (living, mortal) = (names("lives", count - count * 3 / 10), names("dies", count * 3 / 10));
    let mut scene = MassExpiryScene::new(&living, &mortal);
    scene.mortals_vanish();
    for node in 0..2 {
        let held = scene.wait_until_held(node, &mortal);
        assert_eq!(held.keys().collect::<Vec<_>>(), ["share"]);
    }
    (0..2).for_each(|node| scene.wait_until_let_go(node));
    scene.agree_on(&living);
    scene.assert_living_were_taken();
}

/// Injected: one owner in a hundred vanishes. No rule holds its instance back. The expiry waits as every expiry does, and passes.
#[test]
fn one_vanished_owner_is_gone_soon() {
    let (living, mortal) = (names("lives", 99), names("dies", 1));
    let mut scene = MassExpiryScene::new(&living, &mortal);
    scene.mortals_vanish();
    let mut dying = mortal[0].clone();
    for round in 1.. {
        // The expiry waits for 2 s. A machine that stands still for so long shows nothing of it: then another instance dies.
        let was_held_back = eventually(LONG_WAIT, || {
            let is_held_back = scene.held(1).get("window").is_some_and(|held| held.contains(&dying));
            let is_shown = scene.shown(1).contains(&dying);
            if is_shown { is_held_back.then_some(true) } else { Some(false) }
        });
        assert_eq!(scene.event(), ("DELETE".to_owned(), dying.clone()));
        if was_held_back {
            break;
        }
        assert!(round < 5, "the expiry of {dying} was not held back");
        dying = format!("dies{round}");
        let registry = Registry::new(scene.nodes[0].client(), "default").patient();
        register_all(&registry, &scene.service, std::slice::from_ref(&dying), scene.rhythm);
        assert_eq!(scene.event(), ("CREATE".to_owned(), dying.clone()));
    }
    scene.agree_on(&living);
    scene.assert_living_were_taken();
    for node in &scene.nodes {
        for rule in ["preservation", "share", "service"] {
            assert_eq!(node.metric(&format!("service_center_expiries_held_by_{rule}_total")), 0);
        }
    }
}
