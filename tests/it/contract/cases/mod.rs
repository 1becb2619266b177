//! The conformance cases that no recorded exchange shows, over HTTP and websockets.
//!
//! `tests/golden/cases.txt` lists every case and the place of its test. The comment of a test names its cases. Cases that do not disturb
//! each other share a daemon.

mod dependencies;
mod expiry;
mod find;
mod instances;
mod nodes;
mod removal;
mod schemas;
mod search;
mod services;
mod transport;
mod views;
mod watches;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::http::{Client, Request, Response};
pub(super) use crate::support::registry::code;
use crate::support::ws::{WebSocket, WsError};

/// Starts a daemon on the embedded store.
#[track_caller]
fn daemon(settings: Settings) -> Daemon {
    Daemon::start(settings).unwrap()
}

/// A client that sends each request below one path and with its own headers.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    client: Client,
    base: String,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// A caller of the project `default` without any header.
    pub(super) fn of(daemon: &Daemon) -> Self {
        Self::below(daemon, "/v4/default/registry")
    }

    /// A caller below another path.
    pub(super) fn below(daemon: &Daemon, base: &str) -> Self {
        Self { client: daemon.client(), base: base.to_owned(), headers: Vec::new() }
    }

    /// The same with one more header.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    /// The same as this consumer.
    pub(super) fn consumer(&self, id: &str) -> Self {
        self.with("X-ConsumerId", id)
    }

    #[track_caller]
    pub(super) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let mut request = Request::new(method, &format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.client.send(&request).unwrap()
    }

    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Response {
        self.send("GET", path, None)
    }

    #[track_caller]
    pub(super) fn post(&self, path: &str, body: &Value) -> Response {
        self.send("POST", path, Some(body))
    }

    #[track_caller]
    pub(super) fn put(&self, path: &str, body: &Value) -> Response {
        self.send("PUT", path, Some(body))
    }

    #[track_caller]
    pub(super) fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, None)
    }

    /// Registers a service; its id.
    #[track_caller]
    pub(super) fn service(&self, service: Value) -> String {
        let response = self.post("/microservices", &json!({ "service": service }));
        text(&response, "serviceId")
    }

    /// Registers an instance; its id.
    #[track_caller]
    pub(super) fn instance(&self, service: &str, instance: Value) -> String {
        let response =
            self.post(&format!("/microservices/{service}/instances"), &json!({ "instance": instance }));
        text(&response, "instanceId")
    }

    /// The ids of the instances that a find by name shows, sorted. An answer other than 200 fails the test.
    #[track_caller]
    pub(super) fn find(&self, query: &str) -> Vec<String> {
        let response = self.get(&format!("/instances?{query}"));
        assert_eq!(code(&response), "200", "{query}: {}", response.text());
        ids(&response.json()["instances"], "instanceId")
    }

    /// Opens a websocket.
    pub(super) fn socket(&self, path: &str) -> Result<WebSocket, WsError> {
        WebSocket::open(self.client.address(), &format!("{}{path}", self.base), &self.headers)
    }
}

/// A text member of an answer, which must be 200.
#[track_caller]
pub(super) fn text(response: &Response, member: &str) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()[member].as_str().unwrap().to_owned()
}

/// The member `id` of each element of a list, sorted. A missing list counts as empty.
#[track_caller]
pub(super) fn ids(list: &Value, id: &str) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut ids: Vec<String> = list.iter().map(|one| one[id].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}
