//! Three nodes on one etcd under many faults. Owners register, send heartbeats and unregister at any node, while one node is killed and
//! started again, and another one is cut off from etcd. In the end all nodes and etcd hold the same instances.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::agreement::agree_on;
use super::proxy::short_leases;
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Client;
use crate::support::proxy::Proxy;
use crate::support::registry::{CallError, Instance, Registry};
use crate::support::scale::Scale;
use crate::support::seed;
use crate::support::stop::StopWhenDropped;
use crate::support::store::on_etcd;

const OWNERS: usize = 6;
/// Instances of an owner, which it registers again after it has unregistered them.
const EACH: usize = 5;
/// A client waits so long for an answer before it tries another node.
const PATIENCE: Duration = Duration::from_secs(10);

/// An owner of some instances, with a client of each node.
struct Owner {
    number: usize,
    service: String,
    nodes: Vec<Client>,
    random: StdRng,
    up: BTreeSet<String>,
    answered: usize,
}

impl Owner {
    /// Makes the call at random nodes until it succeeds, as clients do.
    fn until_done(&mut self, call: impl Fn(&Registry, &str) -> Result<(), CallError>) {
        eventually(GENEROUS * 2, || {
            let node = self.nodes[self.random.random_range(0..self.nodes.len())].clone();
            call(&Registry::new(node.limited(PATIENCE), "default"), &self.service)
        });
        self.answered += 1;
    }

    fn turn(&mut self) {
        let id = format!("o{}-{}", self.number, self.random.random_range(0..EACH));
        if !self.up.contains(&id) {
            self.until_done(|node, service| {
                node.register(service, &Instance::named(&id).with_health_check(5, 3)).map(drop)
            });
            self.up.insert(id);
        } else if self.random.random_ratio(1, 3) {
            self.until_done(|node, service| absent_is_gone(node.unregister(service, &id)));
            self.up.remove(&id);
        }
        self.beat();
    }

    /// Sends a heartbeat for each instance. An instance that the registry does not know any more is registered again.
    fn beat(&mut self) {
        for id in self.up.clone() {
            self.until_done(|node, service| match node.heartbeat(service, &id) {
                Err(CallError::Refused { code, .. }) if code == "400017" => {
                    node.register(service, &Instance::named(&id).with_health_check(5, 3)).map(drop)
                }
                other => other,
            });
        }
    }
}

/// Takes "not found" as success: an earlier attempt may have unregistered the instance although its answer got lost.
fn absent_is_gone(outcome: Result<(), CallError>) -> Result<(), CallError> {
    match outcome {
        Err(CallError::Refused { code, .. }) if code == "400017" => Ok(()),
        other => other,
    }
}

/// Runs `meanwhile` while each owner takes one turn after another.
fn beside(owners: &mut [Owner], turn: impl Fn(&mut Owner) + Sync, meanwhile: impl FnOnce()) {
    let (is_over, turn) = (&AtomicBool::new(false), &turn);
    thread::scope(|scope| {
        let _stop = StopWhenDropped(is_over);
        for owner in owners {
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    turn(owner);
                }
            });
        }
        meanwhile();
    });
}

/// Injected, at random moments: `kill -9` of one node, and a cut between another one and etcd.
#[test]
fn all_agree_after_kills_and_cuts() {
    let seed = seed::of_this_run();
    say!("{}", seed::shown(seed));
    let mut random = StdRng::seed_from_u64(seed);
    let etcd = Etcd::start();
    let proxy = Proxy::start(etcd.address()).unwrap();
    let mut killed = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    let cut = Daemon::start(on_etcd(short_leases(), &[proxy.address()])).unwrap();
    let calm = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    let service =
        Registry::new(calm.client(), "default").patient().create_service("provider", "1.0.0").unwrap();
    let mut owners: Vec<Owner> = (0..OWNERS)
        .map(|number| Owner {
            number,
            service: service.clone(),
            nodes: vec![killed.client(), cut.client(), calm.client()],
            random: StdRng::seed_from_u64(random.random()),
            up: BTreeSet::new(),
            answered: 0,
        })
        .collect();
    let faults = Scale::of_this_run().choose(10, 600);
    let (mut kills, mut cuts) = (0, 0);
    let turn = |owner: &mut Owner| {
        owner.turn();
        thread::sleep(Duration::from_millis(owner.random.random_range(0..100)));
    };
    beside(&mut owners, turn, || {
        while kills + cuts < faults {
            thread::sleep(Duration::from_millis(random.random_range(200..2_000)));
            if random.random() {
                killed.kill9();
                thread::sleep(Duration::from_millis(random.random_range(0..1_000)));
                killed.restart().unwrap();
                kills += 1;
            } else {
                if random.random() {
                    proxy.cut()
                } else {
                    proxy.stall()
                }
                thread::sleep(Duration::from_millis(random.random_range(0..4_000)));
                proxy.heal();
                cuts += 1;
            }
        }
    });
    // Every node shows exactly the registered instances. The owners go on with their heartbeats meanwhile. Otherwise the leases would
    // end, and a failure would only show that no instance is left.
    let up: Vec<String> = owners.iter().flat_map(|owner| owner.up.iter().cloned()).collect();
    let beat = |owner: &mut Owner| {
        owner.beat();
        thread::sleep(Duration::from_secs(1));
    };
    beside(&mut owners, beat, || {
        agree_on(&[&killed, &cut, &calm], &etcd, &service, &up);
    });
    let answered: usize = owners.iter().map(|owner| owner.answered).sum();
    say!(
        "figure: soak: {answered} calls done, {kills} kills, {cuts} cuts, {} instances in the end",
        up.len()
    );
    assert!(answered > OWNERS);
}
