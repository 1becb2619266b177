//! Searches and explanations show a role with labels nothing of other services: no item, no count, no suggestion.

use serde_json::{Value, json};

use super::{Caller, done, permission, start, with_accounts};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::code;

/// Stands in all that the role must not see.
const SECRET: &str = "secret";

#[test]
fn a_role_with_labels_finds_nothing_of_other_services() {
    let daemon = start(with_accounts());
    let root = Caller::root(&daemon);
    for (id, environment, app, name, alias) in [
        ("own", "", "shop", "orders", ""),
        ("web", "", "shop", "web", ""),
        ("secret-1", "", "bank", "orders-secret", "order"),
        ("secret-2", "testing", "secret", "orders", ""),
        ("secret-3", "", "secret", "teller", ""),
    ] {
        root.create_service_with(&json!({
            "serviceId": id, "environment": environment, "appId": app, "serviceName": name, "alias": alias,
            "properties": {"allowCrossApp": "true"},
        }));
    }
    root.create_role("shop", &permission(&["*"], "service", &json!({"appId": "shop"})));
    root.create_account("keeper", &["shop"]);
    let caller = Caller::of(&daemon, "keeper");
    // The two services and a secret one depend on `own`, and `own` depends on a secret one.
    for (consumer, query) in [
        ("web", "appId=shop&serviceName=orders"),
        ("secret-3", "appId=shop&serviceName=orders"),
        ("own", "appId=secret&serviceName=teller"),
    ] {
        let request =
            crate::support::http::Request::new("GET", &format!("/v4/default/registry/instances?{query}"));
        done(&root.send(request.header("X-ConsumerId", consumer)));
    }
    let get = |caller: &Caller, path: &str| {
        let response = caller.get(&format!("/v4/default/govern/{path}"));
        done(&response);
        response.json()
    };
    eventually(GENEROUS, || {
        let all = get(&root, "services/own/neighbours");
        if all["total"] == 3 { Ok(()) } else { Err(all.to_string()) }
    });
    for path in [
        "services",
        "services?search=s",
        "services?search=bank",
        "instances",
        "instances?search=e",
        "instances?sort=changed",
        "services/own/neighbours",
        "services/own/watchers",
        "explain?appId=shop&serviceName=order",
        "explain?appId=shop&serviceName=teller",
        "explain?appId=shop&serviceName=orders&env=testing",
        "explain?appId=shop&serviceName=orders&consumerId=secret-3",
        "explain?appId=shop&serviceName=orders&consumerId=own",
    ] {
        let shown = get(&caller, path).to_string();
        // What the request itself says does not count.
        let shown = shown.replace("secret-3", "");
        assert!(!shown.contains(SECRET), "{path}: {shown}");
    }
    let services = get(&caller, "services");
    assert_eq!((&services["total"], &services["counts"]), (&json!(2), &json!({"allUp": 2})));
    assert_eq!(services["instanceCounts"], json!({"UP": 2}));
    assert_eq!(get(&caller, "instances")["counts"], json!({"UP": 2}));
    assert_eq!(get(&root, "instances")["counts"], json!({"UP": 5}));
    let neighbors = get(&caller, "services/own/neighbours");
    assert_eq!((&neighbors["consumerCount"], &neighbors["providerCount"]), (&json!(1), &json!(0)));
    // A provider that the role does not show is explained like the refusal of the find, whether it exists or not.
    let verdict = |query: &str| get(&caller, &format!("explain?{query}"))["verdict"].clone();
    for name in ["orders-secret", "order", "nothing-like-it"] {
        assert_eq!(verdict(&format!("appId=bank&serviceName={name}")), "notPermitted", "{name}");
    }
    assert_eq!(verdict("appId=shop&serviceName=orders"), "found");
    assert_eq!(verdict("appId=shop&serviceName=orders&consumerId=secret-3"), "noConsumer");
    // A service of others has neither watches nor neighbors for this role.
    for list in ["watchers", "neighbours"] {
        let refused = caller.get(&format!("/v4/default/govern/services/secret-1/{list}"));
        assert_eq!(code(&refused), "403205", "{}", refused.text());
    }
    // An administrator is suggested all of them.
    let suggestions: Value = get(&root, "explain?appId=shop&serviceName=order")["suggestions"].clone();
    let mut names: Vec<&str> =
        suggestions.as_array().unwrap().iter().filter_map(|one| one["serviceName"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["order", "orders", "orders"], "{suggestions}");
}
