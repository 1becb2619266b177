//! Bytes of answers that clients rely on: the spelling of header names, codes in bodies, encodings, and empty answers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::json;

use crate::contract::cases::Caller;
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::GENEROUS;
use crate::support::http::Request;

/// The answer to a request for `target`, byte for byte, head and body.
fn raw(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GENEROUS)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A value of a header line, its name spelled exactly so.
fn line<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The Java client compares the header name with upper and lower case, also in a 304.
#[test]
fn the_revision_is_spelled_as_clients_read_it() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let id = caller.service(json!({"serviceName": "s"}));
    let instance = caller.instance(&id, json!({"hostName": "h"}));
    caller.put(&format!("/microservices/{id}/schemas/a"), &json!({"schema": "x", "summary": "sum"}));
    let find = "/v4/default/registry/instances?appId=default&serviceName=s".to_owned();
    let list = format!("/v4/default/registry/microservices/{id}/instances?x=1");
    let one = format!("/v4/default/registry/microservices/{id}/instances/{instance}?x=1");
    for target in [find, list, one] {
        let found = raw(daemon.address(), &target);
        assert!(found.starts_with("HTTP/1.1 200 OK\r\n"), "{found}");
        let revision = line(&found, "X-Resource-Revision").unwrap_or_else(|| panic!("{found}"));
        assert_eq!(line(&found, "Content-Type"), Some("application/json; charset=UTF-8"));
        let same = raw(daemon.address(), &format!("{target}&rev={revision}"));
        assert!(same.starts_with("HTTP/1.1 304 "), "{same}");
        assert_eq!(line(&same, "X-Resource-Revision"), Some(revision), "{same}");
        assert!(same.ends_with("\r\n\r\n"), "a 304 has no body: {same}");
    }
    let schema = raw(daemon.address(), &format!("/v4/default/registry/microservices/{id}/schemas/a"));
    assert_eq!(line(&schema, "X-Schema-Summary"), Some("sum"), "{schema}");
    assert!(schema.ends_with("\r\n\r\n{\"schema\":\"x\"}"), "{schema}");
}

/// The Go client searches the body for these bytes: no blank after the colon, and a text instead of a number.
#[test]
fn codes_are_texts_without_blanks() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let base = "/v4/default/registry";
    for (target, code) in [
        (format!("{base}/instances?appId=default&serviceName=none"), "400012"),
        (format!("{base}/microservices/none"), "400012"),
        (format!("{base}/microservices/none/instances"), "400012"),
        (format!("{base}/existence?type=none"), "400001"),
    ] {
        let answer = raw(daemon.address(), &target);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(
            answer.contains(&format!("\r\n\r\n{{\"errorCode\":\"{code}\",\"errorMessage\":\"")),
            "{answer}"
        );
        assert_eq!(line(&answer, "X-Resource-Revision"), None, "{answer}");
    }
}

/// Some clients accept deflate first in their headers but cannot read it.
#[test]
fn only_gzip_is_used_and_only_if_asked_for() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let long = caller.service(json!({"serviceName": "long", "properties": {"p": "x".repeat(2000)}}));
    let short = caller.service(json!({"serviceName": "short"}));
    let client = daemon.client();
    for (accepts, packed) in [
        (Some("deflate, gzip"), true),
        (Some("gzip,deflate"), true),
        (Some("gzip"), true),
        (Some("deflate"), false),
        (Some("br"), false),
        (Some("identity"), false),
        (Some("gzip;q=0, deflate"), false),
        (None, false),
    ] {
        for (id, is_long) in [(&long, true), (&short, false)] {
            let mut connection = client.connect().unwrap();
            let request = Request::new("GET", &format!("/v4/default/registry/microservices/{id}"));
            let host = daemon.address();
            let accepts_line =
                accepts.map(|value| format!("Accept-Encoding: {value}\r\n")).unwrap_or_default();
            let head = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n{accepts_line}\r\n", request.target);
            connection.send_bytes(head.as_bytes()).unwrap();
            let response = connection.read_response("GET").unwrap();
            let encoding = response.header("Content-Encoding");
            assert_eq!(encoding, (packed && is_long).then_some("gzip"), "{accepts:?}, long: {is_long}");
            assert_eq!(response.json()["service"]["serviceId"], id.as_str());
        }
    }
}

/// Without accounts the server ignores the token of a client that sends one.
#[test]
fn tokens_are_ignored_where_there_are_no_accounts() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    for token in ["Bearer invalid", "Bearer ", "Basic eA==", "nonsense"] {
        let caller = caller.with("Authorization", token).with("X-Auth-Token", "x");
        let id = caller.service(json!({"serviceName": "s"}));
        let instance = caller.instance(&id, json!({"hostName": "h"}));
        let at = format!("/microservices/{id}/instances/{instance}");
        assert_eq!(caller.send("PUT", &format!("{at}/heartbeat"), None).status, 200, "{token}");
        assert!(caller.socket(&format!("/microservices/{id}/watcher")).is_ok(), "{token}");
        assert_eq!(caller.get("/health/readiness").status, 200, "{token}");
    }
    let login = daemon.client().post("/v4/token", &json!({"name": "root", "password": "x"})).unwrap();
    assert_eq!(login.status, 404);
}
