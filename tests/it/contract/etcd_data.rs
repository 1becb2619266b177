//! Data of other servers in etcd. The daemon reads, serves and changes it as the original does (cases 278, 279, 303, 307), and skips what
//! it cannot read. `tests/golden/etcd-dump.json` holds the data of a Go server.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::EtcdKeys;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request, Response};
use crate::support::registry::{Freshness, Instance, Registry};

const ORDERS: &str = "32960349484eb9648a47d38d8de896bc897257c7";
const WEB: &str = "177da39d3200ed0bef97123dca441fc6db7d0fa0";
const SERVER: &str = "7062417bf9ebd4c646bb23059003cea42180894a";
const GO_NODE: &str = "bbf727d331594fc1b5c78747d9bb232e";
const SECOND: &str = "03542ec15dac4794be9294677e54790f";
const BASE: &str = "/v4/default/registry";
const FILES: &str = "/cse-sr/inst/files/default/default";
const LEASES: &str = "/cse-sr/inst/leases/default/default";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dump {
    #[serde(rename = "about")]
    _about: String,
    /// TTL by lease.
    leases: BTreeMap<i64, i64>,
    keys: Vec<DumpedKey>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DumpedKey {
    key: String,
    value: String,
    lease: Option<String>,
}

impl Dump {
    fn read() -> Self {
        serde_json::from_str(include_str!("../../golden/etcd-dump.json")).unwrap()
    }

    fn value(&self, key: &str) -> &str {
        &self.keys.iter().find(|dumped| dumped.key == key).unwrap_or_else(|| panic!("{key}")).value
    }

    fn document(&self, key: &str) -> Value {
        serde_json::from_str(self.value(key)).unwrap()
    }
}

/// An etcd with the data of a Go server, and a daemon on it.
struct Inherited {
    daemon: Daemon,
    keys: EtcdKeys,
    etcd: Etcd,
    dump: Dump,
}

impl Inherited {
    /// Adds these keys, without a lease, to those of the Go server. A key that the Go server has written is replaced.
    fn start(more: &[(String, String)]) -> Self {
        let etcd = Etcd::start();
        let keys = EtcdKeys::of(&etcd);
        let dump = Dump::read();
        for (lease, ttl) in &dump.leases {
            keys.grant(*lease, *ttl);
        }
        for DumpedKey { key, value, lease } in &dump.keys {
            keys.put(key, value, lease.as_ref().map_or(0, |lease| lease.parse().unwrap()));
        }
        for (key, value) in more {
            keys.put(key, value, 0);
        }
        let daemon = node(&etcd);
        Self { daemon, keys, etcd, dump }
    }

    fn client(&self) -> Client {
        self.daemon.client()
    }

    /// Sends a request as the consumer of the dump.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let request = Request::new(method, &format!("{BASE}{path}")).header("X-ConsumerId", WEB);
        let request = if let Some(body) = body { request.json(body) } else { request };
        self.client().send(&request).unwrap()
    }

    fn get(&self, path: &str) -> Response {
        self.send("GET", path, None)
    }

    /// The ids of the instances that a find without `noCache` shows, sorted.
    fn found(&self) -> Vec<String> {
        let answer = self.get("/instances?appId=shop&serviceName=orders").json();
        let instances = answer["instances"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<String> =
            instances.iter().map(|found| found["instanceId"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Asserts that a heartbeat renews this lease, so that its remaining time grows.
    fn check_renewal(&self, instance: &str, lease: i64) {
        eventually(GENEROUS, || {
            let state = self.keys.time_to_live(lease);
            state.remaining < state.granted - 1
        });
        let before = self.keys.find(&format!("{LEASES}/{ORDERS}/{instance}")).unwrap();
        let path = format!("/microservices/{ORDERS}/instances/{instance}/heartbeat");
        eventually(GENEROUS, || {
            // Each look has a heartbeat, because what a heartbeat changes is seen for a second only.
            assert_refused(&self.send("PUT", &path, None), 200, "");
            let state = self.keys.time_to_live(lease);
            state.remaining >= state.granted - 1
        });
        let after = self.keys.find(&format!("{LEASES}/{ORDERS}/{instance}")).unwrap();
        assert_eq!(before, after, "a heartbeat writes nothing");
    }
}

/// Starts a daemon with the version of the Go server, which therefore belongs to the same service.
fn node(etcd: &Etcd) -> Daemon {
    let settings = Settings::default()
        .conf("manager_cluster", &format!("\"{}\"", etcd.address()))
        .conf("registry.version", "0.0.1");
    Daemon::start(settings).unwrap()
}

#[track_caller]
fn assert_refused(response: &Response, status: u16, detail: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.text().contains(detail), "{}", response.text());
}

fn instance_document(id: &str, status: &str, extra: &str) -> String {
    format!(
        "{{\"instanceId\":\"{id}\",\"serviceId\":\"{ORDERS}\",\"hostName\":\"foreign\",\"status\":\"{status}\",\
         \"healthCheck\":{{\"mode\":\"push\",\"interval\":30,\"times\":3}},\"timestamp\":\"1795400000\",\
         \"modTimestamp\":\"1795400000\",\"version\":\"1.2.3\"{extra}}}"
    )
}

#[test]
fn what_a_go_server_left_is_served() {
    let world = Inherited::start(&[]);
    let file = |id: &str| world.dump.document(&format!("{FILES}/{ORDERS}/{id}"));
    assert_eq!(world.found(), [SECOND, "i1"]);
    let shown = world.get(&format!("/microservices/{ORDERS}/instances/i1")).json();
    assert_eq!(shown["instance"], file("i1"));
    let shown = world.get(&format!("/microservices/{ORDERS}/instances/{SECOND}")).json();
    assert_eq!(shown["instance"], file(SECOND));
    for id in [ORDERS, WEB, SERVER] {
        let shown = world.get(&format!("/microservices/{id}")).json();
        let stored = world.dump.document(&format!("/cse-sr/ms/files/default/default/{id}"));
        assert_eq!(shown["service"], stored, "{id}");
    }
    assert_eq!(world.get(&format!("/microservices/{ORDERS}/tags")).json(), json!({}));
    let named = |query: &str| world.get(&format!("/existence?type=microservice&{query}")).json();
    let by_alias = named("env=production&appId=shop&serviceName=orders:a&version=1.2.3");
    assert_eq!(by_alias["serviceId"], json!(ORDERS));
    let providers = world.get(&format!("/microservices/{WEB}/providers")).json();
    assert_eq!(providers["providers"][0]["serviceId"], json!(ORDERS), "{providers}");
    let consumers = world.get(&format!("/microservices/{ORDERS}/consumers")).json();
    assert_eq!(consumers["consumers"][0]["serviceId"], json!(WEB), "{consumers}");
    // Case 303: an instance registered through another server is kept alive through this one, on the lease it has.
    world.check_renewal("i1", 2_370_760_401_648_929_805);
    // The service is registered again. It is the same one, and nothing is written.
    let before = world.keys.below("/cse-sr/ms/");
    let service = json!({"service": {"serviceName": "web", "appId": "shop", "version": "0.0.1", "environment": "production"}});
    let answer = world.send("POST", "/microservices", Some(&service)).json();
    assert_eq!(answer, json!({"serviceId": WEB}));
    assert_eq!(world.keys.below("/cse-sr/ms/"), before);
}

/// The Go node and the daemon are instances of one service, and the daemon lists both.
#[test]
fn nodes_of_both_kinds_list_each_other() {
    let world = Inherited::start(&[]);
    let health = world.client().get("/v4/default/registry/health").unwrap().json();
    let listed = health["instances"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{health}");
    let go = listed.iter().find(|node| node["instanceId"] == json!(GO_NODE)).expect("the Go node");
    assert_eq!(*go, world.dump.document(&format!("{FILES}/{SERVER}/{GO_NODE}")));
    assert!(listed.iter().all(|node| node["serviceId"] == json!(SERVER)));
}

#[test]
fn an_instance_another_node_writes_is_kept_and_changed() {
    let world = Inherited::start(&[]);
    let (file, lease_key) = (format!("{FILES}/{ORDERS}/f1"), format!("{LEASES}/{ORDERS}/f1"));
    let document = instance_document("f1", "UP", ",\"unknown\":\"x\"");
    let lease = 4_711;
    world.keys.grant(lease, 120);
    let pairs = [(file.as_bytes(), document.as_bytes()), (lease_key.as_bytes(), b"4711".as_slice())];
    world.keys.put_all(&pairs, lease);
    eventually(GENEROUS, || world.found().contains(&"f1".to_owned()));
    world.check_renewal("f1", lease);
    let path = format!("/microservices/{ORDERS}/instances/f1/status?value=DOWN");
    assert_refused(&world.send("PUT", &path, None), 200, "");
    let rewritten = world.keys.find(&file).unwrap();
    assert_eq!(rewritten.lease, lease, "a rewrite keeps the lease");
    let document: Value = serde_json::from_slice(&rewritten.value).unwrap();
    let time = document["modTimestamp"].as_str().unwrap();
    assert_ne!(time, "1795400000");
    let expected = instance_document("f1", "DOWN", "");
    assert_eq!(
        rewritten.text(),
        expected.replace("\"modTimestamp\":\"1795400000\"", &format!("\"modTimestamp\":\"{time}\""))
    );
    let path = format!("/microservices/{ORDERS}/instances/f1");
    assert_refused(&world.send("DELETE", &path, None), 200, "");
    assert_eq!((world.keys.find(&file), world.keys.find(&lease_key)), (None, None));
    // An unregistration ends the lease as well.
    eventually(GENEROUS, || world.keys.time_to_live(lease).remaining < 0);
}

#[test]
fn an_instance_without_a_lease_key_goes_with_its_service() {
    let world = Inherited::start(&[]);
    let file = format!("{FILES}/{ORDERS}/f2");
    world.keys.put(&file, instance_document("f2", "UP", ""), 0);
    eventually(GENEROUS, || world.found().contains(&"f2".to_owned()));
    let path = format!("/microservices/{ORDERS}/instances/f2");
    assert_refused(&world.get(&path), 200, "\"instanceId\":\"f2\"");
    let beat = world.send("PUT", &format!("{path}/heartbeat"), None);
    assert_refused(&beat, 400, "leaseId not exist, instance not exist");
    assert_eq!(beat.json()["errorCode"], json!("400017"));
    let gone = world.send("DELETE", &path, None);
    assert_refused(&gone, 400, "Instance's leaseId not exist.");
    assert!(world.keys.find(&file).is_some());
    assert_refused(&world.send("DELETE", &format!("/microservices/{ORDERS}?force=1"), None), 200, "");
    // Case 304, and the instance that nothing else removes.
    let left = world.keys.below("/cse-sr/");
    eventually(GENEROUS, || !world.keys.below("/cse-sr/").keys().any(|key| key.contains(ORDERS)));
    assert!(!left.contains_key(&file), "{left:?}");
}

/// Cases 278 and 279.
#[test]
fn schemas_of_the_old_layout_are_read_replaced_and_deleted() {
    let service = format!("/cse-sr/ms/files/default/default/{ORDERS}");
    let old = |id: &str| format!("/cse-sr/ms/schemas/default/default/{ORDERS}/{id}");
    let summary = |id: &str| format!("/cse-sr/ms/schema-sum/default/default/{ORDERS}/{id}");
    let listing = Dump::read().value(&service).replace("[\"hello\"]", "[\"hello\",\"old\"]");
    let world = Inherited::start(&[
        (service, listing),
        (old("old"), "old text".to_owned()),
        (summary("old"), "oldsum".to_owned()),
        (old("only"), "only the old key".to_owned()),
    ]);
    let schemas = format!("/microservices/{ORDERS}/schemas");
    let one = format!("{schemas}/old");
    let check = |text: &str, summary: &str| {
        let answer = world.get(&one);
        assert_eq!((answer.status, answer.json()), (200, json!({"schema": text})));
        assert_eq!(answer.header("X-Schema-Summary"), Some(summary));
    };
    check("old text", "oldsum");
    let existence = format!("/existence?type=schema&serviceId={ORDERS}&schemaId=old");
    assert_refused(&world.get(&existence), 200, "old");
    let listed = |query: &str| {
        let mut listed =
            world.get(&format!("{schemas}{query}")).json()["schemas"].as_array().unwrap().clone();
        listed.retain(|schema| schema["schemaId"] != json!("only"));
        listed.sort_by_key(|schema| schema["schemaId"].to_string());
        listed
    };
    assert_eq!(listed(""), [json!({"schemaId": "hello"}), json!({"schemaId": "old", "summary": "oldsum"})]);
    let with_texts =
        [json!({"schemaId": "hello"}), json!({"schemaId": "old", "summary": "oldsum", "schema": "old text"})];
    assert_eq!(listed("?withSchema=1"), with_texts);
    let new = json!({"schema": "new text", "summary": "newsum"});
    assert_refused(&world.send("PUT", &one, Some(&new)), 200, "");
    check("new text", "newsum");
    assert!(world.keys.find(&old("old")).is_some(), "the old one lies beneath");
    assert_refused(&world.send("DELETE", &one, None), 200, "");
    let missing = world.get(&one);
    assert_refused(&missing, 400, "schema ref not found.");
    assert_eq!((world.keys.find(&old("old")), world.keys.find(&summary("old"))), (None, None));
    assert_refused(&world.send("DELETE", &one, None), 400, "");
    // A schema with the old key only.
    assert_refused(&world.send("DELETE", &format!("{schemas}/only"), None), 200, "");
    assert_eq!(world.keys.find(&old("only")), None);
    assert_refused(&world.send("DELETE", &format!("{schemas}/only"), None), 400, "");
}

/// Values that are not the registry's are skipped, logged and counted. Later changes are seen, and a restart succeeds as well.
#[test]
fn foreign_values_do_not_stop_the_watch() {
    let mut world = Inherited::start(&[]);
    let counted = |world: &Inherited| world.daemon.metric("service_center_foreign_values_total");
    assert_eq!(counted(&world), 0);
    let bad = |name: &str| format!("{FILES}/{ORDERS}/{name}");
    let foreign: [(Vec<u8>, &[u8]); 7] = [
        (bad("bad-json").into(), b"{\"instanceId\":"),
        (bad("bad-type").into(), b"{\"instanceId\":1}"),
        (bad("bad-text").into(), b"\xff\xfe"),
        (format!("{LEASES}/{ORDERS}/bad-lease").into(), b"soon"),
        (format!("/cse-sr/ms/indexes/default/default//shop/x/{}", "1.0").into(), b"\xff"),
        (format!("{FILES}/too-short").into(), b"{}"),
        ([b"/cse-sr/ms/files/default/default/".as_slice(), b"\xff"].concat(), b"{}"),
    ];
    for (key, value) in &foreign {
        world.keys.put(key, value, 0);
    }
    let good = format!("{FILES}/{ORDERS}/good");
    world.keys.put(&good, instance_document("good", "UP", ""), 0);
    eventually(GENEROUS, || world.found().contains(&"good".to_owned()));
    assert_eq!(world.found(), [SECOND, "good", "i1"]);
    let seen = counted(&world);
    assert!(seen >= 7, "{seen} counted");
    for name in ["bad-json", "bad-type", "bad-text", "bad-lease", "too-short"] {
        eventually(GENEROUS, || {
            let log = world.daemon.process().log();
            if log.contains(name) { Ok(()) } else { Err(format!("{name} is not in the log:\n{log}")) }
        });
    }
    world.daemon.restart().unwrap();
    assert_eq!(world.found(), [SECOND, "good", "i1"]);
    let registry = Registry::new(world.client(), "default");
    let mine = registry.register(ORDERS, &Instance::named("mine")).unwrap();
    assert!(registry.list(ORDERS, Freshness::Fresh).unwrap().contains(&mine));
}

/// Case 307: at SIGTERM the node deletes both keys of its instance before the process ends. Its service stays, and other nodes see it.
#[test]
fn a_node_that_stops_takes_its_keys_along() {
    let world = Inherited::start(&[]);
    let mut other = node(&world.etcd);
    let own = |keys: &EtcdKeys| keys.below(&format!("{FILES}/{SERVER}/")).len();
    assert_eq!(own(&world.keys), 3);
    let listed = || {
        let health = world.client().get("/v4/default/registry/health").unwrap().json();
        health["instances"].as_array().map_or(0, Vec::len)
    };
    eventually(GENEROUS, || listed() == 3);
    assert_eq!(other.terminate(GENEROUS).unwrap().code(), Some(0));
    assert_eq!(own(&world.keys), 2);
    assert_eq!(world.keys.below(&format!("{LEASES}/{SERVER}/")).len(), 2);
    eventually(GENEROUS, || listed() == 2);
    for key in [
        format!("/cse-sr/ms/files/default/default/{SERVER}"),
        "/cse-sr/ms/indexes/default/default/development/default/SERVICECENTER/0.0.1".to_owned(),
        "/cse-sr/ms/alias/default/default/development/default/SERVICECENTER/0.0.1".to_owned(),
    ] {
        assert_eq!(world.keys.find(&key).unwrap().text(), world.dump.value(&key));
    }
}

/// Case 303 between two daemons: the instance is registered at one, and its heartbeats go to the other.
#[test]
fn an_instance_is_kept_alive_through_any_node() {
    let world = Inherited::start(&[]);
    let other = node(&world.etcd);
    let registry = Registry::new(other.client(), "default");
    registry.register(ORDERS, &Instance::named("shared")).unwrap();
    eventually(GENEROUS, || world.found().contains(&"shared".to_owned()));
    let lease = world.keys.find(&format!("{LEASES}/{ORDERS}/shared")).unwrap().lease;
    world.check_renewal("shared", lease);
}
