//! The requests of real clients, byte for byte, and the parts of the answers that they use.
//!
//! Each client spells and orders headers in its own way, and some send more than the API asks for. The tests assert what the clients rely
//! on beyond the API's documents: exact header names, exact bytes in bodies, and statuses that are exactly 200.

mod go;
mod java;
mod others;
mod sockets;
mod wire;

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::http::{Client, Connection, Response};

/// A client that keeps its connection alive, as the real one does.
#[derive(Debug)]
struct Speaker {
    address: SocketAddr,
    connection: Connection,
    /// All header lines; `{host}`, `{more}` (of one request) and `{length}` (`Content-Length` and its line end, for
    /// requests that have one) are filled in.
    head: &'static str,
    length: &'static str,
}

/// Whether a request without a body has `Content-Length: 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    Length0,
    NoLength,
}

impl Speaker {
    fn new(daemon: &Daemon, head: &'static str) -> Self {
        let connection = Client::new(daemon.address()).connect().unwrap();
        // Some clients write header names in lower case.
        let length = if head.contains("content-type") { "content-length" } else { "Content-Length" };
        Self { address: daemon.address(), connection, head, length }
    }

    /// Sends a request with a body, `""` for none.
    #[track_caller]
    fn call(&mut self, method: &str, target: &str, body: &str) -> Response {
        self.send(method, target, "", body, Empty::Length0)
    }

    /// Sends a request with more header lines.
    #[track_caller]
    fn send(&mut self, method: &str, target: &str, more: &str, body: &str, empty: Empty) -> Response {
        if !self.connection.is_reusable() {
            self.connection = Client::new(self.address).connect().unwrap();
        }
        let has_length = !body.is_empty() || (matches!(method, "PUT" | "POST") && empty == Empty::Length0);
        let length = if has_length { format!("{}: {}\r\n", self.length, body.len()) } else { String::new() };
        let head = self.head.replace("{host}", &self.address.to_string());
        let head = head.replace("{more}", more).replace("{length}", &length);
        let request = format!("{method} {target} HTTP/1.1\r\n{head}\r\n{body}");
        self.connection.send_bytes(request.as_bytes()).unwrap();
        self.connection.read_response(method).unwrap()
    }

    /// A call that must be answered with exactly 200.
    #[track_caller]
    fn ok(&mut self, method: &str, target: &str, body: &str) -> Response {
        let response = self.call(method, target, body);
        assert_eq!(response.status, 200, "{method} {target}: {}", response.text());
        response
    }

    /// A call whose answer is exactly 200 and empty.
    #[track_caller]
    fn done(&mut self, method: &str, target: &str, body: &str) {
        let response = self.ok(method, target, body);
        assert_eq!(response.body, b"", "{method} {target}");
    }
}

/// A text member, which must not be empty.
#[track_caller]
fn member(document: &Value, name: &str) -> String {
    let member = document[name].as_str().unwrap_or_default().to_owned();
    assert!(!member.is_empty(), "no {name} in {document}");
    member
}

/// Asserts that no member of an answer is `null`, because many clients fail on it.
#[track_caller]
fn assert_no_null(response: &Response) {
    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(has_null),
            Value::Object(members) => members.values().any(has_null),
            _ => false,
        }
    }
    assert!(!has_null(&response.json()), "{}", response.text());
}
