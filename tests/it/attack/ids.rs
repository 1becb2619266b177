//! Ids and names that look like others, or that are a step in a path.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::http::{Client, Request, Response};
use crate::support::registry::code;
use crate::support::store::{Backing, Embedded, OwnEtcd};
use crate::support::ws::{WebSocket, WsError};

const REGISTRY: &str = "/v4/default/registry";
/// Texts that cannot be an id: steps of a path, and characters that reverse a line, have no width, or control a terminal.
const BAD: [&str; 8] =
    [".", "..", "a\u{202e}b", "\u{2066}a", "a\u{200b}", "a\u{7f}b", "a\u{9b}b", "a\u{2028}b"];

/// The percent-encoded form of a text.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn send(client: &Client, method: &str, path: &str, body: Option<Value>) -> Response {
    let request = Request::new(method, &format!("{REGISTRY}{path}"));
    client.send(&body.iter().fold(request, |request, body| request.json(body))).unwrap()
}

/// All services and instances, to see that nothing has changed.
fn everything(client: &Client, service: &str) -> [Value; 3] {
    let get = |path: String| send(client, "GET", &path, None).json();
    [
        get("/microservices?noCache=1".to_owned()),
        get(format!("/microservices/{service}/instances?noCache=1")),
        get(format!("/microservices/{service}/schemas?noCache=1")),
    ]
}

/// Each place that takes an id refuses an invalid one, and nothing is written.
fn what_cannot_be_an_id_is_refused_everywhere(store: &dyn Backing) {
    let daemon = Daemon::start(store.chosen_in(Settings::default())).unwrap();
    let client = daemon.client();
    let service = json!({"service": {"serviceName": "orders"}});
    let service = send(&client, "POST", "/microservices", Some(service)).json()["serviceId"].clone();
    let service = service.as_str().unwrap();
    let at = format!("/microservices/{service}");
    let instance = json!({"instance": {"instanceId": "i", "hostName": "h"}});
    assert_eq!(send(&client, "POST", &format!("{at}/instances"), Some(instance)).status, 200);
    let before = everything(&client, service);
    for bad in BAD {
        for (method, path, body) in [
            ("POST", "/microservices".to_owned(), json!({"service": {"serviceName": "x", "serviceId": bad}})),
            ("POST", "/microservices".to_owned(), json!({"service": {"serviceName": bad}})),
            ("POST", "/microservices".to_owned(), json!({"service": {"serviceName": "x", "appId": bad}})),
            ("POST", "/microservices".to_owned(), json!({"service": {"serviceName": "x", "alias": bad}})),
            ("POST", "/microservices".to_owned(), json!({"service": {"serviceName": "x", "schemas": [bad]}})),
            ("DELETE", "/microservices".to_owned(), json!({"serviceIds": [service, bad], "force": true})),
            ("POST", format!("{at}/instances"), json!({"instance": {"hostName": "h", "instanceId": bad}})),
            ("POST", format!("{at}/tags"), json!({"tags": {bad: "x"}})),
            (
                "POST",
                format!("{at}/schemas"),
                json!({"schemas": [{"schemaId": bad, "schema": "x", "summary": "y"}]}),
            ),
            (
                "POST",
                "/instances/action?type=query".to_owned(),
                json!({"services": [{"service": {"appId": "default", "serviceName": bad}}]}),
            ),
            (
                "POST",
                "/instances/action?type=query".to_owned(),
                json!({"instances": [{"instance": {"serviceId": bad, "instanceId": "i"}}]}),
            ),
            (
                "POST",
                "/instances/action?type=query".to_owned(),
                json!({"instances": [{"instance": {"serviceId": service, "instanceId": bad}}]}),
            ),
            (
                "PUT",
                "/dependencies".to_owned(),
                json!({"dependencies": [{"consumer": {"appId": "default", "serviceName": bad, "version": "1"}, "providers": []}]}),
            ),
        ] {
            let answer = send(&client, method, &path, Some(body.clone()));
            assert_eq!(code(&answer), "400001", "{method} {path} {body}: {}", answer.text());
        }
        let query = escaped(bad);
        for path in [
            format!("/instances?appId=default&serviceName={query}"),
            format!("/instances?appId={query}&serviceName=orders"),
            format!("/existence?type=microservice&appId=default&serviceName={query}&version=1"),
            format!("/existence?type=schema&serviceId={query}&schemaId=s"),
            format!("/existence?type=schema&serviceId={service}&schemaId={query}"),
        ] {
            assert_eq!(code(&send(&client, "GET", &path, None)), "400001", "{path}");
        }
        for (header, path) in [
            ("X-ConsumerId", "/instances?appId=default&serviceName=orders".to_owned()),
            ("X-ConsumerId", format!("{at}/instances")),
            ("X-ConsumerId", format!("{at}/instances/i")),
            ("X-Domain-Name", "/microservices".to_owned()),
        ] {
            // A header cannot carry a control character at all.
            if !bad.chars().any(|c| c.is_ascii_control()) {
                let request = Request::new("GET", &format!("{REGISTRY}{path}")).header(header, bad);
                assert_eq!(code(&client.send(&request).unwrap()), "400001", "{header} {bad:?} {path}");
            }
        }
        // An invalid id does not keep the other instances from their heartbeats.
        let beats = json!({"instances": [{"serviceId": service, "instanceId": "i"}, {"serviceId": service, "instanceId": bad}]});
        let answer = send(&client, "PUT", "/heartbeats", Some(beats)).json();
        for element in answer["instances"].as_array().unwrap() {
            let error = element["errMessage"].as_str().unwrap_or_default();
            assert_eq!(error.starts_with("Invalid parameter(s)("), element["instanceId"] == bad, "{answer}");
        }
    }
    assert_eq!(everything(&client, service), before);
}

#[test]
fn what_cannot_be_an_id_is_refused_everywhere_on_embedded() {
    what_cannot_be_an_id_is_refused_everywhere(&Embedded);
}

#[test]
fn what_cannot_be_an_id_is_refused_everywhere_on_etcd() {
    what_cannot_be_an_id_is_refused_everywhere(&OwnEtcd::start());
}

/// Invalid ids in the path of each route of the API description that has one. `paths.rs` tests `.` and `..` in a path.
#[test]
fn what_cannot_be_an_id_is_refused_in_each_path() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    let description = client.get("/openapi.json").unwrap().json();
    let ids = ["{serviceId}", "{instanceId}", "{schemaId}", "{consumerId}", "{providerId}", "{key}"];
    let mut asked = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        for hostile in ids.iter().filter(|name| path.contains(**name)) {
            let target = ids.iter().fold(path.replace("{project}", "default"), |target, name| {
                target.replace(name, if name == hostile { "a%E2%80%AEb" } else { "a" })
            });
            for method in operations.as_object().unwrap().keys() {
                let is_socket =
                    target.ends_with("/watcher") || method == "get" && target.ends_with("/heartbeat");
                if is_socket {
                    let refused = WebSocket::open(daemon.address(), &target, &[]);
                    assert!(
                        matches!(refused, Err(WsError::Refused { status: 400, .. })),
                        "{target}: {refused:?}"
                    );
                } else {
                    let body = json!({
                        "instance": {"hostName": "h"}, "schema": "x", "summary": "y",
                        "schemas": [{"schemaId": "s", "schema": "x", "summary": "y"}],
                    });
                    let body = if target.ends_with("/tags") { json!({}) } else { body };
                    let request = Request::new(&method.to_uppercase(), &format!("{target}?value=UP"));
                    let request =
                        if method == "get" || method == "delete" { request } else { request.json(&body) };
                    assert_eq!(code(&client.send(&request).unwrap()), "400001", "{method} {target}");
                }
                asked += 1;
            }
        }
    }
    assert!(asked >= 30, "{asked} routes with ids");
}
