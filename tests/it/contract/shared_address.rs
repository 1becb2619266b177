//! Several nodes behind one advertised address, as behind a load balancer. They share one entry, which stays as long as one of the nodes
//! runs. The tests use real daemons on one etcd, and nobody connects to the address.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::EtcdKeys;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Client;
use crate::support::store::on_etcd;

const SHARED: &str = "registry.example:30100";
/// The prefix of the keys by which running nodes announce that they use the address.
const PRESENCES: &str = "/service-center/nodes/registry.example:30100/";
const INSTANCES: &str = "/cse-sr/inst/files/default/default/";
/// Leases short enough to wait for. A dead node counts as running for 20 s.
const SHORT_TTL: (&str, &str) = ("INSTANCE_TTL", "20");

fn settings() -> Settings {
    Settings::default().yaml("registry.instance.endpoint", json!(SHARED))
}

fn start(etcd: &Etcd, settings: Settings) -> Daemon {
    Daemon::start(on_etcd(settings, &[etcd.address()])).unwrap()
}

/// The id and version of each entry that a node lists, read from the store. All entries have the shared address.
fn listed(client: &Client) -> Vec<(String, String)> {
    let answer = client.get("/v4/default/registry/health?noCache=1").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let entries = answer.json()["instances"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, member: &str| entry[member].as_str().unwrap().to_owned();
    let mut listed: Vec<_> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["endpoints"], json!([format!("rest://{SHARED}")]));
            (text(entry, "instanceId"), text(entry, "version"))
        })
        .collect();
    listed.sort_by(|a, b| a.1.cmp(&b.1));
    listed
}

fn stop(daemon: &mut Daemon) {
    assert!(daemon.terminate(GENEROUS).unwrap().success());
}

fn nothing_is_left(keys: &EtcdKeys) {
    assert_eq!((keys.below(INSTANCES).len(), keys.below(PRESENCES).len()), (0, 0));
}

/// The nodes stop one after another. A client of the other nodes finds the one entry at any time, and the last node removes it.
#[test]
fn the_entry_is_there_until_the_last_node_has_left() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let mut nodes: Vec<Daemon> = (0..3).map(|_| start(&etcd, settings())).collect();
    let entry = listed(&nodes[0].client());
    assert_eq!(entry.len(), 1, "{entry:?}");
    assert_eq!(keys.below(PRESENCES).len(), 3);
    while nodes.len() > 1 {
        let mut leaving = nodes.remove(0);
        let has_left = AtomicBool::new(false);
        thread::scope(|scope| {
            for client in nodes.iter().map(Daemon::client) {
                let (has_left, entry) = (&has_left, &entry);
                scope.spawn(move || {
                    // One more look after the node has stopped.
                    let mut is_last = false;
                    while !is_last {
                        is_last = has_left.load(Ordering::Acquire);
                        assert_eq!(listed(&client), *entry);
                    }
                });
            }
            stop(&mut leaving);
            has_left.store(true, Ordering::Release);
        });
        assert_eq!((keys.below(INSTANCES).len(), keys.below(PRESENCES).len()), (1, nodes.len()));
    }
    stop(&mut nodes[0]);
    nothing_is_left(&keys);
}

/// Three nodes are started at once and make one entry. They are stopped at once, and the last of them removes it.
#[test]
fn nodes_that_come_and_leave_at_once_leave_nothing() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    for _ in 0..5 {
        let mut nodes = [(); 3].map(|()| Daemon::spawn(on_etcd(settings(), &[etcd.address()])).unwrap());
        nodes.iter_mut().for_each(|node| node.wait_ready().unwrap());
        assert_eq!((listed(&nodes[1].client()).len(), keys.below(PRESENCES).len()), (1, 3));
        nodes.iter_mut().for_each(|node| node.process().signal(Signal::TERM));
        for node in &mut nodes {
            assert_eq!(node.process().wait(GENEROUS).unwrap().code(), Some(0));
        }
        nothing_is_left(&keys);
    }
}

/// Injected: `kill -9` of one of two nodes. The other node keeps the entry. When it stops after the lease of the dead node has ended, it
/// removes the entry. When it stops before, it leaves the entry, which then ends with the lease.
#[test]
fn a_node_that_died_keeps_the_entry_for_as_long_as_its_lease() {
    let with_a_dead_node = |check: fn(&EtcdKeys, Daemon)| {
        let etcd = Etcd::start();
        let node = || start(&etcd, settings().environment(SHORT_TTL.0, SHORT_TTL.1));
        let (mut dead, other) = (node(), node());
        dead.kill9();
        check(&EtcdKeys::of(&etcd), other);
    };
    // Both wait for the same time.
    thread::scope(|scope| {
        scope.spawn(|| {
            with_a_dead_node(|keys, mut other| {
                let client = other.client();
                eventually(GENEROUS, || {
                    assert_eq!(listed(&client).len(), 1);
                    keys.below(PRESENCES).len() == 1
                });
                stop(&mut other);
                nothing_is_left(keys);
            });
        });
        with_a_dead_node(|keys, mut other| {
            stop(&mut other);
            assert_eq!(keys.below(PRESENCES).len(), 1, "the presence of the dead node");
            eventually(GENEROUS, || keys.below(PRESENCES).is_empty() && keys.below(INSTANCES).is_empty());
        });
    });
}

/// Injected: `kill -9`, and a new process in the same place. It knows that its predecessor is gone.
#[test]
fn a_node_that_comes_back_is_alone() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let mut node = start(&etcd, settings());
    let entry = listed(&node.client());
    for _ in 0..2 {
        node.kill9();
        node.restart().unwrap();
        assert_eq!((listed(&node.client()), keys.below(PRESENCES).len()), (entry.clone(), 1));
    }
    stop(&mut node);
    nothing_is_left(&keys);
}

/// Injected: the key that announces a node is lost, as after a long stall. The node writes it again with its next heartbeat.
#[test]
fn a_lost_presence_is_said_again() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let mut node = start(&etcd, settings().environment(SHORT_TTL.0, SHORT_TTL.1));
    let lease = keys.below(PRESENCES).into_values().next().unwrap().lease;
    etcd.ctl(&["lease", "revoke", &format!("{lease:x}")]);
    eventually(GENEROUS, || keys.below(PRESENCES).values().any(|held| held.lease != lease));
    assert_eq!(listed(&node.client()).len(), 1);
    stop(&mut node);
    nothing_is_left(&keys);
}

/// Nodes of the next version replace the old ones, one by one. Each version has an entry as long as one of its nodes runs.
#[test]
fn an_entry_of_another_version_belongs_to_its_nodes() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let (mut one, mut other) = (start(&etcd, settings()), start(&etcd, settings()));
    let former = listed(&one.client());
    let mut next = start(&etcd, settings().yaml("registry.version", json!("2.3.0")));
    let versions =
        |node: &Daemon| listed(&node.client()).into_iter().map(|(_, version)| version).collect::<Vec<_>>();
    for node in [&one, &other, &next] {
        assert_eq!(versions(node), ["2.2.0", "2.3.0"]);
    }
    stop(&mut one);
    assert_eq!(versions(&next), ["2.2.0", "2.3.0"]);
    assert_eq!(listed(&other.client())[0], former[0]);
    stop(&mut other);
    assert_eq!(versions(&next), ["2.3.0"]);
    stop(&mut next);
    nothing_is_left(&keys);
}
