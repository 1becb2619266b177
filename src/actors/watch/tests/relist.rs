//! A listing leads to the same snapshot as the events before it.

use std::collections::{BTreeSet, VecDeque};

use rand::Rng;

use super::history::{InstanceEnds, KeyHistory};
use super::*;
use crate::cache::SnapshotBuilder;
use crate::cache::tests::reads;
use crate::domain::event::Revision;

fn listed(history: &KeyHistory) -> SnapshotBuilder {
    let mut builder = SnapshotBuilder::default();
    history.entries.values().filter_map(super::super::state::listed).for_each(|event| builder.apply(event));
    builder
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
        let mut builder = SnapshotBuilder::listing_after(self.state.current());
        self.history
            .entries
            .values()
            .filter_map(super::super::state::listed)
            .for_each(|event| builder.apply(event));
        let is_first = self.state.revision() == 0;
        let step = self.state.replace(builder, self.history.revision, self.now);
        if is_first {
            // Before the first listing there is no watch.
            assert!(step.changes.is_empty());
            self.shown = instances(&step.snapshot);
        }
        self.publish(&step);
        assert_eq!(self.state.guard().next_due(), None, "what is listed is shown, and nothing else");
        self.assert_same(&step);
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
    let step = world.state.replace(builder, 10, world.now);
    let mut fates: Vec<(String, Fate)> =
        step.fates.iter().map(|(at, fate)| (at.instance.to_string(), *fate)).collect();
    fates.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(fates, [("gone".to_owned(), Fate::Back), ("new".to_owned(), Fate::Back)]);
    assert!(step.changes.iter().any(|change| change.action == Action::Delete && change.at == at("same")));
}
