//! Answers that are larger than the process can hold, one by one or together.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request, Response};
use crate::support::store::{Backing, Embedded, OwnEtcd};

const BASE: &str = "/v4/default/registry";
/// `server.request.maxBatch`, as shipped.
const MAX_BATCH: usize = 1_000;
/// `server.response.maxBytes`, as shipped.
const MAX_ANSWER: usize = 64 << 20;
/// What a daemon built for debugging takes for a body of 2 MiB, its decoded value and its own work.
const SLACK_KB: usize = 64 << 10;

/// Instances of the provider.
const INSTANCES: usize = 100;
/// Bytes of each, a little below what a registration may have.
const INSTANCE_BYTES: usize = 5_000;

/// A daemon, and the store it is on.
struct Node {
    daemon: Daemon,
    _store: Box<dyn Backing>,
}

impl Node {
    fn start(store: impl Backing + 'static, settings: Settings) -> Self {
        let daemon = Daemon::start(store.chosen_in(settings)).unwrap();
        Self { daemon, _store: Box::new(store) }
    }

    fn client(&self) -> Client {
        self.daemon.client()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Response {
        self.client().get(&format!("{BASE}{path}")).unwrap()
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Response {
        self.client().post(&format!("{BASE}{path}"), body).unwrap()
    }

    /// Registers a service; its id.
    #[track_caller]
    fn service(&self, service: &Value) -> String {
        let response = self.post("/microservices", &json!({ "service": service }));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["serviceId"].as_str().unwrap().to_owned()
    }

    /// A provider with [`INSTANCES`] instances of [`INSTANCE_BYTES`]; its id.
    fn provider(&self, name: &str) -> String {
        let service = self.service(&json!({ "serviceName": name }));
        let mut connection = self.client().connect().unwrap();
        for number in 0..INSTANCES {
            let instance = json!({
                "instanceId": format!("{name}-{number}"),
                "hostName": "h",
                "endpoints": ["rest://127.0.0.1:1"],
                "healthCheck": {"mode": "push", "interval": 600, "times": 3},
                "properties": {"weight": "x".repeat(INSTANCE_BYTES - 250)},
            });
            let target = format!("{BASE}/microservices/{service}/instances");
            let request = Request::new("POST", &target).json(&json!({ "instance": instance }));
            let response = connection.exchange(&request).unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
        }
        service
    }

    /// A batch find that names the provider so often.
    #[track_caller]
    fn batch(&self, name: &str, count: usize) -> Response {
        let element = format!(r#"{{"service":{{"appId":"default","serviceName":"{name}"}}}}"#);
        let body = format!(r#"{{"services":[{}]}}"#, vec![element; count].join(","));
        let target = format!("{BASE}/instances/action?type=query");
        self.client().send(&Request::new("POST", &target).bytes(body)).unwrap()
    }

    fn peak_memory(&mut self) -> usize {
        self.daemon.process().peak_memory()
    }

    fn resident_memory(&mut self) -> usize {
        self.daemon.process().resident_memory()
    }
}

/// 400001 with a detail that holds all of these.
#[track_caller]
fn assert_refused(response: &Response, parts: &[&str]) {
    let text = response.text();
    assert_eq!(response.status, 400, "{} bytes: {}", text.len(), &text[..text.len().min(300)]);
    let body = response.json();
    let detail = body["detail"].as_str().unwrap();
    assert_eq!(body["errorCode"], "400001", "{detail}");
    assert!(parts.iter().all(|part| detail.contains(part)), "{detail}");
}

/// Injected: one request of 1.9 MB whose answer would have 18.5 GB. Then one whose answer has just less than the limit.
fn one_request_cannot_ask_for_more_than_the_limits(store: impl Backing + 'static) {
    let mut node = Node::start(store, Settings::default());
    node.provider("p");
    let before = node.resident_memory();
    assert_refused(&node.batch("p", 36_000), &["36000", "1000", "server.request.maxBatch"]);
    assert_refused(&node.batch("p", MAX_BATCH + 1), &["1001"]);
    let limit = MAX_ANSWER.to_string();
    assert_refused(&node.batch("p", MAX_BATCH), &[&limit, "server.response.maxBytes"]);
    let refusing = node.peak_memory();
    assert!(refusing < before + SLACK_KB, "{before} KB, then {refusing} KB to refuse");

    let one = node.batch("p", 1);
    assert_eq!(one.status, 200);
    let most = MAX_ANSWER / one.body.len();
    let answer = node.batch("p", most);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.body.len() > MAX_ANSWER / 10 * 9, "{} bytes", answer.body.len());
    let updated = &answer.json()["services"]["updated"];
    assert_eq!(updated.as_array().unwrap().len(), most);
    assert_eq!(updated[0]["instances"].as_array().unwrap().len(), INSTANCES);
    assert_eq!(updated[0]["instances"], updated[most - 1]["instances"]);
    // The answer, and what waits for the socket.
    let answering = node.peak_memory();
    assert!(answering < before + 2 * (MAX_ANSWER >> 10) + SLACK_KB, "{before} KB, then {answering} KB");
    assert_eq!(node.get("/health").status, 200);
}

#[test]
fn one_request_cannot_ask_for_more_than_the_limits_on_the_embedded_store() {
    one_request_cannot_ask_for_more_than_the_limits(Embedded);
}

#[test]
fn one_request_cannot_ask_for_more_than_the_limits_on_etcd() {
    one_request_cannot_ask_for_more_than_the_limits(OwnEtcd::start());
}

/// Every route whose answer grows with the registry or with the request, with a limit of 64 KiB.
fn every_answer_that_grows_has_a_limit(store: impl Backing + 'static) {
    let limit = 64 << 10;
    let node = Node::start(store, Settings::default().yaml("server.response.maxBytes", json!(limit)));
    let provider = node.provider("p");
    let long = "x".repeat(2_000);
    for number in 0..40 {
        let consumer =
            json!({"serviceName": format!("consumer-{number}"), "properties": {"text": long.as_str()}});
        let consumer = node.service(&consumer);
        let target = format!("{BASE}/instances?appId=default&serviceName=p&rev=x");
        let request = Request::new("GET", &target).header("X-ConsumerId", &consumer);
        assert_refused(&node.client().send(&request).unwrap(), &["server.response.maxBytes"]);
    }
    let schemas: Vec<Value> = (0..2)
        .map(|number| json!({"schemaId": format!("s{number}"), "schema": "<".repeat(12_000), "summary": "s"}))
        .collect();
    let replaced =
        node.post(&format!("/microservices/{provider}/schemas"), &json!({ "schemas": schemas.as_slice() }));
    assert_eq!(replaced.status, 200, "{}", replaced.text());

    let limit = limit.to_string();
    let parts = ["the answer would have", limit.as_str(), "server.response.maxBytes"];
    for path in [
        "/instances?appId=default&serviceName=p",
        &format!("/microservices/{provider}/instances"),
        "/microservices",
        &format!("/microservices/{provider}/schemas?withSchema=1"),
        &format!("/microservices/{provider}/schemas/s0"),
    ] {
        assert_refused(&node.get(path), &parts);
    }
    // Each consumer's find is on record, though it was refused; on etcd a moment later.
    let consumers = format!("/microservices/{provider}/consumers");
    let refused = eventually(GENEROUS, || Some(node.get(&consumers)).filter(|answer| answer.status != 200));
    assert_refused(&refused, &parts);
    assert_refused(&node.batch("p", 1), &parts);
    let many: Vec<String> = (0..1_000).map(|number| format!("unknown-{number}")).collect();
    let keys: Vec<Value> = many.iter().map(|id| json!({"serviceId": "s", "instanceId": id})).collect();
    let beats = node.client().put(&format!("{BASE}/heartbeats"), &json!({ "instances": keys })).unwrap();
    assert_refused(&beats, &parts);
    let request =
        Request::new("DELETE", &format!("{BASE}/microservices")).json(&json!({ "serviceIds": many }));
    assert_refused(&node.client().send(&request).unwrap(), &parts);

    // What is small is answered: one of the instances, the list of schemas without their texts, the node's health.
    for path in [
        &format!("/microservices/{provider}/instances/p-0"),
        &format!("/microservices/{provider}/schemas"),
        "/health",
    ] {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
}

#[test]
fn every_answer_that_grows_has_a_limit_on_the_embedded_store() {
    every_answer_that_grows_has_a_limit(Embedded);
}

#[test]
fn every_answer_that_grows_has_a_limit_on_etcd() {
    every_answer_that_grows_has_a_limit(OwnEtcd::start());
}
