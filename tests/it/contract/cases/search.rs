//! Searches for services and instances, explanations of finds, neighbors and watches.

use serde_json::{Value, json};

use super::{Caller, code, daemon, ids, text};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};

const GOVERN: &str = "/v4/default/govern";

/// Gets a path below `govern`.
fn govern(daemon: &Daemon, path: &str) -> Value {
    let response = daemon.client().get(&format!("{GOVERN}/{path}")).unwrap();
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    assert_eq!(response.header("Access-Control-Allow-Origin"), None);
    response.json()
}

/// The member of each item, in the order of the answer.
fn members(answer: &Value, member: &str) -> Vec<String> {
    let items = answer["items"].as_array().unwrap();
    items.iter().map(|item| item[member].as_str().unwrap_or_default().to_owned()).collect()
}

/// The member of each item of all pages, and the number of pages.
fn all_pages(daemon: &Daemon, path: &str, member: &str) -> (Vec<String>, usize) {
    let (mut all, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let answer = govern(daemon, &format!("{path}{after}"));
        all.extend(members(&answer, member));
        pages += 1;
        assert!(pages < 100, "{answer}");
        match answer["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return (all, pages),
        }
    }
}

/// Three services: `orders` in two versions with instances of several statuses, `billing` without an UP one, and `empty`.
fn registry(daemon: &Daemon) -> [String; 4] {
    let caller = Caller::of(daemon);
    let orders =
        caller.service(json!({"serviceName": "orders", "appId": "shop", "version": "2.0.0", "alias": "o"}));
    let older = caller.service(json!({"serviceName": "orders", "appId": "shop", "version": "10.0.0"}));
    let billing =
        caller.service(json!({"serviceName": "billing", "appId": "bank", "environment": "testing"}));
    let empty = caller.service(json!({"serviceName": "empty", "appId": "shop"}));
    for number in 0..5 {
        caller.instance(
            &orders,
            json!({"instanceId": format!("o{number}"), "hostName": format!("Host-{number}"),
                "endpoints": [format!("rest://10.0.0.{number}:808{number}")], "properties": {"zone": format!("z{}", number % 2)}}),
        );
    }
    caller.instance(&older, json!({"instanceId": "old", "hostName": "elsewhere", "status": "DOWN"}));
    caller.instance(&billing, json!({"instanceId": "b", "hostName": "bill", "status": "STARTING"}));
    [orders, older, billing, empty]
}

#[test]
fn services_are_searched_filtered_sorted_and_paged() {
    let daemon = daemon(Settings::default());
    let [orders, older, billing, _] = registry(&daemon);
    let all = govern(&daemon, "services");
    assert_eq!(members(&all, "serviceName"), ["billing", "empty", "orders"]);
    assert_eq!((all["total"].as_i64(), all.get("next")), (Some(3), None));
    assert!(all["revision"].as_i64().unwrap() > 0);
    assert_eq!(all["counts"], json!({"noneUp": 1, "empty": 1, "someDown": 1}));
    assert_eq!(all["instanceCounts"], json!({"UP": 5, "DOWN": 1, "STARTING": 1}));
    let item = &all["items"][2];
    assert_eq!(item["instances"], json!({"UP": 5, "DOWN": 1}));
    assert_eq!(
        (&item["appId"], &item["state"], item.get("environment")),
        (&json!("shop"), &json!("someDown"), None)
    );
    let versions = json!([
        {"serviceId": orders, "version": "2.0.0", "instances": {"UP": 5}},
        {"serviceId": older, "version": "10.0.0", "instances": {"DOWN": 1}},
    ]);
    let shown = item["versions"].as_array().unwrap().iter().map(|version| {
        assert!(version["registered"].as_str().unwrap().ends_with(".000Z"), "{version}");
        json!({"serviceId": version["serviceId"], "version": version["version"], "instances": version["instances"]})
    });
    assert_eq!(Value::from_iter(shown), versions, "by number, not by text");
    assert!(item["lastChangeRevision"].as_i64().unwrap() <= all["revision"].as_i64().unwrap());
    let names = |path: &str| members(&govern(&daemon, path), "serviceName");
    assert_eq!(names("services?search=RDE"), ["orders"]);
    assert_eq!(names("services?search=bank"), ["billing"]);
    assert_eq!(names(&format!("services?search={billing}")), ["billing"]);
    assert_eq!(names("services?env=testing"), ["billing"]);
    assert_eq!(names("services?env="), ["empty", "orders"]);
    assert_eq!(names("services?appId=shop&order=desc"), ["orders", "empty"]);
    assert_eq!(names("services?status=noneUp"), ["billing"]);
    assert_eq!(names("services?status=allUp"), [""; 0]);
    assert_eq!(names("services?sort=instances&order=desc"), ["orders", "billing", "empty"]);
    assert_eq!(names("services?sort=changed"), ["empty", "orders", "billing"]);
    // A filter by state leaves the counts of the other states as they are.
    assert_eq!(govern(&daemon, "services?status=noneUp")["counts"], all["counts"]);
    let paged = all_pages(&daemon, "services?sort=instances&order=desc&limit=1", "serviceName");
    assert_eq!(paged, (vec!["orders".to_owned(), "billing".into(), "empty".into()], 3));
    // The registry's own service is shared.
    assert_eq!(names("services?withShared=1&search=SERVICECENTER"), ["SERVICECENTER"]);
    // A tenant that has nothing.
    let none = daemon.client().get("/v4/other/govern/services").unwrap().json();
    assert_eq!((&none["total"], &none["items"]), (&json!(0), &json!([])));
}

/// The time of the last change of a service is that of the document which was written, or of the event that the node has recorded.
#[test]
fn the_last_change_has_a_time() {
    let daemon = daemon(Settings::default());
    let [orders, _, _, empty] = registry(&daemon);
    let caller = Caller::of(&daemon);
    let service = |name: &str| {
        let found = govern(&daemon, &format!("services?search={name}"))["items"][0].clone();
        (found["lastChangeRevision"].as_i64().unwrap(), found["lastChange"].as_str().map(str::to_owned))
    };
    let instance = |id: &str| govern(&daemon, &format!("instances?search={id}"))["items"][0].clone();
    let registered =
        govern(&daemon, "services?search=empty")["items"][0]["versions"][0]["registered"].clone();
    assert_eq!(service("empty").1.as_deref(), registered.as_str(), "the document of the version");
    let before = service("orders");
    assert_eq!(before.1.as_deref(), instance("old")["lastChange"].as_str(), "the document of the instance");
    let old = instance("old");
    assert_eq!(old["lastChange"], old["registered"]);
    // The times of documents have whole seconds.
    let changed = eventually(GENEROUS, || {
        let status = ["DOWN", "UP"][usize::from(instance("o1")["status"] == "DOWN")];
        let target = format!("/microservices/{orders}/instances/o1/status?value={status}");
        assert_eq!(caller.put(&target, &json!(null)).status, 200);
        let now = instance("o1");
        if now["lastChange"] == now["registered"] { Err("the same second".to_owned()) } else { Ok(now) }
    });
    let after = service("orders");
    assert!(after.0 > before.0, "{before:?} {after:?}");
    assert_eq!(after.1.as_deref(), changed["lastChange"].as_str());
    // Tags have no time of their own. The record has.
    let before = service("empty");
    assert_eq!(
        caller.post(&format!("/microservices/{empty}/tags"), &json!({"tags": {"k": "v"}})).status,
        200
    );
    eventually(GENEROUS, || service("empty").0 > before.0 && service("empty").1.is_some());
    assert!(service("empty").1 >= before.1);
    // Nor has an instance that has gone.
    let before = service("empty");
    caller.instance(&empty, json!({"instanceId": "short", "hostName": "h"}));
    assert_eq!(caller.send("DELETE", &format!("/microservices/{empty}/instances/short"), None).status, 200);
    eventually(GENEROUS, || service("empty").0 > before.0 && service("empty").1.is_some());
}

#[test]
fn instances_are_searched_filtered_sorted_and_paged() {
    let daemon = daemon(Settings::default());
    let [orders, older, billing, _] = registry(&daemon);
    let all = govern(&daemon, "instances");
    assert_eq!(members(&all, "instanceId"), ["b", "o0", "o1", "o2", "o3", "o4", "old"]);
    assert_eq!(all["counts"], json!({"UP": 5, "DOWN": 1, "STARTING": 1}));
    let item = &all["items"][1];
    let expected = json!({
        "serviceId": orders, "serviceName": "orders", "appId": "shop", "version": "2.0.0", "instanceId": "o0",
        "hostName": "Host-0", "endpoints": ["rest://10.0.0.0:8080"], "status": "UP", "ttlSeconds": 120,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(item[name], *value, "{name}");
    }
    assert!(item["registered"].as_str().unwrap().ends_with(".000Z"), "{item}");
    let found = |path: &str| members(&govern(&daemon, path), "instanceId");
    assert_eq!(found("instances?search=host-3"), ["o3"]);
    assert_eq!(found("instances?search=orders&status=DOWN"), ["old"]);
    assert_eq!(found("instances?search=10.0.0.4"), ["o4"]);
    assert_eq!(found("instances?search=hostName"), [""; 0], "names of members do not count");
    assert_eq!(found("instances?host=LSEWHER"), ["old"]);
    assert_eq!(found("instances?endpoint=10.0.0&port=8082"), ["o2"]);
    assert_eq!(found("instances?port=80"), [""; 0]);
    assert_eq!(found("instances?property=zone=z1"), ["o1", "o3"]);
    assert_eq!(found("instances?property=zone&property=zone=z1&order=desc"), ["o3", "o1"]);
    assert_eq!(found("instances?status=STARTING"), ["b"]);
    assert_eq!(found(&format!("instances?serviceId={older}")), ["old"]);
    assert_eq!(found("instances?serviceName=billing&env=testing&appId=bank"), ["b"]);
    assert_eq!(found("instances?sort=status"), ["o0", "o1", "o2", "o3", "o4", "old", "b"]);
    assert_eq!(found("instances?sort=host"), ["o0", "o1", "o2", "o3", "o4", "b", "old"]);
    assert_eq!(found("instances?sort=changed&order=desc&limit=2"), ["b", "old"]);
    assert_eq!(govern(&daemon, "instances?status=DOWN&search=orders")["counts"], json!({"UP": 5, "DOWN": 1}));
    for sort in ["service", "host", "status", "changed"] {
        for order in ["asc", "desc"] {
            let path = format!("instances?sort={sort}&order={order}");
            let (paged, pages) = all_pages(&daemon, &format!("{path}&limit=2"), "instanceId");
            assert_eq!((paged, pages), (found(&path), 4), "{path}");
        }
    }
    // A change of the status is counted and found at once, and so is the end of an instance.
    let caller = Caller::of(&daemon);
    let at = format!("/microservices/{billing}/instances/b");
    assert_eq!(caller.put(&format!("{at}/status?value=OUTOFSERVICE"), &json!({})).status, 200);
    assert_eq!(found("instances?status=OUTOFSERVICE"), ["b"]);
    assert_eq!(govern(&daemon, "instances")["counts"], json!({"UP": 5, "DOWN": 1, "OUTOFSERVICE": 1}));
    assert_eq!(caller.delete(&at).status, 200);
    assert_eq!(govern(&daemon, "services?status=empty")["total"], 2);
}

#[test]
fn an_instance_shows_the_age_of_its_last_heartbeat() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "s"}));
    caller.instance(&id, json!({"instanceId": "i", "hostName": "h"}));
    assert_eq!(govern(&daemon, "instances")["items"][0].get("lastHeartbeatAgeSeconds"), None);
    let beat = format!("/microservices/{id}/instances/i/heartbeat");
    assert_eq!(caller.put(&beat, &json!({})).status, 200);
    eventually(GENEROUS, || {
        let item = govern(&daemon, "instances")["items"][0].clone();
        if item["lastHeartbeatAgeSeconds"].is_i64() { Ok(()) } else { Err(item.to_string()) }
    });
}

#[test]
fn a_search_says_which_parameter_is_wrong() {
    let daemon = daemon(Settings::default());
    registry(&daemon);
    let next = govern(&daemon, "instances?limit=1")["next"].as_str().unwrap().to_owned();
    let properties = vec!["property=a"; 17].join("&");
    for (path, part) in [
        ("services?limit=0", "'limit' is '0'"),
        ("services?status=UP", "'status' is 'UP'; give one of empty, noneUp, someDown, allUp"),
        ("services?sort=host", "'sort' is 'host'; give one of name, instances, changed"),
        ("services?order=up", "'order' is 'up'; give one of asc, desc"),
        ("services?after=x", "'after' is 'x', which is no cursor"),
        (&format!("services?after={next}"), "no cursor of this list"),
        (
            &format!("instances?sort=host&after={next}"),
            "continues a list that is sorted by 'service asc', not by 'host asc'",
        ),
        ("instances?port=0", "'port' is '0'; give a number from 1 to 65535"),
        ("instances?port=080", "'port' is '080'"),
        ("instances?port=65536", "'port' is '65536'"),
        ("instances?port=http", "'port' is 'http'"),
        ("instances?status=up", "'status' is 'up'"),
        ("instances?property==x", "has no name"),
        (&format!("instances?{properties}"), "17 properties, at most 16"),
    ] {
        let response = daemon.client().get(&format!("{GOVERN}/{path}")).unwrap();
        assert_eq!(code(&response), "400001", "{path}");
        assert!(response.text().contains(part), "{path}: {}", response.text());
    }
}

/// The steps of an explanation by rule: whether it is fulfilled.
fn passed(explained: &Value) -> Vec<(String, Option<bool>)> {
    let steps = explained["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["rule"].as_str().unwrap().to_owned(), step["passed"].as_bool())).collect()
}

#[test]
fn an_explanation_says_which_rule_stops_the_provider() {
    let daemon = daemon(Settings::default());
    let [orders, ..] = registry(&daemon);
    let caller = Caller::of(&daemon);
    let consumer = caller.service(json!({"serviceName": "web", "appId": "shop"}));
    let foreign = caller.service(json!({"serviceName": "teller", "appId": "bank"}));
    let explain = |query: &str| govern(&daemon, &format!("explain?{query}"));
    let stopped = |query: &str| {
        let explained = explain(query);
        let [verdict, by] =
            ["verdict", "stoppedBy"].map(|name| explained[name].as_str().unwrap_or("").to_owned());
        (verdict, by)
    };
    let is = |verdict: &str, by: &str| (verdict.to_owned(), by.to_owned());

    let found = explain(&format!("consumerId={consumer}&appId=shop&serviceName=orders&version=latest"));
    assert_eq!((found["found"].as_bool(), found["verdict"].as_str()), (Some(true), Some("found")));
    assert_eq!(found["counts"], json!({"UP": 5, "DOWN": 1}));
    assert_eq!(ids(&found["instances"], "instanceId").len(), 6);
    assert_eq!(found["consumer"]["serviceName"], "web");
    let wanted = |version: usize| found["provider"]["versions"][version]["wanted"].as_bool();
    assert_eq!((wanted(0), wanted(1)), (Some(true), Some(false)), "10.0.0 is the latest");
    let expected = [
        ("tenant", Some(true)),
        ("permission", None),
        ("consumer", Some(true)),
        ("shared", None),
        ("environment", Some(true)),
        ("application", Some(true)),
        ("name", Some(true)),
        ("versions", Some(true)),
        ("status", Some(true)),
        ("dependency", None),
        ("watcher", None),
    ];
    assert_eq!(passed(&found), expected.map(|(rule, passed)| (rule.to_owned(), passed)));
    // It has recorded nothing, however often it is asked.
    let providers = caller.get(&format!("/microservices/{consumer}/providers?noCache=1"));
    assert!(!providers.text().contains(&orders), "{}", providers.text());
    caller.consumer(&consumer).find("appId=shop&serviceName=orders");
    eventually(GENEROUS, || {
        let again = explain(&format!("consumerId={consumer}&appId=shop&serviceName=orders"));
        let recorded = passed(&again).contains(&("dependency".to_owned(), Some(true)));
        if recorded { Ok(()) } else { Err(again.to_string()) }
    });

    assert_eq!(stopped("consumerId=nobody&appId=shop&serviceName=orders"), is("noConsumer", "consumer"));
    assert_eq!(
        stopped(&format!("consumerId={foreign}&appId=shop&serviceName=orders")),
        is("notVisible", "application")
    );
    assert_eq!(stopped("appId=shop&serviceName=orders&tags=blue"), is("notVisible", "tags"));
    assert_eq!(stopped("appId=shop&serviceName=empty"), is("noInstance", "status"));
    assert_eq!(stopped("appId=bank&serviceName=billing&env=testing"), is("noneUp", "status"));
    assert_eq!(stopped("appId=shop&serviceName=orders&version=3.0.0-4.0.0"), is("found", "versions"));
    let shared = explain("appId=default&serviceName=SERVICECENTER");
    assert!(passed(&shared).contains(&("shared".to_owned(), Some(true))), "{shared}");

    // The same name elsewhere, and similar names.
    let environment = explain("appId=bank&serviceName=billing");
    assert_eq!(
        (&environment["verdict"], &environment["stoppedBy"]),
        (&json!("noProvider"), &json!("environment"))
    );
    let suggestion = json!({"kind": "environment", "environment": "testing", "appId": "bank", "serviceName": "billing", "instances": {"STARTING": 1}});
    assert_eq!(environment["suggestions"], json!([suggestion]));
    let application = explain("appId=bank&serviceName=orders");
    assert_eq!(
        (&application["stoppedBy"], &application["suggestions"][0]["kind"]),
        (&json!("application"), &json!("application"))
    );
    let name = explain("appId=shop&serviceName=order");
    assert_eq!(
        (&name["stoppedBy"], &name["suggestions"][0]["serviceName"]),
        (&json!("name"), &json!("orders"))
    );
    let change = |explained: &Value| {
        explained["steps"].as_array().unwrap().iter().find(|step| step["rule"] == "name").unwrap()["change"]
            .to_string()
    };
    assert!(change(&name).contains("'orders'"), "{name}");
    Caller::below(&daemon, "/v4/other/registry").service(json!({"serviceName": "apart", "appId": "shop"}));
    let project = explain("appId=shop&serviceName=apart");
    assert_eq!(project["suggestions"][0]["tenant"], "default/other", "{project}");
    // Another domain is not looked at.
    caller.with("X-Domain-Name", "far").service(json!({"serviceName": "distant", "appId": "shop"}));
    assert_eq!(explain("appId=shop&serviceName=distant").get("suggestions"), None);
    // What a find rejects.
    assert_eq!(code(&daemon.client().get(&format!("{GOVERN}/explain?appId=shop")).unwrap()), "400001");
}

#[test]
fn neighbors_are_the_consumers_and_the_providers() {
    let daemon = daemon(Settings::default());
    let [orders, older, ..] = registry(&daemon);
    let caller = Caller::of(&daemon);
    let consumers: Vec<String> = (0..5)
        .map(|number| caller.service(json!({"serviceName": format!("web-{number}"), "appId": "shop"})))
        .collect();
    for consumer in &consumers {
        caller.consumer(consumer).find("appId=shop&serviceName=orders");
    }
    caller.consumer(&orders).find("appId=shop&serviceName=empty");
    let neighbors = |id: &str, query: &str| govern(&daemon, &format!("services/{id}/neighbours{query}"));
    eventually(GENEROUS, || {
        let all = neighbors(&orders, "");
        if all["total"] == 6 { Ok(()) } else { Err(all.to_string()) }
    });
    let all = neighbors(&orders, "");
    assert_eq!((&all["consumerCount"], &all["providerCount"]), (&json!(5), &json!(1)));
    assert_eq!(all["service"]["instances"], json!({"UP": 5}));
    assert_eq!(all["providers"][0]["serviceName"], "empty");
    let mut expected = consumers.clone();
    expected.sort();
    assert_eq!(ids(&all["consumers"], "serviceId"), expected);
    // Pages count both lists.
    let first = neighbors(&orders, "?limit=4");
    assert_eq!((first["consumers"].as_array().unwrap().len(), first.get("providers")), (4, None));
    let rest = neighbors(&orders, &format!("?limit=4&after={}", first["next"].as_str().unwrap()));
    assert_eq!(
        (&rest["consumers"][0]["serviceName"], &rest["providers"][0]["serviceName"]),
        (&json!("web-4"), &json!("empty"))
    );
    assert_eq!(rest.get("next"), None);
    // One side alone.
    let providers = neighbors(&orders, "?side=providers&limit=1");
    assert_eq!(
        (&providers["total"], providers.get("consumers"), providers.get("next")),
        (&json!(1), None, None)
    );
    assert_eq!((&providers["consumerCount"], &providers["providerCount"]), (&json!(5), &json!(1)));
    assert_eq!(providers["providers"], all["providers"]);
    let first = neighbors(&orders, "?side=consumers&limit=4");
    assert_eq!((&first["total"], first["consumers"].as_array().unwrap().len()), (&json!(5), 4));
    let rest =
        neighbors(&orders, &format!("?side=consumers&limit=4&after={}", first["next"].as_str().unwrap()));
    assert_eq!(ids(&rest["consumers"], "serviceName"), ["web-4"]);
    assert_eq!((rest.get("providers"), rest.get("next")), (None, None));
    let other = daemon.client().get(&format!("{GOVERN}/services/{orders}/neighbours?side=both")).unwrap();
    assert_eq!(code(&other), "400001");
    // A dependency is on all versions.
    let of_consumer = neighbors(&consumers[0], "");
    let mut both = [orders, older];
    both.sort();
    assert_eq!(ids(&of_consumer["providers"], "serviceId"), both);
    let missing = daemon.client().get(&format!("{GOVERN}/services/nobody/neighbours")).unwrap();
    assert_eq!(code(&missing), "400012");
}

#[test]
fn the_watches_of_a_service_are_those_of_its_consumers() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let provider = caller.service(json!({"serviceName": "orders"}));
    let consumer = caller.service(json!({"serviceName": "web"}));
    let other = caller.service(json!({"serviceName": "other"}));
    let id = text(
        &caller
            .post(&format!("/microservices/{provider}/instances"), &json!({"instance": {"hostName": "h"}})),
        "instanceId",
    );
    let mut watches: Vec<_> = [&consumer, &consumer, &other]
        .into_iter()
        .map(|id| caller.socket(&format!("/microservices/{id}/watcher")).unwrap())
        .collect();
    caller.consumer(&consumer).find("appId=default&serviceName=orders");
    let list = |query: &str| govern(&daemon, &format!("services/{provider}/watchers{query}"));
    eventually(GENEROUS, || {
        let all = list("");
        if all["total"] == 2 { Ok(()) } else { Err(all.to_string()) }
    });
    let all = list("");
    let item = &all["items"][0];
    assert_eq!(
        (&item["consumer"]["serviceId"], &item["sent"], &item["pending"]),
        (&json!(consumer), &json!(0), &json!(0))
    );
    assert!(item["client"].as_str().unwrap().starts_with("127.0.0.1"), "{item}");
    assert_eq!((item["connectedSince"].is_string(), item.get("lastSent")), (true, None));
    assert!(all["node"].is_string());
    caller.put(&format!("/microservices/{provider}/instances/{id}/status?value=DOWN"), &json!({}));
    for watch in &mut watches[..2] {
        watch.expect_json(GENEROUS).unwrap();
    }
    eventually(GENEROUS, || {
        let all = list("");
        let told = |at: usize| all["items"][at]["sent"] == 1 && all["items"][at]["lastSent"].is_string();
        if told(0) && told(1) { Ok(()) } else { Err(all.to_string()) }
    });
    let first = list("?limit=1");
    let second = list(&format!("?limit=1&after={}", first["next"].as_str().unwrap()));
    assert_eq!((second["items"].as_array().unwrap().len(), second.get("next")), (1, None));
    // The explanation counts the watches of a consumer.
    let explained =
        govern(&daemon, &format!("explain?consumerId={consumer}&appId=default&serviceName=orders"));
    assert!(passed(&explained).contains(&("watcher".to_owned(), Some(true))), "{explained}");
    drop(watches);
    eventually(GENEROUS, || {
        let all = list("");
        if all["total"] == 0 { Ok(()) } else { Err(all.to_string()) }
    });
}
