//! The views for portals and the routes for operators.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Caller, code, daemon};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::EtcdKeys;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::store::on_etcd;

const LIST: &str = "/v4/default/govern/microservices";
const DUMP: &str = "/v4/default/admin/dump";

/// A consumer and a provider with tags, schemas and an instance. Their ids.
fn prepare(caller: &Caller) -> [String; 2] {
    let [consumer, provider] = ["con", "pro"].map(|name| {
        let id = caller
            .service(json!({"serviceName": name, "alias": format!("alias-{name}"), "schemas": ["x"],
            "properties": {"p": "q"}}));
        assert_eq!(
            caller.post(&format!("/microservices/{id}/tags"), &json!({"tags": {"k": "v"}})).status,
            200
        );
        let schema = json!({"schema": format!("text of {name}"), "summary": "sum"});
        assert_eq!(caller.put(&format!("/microservices/{id}/schemas/x"), &schema).status, 200);
        caller.instance(&id, json!({"hostName": "h", "properties": {"mine": "1"}}));
        id
    });
    let found = caller.consumer(&consumer).find("appId=default&serviceName=pro");
    assert_eq!(found.len(), 1);
    eventually(GENEROUS, || {
        let providers = caller.get(&format!("/microservices/{consumer}/providers?noCache=1"));
        if providers.text().contains(&provider) { Ok(()) } else { Err(providers.text()) }
    });
    [consumer, provider]
}

/// 113: a list with all options has every part of every service, and the statistics.
#[test]
fn a_list_with_all_options_has_every_part() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let [consumer, provider] = prepare(&caller);
    let answer = daemon.client().get(&format!("{LIST}?options=all&noCache=1")).unwrap().json();
    let statistics = json!({
        "services": {"count": 2, "onlineCount": 2}, "instances": {"count": 2, "countByDomain": 2}, "apps": {"count": 1},
    });
    assert_eq!(answer["statistics"], statistics);
    let details = answer["allServicesDetail"].as_array().unwrap();
    assert_eq!(details.len(), 2);
    for (id, name, partners) in [(&consumer, "con", "providers"), (&provider, "pro", "consumers")] {
        let detail = details
            .iter()
            .find(|detail| detail["microService"]["serviceId"] == **id)
            .unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(detail["microService"].get("schemas"), None);
        assert_eq!(detail["instances"][0]["hostName"], "h");
        assert_eq!(detail["instances"][0].get("properties"), None);
        let schema = json!({"schemaId": "x", "summary": "sum", "schema": format!("text of {name}")});
        assert_eq!(detail["schemaInfos"], json!([schema]));
        assert_eq!(detail["tags"], json!({"k": "v"}));
        assert_eq!(detail[partners].as_array().map(Vec::len), Some(1), "{detail}");
        assert_eq!(detail["statics"], Value::Null);
    }
    // The shared service is among them only if it is asked for.
    let shared = daemon.client().get(&format!("{LIST}?withShared=1")).unwrap().json();
    assert_eq!(shared["allServicesDetail"].as_array().map(Vec::len), Some(3));
    let statistics = daemon.client().get("/v4/default/govern/statistics?withShared=true").unwrap().json();
    assert_eq!(statistics["statistics"]["services"]["count"], 3);
}

/// 121: a service that was deleted has no detail.
#[test]
fn a_deleted_service_has_no_detail() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "s"}));
    let detail = || daemon.client().get(&format!("{LIST}/{id}")).unwrap();
    assert_eq!(detail().json()["service"]["microServiceVersions"], json!(["0.0.1"]));
    assert_eq!(caller.delete(&format!("/microservices/{id}?force=1")).status, 200);
    assert_eq!(code(&detail()), "400012");
}

/// An answer over the limit is refused before it is built, with its size and the limit.
#[test]
fn a_view_over_the_limit_is_refused() {
    const SERVICES: usize = 800;
    let daemon = daemon(Settings::default().yaml("server.response.maxBytes", json!(65_536)));
    let caller = Caller::of(&daemon);
    for number in 0..SERVICES {
        caller.service(json!({"serviceName": format!("s{number}"), "description": "d".repeat(100)}));
    }
    let get = |target: &str| daemon.client().get(target).unwrap();
    for target in [LIST, "/v4/default/govern/relations", DUMP] {
        let refused = get(target);
        assert_eq!(code(&refused), "400001", "{target}");
        assert!(refused.text().contains("server.response.maxBytes"), "{}", refused.text());
    }
    assert_eq!(get(&format!("{LIST}?serviceName=s1")).status, 200);
    assert_eq!(get("/v4/default/govern/statistics").json()["statistics"]["services"]["count"], SERVICES);
}

/// The lists of the dump, and the trees of the store that they show.
const TREES: [(&str, &str); 7] = [
    ("services", "/cse-sr/ms/files/"),
    ("serviceIndexes", "/cse-sr/ms/indexes/"),
    ("serviceAliases", "/cse-sr/ms/alias/"),
    ("serviceTags", "/cse-sr/ms/tags/"),
    ("dependencyRules", "/cse-sr/ms/dep-rules/"),
    ("summaries", "/cse-sr/ms/schema-sum/"),
    ("instances", "/cse-sr/inst/files/"),
];

/// Key and revision of each entry of a list of the dump.
fn revisions(dump: &Value, list: &str) -> BTreeMap<String, i64> {
    let entries = dump["cache"][list].as_array().unwrap_or_else(|| panic!("{list}: {dump}"));
    let entry = |entry: &Value| (entry["key"].as_str().unwrap().to_owned(), entry["rev"].as_i64().unwrap());
    entries.iter().map(entry).collect()
}

/// What `scctl diagnose` compares: the dump has the keys of etcd, with their revisions, also after changes; and the values are those of
/// the store. A second node agrees, one that started later.
#[test]
fn the_dump_agrees_with_etcd() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    let start = || Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let first = start();
    let caller = Caller::of(&first);
    let [consumer, provider] = prepare(&caller);
    // Tenants other than the default one are in the dump as well.
    Caller::below(&first, "/v4/other/registry").service(json!({"serviceName": "elsewhere"}));
    let changed = json!({"properties": {"p": "changed"}});
    assert_eq!(caller.put(&format!("/microservices/{provider}/properties"), &changed).status, 200);
    let gone = caller.service(json!({"serviceName": "gone"}));
    assert_eq!(caller.delete(&format!("/microservices/{gone}?force=1")).status, 200);
    let second = start();
    for node in [&first, &second] {
        eventually(GENEROUS, || {
            let dump = node.client().get(&format!("{DUMP}?noCache=1")).unwrap().json();
            for (list, prefix) in TREES {
                let stored = keys.below(prefix);
                let expected: BTreeMap<String, i64> =
                    stored.iter().map(|(key, value)| (key.clone(), value.mod_revision)).collect();
                if revisions(&dump, list) != expected {
                    return Err(format!("{list}: {:?}, etcd has {expected:?}", revisions(&dump, list)));
                }
                for entry in dump["cache"][list].as_array().unwrap() {
                    let text = stored[entry["key"].as_str().unwrap()].text();
                    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                    assert_eq!(entry["value"], value, "{entry}");
                    assert_eq!(entry["cluster"], "default");
                }
            }
            Ok(())
        });
    }
    let dump = first.client().get(DUMP).unwrap().text();
    for id in [consumer, provider] {
        assert!(dump.contains(&id));
    }
    let clusters = first.client().get("/v4/default/admin/clusters").unwrap().json();
    assert_eq!(clusters, json!({"clusters": {"default": [format!("http://{}", etcd.address())]}}));
}

/// On the embedded store, revisions of the dump grow with each write of a key, and stay the same across a restart.
#[test]
fn revisions_of_the_dump_are_those_of_the_embedded_store() {
    let mut daemon = daemon(Settings::default());
    let dump = |daemon: &Daemon| daemon.client().get(&format!("{DUMP}?noCache=1")).unwrap().json();
    let provider = {
        let caller = Caller::of(&daemon);
        let [_, provider] = prepare(&caller);
        provider
    };
    let key = format!("/cse-sr/ms/files/default/default/{provider}");
    let before = dump(&daemon);
    let changed = json!({"properties": {"p": "changed"}});
    assert_eq!(
        Caller::of(&daemon).put(&format!("/microservices/{provider}/properties"), &changed).status,
        200
    );
    let after = dump(&daemon);
    assert!(revisions(&after, "services")[&key] > revisions(&before, "services")[&key]);
    for list in ["serviceIndexes", "serviceAliases", "serviceTags", "summaries", "dependencyRules"] {
        assert_eq!(revisions(&before, list), revisions(&after, list), "{list}");
    }
    daemon.restart().unwrap();
    let restarted = dump(&daemon);
    // The own service and its index are the node's.
    for list in ["serviceAliases", "serviceTags", "summaries", "dependencyRules"] {
        assert_eq!(revisions(&restarted, list), revisions(&after, list), "{list}");
    }
    assert_eq!(revisions(&restarted, "services")[&key], revisions(&after, "services")[&key]);
}
