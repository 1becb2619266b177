//! Faults of etcd: the majority is gone, history is compacted under a watch, the leader moves or is killed, answers are slow, and no
//! space is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::agreement::{agree_on, on_node};
use super::outage::Outage;
use super::owners::{Owners, beats_away};
use super::proxy::{assert_refused_clearly, names, short_leases};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::{self, Etcd, EtcdSetup};
use crate::support::eventually::{GENEROUS, eventually, try_eventually};
use crate::support::proxy::Proxy;
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::scale::Scale;
use crate::support::stop::StopWhenDropped;
use crate::support::store::on_etcd;

/// A node answers a write at the latest so long after its commit, also if the snapshot does not hold it yet.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(1);

fn registry(node: &Daemon) -> Registry {
    Registry::new(node.client(), "default")
}

/// The status that a server reports of itself.
fn status(etcd: &Etcd) -> Result<Value, String> {
    let text = etcd.try_ctl(&["endpoint", "status", "-w", "json"])?;
    let status: Value = serde_json::from_str(&text).expect("etcdctl writes JSON");
    Ok(status[0]["Status"].clone())
}

fn revision(etcd: &Etcd) -> String {
    eventually(GENEROUS, || status(etcd))["header"]["revision"].to_string()
}

fn member(status: &Value) -> u64 {
    status["header"]["member_id"].as_u64().expect("a member id")
}

/// The index of the leader.
fn leader(servers: &[Etcd]) -> Result<usize, String> {
    let leads =
        |server| status(server).is_ok_and(|status| status["leader"].as_u64() == Some(member(&status)));
    servers.iter().position(leads).ok_or_else(|| "no server leads".to_owned())
}

/// Two of three servers go away for longer than a lease, and come back.
fn check_majority(outage: Outage) {
    let mut servers = etcd::cluster(3);
    let addresses: Vec<_> = servers.iter().map(Etcd::address).collect();
    let nodes = [0, 1].map(|_| Daemon::start(on_etcd(short_leases(), &addresses)).unwrap());
    let writer = registry(&nodes[0]).patient();
    let service = writer.create_service("provider", "1.0.0").unwrap();
    let beating = names("beats", 10);
    let owners = Owners::register(nodes[0].client(), &service, &beating, (1, 3));
    let before = agree_on(&[&nodes[0], &nodes[1]], &servers[0], &service, &beating);

    servers[1..].iter_mut().for_each(|server| outage.begin(server));
    let rounds = owners.rounds() + beats_away();
    let mut longest = Duration::ZERO;
    let mut refusals = 0;
    while owners.rounds() < rounds {
        for node in &nodes {
            assert_eq!(on_node(&node.client(), &service).unwrap(), before, "from what the node knows");
            assert_eq!(registry(node).find(None, "provider", Freshness::Fresh).unwrap(), beating);
            longest = longest.max(assert_refused_clearly(&node.client(), "meanwhile"));
            refusals += 1;
        }
    }
    servers[1..].iter_mut().for_each(|server| outage.end(server));
    eventually(GENEROUS, || writer.create_service("afterwards", "1.0.0"));
    let after = agree_on(&[&nodes[0], &nodes[1]], &servers[2], &service, &beating);
    assert_eq!(after, before, "with the same documents");
    let rounds = owners.rounds();
    eventually(GENEROUS, || owners.rounds() >= rounds + 12);
    agree_on(&[&nodes[0], &nodes[1]], &servers[1], &service, &beating);
    let answers = owners.stop();
    answers.assert_all_taken();
    say!(
        "figure: majority {outage:?}: {} beats taken, longest answer {:?}; {refusals} writes refused, longest {longest:?}",
        answers.taken,
        answers.longest,
    );
}

/// Injected: two of three servers are killed and started again.
#[test]
fn a_killed_majority_of_etcd_stops_no_reader_and_no_beat() {
    check_majority(Outage::Killed);
}

/// Injected: two of three servers are frozen (their connections stay, and they answer nothing), and then go on.
#[test]
fn a_frozen_majority_of_etcd_stops_no_reader_and_no_beat() {
    check_majority(Outage::Frozen);
}

/// Injected: one node is cut off. Meanwhile instances come, go and change through the other node, and etcd compacts its history. Then the
/// first node reads all entries again, and shows what etcd holds. At no time does it show a part of the list.
#[test]
fn history_compacted_under_a_cut_off_watch_is_listed_anew() {
    let etcd = Etcd::start();
    let proxy = Proxy::start(etcd.address()).unwrap();
    let mut lost = Daemon::start(on_etcd(Settings::default(), &[proxy.address()])).unwrap();
    let near = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let writer = registry(&near).patient();
    let service = writer.create_service("provider", "1.0.0").unwrap();
    let (stay, go, come) = (names("stays", 30), names("goes", 5), names("comes", 5));
    for id in stay.iter().chain(&go) {
        writer.register(&service, &Instance::named(id)).unwrap();
    }
    agree_on(&[&lost, &near], &etcd, &service, &[stay.clone(), go.clone()].concat());
    proxy.cut();
    for id in &go {
        writer.unregister(&service, id).unwrap();
    }
    for id in &come {
        writer.register(&service, &Instance::named(id)).unwrap();
    }
    writer.set_status(&service, &stay[0], "DOWN").unwrap();
    etcd.ctl(&["compact", &revision(&etcd)]);
    let is_healing = AtomicBool::new(false);
    let client = lost.client();
    thread::scope(|scope| {
        let stop = StopWhenDropped(&is_healing);
        let looking = scope.spawn(|| {
            let mut looks = 0_u32;
            while !is_healing.load(Ordering::Relaxed) {
                let shown = on_node(&client, &service).unwrap();
                assert!(
                    stay.iter().all(|id| shown.contains_key(id)),
                    "only a part of the list: {:?}",
                    shown.keys()
                );
                looks += 1;
            }
            looks
        });
        proxy.heal();
        let held = agree_on(&[&lost, &near], &etcd, &service, &[stay.clone(), come.clone()].concat());
        drop(stop);
        say!("figure: compacted: {} whole lists seen while it listed anew", looking.join().unwrap());
        assert_eq!(held[&stay[0]]["status"], "DOWN");
    });
    eventually(GENEROUS, || lost.process().log().contains("fell behind"));
}

/// Injected, while clients write: the leader hands over to another server, the new leader is killed, and that server comes back. Every
/// write that was answered 200 is there. Every other write gets a 5xx, and writes succeed again soon.
#[test]
fn no_answered_write_is_lost_when_the_leader_moves_or_is_killed() {
    let mut servers = etcd::cluster(3);
    let addresses: Vec<_> = servers.iter().map(Etcd::address).collect();
    let nodes = [0, 1].map(|_| Daemon::start(on_etcd(Settings::default(), &addresses)).unwrap());
    let service = registry(&nodes[0]).patient().create_service("provider", "1.0.0").unwrap();
    let is_over = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writers: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(number, node)| {
                let (registry, service, is_over) = (registry(node), &service, &is_over);
                scope.spawn(move || write_on(&registry, service, &format!("w{number}-"), is_over))
            })
            .collect();
        let stop = StopWhenDropped(&is_over);
        // A busy machine may elect another leader before the command.
        let next = eventually(GENEROUS, || {
            let moved_from = leader(&servers)?;
            let next = (moved_from + 1) % 3;
            let target = format!("{:x}", member(&status(&servers[next])?));
            servers[moved_from].try_ctl(&["move-leader", &target]).map(|_| next)
        });
        eventually(GENEROUS, || registry(&nodes[0]).create_service("moved", "1.0.0"));
        servers[next].kill();
        for node in &nodes {
            eventually(GENEROUS, || registry(node).create_service("killed", "1.0.0"));
        }
        servers[next].restart();
        eventually(GENEROUS, || registry(&nodes[1]).create_service("back", "1.0.0"));
        drop(stop);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<String>>()
    });
    assert!(written.len() > 10, "{written:?}");
    let held = super::agreement::agree(&[&nodes[0], &nodes[1]], &servers[0], &service);
    for id in &written {
        assert!(held.contains_key(id), "{id} was answered 200 and is not there");
    }
    say!("figure: leader moved and killed: {} writes answered 200, all there", written.len());
}

/// Registers instances until it is told to stop; the ids that were answered 200.
fn write_on(registry: &Registry, service: &str, prefix: &str, is_over: &AtomicBool) -> Vec<String> {
    let mut written = Vec::new();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{prefix}{number}");
        match registry.register(service, &Instance::named(&id)) {
            Ok(answered) => written.push(answered),
            Err(CallError::Refused { status: 500..600, .. }) => {}
            Err(other) => panic!("{id}: {other}"),
        }
    }
    written
}

/// Injected: each answer of etcd is 300 ms late. Nothing fails: a client finds at once what it has registered, many writers are served
/// side by side, and short leases are kept alive.
#[test]
fn a_slow_etcd_fails_nobody() {
    let etcd = Etcd::start();
    let proxy = Proxy::start(etcd.address()).unwrap();
    let node = Daemon::start(on_etcd(short_leases(), &[proxy.address()])).unwrap();
    let service = registry(&node).patient().create_service("provider", "1.0.0").unwrap();
    let beating = names("beats", 10);
    let owners = Owners::register(node.client(), &service, &beating, (1, 3));
    proxy.delay(Duration::from_millis(300));
    let (writers, each) = (20, Scale::of_this_run().choose(4, 40));
    let begin = Instant::now();
    thread::scope(|scope| {
        for writer in 0..writers {
            // On a busy machine a probe of the late etcd may fail, and then the node refuses writes for a moment.
            let (registry, service) = (registry(&node).patient(), &service);
            scope.spawn(move || {
                for number in 0..each {
                    let id = format!("w{writer}-{number}");
                    let sent = Instant::now();
                    registry.register(service, &Instance::named(&id)).unwrap();
                    let is_found = || registry.list(service, Freshness::Cached).unwrap().contains(&id);
                    // A write whose snapshot is late is answered after a second.
                    let limit = if sent.elapsed() < SNAPSHOT_LIMIT { Duration::ZERO } else { GENEROUS };
                    try_eventually(limit, is_found)
                        .unwrap_or_else(|why| panic!("{id} is not found by who registered it: {why}"));
                }
            });
        }
    });
    let took = begin.elapsed();
    let rounds = owners.rounds();
    eventually(GENEROUS, || owners.rounds() >= rounds + 12);
    let all: Vec<String> = (0..writers)
        .flat_map(|writer| (0..each).map(move |number| format!("w{writer}-{number}")))
        .chain(beating)
        .collect();
    agree_on(&[&node], &etcd, &service, &all);
    owners.stop().assert_all_taken();
    say!("figure: slow etcd: {} registrations by {writers} writers in {took:?}", writers * each);
}

/// Injected: another client uses up etcd's quota, so that etcd raises its alarm. The node refuses writes with a clear error. Finds,
/// heartbeats and unregistrations succeed, and a node that starts now serves as well. When there is room and the alarm is off, writes
/// succeed again.
#[test]
fn an_etcd_without_space_refuses_writes_only() {
    let setup = EtcdSetup { flags: vec!["--quota-backend-bytes=2000000".to_owned()], ..EtcdSetup::default() };
    let etcd = Etcd::start_with(setup);
    let mut node = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    let writer = registry(&node).patient();
    let service = writer.create_service("provider", "1.0.0").unwrap();
    let beating = names("beats", 5);
    writer.register(&service, &Instance::named("leaves")).unwrap();
    let owners = Owners::register(node.client(), &service, &beating, (1, 3));

    let filler = "x".repeat(100_000);
    let full = (0..100).find(|number| etcd.try_ctl(&["put", &format!("/filler/{number}"), &filler]).is_err());
    assert!(full.is_some() && etcd.ctl(&["alarm", "list"]).contains("NOSPACE"));
    for round in 0..3 {
        assert_refused_clearly(&node.client(), "meanwhile");
        let refused = registry(&node).register(&service, &Instance::named("refused")).unwrap_err();
        assert!(matches!(&refused, CallError::Refused { status: 500..600, .. }), "{round}: {refused}");
    }
    writer.unregister(&service, "leaves").unwrap();
    // This takes longer than their leases.
    let rounds = owners.rounds();
    eventually(GENEROUS, || owners.rounds() >= rounds + 10);
    agree_on(&[&node], &etcd, &service, &beating);
    let mut late = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    assert_eq!(registry(&late).find(None, "provider", Freshness::Fresh).unwrap(), beating);
    assert_eq!(nodes_of(&late), 1, "the other one");

    etcd.ctl(&["del", "--prefix", "/filler/"]);
    etcd.ctl(&["compact", "--physical", &revision(&etcd)]);
    etcd.ctl(&["defrag"]);
    etcd.ctl(&["alarm", "disarm"]);
    eventually(GENEROUS, || writer.register(&service, &Instance::named("accepted")));
    agree_on(&[&node, &late], &etcd, &service, &[beating, vec!["accepted".to_owned()]].concat());
    eventually(GENEROUS, || nodes_of(&node) == 2 && nodes_of(&late) == 2);
    owners.stop().assert_all_taken();
    assert_eq!(node.process().exit_status(), None);
    assert_eq!(late.process().exit_status(), None);
}

/// How many nodes a node lists.
fn nodes_of(node: &Daemon) -> usize {
    let health = node.client().get("/v4/default/registry/health").unwrap();
    health.json()["instances"].as_array().unwrap().len()
}
