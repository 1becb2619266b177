//! A full disk under a real daemon. Only writes fail, and only while the disk is full.

use std::fs;
use std::time::{Duration, Instant};

use super::owners::{BEAT, Owners};
use super::proxy::{names, short_leases};
use crate::support::daemon::Daemon;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::scale::Scale;

/// Bytes that the longest file may still grow.
const ROOM: u64 = 2_500;

/// An instance that outlives the test without a heartbeat.
fn lasting(id: &str) -> Instance {
    Instance::named(id).with_health_check(600, 3)
}

/// Length of the daemon's longest file, in bytes.
fn longest_file(node: &Daemon) -> u64 {
    let data = fs::read_dir(node.folder().join("data")).unwrap();
    data.map(|entry| entry.unwrap().metadata().unwrap().len()).max().unwrap()
}

/// Injected, several times: no file can grow any more, in the middle of a write. The daemon refuses writes with a 5xx, and its own
/// writes fail as well. Heartbeats keep short leases alive, and finds and `/health` are answered. When there is room again, writes
/// succeed. After `kill -9` every write that was answered 200 is there, and no write that was refused.
#[test]
fn a_disk_without_room_refuses_writes_only_and_recovers() {
    let rounds = Scale::of_this_run().choose(3, 30);
    let mut node = Daemon::start(short_leases().surviving_file_limit()).unwrap();
    let registry = Registry::new(node.client(), "default");
    let service = registry.create_service("provider", "1.0.0").unwrap();
    let beating = names("beats", 5);
    for id in &beating {
        registry.register(&service, &Instance::named(id).with_health_check(3, 3)).unwrap();
    }
    let owners = Owners::beat(node.client(), &service, &beating, BEAT);
    let mut held = beating.clone();
    held.extend(names("stays", 60));
    for id in &held[beating.len()..] {
        registry.register(&service, &lasting(id)).unwrap();
    }
    let (mut refused, mut longest) = (0_usize, Duration::ZERO);
    for round in 0..rounds {
        let full = longest_file(&node) + ROOM + 37 * round;
        node.process().limit_files(Some(full));
        let mut refused_now = 0;
        for number in 0.. {
            let id = format!("r{round}-{number}");
            let begin = Instant::now();
            match registry.register(&service, &lasting(&id)) {
                Ok(_) => held.push(id),
                Err(CallError::Refused { status: 500..600, .. }) => refused_now += 1,
                Err(other) => panic!("{id}: {other}"),
            }
            longest = longest.max(begin.elapsed());
            let found = registry.find(None, "provider", Freshness::Fresh).unwrap();
            assert_eq!(found.len(), held.len(), "a find shows every accepted instance and no refused one");
            let health = node.client().get("/v4/default/registry/health").unwrap();
            assert_eq!(health.status, 200, "{}", health.text());
            if refused_now == 10 {
                break;
            }
            assert!(number < 100, "no write was refused");
        }
        refused += refused_now;
        node.process().limit_files(None);
        let id = format!("after{round}");
        eventually(GENEROUS, || registry.register(&service, &lasting(&id)));
        held.push(id);
    }
    let is_there = |id: &String| registry.list(&service, Freshness::Fresh).unwrap().contains(id);
    assert!(beating.iter().all(is_there), "every instance with heartbeats is there");
    owners.stop().assert_all_taken();
    held.retain(|id| !beating.contains(id));
    held.sort();
    eventually(GENEROUS, || node.process().log().contains("writes are refused until writing works again"));
    node.kill9();
    node.restart().unwrap();
    let mut found = registry.list(&service, Freshness::Fresh).unwrap();
    found.retain(|id| !beating.contains(id));
    assert_eq!(found, held, "after kill -9");
    say!(
        "figure: full disk: {rounds} times, {refused} writes refused, longest {longest:?}; {} held",
        held.len()
    );
}
