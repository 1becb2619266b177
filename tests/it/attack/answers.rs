//! Answers that would need more memory than the process may use, alone or together.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request, Response};
use crate::support::registry::patiently;
use crate::support::store::{Backing, Embedded, OwnEtcd};

const BASE: &str = "/v4/default/registry";
/// The default of `server.request.maxBatch`.
const MAX_BATCH: usize = 1_000;
/// The default of `server.response.maxBytes`.
const MAX_ANSWER: usize = 64 << 20;
/// Kilobytes that a debug build may use for a body of 2 MiB, its decoded value, and its own work.
const SLACK_KB: usize = 64 << 10;

/// Instances of the provider.
const INSTANCES: usize = 100;
/// Bytes of each instance, a little less than a registration may have.
const INSTANCE_BYTES: usize = 5_000;

/// A daemon with its store.
struct StoredNode {
    daemon: Daemon,
    _store: Box<dyn Backing>,
}

impl StoredNode {
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
        patiently(|| self.client().post(&format!("{BASE}{path}"), body)).unwrap()
    }

    /// Registers a service; its id.
    #[track_caller]
    fn service(&self, service: &Value) -> String {
        let response = self.post("/microservices", &json!({ "service": service }));
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["serviceId"].as_str().unwrap().to_owned()
    }

    /// Registers a provider with so many instances of [`INSTANCE_BYTES`]; its id.
    fn provider(&self, name: &str, instances: usize) -> String {
        let service = self.service(&json!({ "serviceName": name }));
        let mut connection = self.client().connect().unwrap();
        for number in 0..instances {
            let instance = json!({
                "instanceId": format!("{name}-{number}"),
                "hostName": "h",
                "endpoints": ["rest://127.0.0.1:1"],
                "healthCheck": {"mode": "push", "interval": 600, "times": 3},
                "properties": {"weight": "x".repeat(INSTANCE_BYTES - 250)},
            });
            let target = format!("{BASE}/microservices/{service}/instances");
            let request = Request::new("POST", &target).json(&json!({ "instance": instance }));
            let response = patiently(|| connection.exchange(&request)).unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
        }
        service
    }

    /// Sends a batch find that names the provider so many times.
    #[track_caller]
    fn batch(&self, name: &str, count: usize) -> Response {
        self.client().send(&Request::new("POST", BATCH).bytes(batch_of(name, count))).unwrap()
    }

    /// Sends the same request on so many connections, and looks only at the first bytes of each answer; how many answers are 200, and the
    /// connections.
    fn ask_and_read_nothing(&self, count: usize, request: &str) -> (usize, Vec<TcpStream>) {
        let mut connections: Vec<TcpStream> = (0..count).map(|_| self.ask(request)).collect();
        let mut answered = 0;
        for connection in &mut connections {
            answered += eventually(GENEROUS, || {
                let mut line = [0; 12];
                match connection.peek(&mut line).map(|read| &line[..read]) {
                    Ok(b"HTTP/1.1 200") => Ok(1),
                    Ok(b"HTTP/1.1 429" | b"HTTP/1.1 503") => Ok(0),
                    Ok(b"HTTP/1.1 500") => {
                        *connection = self.ask(request);
                        Err("etcd is late, as now and then on a busy machine")
                    }
                    Ok(other) if other.len() == line.len() => panic!("{}", String::from_utf8_lossy(other)),
                    _ => Err("no answer"),
                }
            });
        }
        (answered, connections)
    }

    /// Sends a request on a connection of its own.
    fn ask(&self, request: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.daemon.address()).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        connection.set_read_timeout(Some(GENEROUS)).unwrap();
        connection
    }

    fn peak_memory(&mut self) -> usize {
        self.daemon.process().peak_memory()
    }

    fn resident_memory(&mut self) -> usize {
        self.daemon.process().resident_memory()
    }
}

const BATCH: &str = "/v4/default/registry/instances/action?type=query";

fn batch_of(name: &str, count: usize) -> String {
    let element = format!(r#"{{"service":{{"appId":"default","serviceName":"{name}"}}}}"#);
    format!(r#"{{"services":[{}]}}"#, vec![element; count].join(","))
}

/// The answer is 400001, and its detail contains all these parts.
#[track_caller]
fn assert_refused(response: &Response, parts: &[&str]) {
    let text = response.text();
    assert_eq!(response.status, 400, "{} bytes: {}", text.len(), &text[..text.len().min(300)]);
    let body = response.json();
    let detail = body["detail"].as_str().unwrap();
    assert_eq!(body["errorCode"], "400001", "{detail}");
    assert!(parts.iter().all(|part| detail.contains(part)), "{detail}");
}

/// Injected: a request of 1.9 MB whose answer would have 18.5 GB. Then a request whose answer has a little less than the limit.
fn one_request_cannot_ask_for_more_than_the_limits(store: impl Backing + 'static) {
    let mut node = StoredNode::start(store, Settings::default());
    node.provider("p", INSTANCES);
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
    let answering = node.peak_memory();
    assert!(answering < before + (MAX_ANSWER >> 10) + SLACK_KB, "{before} KB, then {answering} KB");
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

/// Every route whose answer grows with the registry or with the request refuses an answer above the limit, here 64 KiB.
fn every_answer_that_grows_has_a_limit(store: impl Backing + 'static) {
    let limit = 64 << 10;
    let node = StoredNode::start(store, Settings::default().yaml("server.response.maxBytes", json!(limit)));
    let provider = node.provider("p", INSTANCES);
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
    // The dependency of each consumer is recorded although its find was refused. On etcd this takes a moment.
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

    // Small answers: one instance, the list of schemas without texts, the health of the node.
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

/// Bytes of memory for all answers in the tests below, and the most bytes of one answer.
const ANSWERS: usize = 64 << 20;
const LARGEST: usize = 32 << 20;

fn small_memory() -> Settings {
    Settings::default()
        .yaml("server.response.maxBytes", json!(LARGEST))
        .yaml("server.response.maxMemory", json!(ANSWERS))
}

/// Sends a request on many connections that read nothing. The answers need more memory than is allowed. The memory stays below the
/// limit, small requests are answered meanwhile, and the memory is free again when the connections are closed.
fn unread_answers_are_bounded(node: &mut StoredNode, request: &str, size: usize, refused_as: u16) {
    let (count, most) = (4 * ANSWERS / size, ANSWERS / size);
    let before = node.resident_memory();
    let (mut answered, mut connections) = node.ask_and_read_nothing(count, request);
    assert!((1..=most).contains(&answered), "{answered} of {count} answers of {size} bytes");
    // Some may have been refused because others needed memory for a moment. One by one, as many as fit are answered.
    let refused = loop {
        let (more, connection) = node.ask_and_read_nothing(1, request);
        if more == 0 {
            break read_response(&connection[0]);
        }
        answered += more;
        connections.extend(connection);
        assert!(answered <= most, "{answered} answers of {size} bytes");
    };
    assert!(refused.starts_with(&format!("HTTP/1.1 {refused_as} ")), "{refused}");
    assert!(refused.contains("Retry-After: 1"), "{refused}");
    let (after, bound) = (node.peak_memory(), before + (ANSWERS >> 10) + SLACK_KB);
    assert!(after < bound, "{before} KB, then {after} KB with {answered} unread answers");
    assert_eq!(node.get("/health").status, 200);
    drop(connections);
    eventually(GENEROUS, || node.ask_and_read_nothing(1, request).0 == 1);
}

/// Reads a short answer up to the end of its body.
fn read_response(mut connection: &TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(b"}") {
        let read = connection.read(&mut buffer).unwrap();
        assert!(read > 0 && text.len() < 1_000, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(text).unwrap()
}

/// Injected: clients request all schemas of a service with their texts, 13 MB, and read nothing.
fn unread_schemas_are_bounded(store: impl Backing + 'static) {
    let mut node = StoredNode::start(store, small_memory());
    let service = node.service(&json!({"serviceName": "s"}));
    let schema = json!({"schema": "x".repeat(130_000), "summary": "s"});
    let mut connection = node.client().connect().unwrap();
    for number in 0..100 {
        let target = format!("{BASE}/microservices/{service}/schemas/s{number}");
        let request = Request::new("PUT", &target).json(&schema);
        let response = patiently(|| connection.exchange(&request)).unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let request =
        format!("GET {BASE}/microservices/{service}/schemas?withSchema=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    unread_answers_are_bounded(&mut node, &request, 13_000_000, 503);
}

#[test]
fn unread_schemas_are_bounded_on_the_embedded_store() {
    unread_schemas_are_bounded(Embedded);
}

#[test]
fn unread_schemas_are_bounded_on_etcd() {
    unread_schemas_are_bounded(OwnEtcd::start());
}

/// Injected: clients send batch finds with answers of 20 MB each, and read nothing.
fn unread_batch_finds_are_bounded(store: impl Backing + 'static) {
    let mut node = StoredNode::start(store, small_memory());
    node.provider("p", INSTANCES);
    let body = batch_of("p", 40);
    let request = format!("POST {BATCH} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    unread_answers_are_bounded(&mut node, &request, 40 * INSTANCES * INSTANCE_BYTES, 429);
}

#[test]
fn unread_batch_finds_are_bounded_on_the_embedded_store() {
    unread_batch_finds_are_bounded(Embedded);
}

#[test]
fn unread_batch_finds_are_bounded_on_etcd() {
    unread_batch_finds_are_bounded(OwnEtcd::start());
}

/// Injected: clients find one provider, with an answer of 7.5 MB, and read nothing. All answers share one body, so all are answered with
/// the memory of one. An unread answer costs about as much work as one that is read: it fills the buffers of the kernel, and then costs
/// nothing.
fn unread_finds_share_their_body(store: impl Backing + 'static) {
    let mut node = StoredNode::start(store, small_memory());
    node.provider("p", 1_500);
    let path = "/instances?appId=default&serviceName=p";
    // The body is kept from the second find on.
    assert_eq!([node.get(path).status, node.get(path).status], [200, 200]);
    let (count, read) = (100, 25);
    let begin = node.daemon.process().cpu_time();
    for _ in 0..read {
        assert_eq!(node.get(path).status, 200);
    }
    let for_read = node.daemon.process().cpu_time() - begin;

    let (before, begin) = (node.resident_memory(), node.daemon.process().cpu_time());
    let request = format!("GET {BASE}{path} HTTP/1.1\r\nHost: h\r\n\r\n");
    let (answered, connections) = node.ask_and_read_nothing(count, &request);
    assert_eq!(answered, count);
    // The buffer of a connection holds a piece of 32 KiB, or a larger one while the answers hold less than a quarter of the memory. It
    // may have room for two of them.
    let (after, bound) = (node.resident_memory(), before + (ANSWERS >> 12) + count * 64 + SLACK_KB);
    assert!(after < bound, "{before} KB, then {after} KB with {count} unread answers");
    let (for_unread, most) =
        (node.daemon.process().cpu_time() - begin, 10 * for_read * u32::try_from(count / read).unwrap());
    assert!(
        for_unread < most,
        "{for_unread:?} for {count} unread answers, {for_read:?} for {read} that are read"
    );
    drop(connections);
    assert_eq!(node.get("/health").status, 200);
}

#[test]
fn unread_finds_share_their_body_on_the_embedded_store() {
    unread_finds_share_their_body(Embedded);
}

#[test]
fn unread_finds_share_their_body_on_etcd() {
    unread_finds_share_their_body(OwnEtcd::start());
}

/// Injected: bodies of 2 MB with empty elements, each of which would become a value of some hundred bytes.
fn a_body_does_not_take_many_times_its_size(store: impl Backing + 'static) {
    let mut node = StoredNode::start(store, Settings::default());
    let elements = |element: &str| vec![element; 2_000_000 / (element.len() + 1)].join(",");
    let before = node.resident_memory();
    let send = |method: &str, path: &str, body: String| {
        let request = Request::new(method, &format!("{BASE}{path}")).bytes(body);
        let response = node.client().send(&request).unwrap();
        assert_refused(&response, &["too many elements"]);
    };
    for element in ["{}", "null"] {
        let list = elements(element);
        send(
            "POST",
            "/microservices",
            format!(r#"{{"service":{{"serviceName":"s"}},"instances":[{list}]}}"#),
        );
        send("POST", "/instances/action?type=query", format!(r#"{{"services":[{list}]}}"#));
        send("PUT", "/dependencies", format!(r#"{{"dependencies":[{{"providers":[{list}]}}]}}"#));
        send("PUT", "/heartbeats", format!(r#"{{"instances":[{list}]}}"#));
    }
    let doubles = elements(r#""service":{"properties":{"a":"b"}}"#);
    let response = node.client().send(
        &Request::new("POST", &format!("{BASE}/microservices"))
            .bytes(format!(r#"{{{doubles},"service":{{"serviceName":"s"}}}}"#)),
    );
    assert_eq!(response.unwrap().status, 200);
    let after = node.peak_memory();
    assert!(after < before + SLACK_KB, "{before} KB, then {after} KB");
}

#[test]
fn a_body_does_not_take_many_times_its_size_on_the_embedded_store() {
    a_body_does_not_take_many_times_its_size(Embedded);
}

#[test]
fn a_body_does_not_take_many_times_its_size_on_etcd() {
    a_body_does_not_take_many_times_its_size(OwnEtcd::start());
}
