//! Paths, preflights, readiness, tenants of the older API, and body limits.

use serde_json::json;

use super::{Caller, code, daemon, ids};
use crate::support::daemon::Settings;
use crate::support::http::Request;

/// 4, 5: no id has a slash, encoded or not. An unclean path is cleaned and routed, also with a body, and never redirected. Two slashes in
/// the query are refused before anything is done.
#[test]
fn paths_are_decoded_and_cleaned() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let slash = caller.get("/microservices/a%2Fb");
    assert_eq!((slash.status, slash.text().as_str()), (404, "404 page not found\n"));

    let client = daemon.client();
    for unclean in ["/v4/default//registry/version", "/v4/./default/registry/x/../version"] {
        let response = client.get(unclean).unwrap();
        assert_eq!((response.status, response.header("Location")), (200, None), "{unclean}");
        assert_eq!(response.json()["apiVersion"], "4.0.0");
    }
    let service = json!({"service": {"serviceName": "clean"}});
    assert_eq!(code(&caller.post("//microservices", &service)), "200");
    assert_eq!(
        code(&caller.post("/microservices?a=b//c", &json!({"service": {"serviceName": "not"}}))),
        "400"
    );
    let names = ids(&caller.get("/microservices?noCache=1").json()["services"], "serviceName");
    assert_eq!(names, ["clean"]);
}

/// 8, 9: a page of any origin may read answers and send a token.
#[test]
fn pages_of_other_origins_may_read() {
    let daemon = daemon(Settings::default());
    let target = "/v4/default/registry/microservices";
    let from = |method: &str| Request::new(method, target).header("Origin", "http://portal.example");
    let client = daemon.client();

    let read = client.send(&from("GET")).unwrap();
    assert_eq!((read.status, read.joined_header("Access-Control-Allow-Origin").as_deref()), (200, Some("*")));
    assert_eq!(client.get(target).unwrap().header("Access-Control-Allow-Origin"), None);

    let preflight = |headers: &str| {
        let request = from("OPTIONS")
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", headers);
        let response = client.send(&request).unwrap();
        assert_eq!((response.status, response.body.len()), (200, 0));
        response.joined_header("Access-Control-Allow-Headers")
    };
    assert_eq!(preflight("authorization").as_deref(), Some("Authorization"));
    assert_eq!(preflight("x-unknown"), None);
}

/// 19: clients that probe readiness get 200, in every project and domain.
#[test]
fn readiness_is_ok() {
    let daemon = daemon(Settings::default());
    for caller in [Caller::of(&daemon), Caller::below(&daemon, "/v4/p/registry").with("X-Domain-Name", "d")] {
        let response = caller.get("/health/readiness");
        assert_eq!((response.status, response.body.len()), (200, 0));
    }
}

/// 20, 21: the older API uses the project `default`. Its tenant header names the domain, and takes precedence over the newer header.
#[test]
fn the_older_api_has_tenants() {
    let daemon = daemon(Settings::default());
    let (newer, older) = (Caller::of(&daemon), Caller::below(&daemon, "/registry/v3"));
    let id = newer.service(json!({"serviceName": "in-default"}));
    Caller::below(&daemon, "/v4/other/registry").service(json!({"serviceName": "in-other"}));
    let listed =
        |caller: &Caller| ids(&caller.get("/microservices?noCache=1").json()["services"], "serviceId");
    assert_eq!(listed(&older), [id]);

    let both = older.with("X-Tenant-Name", "a").with("X-Domain-Name", "b");
    let in_a = both.service(json!({"serviceName": "of-a"}));
    assert_eq!(listed(&newer.with("X-Domain-Name", "a")), [in_a.as_str()]);
    assert_eq!(listed(&newer.with("X-Domain-Name", "b")), [""; 0]);
    let in_b = older.with("X-Domain-Name", "b").service(json!({"serviceName": "of-b"}));
    assert_eq!(listed(&newer.with("X-Domain-Name", "b")), [in_b]);
    assert_eq!(listed(&both), [in_a]);
}

/// 29: the properties of a service or an instance may have 3072 bytes. A longer value is refused and changes nothing.
#[test]
fn properties_have_a_limit() {
    let daemon = daemon(Settings::default());
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "s"}));
    let instance = caller.instance(&service, json!({"hostName": "h"}));
    let at_service = format!("/microservices/{service}");
    let at_instance = format!("/microservices/{service}/instances/{instance}");
    for (at, member) in [(at_service, "service"), (at_instance, "instance")] {
        let put = |length: usize| {
            let body = json!({"properties": {"p": "x".repeat(length)}});
            let bytes = body.to_string().len();
            (bytes, code(&caller.put(&format!("{at}/properties"), &body)))
        };
        let frame = json!({"properties": {"p": ""}}).to_string().len();
        assert_eq!(put(3072 - frame), (3072, "200".to_owned()));
        assert_eq!(put(3073 - frame), (3073, "400001".to_owned()));
        let stored = caller.get(&format!("{at}?noCache=1")).json();
        assert_eq!(stored[member]["properties"]["p"].as_str().unwrap().len(), 3072 - frame);
    }
}
