//! Dependencies: on the consumer itself, on a service that does not exist yet, and on another tenant.

use serde_json::{Value, json};

use super::{Caller, code, daemon, ids};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::store::{Backing as _, OwnEtcd};
use crate::support::ws::Frame;

/// Waits until a service has exactly these consumers or providers.
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

/// 251: a service that finds itself depends on itself. A request can leave this out.
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

/// 252: a find of an unknown service makes no dependency. The next find makes it, when the service exists.
#[test]
fn a_find_of_nothing_makes_no_dependency() {
    let (_daemon, caller) = started();
    let consumer = caller.service(json!({"serviceName": "c"}));
    let marker = caller.service(json!({"serviceName": "m"}));
    let as_consumer = caller.consumer(&consumer);
    assert_eq!(code(&as_consumer.get("/instances?appId=default&serviceName=p")), "400012");
    let provider = caller.service(json!({"serviceName": "p"}));
    // The dependency of the later find is recorded, and that of the failed one is not.
    as_consumer.find("appId=default&serviceName=m");
    partners(&caller, &consumer, "providers", "", &[&marker]);
    partners(&caller, &provider, "consumers", "", &[]);
    as_consumer.find("appId=default&serviceName=p&noCache=1");
    partners(&caller, &consumer, "providers", "", &[&marker, &provider]);
    partners(&caller, &provider, "consumers", "", &[&consumer]);
}

/// 254: providers of other tenants are shown unless the request leaves them out. Those of other domains are shown only if that is configured.
#[test]
fn other_tenants_can_be_left_out() {
    let daemon = daemon(Settings::default().yaml("registry.dependency.crossDomain", json!(true)));
    let caller = Caller::of(&daemon);
    let consumer = caller.service(json!({"serviceName": "c"}));
    let near = caller.service(json!({"serviceName": "near"}));
    let other = Caller::below(&daemon, "/v4/other/registry").service(json!({"serviceName": "other"}));
    let far = caller.with("X-Domain-Name", "far").service(json!({"serviceName": "distant"}));
    let rule = json!({"dependencies": [{
        "consumer": {"appId": "default", "serviceName": "c", "version": "0.0.1"},
        "providers": [
            {"appId": "default", "serviceName": "near"},
            {"tenant": "default/other", "appId": "default", "serviceName": "other"},
            {"tenant": "far/default", "appId": "default", "serviceName": "distant"},
        ],
    }]});
    assert_eq!(code(&caller.put("/dependencies", &rule)), "200");
    partners(&caller, &consumer, "providers", "", &[&near, &other, &far]);
    partners(&caller, &consumer, "providers", "?sameDomain=0", &[&near, &other, &far]);
    partners(&caller, &consumer, "providers", "?sameDomain=1", &[&near]);
    partners(&caller.with("X-Domain-Name", "far"), &far, "consumers", "", &[&consumer]);
}

/// A daemon on each store, with its etcd if it has one.
fn on_each_store() -> [(Daemon, Option<OwnEtcd>); 2] {
    let etcd = OwnEtcd::start();
    [(daemon(Settings::default()), None), (daemon(etcd.chosen_in(Settings::default())), Some(etcd))]
}

/// The key of a service with version 1.0.0. An empty alias means none.
fn key(name: &str, alias: &str) -> Value {
    json!({"appId": "default", "serviceName": name, "alias": alias, "version": "1.0.0"})
}

#[track_caller]
fn depend(caller: &Caller, method: &str, consumer: &Value, providers: &[Value]) {
    let body = json!({"dependencies": [{"consumer": consumer, "providers": providers}]});
    let response = caller.send(method, "/dependencies", Some(&body));
    assert_eq!(code(&response), "200", "{method} {body}: {}", response.text());
}

/// A rule means all versions of the service with the name, and if there is none, of the one with the alias. This holds for each route.
#[test]
fn a_provider_is_named_by_name_or_by_alias() {
    for (daemon, _etcd) in on_each_store() {
        let caller = Caller::of(&daemon);
        let version = |name: &str, version: &str, alias: &str| {
            caller.service(json!({"serviceName": name, "version": version, "alias": alias}))
        };
        let aliased = [version("p", "1.0.0", "al"), version("p", "2.0.0", "al")];
        let plain = version("p", "3.0.0", "");
        let [aliased1, aliased2] = aliased.each_ref().map(String::as_str);
        let all = [aliased1, aliased2, plain.as_str()];
        for method in ["PUT", "POST"] {
            for (name, alias, expected) in [
                ("p", "", &all[..]),
                ("p", "al", &all),
                ("p", "unknown", &all),
                ("nobody", "al", &[aliased1, aliased2]),
                ("nobody", "unknown", &[]),
                ("nobody", "", &[]),
                // An alias does not count as a name.
                ("al", "", &[]),
            ] {
                let consumer = format!("c-{method}-{name}-{alias}-x");
                let id = version(&consumer, "1.0.0", "");
                depend(&caller, method, &key(&consumer, ""), &[key(name, alias)]);
                partners(&caller, &id, "providers", "", expected);
                // Both sides of a rule are written at once.
                for provider in all {
                    let found = caller.get(&format!("/microservices/{provider}/consumers"));
                    let is_told = ids(&found.json()["consumers"], "serviceId").contains(&id);
                    assert_eq!(is_told, expected.contains(&provider), "{consumer}");
                }
            }
        }
        // A find records the name of the service, and so all its versions.
        for sought in ["p", "al"] {
            let id = version(&format!("c-find-{sought}"), "1.0.0", "");
            caller.consumer(&id).find(&format!("appId=default&serviceName={sought}"));
            partners(&caller, &id, "providers", "", &all);
        }
    }
}

/// A rule belongs to the named version of the consumer, whether the name or the alias was used.
#[test]
fn a_consumer_is_named_by_name_or_by_alias() {
    for (daemon, _etcd) in on_each_store() {
        let caller = Caller::of(&daemon);
        let provider = caller.service(json!({"serviceName": "p"}));
        for method in ["PUT", "POST"] {
            for by_alias in [false, true] {
                let name = format!("c-{method}-{by_alias}");
                let alias = format!("a-{name}");
                let version = |version: &str| {
                    caller.service(json!({"serviceName": name, "version": version, "alias": alias}))
                };
                let (named, other) = (version("1.0.0"), version("2.0.0"));
                let consumer = if by_alias { key("nobody", &alias) } else { key(&name, "other") };
                depend(&caller, method, &consumer, &[key("p", "")]);
                partners(&caller, &named, "providers", "", &[&provider]);
                partners(&caller, &other, "providers", "", &[]);
                let found = caller.get(&format!("/microservices/{provider}/consumers"));
                let found = ids(&found.json()["consumers"], "serviceId");
                assert!(found.contains(&named) && !found.contains(&other), "{found:?}");
                depend(&caller, "PUT", &consumer, &[]);
                partners(&caller, &named, "providers", "", &[]);
            }
        }
        partners(&caller, &provider, "consumers", "", &[]);
        let body =
            json!({"dependencies": [{"consumer": key("nobody", "unknown"), "providers": [key("p", "")]}]});
        assert_eq!(code(&caller.put("/dependencies", &body)), "400012");
    }
}

/// A consumer that depends on a provider by its alias gets its events and protects it. A service with the alias as its name takes its place.
#[test]
fn an_alias_counts_for_watchers_and_deletions_until_the_name_exists() {
    for (daemon, _etcd) in on_each_store() {
        let caller = Caller::of(&daemon);
        let consumer = caller.service(json!({"serviceName": "c", "version": "1.0.0"}));
        // The provider does not exist yet. An addition keeps the rule, and a replacement drops it.
        depend(&caller, "POST", &key("c", ""), &[key("nobody", "al")]);
        let provider = caller.service(json!({"serviceName": "p", "version": "1.0.0", "alias": "al"}));
        partners(&caller, &consumer, "providers", "", &[&provider]);
        partners(&caller, &provider, "consumers", "", &[&consumer]);
        let mut watcher = caller.socket(&format!("/microservices/{consumer}/watcher")).unwrap();
        // The session is subscribed when its ping is answered.
        watcher.ping(b"x").unwrap();
        assert!(matches!(watcher.next_frame(GENEROUS).unwrap(), Frame::Pong(_)));
        let instance = caller.instance(&provider, json!({"hostName": "h"}));
        let told = watcher.expect_json(GENEROUS).unwrap();
        assert_eq!((&told["action"], &told["instance"]["instanceId"]), (&json!("CREATE"), &json!(instance)));
        let delete = |query: &str| code(&caller.delete(&format!("/microservices/{provider}{query}")));
        assert_eq!(delete(""), "400023");
        let named = caller.service(json!({"serviceName": "nobody", "version": "2.0.0"}));
        partners(&caller, &consumer, "providers", "", &[&named]);
        partners(&caller, &provider, "consumers", "", &[]);
        assert_eq!(delete(""), "400013");
        assert_eq!(code(&caller.delete(&format!("/microservices/{named}?force=1"))), "200");
        partners(&caller, &provider, "consumers", "", &[&consumer]);
        assert_eq!(delete("?force=1"), "200");
        let told = watcher.expect_json(GENEROUS).unwrap();
        assert_eq!((&told["action"], &told["instance"]["instanceId"]), (&json!("DELETE"), &json!(instance)));

        let marker = caller.service(json!({"serviceName": "marker"}));
        depend(&caller, "PUT", &key("c", ""), &[key("nobody", "al"), key("marker", "")]);
        partners(&caller, &consumer, "providers", "", &[&marker]);
        caller.service(json!({"serviceName": "p", "version": "1.0.0", "alias": "al"}));
        partners(&caller, &consumer, "providers", "", &[&marker]);
    }
}
