//! Who depends on whom: on itself, on what is not there yet, on another tenant.

use serde_json::json;

use super::{Caller, code, daemon, ids};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};

/// Waits until the partners of a service are these.
#[track_caller]
fn partners(caller: &Caller, id: &str, side: &str, query: &str, expected: &[&str]) {
    let mut expected: Vec<&str> = expected.to_vec();
    expected.sort_unstable();
    eventually(GENEROUS, || {
        let response = caller.get(&format!("/microservices/{id}/{side}{query}"));
        assert_eq!(response.status, 200, "{}", response.text());
        let found = ids(&response.json()[side], "serviceId");
        if found == expected { Ok(()) } else { Err(format!("{side} of {id}: {found:?}, not {expected:?}")) }
    });
}

fn started() -> (Daemon, Caller) {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    (daemon, caller)
}

/// 251: who found itself depends on itself, unless that is not wanted.
#[test]
fn a_service_can_depend_on_itself() {
    let (_daemon, caller) = started();
    let own = caller.service(json!({"serviceName": "a"}));
    let other = caller.service(json!({"serviceName": "b"}));
    for name in ["a", "b"] {
        caller.consumer(&own).find(&format!("appId=default&serviceName={name}"));
    }
    partners(&caller, &own, "providers", "", &[&own, &other]);
    partners(&caller, &own, "providers", "?noSelf=0", &[&own, &other]);
    partners(&caller, &own, "providers", "?noSelf=1", &[&other]);
    partners(&caller, &own, "consumers", "", &[&own]);
    partners(&caller, &own, "consumers", "?noSelf=1", &[]);
}

/// 252: a find of what does not exist makes no dependency; the next find, once it exists, does.
#[test]
fn a_find_of_nothing_makes_no_dependency() {
    let (_daemon, caller) = started();
    let consumer = caller.service(json!({"serviceName": "c"}));
    let marker = caller.service(json!({"serviceName": "m"}));
    let as_consumer = caller.consumer(&consumer);
    assert_eq!(code(&as_consumer.get("/instances?appId=default&serviceName=p")), "400012");
    let provider = caller.service(json!({"serviceName": "p"}));
    // A later find's dependency is there, the failed one's is not.
    as_consumer.find("appId=default&serviceName=m");
    partners(&caller, &consumer, "providers", "", &[&marker]);
    partners(&caller, &provider, "consumers", "", &[]);
    as_consumer.find("appId=default&serviceName=p&noCache=1");
    partners(&caller, &consumer, "providers", "", &[&marker, &provider]);
    partners(&caller, &provider, "consumers", "", &[&consumer]);
}

/// 254: providers of other tenants are shown unless that is not wanted.
#[test]
fn other_tenants_can_be_left_out() {
    let (_daemon, caller) = started();
    let consumer = caller.service(json!({"serviceName": "c"}));
    let near = caller.service(json!({"serviceName": "near"}));
    let far = caller.with("X-Domain-Name", "far").service(json!({"serviceName": "distant"}));
    let rule = json!({"dependencies": [{
        "consumer": {"appId": "default", "serviceName": "c", "version": "0.0.1"},
        "providers": [
            {"appId": "default", "serviceName": "near"},
            {"tenant": "far/default", "appId": "default", "serviceName": "distant"},
        ],
    }]});
    assert_eq!(code(&caller.put("/dependencies", &rule)), "200");
    partners(&caller, &consumer, "providers", "", &[&near, &far]);
    partners(&caller, &consumer, "providers", "?sameDomain=0", &[&near, &far]);
    partners(&caller, &consumer, "providers", "?sameDomain=1", &[&near]);
}
