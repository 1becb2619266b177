//! Plug-ins of other frameworks in Go and Rust, and the Terraform provider.

use serde_json::json;

use super::go::{GO, says_not_exist};
use super::{Empty, Speaker, member};
use crate::contract::cases::ids;
use crate::support::daemon::{Daemon, Settings};
use crate::support::ws::{WebSocket, WsError};

const V4: &str = "/v4/default/registry";
const NOBODY: &str = "X-Consumerid: \r\n";

/// Kratos sends ids of its own, no version in a find, an empty consumer, and one revision for all services.
#[test]
fn kratos() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, GO);
    let mut id = String::new();
    for name in ["helloworld", "other"] {
        let body = format!(
            r#"{{"service":{{"appId":"default","serviceName":"{name}","version":"v1.0.0","status":"UP","framework":{{"name":"kratos","version":"v2"}}}}}}"#
        );
        // A version with a letter is refused as the original refuses it.
        assert_eq!(client.call("POST", &format!("{V4}/microservices"), &body).json()["errorCode"], "400001");
        let body = body.replace("v1.0.0", "1.0.0");
        for _ in 0..2 {
            // The client cannot handle "exists already", so the answer must be 200.
            id = member(&client.ok("POST", &format!("{V4}/microservices"), &body).json(), "serviceId");
        }
        let uuid = format!("5f0a9c1e-7c1d-4f53-9d0f-{name:0>12.12}");
        let body = format!(
            r#"{{"instance":{{"instanceId":"{uuid}","serviceId":"{id}","endpoints":["grpc://10.0.0.1:9000?isSecure=false"],"hostName":"{uuid}","status":"UP","properties":{{"appId":"default","environment":""}}}}}}"#
        );
        let at = format!("{V4}/microservices/{id}/instances");
        assert_eq!(client.ok("POST", &at, &body).json()["instanceId"], uuid.as_str());
        client.done("PUT", &format!("{at}/{uuid}/heartbeat"), "");
    }
    let find = |name: &str, rev: &str| format!("{V4}/instances?appId=default&rev={rev}&serviceName={name}");
    let mut revision = "0".to_owned();
    for name in ["helloworld", "other", "helloworld"] {
        // The client sends the revision of its last answer, whatever the service. The revision of another service must not lead to a 304.
        let response = client.send("GET", &find(name, &revision), NOBODY, "", Empty::NoLength);
        assert_eq!(response.status, 200, "{name}");
        assert_eq!(
            response.json()["instances"][0]["endpoints"],
            json!(["grpc://10.0.0.1:9000?isSecure=false"])
        );
        revision = response.joined_header("X-Resource-Revision").unwrap();
    }
    assert!(says_not_exist(&client.send("GET", &find("none", &revision), NOBODY, "", Empty::NoLength)));

    // A process that only consumes has no id. It gets an error instead of a watch or a redirect.
    let target = "/v4/default/registry/microservices//watcher";
    match WebSocket::open(daemon.address(), target, &[("X-Domain-Name".to_owned(), "default".to_owned())]) {
        Err(WsError::Refused { status, .. }) => assert_eq!(status, 400),
        other => panic!("want a refusal, got {other:?}"),
    }
    let plain = client.call("GET", target, "");
    assert_eq!((plain.status, plain.header("Location")), (400, None));
    client.done("DELETE", &format!("{V4}/microservices/{id}?force=1"), "");
}

/// Kitex and Hertz use endpoints without a scheme. After the last instance is unregistered they need an empty list instead of an unknown
/// service.
#[test]
fn kitex_and_hertz() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, GO);
    let service = r#"{"service":{"appId":"DEFAULT","serviceName":"echo","version":"1.0.0","level":"BACK","status":"UP"}}"#;
    let id = member(&client.ok("POST", &format!("{V4}/microservices"), service).json(), "serviceId");
    let instances = format!("{V4}/microservices/{id}/instances");
    let instance = r#"{"instance":{"endpoints":["127.0.0.1:8888"],"hostName":"DEFAULT","status":"UP","properties":{"tag":"v"},"healthCheck":{"mode":"push","interval":5,"times":3}}}"#;
    let iid = member(&client.ok("POST", &instances, instance).json(), "instanceId");
    // The client sends no more heartbeats after one has failed.
    for _ in 0..20 {
        client.done("PUT", &format!("{instances}/{iid}/heartbeat"), "");
    }
    let find = format!("{V4}/instances?appId=DEFAULT&serviceName=echo&version=latest");
    let found = client.send("GET", &find, NOBODY, "", Empty::NoLength).json();
    assert_eq!(found["instances"][0]["endpoints"], json!(["127.0.0.1:8888"]));
    assert_eq!(found["instances"][0]["healthCheck"], json!({"mode": "push", "interval": 5, "times": 3}));

    let existence = format!("{V4}/existence?appId=DEFAULT&serviceName=echo&type=microservice&version=1.0.0");
    assert_eq!(client.ok("GET", &existence, "").json()["serviceId"], id);
    client.done("PUT", &format!("{instances}/{iid}/status?value=DOWN"), "");
    client.done("DELETE", &format!("{instances}/{iid}"), "");
    let after = client.send("GET", &find, NOBODY, "", Empty::NoLength);
    assert_eq!((after.status, after.body.as_slice()), (200, b"{}".as_slice()));
}

/// RushWind (in Rust) sends header names in lower case, an empty version, an empty consumer, and no domain on its sockets.
#[test]
fn rushwind() {
    const REQWEST: &str = "x-domain-name: default\r\ncontent-type: application/json\r\n{more}accept: */*\r\n\
        host: {host}\r\n{length}";
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, REQWEST);
    let body = r#"{"service":{"appId":"default","serviceName":"rw","version":"1.0.0","environment":"","status":"UP"}}"#;
    let id = member(&client.ok("POST", &format!("{V4}/microservices"), body).json(), "serviceId");
    let existence =
        format!("{V4}/existence?type=microservice&appId=default&serviceName=rw&version=1.0.0&env=");
    assert_eq!(member(&client.ok("GET", &existence, "").json(), "serviceId"), id);
    let instances = format!("{V4}/microservices/{id}/instances");
    let body = r#"{"instance":{"instanceId":"rw-1","hostName":"h","endpoints":["http://127.0.0.1:1"],"properties":{}}}"#;
    assert_eq!(member(&client.ok("POST", &instances, body).json(), "instanceId"), "rw-1");
    let heartbeat = format!("{instances}/rw-1/heartbeat");
    assert_eq!(client.send("PUT", &heartbeat, "", "", Empty::NoLength).status, 200);
    let find = format!("{V4}/instances?appId=default&serviceName=rw&version=&env=");
    let found = client.send("GET", &find, "x-consumerid: \r\n", "", Empty::NoLength);
    assert_eq!(ids(&found.json()["instances"], "instanceId"), ["rw-1"]);
    let mut watch =
        WebSocket::open(daemon.address(), &format!("{V4}/microservices/{id}/watcher"), &[]).unwrap();
    // The session is alive: it answers a ping.
    watch.ping(b"").unwrap();
    assert!(watch.next_frame(crate::support::eventually::GENEROUS).is_ok());
    client.done("DELETE", &format!("{instances}/rw-1"), "");
}

/// The Terraform provider takes 200 for success, and recognizes "gone" by the status, the code and the text of the message.
#[test]
fn terraform() {
    const TERRAFORM: &str = "Host: {host}\r\nUser-Agent: terraform-provider\r\n{length}Accept: application/json\r\n\
        Authorization: Bearer invalid\r\nContent-Type: application/json;charset=UTF-8\r\n\
        X-Enterprise-Project-Id: 0\r\n{more}Accept-Encoding: gzip\r\n";
    let daemon = Daemon::start(Settings::default()).unwrap();
    let mut client = Speaker::new(&daemon, TERRAFORM);
    let token = client.call("POST", "/v4/token", r#"{"name":"root","password":"x"}"#);
    assert_eq!(token.status, 404);
    let body = r#"{"service":{"serviceName":"tf","appId":"default","version":"1.0.0","environment":"","level":"BACK","description":"d"}}"#;
    let id = member(&client.ok("POST", &format!("{V4}/microservices"), body).json(), "serviceId");
    let at = format!("{V4}/microservices/{id}");
    let service = client.ok("GET", &at, "").json()["service"].clone();
    assert!(member(&service, "timestamp").bytes().all(|byte| byte.is_ascii_digit()), "{service}");
    assert_eq!((&service["status"], &service["description"]), (&json!("UP"), &json!("d")));
    let body = r#"{"instance":{"hostName":"h","endpoints":["grpc://127.0.0.1:1"],"version":"1.0.0","properties":{"a":"b"},"healthCheck":{"mode":"push","interval":30,"times":3},"dataCenterInfo":{"name":"dc","region":"r","availableZone":"z"}}}"#;
    let iid = member(&client.ok("POST", &format!("{at}/instances"), body).json(), "instanceId");
    let instance = client.ok("GET", &format!("{at}/instances/{iid}"), "").json()["instance"].clone();
    assert_eq!(instance["dataCenterInfo"], json!({"name": "dc", "region": "r", "availableZone": "z"}));
    client.done("PUT", &format!("{at}/instances/{iid}/status?value=OUTOFSERVICE"), "");
    client.done("DELETE", &format!("{at}/instances/{iid}"), "");

    let mut gone = |target: &str, code: &str| {
        let response = client.call("GET", target, "");
        let body = response.json();
        assert_eq!((response.status, body["errorCode"].as_str()), (400, Some(code)), "{body}");
        assert!(member(&body, "errorMessage").contains("not exist"), "{body}");
    };
    gone(&format!("{at}/instances/{iid}"), "400017");
    let deleted = Speaker::new(&daemon, TERRAFORM).call("DELETE", &format!("{at}?force=true"), "");
    assert!([200, 202, 204].contains(&deleted.status), "{}", deleted.text());
    gone(&at, "400012");
}
