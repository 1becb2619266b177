//! The registry's API as typed calls, for tests of faults rather than of the API's form.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::eventually::{GENEROUS, eventually, try_eventually};
use super::http::{Client, HttpError, Request, Response};
use super::ws::{WebSocket, WsError};

/// Why a call has no result. The server may have carried the call out anyway, unless it has refused it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer, so the outcome is unknown.
    #[error("no answer: {0}")]
    NoAnswer(#[from] HttpError),
    /// An answer other than 200.
    #[error("status {status}: {body}")]
    Refused {
        /// The status.
        status: u16,
        /// The member `errorCode`, or empty.
        code: String,
        /// The body.
        body: String,
    },
    /// An answer 200 with an unexpected body.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

/// An instance to register.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id; `None` lets the server choose.
    pub id: Option<String>,
    /// Its endpoint.
    pub endpoint: String,
    /// Seconds between its heartbeats.
    pub interval: u32,
    /// Heartbeats that it may miss. Its lease lasts `interval × (times + 1)` seconds.
    pub times: u32,
}

impl Instance {
    /// An instance with this id, a lease of two minutes, and an endpoint that nobody uses.
    pub fn named(id: &str) -> Self {
        Self { id: Some(id.to_owned()), endpoint: "rest://127.0.0.1:1".to_owned(), interval: 30, times: 3 }
    }

    /// Sets the lease to `interval × (times + 1)` seconds.
    pub fn with_health_check(mut self, interval: u32, times: u32) -> Self {
        (self.interval, self.times) = (interval, times);
        self
    }

    fn document(&self) -> Value {
        let check = json!({"mode": "push", "interval": self.interval, "times": self.times});
        let mut instance = json!({"hostName": "test", "endpoints": [self.endpoint], "healthCheck": check});
        if let Some(id) = &self.id {
            instance["instanceId"] = json!(id);
        }
        json!({ "instance": instance })
    }
}

/// The registry of one project, in the default domain and app.
#[derive(Clone, Debug)]
pub struct Registry {
    client: Client,
    base: String,
    patience: Patience,
}

/// Whether a call is made again that the server refuses because its store is late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    Once,
    Again,
}

impl Registry {
    /// The project `project` on the server of this client.
    pub fn new(client: Client, project: &str) -> Self {
        Self { client, base: format!("/v4/{project}/registry"), patience: Patience::Once }
    }

    /// Makes its calls as [`patiently`] does. A deletion that finds nothing after a refusal is done.
    pub fn patient(mut self) -> Self {
        self.patience = Patience::Again;
        self
    }

    /// The target of a websocket for the events of `consumer`.
    pub fn watch_target(&self, consumer: &str) -> String {
        format!("{}/microservices/{consumer}/watcher", self.base)
    }

    /// Creates a service unless it exists; its id.
    pub fn create_service(&self, name: &str, version: &str) -> Result<String, CallError> {
        let service = json!({"service": {"serviceName": name, "version": version}});
        let answer = self.call("POST", "/microservices", &[], Some(&service))?;
        text_member(&answer, "serviceId")
    }

    /// Creates a service with an id that the caller chooses; its id.
    pub fn create_service_as(&self, id: &str, name: &str, version: &str) -> Result<String, CallError> {
        let service = json!({"service": {"serviceId": id, "serviceName": name, "version": version}});
        let answer = self.call("POST", "/microservices", &[], Some(&service))?;
        text_member(&answer, "serviceId")
    }

    /// The ids of all services of the project, sorted.
    pub fn services(&self, freshness: Freshness) -> Result<Vec<String>, CallError> {
        let answer = self.call("GET", &format!("/microservices{}", freshness.query('?')), &[], None)?;
        members(&answer, "services", "serviceId")
    }

    /// Deletes a service and its instances.
    pub fn delete_service(&self, service: &str) -> Result<(), CallError> {
        self.call("DELETE", &format!("/microservices/{service}?force=1"), &[], None).map(drop)
    }

    /// Registers an instance; its id.
    pub fn register(&self, service: &str, instance: &Instance) -> Result<String, CallError> {
        let target = format!("/microservices/{service}/instances");
        let answer = self.call("POST", &target, &[], Some(&instance.document()))?;
        text_member(&answer, "instanceId")
    }

    /// Sends a heartbeat.
    pub fn heartbeat(&self, service: &str, instance: &str) -> Result<(), CallError> {
        self.call("PUT", &format!("/microservices/{service}/instances/{instance}/heartbeat"), &[], None)
            .map(drop)
    }

    /// Sends one request with a heartbeat for each of these instances.
    pub fn heartbeat_all(&self, service: &str, instances: &[String]) -> Result<(), CallError> {
        let beat = |instance| json!({"serviceId": service, "instanceId": instance});
        let beats: Vec<Value> = instances.iter().map(beat).collect();
        self.call("PUT", "/heartbeats", &[], Some(&json!({ "instances": beats }))).map(drop)
    }

    /// Unregisters an instance.
    pub fn unregister(&self, service: &str, instance: &str) -> Result<(), CallError> {
        self.call("DELETE", &format!("/microservices/{service}/instances/{instance}"), &[], None).map(drop)
    }

    /// Sets an instance's status.
    pub fn set_status(&self, service: &str, instance: &str, status: &str) -> Result<(), CallError> {
        let target = format!("/microservices/{service}/instances/{instance}/status?value={status}");
        self.call("PUT", &target, &[], None).map(drop)
    }

    /// The ids and statuses of a service's instances, read from the store.
    pub fn statuses(&self, service: &str) -> Result<BTreeMap<String, String>, CallError> {
        let target = format!("/microservices/{service}/instances{}", Freshness::Fresh.query('?'));
        let answer = self.call("GET", &target, &[("X-ConsumerId", service)], None)?;
        let instances = answer["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
        instances
            .iter()
            .map(|instance| Ok((text_member(instance, "instanceId")?, text_member(instance, "status")?)))
            .collect()
    }

    /// The ids of a service's instances, sorted.
    pub fn list(&self, service: &str, freshness: Freshness) -> Result<Vec<String>, CallError> {
        let target = format!("/microservices/{service}/instances{}", freshness.query('?'));
        instance_ids(&self.call("GET", &target, &[("X-ConsumerId", service)], None)?)
    }

    /// The ids of the instances of all versions of the service with this name, sorted. With a consumer, the find records its dependency, so
    /// that it gets the provider's events.
    pub fn find(
        &self,
        consumer: Option<&str>,
        name: &str,
        freshness: Freshness,
    ) -> Result<Vec<String>, CallError> {
        let target = format!("/instances?appId=default&serviceName={name}{}", freshness.query('&'));
        let consumer: Vec<(&str, &str)> = consumer.iter().map(|&id| ("X-ConsumerId", id)).collect();
        instance_ids(&self.call("GET", &target, &consumer, None)?)
    }

    /// The ids of the services that a consumer depends on, sorted.
    pub fn providers(&self, consumer: &str) -> Result<Vec<String>, CallError> {
        let target = format!("/microservices/{consumer}/providers{}", Freshness::Fresh.query('?'));
        members(&self.call("GET", &target, &[], None)?, "providers", "serviceId")
    }

    /// Makes a consumer depend on the service with this name and id: repeats a find until the dependency is recorded.
    #[track_caller]
    pub fn depend(&self, consumer: &str, name: &str, provider: &str) {
        eventually(GENEROUS, || {
            self.find(Some(consumer), name, Freshness::Fresh)?;
            let providers = self.providers(consumer)?;
            let is_recorded = providers.iter().any(|id| id == provider);
            if is_recorded { Ok(()) } else { Err(CallError::Unexpected(format!("{providers:?}"))) }
        });
    }

    fn call(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let mut request = Request::new(method, &format!("{}{target}", self.base));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut attempts = 0;
        let mut send = || {
            attempts += 1;
            self.client.send(&request)
        };
        let response = match self.patience {
            Patience::Once => send()?,
            Patience::Again => patiently(send)?,
        };
        if method == "DELETE" && attempts > 1 && ["400012", "400017"].contains(&code(&response).as_str()) {
            return Ok(Value::Null);
        }
        if response.status != 200 {
            return Err(refused(&response));
        }
        if response.body.is_empty() {
            return Ok(Value::Null);
        }
        let text = response.text();
        serde_json::from_str(&text).map_err(|error| CallError::Unexpected(format!("{error}: {text}")))
    }
}

/// The data of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The memory of the node.
    Cached,
    /// The state of the store when the request came.
    Fresh,
}

impl Freshness {
    fn query(self, joint: char) -> String {
        match self {
            Self::Cached => String::new(),
            Self::Fresh => format!("{joint}noCache=1"),
        }
    }
}

/// Sends a request again while the server refuses it because its store is late (500011), as owners do: on a busy machine an etcd is late
/// now and then. The store may have carried out a refused request.
pub fn patiently(mut send: impl FnMut() -> Result<Response, HttpError>) -> Result<Response, HttpError> {
    let mut last = None;
    let is_answered = || {
        let answer = last.insert(send());
        !answer.as_ref().is_ok_and(|response| code(response) == "500011")
    };
    // If the store stays away, the caller gets the last refusal.
    let _ = try_eventually(GENEROUS, is_answered);
    last.expect("at least one attempt")
}

/// The error code of an answer, or its status if it has none.
pub fn code(response: &Response) -> String {
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    body["errorCode"].as_str().map_or_else(|| response.status.to_string(), str::to_owned)
}

/// The next event of a watch: the action, and the id of the instance.
pub fn next_event(watch: &mut WebSocket, limit: Duration) -> Result<(String, String), WsError> {
    let event = watch.expect_json(limit)?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok((word(&event["action"]), word(&event["instance"]["instanceId"])))
}

fn refused(response: &Response) -> CallError {
    let body = response.text();
    let code = serde_json::from_str::<Value>(&body)
        .ok()
        .and_then(|body| body["errorCode"].as_str().map(str::to_owned));
    CallError::Refused { status: response.status, code: code.unwrap_or_default(), body }
}

fn text_member(answer: &Value, name: &str) -> Result<String, CallError> {
    let member = answer[name].as_str().map(str::to_owned);
    member.ok_or_else(|| CallError::Unexpected(format!("no text member {name} in {answer}")))
}

fn instance_ids(answer: &Value) -> Result<Vec<String>, CallError> {
    members(answer, "instances", "instanceId")
}

/// The text member `id` of each element of the list `list`, sorted. A missing list counts as empty.
fn members(answer: &Value, list: &str, id: &str) -> Result<Vec<String>, CallError> {
    let Some(listed) = answer[list].as_array() else { return Ok(Vec::new()) };
    let mut ids = listed.iter().map(|one| text_member(one, id)).collect::<Result<Vec<String>, _>>()?;
    ids.sort();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// The request of `call`, and its result for an answer. With an empty status there is no answer.
    fn outcome<T>(
        status: &'static str,
        body: &'static str,
        call: impl FnOnce(Registry) -> Result<T, CallError>,
    ) -> (String, Result<T, CallError>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Registry::new(Client::new(listener.local_addr().unwrap()), "p");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = vec![0; 65536];
            let count = stream.read(&mut buffer).unwrap();
            if !status.is_empty() {
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
            String::from_utf8_lossy(&buffer[..count]).into_owned()
        });
        let result = call(registry);
        (server.join().unwrap(), result)
    }

    #[test]
    fn calls_send_what_the_api_wants() {
        let (sent, id) = outcome("200 OK", "{\"serviceId\":\"s\"}", |r| r.create_service("a", "1.0.0"));
        assert!(sent.starts_with("POST /v4/p/registry/microservices HTTP"), "{sent}");
        assert!(sent.ends_with(r#"{"service":{"serviceName":"a","version":"1.0.0"}}"#), "{sent}");
        assert_eq!(id.unwrap(), "s");

        let instance = Instance::named("i").with_health_check(1, 0);
        let (sent, id) = outcome("200 OK", "{\"instanceId\":\"i\"}", |r| r.register("s", &instance));
        assert!(
            sent.contains(r#""instanceId":"i""#)
                && sent.contains(r#"{"interval":1,"mode":"push","times":0}"#),
            "{sent}"
        );
        assert_eq!(id.unwrap(), "i");

        for (begin, call) in [
            (
                "PUT /v4/p/registry/microservices/s/instances/i/heartbeat HTTP",
                Registry::heartbeat as fn(&_, &_, &_) -> _,
            ),
            ("DELETE /v4/p/registry/microservices/s/instances/i HTTP", Registry::unregister),
        ] {
            let (sent, done) = outcome("200 OK", "", |r| call(&r, "s", "i"));
            assert!(sent.starts_with(begin) && done.is_ok(), "{sent}");
        }
        let (sent, _) = outcome("200 OK", "", |r| r.delete_service("s"));
        assert!(sent.starts_with("DELETE /v4/p/registry/microservices/s?force=1 HTTP"), "{sent}");
    }

    #[test]
    fn finds_and_lists_are_sorted_ids() {
        let two = "{\"instances\":[{\"instanceId\":\"b\"},{\"instanceId\":\"a\",\"x\":1}]}";
        let (sent, ids) = outcome("200 OK", two, |r| r.find(Some("c"), "n", Freshness::Fresh));
        assert!(
            sent.starts_with("GET /v4/p/registry/instances?appId=default&serviceName=n&noCache=1 HTTP"),
            "{sent}"
        );
        assert!(sent.contains("X-ConsumerId: c\r\n"), "{sent}");
        assert_eq!(ids.unwrap(), ["a", "b"]);
        let (sent, ids) = outcome("200 OK", "{}", |r| r.list("s", Freshness::Cached));
        assert!(sent.starts_with("GET /v4/p/registry/microservices/s/instances HTTP"), "{sent}");
        assert!(ids.unwrap().is_empty());
        let registry = Registry::new(Client::new("127.0.0.1:1".parse().unwrap()), "p");
        assert_eq!(registry.watch_target("c"), "/v4/p/registry/microservices/c/watcher");
    }

    #[test]
    fn a_patient_registry_calls_again_while_the_store_is_late() {
        let late = ("500 Internal Server Error", "{\"errorCode\":\"500011\"}");
        let unknown = ("400 Bad Request", "{\"errorCode\":\"400017\"}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Registry::new(Client::new(listener.local_addr().unwrap()), "p");
        let server = thread::spawn(move || {
            for (status, body) in
                [late, late, ("200 OK", "{\"instanceId\":\"i\"}"), late, unknown, unknown, late]
            {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut [0; 65536]).unwrap() > 0);
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        let patient = registry.clone().patient();
        assert_eq!(patient.register("s", &Instance::named("i")).unwrap(), "i");
        patient.unregister("s", "i").unwrap();
        assert!(patient.unregister("s", "i").is_err(), "it was not there before");
        assert!(registry.unregister("s", "i").is_err());
        server.join().unwrap();
    }

    #[test]
    fn a_refusal_is_told_from_silence() {
        let refusal = "{\"errorCode\":\"400017\"}";
        let (_, refused) = outcome("400 Bad Request", refusal, |r| r.heartbeat("s", "i"));
        assert!(
            matches!(&refused, Err(CallError::Refused { status: 400, code, .. }) if code == "400017"),
            "{refused:?}"
        );
        let (_, silent) = outcome("", "", |r| r.heartbeat("s", "i"));
        assert!(matches!(silent, Err(CallError::NoAnswer(_))), "{silent:?}");
        let (_, odd) = outcome("200 OK", "{}", |r| r.create_service("a", "1"));
        assert!(matches!(odd, Err(CallError::Unexpected(_))), "{odd:?}");
    }
}
