//! Schemas: existence, quota, deletion, and their keys in the store.

use serde_json::json;

use super::{Caller, code, daemon};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::store::on_etcd;

/// 113 to 116: a schema exists if it has a content. The answer has its summary in a header, also an empty one.
#[test]
fn a_schema_with_content_exists() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "a", "schemas": ["listed"]}));
    let put = |schema: &str, body| code(&caller.put(&format!("/microservices/{id}/schemas/{schema}"), &body));
    assert_eq!(put("summed", json!({"schema": "x", "summary": "sum"})), "200");
    assert_eq!(put("plain", json!({"schema": "x"})), "200");
    let exists = |service: &str, schema: &str| {
        caller.get(&format!("/existence?type=schema&serviceId={service}&schemaId={schema}&noCache=1"))
    };
    for (schema, summary) in [("summed", "sum"), ("plain", "")] {
        let response = exists(&id, schema);
        assert_eq!(response.status, 200);
        assert_eq!(response.json(), json!({"serviceId": id, "schemaId": schema}));
        assert_eq!(response.joined_header("X-Schema-Summary").as_deref(), Some(summary));
    }
    for (service, schema, expected) in
        [("none", "summed", "400012"), (&id, "listed", "400016"), (&id, "none", "400016")]
    {
        let response = exists(service, schema);
        assert_eq!(
            (code(&response).as_str(), response.header("X-Schema-Summary")),
            (expected, None),
            "{schema}"
        );
    }
}

/// 262: at the limit a new id is refused, and an existing schema can be replaced.
#[test]
fn schemas_have_a_quota() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "a"}));
    let schemas: Vec<_> =
        (0..100).map(|at| json!({"schemaId": format!("s{at}"), "schema": "x", "summary": "y"})).collect();
    assert_eq!(
        code(&caller.post(&format!("/microservices/{id}/schemas"), &json!({ "schemas": schemas }))),
        "200"
    );
    let put = |schema: &str| {
        caller.put(&format!("/microservices/{id}/schemas/{schema}"), &json!({"schema": "new"}))
    };
    let refused = put("s100");
    assert_eq!(code(&refused), "400100");
    assert_eq!(
        refused.json()["detail"],
        "no quota to create SCHEMA, max num is 100, curNum is 100, apply num is 1"
    );
    assert_eq!(code(&put("s99")), "200");
    let get = |schema: &str| caller.get(&format!("/microservices/{id}/schemas/{schema}?noCache=1"));
    assert_eq!(get("s99").json(), json!({"schema": "new"}));
    assert_eq!(code(&get("s100")), "400016");
}

/// 276, 277: a deleted schema has no content, and its id stays in the list of the service. A schema that does not exist cannot be deleted.
#[test]
fn a_deleted_schema_stays_listed() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "a"}));
    let at = |schema: &str| format!("/microservices/{id}/schemas/{schema}");
    assert_eq!(code(&caller.put(&at("s"), &json!({"schema": "x", "summary": "y"}))), "200");
    let deleted = caller.delete(&at("s"));
    assert_eq!((deleted.status, deleted.body.len()), (200, 0));
    assert_eq!(code(&caller.get(&at("s?noCache=1"))), "400016");
    let list = caller.get(&format!("/microservices/{id}/schemas?noCache=1&withSchema=1"));
    assert_eq!(list.json(), json!({"schemas": [{"schemaId": "s"}]}));
    assert_eq!(code(&caller.delete(&at("s"))), "400016");
    assert_eq!(code(&caller.delete(&at("none"))), "400016");
    assert_eq!(code(&caller.delete("/microservices/none/schemas/s")), "400012");
}

/// 281: when schemas must not be written, no route writes them. They can still be read and deleted.
#[test]
fn disabled_schemas_are_written_by_no_route() {
    let daemon = daemon(Settings::default().yaml("registry.schema.disable", json!(true)));
    for base in ["/v4/default/registry", "/registry/v3"] {
        let caller = Caller::below(&daemon, base);
        let id = caller.service(json!({"serviceName": "a"}));
        let at = format!("/microservices/{id}/schemas");
        let one = caller.put(&format!("{at}/s"), &json!({"schema": "x", "summary": "y"}));
        let many = caller.post(&at, &json!({"schemas": [{"schemaId": "s", "schema": "x", "summary": "y"}]}));
        for refused in [one, many] {
            assert_eq!((refused.status, code(&refused).as_str()), (403, "403001"), "{base}");
            assert_eq!(refused.json()["detail"], "schema modify is disabled");
        }
        assert_eq!(caller.get(&format!("{at}?noCache=1")).json(), json!({}));
        assert_eq!(code(&caller.delete(&format!("{at}/s"))), "400016");
    }
}

fn keys(etcd: &Etcd, prefix: &str) -> Vec<String> {
    let listed = etcd.ctl(&["get", "--prefix", "--keys-only", prefix]);
    listed.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// 278, 279: contents in the layout of older servers are shown, and can be replaced and deleted. If there is a new content as well, the old
/// one is ignored, and deleted with it.
#[test]
fn contents_of_older_servers_are_read() {
    let etcd = Etcd::start();
    let daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "a", "schemas": ["old", "both"]}));
    let tree = |tree: &str, schema: &str| format!("/cse-sr/ms/{tree}/default/default/{id}/{schema}");
    let at = |schema: &str| format!("/microservices/{id}/schemas/{schema}");
    let content = |schema: &str| caller.get(&at(&format!("{schema}?noCache=1")));

    etcd.ctl(&["put", &tree("schemas", "old"), "old text"]);
    etcd.ctl(&["put", &tree("schema-sum", "old"), "oldsum"]);
    let old = content("old");
    assert_eq!(old.json(), json!({"schema": "old text"}));
    assert_eq!(old.joined_header("X-Schema-Summary").as_deref(), Some("oldsum"));
    let list = caller.get(&format!("/microservices/{id}/schemas?noCache=1&withSchema=1")).json();
    let listed = |schema: &str| {
        list["schemas"].as_array().unwrap().iter().find(|entry| entry["schemaId"] == schema).unwrap().clone()
    };
    assert_eq!(listed("old"), json!({"schemaId": "old", "summary": "oldsum", "schema": "old text"}));
    assert_eq!(listed("both"), json!({"schemaId": "both"}));
    let exists = format!("/existence?type=schema&serviceId={id}&schemaId=old&noCache=1");
    assert_eq!(code(&caller.get(&exists)), "200");

    // The content is replaced.
    assert_eq!(code(&caller.put(&at("old"), &json!({"schema": "new text", "summary": "newsum"}))), "200");
    assert_eq!(content("old").json(), json!({"schema": "new text"}));
    // A content in both layouts: the new one counts.
    assert_eq!(code(&caller.put(&at("both"), &json!({"schema": "new"}))), "200");
    etcd.ctl(&["put", &tree("schemas", "both"), "old"]);
    assert_eq!(content("both").json(), json!({"schema": "new"}));

    for schema in ["old", "both"] {
        assert_eq!(code(&caller.delete(&at(schema))), "200");
        assert_eq!(code(&content(schema)), "400016");
        for gone in ["schemas", "schema-ref", "schema-sum"] {
            assert_eq!(keys(&etcd, &tree(gone, schema)), [""; 0], "{schema}");
        }
    }
    // A content only in the old layout.
    etcd.ctl(&["put", &tree("schemas", "old"), "old text"]);
    assert_eq!(content("old").json(), json!({"schema": "old text"}));
    assert_eq!(code(&caller.delete(&at("old"))), "200");
    assert_eq!(code(&content("old")), "400016");
}

/// 280: a text is stored once, however many services use it.
#[test]
fn equal_contents_are_stored_once() {
    let etcd = Etcd::start();
    let daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let caller = Caller::of(&daemon);
    let put = |name: &str, text: &str| {
        let id = caller.service(json!({ "serviceName": name }));
        let body = json!({"schema": text, "summary": "y"});
        assert_eq!(code(&caller.put(&format!("/microservices/{id}/schemas/s"), &body)), "200");
        etcd.ctl(&["get", "--print-value-only", &format!("/cse-sr/ms/schema-ref/default/default/{id}/s")])
    };
    let (a, b) = (put("a", "the text"), put("b", "the text"));
    assert_eq!(a, b);
    let contents = "/cse-sr/ms/schema-content/default/default/";
    assert_eq!(keys(&etcd, contents), [format!("{contents}{}", a.trim())]);
    assert_ne!(put("c", "another text"), a);
    assert_eq!(keys(&etcd, contents).len(), 2);
}
