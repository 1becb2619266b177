//! Finding by name and in batches: environments, other apps, revisions, shared services.

use serde_json::{Value, json};

use super::{Caller, code, daemon, ids};
use crate::support::daemon::Settings;

fn query(caller: &Caller, body: &Value) -> Value {
    let response = caller.post("/instances/action?type=query", body);
    assert_eq!(code(&response), "200", "{}", response.text());
    response.json()
}

fn key(app: &str, name: &str) -> Value {
    json!({"appId": app, "serviceName": name})
}

/// 178, 213: a consumer finds instances of its own environment, whatever the request names. Without a consumer the named environment counts.
/// The same holds in a batch.
#[test]
fn the_consumers_environment_counts() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let provider = |environment: &str| {
        let id = caller.service(json!({"serviceName": "p", "environment": environment}));
        caller.instance(&id, json!({"hostName": "h"}))
    };
    let (testing, production) = (provider("testing"), provider("production"));
    let consumer = caller.service(json!({"serviceName": "c", "environment": "testing"}));

    let find = "appId=default&serviceName=p&env=production";
    assert_eq!(caller.find(find), [production.as_str()]);
    assert_eq!(caller.consumer(&consumer).find(find), [testing.as_str()]);
    assert_eq!(code(&caller.get("/instances?appId=default&serviceName=p")), "400012");

    let batch = |caller: &Caller, environment: &str| {
        let mut key = key("default", "p");
        key["environment"] = json!(environment);
        query(caller, &json!({"services": [{"service": key}]}))["services"].clone()
    };
    for (environment, id) in [("testing", &testing), ("production", &production)] {
        let found = batch(&caller, environment);
        assert_eq!(ids(&found["updated"][0]["instances"], "instanceId"), [id.as_str()], "{found}");
    }
    assert_eq!(batch(&caller, "acceptance")["failed"][0]["error"]["errorCode"], "400012");
    let found = batch(&caller.consumer(&consumer), "production");
    assert_eq!(ids(&found["updated"][0]["instances"], "instanceId"), [testing], "{found}");
}

/// 211, 212: a batch lists a service of another app without its instances.
#[test]
fn a_batch_hides_instances_of_other_apps() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let provide = |app: &str| {
        let id = caller.service(json!({"serviceName": "p", "appId": app}));
        caller.instance(&id, json!({"hostName": "h"}))
    };
    let (in_a, in_b) = (provide("a"), provide("b"));
    for (app, seen) in [("a", &in_a), ("b", &in_b)] {
        let consumer = caller.service(json!({"serviceName": "c", "appId": app}));
        let services = json!([{"service": key("a", "p")}, {"service": key("b", "p")}]);
        let found = query(&caller.consumer(&consumer), &json!({ "services": services }))["services"].clone();
        assert!(found.get("failed").is_none(), "{found}");
        let updated = found["updated"].as_array().unwrap();
        assert_eq!(updated.len(), 2, "{found}");
        for entry in updated {
            let own = (entry["index"] == 0) == (app == "a");
            let expected = if own { vec![seen.clone()] } else { Vec::new() };
            assert_eq!(ids(&entry["instances"], "instanceId"), expected, "{found}");
            assert!(!entry["rev"].as_str().unwrap().is_empty());
        }
    }
}

/// 216, 217: each element of a batch has a revision. If the client sends it back, the element is not modified. Any other revision gets the
/// instances.
#[test]
fn each_element_of_a_batch_has_its_revision() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "p"}));
    let instance = caller.instance(&id, json!({"hostName": "h"}));
    let ask = |services: &str, instances: &str| {
        let instance = json!({"serviceId": id, "instanceId": instance});
        query(
            &caller,
            &json!({
                "services": [{"service": key("default", "p"), "rev": services}],
                "instances": [{"instance": instance, "rev": instances}],
            }),
        )
    };
    let rev = |answer: &Value, part: &str| answer[part]["updated"][0]["rev"].as_str().unwrap().to_owned();
    let first = ask("", "");
    let (services, instances) = (rev(&first, "services"), rev(&first, "instances"));
    let same = json!({"services": {"notModified": [0]}, "instances": {"notModified": [0]}});
    assert_eq!(ask(&services, &instances), same);
    let foreign = ask("x", "x");
    assert_eq!(
        (rev(&foreign, "services"), rev(&foreign, "instances")),
        (services.clone(), instances.clone())
    );

    let status = format!("/microservices/{id}/instances/{instance}/status?value=DOWN");
    assert_eq!(code(&caller.send("PUT", &status, None)), "200");
    let changed = ask(&services, &instances);
    assert_ne!(rev(&changed, "services"), services);
    assert_ne!(rev(&changed, "instances"), instances);
}

/// 218: a batch of the same tenant finds a shared service. A caller of another domain names its own tenant as the target, so no part of the
/// answer has the service.
#[test]
fn a_batch_of_another_domain_does_not_reach_shared_services() {
    let settings = Settings::default().yaml("registry.service.globalVisible", json!("Shared"));
    let daemon = daemon(settings);
    let caller = Caller::of(&daemon);
    let environment = "production";
    let id = caller.service(json!({"serviceName": "Shared", "environment": environment}));
    let development = caller.service(json!({"serviceName": "Shared", "environment": "development"}));
    for id in [&id, &development] {
        caller.instance(id, json!({"instanceId": "i", "hostName": "h"}));
    }
    let body = json!({
        "services": [{"service": key("default", "Shared")}],
        "instances": [{"instance": {"serviceId": id, "instanceId": "i"}}],
    });
    let own = query(&caller, &body);
    for part in ["services", "instances"] {
        assert_eq!(ids(&own[part]["updated"][0]["instances"], "instanceId"), ["i"], "{own}");
    }
    let other = query(&caller.with("X-Domain-Name", "other"), &body);
    for part in ["services", "instances"] {
        assert_eq!(other[part]["failed"][0]["error"]["errorCode"], "400012", "{other}");
        assert!(other[part].get("updated").is_none(), "{other}");
    }
}
