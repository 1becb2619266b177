//! What operators ask: which nodes there are, and whether they show what the store holds.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Request;
use crate::support::registry::{Instance, Registry};
use crate::support::store::on_etcd;

const NODES: &str = "/v4/default/admin/nodes";
const DIAGNOSE: &str = "/v4/default/admin/diagnose";

fn answer(node: &Daemon, target: &str) -> Value {
    let response = node.client().get(target).unwrap();
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    assert_eq!(response.header("Access-Control-Allow-Origin"), None);
    response.json()
}

#[test]
fn a_single_node_lists_itself() {
    let node = Daemon::start(Settings::default()).unwrap();
    let page = answer(&node, NODES);
    assert_eq!((&page["total"], &page["next"]), (&json!(1), &Value::Null), "{page}");
    let row = &page["items"][0];
    for (member, expected) in [
        ("self", json!(true)),
        ("ours", json!(true)),
        ("agrees", json!(true)),
        ("ageSeconds", json!(0.0)),
        ("watchers", json!(0)),
        ("heldExpiries", json!(0)),
        ("heldDigest", json!("0000000000000000")),
        ("alarms", json!([])),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(row[member], expected, "{member}: {row}");
    }
    for member in ["node", "process", "endpoint", "apiVersion", "digest", "instanceId"] {
        assert!(row[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {row}");
    }
    for member in ["started", "time"] {
        assert!(row[member].as_str().is_some_and(|time| time.ends_with('Z')), "{member}: {row}");
    }
    assert_eq!(row["storeContact"]["state"], "reached", "{row}");
    assert!(row["storeContact"]["since"].as_str().is_some_and(|time| time.ends_with('Z')), "{row}");
    // The digest changes with each change, and with nothing else.
    let digest = || answer(&node, NODES)["items"][0]["digest"].clone();
    let before = digest();
    assert_eq!(digest(), before);
    let registry = Registry::new(node.client(), "default");
    let service = registry.create_service("s", "1.0.0").unwrap();
    let with_service = digest();
    registry.register(&service, &Instance::named("i")).unwrap();
    let with_instance = digest();
    assert!(before != with_service && with_service != with_instance && before != with_instance);
    registry.unregister(&service, "i").unwrap();
    assert_eq!(digest(), with_service);
}

#[test]
fn a_node_tells_its_limits_and_how_much_of_them_is_in_use() {
    let settings = Settings::default()
        .yaml("quota.cap.service.limit", json!(7))
        .yaml("server.request.maxConcurrent", json!(300));
    let node = Daemon::start(settings).unwrap();
    let registry = Registry::new(node.client(), "default");
    let service = registry.create_service("s", "1.0.0").unwrap();
    registry.register(&service, &Instance::named("i")).unwrap();
    let limit = |target: &str, name: &str| {
        let row = answer(&node, target)["items"][0].clone();
        let limits = row["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["name"] == name).cloned().unwrap_or_else(|| panic!("{name}: {row}"))
    };
    let check = |name: &str, expected: Value| assert_eq!(limit(NODES, name), expected);
    check("services", json!({"name": "services", "used": 1, "limit": 7, "scope": "tenant"}));
    check("instances", json!({"name": "instances", "used": 1, "limit": 150_000, "scope": "tenant"}));
    check("tenants", json!({"name": "tenants", "used": 1, "limit": 10_000, "scope": "registry"}));
    check("eventStreams", json!({"name": "eventStreams", "used": 0, "limit": 64, "scope": "node"}));
    assert_eq!(limit("/v4/other/admin/nodes", "services")["used"], 0, "the tenant of the request counts");
    assert_eq!(limit(NODES, "waitingRequests")["limit"], 300);
    // The request itself waits for an actor, which may be faster than the count.
    eventually(GENEROUS, || limit(NODES, "waitingRequests")["used"] == 1);
    let open: Vec<_> = (0..3).map(|_| node.client().connect().unwrap()).collect();
    eventually(GENEROUS, || limit(NODES, "connections")["used"].as_i64() >= Some(1 + 3));
    drop(open);
    for name in ["requestBytes", "answerBytes"] {
        let bytes = limit(NODES, name);
        assert!(bytes["used"].is_i64() && bytes["limit"].as_i64() > Some(0), "{bytes}");
    }
    let row = answer(&node, NODES)["items"][0].clone();
    assert!(!row.to_string().contains("\"accounts\""), "there are no accounts: {row}");
}

#[test]
fn a_node_that_shows_all_differs_in_nothing() {
    let node = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(node.client(), "default");
    let service = registry.create_service("s", "1.0.0").unwrap();
    for id in ["a", "b", "c"] {
        registry.register(&service, &Instance::named(id)).unwrap();
    }
    let page = answer(&node, DIAGNOSE);
    assert_eq!(
        (&page["total"], &page["repaired"], &page["items"]),
        (&json!(0), &json!(0), &json!([])),
        "{page}"
    );
    assert!(page["compared"].as_u64() > Some(8), "{page}");
    assert!(node.metric("service_center_comparisons_total") >= 1);
    // The keys of all tenants are for the tenant of operators.
    let other = Request::new("GET", DIAGNOSE).header("X-Domain-Name", "other");
    assert_eq!(node.client().send(&other).unwrap().status, 403);
    for bad in ["?limit=0", "?limit=201", "?after=x"] {
        for target in [NODES, DIAGNOSE] {
            let response = node.client().get(&format!("{target}{bad}")).unwrap();
            assert_eq!(response.status, 400, "{target}{bad}");
        }
    }
}

/// Two nodes of this server and one of the original, on one etcd.
#[test]
fn all_nodes_of_a_cluster_are_listed() {
    let etcd = Etcd::start();
    let [mut one, two] =
        [0, 1].map(|_| Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap());
    let ours = eventually(GENEROUS, || {
        let rows = answer(&one, NODES)["items"].as_array().cloned().unwrap_or_default();
        let agree = rows.iter().filter(|row| row["agrees"] == true && row["instanceId"] != "").count();
        if agree == 2 { Ok(rows) } else { Err(format!("{rows:?}")) }
    });
    assert_eq!(ours.len(), 2, "{ours:?}");
    // As a node of the original registers itself.
    let nodes = answer(&one, "/v4/default/registry/health");
    let service = nodes["instances"][0]["serviceId"].as_str().unwrap();
    let document = json!({"instanceId": "go", "serviceId": service, "endpoints": ["rest://10.0.0.9:30100/"],
        "hostName": "gohost", "status": "UP"});
    let key = format!("/cse-sr/inst/files/default/default/{service}/go");
    etcd.ctl(&["put", &key, &document.to_string()]);
    let foreign = eventually(GENEROUS, || {
        let rows = answer(&two, NODES)["items"].as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["ours"] == false).ok_or("not yet")
    });
    let expected = json!({"node": "gohost", "self": false, "ours": false, "instanceId": "go",
        "endpoint": "rest://10.0.0.9:30100/", "apiVersion": "2.2.0"});
    assert_eq!(foreign, expected);
    // In pages of one.
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = answer(&two, &format!("{NODES}?limit=1{after}"));
        assert_eq!(page["total"], 3, "{page}");
        names.push(page["items"][0]["node"].as_str().unwrap().to_owned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(names.len() == 3 && names.is_sorted() && names.contains(&"gohost".to_owned()), "{names:?}");
    // A node that stops is gone at once.
    one.terminate(GENEROUS).unwrap();
    eventually(GENEROUS, || {
        let rows = answer(&two, NODES)["items"].as_array().cloned().unwrap_or_default();
        if rows.iter().filter(|row| row["ours"] == true).count() == 1 {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    });
}
