//! Traces, as a collector of OpenTelemetry gets them.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use crate::support::collector::{CollectedSpan, Collector};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Request, Response};
use crate::support::net::free_address;
use crate::support::store::on_etcd;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const SERVICES: &str = "/v4/default/registry/microservices";

/// Spans leave soon, so that a test need not wait for 5 s.
fn traced(endpoint: &str) -> Settings {
    Settings::default()
        .yaml("tracing.otlp.endpoint", json!(endpoint))
        .environment("OTEL_BSP_SCHEDULE_DELAY", "50")
}

fn send(daemon: &Daemon, request: Request) -> Response {
    daemon.client().send(&request).unwrap()
}

fn new_service(name: &str) -> Request {
    Request::new("POST", SERVICES).json(&json!({ "service": { "serviceName": name, "version": "1.0.0" } }))
}

fn new_instance(service: &str) -> Request {
    let body = json!({ "instance": { "hostName": "h", "endpoints": ["rest://10.0.0.1:80"] } });
    Request::new("POST", &format!("{SERVICES}/{service}/instances")).json(&body)
}

/// The spans of a trace, once one of them is the span of a request.
fn whole(collector: &Collector, trace: &str) -> Vec<CollectedSpan> {
    eventually(GENEROUS, || {
        let mut spans = collector.spans();
        spans.retain(|span| span.trace() == trace);
        spans.iter().any(|span| span.span.kind == 2).then_some(spans)
    })
}

/// Each span by its name, and the name of its parent. Steps that depend on timing, such as the grant of a lease, may be left out.
fn tree(spans: &[CollectedSpan]) -> BTreeSet<(String, String)> {
    let names: HashMap<&[u8], &str> =
        spans.iter().map(|span| (&*span.span.span_id, span.span.name.as_str())).collect();
    spans
        .iter()
        .map(|span| {
            let parent = names.get(&*span.span.parent_span_id).map_or("", |name| *name);
            (span.span.name.clone(), parent.to_owned())
        })
        .collect()
}

const SERVER_SPAN: &str = "POST /v4/{project}/registry/microservices/{serviceId}/instances";

fn check_registration(daemon: &Daemon, collector: &Collector, store: &str) {
    let service = send(daemon, new_service("traced")).json()["serviceId"].as_str().unwrap().to_owned();
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let request = new_instance(&service).header("traceparent", &parent).header("X-Request-Id", "traced-1");
    assert_eq!(send(daemon, request.header("User-Agent", "a test")).status, 200);
    let spans = whole(collector, TRACE);
    let tree = tree(&spans);
    for (name, parent) in [
        (SERVER_SPAN, ""),
        ("RegistryActor RegisterInstance", SERVER_SPAN),
        ("batch", "RegistryActor RegisterInstance"),
        ("snapshot publish", SERVER_SPAN),
    ] {
        assert!(tree.contains(&(name.to_owned(), parent.to_owned())), "{name} below {parent:?} in {tree:?}");
    }
    let find = |name: &str| spans.iter().find(|span| span.span.name == name).unwrap();
    let server = find(SERVER_SPAN);
    assert_eq!((server.parent().as_str(), server.service.as_str()), (SPAN, "service-center"));
    for (key, expected) in [
        ("http.request.method", "POST"),
        ("http.route", "/v4/{project}/registry/microservices/{serviceId}/instances"),
        ("url.path", &format!("{SERVICES}/{service}/instances")),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("http.response.header.x-request-id", "traced-1"),
        ("server.address", &daemon.address().ip().to_string()),
        ("server.port", &daemon.address().port().to_string()),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "a test"),
    ] {
        assert_eq!(server.attribute(key).as_deref(), Some(expected), "{key}");
    }
    let batch = find("batch");
    assert_eq!((batch.attribute("db.system.name").as_deref(), batch.span.kind), (Some(store), 3));
    let of_request = |span: &CollectedSpan| {
        let (begin, end) = (span.span.start_time_unix_nano, span.span.end_time_unix_nano);
        server.span.start_time_unix_nano <= begin && begin <= end && end <= server.span.end_time_unix_nano
    };
    assert!(spans.iter().all(of_request), "{spans:?}");
}

#[test]
fn a_registration_is_one_trace() {
    let collector = Collector::anywhere();
    let daemon = Daemon::start(traced(&collector.endpoint())).unwrap();
    check_registration(&daemon, &collector, "embedded");
}

#[test]
fn a_registration_on_etcd_is_one_trace() {
    let (collector, etcd) = (Collector::anywhere(), Etcd::start());
    let daemon = Daemon::start(on_etcd(traced(&collector.endpoint()), &[etcd.address()])).unwrap();
    check_registration(&daemon, &collector, "etcd");
}

/// Requests of several traces that the store does in one batch: each trace has a span of its own.
#[test]
fn a_batch_belongs_to_each_of_its_traces() {
    let collector = Collector::anywhere();
    let daemon = Daemon::start(traced(&collector.endpoint())).unwrap();
    let service = send(&daemon, new_service("batched")).json()["serviceId"].as_str().unwrap().to_owned();
    let traces: Vec<String> = (1..=24).map(|number| format!("{number:032x}")).collect();
    std::thread::scope(|scope| {
        for trace in &traces {
            let request = new_instance(&service).header("traceparent", &format!("00-{trace}-{SPAN}-01"));
            let daemon = &daemon;
            scope.spawn(move || assert_eq!(send(daemon, request).status, 200));
        }
    });
    for trace in &traces {
        let batches = whole(&collector, trace).iter().filter(|span| span.span.name == "batch").count();
        assert_eq!(batches, 1, "{trace}");
    }
}

/// The client's decision counts, in each form; a trace that it does not want is not recorded. Without a decision all are.
#[test]
fn clients_decide_in_each_form() {
    let collector = Collector::anywhere();
    let daemon = Daemon::start(traced(&collector.endpoint())).unwrap();
    let id = |number: u8| format!("{number:032x}");
    let find = || Request::new("GET", "/v4/default/registry/version?token=1");
    let b3 = |number, rest| find().header("b3", &format!("{}-{SPAN}{rest}", id(number)));
    let multi = |number, sampled| {
        find().header("X-B3-TraceId", &id(number)).header("X-B3-SpanId", SPAN).header("X-B3-Sampled", sampled)
    };
    let w3c = |number, flags| find().header("traceparent", &format!("00-{}-{SPAN}-{flags}", id(number)));
    for request in [
        w3c(1, "00"),
        b3(2, "-0"),
        multi(3, "0"),
        find().header("b3", "0"),
        w3c(11, "01"),
        b3(12, "-1"),
        b3(13, ""),
        multi(14, "1"),
        find().header("traceparent", "nonsense").header("User-Agent", "rootless"),
    ] {
        assert_eq!(send(&daemon, request).status, 200);
    }
    for number in 11..=14 {
        let spans = whole(&collector, &id(number));
        assert_eq!((spans.len(), spans[0].parent().as_str()), (1, SPAN), "{spans:?}");
        assert_eq!(spans[0].attribute("url.query").as_deref(), Some("token=1"));
    }
    let root = eventually(GENEROUS, || {
        let is_it =
            |span: &CollectedSpan| span.attribute("user_agent.original").as_deref() == Some("rootless");
        collector.spans().into_iter().find(is_it)
    });
    assert_eq!(root.parent(), "");
    for number in 1..=3 {
        assert!(!collector.spans().iter().any(|span| span.trace() == id(number)), "{number} was not wanted");
    }
}

/// Answers that no route gives have spans too, named by the method alone; an error of the server is an error of the span.
#[test]
fn spans_of_requests_without_a_route() {
    let collector = Collector::anywhere();
    let settings = traced(&collector.endpoint())
        .environment("OTEL_SERVICE_NAME", "registry-7")
        .environment("OTEL_TRACES_SAMPLER", "parentbased_always_off");
    let daemon = Daemon::start(settings).unwrap();
    for (method, number) in [("GET", 1), ("BREW", 2)] {
        let parent = format!("00-{number:032x}-{SPAN}-01");
        assert_eq!(send(&daemon, Request::new(method, "/nope").header("traceparent", &parent)).status, 404);
    }
    assert_eq!(send(&daemon, Request::new("GET", "/not-sampled")).status, 404);
    for (number, name, method) in [(1, "GET", "GET"), (2, "HTTP", "_OTHER")] {
        let spans = whole(&collector, &format!("{number:032x}"));
        assert_eq!((spans[0].span.name.as_str(), spans[0].service.as_str()), (name, "registry-7"));
        assert_eq!(spans[0].attribute("http.request.method").as_deref(), Some(method));
        assert_eq!(spans[0].attribute("http.response.status_code").as_deref(), Some("404"));
    }
    assert_eq!(collector.spans().len(), 2);
}

/// Injected: a collector that is away, comes, and goes. Requests are answered, the log tells each change once, and a stop sends what is
/// left and does not wait for a collector that is away.
#[test]
fn a_collector_that_is_away_delays_nothing() {
    let address = free_address().unwrap();
    let mut daemon = Daemon::start(traced(&format!("http://{address}"))).unwrap();
    for number in 0..20 {
        assert_eq!(send(&daemon, new_service(&format!("away-{number}"))).status, 200);
    }
    let lines = |daemon: &mut Daemon, words: &str| daemon.process().log().matches(words).count();
    eventually(GENEROUS, || lines(&mut daemon, "takes no spans, so they are lost") > 0);
    let collector = Collector::start(address);
    eventually(GENEROUS, || {
        send(&daemon, Request::new("GET", "/version"));
        lines(&mut daemon, "takes spans again") == 1
    });
    assert!(lines(&mut daemon, "takes no spans, so they are lost") <= 4);
    let last = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(send(&daemon, Request::new("GET", "/version").header("traceparent", &last)).status, 200);
    assert!(daemon.terminate(GENEROUS).unwrap().success());
    assert_eq!(whole(&collector, TRACE).len(), 1);
    drop(collector);
    daemon.restart().unwrap();
    assert_eq!(send(&daemon, Request::new("GET", "/version")).status, 200);
    assert!(daemon.terminate(GENEROUS).unwrap().success());
}
