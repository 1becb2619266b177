//! Consumers that look for a provider before it exists, and consumers of an instance that drains: on the embedded store, and on three nodes
//! that share one etcd.

use std::time::Duration;

use serde_json::{Value, json};

use super::cases::{Caller, code};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::EtcdKeys;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Response;
use crate::support::proxy::Proxy;
use crate::support::registry::next_event;
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

/// The prefix of what nodes tell each other about consumers.
const CONSUMERS: &str = "/service-center/consumers/";
/// The metric of the providers that consumers look for in vain.
const INTERESTS: &str = "service_center_interests";

fn cluster(etcd: &Etcd) -> [Daemon; 3] {
    [(); 3].map(|()| Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap())
}

fn watch(caller: &Caller, consumer: &str) -> WebSocket {
    caller.socket(&format!("/microservices/{consumer}/watcher")).unwrap()
}

/// Asserts that the next event of a watch is the creation of this instance.
#[track_caller]
fn created(watch: &mut WebSocket, instance: &str) {
    let event = next_event(watch, GENEROUS).unwrap();
    assert_eq!(event, ("CREATE".to_owned(), instance.to_owned()));
}

/// Takes the events that have come.
fn take_all(watches: &mut [WebSocket]) {
    for watch in watches {
        while next_event(watch, Duration::from_millis(1)).is_ok() {}
    }
}

/// Finds a provider that this consumer does not see.
#[track_caller]
fn find_in_vain(caller: &Caller, consumer: &str, name: &str) {
    let answer = caller.consumer(consumer).get(&format!("/instances?appId=default&serviceName={name}"));
    assert_eq!(code(&answer), "400012", "{}", answer.text());
}

fn instance(caller: &Caller, service: &str) -> String {
    caller.instance(service, json!({"hostName": "h", "endpoints": ["rest://127.0.0.1:1"]}))
}

/// Each way to look for a provider: the watch gets the first instance, and the instances after it.
#[test]
fn a_consumer_is_told_when_its_provider_appears() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let consumer = caller.service(json!({"serviceName": "c"}));
    let mut socket = watch(&caller, &consumer);
    let key = |name: &str| json!({"appId": "default", "serviceName": name});
    let by_batch = |name: &str| {
        let body = json!({"services": [{"service": key(name)}]});
        let answer = caller.consumer(&consumer).post("/instances/action?type=query", &body);
        assert_eq!(code(&answer), "200", "{}", answer.text());
    };
    let by_request = |name: &str| {
        let consumer = json!({"appId": "default", "serviceName": "c", "version": "0.0.1"});
        let provider = json!({"appId": "default", "serviceName": name, "version": "0.0.1"});
        let body = json!({"dependencies": [{"consumer": consumer, "providers": [provider]}]});
        let answer = caller.put("/dependencies", &body);
        assert_eq!(code(&answer), "200", "{}", answer.text());
    };
    for name in ["found", "batch", "asked"] {
        match name {
            "found" => find_in_vain(&caller, &consumer, name),
            "batch" => by_batch(name),
            _ => by_request(name),
        }
        let provider = caller.service(json!({"serviceName": name}));
        for _ in 0..2 {
            let instance = instance(&caller, &provider);
            created(&mut socket, &instance);
        }
    }
    // A find by the alias of the provider.
    find_in_vain(&caller, &consumer, "alias");
    let provider = caller.service(json!({"serviceName": "named", "alias": "alias"}));
    let named = instance(&caller, &provider);
    created(&mut socket, &named);
    // The next find records the dependency, and the interest is over. The watch goes on.
    assert_eq!(caller.consumer(&consumer).find("appId=default&serviceName=found").len(), 2);
    eventually(GENEROUS, || {
        caller.get(&format!("/microservices/{consumer}/providers")).json()["providers"][0]["serviceName"]
            == "found"
    });
    let again = caller.find("appId=default&serviceName=found&env=").remove(0);
    let services = caller.get("/microservices").json();
    let found =
        services["services"].as_array().unwrap().iter().find(|one| one["serviceName"] == "found").unwrap();
    let at = format!("/microservices/{}/instances/{again}", found["serviceId"].as_str().unwrap());
    assert_eq!(caller.put(&format!("{at}/status?value=DOWN"), &json!({})).status, 200);
    assert_eq!(next_event(&mut socket, GENEROUS).unwrap(), ("UPDATE".to_owned(), again));
    assert_eq!(daemon.metric(INTERESTS), 3, "of the three whose dependency is not recorded");
}

/// A consumer learns nothing of a provider that a find would not show it, nor of one that it has never looked for.
#[test]
fn a_consumer_is_told_only_of_what_it_may_see() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let consumer = caller.service(json!({"serviceName": "c"}));
    let mut socket = watch(&caller, &consumer);
    let asks = |app: &str, name: &str| {
        caller.consumer(&consumer).get(&format!("/instances?appId={app}&serviceName={name}"))
    };
    assert_eq!(code(&asks("other", "hidden")), "400012");
    assert_eq!(code(&asks("other", "open")), "400012");
    find_in_vain(&caller, &consumer, "p");
    let hidden = caller.service(json!({"serviceName": "hidden", "appId": "other"}));
    instance(&caller, &hidden);
    // The same name in another environment and in another project.
    let elsewhere = caller.service(json!({"serviceName": "p", "environment": "production"}));
    instance(&caller, &elsewhere);
    let project = Caller::below(&daemon, "/v4/other/registry");
    let foreign = project.service(json!({"serviceName": "p"}));
    instance(&project, &foreign);
    let unknown = caller.service(json!({"serviceName": "unknown"}));
    instance(&caller, &unknown);
    let properties = json!({"allowCrossApp": "true"});
    let open = caller.service(json!({"serviceName": "open", "appId": "other", "properties": properties}));
    let shown = instance(&caller, &open);
    created(&mut socket, &shown);
    // A provider that is found without a visible version: a version that may be seen comes later.
    assert_eq!(code(&asks("other", "hidden")), "200");
    let hidden = caller.service(
        json!({"serviceName": "hidden", "appId": "other", "version": "2.0.0", "properties": properties}),
    );
    let shown = instance(&caller, &hidden);
    created(&mut socket, &shown);
}

/// The consumer depends on the provider. The provider is deleted, so the dependency goes, and comes back under another id.
#[test]
fn a_provider_that_comes_back_is_told() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let consumer = caller.service(json!({"serviceName": "c"}));
    let provider = caller.service(json!({"serviceName": "p", "serviceId": "first"}));
    let mut socket = watch(&caller, &consumer);
    caller.consumer(&consumer).find("appId=default&serviceName=p");
    let providers =
        || caller.get(&format!("/microservices/{consumer}/providers?noCache=1")).json()["providers"].clone();
    eventually(GENEROUS, || providers()[0]["serviceId"] == "first");
    let gone = instance(&caller, &provider);
    created(&mut socket, &gone);
    assert_eq!(caller.delete("/microservices/first?force=1").status, 200);
    assert_eq!(next_event(&mut socket, GENEROUS).unwrap(), ("DELETE".to_owned(), gone));
    // A request that replaces dependencies drops those on services that do not exist.
    let other = caller.service(json!({"serviceName": "d"}));
    let own = json!({"appId": "default", "serviceName": "d", "version": "0.0.1"});
    let body = json!({"dependencies": [{"consumer": own, "providers": [own]}]});
    assert_eq!(caller.put("/dependencies", &body).status, 200);
    assert_eq!(providers(), Value::Null);
    let provider = caller.service(json!({"serviceName": "p", "serviceId": "second"}));
    let back = instance(&caller, &provider);
    created(&mut socket, &back);
    drop(other);
}

#[test]
fn interests_are_bounded() {
    let limits = [("registry.interest.limit", 5), ("registry.interest.perConsumer", 3)];
    let settings =
        limits.into_iter().fold(Settings::default(), |all, (key, value)| all.yaml(key, json!(value)));
    let daemon = Daemon::start(settings).unwrap();
    let caller = Caller::of(&daemon);
    let consumers = ["a", "b", "c"].map(|name| caller.service(json!({"serviceName": name})));
    let mut socket = watch(&caller, &consumers[2]);
    for consumer in &consumers {
        for name in ["p1", "p2", "p3", "p4"] {
            find_in_vain(&caller, consumer, name);
        }
    }
    let metrics = |name: &str| daemon.metric(name);
    eventually(GENEROUS, || metrics(INTERESTS) == 5);
    assert_eq!(metrics("service_center_interests_dropped_total"), 7);
    // The oldest of the consumer is forgotten.
    for name in ["p1", "p2"] {
        let provider = caller.service(json!({"serviceName": name}));
        let instance = instance(&caller, &provider);
        if name == "p2" {
            created(&mut socket, &instance);
        }
    }
}

/// The consumer asks one node, watches another one, and the provider registers at a third.
#[test]
fn a_consumer_is_told_on_whichever_node_it_watches() {
    let etcd = Etcd::start();
    let nodes = cluster(&etcd);
    let [asked, watched, third] = [0, 1, 2].map(|at| Caller::of(&nodes[at]));
    let consumer = asked.service(json!({"serviceName": "c"}));
    eventually(GENEROUS, || watched.get(&format!("/microservices/{consumer}")).status == 200);
    let mut socket = watch(&watched, &consumer);
    find_in_vain(&asked, &consumer, "p");
    eventually(GENEROUS, || nodes[1].metric(INTERESTS) == 1);
    let provider = third.service(json!({"serviceName": "p"}));
    let shown = instance(&third, &provider);
    created(&mut socket, &shown);
    // A find that fails again writes nothing.
    let keys = EtcdKeys::of(&etcd);
    let written = || keys.below(&format!("{CONSUMERS}interests/")).len();
    assert_eq!(written(), 1);
    // A node that starts later learns it from the store.
    find_in_vain(&asked, &consumer, "later");
    eventually(GENEROUS, || nodes[1].metric(INTERESTS) == 2);
    let late = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    eventually(GENEROUS, || late.metric(INTERESTS) == 2);
}

/// The service `p` with an instance, and a consumer that depends on it.
struct DrainScene {
    provider: String,
    instance: String,
    consumer: String,
}

impl DrainScene {
    fn new(caller: &Caller) -> Self {
        let provider = caller.service(json!({"serviceName": "p"}));
        let consumer = caller.service(json!({"serviceName": "c"}));
        let instance = instance(caller, &provider);
        Self { provider, instance, consumer }
    }

    fn path(&self) -> String {
        format!("/microservices/{}/instances/{}", self.provider, self.instance)
    }

    /// Waits until the dependency is recorded.
    #[track_caller]
    fn depends(&self, caller: &Caller) {
        eventually(GENEROUS, || {
            let answer = caller.get(&format!("/microservices/{}/providers", self.consumer));
            answer.json()["providers"][0]["serviceName"] == "p"
        });
    }

    #[track_caller]
    fn drain(&self, caller: &Caller, query: &str) -> Value {
        let answer = caller.post(&format!("{}/drain{query}", self.path()), &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

/// The numbers of a receipt: seen, of, complete.
fn numbers(receipt: &Value) -> (u64, u64, bool) {
    (
        receipt["seen"].as_u64().unwrap(),
        receipt["of"].as_u64().unwrap(),
        receipt["complete"].as_bool().unwrap(),
    )
}

/// A watcher is told at once. A consumer without a watch is waited for until it asks again.
#[test]
fn a_drain_waits_for_the_consumers() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let scene = DrainScene::new(&caller);
    assert_eq!(numbers(&scene.drain(&caller, "?wait=1m")), (0, 0, true), "nobody uses it");
    let poller = caller.service(json!({"serviceName": "poller"}));
    let finds = |consumer: &str| caller.consumer(consumer).get("/instances?appId=default&serviceName=p");
    assert_eq!(finds(&scene.consumer).status, 200);
    scene.depends(&caller);
    let mut socket = watch(&caller, &scene.consumer);
    let receipt = scene.drain(&caller, "?wait=1m");
    assert_eq!(numbers(&receipt), (1, 1, true), "the watcher asked before, too: {receipt}");
    assert_eq!(next_event(&mut socket, GENEROUS).unwrap().0, "UPDATE");
    let found = finds(&poller).json();
    assert_eq!(found["instances"][0]["status"], "OUTOFSERVICE");
    eventually(GENEROUS, || {
        let consumers = caller.get(&format!("/microservices/{}/consumers", scene.provider)).json();
        consumers["consumers"].as_array().is_some_and(|all| all.len() == 2)
    });
    let receipt = scene.drain(&caller, "?wait=0");
    assert_eq!(receipt["complete"], false, "nobody had time to ask: {receipt}");
    // On a busy machine the watcher may be told too late for the first answer.
    let receipt = eventually(GENEROUS, || {
        assert_eq!(finds(&poller).status, 200);
        let receipt = scene.drain(&caller, "?wait=1s");
        if numbers(&receipt) == (1, 2, false) { Ok(receipt) } else { Err(receipt) }
    });
    let missing = &receipt["missing"][0];
    assert_eq!(
        (&missing["consumer"]["serviceId"], &missing["consumer"]["serviceName"]),
        (&json!(poller), &json!("poller"))
    );
    assert!(
        missing["client"].is_string() && missing["node"].is_string() && missing["last"].is_string(),
        "{missing}"
    );
    // It asks again while the drain waits. The drain is sure to have begun once the instance shows a later change.
    let before = finds(&poller).header("X-Resource-Revision").map(str::to_owned);
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| scene.drain(&caller, "?wait=5m"));
        eventually(GENEROUS, || finds(&poller).header("X-Resource-Revision").map(str::to_owned) != before);
        let receipt = drain.join().unwrap();
        assert_eq!(numbers(&receipt), (2, 2, true), "{receipt}");
        assert_eq!(receipt["missing"], json!([]));
    });
    // The deletion can wait, too.
    let answer = std::thread::scope(|scope| {
        let gone = scope.spawn(|| caller.delete(&format!("{}?wait=5m", scene.path())));
        eventually(GENEROUS, || finds(&poller).json()["instances"].is_null());
        gone.join().unwrap()
    });
    assert_eq!(numbers(&answer.json()), (2, 2, true), "{}", answer.text());
}

#[test]
fn a_drain_that_cannot_be_done_is_rejected() {
    let daemon = Daemon::start(Settings::default().yaml("registry.drain.limit", json!(1))).unwrap();
    let caller = Caller::of(&daemon);
    let scene = DrainScene::new(&caller);
    for wait in ["x", "-1s", "5m1s", "30"] {
        let answer = caller.post(&format!("{}/drain?wait={wait}", scene.path()), &Value::Null);
        assert_eq!(code(&answer), "400001", "{wait}");
        assert_eq!(code(&caller.delete(&format!("{}?wait={wait}", scene.path()))), "400001", "{wait}");
    }
    let nowhere = format!("/microservices/{}/instances/none/drain", scene.provider);
    assert_eq!(code(&caller.post(&nowhere, &Value::Null)), "400017");
    // One waits for a consumer that does not ask again, so a second one is over the limit.
    caller.consumer(&scene.consumer).find("appId=default&serviceName=p");
    scene.depends(&caller);
    let path = format!("{}/drain?wait=2m", scene.path());
    std::thread::scope(|scope| {
        // A second one may be first.
        let first = scope.spawn(|| {
            eventually(GENEROUS, || {
                Some(caller.post(&path, &Value::Null)).filter(|answer| code(answer) != "503001")
            })
        });
        eventually(GENEROUS, || {
            let second = caller.post(&format!("{}/drain?wait=0", scene.path()), &Value::Null);
            code(&second) == "503001"
        });
        // The place is taken before the change is written, so an answer may come from before the change.
        eventually(GENEROUS, || {
            caller.consumer(&scene.consumer).find("appId=default&serviceName=p");
            first.is_finished()
        });
        assert_eq!(numbers(&first.join().unwrap().json()), (1, 1, true));
    });
    // The place is free again.
    eventually(GENEROUS, || {
        caller.post(&format!("{}/drain?wait=0", scene.path()), &Value::Null).status == 200
    });
}

/// Three nodes: watchers on two of them, consumers that poll, and a watcher that never reads.
#[test]
fn nodes_count_the_consumers_together() {
    let etcd = Etcd::start();
    let nodes = cluster(&etcd);
    let callers = [0, 1, 2].map(|at| Caller::of(&nodes[at]));
    let [one, two, three] = &callers;
    let scene = DrainScene::new(one);
    let [poller, stalled] = ["poller", "stalled"].map(|name| one.service(json!({"serviceName": name})));
    let find = |caller: &Caller, consumer: &str| {
        caller.consumer(consumer).get("/instances?appId=default&serviceName=p&noCache=1")
    };
    for consumer in [&scene.consumer, &poller, &stalled] {
        assert_eq!(find(one, consumer).status, 200);
    }
    for caller in &callers {
        eventually(GENEROUS, || {
            let consumers = caller.get(&format!("/microservices/{}/consumers", scene.provider)).json();
            consumers["consumers"].as_array().is_some_and(|all| all.len() == 3)
        });
    }
    let mut sockets = [watch(two, &scene.consumer), watch(three, &scene.consumer)];
    // The poller asks the third node. The drain is asked of the first.
    assert_eq!(find(three, &poller).status, 200);
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| scene.drain(one, "?wait=5m"));
        // It found the service through the first node before the drain. It has no watch yet.
        eventually(GENEROUS, || {
            let found = [find(three, &poller), find(two, &stalled)];
            assert!(found.iter().all(|answer| answer.status == 200));
            drain.is_finished()
        });
        let receipt = drain.join().unwrap();
        assert_eq!(numbers(&receipt), (4, 4, true), "{receipt}");
        assert_eq!((&receipt["silent"], &receipt["uncounted"]), (&json!([]), &json!([])));
    });
    for socket in &mut sockets {
        assert_eq!(next_event(socket, GENEROUS).unwrap().0, "UPDATE");
    }
    // One watcher takes nothing any more. Its node sends it changes until they wait.
    let link = Proxy::start_narrow(nodes[2].address()).unwrap();
    let target = format!("/v4/default/registry/microservices/{stalled}/watcher");
    let _socket = WebSocket::open(link.address(), &target, &[]).unwrap();
    link.stall();
    let mut round = 0;
    eventually(GENEROUS, || {
        round += 1;
        let properties = json!({"properties": {"round": round.to_string(), "weight": "x".repeat(2500)}});
        for id in 0..20 {
            let id = format!("i{id}");
            let instance = json!({"instanceId": id, "hostName": "h", "endpoints": ["rest://127.0.0.1:1"]});
            one.post(
                &format!("/microservices/{}/instances", scene.provider),
                &json!({ "instance": instance }),
            );
            one.put(&format!("/microservices/{}/instances/{id}/properties", scene.provider), &properties);
        }
        take_all(&mut sockets);
        nodes[2].metric("service_center_watch_events_waiting") > 0
    });
    // On a busy machine the count of another node may come too late for the first answer.
    eventually(GENEROUS, || {
        take_all(&mut sockets);
        let receipt = std::thread::scope(|scope| {
            let drain = scope.spawn(|| scene.drain(one, "?wait=3s"));
            let revision = |answer: Response| answer.header("X-Resource-Revision").map(str::to_owned);
            let before = revision(one.get(&format!("{}?noCache=1", scene.path())));
            eventually(GENEROUS, || revision(find(three, &poller)) != before);
            drain.join().unwrap()
        });
        assert_eq!(receipt["complete"], false, "{receipt}");
        let missing = receipt["missing"].as_array().unwrap().iter();
        let missing: Vec<&Value> = missing.map(|missing| &missing["consumer"]["serviceName"]).collect();
        let is_right = missing.contains(&&json!("stalled")) && !missing.contains(&&json!("c"));
        if is_right { Ok(()) } else { Err(receipt) }
    });
    // Nothing of a drain stays in the store.
    let keys = EtcdKeys::of(&etcd);
    eventually(GENEROUS, || {
        ["drains/", "receipts/"].iter().all(|part| keys.below(&format!("{CONSUMERS}{part}")).is_empty())
    });
}

/// A node that stops takes its consumers with it. A node that dies could as well be cut off from etcd and still serve its clients. So
/// it is waited for until its lease ends, and is named by its address as long as it is registered.
#[test]
fn nodes_that_go_are_not_counted() {
    let etcd = Etcd::start();
    let [one, mut stopped, mut killed] = cluster(&etcd);
    let caller = Caller::of(&one);
    let scene = DrainScene::new(&caller);
    let keys = EtcdKeys::of(&etcd);
    let nodes = || keys.below(&format!("{CONSUMERS}nodes/")).len();
    eventually(GENEROUS, || nodes() == 3);
    assert_eq!(numbers(&scene.drain(&caller, "?wait=1m")), (0, 0, true));
    assert!(stopped.terminate(GENEROUS).unwrap().success());
    assert_eq!(nodes(), 2, "its key went with its stop");
    assert_eq!(numbers(&scene.drain(&caller, "?wait=1m")), (0, 0, true));
    killed.kill9();
    // Time enough for the count of the node itself, and too short for the lease of the other.
    let receipt = scene.drain(&caller, "?wait=3s");
    assert_eq!(
        (numbers(&receipt), receipt["silent"].as_array().unwrap().len()),
        ((0, 0, false), 1),
        "{receipt}"
    );
    let receipt = scene.drain(&caller, "?wait=2m");
    assert_eq!(numbers(&receipt), (0, 0, false), "{receipt}");
    assert_eq!(receipt["uncounted"], json!([killed.address().to_string()]), "{receipt}");
}

/// A node of the original server cannot count.
#[test]
fn a_node_of_the_original_is_named() {
    let etcd = Etcd::start();
    let node = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let caller = Caller::of(&node);
    let scene = DrainScene::new(&caller);
    let keys = EtcdKeys::of(&etcd);
    // Its entry, as it writes it: beside that of our node.
    let prefix = "/cse-sr/inst/files/default/default/";
    let own = keys.below(prefix).into_keys().find(|key| !key.contains(&scene.provider)).unwrap();
    let (service, _) = own.strip_prefix(prefix).unwrap().split_once('/').unwrap();
    let entry = json!({
        "instanceId": "go", "serviceId": service, "hostName": "go", "endpoints": ["rest://10.0.0.9:30100/"], "status": "UP",
        "healthCheck": {"mode": "push", "interval": 30, "times": 3},
    });
    keys.grant(7, 600);
    let key = |tree: &str| format!("/cse-sr/inst/{tree}/default/default/{service}/go");
    keys.put(key("leases"), "7", 7);
    keys.put(key("files"), entry.to_string(), 7);
    eventually(GENEROUS, || {
        let receipt = scene.drain(&caller, "?wait=0");
        receipt["uncounted"] == json!(["10.0.0.9:30100"])
    });
    let receipt = scene.drain(&caller, "?wait=1s");
    assert_eq!(numbers(&receipt), (0, 0, false), "{receipt}");
}

/// The record of events says how many watches a change was for, and how many have taken it.
#[test]
fn the_record_says_who_was_told() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let scene = DrainScene::new(&caller);
    caller.consumer(&scene.consumer).find("appId=default&serviceName=p");
    scene.depends(&caller);
    let mut sockets = [(); 2].map(|()| watch(&caller, &scene.consumer));
    eventually(GENEROUS, || daemon.metric("service_center_watchers") == 2);
    let shown = instance(&caller, &scene.provider);
    let told = |instance: &str| {
        let target = format!("/v4/default/admin/events?kind=instance.registered&instanceId={instance}");
        daemon.client().get(&target).unwrap().json()["items"][0]["told"].clone()
    };
    for socket in &mut sockets {
        created(socket, &shown);
    }
    eventually(GENEROUS, || {
        let told = told(&shown);
        (&told["consumers"], &told["sent"]) == (&json!(2), &json!(2)) && told["lastSent"].is_string()
    });
    assert!(told(&scene.instance)["sent"].is_null(), "nobody watched");
}
