//! Instances: health checks, added properties, and who may read which instance.

use std::fs;

use serde_json::{Value, json};

use super::{Caller, code, daemon};
use crate::support::daemon::Settings;
use crate::support::eventually::{GENEROUS, eventually};

fn stored(caller: &Caller, service: &str, instance: &str) -> Value {
    let response = caller.get(&format!("/microservices/{service}/instances/{instance}?noCache=1"));
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["instance"].clone()
}

/// 131, 137: a push check has at least the configured times and interval. A pull check always has the default ones.
#[test]
fn health_checks_are_raised_to_the_minimum() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "a"}));
    let check = |mode: &str, interval: u32, times: u32, expected: (u32, u32)| {
        let health = json!({"mode": mode, "interval": interval, "times": times});
        let id = caller.instance(&service, json!({"hostName": "h", "healthCheck": health}));
        let health = &stored(&caller, &service, &id)["healthCheck"];
        let expected = json!({"mode": mode, "interval": expected.0, "times": expected.1});
        assert_eq!(*health, expected, "{mode} {interval} {times}");
    };
    check("push", 30, 0, (30, 3));
    check("push", 30, 1, (30, 3));
    check("push", 30, 4, (30, 4));
    check("push", 4, 3, (5, 3));
    check("pull", 7, 9, (30, 3));
    check("pull", 1, 0, (30, 3));
}

/// 150: an instance from before a configuration of properties gets the missing ones with its next heartbeat.
#[test]
fn a_heartbeat_adds_configured_properties() {
    let mut daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "a"}));
    let id = caller.instance(&service, json!({"hostName": "h", "properties": {"a": "b"}}));
    let conf = daemon.folder().join("conf/app.yaml");
    fs::write(conf, "registry:\n  instance:\n    properties:\n      zone: z1\n").unwrap();
    daemon.restart().unwrap();
    assert_eq!(stored(&caller, &service, &id)["properties"], json!({"a": "b"}));
    let beat = caller.send("PUT", &format!("/microservices/{service}/instances/{id}/heartbeat"), None);
    assert_eq!((beat.status, beat.body.len()), (200, 0));
    // The heartbeat is answered before they are written.
    eventually(GENEROUS, || stored(&caller, &service, &id)["properties"] == json!({"a": "b", "zone": "z1"}));
}

/// 197 to 201: getting one instance.
#[test]
fn one_instance_for_whom_it_may_concern() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "a"}));
    let consumer = caller.service(json!({"serviceName": "c"}));
    let id = caller.instance(&service, json!({"hostName": "h"}));
    let at = format!("/microservices/{service}/instances/{id}");

    // 197, 200: with and without a consumer.
    for caller in [caller.clone(), caller.consumer(&consumer), caller.consumer("")] {
        assert_eq!(caller.get(&at).json()["instance"]["instanceId"], id);
    }
    // 198: unknown ids.
    let unknown = caller.get(&format!("/microservices/{service}/instances/none"));
    assert_eq!((unknown.status, code(&unknown).as_str()), (400, "400017"));
    assert_eq!(code(&caller.get("/microservices/none/instances/none")), "400012");
    // 199: invalid ids.
    for bad in ["%20", "a@b", &"x".repeat(65)] {
        assert_eq!(
            code(&caller.get(&format!("/microservices/{service}/instances/{bad}"))),
            "400001",
            "{bad}"
        );
    }
    assert_eq!(code(&caller.get(&format!("/microservices/%20/instances/{id}"))), "400001");
    // 200: an unknown consumer.
    assert_eq!(code(&caller.consumer("nobody").get(&at)), "400012");
    // 201: the service must have the tags.
    assert_eq!(code(&caller.get(&format!("{at}?tags=blue"))), "400017");
    assert_eq!(
        code(&caller.post(&format!("/microservices/{service}/tags"), &json!({"tags": {"blue": "x"}}))),
        "200"
    );
    assert_eq!(code(&caller.get(&format!("{at}?tags=blue&noCache=1"))), "200");
    assert_eq!(code(&caller.get(&format!("{at}?tags=blue,red"))), "400017");
}

/// 203: the beginning of an id does not find the instance.
#[test]
fn an_id_is_compared_as_a_whole() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "a"}));
    caller.instance(&service, json!({"instanceId": "abc1", "hostName": "h"}));
    for query in ["", "?noCache=1", "?cacheOnly=1"] {
        let get = |id: &str| code(&caller.get(&format!("/microservices/{service}/instances/{id}{query}")));
        assert_eq!([get("abc1"), get("abc"), get("abc12")], ["200", "400017", "400017"], "{query}");
    }
    assert_eq!(code(&caller.delete(&format!("/microservices/{service}/instances/abc"))), "400017");
    assert_eq!(stored(&caller, &service, "abc1")["instanceId"], "abc1");
}
