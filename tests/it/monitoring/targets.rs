//! `GET /v4/{project}/prometheus/targets` without Prometheus: filters, tenants, limits and hostile instances.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::http::{Request, Response};
use crate::support::registry::code;

const BASE: &str = "/v4/default/registry";
const TARGETS: &str = "/v4/default/prometheus/targets";

fn register(daemon: &Daemon, service: &Value, instances: &Value) {
    let document = json!({"service": service, "instances": instances});
    let answer = daemon.client().post(&format!("{BASE}/microservices"), &document).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn get(daemon: &Daemon, query: &str) -> Response {
    daemon.client().get(&format!("{TARGETS}{query}")).unwrap()
}

/// The ids of the instances that are targets, sorted, without the node itself.
#[track_caller]
fn found(daemon: &Daemon, query: &str) -> String {
    let answer = get(daemon, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let groups = answer.json();
    let label = |group: &Value, name: &str| group["labels"][format!("__meta_service_center_{name}")].clone();
    let groups =
        groups.as_array().unwrap().iter().filter(|group| label(group, "service_name") != "SERVICECENTER");
    let mut ids: Vec<String> =
        groups.map(|group| label(group, "instance_id").as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids.join(" ")
}

#[test]
fn queries_choose_the_targets() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let instance = |id: &str, status: &str, properties: Value| json!({"instanceId": id, "hostName": "h", "endpoints": ["rest://10.0.0.7:80"], "status": status, "properties": properties});
    register(
        &daemon,
        &json!({"serviceName": "orders", "appId": "shop", "environment": "production"}),
        &json!([
            instance("a", "UP", json!({"k": "v", "l": "x:y"})),
            instance("b", "DOWN", json!({"k": "v"}))
        ]),
    );
    register(
        &daemon,
        &json!({"serviceName": "orders", "appId": "bank"}),
        &json!([instance("c", "UP", json!({}))]),
    );
    for (query, expected) in [
        ("", "a b c"),
        ("?serviceName=orders", "a b c"),
        ("?serviceName=order", ""),
        ("?appId=shop", "a b"),
        ("?appId=shop&serviceName=orders&env=production&status=DOWN", "b"),
        ("?env=", "c"),
        ("?env=testing", ""),
        ("?status=UP", "a c"),
        ("?property=k:v", "a b"),
        ("?property=k:v&property=l:x:y", "a"),
        ("?property=k:v&property=l:z", ""),
        ("?property=k:", ""),
        ("?unknown=1", "a b c"),
    ] {
        assert_eq!(found(&daemon, query), expected, "{query}");
    }
    // The nodes of the registry are targets too.
    let own = get(&daemon, "?serviceName=SERVICECENTER").json();
    assert_eq!(own[0]["targets"], json!([daemon.address().to_string()]));
    for query in [
        "?env=prod",
        "?status=up",
        "?status=",
        "?property=k",
        &format!("?{}", ["property=a:b"; 17].join("&")),
    ] {
        let answer = get(&daemon, query);
        assert_eq!((answer.status, code(&answer).as_str()), (400, "400001"), "{query}: {}", answer.text());
    }
    // Another tenant has no targets.
    let other = daemon.client().get("/v4/other/prometheus/targets").unwrap();
    assert_eq!((other.status, other.text().as_str()), (200, "[]"));
    let other = Request::new("GET", TARGETS).header("X-Domain-Name", "other");
    assert_eq!(daemon.client().send(&other).unwrap().text(), "[]");
}

/// What strangers registered is text. It reaches Prometheus as the value of a label, or not at all.
#[test]
fn hostile_instances_spoil_nothing() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let hostile = "\"}],\n\u{202e}<script>{{.}}";
    let mut endpoints: Vec<String> = [
        "rest://user:secret@10.0.0.7:80",
        "rest://10.0.0.7",
        "rest://10.0.0.7:99999",
        "file:///etc/passwd",
        hostile,
    ]
    .map(str::to_owned)
    .to_vec();
    endpoints.extend((0..100).map(|at| format!("s{at}://10.0.0.7:{}", at + 1)));
    let instance = json!({
        "instanceId": "i", "hostName": hostile, "endpoints": endpoints,
        "properties": {hostile: hostile, "__address__": "evil:1", "a.b": "1", "a-b": "2", "": "empty"},
    });
    register(&daemon, &json!({"serviceName": "s"}), &json!([instance]));
    let answer = get(&daemon, "?serviceName=s");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let text = answer.text();
    assert!(!text.contains("secret") && !text.contains("passwd"), "{text}");
    let groups = answer.json();
    let groups = groups.as_array().unwrap();
    // Each group repeats all labels, so their number has a limit.
    assert_eq!(groups.len(), 8);
    for (at, group) in groups.iter().enumerate() {
        assert_eq!(group["targets"], json!([format!("10.0.0.7:{}", at + 1)]));
        let labels = group["labels"].as_object().unwrap();
        for (name, value) in labels {
            let is_allowed = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(is_allowed && name.starts_with("__meta_service_center_"), "{name}");
            assert_ne!(value, "", "{name}");
        }
        assert_eq!(labels["__meta_service_center_instance_host"], hostile);
        assert_eq!(
            labels["__meta_service_center_property_a_b"], "2",
            "the first in the order of the names counts"
        );
    }
}

/// An answer over the limit names its size, and a query makes it small enough.
#[test]
fn a_list_over_the_limit_is_refused() {
    let daemon = Daemon::start(Settings::default().yaml("server.response.maxBytes", json!(65_536))).unwrap();
    let instance = |id: usize| json!({"instanceId": format!("i{id}"), "hostName": "x".repeat(60), "endpoints": [format!("rest://10.0.0.7:{}", id + 1)]});
    let many: Vec<Value> = (0..120).map(instance).collect();
    register(&daemon, &json!({"serviceName": "many"}), &json!(many));
    register(&daemon, &json!({"serviceName": "one"}), &json!([instance(199)]));
    let refused = get(&daemon, "?serviceName=many");
    assert_eq!((refused.status, code(&refused).as_str()), (400, "400001"));
    assert!(refused.text().contains("server.response.maxBytes"), "{}", refused.text());
    assert_eq!(found(&daemon, "?serviceName=one"), "i199");
}
