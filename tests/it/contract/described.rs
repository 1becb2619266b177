//! Every operation is sent requests that must fail in many ways. Each answer is as the OpenAPI document says: status, content type,
//! headers, error code and body.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::access;
use crate::support::daemon::{Daemon, Settings};
use crate::support::description::Description;
use crate::support::http::{Client, Request};

/// A request for an operation: the parameters of its path and of its query have this value.
fn request(method: &str, path: &str, operation: &Value, value: &str) -> Request {
    let parts = path.split('/').map(|part| if part.starts_with('{') { value } else { part });
    let mut target = parts.collect::<Vec<_>>().join("/");
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let query: Vec<String> = parameters
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| {
            let first = parameter["schema"]["enum"][0].as_str().unwrap_or(value);
            format!("{}={first}", parameter["name"].as_str().unwrap())
        })
        .collect();
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    Request::new(method, &target)
}

/// Requests for an operation that fail, or name what does not exist.
fn requests(method: &str, path: &str, operation: &Value) -> Vec<Request> {
    let with = |value: &str| request(method, path, operation, value);
    let body = |bytes: &str| with("x1").bytes(bytes);
    let mut plain = with("x1");
    plain.target = plain.target.split('?').next().unwrap().to_owned();
    let changed = |end: &str| Request { target: format!("{}{end}", plain.target), ..plain.clone() };
    vec![
        with("x1"),
        plain.clone(),
        with("a%20b"),
        with("%2e"),
        with("a%2Fb"),
        with("%zz"),
        with("%ff"),
        with("%00"),
        with(&"x".repeat(300)),
        with(&"x".repeat(2100)),
        changed("?a=1;"),
        changed("?a=//"),
        changed("?a=%ff"),
        body(""),
        body("null"),
        body("{}"),
        body("[]"),
        body("{\"x\":"),
        body(&format!("[{}]", "1,".repeat(200_000))),
        body("x").header("Content-Encoding", "br"),
        body("x").header("Content-Encoding", "gzip"),
        with("x1").header("X-Domain-Name", "a/b"),
        with("x1").header("X-ConsumerId", "a b"),
        with("x1").header("Origin", "https://elsewhere.example"),
        with("x1").header("Authorization", "Bearer x"),
        with("x1").header("Connection", "Upgrade").header("Upgrade", "websocket"),
        with("x1").header("X-Large", &"x".repeat(60_000)),
    ]
}

/// Sends all requests, and returns the statuses of the answers.
fn check(client: &Client, token: Option<&str>) -> BTreeSet<u16> {
    let description = Description::of(client).unwrap();
    let mut statuses = BTreeSet::new();
    for (method, path, operation) in description.operations() {
        for request in requests(&method, path, operation) {
            let request = match token {
                Some(token) if !request.has_header("Authorization") => {
                    request.header("Authorization", &format!("Bearer {token}"))
                }
                _ => request,
            };
            let response = client.send(&request).unwrap();
            statuses.insert(response.status);
            description.note(&request, &response);
        }
    }
    let differences = description.differences();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    statuses
}

#[test]
fn every_answer_of_every_operation_is_described() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let statuses = check(&daemon.client(), None);
    assert_eq!(statuses, BTreeSet::from([200, 307, 400, 403, 404, 431, 500]));
}

#[test]
fn every_answer_of_every_operation_is_described_with_accounts() {
    let daemon = access::start(access::with_accounts());
    let client = daemon.client();
    let with_token = check(&client, Some(&access::token_of("root")));
    assert_eq!(with_token, BTreeSet::from([200, 307, 400, 401, 403, 404, 431, 500]));
    let without = check(&client, None);
    assert!(without.contains(&401));
}

#[test]
fn closed_metrics_are_described() {
    let daemon = Daemon::start(Settings::default().yaml("metrics.exporter", json!("other"))).unwrap();
    let (client, request) = (daemon.client(), Request::new("GET", "/metrics"));
    let description = Description::of(&client).unwrap();
    let response = client.send(&request).unwrap();
    assert_eq!((response.status, description.problems(&request, &response)), (404, Vec::new()));
}
