//! Random transactions, faults, power cuts and snapshots against a naive model.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use service_center::clock::Clock;
use service_center::store::embedded::EmbeddedStore;
use service_center::store::embedded::Options;
use service_center::store::embedded::faulty_disk::{DiskFault, FaultyDisk};
use service_center::store::{Entry, Event, Key, LeaseId, Op, Revision, Store, Txn};

use super::support::scale::Scale;
use super::{list, options, say, within};
use futures_util::StreamExt;

#[derive(Default)]
struct Model {
    keys: BTreeMap<Key, Entry>,
    leases: Vec<LeaseId>,
    revision: Revision,
}

impl Model {
    /// Applies a transaction with these operations at the next revision; whether anything changed.
    fn apply(&mut self, ops: &[Op]) -> bool {
        let revision = self.revision + 1;
        let mut changed = false;
        for op in ops {
            match op {
                Op::Put { key, value, lease } => {
                    let before = self.keys.get(key);
                    let entry = Entry {
                        key: key.clone(),
                        value: value.clone(),
                        compact: None,
                        create_revision: before.map_or(revision, |before| before.create_revision),
                        mod_revision: revision,
                        version: before.map_or(1, |before| before.version + 1),
                        lease: *lease,
                    };
                    self.keys.insert(key.clone(), entry);
                    changed = true;
                }
                Op::Delete(key) => changed |= self.keys.remove(key).is_some(),
                Op::DeletePrefix(prefix) => {
                    let count = self.keys.len();
                    self.keys.retain(|key, _| !key.starts_with(&**prefix));
                    changed |= self.keys.len() < count;
                }
                Op::Get(_) | Op::GetPrefix(_) => {}
            }
        }
        if changed {
            self.revision = revision;
        }
        changed
    }

    fn end(&mut self, lease: LeaseId) {
        let count = self.keys.len();
        self.keys.retain(|_, entry| entry.lease != Some(lease));
        self.revision += Revision::from(self.keys.len() < count);
        self.leases.retain(|other| *other != lease);
    }

    fn listing(&self) -> (Vec<Entry>, Revision) {
        (self.keys.values().cloned().collect(), self.revision)
    }
}

fn key(random: &mut StdRng) -> Key {
    let folders = ["/", "/a/", "/a/b/", "/cse-sr/inst/files/d/p/s/"];
    let names = ["x", "0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff", "y-1", "b"];
    Key::from(format!("{}{}", folders[random.random_range(0..4)], names[random.random_range(0..5)]))
}

/// A value of 64 to 5,000 bytes that the store compares with others: of two forms, each with its own shared parts, and with random parts.
fn document(random: &mut StdRng) -> Vec<u8> {
    let form = random.random_range(0..2);
    let length = if random.random_bool(0.5) { 300 } else { random.random_range(64..=5_000) };
    let mut document = Vec::new();
    for part in 0.. {
        document.extend(
            format!("\"form-{form}\":\"the part {} of the form {form}\",\"", part * (form + 1)).bytes(),
        );
        match random.random_range(0..4) {
            0 => document.extend(format!("{:016x}", random.random::<u64>()).bytes()),
            1 => document.extend((0..random.random_range(0..20)).map(|_| random.random::<u8>())),
            _ => {}
        }
        if document.len() >= length {
            break;
        }
    }
    document.truncate(length);
    document
}

fn ops(random: &mut StdRng, leases: &[LeaseId]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let mut used = Vec::new();
    for _ in 0..random.random_range(1..4) {
        let key = key(random);
        if used.contains(&key) {
            continue;
        }
        used.push(key.clone());
        ops.push(match random.random_range(0..10) {
            0..7 => {
                let lease = (!leases.is_empty() && random.random_bool(0.5))
                    .then(|| leases[random.random_range(0..leases.len())]);
                let value = if random.random_bool(1.0 / 3.0) {
                    document(random)
                } else {
                    vec![random.random(); random.random_range(0..60)]
                };
                Op::Put { key, value: value.into(), lease }
            }
            7 if ops.is_empty() => {
                return vec![Op::DeletePrefix(key[..random.random_range(1..4).min(key.len())].into())];
            }
            _ => Op::Delete(key),
        });
    }
    ops
}

async fn scenario(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let disk = FaultyDisk::new();
    let eager = || Options { snapshot_log_bytes: 2_000, ..options() };
    let open = |disk: &FaultyDisk| {
        EmbeddedStore::open_on(Arc::new(disk.clone()), eager(), Clock::system())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"))
    };
    let mut disk = disk;
    let mut store = open(&disk);
    let mut model = Model { revision: 1, ..Model::default() };
    let mut watching = store.watch("", 1);
    let mut watched: BTreeMap<Key, Entry> = BTreeMap::new();
    for step in 0..150 {
        match random.random_range(0..20) {
            0 => model.leases.push(store.grant(600).await.expect("a lease").id),
            1 if !model.leases.is_empty() => {
                let lease = model.leases[random.random_range(0..model.leases.len())];
                assert_eq!(store.revoke(lease).await, Ok(true), "seed {seed}, step {step}");
                model.end(lease);
            }
            2 => {
                // No transaction fits, so that all of them are undone.
                disk.fail(DiskFault::NoSpaceAfter(random.random_range(0..30)));
                let txns = vec![
                    Txn { then: ops(&mut random, &model.leases), ..Txn::default() },
                    Txn {
                        then: vec![Op::Put { key: "/z".into(), value: vec![0; 50].into(), lease: None }],
                        ..Txn::default()
                    },
                ];
                let outcomes = store.batch(txns).await;
                assert!(outcomes[1].is_err(), "seed {seed}, step {step}: {outcomes:?}");
                disk.fail(DiskFault::None);
            }
            3 => {
                if random.random_bool(0.5) {
                    within("closing", store.close()).await;
                } else {
                    disk = disk.after_power_cut(0);
                }
                store = open(&disk);
                let (entries, revision) = list(&store).await;
                assert_eq!(
                    (entries.clone(), revision),
                    model.listing(),
                    "seed {seed}, step {step}: after a restart"
                );
                let used = |lease: &LeaseId| model.keys.values().any(|entry| entry.lease == Some(*lease));
                model.leases = model.leases.iter().copied().filter(used).collect();
                watched = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
                watching = store.watch("", revision + 1);
            }
            _ => {
                let batch: Vec<Vec<Op>> =
                    (0..random.random_range(1..4)).map(|_| ops(&mut random, &model.leases)).collect();
                let txns = batch.iter().map(|then| Txn { then: then.clone(), ..Txn::default() }).collect();
                for (ops, outcome) in batch.iter().zip(store.batch(txns).await) {
                    let outcome =
                        outcome.unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error:?}"));
                    let changed = model.apply(ops);
                    let expected = (changed, model.revision);
                    assert_eq!(
                        (outcome.changed, outcome.revision),
                        expected,
                        "seed {seed}, step {step}: {ops:?}"
                    );
                }
            }
        }
        assert_eq!(list(&store).await, model.listing(), "seed {seed}, step {step}");
    }
    let mut reached = list(&store).await.1;
    let last = model.revision;
    // A separate key marks the end of the watch.
    let end = Op::Put { key: "/end".into(), value: "x".into(), lease: None };
    model.apply(std::slice::from_ref(&end));
    let outcome = store.batch(vec![Txn { then: vec![end], ..Txn::default() }]).await.remove(0);
    assert_eq!(outcome.map(|outcome| outcome.revision), Ok(last + 1));
    while reached < last + 1 {
        let batch = within("a batch", watching.next()).await.unwrap().unwrap();
        reached = batch.revision;
        for event in batch.events {
            match event {
                Event::Put(entry) => drop(watched.insert(entry.key.clone(), entry)),
                Event::Delete { key, .. } => assert!(watched.remove(&key).is_some(), "seed {seed}: {key}"),
            }
        }
    }
    assert_eq!(watched, model.keys, "seed {seed}: listing and watch together");
    within("closing", store.close()).await;
}

#[tokio::test]
async fn random_histories_follow_the_model() {
    // The first seeds are always the same. A long run uses further random ones.
    let more: u64 = rand::random();
    let random = Scale::of_this_run().choose(0, 1_000);
    say(&format!("figure: random histories: 60 seeds from 0, {random} from {more}"));
    for seed in (0..60).chain((0..random).map(|number| more.wrapping_add(number))) {
        scenario(seed).await;
    }
}
