//! The events of services that an account may not see are left out, also from a stream. A stream ends when its account may not read any more.

use serde_json::{Value, json};

use super::{Caller, permission, start, token_of, with_accounts};
use crate::support::daemon::Daemon;
use crate::support::eventually::GENEROUS;
use crate::support::sse::{EventStream, SseEvent};

const EVENTS: &str = "/v4/default/admin/events?kind=service,instance,schema&since=1h";

fn stream(daemon: &Daemon, account: &str) -> Result<EventStream, String> {
    let token = format!("Bearer {}", token_of(account));
    EventStream::open(daemon.address(), EVENTS, &[("Authorization", &token)], GENEROUS)
}

fn prepared() -> (Daemon, Caller) {
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    for name in ["own", "foreign"] {
        root.create_service(name, "", "default", name);
    }
    root.create_role("sees-own", &permission(&["get"], "ops", &json!({"serviceName": "own"})));
    root.create_role("sees-all", &permission(&["get"], "ops", &Value::Null));
    root.create_account("own", &["sees-own"]);
    root.create_account("all", &["sees-all"]);
    (daemon, root)
}

/// The service of the next event of a service.
#[track_caller]
fn next(stream: &mut EventStream) -> String {
    loop {
        let SseEvent { kind, data, .. } = stream.expect();
        if let Some(name) = data["service"]["serviceId"].as_str() {
            return name.to_owned();
        }
        assert!(matches!(kind.as_str(), "record" | "record.gap"), "{kind}: {data}");
    }
}

#[test]
fn events_of_other_services_are_left_out() {
    let (daemon, root) = prepared();
    let own = Caller::of(&daemon, "own");
    let mut streams = [stream(&daemon, "own").unwrap(), stream(&daemon, "all").unwrap()];
    let seen = streams.each_mut().map(|stream| next(stream));
    assert_eq!(seen[0], "own");
    let page = own.get(EVENTS).json();
    assert_eq!(
        (&page["total"], &page["items"][0]["service"]["serviceId"]),
        (&json!(2), &json!("own")),
        "{page}"
    );
    let past = |service: &str| {
        own.get(&format!("/v4/default/admin/snapshot?at=0s&serviceId={service}")).json()["total"].clone()
    };
    for service in ["foreign", "own"] {
        let target = format!("/v4/default/registry/microservices/{service}/instances");
        let instance =
            json!({"instance": {"instanceId": service, "hostName": "h", "endpoints": ["rest://10.0.0.1:1"]}});
        assert_eq!(root.post(&target, &instance).status, 200);
    }
    assert_eq!((past("foreign"), past("own")), (json!(0), json!(2)));
    let history =
        |service: &str| own.get(&format!("/v4/default/admin/instances/{service}/{service}/history")).json();
    let (foreign, own) = (history("foreign"), history("own"));
    assert!(foreign["total"] == json!(0) && foreign["current"].is_null(), "{foreign}");
    assert!(own["total"] == json!(1) && own["current"].is_object(), "{own}");
    // Between these two, instances of the other service were registered.
    assert_eq!([next(&mut streams[0]), next(&mut streams[0])], ["own"; 2]);
    // A role that sees more from now on.
    root.change_role("sees-own", &permission(&["get"], "ops", &json!({"serviceName": "foreign"})));
    crate::support::eventually::eventually(GENEROUS, || {
        for service in ["own", "foreign"] {
            let target = format!("/v4/default/registry/microservices/{service}/instances/{service}/status");
            for status in ["DOWN", "UP"] {
                assert_eq!(root.put(&format!("{target}?value={status}"), &Value::Null).status, 200);
            }
        }
        next(&mut streams[0]) == "foreign"
    });
}

#[test]
fn a_stream_ends_when_its_account_may_not_read_any_more() {
    let (daemon, root) = prepared();
    let refused = stream(&daemon, "nobody").unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let mut streams = ["own", "all", "root"].map(|account| stream(&daemon, account).unwrap());
    for stream in &mut streams {
        assert_eq!(stream.expect().kind, "record");
    }
    root.change_role("sees-own", &permission(&["update"], "ops", &Value::Null));
    root.delete_account("all");
    let [own, all, of_root] = &mut streams;
    for (stream, code) in [(own, "403205"), (all, "401206")] {
        let last = std::iter::from_fn(|| stream.next()).last().unwrap();
        assert_eq!((last.kind.as_str(), last.data["errorCode"].as_str()), ("end", Some(code)), "{last:?}");
    }
    root.create_service("later", "", "default", "later");
    while next(of_root) != "later" {}
}

/// It has the keys of all services, and their number tells of them too.
#[test]
fn a_role_with_labels_may_not_compare_with_the_store() {
    let (daemon, _) = prepared();
    let [own, all] = ["own", "all"].map(|account| {
        let answer = Caller::of(&daemon, account).get("/v4/default/admin/diagnose");
        (answer.status, answer.json()["compared"].is_number())
    });
    assert_eq!((own, all), ((403, false), (200, true)));
}
