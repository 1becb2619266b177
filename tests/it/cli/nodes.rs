//! Nodes, and what they say of themselves: `get node`, `diagnose`, `get expiry`, `top` and `drain`.

use super::run::{User, url};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{Instance, Registry};
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

#[test]
fn the_nodes_of_a_cluster_are_listed_and_diagnosed() {
    let etcd = Etcd::start();
    let nodes = [(); 2].map(|()| Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap());
    let user = User::new();
    // A node that has just started is listed twice until its summary is there.
    for node in &nodes {
        eventually(GENEROUS, || {
            let list = user.at(node, &["get", "node", "-o", "json"]).json();
            let list = list.as_array().unwrap();
            list.len() == 2 && list.iter().all(|node| node["ours"] == true)
        });
    }
    let table = user.at(&nodes[1], &["get", "node"]);
    let heading = [
        "NODE",
        "ENDPOINT",
        "VERSION",
        "REVISION",
        "AGREES",
        "STORE",
        "SERVICES",
        "INSTANCES",
        "WATCHERS",
        "HELD",
        "ALARMS",
        "SEEN",
        "AGE",
    ];
    assert_eq!(table.cells()[0], heading, "{table:?}");
    assert_eq!(table.cells().len(), 3, "{table:?}");
    let events = user.at(&nodes[0], &["events", "--all-nodes", "--limit", "3", "-o", "json"]).json();
    assert_eq!(events.as_array().unwrap().len(), 3, "of all nodes together: {events}");
    let one = user.at(&nodes[0], &["diagnose"]);
    assert!(one.ok().is_empty(), "{one:?}");
    let all = user.at(&nodes[0], &["diagnose", "--all-nodes"]);
    assert_eq!(all.ok().matches("shows what the store holds").count(), 2, "{all:?}");
    let top = user.at(&nodes[0], &["top", "--once"]);
    assert!(top.ok().contains("AGREES") && top.ok().contains(" services"), "{top:?}");
    let json = user.at(&nodes[0], &["top", "--once", "-o", "json"]).json();
    assert_eq!(json["nodes"].as_array().unwrap().len(), 2);
    let expiries = user.at(&nodes[0], &["get", "expiry"]);
    assert_eq!(expiries.cells(), [["TENANT", "SERVICE", "INSTANCE", "RULE", "HELD", "RELEASED-IN"]]);
}

#[test]
fn a_drain_says_which_consumers_know() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let provider = registry.create_service("orders", "1.0.0").unwrap();
    let consumer = registry.create_service("web", "1.0.0").unwrap();
    for id in ["one", "two"] {
        registry.register(&provider, &Instance::named(id)).unwrap();
    }
    registry.depend(&consumer, "orders", &provider);
    let _watch = WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
    let user = User::new();
    let place = format!("{provider}/one");
    user.at(&daemon, &["drain", &place]).fails(1, "nothing is changed");
    let drained = user.at(&daemon, &["drain", &place, "--wait", "20s", "--yes"]);
    assert!(
        drained.ok().contains("consumers know") && drained.err.contains("UP -> OUTOFSERVICE"),
        "{drained:?}"
    );
    let instance = user.at(&daemon, &["describe", "instance", &place, "-o", "json"]).json();
    assert_eq!(instance["status"], "OUTOFSERVICE");
    let gone =
        user.at(&daemon, &["delete", "instance", &format!("{provider}/two"), "--wait", "20s", "--yes"]);
    assert!(gone.ok().contains("consumers know"), "{gone:?}");
    assert!(user.run(&["--addr", &url(&daemon), "get", "inst", "orders", "--no-headers"]).cells().len() == 1);
}
