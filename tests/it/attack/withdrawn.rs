//! Instances that an operator has taken out of service, and requests that bring them back or withdraw others.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::http::{Client, Request, Response};
use crate::support::registry::patiently;
use crate::support::store::{Backing, Embedded, OwnEtcd};

/// A client of one service in the project `default`, on one node.
struct InstanceCaller<'a> {
    client: Client,
    service: &'a str,
}

impl<'a> InstanceCaller<'a> {
    fn new(daemon: &Daemon, service: &'a str) -> Self {
        Self { client: daemon.client(), service }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let path = format!("/v4/default/registry/microservices/{}/instances{path}", self.service);
        patiently(|| self.client.send(&Request::new(method, &path).json(body))).unwrap()
    }

    #[track_caller]
    fn done(&self, method: &str, path: &str, body: &Value) {
        let answer = self.send(method, path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    }

    fn register(&self, instance: &Value) {
        self.done("POST", "", &json!({ "instance": instance }));
    }

    /// Takes `i` out of service and gives it other properties.
    fn withdraw(&self) {
        self.done("PUT", "/i/status?value=OUTOFSERVICE", &json!(null));
        self.done("PUT", "/i/properties", &json!({"properties": {"weight": "0"}}));
    }

    /// The instance `i`, read from the store.
    fn shown(&self) -> Value {
        let answer = self.send("GET", "/i?noCache=1", &json!(null));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["instance"].clone()
    }

    #[track_caller]
    fn is_withdrawn(&self) {
        let shown = self.shown();
        assert_eq!(
            (&shown["status"], &shown["properties"]),
            (&json!("OUTOFSERVICE"), &json!({"weight": "0"}))
        );
    }
}

fn create(daemon: &Daemon) -> String {
    let service = json!({"service": {"serviceName": "orders"}});
    let answer = patiently(|| daemon.client().post("/v4/default/registry/microservices", &service)).unwrap();
    answer.json()["serviceId"].as_str().unwrap().to_owned()
}

/// The instance `i` as its owner registers it, at its start and after each failed heartbeat.
fn owners() -> Value {
    json!({
        "instanceId": "i", "hostName": "h", "endpoints": ["rest://127.0.0.1:1"], "status": "UP",
        "properties": {"version": "1"},
    })
}

/// The owner registers a withdrawn instance again, unchanged and changed, before and after the node is killed.
fn a_withdrawn_instance_stays_withdrawn(store: &dyn Backing) {
    let mut daemon = Daemon::start(store.chosen_in(Settings::default())).unwrap();
    let service = create(&daemon);
    let caller = InstanceCaller::new(&daemon, &service);
    caller.register(&owners());
    caller.withdraw();
    for round in 0..2 {
        caller.register(&owners());
        caller.is_withdrawn();
        let mut moved = owners();
        moved["endpoints"] = json!([format!("rest://127.0.0.1:{}", round + 2)]);
        caller.register(&moved);
        caller.is_withdrawn();
        assert_eq!(caller.shown()["endpoints"], moved["endpoints"]);
        // Another TTL, which needs another lease.
        moved["healthCheck"] = json!({"mode": "push", "interval": 40 + round, "times": 3});
        caller.register(&moved);
        caller.is_withdrawn();
        if round == 0 {
            daemon.kill9();
            daemon.restart().unwrap();
        }
    }
    // An instance that was unregistered comes back as a new one.
    caller.done("DELETE", "/i", &json!(null));
    caller.register(&owners());
    let shown = caller.shown();
    assert_eq!((&shown["status"], &shown["properties"]), (&json!("UP"), &json!({"version": "1"})));
    // The owner may change the properties again, also if another client has set the status.
    caller.done("PUT", "/i/status?value=DOWN", &json!(null));
    let mut next = owners();
    next["properties"] = json!({"version": "2"});
    caller.register(&next);
    let shown = caller.shown();
    assert_eq!((&shown["status"], &shown["properties"]), (&json!("DOWN"), &json!({"version": "2"})));
}

#[test]
fn a_withdrawn_instance_stays_withdrawn_on_embedded() {
    a_withdrawn_instance_stays_withdrawn(&Embedded);
}

#[test]
fn a_withdrawn_instance_stays_withdrawn_on_etcd() {
    a_withdrawn_instance_stays_withdrawn(&OwnEtcd::start());
}

/// An operator withdraws the instance on one node, and its owner registers it again at once on the other node. Then both nodes are
/// killed, and the owner registers it again.
#[test]
fn it_stays_withdrawn_on_every_node() {
    let etcd = OwnEtcd::start();
    let start = || Daemon::start(etcd.chosen_in(Settings::default())).unwrap();
    let (mut one, mut other) = (start(), start());
    let service = create(&one);
    for round in 0..3 {
        let (here, there) = (InstanceCaller::new(&one, &service), InstanceCaller::new(&other, &service));
        if round < 2 {
            here.register(&owners());
            here.withdraw();
        }
        there.register(&owners());
        there.is_withdrawn();
        here.register(&owners());
        here.is_withdrawn();
        if round == 0 {
            there.done("DELETE", "/i", &json!(null));
        } else {
            one.restart().unwrap();
            other.restart().unwrap();
        }
    }
}

/// A request for many statuses without a condition, or with a misspelled one, changes nothing.
fn nothing_is_withdrawn_without_a_condition(store: &dyn Backing) {
    let daemon = Daemon::start(store.chosen_in(Settings::default())).unwrap();
    let service = create(&daemon);
    let caller = InstanceCaller::new(&daemon, &service);
    caller.register(&owners());
    let put = |body: &str| {
        let path = "/v4/default/registry/instances/status";
        let answer = daemon.client().send(&Request::new("PUT", path).bytes(body)).unwrap();
        (answer.status, answer.text())
    };
    for matches in [
        "",
        r#""matches":null,"#,
        r#""matches":{},"#,
        r#""matches":{"properties":null},"#,
        r#""matches":{"properties":{}},"#,
        r#""match":{"properties":{"version":"1"}},"#,
        r#""matches":{"property":{"version":"1"}},"#,
        r#""matches":{"properties":{"version":"1"},"serviceId":"s"},"#,
        r#""matches":{"properties":{"version":"1"},"x":null},"#,
        r#""matches":{"properties":{"version":"1"}},"matches":null,"#,
        r#""matches":{"properties":["version"]},"#,
        r#""matches":[],"#,
    ] {
        let (status, text) = put(&format!(r#"{{{matches}"status":"DOWN"}}"#));
        assert!(status == 400 && text.contains("\"400001\""), "{matches}: {status} {text}");
        assert_eq!(caller.shown()["status"], "UP", "{matches}");
    }
    let (status, text) = put(r#"{"matches":{"properties":{"version":"1"}},"status":"DOWN"}"#);
    assert_eq!((status, text.as_str()), (200, ""));
    assert_eq!(caller.shown()["status"], "DOWN");
}

#[test]
fn nothing_is_withdrawn_without_a_condition_on_embedded() {
    nothing_is_withdrawn_without_a_condition(&Embedded);
}

#[test]
fn nothing_is_withdrawn_without_a_condition_on_etcd() {
    nothing_is_withdrawn_without_a_condition(&OwnEtcd::start());
}
