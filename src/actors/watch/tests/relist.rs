//! A listing leads to the same snapshot as the events before it.

use std::collections::{BTreeSet, VecDeque};

use rand::Rng;
use rand::seq::IndexedMutRandom;

use super::history::{InstanceEnds, KeyHistory};
use super::*;
use crate::cache::listing;
use crate::cache::tests::reads;
use crate::domain::event::{RegistryEvent, Revision};

fn listed(history: &KeyHistory) -> SnapshotBuilder {
    let mut builder = SnapshotBuilder::default();
    history.entries.values().filter_map(super::super::state::listed).for_each(|event| builder.apply(event));
    builder
}

/// An empty working copy for the next listing.
fn listing_after(former: &crate::cache::Snapshot) -> SnapshotBuilder {
    SnapshotBuilder::listing_after(former, former.listing + 1)
}

fn show_listed(builder: &mut SnapshotBuilder) {
    builder.take_listed().for_each(|service| builder.show_listed(service));
}

/// Lists in pages of random sizes. The pages of different trees come mixed, as those of etcd do.
fn list_in_pages(history: &mut KeyHistory, builder: &mut SnapshotBuilder) {
    let of_tree = |tree: &&str| -> Vec<Entry> {
        history.entries.values().filter(|entry| entry.key.starts_with(tree)).cloned().collect()
    };
    let mut trees: Vec<Vec<Entry>> = keys::READ_MODEL.iter().map(of_tree).collect();
    loop {
        trees.retain(|tree| !tree.is_empty());
        let Some(tree) = trees.choose_mut(&mut history.random) else { return show_listed(builder) };
        let page: Vec<Entry> = tree.drain(..history.random.random_range(1..=tree.len())).collect();
        let events = page.iter().filter_map(super::super::state::listed);
        listing::parts(events).into_iter().for_each(|part| builder.apply_listed(part));
    }
}

fn instances(snapshot: &crate::cache::Snapshot) -> BTreeSet<InstanceRef> {
    let mut all = BTreeSet::new();
    for (tenant, view) in snapshot.tenants() {
        for (service, node) in view.nodes() {
            all.extend(node.instances.entries().map(|(instance, _)| InstanceRef {
                tenant: tenant.clone(),
                service: service.clone(),
                instance: instance.clone(),
            }));
        }
    }
    all
}

/// A watcher that applies all changes knows what the snapshot shows.
fn follow(shown: &mut BTreeSet<InstanceRef>, step: &WatchStep, seed: u64) {
    for change in &step.changes {
        match change.action {
            Action::Create | Action::Update => drop(shown.insert(change.at.clone())),
            Action::Delete => assert!(shown.remove(&change.at), "seed {seed}: {:?} was not shown", change.at),
        }
    }
    assert_eq!(*shown, instances(&step.snapshot), "seed {seed}: changes and snapshot");
}

/// A state, the history of the store that it follows, and a watcher.
struct RelistScene {
    seed: u64,
    history: KeyHistory,
    /// The events that the watch has not brought yet.
    under_way: VecDeque<WatchBatch>,
    state: WatchState,
    now: Duration,
    shown: BTreeSet<InstanceRef>,
    revision: Revision,
}

impl RelistScene {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            history: KeyHistory::new(seed, InstanceEnds::Some),
            under_way: VecDeque::new(),
            state: WatchState::new(SnapshotBuilder::default(), ExpiryGuard::new(rules(0.2)), 0),
            now: seconds(1000),
            shown: BTreeSet::new(),
            revision: 0,
        }
    }

    fn write(&mut self) {
        self.history.go_on();
        self.under_way.extend(self.history.batches());
    }

    fn watch(&mut self) {
        if let Some(batch) = self.under_way.pop_front() {
            self.now += Duration::from_millis(700);
            self.state.apply(batch, self.now);
            self.judge();
        }
    }

    fn judge(&mut self) {
        self.state.judge(self.now);
        let step = self.state.step();
        self.publish(&step);
    }

    fn publish(&mut self, step: &WatchStep) {
        let seed = self.seed;
        assert!(step.snapshot.revision >= self.revision, "seed {seed}: the revision went back");
        self.revision = step.snapshot.revision;
        follow(&mut self.shown, step, seed);
        // Fills the kept answers, and asserts that they are right.
        reads(&step.snapshot);
    }

    /// Lists the store, including events that the watch has not brought yet.
    fn relist(&mut self) {
        self.under_way.clear();
        let mut builder = listing_after(self.state.current());
        list_in_pages(&mut self.history, &mut builder);
        let is_first = self.state.revision() == 0;
        let step = self.state.replace(builder, &[], self.history.revision, self.now);
        if is_first {
            // Before the first listing there is no watch.
            assert!(step.changes.is_empty());
            self.shown = instances(&step.snapshot);
        }
        self.publish(&step);
        let listing = instances(&listed(&self.history).publish(self.history.revision).0);
        let held: BTreeSet<InstanceRef> = self.state.guard().held().map(|(at, ..)| at.clone()).collect();
        assert!(held.is_disjoint(&listing), "seed {}: what is listed is not held", self.seed);
        let shown: BTreeSet<InstanceRef> = listing.union(&held).cloned().collect();
        assert_eq!(instances(&step.snapshot), shown, "seed {}: what is listed or held is shown", self.seed);
        if held.is_empty() {
            self.assert_same(&step);
        }
        self.state.resume(self.now);
    }

    /// Brings all events, and passes more time than any expiry is held.
    fn settle(&mut self) {
        while !self.under_way.is_empty() {
            self.watch();
        }
        self.now += seconds(700);
        self.state.judge(self.now);
        let step = self.state.step();
        self.publish(&step);
        assert_eq!(self.state.guard().next_due(), None, "seed {}", self.seed);
        self.assert_same(&step);
    }

    fn assert_same(&self, step: &WatchStep) {
        let listing = listed(&self.history).publish(self.history.revision).0;
        assert_eq!(step.snapshot.revision, listing.revision, "seed {}", self.seed);
        assert_eq!(reads(&step.snapshot), reads(&listing), "seed {}", self.seed);
        assert_eq!(step.snapshot.digest(), listing.digest(), "seed {}", self.seed);
    }
}

fn check(seed: u64) {
    let mut scene = RelistScene::new(seed);
    for _ in 0..150 {
        match scene.history.random.random_range(0..40) {
            0..20 => scene.write(),
            20..36 => scene.watch(),
            36 => scene.relist(),
            37 => scene.state.resume(scene.now),
            38 => {
                scene.now += seconds(scene.history.random.random_range(1..300));
                scene.judge();
            }
            _ => scene.settle(),
        }
    }
    scene.settle();
}

#[test]
fn events_and_listings_in_any_order_lead_to_what_is_listed() {
    (0..150).for_each(check);
}

#[test]
fn who_is_listed_anew_is_back() {
    let mut world = WatchWorld::new();
    world.register("gone", 1);
    world.register("same", 2);
    world.say_goodbye("gone");
    world.told();
    // The state missed that it registered again and that another one came.
    let mut missed = WatchWorld::new();
    missed.revision = 10;
    let mut builder = SnapshotBuilder::default();
    for instance in ["gone", "new"] {
        let Event::Put(entry) = missed.put(document(instance), &json(instance), 1) else { unreachable!() };
        super::super::state::listed(&entry).into_iter().for_each(|event| builder.apply(event));
    }
    let step = world.state.replace(builder, &[], 10, world.now);
    let mut fates: Vec<(String, Fate)> =
        step.fates.iter().map(|(at, fate)| (at.instance.to_string(), *fate)).collect();
    fates.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(fates, [("gone".to_owned(), Fate::Back), ("new".to_owned(), Fate::Back)]);
    assert!(step.changes.iter().any(|change| change.action == Action::Delete && change.at == at("same")));
}

const SERVICE: &str = r#"{"serviceId":"s","appId":"default","serviceName":"s","version":"1.0.0"}"#;

/// The listing of a store that holds these entries, and these goodbyes.
fn list(world: &mut WatchWorld, entries: &[Event], goodbyes: &[RegistryEvent]) -> WatchStep {
    let mut builder = listing_after(world.state.current());
    for event in entries {
        let Event::Put(entry) = event else { continue };
        let events = super::super::state::listed(entry).into_iter();
        listing::parts(events).into_iter().for_each(|part| builder.apply_listed(part));
    }
    show_listed(&mut builder);
    world.state.replace(builder, goodbyes, world.revision, world.now)
}

/// Eight instances of a service expire, which the rule of preservation holds.
fn held_world() -> (WatchWorld, Event) {
    let mut world = WatchWorld::new();
    world.revision = 1;
    let service = world.put(keys::service(&tenant(), "s"), SERVICE, 1);
    let stored = service.clone();
    world.state.apply(WatchBatch { revision: 1, events: vec![service] }, world.now);
    let names: Vec<String> = (0..8).map(|number| format!("i{number}")).collect();
    names.iter().zip(1..).for_each(|(name, lease)| world.register(name, lease));
    world.pass(seconds(200));
    names.iter().for_each(|name| world.expire(name));
    world.pass(seconds(3));
    assert_eq!(world.state.guard().held_count(), 8);
    world.told();
    (world, stored)
}

#[test]
fn what_is_held_is_held_after_a_listing_too() {
    let (mut world, service) = held_world();
    world.revision += 5;
    let (digest, back) =
        (list(&mut WatchWorld::new(), std::slice::from_ref(&service), &[]).snapshot.digest(), "i3");
    let step = list(&mut world, std::slice::from_ref(&service), &[]);
    assert!(step.changes.is_empty(), "{:?}", step.changes);
    let snapshot = step.snapshot;
    assert_eq!((snapshot.instance_count, snapshot.held_count()), (8, 8));
    assert_eq!(snapshot.digest(), digest, "what is held does not count for the digest");
    assert_eq!(world.state.guard().held_count(), 8);
    assert_eq!(world.lease(back), Some(4), "a heartbeat finds its lease, and writes it again");
    // One registers again, and the next listing has it.
    let entries = [service, world.put(document(back), &json(back), 1), world.put(lease_key(back), "44", 1)];
    let step = list(&mut world, &entries, &[]);
    assert_eq!((step.changes.len(), world.state.guard().held_count()), (1, 7));
    assert_eq!(world.lease(back), Some(44));
    // The others go when their time is over.
    world.pass(seconds(120));
    let step = world.step();
    assert_eq!((step.changes.len(), step.snapshot.instance_count, step.snapshot.held_count()), (7, 1, 0));
}

#[test]
fn a_hold_ends_with_a_listing_if_the_service_may_be_another_one_or_somebody_has_ended_it() {
    let shown = |step: &WatchStep| step.snapshot.instance_count;
    let (mut world, _) = held_world();
    assert_eq!(shown(&list(&mut world, &[], &[])), 0, "the service is gone");
    let (mut world, _) = held_world();
    world.revision += 1;
    let other = world.put(keys::service(&tenant(), "s"), SERVICE, 1);
    assert_eq!(shown(&list(&mut world, &[other], &[])), 0, "the service was written meanwhile");
    let (mut world, service) = held_world();
    let released = [RegistryEvent::ExpiriesReleased(tenant(), "s".into())];
    assert_eq!(shown(&list(&mut world, &[service], &released)), 0);
    let (mut world, service) = held_world();
    let goodbyes = [RegistryEvent::LateGoodbye(at("i1"), 2), RegistryEvent::LateGoodbye(at("i2"), 99)];
    let step = list(&mut world, &[service], &goodbyes);
    assert_eq!((shown(&step), world.has("i1")), (7, false), "the other one was about another lease");
    assert_eq!(step.changes.len(), 1);
}

/// The key of a release stays for a minute. It is about the instances that had expired before it.
#[test]
fn a_release_that_was_applied_ends_no_later_hold() {
    let mut world = WatchWorld::new();
    world.revision = 5;
    let Event::Put(release) = world.put(keys::release(&tenant(), "s"), "", 1) else { return };
    let listed = |applied| super::super::state::listed_after(applied, &release);
    assert_eq!(listed(4), Some(RegistryEvent::ExpiriesReleased(tenant(), "s".into())));
    assert_eq!(listed(5), None);
}
