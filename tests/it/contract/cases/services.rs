//! Services: keys, aliases, versions, quotas, times of change, and objects registered with a service.

use serde_json::json;

use super::{Caller, code, daemon, ids};
use crate::support::daemon::Settings;
use crate::support::eventually::{GENEROUS, eventually};

/// 37, 39, 41, 42: an alias is a second name of a service. A registration with it gets the id of the alias' owner, but not with another id.
#[test]
fn an_alias_is_a_key() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "one", "alias": "al"}));
    let register = |service| caller.post("/microservices", &json!({ "service": service }));

    // 37: another name with this alias gets the owner's id, and nothing is created.
    assert_eq!(caller.service(json!({"serviceName": "two", "alias": "al"})), id);
    let two = "/existence?type=microservice&appId=default&serviceName=two&version=0.0.1&noCache=1";
    assert_eq!(code(&caller.get(two)), "400012");
    // 39: also with the owner's id.
    assert_eq!(caller.service(json!({"serviceName": "two", "alias": "al", "serviceId": id})), id);
    // 41: but not with another id.
    let other = register(json!({"serviceName": "two", "alias": "al", "serviceId": "other"}));
    assert_eq!(code(&other), "400010");
    assert_eq!(code(&register(json!({"serviceName": "one", "alias": "al", "serviceId": "other"}))), "400010");
    // 42: no other service gets an id in use.
    let taken = register(json!({"serviceName": "three", "alias": "three", "serviceId": id}));
    assert_eq!(code(&taken), "400010");
    // The alias of another version, app or environment is free.
    for free in [
        json!({"serviceName": "two", "alias": "al", "version": "2.0.0"}),
        json!({"serviceName": "two", "alias": "al", "appId": "app"}),
        json!({"serviceName": "two", "alias": "al", "environment": "testing"}),
    ] {
        assert_ne!(caller.service(free), id);
    }
}

/// 50, 51: invalid objects registered with a service are reported, and the service is created. Rules are ignored.
#[test]
fn a_service_exists_whatever_comes_with_it() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let body =
        json!({"service": {"serviceName": "a"}, "instances": [{"hostName": ""}, {"hostName": "good"}]});
    let refused = caller.post("/microservices", &body);
    assert_eq!(code(&refused), "400001");
    assert!(refused.text().contains("errMessages: ["), "{}", refused.text());
    let id = caller.service(json!({"serviceName": "a"}));
    let instances = caller.get(&format!("/microservices/{id}/instances?noCache=1")).json();
    assert_eq!(ids(&instances["instances"], "hostName"), ["good"]);

    let rules = json!({"service": {"serviceName": "b"}, "rules": [{"ruleType": "BLACK"}]});
    assert_eq!(code(&caller.post("/microservices", &rules)), "200");
    let null = json!({"service": {"serviceName": "c"}, "instances": [null]});
    assert_eq!(code(&caller.post("/microservices", &null)), "400001");
    // All instances are registered.
    let three = json!({"service": {"serviceName": "d"}, "instances": [
        {"hostName": "h1"}, {"hostName": "h2"}, {"hostName": "h3"},
    ]});
    assert_eq!(code(&caller.post("/microservices", &three)), "200");
    let found = caller.get("/instances?appId=default&serviceName=d").json();
    assert_eq!(ids(&found["instances"], "hostName"), ["h1", "h2", "h3"]);
}

/// 58 to 62: one to four numbers up to 32767. 71: characters of a path.
#[test]
fn versions_and_paths_have_a_form() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let register = |service| code(&caller.post("/microservices", &json!({ "service": service })));
    let version = |version: &str| register(json!({"serviceName": "v", "version": version}));
    for bad in ["1.", "1.a.0", "1.32768.0", "1.1.0.0.0", ".1", "v1", "1.0.0-beta", "1,0", "-1", " 1"] {
        assert_eq!(version(bad), "400001", "{bad:?}");
    }
    for good in ["1", "1.0", "1.0.0", "1.0.0.0", "0.0.0.0", "32767.32767.32767.32767"] {
        assert_eq!(version(good), "200", "{good:?}");
    }
    let path = |path: &str| register(json!({"serviceName": "p", "paths": [{"path": path}]}));
    for bad in ["/a b", "/a<b>", "/ä", "/a|b", "/a\"", "/a^", "/a(b)"] {
        assert_eq!(path(bad), "400001", "{bad:?}");
    }
    for good in ["", "/", "/a/{b}/c-d_e~f", "/a.b?c=d&e=f;g#h,i'j\\k+l%m$n@o"] {
        assert_eq!(path(good), "200", "{good:?}");
    }
}

/// 76, 156, 283: the registry's own service and instance do not count against a quota, and other ones do. A request for the schemas of an
/// unknown service is an error.
#[test]
fn what_is_there_counts_once() {
    let limit = |what: &str| format!("quota.cap.{what}.limit");
    let one = |settings: Settings, what| settings.yaml(&limit(what), json!(1));
    let settings = ["service", "instance", "schema"].into_iter().fold(Settings::default(), one);
    let daemon = daemon(settings);
    let caller = Caller::of(&daemon);
    let refused = |response: &crate::support::http::Response, what: &str| {
        assert_eq!(code(response), "400100");
        let detail = format!("no quota to create {what}, max num is 1, curNum is 1, apply num is 1");
        assert_eq!(response.json()["detail"], detail);
    };
    let id = caller.service(json!({"serviceName": "a"}));
    refused(&caller.post("/microservices", &json!({"service": {"serviceName": "b"}})), "SERVICE");
    assert_eq!(caller.service(json!({"serviceName": "a"})), id, "a member of a full registry stays one");

    let instances = format!("/microservices/{id}/instances");
    caller.instance(&id, json!({"instanceId": "i", "hostName": "h"}));
    refused(&caller.post(&instances, &json!({"instance": {"hostName": "h"}})), "INSTANCE");
    assert_eq!(caller.instance(&id, json!({"instanceId": "i", "hostName": "h"})), "i");

    let schema = json!({"schema": "x", "summary": "y"});
    assert_eq!(code(&caller.put("/microservices/none/schemas/s", &schema)), "400012");
    assert_eq!(code(&caller.put(&format!("/microservices/{id}/schemas/s"), &schema)), "200");
    refused(&caller.put(&format!("/microservices/{id}/schemas/t"), &schema), "SCHEMA");
}

/// 77, 78, 85: the registry's own service is listed only on request, and cannot be deleted.
#[test]
fn the_own_service_stays_and_is_hidden() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "a"}));
    let listed = |query: &str| caller.get(&format!("/microservices{query}")).json()["services"].clone();
    assert_eq!(ids(&listed("?noCache=1"), "serviceId"), [id.as_str()]);
    let all = listed("?withShared=true");
    assert_eq!(ids(&all, "serviceName"), ["SERVICECENTER", "a"]);
    let own = all.as_array().unwrap().iter().find(|service| service["serviceName"] != "a").unwrap();
    let own = own["serviceId"].as_str().unwrap();

    for force in ["", "?force=true"] {
        let refused = caller.delete(&format!("/microservices/{own}{force}"));
        assert_eq!(code(&refused), "403001");
    }
    let many =
        caller.send("DELETE", "/microservices", Some(&json!({"serviceIds": [own, id], "force": true})));
    let many = many.json()["services"].clone();
    let entry = |id: &str| many.as_array().unwrap().iter().find(|entry| entry["serviceId"] == id).unwrap();
    assert!(entry(own)["errMessage"].as_str().unwrap().starts_with("Forbidden("), "{many}");
    assert!(entry(&id).get("errMessage").is_none(), "{many}");
    assert_eq!(ids(&caller.get("/health").json()["instances"], "serviceId"), [own]);
}

/// 102: a change of properties sets the time of the last change, and not the time of the registration.
#[test]
fn a_change_moves_the_time_of_the_last_change() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "a"}));
    let times = || {
        let service = caller.get(&format!("/microservices/{id}?noCache=1")).json()["service"].clone();
        let time = |member: &str| service[member].as_str().unwrap().parse::<u64>().unwrap();
        (time("timestamp"), time("modTimestamp"))
    };
    let before = times();
    assert_eq!(before.0, before.1);
    // Times are whole seconds, so a difference shows after a second.
    eventually(GENEROUS, || {
        let put = caller.put(&format!("/microservices/{id}/properties"), &json!({"properties": {"a": "b"}}));
        assert_eq!(put.status, 200);
        times().1 > before.1
    });
    assert_eq!(times().0, before.0);
}
