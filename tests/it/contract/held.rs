//! Instances whose expiry is held back, and owners that unregister them. Every node shows and pushes an unregistration at once.

use serde_json::json;

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

/// An instance on a lease of 20 s. Its expiry is held back for as long.
const INTERVAL: u32 = 5;

fn held(node: &Daemon) -> Vec<String> {
    let answer = node.client().get("/v4/default/admin/expiries").unwrap().json();
    let expiries = answer["expiries"].as_array().cloned().unwrap_or_default();
    let preserved = expiries.iter().filter(|expiry| expiry["rule"] == json!("preservation"));
    preserved.map(|expiry| expiry["instanceId"].as_str().unwrap_or_default().to_owned()).collect()
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
