//! A real Prometheus scrapes real nodes: one directly, and one that it finds through the targets of the first. It uses the example
//! configuration in `deploy/prometheus`, with other addresses and shorter intervals.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::expressions::{ALERTS, Expression, of_alerts, of_board, read, selectors};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::golden::profile;
use crate::support::http::Request;
use crate::support::prometheus::Prometheus;
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::ws::WebSocket;

const BASE: &str = "/v4/default/registry";

/// What a healthy registry does not have. An expression with one of these may have no result.
const QUIET: [&str; 4] = [
    "service_center_alarms_active",
    // Server errors and failed writes.
    "status=\"5xx\"",
    "outcome=\"failed\"",
    // The annotation of a restart.
    "changes(process_start_time_seconds",
];

/// Queries in the manner of the board that the original ships, which people have copied into boards of their own.
const OF_THE_ORIGINAL: [&str; 9] = [
    "max(max_over_time(service_center_http_request_durations_microseconds{job=\"service-center\",method=\"GET\"}[1m]))",
    "max(max_over_time(service_center_http_request_durations_microseconds{job=\"service-center\",method!=\"GET\"}[1m]))",
    "sum(service_center_http_success_total{job=\"service-center\"})/sum(service_center_http_request_total{job=\"service-center\"})",
    "sum(irate(service_center_http_request_total{job=\"service-center\",code=~\"4.+\"}[1m]))",
    "sum(service_center_db_instance_total{job=\"service-center\"}) by (domain)",
    "sum(service_center_local_cache_size_bytes{job=\"service-center\"}) by (resource,instance)",
    "sum(service_center_db_backend_operation_total{job=\"service-center\"}) by (operation)",
    "irate(process_cpu_seconds_total{job=\"service-center\"}[1m])",
    "process_open_fds{job=\"service-center\"}",
];

/// The configuration that `deploy/prometheus` ships, for this node.
fn example(node: SocketAddr, prometheus: SocketAddr) -> String {
    let mut config = read("deploy/prometheus/prometheus.yml");
    for (from, to) in [
        ("10.12.0.1:30100", node.to_string()),
        ("10.12.0.2:30100", node.to_string()),
        ("localhost:9090", prometheus.to_string()),
        ("_interval: 15s", "_interval: 500ms".to_owned()),
        ("refresh_interval: 30s", "refresh_interval: 1s".to_owned()),
        // The certificate of the second node is signed by a CA of this test.
        (
            "    relabel_configs:\n",
            "    tls_config:\n      insecure_skip_verify: true\n    relabel_configs:\n".to_owned(),
        ),
    ] {
        assert!(config.contains(from), "the example has no {from:?}");
        config = config.replace(from, &to);
    }
    config
}

/// A registry with services, and clients that use it.
struct LiveRegistry {
    daemon: Daemon,
    registry: Registry,
    provider: String,
    consumer: String,
    _watch: WebSocket,
}

impl LiveRegistry {
    fn start() -> Self {
        let daemon = Daemon::start(Settings::default()).unwrap();
        let registry = Registry::new(daemon.client(), "default");
        let consumer = registry.create_service("shop", "1.0.0").unwrap();
        let provider = registry.create_service("payments", "1.0.0").unwrap();
        registry.register(&provider, &Instance::named("payments-1")).unwrap();
        registry.depend(&consumer, "payments", &provider);
        let watch = WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
        Self { daemon, registry, provider, consumer, _watch: watch }
    }

    /// Registers a service with one instance, which Prometheus finds.
    fn add(&self, service: &Value, tags: &Value, instance: &Value) {
        let client = self.daemon.client();
        let document = json!({"service": service, "tags": tags, "instances": [instance]});
        let answer = client.post(&format!("{BASE}/microservices"), &document).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// One request of each kind, good and bad.
    fn use_it(&self) {
        let (client, registry) = (self.daemon.client(), &self.registry);
        registry.heartbeat(&self.provider, "payments-1").unwrap();
        registry.heartbeat(&self.provider, "unknown").unwrap_err();
        assert_eq!(
            registry.find(Some(&self.consumer), "payments", Freshness::Cached).unwrap(),
            ["payments-1"]
        );
        registry.register(&self.provider, &Instance::named("passing")).unwrap();
        registry.unregister(&self.provider, "passing").unwrap();
        let schema = json!({"schema": "text", "summary": "s"});
        let target = format!("{BASE}/microservices/{}/schemas/a", self.provider);
        assert_eq!(client.put(&target, &schema).unwrap().status, 200);
        let invalid = Request::new("POST", &format!("{BASE}/microservices")).json(&json!({"service": {}}));
        assert_eq!(client.send(&invalid).unwrap().status, 400);
    }
}

/// Runs the expressions until each has a result. Meanwhile the registry is used.
#[track_caller]
fn all_have_results(live: &LiveRegistry, prometheus: &Prometheus, expressions: Vec<Expression>) {
    let mut left = expressions;
    eventually(GENEROUS, || {
        live.use_it();
        let mut without = Vec::new();
        left.retain(|expression| match prometheus.query(&expression.text) {
            Err(why) => panic!("{expression:?}: {why}"),
            Ok(series) if series.is_empty() => {
                without.push(format!("{}: {}", expression.place, expression.text));
                true
            }
            Ok(_) => false,
        });
        if without.is_empty() { Ok(()) } else { Err(format!("no result of {without:#?}")) }
    });
}

/// Every expression of the board and of the alerts, and what people have built on the original's metrics.
#[test]
fn the_board_and_the_alerts_find_what_they_ask_for() {
    let live = LiveRegistry::start();
    // A second registry, with TLS. Prometheus finds it as a service of the first one.
    let second = Daemon::start(profile::settings("tls").unwrap()).unwrap();
    live.add(
        &json!({"serviceName": "service-center-second", "framework": {"name": "f", "version": "1"}}),
        &json!({}),
        &json!({
            "hostName": "second", "endpoints": [format!("rest://{}?sslEnabled=true", second.address())],
            "properties": {"prometheus.scrape": "true"},
        }),
    );
    let node = live.daemon.address();
    let prometheus = Prometheus::start(|own| example(node, own), &read(ALERTS));
    eventually(GENEROUS, || {
        let up = prometheus.query("up{job=~\"service-center.*\"} == 1").unwrap();
        if up.len() == 2 { Ok(()) } else { Err(format!("{up:?}: {}", prometheus.log_tail())) }
    });

    let is_quiet = |text: &str| QUIET.iter().any(|part| text.contains(part));
    let (quiet, board): (Vec<Expression>, _) =
        of_board().into_iter().partition(|expression| is_quiet(&expression.text));
    for expression in quiet {
        prometheus.query(&expression.text).unwrap_or_else(|why| panic!("{expression:?}: {why}"));
    }
    let mut expressions = board;
    // No alert has a reason, so the selectors of its expression are what must have results.
    for alert in of_alerts() {
        let selectors = selectors(&alert.text).into_iter().filter(|selector| !is_quiet(selector));
        expressions.extend(selectors.map(|text| Expression { place: alert.place.clone(), text }));
    }
    expressions.extend(
        OF_THE_ORIGINAL.map(|text| Expression { place: "original".to_owned(), text: text.to_owned() }),
    );
    all_have_results(&live, &prometheus, expressions);

    // Prometheus has evaluated the alerts, and none fires. One may be pending, if a request took too long on a busy machine.
    let rules = eventually(GENEROUS, || {
        let groups = prometheus.api("/api/v1/rules").unwrap()["groups"].take();
        let rules: Vec<Value> = groups
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect();
        let is_evaluated = rules.iter().all(|rule| rule["health"] != "unknown");
        (is_evaluated && !rules.is_empty()).then_some(rules)
    });
    assert_eq!(rules.len(), of_alerts().len());
    // The nodes answered 503 to readiness while they started. That is no alarm.
    let alarms =
        [&live.daemon, &second].map(|node| node.client().get("/v4/default/admin/alarms").unwrap().text());
    assert!(alarms.iter().all(|alarms| !alarms.contains("readiness")), "{alarms:?}");
    for rule in rules {
        assert!(rule["health"] == "ok" && rule["state"] != "firing", "{rule}, alarms: {alarms:?}");
    }
}

/// An instance becomes a target with the labels that the example makes of it.
#[test]
fn prometheus_finds_registered_instances() {
    let live = LiveRegistry::start();
    let node = live.daemon.address();
    // The first endpoint is the registry itself, which has metrics.
    let endpoints = json!([format!("rest://{node}"), "highway://10.0.0.7:7070", "rest://no-port"]);
    let instance = |id: &str, status: &str, scrape: &str| {
        json!({
            "instanceId": id, "hostName": "host \"1\"", "endpoints": endpoints, "status": status,
            "properties": {"prometheus.scrape": scrape, "prometheus.path": "/./metrics", "rack-no": "\u{fc} 7"},
            "dataCenterInfo": {"name": "dc", "region": "north", "availableZone": "n1"},
        })
    };
    let service = |name: &str| json!({"serviceName": name, "appId": "store", "environment": "testing", "version": "1.2.0"});
    live.add(&service("orders"), &json!({"team": "red"}), &instance("orders-1", "UP", "true"));
    live.add(&service("drained"), &json!({}), &instance("drained-1", "OUTOFSERVICE", "true"));
    live.add(&service("unscraped"), &json!({}), &instance("unscraped-1", "UP", "false"));
    let prometheus = Prometheus::start(|own| example(node, own), &read(ALERTS));

    let target = eventually(GENEROUS, || {
        let targets = prometheus.api("/api/v1/targets?state=active").unwrap();
        let targets = targets["activeTargets"].as_array().unwrap();
        let of_services: Vec<&Value> =
            targets.iter().filter(|target| target["scrapePool"] == "services").collect();
        match of_services[..] {
            [target] if target["health"] == "up" => Ok(target.clone()),
            _ => Err(format!("{of_services:?}: {}", prometheus.log_tail())),
        }
    });
    assert_eq!(target["scrapeUrl"], json!(format!("http://{node}/./metrics")));
    assert_eq!(
        target["labels"],
        json!({
            "app": "store", "environment": "testing", "host": "host \"1\"", "instance": node.to_string(), "job": "orders",
            "version": "1.2.0",
        })
    );
    let discovered = &target["discoveredLabels"];
    for (label, value) in [
        ("domain", "default"),
        ("project", "default"),
        ("service_name", "orders"),
        ("service_version", "1.2.0"),
        ("instance_id", "orders-1"),
        ("instance_status", "UP"),
        ("endpoint_scheme", "rest"),
        ("endpoint_ssl_enabled", "false"),
        ("data_center", "dc"),
        ("region", "north"),
        ("zone", "n1"),
        ("property_rack_no", "\u{fc} 7"),
        ("service_tag_team", "red"),
    ] {
        assert_eq!(discovered[format!("__meta_service_center_{label}")], json!(value), "{label}");
    }

    // An instance that goes is no target any more, and a target list that is empty is accepted.
    let empty = live.daemon.client().get("/v4/default/prometheus/targets?serviceName=none").unwrap();
    assert_eq!(
        (empty.status, empty.text().as_str(), empty.header("Content-Type")),
        (200, "[]", Some("application/json"))
    );
    let services = live.registry.services(Freshness::Cached).unwrap();
    for id in services.iter().filter(|id| **id != live.provider && **id != live.consumer) {
        live.registry.delete_service(id).unwrap();
    }
    eventually(GENEROUS, || {
        let targets = prometheus.api("/api/v1/targets?state=active").unwrap();
        targets["activeTargets"].as_array().unwrap().iter().all(|target| target["scrapePool"] != "services")
    });
}
