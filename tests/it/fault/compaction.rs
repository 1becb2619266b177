//! The nodes compact etcd, with a retention of one second. A node that is behind keeps its history, and a node that is killed
//! is replaced.

use serde_json::Value;

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::EtcdKeys;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::proxy::Proxy;
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::store::on_etcd;

const RECORD: &str = "/service-center/compaction";
const MARKS: &str = "/service-center/watches/";

fn settings() -> Settings {
    Settings::default().conf("registry.etcd.compaction.retention", "1s")
}

/// Whether etcd has forgotten a revision.
fn is_compacted(etcd: &Etcd, revision: i64) -> bool {
    match etcd.try_ctl(&["get", "/nothing", &format!("--rev={revision}")]) {
        Ok(_) => false,
        Err(why) if why.contains("compacted") => true,
        Err(why) => panic!("etcdctl get: {why}"),
    }
}

fn record(keys: &EtcdKeys) -> Value {
    keys.find(RECORD).map_or(Value::Null, |record| serde_json::from_slice(&record.value).unwrap())
}

/// The id of a node's mark, and the revision that it says.
fn mark(keys: &EtcdKeys, node: &mut Daemon) -> Option<(String, i64)> {
    let process = format!("-{}", node.process().id());
    keys.below(MARKS).into_iter().find_map(|(key, value)| {
        let mark: Value = serde_json::from_slice(&value.value).unwrap();
        let is_of_node = mark["node"].as_str().unwrap().ends_with(&process);
        let revision = mark["revision"].as_i64().unwrap_or_default();
        is_of_node.then(|| (key.strip_prefix(MARKS).unwrap().to_owned(), revision))
    })
}

fn compactions(node: &Daemon) -> usize {
    node.metric("service_center_compactions_total")
}

fn relists(node: &Daemon) -> usize {
    node.metric("service_center_relists_total")
}

/// Injected: the node that compacts is killed. Then somebody else compacts etcd, as its own compaction would.
#[test]
fn one_node_compacts_for_all_and_another_takes_over() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let mut nodes = [0, 1].map(|_| Daemon::start(on_etcd(settings(), &[etcd.address()])).unwrap());
    let writers = [0, 1].map(|number| Registry::new(nodes[number].client(), "default").patient());
    let service = writers[0].create_service("provider", "1.0.0").unwrap();
    writers[0].register(&service, &Instance::named("first")).unwrap();
    let revision = keys.revision();
    eventually(GENEROUS, || is_compacted(&etcd, revision));
    let first = eventually(GENEROUS, || (0..2).find(|number| compactions(&nodes[*number]) > 0));
    for name in ["service_center_compacted_revision", "service_center_compacted_timestamp_seconds"] {
        eventually(GENEROUS, || nodes[first].metric(name) > 0);
    }

    nodes[first].kill9();
    let other = 1 - first;
    let done = compactions(&nodes[other]);
    writers[other].register(&service, &Instance::named("second")).unwrap();
    let revision = keys.revision();
    eventually(GENEROUS, || is_compacted(&etcd, revision));
    // etcd has compacted before the node gets the answer and counts.
    eventually(GENEROUS, || compactions(&nodes[other]) > done);
    assert_eq!(relists(&nodes[other]), 1, "its watch was not behind");
    assert_eq!(writers[other].list(&service, Freshness::Fresh).unwrap(), ["first", "second"]);

    let failed = || nodes[other].metric("service_center_compactions_failed_total");
    let before = failed();
    etcd.ctl(&["compact", &keys.revision().to_string()]);
    let samples = || record(&keys)["samples"].as_array().map(|samples| samples.last().cloned());
    let last = samples();
    eventually(GENEROUS, || samples() != last);
    assert_eq!(failed(), before, "that etcd is compacted already is no failure");
}

/// Injected: nothing arrives at one node, which has its marks for a while longer. Meanwhile the other node writes and compacts.
#[test]
fn a_node_that_is_behind_is_waited_for() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let proxy = Proxy::start(etcd.address()).unwrap();
    let mut slow = Daemon::start(on_etcd(settings(), &[proxy.address()])).unwrap();
    let near = Daemon::start(on_etcd(settings(), &[etcd.address()])).unwrap();
    let [at_slow, at_near] = [&slow, &near].map(|node| Registry::new(node.client(), "default").patient());
    let service = at_near.create_service("provider", "1.0.0").unwrap();
    eventually(GENEROUS, || mark(&keys, &mut slow).filter(|(_, revision)| *revision > 0));
    proxy.stall();
    at_near.register(&service, &Instance::named("meanwhile")).unwrap();
    at_near.unregister(&service, "meanwhile").unwrap();
    at_near.register(&service, &Instance::named("stays")).unwrap();
    let written = keys.revision();
    // The history that could go is newer than what the slow node has seen.
    let (id, seen) = eventually(GENEROUS, || {
        let (id, seen) = mark(&keys, &mut slow)?;
        let record = record(&keys);
        let is_behind = record["behind"][id.as_str()].is_i64();
        let wanted = record["samples"][0]["revision"].as_i64().unwrap_or_default();
        (is_behind && wanted > written).then_some((id, seen))
    });
    assert!(seen < written && !is_compacted(&etcd, seen + 1), "{seen}, written {written}");
    let log = || std::fs::read_to_string(near.installation().folder().join("output.log")).unwrap();
    eventually(GENEROUS, || log().contains("waits for node"));
    assert!(mark(&keys, &mut slow).is_some_and(|(still, _)| still == id));
    proxy.heal();
    eventually(GENEROUS, || at_slow.list(&service, Freshness::Cached).is_ok_and(|shown| shown == ["stays"]));
    assert_eq!(relists(&slow), 1, "it went on where it was: {}", slow.process().log());
    eventually(GENEROUS, || is_compacted(&etcd, written));
    assert!(!log().contains("no longer waits"), "{}", log());
}
