//! The only etcd of two nodes is killed and started again on the same data, the simplest failure of a small installation.
//!
//! Meanwhile a node answers every read from its memory and refuses every write with a clear error. Afterwards both nodes show what
//! etcd holds. Instances with heartbeats are there. Unregistered instances never come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::agreement::{agree_on, on_node};
use super::owners::{Owners, beats_away};
use super::proxy::{assert_refused_clearly, is_healthy, names, short_leases};
use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Client;
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::stop::StopWhenDropped;
use crate::support::store::on_etcd;

/// Reads from one node until it is told to stop; how many reads there were. Each is answered, and shows all instances that stay and
/// none that was unregistered.
fn look(client: &Client, service: &str, stay: &[String], gone: &[String], is_over: &AtomicBool) -> usize {
    let registry = Registry::new(client.clone(), "default");
    let mut looks = 0;
    while !is_over.load(Ordering::Relaxed) {
        let shown = on_node(client, service).expect("a look from memory");
        let found = registry.find(None, "provider", Freshness::Fresh).expect("a find");
        for id in stay {
            assert!(shown.contains_key(id) && found.contains(id), "{id} is not shown");
        }
        for id in gone {
            assert!(!shown.contains_key(id) && !found.contains(id), "{id} is back");
        }
        looks += 2;
    }
    looks
}

/// Injected: etcd is killed right after some instances were unregistered. It is started again when it was away for longer than a
/// lease.
#[test]
fn a_restarted_etcd_finds_every_node_as_it_is() {
    let mut etcd = Etcd::start();
    let nodes = [0, 1].map(|_| Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap());
    let both = [&nodes[0], &nodes[1]];
    let [here, there] = both.map(|node| Registry::new(node.client(), "default").patient());
    let service = here.create_service("provider", "1.0.0").unwrap();
    let (beating, gone, silent) = (names("beats", 10), names("goes", 5), names("silent", 1));
    // Long leases, so that these do not expire before they are unregistered.
    for id in &gone {
        here.register(&service, &Instance::named(id)).unwrap();
    }
    for id in &silent {
        here.register(&service, &Instance::named(id).with_health_check(1, 3)).unwrap();
    }
    let owners = Owners::register(nodes[0].client(), &service, &beating, (1, 3));
    eventually(GENEROUS, || {
        let shown = on_node(&nodes[1].client(), &service).unwrap();
        beating.iter().chain(&gone).all(|id| shown.contains_key(id))
    });
    for id in &gone {
        there.unregister(&service, id).unwrap();
    }
    eventually(GENEROUS, || {
        let shown = both.map(|node| on_node(&node.client(), &service).unwrap());
        shown.iter().all(|shown| !gone.iter().any(|id| shown.contains_key(id)))
    });
    let (is_over, mut refusals, mut was_unhealthy) = (AtomicBool::new(false), 0, false);
    let [mut longest, mut healthy_after] = [Duration::ZERO; 2];
    let looks = thread::scope(|scope| {
        let looking: Vec<_> = both
            .iter()
            .map(|node| {
                let (client, service, stay, gone, is_over) =
                    (node.client(), &service, &beating, &gone, &is_over);
                scope.spawn(move || look(&client, service, stay, gone, is_over))
            })
            .collect();
        let stop = StopWhenDropped(&is_over);
        etcd.kill();
        let rounds = owners.rounds() + beats_away();
        while owners.rounds() < rounds {
            for node in both {
                longest = longest.max(assert_refused_clearly(&node.client(), "meanwhile"));
                refusals += 1;
            }
        }
        was_unhealthy = is_healthy(&nodes[0].client()).is_err();
        etcd.restart();
        let back = Instant::now();
        for node in both {
            eventually(GENEROUS, || is_healthy(&node.client()));
        }
        healthy_after = back.elapsed();
        for registry in [&here, &there] {
            eventually(GENEROUS, || registry.create_service("afterwards", "1.0.0"));
        }
        // The instance without heartbeats goes. Both nodes show what etcd holds.
        let after = agree_on(&both, &etcd, &service, &beating);
        let rounds = owners.rounds();
        eventually(GENEROUS, || owners.rounds() >= rounds + 12);
        assert_eq!(agree_on(&both, &etcd, &service, &beating), after, "and it stays so");
        drop(stop);
        looking.into_iter().map(|looking| looking.join().unwrap()).sum::<usize>()
    });
    let answers = owners.stop();
    answers.assert_all_taken();
    say!(
        "figure: etcd restarted: {looks} looks, all answered; {} beats taken; {refusals} writes refused, longest {longest:?}; \
         /health complained: {was_unhealthy}, and is good {healthy_after:?} after etcd answers",
        answers.taken
    );
}
