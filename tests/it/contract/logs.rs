//! The access log, and lines of the log with the id of their request, in files as an operator reads them.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Request, Response};
use crate::support::registry::{Instance, Registry};

const BASE: &str = "/v4/default/registry";

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn send(daemon: &Daemon, request: Request) -> Response {
    daemon.client().send(&request).unwrap()
}

/// The fields of a line: address, time, request line, status, length, milliseconds.
fn fields(line: &str) -> (String, String, String, u16, i64, u64) {
    let (before, rest) = line.split_once(" \"").unwrap_or_else(|| panic!("{line:?}"));
    let (request, after) = rest.rsplit_once("\" ").unwrap_or_else(|| panic!("{line:?}"));
    let (address, time) = before.split_once(' ').unwrap();
    let numbers: Vec<&str> = after.split(' ').collect();
    let [status, length, millis] = numbers[..] else { panic!("{line:?}") };
    let parsed = (status.parse().unwrap(), length.parse().unwrap(), millis.parse().unwrap());
    (address.to_owned(), time.to_owned(), request.to_owned(), parsed.0, parsed.1, parsed.2)
}

/// Each request but a heartbeat is one line in the contract's format, also a hostile one.
#[test]
fn each_request_is_a_line_of_the_access_log() {
    let daemon = Daemon::start(Settings::default().conf("enable_access_log", "true")).unwrap();
    let file = daemon.folder().join("access.log");
    let registry = Registry::new(daemon.client(), "default");
    let service = registry.create_service("logged", "1.0.0").unwrap();
    let instance = registry.register(&service, &Instance::named("i1")).unwrap();
    registry.heartbeat(&service, &instance).unwrap();
    let beats = json!({ "instances": [{ "serviceId": service, "instanceId": instance }] });
    assert_eq!(daemon.client().put(&format!("{BASE}/heartbeats"), &beats).unwrap().status, 200);
    let v3 = format!("/registry/v3/microservices/{service}/instances/{instance}/heartbeat");
    assert_eq!(send(&daemon, Request::new("PUT", &v3)).status, 200);
    let unknown = format!("{BASE}/microservices/{service}/instances/unknown/heartbeat");
    assert_eq!(send(&daemon, Request::new("PUT", &unknown)).status, 400);

    let mut connection = daemon.client().connect().unwrap();
    connection.send_bytes(b"GET /no\"pe?a=%0d%0a' HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(connection.read_response("GET").unwrap().status, 404);
    let chunked = "POST /v4/default/registry/existence HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    connection.send_bytes(chunked.as_bytes()).unwrap();
    assert_eq!(connection.read_response("POST").unwrap().status, 405);

    let text = eventually(GENEROUS, || {
        let text = read(&file);
        if text.contains("existence") { Ok(text) } else { Err("the last request has no line") }
    });
    assert!(!text.contains("heartbeat"), "{text}");
    let lines: Vec<_> = text.lines().map(fields).collect();
    for (address, time, ..) in &lines {
        assert_eq!(address, "127.0.0.1");
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    }
    let find = |begin: &str| {
        lines.iter().find(|line| line.2.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {text}"))
    };
    let created = find("POST /v4/default/registry/microservices HTTP/1.1");
    assert!(created.3 == 200 && created.4 > 10, "{created:?}");
    let hostile = find("GET /no%22pe?a=%0d%0a' HTTP/1.1");
    assert_eq!((hostile.3, hostile.4), (404, 0));
    assert_eq!(
        (find("POST /v4/default/registry/existence").3, find("POST /v4/default/registry/existence").4),
        (405, -1)
    );
}

/// The access log is off unless it is turned on.
#[test]
fn there_is_no_access_log_by_default() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    assert_eq!(daemon.client().get("/version").unwrap().status, 200);
    assert!(!daemon.folder().join("access.log").exists());
}

/// Injected: more lines than one file holds; then SIGHUP after the file was renamed.
#[test]
fn the_access_log_rotates_and_is_opened_again() {
    let settings = Settings::default()
        .yaml("log.accessEnable", json!(true))
        .yaml("log.rotateSize", json!(1))
        .yaml("log.backupCount", json!(2))
        .environment("SC_ACCESS_LOG_FILE", "./logs/requests.log");
    let mut daemon = Daemon::start(settings).unwrap();
    let file = daemon.folder().join("logs/requests.log");
    let long = format!("/nope?{}", "x".repeat(1990));
    let mut connection = daemon.client().connect().unwrap();
    // 700 lines of about 2,050 bytes are more than 1 MB.
    for _ in 0..700 {
        assert_eq!(connection.exchange(&Request::new("GET", &long)).unwrap().status, 404);
    }
    let rotated = daemon.folder().join("logs/requests.log.1");
    // The new file comes after the old one has its other name.
    eventually(GENEROUS, || rotated.exists() && file.exists());
    let whole = |path: &Path| read(path).lines().all(|line| fields(line).3 > 0);
    assert!(whole(&rotated) && fs::metadata(&rotated).unwrap().len() <= 1 << 20);

    let moved = daemon.folder().join("logs/moved.log");
    fs::rename(&file, &moved).unwrap();
    daemon.process().signal(Signal::HUP);
    eventually(GENEROUS, || file.exists());
    assert_eq!(daemon.client().get("/after-the-move").unwrap().status, 404);
    eventually(GENEROUS, || read(&file).contains("GET /after-the-move HTTP/1.1"));
    assert!(!read(&moved).contains("after-the-move"));
}

/// In JSON each line is an object. Lines that a request causes have its id, in the handler and in the actor that works for it.
#[test]
fn lines_of_a_request_have_its_id() {
    let settings = Settings::default()
        .conf("log_format", "json")
        .conf("loglevel", "DEBUG")
        .conf("enable_access_log", "true")
        .yaml("rbac.enable", json!(false));
    let daemon = Daemon::start(settings).unwrap();
    let target = format!("{BASE}/microservices");
    let hostile = "it's\"; rm";
    for id in ["log-1", hostile] {
        let body = json!({ "service": { "serviceName": "logged", "version": "1.0.0" } });
        let created = send(&daemon, Request::new("POST", &target).header("X-Request-Id", id).json(&body));
        assert_eq!(created.status, 200, "{created:?}");
        assert_eq!(created.header("X-Request-Id") == Some(id), id != hostile);
    }
    let file = daemon.folder().join("access.log");
    eventually(GENEROUS, || read(&file).lines().filter(|line| line.contains("POST")).count() == 2);
    let lines: Vec<Value> = read(&file).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let posted: Vec<&Value> = lines.iter().filter(|line| line["method"] == "POST").collect();
    assert_eq!((posted[0]["requestId"].as_str(), posted[0]["status"].as_u64()), (Some("log-1"), Some(200)));
    assert_eq!(posted[1]["requestId"].as_str().map(str::len), Some(26));
    assert!(!read(&file).contains("rm"));
    assert!(!read(&daemon.folder().join("output.log")).contains("; rm"));
}

/// The detail of an answer with 500 or more is in the log, with the id by which the client knows the answer. A client that causes many
/// such answers does not fill the log.
#[test]
fn a_failure_of_the_server_is_a_line_of_the_log() {
    const REQUESTS: usize = 500;
    let daemon = Daemon::start(Settings::default()).unwrap();
    let log = || read(&daemon.folder().join("output.log"));
    let mut connection = daemon.client().connect().unwrap();
    for number in 0..REQUESTS {
        let request = Request::new("GET", "/v1/syncer/health?a=secret")
            .header("X-Request-Id", &format!("failed-{number}"));
        assert_eq!(connection.exchange(&request).unwrap().status, 500);
    }
    let line = "WARN service_center::http::server::response: answered 500003 to GET /v1/syncer/health: Internal server error: sync \
                config is empty: this server has no syncer [request failed-0]\n";
    let text = eventually(GENEROUS, || if log().contains(line) { Ok(log()) } else { Err(log()) });
    let lines = text.matches("answered 500003").count();
    assert!(lines < REQUESTS / 2, "{lines} lines");
    assert!(!text.contains("secret"), "{text}");
}
