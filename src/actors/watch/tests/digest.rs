//! The digest that events have made, entry by entry, is that of a listing; and a repair makes it so again.

use super::history::{InstanceEnds, KeyHistory};
use super::*;
use crate::actors::watch::state::RepairRead;
use crate::cache::Snapshot;
use crate::cache::digest::Unit;
use crate::cache::snapshot::InstancePart;
use crate::store::Key;

fn listed(history: &KeyHistory) -> Arc<Snapshot> {
    let mut builder = SnapshotBuilder::default();
    history.entries.values().filter_map(super::super::state::listed).for_each(|event| builder.apply(event));
    builder.publish(history.revision).0
}

fn units(snapshot: &Snapshot) -> Vec<Unit> {
    let services = snapshot
        .tenants()
        .flat_map(|(tenant, view)| view.nodes().map(|(id, _)| Unit::Service(tenant.clone(), id.clone())));
    services.chain([Unit::Names, Unit::Rules, Unit::Tenants, Unit::Access]).collect()
}

#[test]
fn events_make_the_digest_of_a_listing() {
    for seed in 0..40 {
        let mut history = KeyHistory::new(seed, InstanceEnds::Some);
        let mut state = WatchState::new(SnapshotBuilder::default(), ExpiryGuard::new(rules(0.2)), 0);
        let mut now = seconds(1000);
        for _ in 0..200 {
            history.go_on();
            for batch in history.batches() {
                now += Duration::from_millis(700);
                state.apply(batch, now);
                state.judge(now);
            }
            let (shown, expected) = (state.step().snapshot, listed(&history));
            let revision = history.revision;
            if revision == 0 {
                continue;
            }
            assert_eq!(shown.digest(), expected.digest(), "seed {seed}, revision {revision}");
            assert_eq!(
                state.digest_at(revision),
                Some(expected.digest()),
                "seed {seed}, revision {revision}"
            );
            for unit in units(&expected).iter().chain(&units(&shown)) {
                let digests = [&shown, &expected].map(|snapshot| snapshot.digest_of(unit));
                assert_eq!(digests[0], digests[1], "seed {seed}, revision {revision}, {unit:?}");
            }
            assert_eq!(expected.held_digest(), 0);
        }
        // All holds end, and what is left of them.
        now += seconds(3600);
        state.judge(now);
        now += seconds(3600);
        state.judge(now);
        let shown = state.step().snapshot;
        assert_eq!((shown.held_digest(), shown.held_count()), (0, 0), "seed {seed}");
    }
}

#[test]
fn the_digest_differs_where_a_single_entry_does() {
    let mut history = KeyHistory::new(3, InstanceEnds::None);
    (0..300).for_each(|_| history.go_on());
    let whole = listed(&history).digest();
    let readable = |history: &KeyHistory| listed(history).digest();
    let mut looked_at = 0;
    for key in history.entries.keys().cloned().collect::<Vec<_>>() {
        let counts = !key.contains("/dep-queue/") && !key.contains("/goodbyes/");
        let entry = history.entries.remove(&key).unwrap();
        let is_read = super::super::state::listed(&entry).is_some();
        assert_eq!(readable(&history) != whole, counts && is_read, "without {key}");
        history.entries.insert(key, entry);
        looked_at += 1;
    }
    assert!(looked_at > 20, "{looked_at}");
    assert_eq!(readable(&history), whole);
}

#[test]
fn what_is_held_does_not_count() {
    let mut world = WatchWorld::new();
    world.register("a", 7);
    let with_one = world.step().snapshot.digest();
    world.register("b", 8);
    let with_both = world.step().snapshot.digest();
    // Before that its end would look like a goodbye.
    world.pass(seconds(200));
    world.expire("b");
    let held = world.step().snapshot;
    assert!(held.instance(&tenant(), "s", "b").is_some(), "it is shown");
    assert_eq!((held.digest(), held.held_count()), (with_one, 1));
    assert_eq!(held.held_digest(), with_both.wrapping_sub(with_one));
    let parts = held.held(&at("b")).unwrap();
    assert!(parts.has(InstancePart::Document) && parts.has(InstancePart::Lease));
    // Back: it counts again, with the new revisions.
    world.register("b", 9);
    let back = world.step().snapshot;
    assert_eq!((back.held_digest(), back.held_count()), (0, 0));
    assert_ne!(back.digest(), with_both);
    world.say_goodbye("b");
    assert_eq!(world.step().snapshot.digest(), with_one);
    world.say_goodbye("a");
    assert_eq!(world.step().snapshot.digest(), 0, "nothing is left");
}

fn read(entry: Option<Entry>, key: &str) -> RepairRead {
    RepairRead { key: key.into(), entry }
}

/// Loses random events, then reads what the store holds.
#[test]
fn a_repair_shows_what_the_store_holds() {
    for seed in 0..40 {
        let mut history = KeyHistory::new(seed, InstanceEnds::None);
        let mut state = WatchState::new(SnapshotBuilder::default(), ExpiryGuard::new(rules(1.0)), 0);
        let mut now = seconds(1000);
        let mut lost: Vec<Key> = Vec::new();
        for number in 0..100 {
            history.go_on();
            for mut batch in history.batches() {
                now += Duration::from_millis(700);
                if number % 3 == 0 {
                    lost.extend(batch.events.drain(..).map(|event| match event {
                        Event::Put(entry) => entry.key,
                        Event::Delete { key, .. } => key,
                    }));
                }
                state.apply(batch, now);
                state.judge(now);
            }
        }
        state.step();
        state.begin_repair(lost.iter().cloned());
        let reads = lost.iter().map(|key| read(history.entries.get(&**key).cloned(), key)).collect();
        state.repair(reads, now);
        let (shown, expected) = (state.step().snapshot, listed(&history));
        assert_eq!(shown.digest(), expected.digest(), "seed {seed}");
        assert_eq!(crate::cache::tests::reads(&shown), crate::cache::tests::reads(&expected), "seed {seed}");
    }
}

#[test]
fn an_event_that_comes_during_a_repair_says_more_than_what_was_read() {
    let mut world = WatchWorld::new();
    world.register("a", 7);
    world.told();
    let key = document("a");
    world.state.begin_repair([Key::from(key.as_str())]);
    let Event::Put(old) = world.put(&key, &json("a"), 1) else { panic!("a put") };
    world.say_goodbye("a");
    world.told();
    assert_eq!(world.state.repair(vec![read(Some(old.clone()), &key)], world.now), 0);
    assert!(!world.has("a"), "it said goodbye after it was read");
    // A read without a repair that has begun is nothing.
    assert_eq!(world.state.repair(vec![read(Some(old), &key)], world.now), 0);
    assert!(!world.has("a"));
}

/// Watchers are told as by events. What is held on purpose stays.
#[test]
fn a_repair_is_told_to_watchers() {
    let mut world = WatchWorld::new();
    for (instance, lease) in [("gone", 1), ("held", 2), ("stays", 3)] {
        world.register(instance, lease);
    }
    world.pass(seconds(200));
    world.expire("held");
    world.told();
    let keys = ["gone", "held", "new"].map(document);
    world.state.begin_repair(keys.iter().map(|key| Key::from(key.as_str())));
    let Event::Put(new) = world.put(document("new"), &json("new"), 1) else { panic!("a put") };
    let reads = vec![read(None, &keys[0]), read(None, &keys[1]), read(Some(new), &keys[2])];
    assert_eq!(world.state.repair(reads, world.now), 2);
    let (changes, fates) = world.told();
    assert_eq!(changes, [(Action::Delete, "gone".to_owned()), (Action::Create, "new".to_owned())]);
    assert_eq!(fates, [("new".to_owned(), Fate::Back)]);
    assert!(world.has("held") && world.has("stays"));
}

/// The keys of an instance, as the store holds them.
fn both(world: &WatchWorld, instance: &str, lease: i64) -> Vec<RepairRead> {
    let puts = [
        world.put(document(instance), &json(instance), 1),
        world.put(lease_key(instance), &lease.to_string(), 1),
    ];
    let taken = puts.into_iter().map(|put| match put {
        Event::Put(entry) => read(Some(entry.clone()), &entry.key),
        Event::Delete { .. } => panic!("a put"),
    });
    taken.collect()
}

fn repair(world: &mut WatchWorld, reads: Vec<RepairRead>) {
    world.state.begin_repair(reads.iter().map(|read| Key::clone(&read.key)));
    let count = reads.len();
    assert_eq!(world.state.repair(reads, world.now), count);
}

/// Nobody knows when the lease was granted, so its end does not look like a goodbye.
#[test]
fn a_repaired_lease_may_be_old() {
    let mut world = WatchWorld::new();
    let reads = both(&world, "a", 7);
    repair(&mut world, reads);
    world.expire("a");
    assert!(world.has("a"), "its expiry waits");
    // A lease whose put the watch has brought is as young as its put.
    world.register("b", 8);
    world.expire("b");
    assert!(!world.has("b"));
}

/// A heartbeat that was taken before knows the lease.
#[test]
fn what_a_repair_removes_is_not_written_again() {
    let mut world = WatchWorld::new();
    world.register("a", 7);
    let shown = world.step().snapshot;
    let mark = shown.instance(&tenant(), "s", "a").unwrap().lease.clone().unwrap();
    assert!(mark.surely_expired(shown.listing));
    repair(&mut world, [document("a"), lease_key("a")].map(|key| read(None, &key)).to_vec());
    assert!(!world.has("a") && !mark.surely_expired(shown.listing));
}

/// The service of an instance was missed as well. Without it, nobody can be told of the instance.
#[test]
fn a_repair_shows_a_service_before_its_instances() {
    let mut world = WatchWorld::new();
    let mut reads = both(&world, "a", 7);
    let service = keys::service(&tenant(), "s");
    let Event::Put(entry) = world.put(&service, "{\"serviceId\":\"s\",\"serviceName\":\"svc\"}", 1) else {
        panic!("a put")
    };
    reads.push(read(Some(entry), &service));
    repair(&mut world, reads);
    let changes = world.step().changes;
    let told: Vec<_> = changes.iter().map(|change| (change.action, change.service.is_some())).collect();
    assert_eq!(told, [(Action::Create, true)]);
}
