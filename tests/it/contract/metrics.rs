//! What `GET /metrics` answers, and where. The page is parsed strictly, and its families are compared with those of the original,
//! as `tests/golden/metrics.txt` recorded them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;
use service_center::metrics::reference;

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Client;
use crate::support::net::free_address;
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug, Default)]
struct Family {
    kind: String,
    help: String,
    /// Name, labels, value.
    samples: Vec<(String, Labels, String)>,
}

/// The families of a page. Panics if anything is not as the text format demands.
fn parse(page: &str) -> BTreeMap<String, Family> {
    assert!(page.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            current = name.to_owned();
            let family = Family { help: help.to_owned(), ..Family::default() };
            assert!(families.insert(current.clone(), family).is_none(), "{current} is there twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "the type follows the help");
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("no family: {line}"));
            let (name, labels, value) = sample(line);
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} below {current}"));
            let (has_le, has_quantile) = (labels.contains_key("le"), labels.contains_key("quantile"));
            match (family.kind.as_str(), suffix) {
                ("counter" | "gauge", "") => assert!(!has_le && !has_quantile, "{line}"),
                ("histogram", "_bucket") => assert!(has_le, "{line}"),
                ("summary", "") => assert!(has_quantile, "{line}"),
                ("histogram" | "summary", "_sum" | "_count") => assert!(!has_le && !has_quantile, "{line}"),
                _ => panic!("{line} in a {}", family.kind),
            }
            family.samples.push((name, labels, value));
        }
    }
    families
}

fn sample(line: &str) -> (String, Labels, String) {
    let is_name = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_ascii_lowercase())
    };
    let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let (name, labels) = match head.split_once('{') {
        None => (head, Labels::new()),
        Some((name, rest)) => {
            let mut labels = Labels::new();
            let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
            while !rest.is_empty() {
                let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
                let (mut text, mut end, mut escaped) = (String::new(), None, false);
                for (at, c) in after.char_indices() {
                    match (escaped, c) {
                        (true, 'n' | '\\' | '"') => escaped = false,
                        (true, _) => panic!("\\{c} in {line}"),
                        (false, '\\') => escaped = true,
                        (false, '"') => {
                            end = Some(at);
                            break;
                        }
                        (false, _) => {}
                    }
                    text.push(c);
                }
                let after = &after[end.unwrap_or_else(|| panic!("no end: {line}")) + 1..];
                assert!(labels.insert(label.to_owned(), text).is_none(), "{label} twice in {line}");
                rest = after.strip_prefix(',').unwrap_or(after);
            }
            (name, labels)
        }
    };
    assert!(is_name(name), "{line}");
    (name.to_owned(), labels, value.to_owned())
}

/// Checks what the format demands of the values: no series twice, counters that are not negative, cumulative buckets.
fn check_values(families: &BTreeMap<String, Family>) {
    let mut seen = BTreeSet::new();
    for (family, Family { kind, samples, .. }) in families {
        assert!(!samples.is_empty(), "{family} has no value");
        let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (name, labels, value) in samples {
            assert!(seen.insert((name, labels)), "{name} {labels:?} is there twice");
            let number: f64 = value.parse().unwrap_or_else(|_| panic!("{name} {labels:?} is {value}"));
            assert!(kind == "gauge" || kind == "summary" || number >= 0.0, "{name} {labels:?} is {value}");
            if let Some(bound) = labels.get("le") {
                let mut series = labels.clone();
                series.remove("le");
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                histograms.entry(series).or_default().push((bound, number));
            }
        }
        for (series, buckets) in histograms {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{family} {series:?}: {buckets:?}");
            let last = buckets.last().unwrap();
            let count = value_of(families, family, &format!("{family}_count"), &series);
            assert_eq!((last.0, last.1), (f64::INFINITY, count), "{family} {series:?}");
        }
    }
}

fn value_of(families: &BTreeMap<String, Family>, family: &str, name: &str, labels: &Labels) -> f64 {
    let samples = families.get(family).map(|family| family.samples.as_slice()).unwrap_or_default();
    let found = samples.iter().find(|(known, of, _)| known == name && of == labels);
    found.unwrap_or_else(|| panic!("no {name} {labels:?}")).2.parse().unwrap()
}

/// A value whose labels include these.
fn find(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let families = parse(page);
    let samples = &families.get(name)?.samples;
    let has = |of: &Labels| labels.iter().all(|(label, value)| of.get(*label).is_some_and(|v| v == value));
    samples.iter().find(|(known, of, _)| known == name && has(of))?.2.parse().ok()
}

fn scrape(client: &Client) -> String {
    let answer = client.get("/metrics").unwrap();
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

/// A service of a framework with an instance, and a watch.
fn traffic(daemon: &Daemon) -> (Registry, WebSocket) {
    let registry = Registry::new(daemon.client(), "default");
    let service =
        json!({"service": {"serviceName": "framed", "framework": {"name": "F\"1\"", "version": "2"}}});
    let answer = daemon.client().post("/v4/default/registry/microservices", &service).unwrap();
    let framed = answer.json()["serviceId"].as_str().map(str::to_owned);
    // The name of a framework has no quotation marks.
    assert_eq!(framed, None);
    let service = json!({"service": {"serviceName": "framed", "framework": {"name": "F1", "version": "2"}}});
    let answer = daemon.client().post("/v4/default/registry/microservices", &service).unwrap();
    let framed = answer.json()["serviceId"].as_str().unwrap().to_owned();
    registry.register(&framed, &Instance::named("one")).unwrap();
    registry.register(&framed, &Instance::named("two")).unwrap();
    registry.heartbeat(&framed, "one").unwrap();
    // The original has two handlers with one name.
    for path in ["registry/microservices", "govern/microservices"] {
        assert_eq!(daemon.client().get(&format!("/v4/default/{path}/{framed}")).unwrap().status, 200);
    }
    let consumer = registry.create_service("consumer", "1.0.0").unwrap();
    registry.depend(&consumer, "framed", &framed);
    let mut watch = WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
    eventually(GENEROUS, || daemon.metric("service_center_watchers") == 1);
    registry.unregister(&framed, "two").unwrap();
    watch.expect_json(GENEROUS).unwrap();
    assert_eq!(registry.find(Some(&consumer), "framed", Freshness::Cached).unwrap(), ["one"]);
    (registry, watch)
}

/// The families of the recording, without those of Go's runtime: each with the names of its labels.
fn recorded() -> BTreeMap<String, (Family, BTreeSet<String>)> {
    let text = include_str!("../../golden/metrics.txt");
    let is_value =
        |line: &&str| !line.starts_with('#') || line.starts_with("# HELP ") || line.starts_with("# TYPE ");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).filter(is_value).collect();
    let page = lines.join("\n").replace("${:str}", "x").replace("${:number}", "1") + "\n";
    let families = parse(&page).into_iter().filter(|(name, _)| !name.starts_with("go_"));
    families.map(|(name, family)| (name, (family.clone(), labels_of(&family)))).collect()
}

/// The labels that all series of a family have.
fn labels_of(family: &Family) -> BTreeSet<String> {
    let names = |labels: &Labels| -> BTreeSet<String> {
        labels.keys().filter(|name| !["le", "quantile"].contains(&name.as_str())).cloned().collect()
    };
    let first = names(&family.samples[0].1);
    assert!(family.samples.iter().all(|(_, labels, _)| names(labels) == first), "{family:?}");
    first
}

#[test]
fn the_families_of_the_original_are_there() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let _traffic = traffic(&daemon);
    // Of the last heartbeat, the lease is renewed within 0.1 s.
    let renewed = [("status", "SUCCESS")];
    eventually(GENEROUS, || {
        find(&scrape(&daemon.client()), "service_center_db_heartbeat_total", &renewed) > Some(0.0)
    });
    let page = scrape(&daemon.client());
    let ours = parse(&page);
    check_values(&ours);
    for (name, (family, labels)) in recorded() {
        let own = ours.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!((&own.kind, &own.help, labels_of(own)), (&family.kind, &family.help, labels), "{name}");
    }
    let instance = daemon.address().to_string();
    let check = |name: &str, labels: &[(&str, &str)], expected: f64| {
        let labels: Vec<(&str, &str)> =
            labels.iter().copied().chain([("instance", instance.as_str())]).collect();
        let name = format!("service_center_{name}");
        assert_eq!(find(&page, &name, &labels), Some(expected), "{name} {labels:?} in {page}");
    };
    let found = [("api", "FindInstances"), ("method", "GET"), ("domain", "default"), ("code", "200")];
    let finds = find(&page, "service_center_http_request_total", &found).unwrap();
    assert!(finds >= 1.0);
    check("http_request_total", &found, finds);
    check("http_success_total", &found, finds);
    let rejected = [("api", "RegisterService"), ("method", "POST"), ("domain", "default"), ("code", "400")];
    check("http_request_total", &rejected, 1.0);
    check("http_success_total", &rejected, 1.0);
    check("http_request_total", &[("api", "LegacyRegisterInstance"), ("code", "200")], 2.0);
    check("http_request_total", &[("api", "GetService"), ("code", "200")], 2.0);
    check("http_request_total", &[("api", "SendHeartbeat"), ("method", "PUT")], 1.0);
    let framework =
        [("framework", "F1"), ("frameworkVersion", "2"), ("domain", "default"), ("project", "default")];
    for (name, expected) in
        [("db_service_total", 1.0), ("db_instance_total", 1.0), ("db_framework_total", 1.0)]
    {
        check(name, &framework, expected);
    }
    check("db_sc_total", &[], 1.0);
    check("db_domain_total", &[], 1.0);
    check("db_backend_total", &[], 1.0);
    check("notify_subscriber_total", &[("domain", "default"), ("scheme", "Websocket")], 1.0);
    check("notify_publish_total", &[("source", "INSTANCE"), ("status", "SUCCESS")], 1.0);
    check("notify_pending_total", &[("source", "INSTANCE")], 0.0);
    for (name, labels) in [
        ("db_backend_operation_total", [("operation", "batch"), ("status", "SUCCESS")].as_slice()),
        ("db_backend_event_total", &[("prefix", "/cse-sr/inst/files/")]),
        ("local_cache_size_bytes", &[("resource", "INSTANCE"), ("type", "raw")]),
        ("local_cache_size_bytes", &[("resource", "SERVICE"), ("type", "raw")]),
        ("db_instance_usage", &[]),
    ] {
        let name = format!("service_center_{name}");
        assert!(find(&page, &name, labels) > Some(0.0), "{name} {labels:?} in {page}");
    }
    // All that was published was timed.
    let timed = "service_center_notify_publish_durations_microseconds";
    assert!(page.contains(&format!(
        "{timed}_count{{instance=\"{instance}\",source=\"INSTANCE\",status=\"SUCCESS\"}} 1\n"
    )));
}

#[test]
fn requests_are_counted_by_route_status_and_outcome() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    let (registry, _watch) = traffic(&daemon);
    assert_eq!(client.get("/v4/default/registry/microservices/none").unwrap().status, 400);
    assert_eq!(client.get("/nowhere").unwrap().status, 404);
    assert_eq!(client.put("/metrics", &json!({})).unwrap().status, 405);
    assert!(registry.register("none", &Instance::named("three")).is_err());
    let page = scrape(&client);
    let families = parse(&page);
    check_values(&families);
    let service = "/v4/{project}/registry/microservices/{serviceId}";
    let counted = |method: &str, route: &str, status: &str| {
        let labels = [("method", method), ("route", route), ("status", status)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let name = "service_center_http_request_duration_seconds";
        value_of(&families, name, &format!("{name}_count"), &labels)
    };
    assert_eq!(counted("GET", service, "4xx"), 1.0);
    assert_eq!(counted("POST", &format!("{service}/instances"), "2xx"), 2.0);
    assert_eq!(counted("POST", &format!("{service}/instances"), "4xx"), 1.0);
    assert_eq!(counted("", "", "4xx"), 2.0, "requests without a route");
    let writes = |operation: &str, outcome: &str| {
        find(&page, "service_center_writes_total", &[("operation", operation), ("outcome", outcome)])
    };
    assert_eq!(writes("registerInstance", "done"), Some(2.0));
    assert_eq!(writes("registerInstance", "rejected"), Some(1.0));
    assert_eq!(writes("registerInstance", "failed"), None);
    assert_eq!(writes("findInstances", "done"), None, "a find changes nothing");
    let by_class = |class: &str| find(&page, "service_center_http_requests_total", &[("status", class)]);
    assert_eq!(by_class("1xx"), Some(1.0));
    let transactions =
        |outcome: &str| find(&page, "service_center_store_transactions_total", &[("outcome", outcome)]);
    assert!(transactions("committed") > Some(3.0));
    assert_eq!(transactions("unknown"), Some(0.0));
    assert_eq!(find(&page, "service_center_store_up", &[]), Some(1.0));
    assert_eq!(find(&page, "service_center_expiries_held", &[]), Some(0.0));
    assert!(find(&page, "service_center_mailbox_limit_messages", &[("actor", "HubActor")]) > Some(0.0));
}

/// Strangers choose the names of domains, and make no series with them.
#[test]
fn only_domains_of_the_registry_have_a_series() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let get = |domain: &str| {
        let request = crate::support::http::Request::new("GET", "/v4/default/registry/microservices");
        assert_eq!(daemon.client().send(&request.header("x-domain-name", domain)).unwrap().status, 200);
    };
    for number in 0..100 {
        get(&format!("stranger{number}"));
    }
    let body = json!({"service": {"serviceName": "s"}});
    let request =
        crate::support::http::Request::new("POST", "/v4/default/registry/microservices").json(&body);
    assert_eq!(daemon.client().send(&request.header("x-domain-name", "known")).unwrap().status, 200);
    get("known");
    let page = scrape(&daemon.client());
    check_values(&parse(&page));
    let listed = |domain: &str| {
        let labels = [("api", "ListService"), ("domain", domain)];
        find(&page, "service_center_http_request_total", &labels)
    };
    assert_eq!((listed("other"), listed("known"), listed("stranger1")), (Some(100.0), Some(1.0), None));
    assert!(!page.contains("stranger"), "{page}");
}

#[test]
fn a_separate_address_serves_the_metrics_and_nothing_else() {
    let elsewhere = free_address().unwrap();
    let url = format!("http://{elsewhere}/other");
    let daemon = Daemon::start(Settings::default().yaml("metrics.prometheus.listenURL", json!(url))).unwrap();
    let (main, separate) = (daemon.client(), Client::new(elsewhere));
    assert_eq!(main.get("/metrics").unwrap().status, 404);
    assert_eq!(main.get("/other").unwrap().status, 404);
    assert_eq!(main.get("/openapi.json").unwrap().json()["paths"].get("/metrics"), None);
    assert_eq!(separate.get("/metrics").unwrap().status, 404);
    assert_eq!(separate.get("/v4/default/registry/health").unwrap().status, 404);
    let page = separate.get("/other").unwrap();
    assert_eq!(page.status, 200);
    check_values(&parse(&page.text()));
    let health = [("api", "ClusterHealth"), ("domain", "default")];
    assert_eq!(main.get("/v4/default/registry/health").unwrap().status, 200);
    assert_eq!(
        find(&separate.get("/other").unwrap().text(), "service_center_http_request_total", &health),
        Some(1.0)
    );
}

/// Injected: etcd is killed, and started again.
#[test]
fn an_outage_of_the_store_shows() {
    let mut etcd = Etcd::start();
    let daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let is_up = |expected: f64| {
        eventually(3 * GENEROUS, || {
            let page = scrape(&daemon.client());
            (find(&page, "service_center_store_up", &[]) == Some(expected)).then_some(page).ok_or("not yet")
        })
    };
    let away = |page: &str| find(page, "service_center_store_away_seconds", &[]);
    let failed = |page: &str| {
        let labels = [("operation", "revision"), ("status", "FAILURE")];
        find(page, "service_center_db_backend_operation_total", &labels).unwrap()
    };
    let page = is_up(1.0);
    assert_eq!((away(&page), failed(&page)), (Some(0.0), 0.0));
    etcd.kill();
    let page = is_up(0.0);
    check_values(&parse(&page));
    assert!(away(&page) > Some(0.0) && failed(&page) > 0.0, "{page}");
    etcd.restart();
    assert_eq!(away(&is_up(1.0)), Some(0.0));
}

/// The tables of `docs/metrics.md` agree with the table of families. `WRITE_GENERATED=1 cargo test` writes them again.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not a configuration")]
fn the_document_names_every_family() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(reference::TABLES_BEGIN).unwrap();
    let (_, after) = rest.split_once(reference::TABLES_END).unwrap();
    let (begin, end) = (reference::TABLES_BEGIN, reference::TABLES_END);
    let expected = format!("{before}{begin}\n{}\n{end}{after}", reference::tables());
    if std::env::var("WRITE_GENERATED").is_ok() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    assert!(
        text == expected,
        "docs/metrics.md is old: WRITE_GENERATED=1 cargo test --test it contract::metrics"
    );
}
