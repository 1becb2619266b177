//! Instances whose expiry is held back. Owners unregister them, or an operator releases them: every node shows and pushes that at
//! once.

use serde_json::json;

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

/// An instance on a lease of 20 s. Its expiry is held back for as long.
const INTERVAL: u32 = 5;

const EXPIRIES: &str = "/v4/default/admin/expiries";

/// The instances that a rule holds.
pub(super) fn held_by(node: &Daemon, rule: &str) -> Vec<String> {
    let expiries = node.client().all_items(EXPIRIES).unwrap();
    let held = expiries.iter().filter(|expiry| expiry["rule"] == json!(rule));
    held.map(|expiry| expiry["instanceId"].as_str().unwrap_or_default().to_owned()).collect()
}

fn held(node: &Daemon) -> Vec<String> {
    held_by(node, "preservation")
}

/// Injected: all owners vanish. Then one of them unregisters its instance while both nodes hold its expiry back.
#[test]
fn a_held_instance_that_is_unregistered_is_gone_at_once_on_every_node() {
    let etcd = Etcd::start();
    let settings = Settings::default().yaml("registry.instance.minInterval", json!("1s"));
    let start = || Daemon::start(on_etcd(settings.clone(), &[etcd.address()])).unwrap();
    let nodes = [start(), start()];
    let [one, other] = [&nodes[0], &nodes[1]].map(|node| Registry::new(node.client(), "default"));
    let provider = one.create_service("provider", "1.0.0").unwrap();
    let consumer = one.create_service("consumer", "1.0.0").unwrap();
    other.depend(&consumer, "provider", &provider);
    // The two nodes are instances as well. 30 of 32 are more than the 80 % of the rule `preservation`.
    let ids: Vec<String> = (0..30).map(|number| format!("i{number}")).collect();
    for id in &ids {
        one.register(&provider, &Instance::named(id).with_health_check(INTERVAL, 3)).unwrap();
    }
    // The leases must end together, however long the registrations took.
    one.heartbeat_all(&provider, &ids).unwrap();
    eventually(GENEROUS, || other.find(Some(&consumer), "provider", Freshness::Cached).unwrap().len() == 30);
    for node in &nodes {
        eventually(GENEROUS, || held(node).len() == 30);
        assert_eq!(node.metric("service_center_expiries_held"), 30);
    }
    let mut watch = WebSocket::open(nodes[1].address(), &other.watch_target(&consumer), &[]).unwrap();
    one.unregister(&provider, "i7").unwrap();
    assert!(!one.list(&provider, Freshness::Cached).unwrap().contains(&"i7".to_owned()));
    let event = watch.expect_json(GENEROUS).unwrap();
    let seen = (event["action"].as_str(), event["instance"]["instanceId"].as_str());
    assert_eq!(seen, (Some("DELETE"), Some("i7")), "before any that is held is let go: {event}");
    assert!(!other.find(Some(&consumer), "provider", Freshness::Cached).unwrap().contains(&"i7".to_owned()));
    assert!(nodes.iter().all(|node| !held(node).contains(&"i7".to_owned())));
    assert_eq!(nodes[1].metric("service_center_expiries_held"), 29);
    let again = one.unregister(&provider, "i7").unwrap_err();
    assert!(matches!(&again, CallError::Refused { status: 400, code, .. } if code == "400017"), "{again}");
}

/// Injected: four of four owners of a service vanish, and half of them may expire within an interval. Both nodes hold the same two
/// others. An operator releases them at one node, and they are gone on both.
#[test]
fn what_the_rule_of_the_service_holds_is_released_on_every_node() {
    let etcd = Etcd::start();
    let settings = Settings::default()
        .conf("registry.instance.expiryGuard.serviceShare", "0.5")
        // Of two nodes and four instances, four expire: fewer than 80 %, and too few for the rule `share`.
        .environment("INSTANCE_TTL", "20");
    let start = || Daemon::start(on_etcd(settings.clone(), &[etcd.address()])).unwrap();
    let nodes = [start(), start()];
    let [one, other] = [&nodes[0], &nodes[1]].map(|node| Registry::new(node.client(), "default"));
    let provider = one.create_service("provider", "1.0.0").unwrap();
    let consumer = one.create_service("consumer", "1.0.0").unwrap();
    other.depend(&consumer, "provider", &provider);
    for number in 0..4 {
        one.register(&provider, &Instance::named(&format!("i{number}"))).unwrap();
    }
    eventually(GENEROUS, || held_by(&nodes[0], "service").len() == 2);
    let held = held_by(&nodes[0], "service");
    eventually(GENEROUS, || held_by(&nodes[1], "service") == held);
    let [client, other_client] = [&nodes[0], &nodes[1]].map(Daemon::client);
    let page = client.get(&format!("{EXPIRIES}?serviceId={provider}&limit=1")).unwrap().json();
    let item = &page["items"][0];
    let named =
        ["tenant", "serviceId", "serviceName", "version", "instanceId", "rule"].map(|name| &item[name]);
    let expected = ["default/default", &provider, "provider", "1.0.0", &held[0], "service"];
    assert_eq!(named, expected.map(|text| json!(text)).each_ref(), "{page}");
    assert!(page["total"] == json!(2) && item["since"].as_str() < item["until"].as_str(), "{page}");
    let next = page["next"].as_str().unwrap();
    let last = client.get(&format!("{EXPIRIES}?serviceId={provider}&limit=1&after={next}")).unwrap().json();
    assert!(last["items"][0]["instanceId"] == json!(held[1]) && last["next"].is_null(), "{last}");
    let elsewhere = client.get(&format!("{EXPIRIES}?serviceId={consumer}")).unwrap().json();
    assert_eq!(elsewhere["total"], json!(0), "{elsewhere}");

    let mut watch = WebSocket::open(nodes[1].address(), &other.watch_target(&consumer), &[]).unwrap();
    let refused = |target: &str| client.delete(target).unwrap().json()["errorCode"].clone();
    assert_eq!(refused(EXPIRIES), json!("400001"), "no service is named");
    assert_eq!(refused(&format!("{EXPIRIES}?serviceId=unknown")), json!("400012"));
    assert_eq!(held_by(&nodes[0], "service"), held);
    let released = client.delete(&format!("{EXPIRIES}?serviceId={provider}")).unwrap().json();
    assert_eq!(released, json!({"released": 2}));
    assert!(one.list(&provider, Freshness::Cached).unwrap().is_empty(), "before the answer");
    let mut gone: Vec<String> = (0..2)
        .map(|_| {
            let event = watch.expect_json(GENEROUS).unwrap();
            assert_eq!(event["action"], json!("DELETE"), "{event}");
            event["instance"]["instanceId"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    gone.sort();
    assert_eq!(gone, held);
    assert!(other.list(&provider, Freshness::Cached).unwrap().is_empty());
    for (node, client) in nodes.iter().zip([client, other_client]) {
        assert_eq!(client.all_items(EXPIRIES).unwrap(), [json!(null); 0]);
        assert_eq!(node.metric("service_center_expiries_held"), 0);
        assert_eq!(node.metric("service_center_expiries_held_by_service_total"), 2);
        assert_eq!(node.metric("service_center_expiries_released_total"), 2);
    }
}
