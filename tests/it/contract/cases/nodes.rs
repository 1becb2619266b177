//! Several nodes on one etcd, and a node with its next version.

use std::fs;

use serde_json::json;

use super::{Caller, code, daemon, ids};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::store::on_etcd;

fn on(etcd: &Etcd, settings: Settings) -> Daemon {
    Daemon::start(on_etcd(settings, &[etcd.address()])).unwrap()
}

/// 15: health needs the registry's own service.
#[test]
fn health_needs_the_own_service() {
    let daemon = daemon(Settings::default().yaml("registry.selfRegister", json!(0)));
    let client = daemon.client();
    for target in ["/v4/default/registry/health", "/health"] {
        let response = client.get(target).unwrap();
        assert_eq!((response.status, code(&response).as_str()), (400, "400012"), "{target}");
    }
    assert_eq!(client.get("/v4/default/registry/health/readiness").unwrap().status, 200);
}

/// 17: reads succeed without the store. After an outage of about 50 s `/health` reports it, so that clients look for a node that can write.
/// When the store is back, `/health` is good again.
#[test]
fn health_says_when_the_store_has_been_away_for_long() {
    let mut etcd = Etcd::start();
    let daemon = on(&etcd, Settings::default());
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "s"}));
    let instance = caller.instance(&service, json!({"hostName": "h"}));
    etcd.kill();
    let complaint = eventually(3 * GENEROUS, || {
        assert_eq!(caller.find("appId=default&serviceName=s"), [instance.as_str()]);
        assert_eq!(caller.get("/health/readiness").status, 200);
        let health = caller.get("/health");
        if health.status == 200 { Err("health is 200".to_owned()) } else { Ok(health) }
    });
    assert_eq!((complaint.status, code(&complaint).as_str()), (400, "400002"));
    assert_eq!(complaint.json()["errorMessage"], "Server is Unhealthy");
    let alarms = || daemon.client().get("/v4/default/admin/alarms").unwrap().json()["alarms"].clone();
    let alarm = alarms()[0].clone();
    assert_eq!((&alarm["status"], &alarm["id"]), (&json!("ACTIVATED"), &json!("BackendConnectionRefuse")));
    assert_eq!(alarm["fields"]["detail"], complaint.json()["detail"]);
    etcd.restart();
    eventually(GENEROUS, || code(&caller.get("/health")) == "200");
    assert_eq!(alarms()[0]["status"], "CLEARED");
    assert_eq!(caller.find("appId=default&serviceName=s"), [instance]);
    let forget = |query: &str| daemon.client().delete(&format!("/v4/default/admin/alarms{query}")).unwrap();
    let unknown = forget("?id=Backend");
    assert_eq!((unknown.status, code(&unknown).as_str()), (400, "400001"));
    let named = |id: &str| alarms().as_array().into_iter().flatten().any(|alarm| alarm["id"] == id);
    assert_eq!(forget("?id=DigestDiffers").status, 200);
    assert!(named("BackendConnectionRefuse"), "another alarm was forgotten");
    assert_eq!(forget("?id=BackendConnectionRefuse").status, 200);
    assert!(!named("BackendConnectionRefuse"), "{}", alarms());
    assert_eq!(forget("").status, 200);
    assert_eq!(alarms(), json!(null));
}

/// 303: a heartbeat through any node renews the lease of an instance that was registered at another node.
#[test]
fn another_node_takes_heartbeats() {
    let etcd = Etcd::start();
    let ttl = || Settings::default().environment("INSTANCE_TTL", "6");
    let (a, b) = (on(&etcd, ttl()), on(&etcd, ttl()));
    let (a, b) = (Caller::of(&a), Caller::of(&b));
    let service = a.service(json!({"serviceName": "s"}));
    let beaten = a.instance(&service, json!({"hostName": "h"}));
    let silent = a.instance(&service, json!({"hostName": "h"}));
    let list = |caller: &Caller| {
        let response = caller.get(&format!("/microservices/{service}/instances?noCache=1"));
        ids(&response.json()["instances"], "instanceId")
    };
    // When the instance without heartbeats is gone, the one with heartbeats has outlived its first lease.
    let mut all = [beaten.clone(), silent.clone()];
    all.sort();
    assert_eq!(list(&b), all);
    eventually(GENEROUS, || {
        let beat = b.send("PUT", &format!("/microservices/{service}/instances/{beaten}/heartbeat"), None);
        assert_eq!((beat.status, beat.text().as_str()), (200, ""));
        // The nodes show an expiry at different times.
        !list(&a).contains(&silent) && !list(&b).contains(&silent)
    });
    assert_eq!(list(&a), [beaten.as_str()]);
    assert_eq!(list(&b), [beaten]);
}

/// 304: nothing is left of a deleted service, also no schema content that only this service refers to.
#[test]
fn a_deleted_service_leaves_nothing() {
    let etcd = Etcd::start();
    let daemon = on(&etcd, Settings::default());
    let caller = Caller::of(&daemon);
    let id =
        caller.service(json!({"serviceName": "gone-name", "alias": "gone-alias", "schemas": ["listed"]}));
    let at = |rest: &str| format!("/microservices/{id}{rest}");
    assert_eq!(code(&caller.post(&at("/tags"), &json!({"tags": {"a": "b"}}))), "200");
    assert_eq!(code(&caller.put(&at("/schemas/s"), &json!({"schema": "x", "summary": "y"}))), "200");
    caller.instance(&id, json!({"hostName": "h"}));
    etcd.ctl(&["put", &format!("/cse-sr/ms/schemas/default/default/{id}/old"), "old"]);
    let keys = || {
        let listed = etcd.ctl(&["get", "--prefix", "--keys-only", "/cse-sr/"]);
        let of_it = |line: &&str| line.contains(&id) || line.contains("/gone-");
        listed.lines().filter(of_it).map(str::to_owned).collect::<Vec<_>>()
    };
    for tree in [
        "ms/files",
        "ms/indexes",
        "ms/alias",
        "ms/tags",
        "ms/schemas",
        "ms/schema-sum",
        "ms/schema-ref",
        "inst/files",
        "inst/leases",
    ] {
        assert!(
            keys().iter().any(|key| key.starts_with(&format!("/cse-sr/{tree}/"))),
            "{tree}: {:?}",
            keys()
        );
    }
    assert_eq!(code(&caller.delete(&at("?force=true"))), "200");
    // The end of its dependencies is in the queue until a node has applied it.
    eventually(GENEROUS, || {
        let left = keys();
        if left.is_empty() { Ok(()) } else { Err(format!("left: {left:?}")) }
    });
    let content = etcd.ctl(&["get", "--prefix", "--keys-only", "/cse-sr/ms/schema-content/default/default/"]);
    assert_eq!(content.trim(), "");
}

/// 306: a node with a new version registers a new version of its service, and one instance of it.
#[test]
fn a_new_version_registers_itself() {
    let mut daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let own = |caller: &Caller| {
        let services = caller.get("/microservices?withShared=true&noCache=1").json()["services"].clone();
        assert!(ids(&services, "serviceName").iter().all(|name| name == "SERVICECENTER"), "{services}");
        ids(&services, "version")
    };
    let members = |caller: &Caller| ids(&caller.get("/health").json()["instances"], "version");
    assert_eq!((own(&caller), members(&caller)), (vec!["2.2.0".to_owned()], vec!["2.2.0".to_owned()]));
    fs::write(daemon.folder().join("conf/app.yaml"), "registry:\n  version: 2.3.0\n").unwrap();
    daemon.restart().unwrap();
    assert_eq!(own(&caller), ["2.2.0", "2.3.0"]);
    assert_eq!(members(&caller), ["2.3.0"]);
    assert_eq!(caller.get("/version").json()["version"], "2.3.0");
}

/// 307: a node that stops unregisters itself. Its peers do not list it any more, and its service stays.
#[test]
fn a_stopped_node_is_listed_no_longer() {
    let etcd = Etcd::start();
    let (mut leaving, staying) = (on(&etcd, Settings::default()), on(&etcd, Settings::default()));
    let endpoint = |daemon: &Daemon| format!("rest://{}", daemon.address());
    let caller = Caller::of(&staying);
    let listed = |endpoint: &str| {
        let members = caller.get("/health").json()["instances"].clone();
        members
            .as_array()
            .unwrap()
            .iter()
            .any(|member| member["endpoints"][0].as_str().unwrap().starts_with(endpoint))
    };
    let (gone, here) = (endpoint(&leaving), endpoint(&staying));
    eventually(GENEROUS, || listed(&gone) && listed(&here));
    let id = ids(&caller.get("/health").json()["instances"], "serviceId").remove(0);
    assert!(leaving.terminate(GENEROUS).unwrap().success());
    // The node has unregistered itself before it ended, so a read with `noCache` does not show it.
    let members = caller.get("/health?noCache=1").json()["instances"].clone();
    assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    assert!(listed(&here) && !listed(&gone));
    assert_eq!(code(&caller.get(&format!("/microservices/{id}"))), "200");
}

/// A node keeps its own registration alive however short the configured leases are.
#[test]
fn a_node_outlives_the_shortest_leases() {
    let daemon = daemon(Settings::default().environment("INSTANCE_TTL", "2"));
    let caller = Caller::of(&daemon);
    let members = || ids(&caller.get("/health").json()["instances"], "instanceId");
    let own = members();
    assert_eq!(own.len(), 1);
    let service = caller.service(json!({"serviceName": "s"}));
    for _ in 0..2 {
        // An instance without heartbeats, registered after the node, is gone. So every lease that was not renewed has ended.
        caller.instance(&service, json!({"hostName": "h"}));
        eventually(GENEROUS, || {
            assert_eq!(members(), own);
            caller.find("appId=default&serviceName=s").is_empty()
        });
    }
}
