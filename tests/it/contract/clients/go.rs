//! The Go client library and the framework on it. Go spells `X-ConsumerId` as `X-Consumerid` on the wire.

use serde_json::{Value, json};

use super::{Empty, Speaker, member};
use crate::contract::cases::ids;
use crate::support::daemon::{Daemon, Settings};
use crate::support::http::Response;

/// The header lines of every call.
pub(super) const GO: &str = "Host: {host}\r\nUser-Agent: go-client\r\n{length}Accept: */*\r\n\
    Content-Type: application/json\r\n{more}X-Domain-Name: default\r\n";

const V4: &str = "/v4/default/registry";

/// The library takes an answer for "there is no such service" by its status and by these bytes.
pub(super) fn says_not_exist(response: &Response) -> bool {
    let needle = br#""errorCode":"400012""#;
    response.status == 400 && response.body.windows(needle.len()).any(|bytes| bytes == needle)
}

#[track_caller]
fn revision(response: &Response) -> String {
    response.joined_header("X-Resource-Revision").unwrap()
}

fn as_consumer(client: &mut Speaker, target: &str, id: &str) -> Response {
    client.send("GET", target, &format!("X-Consumerid: {id}\r\n"), "", Empty::NoLength)
}

#[test]
fn a_go_service_lives_from_registration_to_deletion() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, GO);

    // The client fills its address pool with this node and the listed ones.
    assert_eq!(client.ok("GET", &format!("{V4}/health/readiness"), "").body, b"");
    let pool = client.ok("GET", &format!("{V4}/health"), "").json()["instances"].clone();
    assert_eq!(pool[0]["endpoints"], json!([format!("rest://{}", daemon.address())]));

    // Empty query values are left out. An error is JSON without an id, which means "absent".
    let existence = format!("{V4}/existence?appId=default&serviceName=cart&type=microservice&version=0.1.0");
    let absent = client.call("GET", &existence, "");
    assert!(absent.status < 500 && absent.json().get("serviceId").is_none(), "{}", absent.text());
    let service = r#"{"service":{"appId":"default","serviceName":"cart","version":"0.1.0","level":"BACK","schemas":["c"],"status":"UP","alias":"default:cart","framework":{"name":"Go-Chassis","version":"2.8.0"},"registerBy":"SDK"}}"#;
    let id = member(&client.ok("POST", &format!("{V4}/microservices"), service).json(), "serviceId");
    // This client does not recover from an error here.
    assert_eq!(client.ok("POST", &format!("{V4}/microservices"), service).json()["serviceId"], id);
    assert_eq!(client.ok("GET", &existence, "").json()["serviceId"], id);

    let at = format!("{V4}/microservices/{id}");
    let schema = format!(r#"{{"serviceId":"{id}","schemaId":"c","schema":"schema","summary":"6d7a"}}"#);
    client.done("PUT", &format!("{at}/schemas/c"), &schema);
    assert_eq!(client.ok("GET", &format!("{at}/schemas/c"), "").body, br#"{"schema":"schema"}"#);

    let instance = r#"{"instance":{"endpoints":["rest://127.0.0.1:8080"],"hostName":"host","status":"UP","properties":{"nodeIP":"10.0.0.1"}}}"#;
    let iid = member(&client.ok("POST", &format!("{at}/instances"), instance).json(), "instanceId");
    let whole = format!(
        r#"{{"instanceId":"{iid}","serviceId":"{id}","hostName":"ignored","properties":{{"nodeIP":"10.0.0.2"}},"timestamp":"1"}}"#
    );
    client.done("PUT", &format!("{at}/instances/{iid}/properties"), &whole);
    client.done("PUT", &format!("{at}/properties"), r#"{"serviceName":"ignored","properties":{"a":"b"}}"#);
    client.done("PUT", &format!("{at}/instances/{iid}/heartbeat"), "");
    let find = format!("{V4}/instances?appId=default&serviceName=cart&version=latest&rev=0");
    let found = as_consumer(&mut client, &find, &id).json()["instances"][0].clone();
    // Without a version, or in another one than it expects, the framework drops an instance.
    assert_eq!((&found["version"], &found["hostName"]), (&json!("0.1.0"), &json!("host")));
    assert_eq!(found["properties"], json!({"nodeIP": "10.0.0.2"}), "what was just written is found");
    assert_eq!(found["healthCheck"], json!({"mode": "push", "interval": 30, "times": 3}));

    // After a failed heartbeat the client registers again with the same id.
    assert_eq!(client.call("PUT", &format!("{at}/instances/none/heartbeat"), "").status, 400);
    let again = instance.replace(r#"{"instance":{"#, &format!(r#"{{"instance":{{"instanceId":"{iid}","#));
    assert_eq!(client.ok("POST", &format!("{at}/instances"), &again).json()["instanceId"], iid);

    client.done("PUT", &format!("{at}/instances/{iid}/status?value=DOWN"), "");
    client.done("DELETE", &format!("{at}/instances/{iid}"), "");
    client.done("DELETE", &format!("{at}?force=1"), "");
    assert!(says_not_exist(&client.call("GET", &at, "")));
}

/// Every version rule that clients send finds the same instances, also without a consumer or with an empty one. A revision counts only if it
/// is that of this answer.
#[test]
fn finds_are_answered_whatever_they_say_about_versions() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, GO);
    let mut register = |name: &str| {
        let body =
            format!(r#"{{"service":{{"appId":"default","serviceName":"{name}","version":"1.0.0.0"}}}}"#);
        let id = member(&client.ok("POST", &format!("{V4}/microservices"), &body).json(), "serviceId");
        let body = r#"{"instance":{"hostName":"h","endpoints":["rest://127.0.0.1:1"]}}"#;
        let instances = format!("{V4}/microservices/{id}/instances");
        let instance = member(&client.ok("POST", &instances, body).json(), "instanceId");
        (id, instance)
    };
    let ((consumer, _), (_, instance), _) = (register("c"), register("p"), register("other"));
    let target = |name: &str, rest: &str| format!("{V4}/instances?appId=default&serviceName={name}{rest}");
    let foreign = revision(&client.ok("GET", &target("other", ""), ""));
    let current = revision(&client.ok("GET", &target("p", ""), ""));
    assert_ne!(foreign, current);

    let versions = [
        "",
        "&version=",
        "&version=latest",
        "&version=0%2B",
        "&version=0%252B",
        "&version=0.0.0.0%2B",
        "&version=1.0.0",
    ];
    let consumers = [None, Some(""), Some(consumer.as_str()), Some("nobody")];
    let revisions = [None, Some(""), Some("0"), Some(foreign.as_str()), Some(current.as_str())];
    for version in versions {
        for consumer in consumers {
            for rev in revisions {
                let rev_part = rev.map(|rev| format!("&rev={rev}")).unwrap_or_default();
                let target = target("p", &format!("{version}{rev_part}"));
                let response = match consumer {
                    None => client.call("GET", &target, ""),
                    Some(id) => as_consumer(&mut client, &target, id),
                };
                let what = format!("{target} as {consumer:?}: {}", response.text());
                if consumer == Some("nobody") {
                    assert!(says_not_exist(&response), "{what}");
                    continue;
                }
                assert_eq!(revision(&response), current, "{what}");
                if rev == Some(current.as_str()) {
                    assert_eq!((response.status, response.body.len()), (304, 0), "{what}");
                } else {
                    assert_eq!(response.status, 200, "{what}");
                    assert_eq!(
                        ids(&response.json()["instances"], "instanceId"),
                        [instance.as_str()],
                        "{what}"
                    );
                }
            }
        }
    }
    assert!(says_not_exist(&client.call("GET", &target("none", "&version=0%252B&rev=0"), "")));
}

/// Old releases send one revision for all services in the query of a batch. It is ignored, and the revision of each key counts.
#[test]
fn a_batch_ignores_the_revision_of_its_query() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, GO);
    let mut revisions = Vec::new();
    let mut consumer = String::new();
    for name in ["a", "b"] {
        let body = format!(r#"{{"service":{{"appId":"default","serviceName":"{name}","version":"1.0.0"}}}}"#);
        consumer = member(&client.ok("POST", &format!("{V4}/microservices"), &body).json(), "serviceId");
        let instances = format!("{V4}/microservices/{consumer}/instances");
        client.ok("POST", &instances, r#"{"instance":{"hostName":"h"}}"#);
        let find = format!("{V4}/instances?appId=default&serviceName={name}");
        revisions.push(revision(&client.ok("GET", &find, "")));
    }
    let mut ask = |query: &str, rev: &str| -> Value {
        let body = format!(
            r#"{{"consumerServiceId":"{consumer}","services":[{{"service":{{"appId":"default","serviceName":"a","version":"0+"}},"rev":""}},{{"service":{{"appId":"default","serviceName":"b"}},"rev":"{rev}"}},{{"service":{{"appId":"default","serviceName":"none","version":"latest"}}}}]}}"#
        );
        let more = format!("X-Consumerid: {consumer}\r\n");
        let target = format!("{V4}/instances/action?type=query{query}");
        let response = client.send("POST", &target, &more, &body, Empty::Length0);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["services"].clone()
    };
    for query in [
        String::new(),
        "&rev=0".to_owned(),
        format!("&rev={}", revisions[0]),
        format!("&rev={}", revisions[1]),
    ] {
        let found = ask(&query, &revisions[1]);
        assert_eq!(
            (&found["updated"][0]["index"], &found["updated"][0]["rev"]),
            (&json!(0), &json!(revisions[0]))
        );
        assert_eq!(
            (&found["notModified"], &found["failed"][0]["indexes"]),
            (&json!([1]), &json!([2])),
            "{found}"
        );
        let found = ask(&query, "0");
        assert_eq!(found["updated"].as_array().unwrap().len(), 2, "{found}");
        assert!(found.get("notModified").is_none(), "{found}");
    }
}
