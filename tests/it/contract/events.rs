//! The record of a node: its events as pages and as a stream, the life of an instance, and what was shown earlier.

use serde_json::{Value, json};

use super::held::held_by;
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request};
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::sse::EventStream;
use crate::support::store::on_etcd;

const EVENTS: &str = "/v4/default/admin/events";

/// A node with one service, and two instances of it.
struct EventScene {
    node: Daemon,
    registry: Registry,
    service: String,
}

impl EventScene {
    fn new() -> Self {
        Self::on(Daemon::start(Settings::default()).unwrap())
    }

    fn on(node: Daemon) -> Self {
        let registry = Registry::new(node.client(), "default");
        let service = registry.create_service("provider", "1.0.0").unwrap();
        let scene = Self { node, registry, service };
        scene.register("i1");
        scene.register("i2");
        scene
    }

    fn register(&self, id: &str) {
        self.registry.register(&self.service, &Instance::named(id)).unwrap();
    }

    fn client(&self) -> Client {
        self.node.client()
    }

    /// The events of the service that match.
    fn events(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("{EVENTS}?serviceId={}{query}", self.service));
        page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
    }

    fn get(&self, target: &str) -> Value {
        self.client().get(target).unwrap().json()
    }

    fn stream(&self, query: &str, headers: &[(&str, &str)]) -> EventStream {
        EventStream::open(self.node.address(), &format!("{EVENTS}{query}"), headers, GENEROUS).unwrap()
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[test]
fn what_happens_is_listed_with_its_cause() {
    let scene = EventScene::new();
    let request = Request::new(
        "PUT",
        &format!("/v4/default/registry/microservices/{}/instances/i1/status?value=DOWN", scene.service),
    );
    assert_eq!(scene.client().send(&request.header("X-Request-Id", "took-it-down")).unwrap().status, 200);
    scene.registry.unregister(&scene.service, "i2").unwrap();
    let all = scene.events("");
    let lived = ["instance.registered", "instance.registered", "instance.changed", "instance.unregistered"];
    assert_eq!(kinds(&all), [&["service.registered"][..], &lived].concat(), "{all:?}");
    let changed = &all[3];
    let expected = json!({"instanceId": "i1", "status": "DOWN"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(changed["instance"][name], *value, "{changed}");
    }
    assert_eq!(changed["before"]["status"], "UP", "{changed}");
    let cause = json!({"type": "request", "client": "127.0.0.1", "requestId": "took-it-down"});
    assert_eq!(changed["cause"], cause, "{changed}");
    let of = ["domain", "project"].map(|name| changed[name].as_str().unwrap());
    assert_eq!((of, &changed["service"]["serviceName"]), (["default"; 2], &json!("provider")));
    assert!(changed["revision"].as_i64() > all[2]["revision"].as_i64() && changed["time"].is_string());

    // Filters.
    assert_eq!(scene.events("&instanceId=i2&kind=instance").len(), 2);
    assert_eq!(
        kinds(&scene.events("&kind=instance.changed,service")),
        ["service.registered", "instance.changed"]
    );
    let host = all[1]["instance"]["hostName"].as_str().unwrap();
    assert_eq!(scene.events(&format!("&host={host}")).len(), 4);
    assert_eq!(scene.events("&host=elsewhere").len(), 0);
    assert_eq!(scene.events("&since=1h").len(), 5);
    assert_eq!(scene.events("&before=1h").len(), 0);
    let since = all[0]["time"].as_str().unwrap();
    assert_eq!(scene.events(&format!("&since={since}")).len(), 5);
    assert_eq!(scene.events(&format!("&before={since}")).len(), 0);

    // Pages, in both orders.
    let (mut pages, mut after) = (Vec::new(), String::new());
    loop {
        let target = format!("{EVENTS}?serviceId={}&order=desc&limit=2{after}", scene.service);
        let page = scene.get(&target);
        assert_eq!(page["total"], 5, "{page}");
        assert!(page["completeSinceSeq"].as_u64() > Some(0) && page["completeSince"].is_string(), "{page}");
        pages.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    pages.reverse();
    assert_eq!(pages, all);
    for wrong in
        ["kind=instance.gone", "since=yesterday", "order=up", "limit=0", "after=x", "serviceId=a%20b"]
    {
        let answer = scene.get(&format!("{EVENTS}?{wrong}"));
        assert_eq!(answer["errorCode"], "400001", "{wrong}: {answer}");
    }
    // Other tenants see nothing of it.
    let other = scene.get(&format!("/v4/other/admin/events?serviceId={}", scene.service));
    assert_eq!(other["total"], 0, "{other}");
}

#[test]
fn the_life_of_an_instance_is_told_also_when_it_is_gone() {
    let scene = EventScene::new();
    scene.registry.set_status(&scene.service, "i1", "TESTING").unwrap();
    let target = format!("/v4/default/admin/instances/{}/i1/history", scene.service);
    let living = scene.get(&target);
    assert_eq!(
        kinds(living["items"].as_array().unwrap()),
        ["instance.registered", "instance.changed"],
        "{living}"
    );
    assert_eq!(living["current"]["status"], "TESTING", "{living}");
    scene.registry.delete_service(&scene.service).unwrap();
    let gone = scene.get(&target);
    let items = gone["items"].as_array().unwrap();
    assert_eq!(kinds(items)[2..], ["instance.deletedWithService"], "{gone}");
    assert!(gone["current"].is_null() && gone["total"] == json!(3), "{gone}");
    let unknown = scene.get(&format!("/v4/default/admin/instances/{}/never/history", scene.service));
    assert!(unknown["total"] == json!(0) && unknown["completeSince"].is_string(), "{unknown}");
}

#[test]
fn what_was_shown_earlier_is_shown_again() {
    let scene = EventScene::new();
    scene.registry.set_status(&scene.service, "i1", "DOWN").unwrap();
    scene.registry.unregister(&scene.service, "i2").unwrap();
    scene.register("i3");
    let past = |at: &str| {
        let answer = scene.get(&format!("/v4/default/admin/snapshot?at={at}&serviceId={}", scene.service));
        let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        let shown =
            items.iter().map(|item| format!("{}:{}", item["instanceId"], item["status"]).replace('"', ""));
        (answer["known"] == json!(true), shown.collect::<Vec<_>>().join(" "))
    };
    let known = |text: &str| (true, text.to_owned());
    assert_eq!(past("0s"), known("i1:DOWN i3:UP"));
    let all = scene.events("&kind=instance");
    let times: Vec<&str> = all.iter().map(|event| event["time"].as_str().unwrap()).collect();
    // Two events may have the same time.
    let expected = ["i1:UP", "i1:UP i2:UP", "i1:DOWN i2:UP", "i1:DOWN", "i1:DOWN i3:UP"];
    let last_of = |time: &str| times.iter().rposition(|other| *other == time).unwrap();
    for time in &times {
        assert_eq!(past(time), known(expected[last_of(time)]), "{time} of {times:?}");
    }
    let long_ago =
        scene.get(&format!("/v4/default/admin/snapshot?at=2020-01-01T00:00:00Z&serviceId={}", scene.service));
    assert!(long_ago["known"] == json!(false) && long_ago["knownSince"].is_string(), "{long_ago}");
    assert_eq!(long_ago["items"], json!([]));
    let missing = scene.get("/v4/default/admin/snapshot?at=1m");
    assert_eq!(missing["errorCode"], "400001", "{missing}");
}

/// The cause of a change is known at the node that did it. Other nodes say that another node did it. A held expiry, and its release by
/// an operator, are events too.
#[test]
fn each_node_tells_what_it_knows() {
    let etcd = Etcd::start();
    let settings = Settings::default()
        .conf("registry.instance.expiryGuard.serviceShare", "0.5")
        .environment("INSTANCE_TTL", "20");
    let start = || Daemon::start(on_etcd(settings.clone(), &[etcd.address()])).unwrap();
    let (scene, other) = (EventScene::on(start()), start());
    scene.register("i3");
    // The leases must end together, however long the start of the other node took.
    scene.registry.heartbeat_all(&scene.service, &["i1", "i2", "i3"].map(str::to_owned)).unwrap();
    let mut stream = EventStream::open(
        other.address(),
        &format!("{EVENTS}?since=1h&serviceId={}&kind=instance", scene.service),
        &[],
        GENEROUS,
    )
    .unwrap();
    assert_eq!(stream.expect().kind, "record");
    let mut held = Vec::new();
    while held.len() < 2 {
        let event = stream.expect();
        if event.kind == "instance.held" {
            assert_eq!(event.data["cause"]["rule"], "service", "{event:?}");
            assert!(event.data["cause"]["until"].as_str() > event.data["time"].as_str(), "{event:?}");
            held.push(event.data["instance"]["instanceId"].clone());
        }
    }
    let expiries = format!("/v4/default/admin/expiries?serviceId={}", scene.service);
    // The two nodes judge for themselves, and this one may be later.
    eventually(GENEROUS, || held_by(&scene.node, "service").len() == 2);
    assert_eq!(scene.client().delete(&expiries).unwrap().json(), json!({"released": 2}));
    let (mut released, mut expired) = (Vec::new(), Vec::new());
    while expired.len() < 2 {
        let event = stream.expect();
        let id = event.data["instance"]["instanceId"].clone();
        let cause = event.data["cause"]["type"].clone();
        match event.kind.as_str() {
            "instance.released" => {
                assert_eq!(cause, "otherNode", "{event:?}");
                released.push(id);
            }
            "instance.expired" if held.contains(&id) => {
                assert_eq!(cause, "lease", "{event:?}");
                expired.push(id);
            }
            _ => {}
        }
    }
    for list in [&mut released, &mut held] {
        list.sort_by_key(ToString::to_string);
    }
    assert_eq!(released, held);
    let here = scene.events("&kind=instance.released");
    assert_eq!(here.len(), 2, "{here:?}");
    assert!(here.iter().all(|event| event["cause"]["type"] == json!("request")), "{here:?}");
    assert!(scene.registry.list(&scene.service, Freshness::Cached).unwrap().is_empty());
}

#[test]
fn events_come_as_they_happen_and_after_a_lost_connection_none_is_missing() {
    let scene = EventScene::new();
    let mut stream =
        scene.stream("?kind=instance", &[("Accept-Encoding", "gzip"), ("Origin", "http://elsewhere")]);
    let head = stream.head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: text/event-stream") && head.contains("cache-control: no-store"),
        "{head}"
    );
    assert!(!head.contains("content-encoding") && !head.contains("access-control"), "{head}");
    let first = stream.expect();
    assert_eq!((first.kind.as_str(), &first.data["resumed"]), ("record", &json!(false)), "{first:?}");
    assert!(first.data["completeSinceSeq"].as_u64() > Some(0) && first.data["node"].is_string(), "{first:?}");
    // Without `since`, nothing of before is told.
    scene.register("i3");
    let third = stream.expect();
    assert_eq!(
        (third.kind.as_str(), &third.data["instance"]["instanceId"]),
        ("instance.registered", &json!("i3"))
    );
    assert_eq!(third.id, third.data["id"].as_str().unwrap());
    drop(stream);
    scene.register("i4");
    scene.registry.unregister(&scene.service, "i3").unwrap();

    let mut resumed = scene.stream("?kind=instance", &[("Last-Event-ID", &third.id)]);
    assert_eq!(resumed.expect().data["resumed"], true);
    let missed = [resumed.expect(), resumed.expect()].map(|event| event.kind);
    assert_eq!(missed, ["instance.registered", "instance.unregistered"]);
    // The first event of a stream has an id too.
    let mut again = scene.stream("?kind=instance", &[("Last-Event-ID", &first.id)]);
    assert_eq!(again.expect().data["resumed"], true);
    assert_eq!(again.expect(), third);

    // Ids of another record, and texts that are no ids.
    let (seq, time) = third.id.split_once('-').unwrap();
    let next = |seq: &str| (seq.parse::<u64>().unwrap() + 1000).to_string();
    for unknown in
        [format!("{seq}-1{time}"), format!("{}-{time}", next(seq)), "x".to_owned(), "0-0".to_owned()]
    {
        let mut fresh = scene.stream("?kind=instance", &[("Last-Event-ID", &unknown)]);
        let record = fresh.expect();
        assert_eq!(record.data["resumed"], false, "{unknown}: {record:?}");
        assert!(record.data["completeSince"].is_string(), "{record:?}");
    }
    let mut old = scene.stream(&format!("?since=1h&serviceId={}", scene.service), &[]);
    let kinds: Vec<String> = (0..6).map(|_| old.expect().kind).collect();
    let registered = ["instance.registered"; 4];
    assert_eq!(kinds, [&["record", "service.registered"][..], &registered].concat());
    let refused =
        EventStream::open(scene.node.address(), &format!("{EVENTS}?before=1m"), &[], GENEROUS).unwrap_err();
    assert!(refused.contains("400001") && refused.contains("'before'"), "{refused}");
}

#[test]
fn streams_are_counted_and_end_with_the_node() {
    let mut scene = EventScene::new();
    let mut streams: Vec<EventStream> = (0..64).map(|_| scene.stream("", &[])).collect();
    assert!(streams.iter_mut().all(|stream| stream.expect().kind == "record"));
    assert_eq!(scene.node.metric("service_center_event_streams"), 64);
    let refused = EventStream::open(scene.node.address(), EVENTS, &[], GENEROUS).unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After"), "{refused}");
    // A list is answered all the same.
    assert_eq!(scene.events("").len(), 3);
    drop(streams.pop());
    eventually(GENEROUS, || {
        EventStream::open(scene.node.address(), EVENTS, &[], GENEROUS).map(|stream| streams.push(stream))
    });
    scene.node.terminate(GENEROUS).unwrap();
    for mut stream in streams {
        let last = std::iter::from_fn(|| stream.next()).last();
        let last = last.expect("an event says why the stream ends");
        assert_eq!((last.kind.as_str(), &last.data["errorMessage"]), ("end", &last.data["errorMessage"]));
        assert_eq!(last.data["detail"], "the node is stopping", "{last:?}");
    }
}
