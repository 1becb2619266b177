//! Speaks HTTP and HTTPS to a node. One connection, which stays open between requests.
//!
//! A token goes into the header `Authorization` and nowhere else: no text that this file makes contains it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::{Method, Uri};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The largest answer that is read. The answers of a node are smaller (`server.response.maxBytes`); its dump may be large.
const MAX_ANSWER: usize = 512 << 20;
/// The largest answer to a request that failed.
const MAX_REFUSAL: usize = 64 << 10;

/// How much of an answer that is not ours is shown.
const MAX_LINE: usize = 200;

const X_DOMAIN_NAME: HeaderName = HeaderName::from_static("x-domain-name");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The address of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub is_https: bool,
    pub host: String,
    pub port: u16,
}

impl Address {
    /// Parses `http://host:port`, `https://host:port` or `host:port`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "the address '{text}' {why}; write it as http://10.12.0.1:30100 or https://sc.example.com:30100"
            )
        };
        let (is_https, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong("is neither http nor https")),
            None => (false, text),
        };
        if rest.contains('@') {
            return Err("an address cannot contain an account; use the command login".to_owned());
        }
        let uri: Uri =
            format!("http://{}", rest.trim_end_matches('/')).parse().map_err(|_| wrong("is not valid"))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("has a path"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
        if uri.port().is_none() && uri.authority().is_some_and(|authority| authority.as_str() != host) {
            return Err(wrong("has no valid port"));
        }
        // Names of hosts are compared, and case does not count in them.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = match (uri.port_u16(), text.contains("://"), is_https) {
            (Some(port), ..) => port,
            (None, false, _) => 30100,
            (None, true, true) => 443,
            (None, true, false) => 80,
        };
        Ok(Self { is_https, host, port })
    }

    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether what is sent stays on this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_https { "https" } else { "http" }, self.authority())
    }
}

/// An answer other than 2xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// The member `errorCode`; 0 if there is none.
    pub code: u32,
    /// The member `errorMessage`, or the text of an answer that is not ours.
    pub message: String,
    pub detail: String,
    /// What was asked: method and path.
    pub request: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, code, message, detail, request } = self;
        match (code, detail.is_empty()) {
            (0, _) if *status == 404 => {
                write!(
                    f,
                    "the node does not know '{request}'; it may run an older version, or have no accounts"
                )
            }
            (0, _) => {
                let colon = if message.is_empty() { "" } else { ": " };
                write!(f, "the node answers '{request}' with the status {status}{colon}{message}")
            }
            (_, true) => write!(f, "{message} ({code})"),
            (_, false) => write!(f, "{message}: {detail} ({code})"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request was not sent.
    #[error("{0}")]
    Unreachable(String),
    /// The request was sent, and the answer is missing or cannot be read.
    #[error("{0}")]
    NoAnswer(String),
    #[error("{0}")]
    Refused(Refusal),
}

/// Where and as whom a [`Client`] speaks.
pub struct Target {
    /// Tried in turn until one accepts a connection.
    pub addresses: Vec<Address>,
    pub tls: Arc<ClientConfig>,
    pub token: Option<String>,
    pub domain: String,
    /// The limit of a request, and of connecting to one address.
    pub timeout: Duration,
}

/// A request. Its body is JSON.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    /// Added to the limit, for a request that the node answers late on purpose.
    pub patience: Duration,
    /// Another domain than that of the [`Target`].
    pub domain: Option<String>,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, patience: Duration::ZERO, domain: None }
    }

    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub fn in_domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_owned());
        self
    }
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    address: Address,
}

pub struct Client {
    target: Target,
    open: Option<Open>,
}

impl Client {
    pub fn new(target: Target) -> Self {
        Self { target, open: None }
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub fn set_token(&mut self, token: Option<String>) {
        self.target.token = token;
    }

    /// The address of the open connection, otherwise the first one.
    pub fn address(&self) -> String {
        let first = self.target.addresses.first();
        self.open.as_ref().map(|open| &open.address).or(first).map(Address::to_string).unwrap_or_default()
    }

    /// Sends a request and reads the answer, which must be 2xx.
    pub async fn call(&mut self, call: &Call) -> Result<Bytes, CallError> {
        // Connecting has limits of its own, so that the next address is tried, and nothing counts as sent.
        let is_reused = self.connected().await?;
        let limit = self.target.timeout.saturating_add(call.patience);
        match timeout(limit, self.exchange(call, is_reused)).await {
            Ok(answer) => answer,
            Err(_) => {
                let text = format!("{} has not answered within {limit:?}", self.address());
                self.open = None;
                Err(CallError::NoAnswer(text))
            }
        }
    }

    async fn exchange(&mut self, call: &Call, is_reused: bool) -> Result<Bytes, CallError> {
        let response = self.send(call, None, is_reused).await?;
        let status = response.status();
        let most = if status.is_success() { MAX_ANSWER } else { MAX_REFUSAL };
        let body = self.read(response.into_body(), most).await?;
        if status.is_success() { Ok(body) } else { Err(self.refused(status.as_u16(), &body, call)) }
    }

    /// Starts a stream of server-sent events. Connecting and the head of the answer are limited, the stream is not.
    pub async fn stream(
        &mut self,
        path: &str,
        last_event_id: Option<&str>,
    ) -> Result<EventStream, CallError> {
        let call = Call::get(path);
        self.open = None;
        let is_reused = self.connected().await?;
        let limit = self.target.timeout;
        let response = timeout(limit, self.send(&call, Some(last_event_id), is_reused)).await;
        let response = response.map_err(|_| {
            CallError::NoAnswer(format!("{} has not answered within {limit:?}", self.address()))
        })??;
        let status = response.status();
        if status.is_success() {
            let address = self.address();
            // The connection serves the stream until its end.
            let sender = self.open.take();
            return Ok(EventStream {
                _sender: sender,
                body: response.into_body(),
                text: BytesMut::new(),
                address,
            });
        }
        let body = timeout(limit, self.read(response.into_body(), MAX_REFUSAL)).await;
        let body = body.map_err(|_| CallError::NoAnswer("the answer is not complete".to_owned()))??;
        Err(self.refused(status.as_u16(), &body, &call))
    }

    fn refused(&self, status: u16, body: &[u8], call: &Call) -> CallError {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (code, mut message) = (member("errorCode").parse().unwrap_or_default(), member("errorMessage"));
        if code == 0 && message.is_empty() {
            message = line_of(body);
            let open = self.open.as_ref().map(|open| &open.address);
            if let Some(address) = open.filter(|address| status == 400 && !address.is_https) {
                let https = Address { is_https: true, ..address.clone() };
                let semicolon = if message.is_empty() { "" } else { "; " };
                message =
                    format!("{message}{semicolon}if the port speaks HTTPS, write the address as {https}");
            }
        }
        let request = format!("{} {}", call.method, call.path);
        CallError::Refused(Refusal { status, code, message, detail: member("detail"), request })
    }

    /// Sends on the open connection. `stream`: ask for server-sent events, after the one with this id.
    async fn send(
        &mut self,
        call: &Call,
        stream: Option<Option<&str>>,
        mut is_reused: bool,
    ) -> Result<Response<Incoming>, CallError> {
        loop {
            let Some(open) = &mut self.open else {
                return Err(CallError::Unreachable("there is no connection".to_owned()));
            };
            let request = request(&self.target, &open.address, call, stream)?;
            match open.sender.send_request(request).await {
                Ok(response) => return Ok(response),
                // The node has closed the connection meanwhile, and has seen nothing of the request. Tried once more.
                Err(error) if is_reused && error.is_canceled() => {
                    self.open = None;
                    is_reused = self.connected().await?;
                }
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    fn lost(&mut self, error: &hyper::Error) -> CallError {
        let text = format!("{} has ended the connection without an answer: {}", self.address(), chain(error));
        self.open = None;
        CallError::NoAnswer(text)
    }

    async fn read(&mut self, mut body: Incoming, most: usize) -> Result<Bytes, CallError> {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.lost(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > most {
                self.open = None;
                return Err(CallError::NoAnswer(format!(
                    "the answer of {} is longer than {most} bytes",
                    self.address()
                )));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    }

    /// Connects unless there is a connection. Returns whether it has served a request.
    async fn connected(&mut self) -> Result<bool, CallError> {
        if let Some(open) = &mut self.open
            && timeout(self.target.timeout, open.sender.ready()).await.is_ok_and(|ready| ready.is_ok())
        {
            return Ok(true);
        }
        self.open = Some(self.connect().await?);
        Ok(false)
    }

    async fn connect(&self) -> Result<Open, CallError> {
        let mut failures = Vec::new();
        for address in &self.target.addresses {
            match timeout(self.target.timeout, connect(address, &self.target.tls)).await {
                Ok(Ok(sender)) => return Ok(Open { sender, address: address.clone() }),
                Ok(Err(why)) => failures.push(format!("{address} cannot be reached: {why}")),
                Err(_) => failures.push(format!(
                    "{address} cannot be reached: no connection within {:?}",
                    self.target.timeout
                )),
            }
        }
        Err(CallError::Unreachable(failures.join("; ")))
    }
}

fn request(
    target: &Target,
    address: &Address,
    call: &Call,
    stream: Option<Option<&str>>,
) -> Result<Request<Full<Bytes>>, CallError> {
    let wrong = |what: &str| CallError::Unreachable(format!("{what} cannot be sent in a request"));
    let mut headers = vec![
        (header::HOST, address.authority()),
        (X_DOMAIN_NAME, call.domain.clone().unwrap_or_else(|| target.domain.clone())),
        (header::USER_AGENT, concat!("scctl/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    if let Some(token) = &target.token {
        headers.push((header::AUTHORIZATION, format!("Bearer {token}")));
    }
    if let Some(last_event_id) = stream {
        headers.push((header::ACCEPT, "text/event-stream".to_owned()));
        headers.extend(last_event_id.map(|id| (LAST_EVENT_ID, id.to_owned())));
    }
    let mut body = Bytes::new();
    if let Some(value) = &call.body {
        headers.push((header::CONTENT_TYPE, "application/json".to_owned()));
        body = Bytes::from(value.to_string());
    }
    let mut builder = Request::builder().method(&call.method).uri(call.path.as_str());
    for (name, text) in headers {
        let value = HeaderValue::from_str(&text);
        builder = builder.header(&name, value.map_err(|_| wrong(&format!("the header {name}")))?);
    }
    builder.body(Full::new(body)).map_err(|_| wrong("the path"))
}

async fn connect(address: &Address, tls: &Arc<ClientConfig>) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect((address.host.as_str(), address.port));
    let stream = stream.await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    if !address.is_https {
        return handshake(stream).await;
    }
    let name = ServerName::try_from(address.host.clone()).map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
    handshake(connected.map_err(|error| not_secured(&error, address))?).await
}

/// Why there is no TLS, and what helps.
fn not_secured(error: &std::io::Error, address: &Address) -> String {
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    if matches!(cause, Some(rustls::Error::InvalidMessage(_))) {
        let http = Address { is_https: false, ..address.clone() };
        return format!("{error}; if the port speaks plain HTTP, write the address as {http}");
    }
    format!("{error}; --ca FILE names the CA, --insecure checks nothing")
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // It ends with the sender. An error of it is an error of the request that it serves.
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The first line of an answer that is plain text. A proxy may answer a page instead, which says nothing in a line.
fn line_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.trim_start().lines().next().unwrap_or_default().trim_end().trim_end_matches('.');
    if line.starts_with(['<', '{']) { String::new() } else { line.chars().take(MAX_LINE).collect() }
}

/// A stream of server-sent events.
pub struct EventStream {
    _sender: Option<Open>,
    body: Incoming,
    /// What was read and is not yet a whole event.
    text: BytesMut,
    pub address: String,
}

/// An event of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamedEvent {
    pub kind: String,
    pub id: String,
    pub data: String,
}

/// The longest event that is read.
const MAX_EVENT: usize = 1 << 20;
/// A node sends something each 15 s.
const SILENCE: Duration = Duration::from_secs(45);

impl EventStream {
    /// The next event, or why the stream has ended.
    pub async fn next(&mut self) -> Result<StreamedEvent, String> {
        loop {
            while let Some(end) = memchr::memmem::find(&self.text, b"\n\n") {
                let block = self.text.split_to(end + 2);
                if let Some(event) = parse_event(&String::from_utf8_lossy(&block)) {
                    return Ok(event);
                }
            }
            if self.text.len() > MAX_EVENT {
                return Err(format!("an event is longer than {MAX_EVENT} bytes"));
            }
            let frame = timeout(SILENCE, self.body.frame()).await;
            match frame.map_err(|_| format!("nothing has come for {SILENCE:?}"))? {
                None => return Err("the node has ended the stream".to_owned()),
                Some(Err(error)) => return Err(chain(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.text.extend(data.iter().filter(|byte| **byte != b'\r'));
                    }
                }
            }
        }
    }
}

/// Parses the lines of one event. A comment alone is no event.
fn parse_event(block: &str) -> Option<StreamedEvent> {
    let mut event = StreamedEvent::default();
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut event.kind),
            "id" => value.clone_into(&mut event.id),
            "data" => {
                if !event.data.is_empty() {
                    event.data.push('\n');
                }
                event.data.push_str(value);
            }
            _ => {}
        }
    }
    (!event.data.is_empty()).then_some(event)
}

/// Encodes a text as a part of a path or as a value in a query.
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        for (text, expected) in [
            ("http://10.12.0.1:30100", "http://10.12.0.1:30100"),
            ("https://sc.test/", "https://sc.test:443"),
            ("http://sc.test", "http://sc.test:80"),
            ("sc.test", "http://sc.test:30100"),
            ("10.12.0.1:1", "http://10.12.0.1:1"),
            ("http://[::1]:30100", "http://[::1]:30100"),
            ("http://SC.Test", "http://sc.test:80"),
            ("http://[FE80::A]:1", "http://[fe80::a]:1"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), expected);
        }
        for text in
            ["", "ftp://x", "http://a/b", "http://a?b", "http://root:secret@a:1", "http://a:99999", "a b"]
        {
            let error = Address::parse(text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_answer_that_is_not_ours_is_shown_in_a_line() {
        for (body, expected) in [
            (
                "Client sent an HTTP request to an HTTPS server.\n",
                "Client sent an HTTP request to an HTTPS server",
            ),
            ("<html>\n<body>400</body>", ""),
            ("{}", ""),
            ("", ""),
        ] {
            assert_eq!(line_of(body.as_bytes()), expected);
        }
        assert_eq!(line_of(&[b'x'; 1000]).len(), MAX_LINE);
    }

    #[test]
    fn events_are_parsed() {
        let event = |kind: &str, id: &str, data: &str| {
            Some(StreamedEvent { kind: kind.to_owned(), id: id.to_owned(), data: data.to_owned() })
        };
        assert_eq!(parse_event(": ping\n\n"), None);
        assert_eq!(parse_event("event: a\nid: 7\ndata: {}\n\n"), event("a", "7", "{}"));
        assert_eq!(parse_event("data:1\ndata: 2\nother: x\n\n"), event("", "", "1\n2"));
    }

    #[test]
    fn texts_are_encoded() {
        assert_eq!(encode("a/b c?&=%ü"), "a%2Fb%20c%3F%26%3D%25%C3%BC");
    }
}
