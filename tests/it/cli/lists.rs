//! `get`, `describe`, `history`, `explain` and `diagnose`, in each form of output.

use serde_json::{Value, json};

use super::run::User;
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Request;
use crate::support::net::free_address;
use crate::support::registry::{Instance, Registry};
use crate::support::ws::WebSocket;

const BASE: &str = "/v4/default/registry";

/// A provider with two versions, two instances and a schema, and a consumer.
struct Filled {
    daemon: Daemon,
    provider: String,
    consumer: String,
}

fn post(daemon: &Daemon, target: &str, body: &Value) -> Value {
    let response = daemon.client().send(&Request::new("POST", target).json(body)).unwrap();
    assert_eq!(response.status, 200, "{target}: {}", response.text());
    if response.text().is_empty() { Value::Null } else { response.json() }
}

fn filled() -> Filled {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let create = |version: &str| {
        let service = json!({"service": {"serviceName": "orders", "appId": "shop", "version": version,
            "framework": {"name": "servicecomb-java-chassis", "version": "CSE:2.3.35"}}});
        post(&daemon, &format!("{BASE}/microservices"), &service)["serviceId"].as_str().unwrap().to_owned()
    };
    let provider = create("1.0.0");
    create("1.0.1");
    let registry = Registry::new(daemon.client(), "default");
    let consumer = registry.create_service("web", "1.0.0").unwrap();
    for id in ["one", "two"] {
        let mut instance = Instance::named(id);
        instance.endpoint = format!("rest://10.0.0.1:80{}", id.len());
        registry.register(&provider, &instance).unwrap();
    }
    let schema = json!({"schema": "swagger: \"2.0\"\ninfo: x\n", "summary": "s"});
    let target = format!("{BASE}/microservices/{provider}/schemas/hello");
    let response = daemon.client().send(&Request::new("PUT", &target).json(&schema)).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    Filled { daemon, provider, consumer }
}

#[test]
fn services_and_instances_are_listed_in_each_form() {
    let Filled { daemon, provider, consumer } = filled();
    let user = User::new();
    let table = user.at(&daemon, &["get", "service"]);
    let orders = ["orders", "shop", "1.0.0,1.0.1", "", "servicecomb-java-chassis-CSE:2.3.35"];
    assert_eq!(table.cells()[0], ["NAME", "APPID", "VERSIONS", "ENV", "FRAMEWORK", "AGE"], "{table:?}");
    assert!(table.cells().iter().any(|cells| cells[..5] == orders), "{table:?}");
    let bare = user.at(&daemon, &["get", "svc", "--no-headers"]);
    assert_eq!(bare.cells().len(), table.cells().len() - 1, "{bare:?}");
    let wide = user.at(&daemon, &["get", "svc", "-owide"]);
    let row = wide.cells().into_iter().find(|cells| cells[1] == "orders").unwrap();
    assert!(row[0] == "default" && row[6] == "rest://10.0.0.1:803,rest://10.0.0.1:803", "{wide:?}");

    let json = user.at(&daemon, &["get", "svc", "-o", "json", "--search", "orders"]).json();
    assert_eq!(json[0]["serviceName"], "orders");
    assert_eq!(json.as_array().unwrap().len(), 1);
    let yaml = user.at(&daemon, &["-o", "yaml", "get", "svc", "--app", "shop"]);
    let yaml: Value = serde_yaml_ng::from_str(yaml.ok()).unwrap();
    assert_eq!(yaml[0]["versions"].as_array().unwrap().len(), 2);
    let names = user.at(&daemon, &["get", "svc", "-o", "name"]);
    assert!(names.ok().lines().any(|line| line == provider), "{names:?}");
    assert!(names.ok().lines().any(|line| line == consumer), "{names:?}");

    let instances = user.at(&daemon, &["get", "inst", "shop/orders"]);
    assert_eq!(instances.cells()[0], ["HOST", "ENDPOINTS", "VERSION", "SERVICE", "APPID", "LEASE", "AGE"]);
    assert_eq!(
        instances.cells()[1][..6],
        ["test", "rest://10.0.0.1:803", "1.0.0", "orders", "shop", "2m"],
        "{instances:?}"
    );
    assert_eq!(instances.cells().len(), 3, "{instances:?}");
    let names = user.at(&daemon, &["get", "instance", "orders@1.0.0", "-o", "name"]);
    let mut names: Vec<&str> = names.ok().lines().collect();
    names.sort_unstable();
    assert_eq!(names, [format!("{provider}/one"), format!("{provider}/two")]);
    user.at(&daemon, &["get", "instance", "nobody"]).fails(1, "there is no service 'nobody'");
}

#[test]
fn all_domains_are_listed_out_of_the_dump() {
    let Filled { daemon, .. } = filled();
    let service = json!({"service": {"serviceName": "far", "appId": "other", "version": "1.0.0"}});
    let request =
        Request::new("POST", "/v4/elsewhere/registry/microservices").header("X-Domain-Name", "moon");
    let response = daemon.client().send(&request.json(&service)).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    let user = User::new();
    let all = user.at(&daemon, &["get", "service", "--all-domains"]);
    assert_eq!(all.cells()[0], ["DOMAIN", "NAME", "APPID", "VERSIONS", "ENV", "FRAMEWORK", "AGE"]);
    assert!(all.cells().iter().any(|cells| cells[..4] == ["moon", "far", "other", "1.0.0"]), "{all:?}");
    let one = user.at(&daemon, &["get", "service", "-d", "moon", "--project", "elsewhere", "--no-headers"]);
    assert_eq!(one.cells().len(), 1, "{one:?}");
    assert_eq!(one.cells()[0][0], "far");
    let instances = user.at(&daemon, &["get", "inst", "--all-domains", "-owide"]);
    let heading =
        ["DOMAIN", "HOST", "ENDPOINTS", "VERSION", "SERVICE", "APPID", "ENV", "FRAMEWORK", "LEASE", "AGE"];
    assert_eq!(instances.cells()[0], heading);
    let row = [
        "default",
        "test",
        "rest://10.0.0.1:803",
        "1.0.0",
        "orders",
        "shop",
        "",
        "servicecomb-java-chassis-CSE:2.3.35",
        "2m",
    ];
    assert!(instances.cells().iter().any(|cells| cells[..9] == row), "{instances:?}");
}

#[test]
fn schemas_are_printed_and_saved() {
    let Filled { daemon, .. } = filled();
    let user = User::new();
    let printed =
        user.at(&daemon, &["get", "schema", "--app", "shop", "--name", "orders", "--version", "1.0.0"]);
    assert_eq!(printed.ok(), "swagger: \"2.0\"\ninfo: x\n");
    assert_eq!(user.at(&daemon, &["get", "schema", "--version", "9.9.9"]).ok(), "");
    let saved = user.at(&daemon, &["get", "schema", "-s", "."]);
    assert!(saved.ok().is_empty() && saved.err.contains("Finished."), "{saved:?}");
    let path = user.home().join("schemas/shop/orders.v1.0.0/hello.yaml");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "swagger: \"2.0\"\ninfo: x\n");
}

#[test]
fn one_service_and_one_instance_are_described() {
    let Filled { daemon, provider, .. } = filled();
    let user = User::new();
    let service = user.at(&daemon, &["describe", "service", "orders@1.0.0"]);
    for words in ["shop/orders@1.0.0", &provider, "2 UP", "hello"] {
        assert!(service.ok().contains(words), "{words}: {service:?}");
    }
    let both = user.at(&daemon, &["describe", "svc", "shop/orders", "-o", "json"]).json();
    assert_eq!(both.as_array().unwrap().len(), 2);
    let instance = user.at(&daemon, &["describe", "instance", &format!("{provider}/one")]);
    for words in ["shop/orders@1.0.0", "rest://10.0.0.1:803", "UP"] {
        assert!(instance.ok().contains(words), "{words}: {instance:?}");
    }
    let by_id = user.at(&daemon, &["describe", "instance", "one", "-o", "json"]).json();
    assert_eq!(by_id["instanceId"], "one");
    user.at(&daemon, &["describe", "instance", "rest://10.0.0.1:803"]).fails(64, "several instances have");
    user.at(&daemon, &["describe", "instance", "three"]).fails(1, "no instance has");
    user.at(&daemon, &["describe", "instance", &format!("{provider}/three")])
        .fails(1, "there is no instance");
}

#[test]
fn the_node_tells_its_clusters_and_alarms() {
    let Filled { daemon, .. } = filled();
    let user = User::new();
    let clusters = user.at(&daemon, &["get", "cluster"]);
    assert_eq!(clusters.cells()[0], ["CLUSTER", "ENDPOINTS"]);
    assert_eq!(clusters.cells()[1][1], "embedded", "{clusters:?}");
    let alarms = user.at(&daemon, &["get", "alarm"]);
    assert_eq!(alarms.cells(), [["ALARM", "STATUS", "DETAIL"]]);
    // A node without accounts has no such routes.
    user.at(&daemon, &["get", "account"]).fails(69, "have no accounts");
}

/// Control characters and bidirectional formatting in a description, a property and a framework, which the registry accepts.
#[test]
fn hostile_texts_are_shown_escaped() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let hostile = "\u{1b}[2J\u{202e}x\u{7}";
    let service = json!({"service": {"serviceName": "hostile", "version": "1.0.0",
        "properties": {"note": hostile}, "framework": {"name": "plain", "version": "1"}}});
    let id =
        post(&daemon, &format!("{BASE}/microservices"), &service)["serviceId"].as_str().unwrap().to_owned();
    let instance = json!({"instance": {"hostName": "h", "endpoints": ["rest://10.0.0.1:1"], "properties": {"p": hostile}}});
    let target = format!("{BASE}/microservices/{id}/instances");
    let instance = post(&daemon, &target, &instance)["instanceId"].as_str().unwrap().to_owned();
    let user = User::new();
    let place = format!("{id}/{instance}");
    for arguments in [
        &["describe", "service", "hostile"][..],
        &["describe", "service", "hostile", "-o", "json"],
        &["describe", "instance", &place],
        &["describe", "instance", &place, "-o", "json"],
    ] {
        let ran = user.at(&daemon, arguments);
        assert!(ran.ok().contains("202e"), "the text is there, escaped: {ran:?}");
        assert!(!ran.out.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{ran:?}");
    }
    let json = user.at(&daemon, &["describe", "instance", &place, "-o", "json"]).json();
    assert_eq!(json["properties"]["p"], hostile, "nothing is lost");
}

#[test]
fn mistakes_and_dead_nodes_have_their_exit_codes() {
    let user = User::new();
    for (arguments, words) in [
        (&["get", "servise"][..], "servise"),
        (&["get"], "Usage"),
        (&["--addr", "ftp://x", "get", "svc"], "neither http nor https"),
        (&["--addr", "http://root:secret@x", "get", "svc"], "cannot contain an account"),
        (&["-t", "0s", "version"], "leaves no time"),
        (&["--context", "nowhere", "version"], "there is no context 'nowhere'"),
        (&["completion", "tcsh"], "tcsh"),
        (&["set", "status", "x", "SIDEWAYS"], "SIDEWAYS"),
    ] {
        let ran = user.run(arguments);
        ran.fails(64, words);
        assert!(ran.out.is_empty() && !ran.err.contains("secret"), "{ran:?}");
    }
    let nobody = free_address().unwrap().to_string();
    user.run(&["--addr", &nobody, "get", "svc"]).fails(69, "cannot be reached");
    let Filled { daemon, .. } = filled();
    // The second address is tried after the first.
    let both = format!("{nobody},{}", daemon.address());
    assert!(user.run(&["--addr", &both, "get", "svc"]).ok().contains("orders"));
    let verbose = user.at(&daemon, &["-v", "get", "cluster"]);
    assert!(verbose.err.contains("GET http://") && verbose.err.contains("admin/clusters"), "{verbose:?}");
}

#[test]
fn a_find_is_explained() {
    let Filled { daemon, .. } = filled();
    let user = User::new();
    let stopped = user.at(&daemon, &["explain", "web", "shop/orders"]);
    assert_eq!(stopped.code, 1, "another application: {stopped:?}");
    assert!(stopped.out.contains("allowCrossApp") && stopped.out.contains("RULE"), "{stopped:?}");
    Registry::new(daemon.client(), "default").create_service("stock", "1.0.0").unwrap();
    let empty = user.at(&daemon, &["explain", "web", "stock", "-o", "json"]);
    assert_eq!(empty.code, 1, "{empty:?}");
    let service = Registry::new(daemon.client(), "default").create_service("full", "1.0.0").unwrap();
    Registry::new(daemon.client(), "default").register(&service, &Instance::named("full-1")).unwrap();
    let found = user.at(&daemon, &["explain", "web", "full"]);
    assert!(found.ok().contains("dependency"), "{found:?}");
    let wrong = user.at(&daemon, &["explain", "web", "orderz"]);
    assert_eq!(wrong.code, 1, "{wrong:?}");
}

#[test]
fn watches_are_listed() {
    let Filled { daemon, consumer, .. } = filled();
    let registry = Registry::new(daemon.client(), "default");
    let stock = registry.create_service("stock", "1.0.0").unwrap();
    registry.depend(&consumer, "stock", &stock);
    let _watch = WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
    let user = User::new();
    eventually(GENEROUS, || {
        user.at(&daemon, &["get", "watcher", "stock", "--no-headers"]).ok().contains("default/web@1.0.0")
    });
    let watches = user.at(&daemon, &["get", "watcher", "stock"]);
    assert_eq!(watches.cells()[0], ["CONSUMER", "CLIENT", "CONNECTED", "SENT", "PENDING", "LAST-SENT"]);
    assert!(watches.cells()[1][1].starts_with("127."), "{watches:?}");
}
