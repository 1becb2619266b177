//! The Java clients: that of java-chassis 3.x and of the frameworks on its library (Apache HttpClient), and that of java-chassis 2.x and 1.x
//! (Vert.x), in both versions of the API.

use serde_json::{Value, json};

use super::{Empty, Speaker, assert_no_null, member};
use crate::contract::cases::ids;
use crate::support::daemon::{Daemon, Settings};
use crate::support::http::Response;

/// The headers with a token that means "none". The client sends it to every server after one has answered 404 for tokens.
const LIBRARY: &str = "x-domain-name: default\r\nContent-Type: application/json\r\n\
    User-Agent: microservice-client/1.0.0\r\nAuthorization: Bearer invalid\r\n{more}{length}Host: {host}\r\n\
    Connection: Keep-Alive\r\nAccept-Encoding: gzip,deflate\r\n";

const VERTX: &str = "content-type: application/json\r\nuser-agent: cse-serviceregistry-client/1.0.0\r\n\
    x-domain-name: default\r\n{more}{length}host: {host}\r\n";

const V4: &str = "/v4/default/registry";

/// A service with every field of the library, most of them `null`.
const SERVICE: &str = r#"{"service":{"serviceId":null,"environment":null,"appId":"shop","serviceName":"orders","alias":null,"version":"1.0.0","description":null,"level":null,"schemas":["com.shop.Orders"],"paths":[],"status":"UP","timestamp":null,"framework":{"name":"ServiceComb","version":"3.3.0"},"registerBy":null,"properties":{"allowCrossApp":"false"},"instances":null,"modTimestamp":null}}"#;

/// An instance with times in milliseconds and an id that the client has chosen.
const INSTANCE: &str = r#"{"instance":{"instanceId":"0b7a44ae-3a5f-4d27-9d8e-1f3c5b2a6d70","serviceId":null,"version":null,"hostName":"host-1","endpoints":["rest://10.0.0.1:8080?sslEnabled=false"],"status":"UP","properties":{},"healthCheck":{"mode":"push","port":0,"interval":15,"times":3,"url":null},"dataCenterInfo":null,"timestamp":"1763881234567","modTimestamp":"1763881234567"}}"#;
const INSTANCE_ID: &str = "0b7a44ae-3a5f-4d27-9d8e-1f3c5b2a6d70";

/// The library takes a find's revision from the header with exactly this name.
#[track_caller]
fn revision(response: &Response) -> String {
    let value = response.joined_header("X-Resource-Revision");
    value.unwrap_or_else(|| panic!("no X-Resource-Revision among {:?}", response.headers))
}

/// An unknown word fails the library's parser for the whole document.
#[track_caller]
fn assert_known_words(instance: &Value) {
    let status = instance["status"].as_str().unwrap();
    assert!(["STARTING", "TESTING", "UP", "OUTOFSERVICE", "DOWN"].contains(&status), "{instance}");
    assert!(["push", "pull"].contains(&instance["healthCheck"]["mode"].as_str().unwrap()), "{instance}");
}

#[test]
fn a_chassis_starts_with_all_its_nulls_and_starts_again() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, LIBRARY);

    // First the client asks for a token. 404 means that the server uses no accounts.
    let login = client.call("POST", "/v4/token", r#"{"name":"root","password":"x"}"#);
    assert_eq!(login.status, 404, "{}", login.text());

    // First start. The environment is a parameter without a value.
    let existence =
        format!("{V4}/existence?type=microservice&appId=shop&serviceName=orders&version=1.0.0&env");
    assert_ne!(client.call("GET", &existence, "").status, 200);
    let service = member(&client.ok("POST", &format!("{V4}/microservices"), SERVICE).json(), "serviceId");
    let schema = format!("{V4}/microservices/{service}/schemas/com.shop.Orders");
    let summary = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    client.done("PUT", &schema, &json!({"schema": "---\nswagger: '2.0'\n", "summary": summary}).to_string());
    let instances = format!("{V4}/microservices/{service}/instances");
    assert_eq!(client.ok("POST", &instances, INSTANCE).json(), json!({"instanceId": INSTANCE_ID}));
    let heartbeat = format!("{instances}/{INSTANCE_ID}/heartbeat");
    client.done("PUT", &heartbeat, "");
    let bare = client.send("PUT", &heartbeat, "", "", Empty::NoLength);
    assert_eq!((bare.status, bare.body.as_slice()), (200, b"".as_slice()));

    // Discovery with itself as the consumer. The first revision is empty, and the next one that of the last answer.
    let consumer = format!("X-ConsumerId: {service}\r\n");
    let find = |rev: &str| format!("{V4}/instances?appId=shop&serviceName=orders&version=0%2B&rev={rev}");
    let found = client.send("GET", &find(""), &consumer, "", Empty::NoLength);
    assert_eq!(found.status, 200);
    assert_no_null(&found);
    let instance = found.json()["instances"][0].clone();
    assert_known_words(&instance);
    assert_eq!(instance["version"], "1.0.0");
    let seconds = member(&instance, "timestamp").parse::<u64>().unwrap();
    assert!(seconds < 100_000_000_000, "the time is the server's, in seconds: {seconds}");
    let rev = revision(&found);
    let same = client.send("GET", &find(&rev), &consumer, "", Empty::NoLength);
    assert_eq!((same.status, same.body.as_slice(), revision(&same)), (304, b"".as_slice(), rev));
    let known = client.ok("GET", &format!("{V4}/microservices/{service}"), "");
    assert_no_null(&known);
    assert_eq!(known.json()["service"]["schemas"], json!(["com.shop.Orders"]));

    // A find of the registry itself, from any app.
    let registry = format!("{V4}/instances?appId=default&serviceName=SERVICECENTER&version=0%2B&rev=");
    let registry = client.send("GET", &registry, &consumer, "", Empty::NoLength);
    assert_eq!(registry.status, 200);
    let endpoint = registry.json()["instances"][0]["endpoints"][0].clone();
    assert_eq!(endpoint, format!("rest://{}", daemon.address()));

    // Second start: the service exists. The client sends its properties and framework, and compares its schemas.
    assert_eq!(client.ok("GET", &existence, "").json()["serviceId"], service);
    let stored = client.ok("GET", &format!("{V4}/microservices/{service}"), "").json()["service"].clone();
    assert!(stored["properties"].is_object() && stored["schemas"].is_array(), "{stored}");
    let properties = r#"{"properties":{"allowCrossApp":"false","new":"1"},"framework":{"name":"ServiceComb","version":"3.3.1"}}"#;
    client.done("PUT", &format!("{V4}/microservices/{service}/properties"), properties);
    assert_eq!(client.ok("POST", &instances, INSTANCE).json(), json!({"instanceId": INSTANCE_ID}));
    let list = client.ok("GET", &instances, "");
    assert_eq!(ids(&list.json()["instances"], "instanceId"), [INSTANCE_ID]);

    // The client probes an address that failed, and sets a status. If its instance is unknown, it registers again.
    assert_eq!(client.ok("GET", &format!("{V4}/health/readiness"), "").body, b"");
    client.done("PUT", &format!("{instances}/{INSTANCE_ID}/status?value=DOWN"), "");
    assert_ne!(client.call("PUT", &format!("{instances}/none/heartbeat"), "").status, 200);
    let with_schemas = client.ok("GET", &format!("{V4}/microservices/{service}/schemas?withSchema=1"), "");
    assert_eq!(with_schemas.json()["schemas"][0]["summary"], summary);
    client.done("DELETE", &format!("{instances}/{INSTANCE_ID}"), "");
}

/// The older client starts only if the schemas that a service declares are listed before their contents are uploaded.
#[test]
fn an_older_chassis_starts_in_both_versions_of_the_api() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    for (base, name) in [(V4, "in-v4"), ("/registry/v3", "in-v3")] {
        let mut client = Speaker::new(&daemon, VERTX);
        let version = if base == V4 { format!("{V4}/version") } else { "/version".to_owned() };
        assert!(!member(&client.ok("GET", &version, "").json(), "version").is_empty());

        let existence =
            format!("{base}/existence?type=microservice&appId=shop&serviceName={name}&version=1.0.0.0&env=");
        let absent = client.call("GET", &existence, "");
        // The client reads the code as a text, and would fail on a number.
        assert_eq!((absent.status, absent.json()["errorCode"].as_str()), (400, Some("400012")));
        let body = format!(
            r#"{{"service":{{"serviceId":null,"framework":{{"name":"servicecomb-java-chassis","version":"ServiceComb:2.9.3"}},"registerBy":"SDK","environment":"","appId":"shop","serviceName":"{name}","alias":null,"version":"1.0.0.0","description":null,"level":"FRONT","schemas":["one","two"],"paths":[],"status":"UP","properties":{{}},"instances":[]}}}}"#
        );
        let service = member(&client.ok("POST", &format!("{base}/microservices"), &body).json(), "serviceId");
        let at = format!("{base}/microservices/{service}");

        let declared = client.ok("GET", &format!("{at}/schemas?global=true"), "");
        assert_eq!(ids(&declared.json()["schemas"], "schemaId"), ["one", "two"]);
        for schema in ["one", "two"] {
            let body = format!(
                r#"{{"summary":"0a1b","schema":"---\nswagger: '2.0'\n","schemaId":"{schema}","serviceId":"{service}"}}"#
            );
            client.done("PUT", &format!("{at}/schemas/{schema}"), &body);
        }
        let uploaded = client.ok("GET", &format!("{at}/schemas?global=true"), "").json()["schemas"].clone();
        assert!(uploaded.as_array().unwrap().iter().all(|schema| schema["summary"] == "0a1b"), "{uploaded}");

        let body = format!(
            r#"{{"instance":{{"instanceId":null,"serviceId":"{service}","endpoints":["rest://10.0.0.1:8080"],"hostName":"host-1","status":"UP","properties":{{}},"healthCheck":{{"mode":"push","port":0,"interval":30,"times":3}},"dataCenterInfo":null,"timestamp":null}}}}"#
        );
        let instance = member(&client.ok("POST", &format!("{at}/instances"), &body).json(), "instanceId");
        // The client reads at once what it has written, as a consumer of itself.
        let own = format!("X-ConsumerId: {service}\r\n");
        let read_back = format!("{at}/instances/{instance}?global=true");
        let read_back = client.send("GET", &read_back, &own, "", Empty::NoLength);
        assert_eq!(read_back.status, 200);
        assert_known_words(&read_back.json()["instance"]);
        client.done("PUT", &format!("{at}/instances/{instance}/heartbeat"), "");

        let find = |rest: &str| {
            format!("{base}/instances?appId=shop&serviceName={name}&global=true&version=0.0.0.0%2B{rest}")
        };
        let found = client.send("GET", &find(""), &own, "", Empty::NoLength);
        assert_eq!(ids(&found.json()["instances"], "instanceId"), [instance.as_str()]);
        let rev = revision(&found);
        let same = client.send("GET", &find(&format!("&env=&rev={rev}")), &own, "", Empty::NoLength);
        assert_eq!((same.status, revision(&same)), (304, rev));

        // Second start: the client reads the service, writes its properties, and reads it again.
        assert_eq!(client.ok("GET", &existence, "").json()["serviceId"], service);
        client.done("PUT", &format!("{at}/properties"), r#"{"properties":{"new":"1"}}"#);
        assert_eq!(client.ok("GET", &at, "").json()["service"]["properties"], json!({"new": "1"}));
        client.done("DELETE", &format!("{at}/instances/{instance}"), "");
    }
}
