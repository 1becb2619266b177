//! A listing leads to the same snapshot as the events that led to what is listed.

use std::collections::BTreeSet;

use super::history::History;
use super::*;
use crate::cache::SnapshotBuilder;
use crate::cache::tests::reads;
use crate::domain::event::Revision;

fn listed(history: &History) -> SnapshotBuilder {
    let mut builder = SnapshotBuilder::default();
    history.entries.values().for_each(|entry| super::super::state::list(&mut builder, entry));
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

/// Watchers who follow the changes know what the snapshot shows.
fn follow(shown: &mut BTreeSet<InstanceRef>, step: &Step, seed: u64) {
    for change in &step.changes {
        match change.action {
            Action::Create | Action::Update => drop(shown.insert(change.at.clone())),
            Action::Delete => assert!(shown.remove(&change.at), "seed {seed}: {:?} was not shown", change.at),
        }
    }
    assert_eq!(*shown, instances(&step.snapshot), "seed {seed}: changes and snapshot");
}

fn check(seed: u64) {
    let mut history = History::new(seed);
    let mut state = WatchState::new(ExpiryGuard::new(0.2), 0);
    let mut now = seconds(1000);
    let (mut shown, mut revision): (_, Revision) = (BTreeSet::new(), 0);
    for _ in 0..6 {
        (0..15).for_each(|_| history.go_on());
        for batch in history.batches() {
            now += Duration::from_millis(700);
            state.apply(batch, now);
            state.judge(now);
            let step = state.step();
            assert!(step.snapshot.revision >= revision, "seed {seed}: the revision went back");
            revision = step.snapshot.revision;
            follow(&mut shown, &step, seed);
            // Fills the ready answers, and asserts that they are right.
            reads(&step.snapshot);
        }
        // Longer than anything is held.
        now += seconds(700);
        state.judge(now);
        let by_events = state.step();
        follow(&mut shown, &by_events, seed);
        assert_eq!(state.guard().next_due(), None, "seed {seed}");
        let by_listing = listed(&history).publish(history.revision).0;
        assert_eq!(by_events.snapshot.revision, history.revision, "seed {seed}");
        assert_eq!(reads(&by_events.snapshot), reads(&by_listing), "seed {seed}");
    }
    // A relist while expiries are held: what is listed is shown.
    history.go_on();
    for batch in history.batches() {
        state.apply(batch, now);
    }
    (0..20).for_each(|_| history.go_on());
    let step = state.step();
    follow(&mut shown, &step, seed);
    let step = state.replace(listed(&history), history.revision, 0.2);
    follow(&mut shown, &step, seed);
    assert_eq!((step.snapshot.revision, state.revision()), (history.revision, history.revision));
    assert_eq!(state.guard().next_due(), None);
    // And the watch goes on from there.
    history.batches();
    (0..20).for_each(|_| history.go_on());
    for batch in history.batches() {
        state.apply(batch, now);
    }
    state.judge(now + seconds(2));
    state.judge(now + seconds(700));
    let step = state.step();
    follow(&mut shown, &step, seed);
    assert_eq!(reads(&step.snapshot), reads(&listed(&history).publish(history.revision).0), "seed {seed}");
}

#[test]
fn events_one_by_one_lead_to_what_is_listed() {
    (0..150).for_each(check);
}

#[test]
fn who_is_listed_anew_is_back() {
    let mut world = World::new();
    world.register("gone", 1);
    world.register("same", 2);
    world.say_goodbye("gone");
    world.told();
    // Missed: it registered again, another one came.
    let mut missed = World::new();
    missed.revision = 10;
    let mut builder = SnapshotBuilder::default();
    for instance in ["gone", "new"] {
        let Event::Put(entry) = missed.put(document(instance), &json(instance), 1) else { unreachable!() };
        super::super::state::list(&mut builder, &entry);
    }
    let step = world.state.replace(builder, 10, 0.2);
    let mut fates: Vec<(String, Fate)> =
        step.fates.iter().map(|(at, fate)| (at.instance.to_string(), *fate)).collect();
    fates.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(fates, [("gone".to_owned(), Fate::Back), ("new".to_owned(), Fate::Back)]);
    assert!(step.changes.iter().any(|change| change.action == Action::Delete && change.at == at("same")));
}
