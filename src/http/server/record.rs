//! What is noted of each request from its head to its answer: its id, its line in the access log, and its span.
//!
//! A request whose client is gone before the answer is ready has no line, and its span has no status.

use std::time::Duration;

use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::uri::Authority;
use actix_http::{RequestHead, StatusCode};
use tokio::time::Instant;

use super::terms::ServerTerms;
use crate::clock::Clock;
use crate::config::Scheme;
use crate::config::logging::access::AccessLine;
use crate::http::client_address::client_address;
use crate::http::spec::RequestLog;
use crate::trace::{RequestContext, RequestId, RequestIds, Sender, ServerSpan, TraceParent};

/// The id of a request, in the request and in its answer.
pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The headers by which a client tells its trace.
static TRACE_HEADERS: [HeaderName; 7] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("b3"),
    HeaderName::from_static("x-b3-traceid"),
    HeaderName::from_static("x-b3-spanid"),
    HeaderName::from_static("x-b3-sampled"),
    HeaderName::from_static("x-b3-flags"),
];

/// The methods that OpenTelemetry knows.
const KNOWN_METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

pub(super) struct RequestRecord {
    context: RequestContext,
    /// When the head was complete.
    begin: Instant,
    has_body: bool,
    /// `None` if the request is not traced.
    span: Option<Box<ServerSpan>>,
}

/// The route of a request, as a record names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteRecord {
    /// The path pattern; empty if no route matched.
    pub(super) pattern: &'static str,
    pub(super) log: RequestLog,
}

impl RequestRecord {
    /// The head of a request was complete at `begin`.
    pub(super) fn new(
        terms: &ServerTerms,
        ids: &RequestIds,
        head: &RequestHead,
        has_body: bool,
        begin: Instant,
    ) -> Self {
        let id = only(head, &X_REQUEST_ID).and_then(|value| RequestId::given(value.as_bytes()));
        let id = id.unwrap_or_else(|| ids.next());
        let span = terms.settings.tracer.as_ref().and_then(|tracer| {
            let parent = TraceParent::of(|name| {
                let name = TRACE_HEADERS.iter().find(|known| known.as_str() == name)?;
                only(head, name)?.to_str().ok()
            });
            tracer.begin(parent).map(Box::new)
        });
        let (context, span) = match span {
            None => (RequestContext::new(id), None),
            Some(mut span) => (span.context(id), Some(span)),
        };
        Self { context, begin, has_body, span }
    }

    pub(super) fn context(&self) -> &RequestContext {
        &self.context
    }

    /// Notes who sends the request, because the request may change something.
    pub(super) fn note_sender(&mut self, terms: &ServerTerms, head: &RequestHead) {
        self.context.sent_by(Sender::new(client_address(head, &terms.settings.lookups)));
    }

    /// The value of [`X_REQUEST_ID`] in the answer.
    pub(super) fn header(&self) -> HeaderValue {
        // The id is visible ASCII.
        HeaderValue::from_bytes(self.context.id().as_bytes()).unwrap_or(HeaderValue::from_static(""))
    }

    /// How long the request has taken at a time.
    pub(super) fn took(&self, now: Instant) -> Duration {
        now.duration_since(self.begin)
    }

    /// The answer is ready.
    pub(super) fn end(
        self,
        terms: &ServerTerms,
        head: &RequestHead,
        status: StatusCode,
        route: RouteRecord,
        took: Duration,
    ) {
        if route.log == RequestLog::Written {
            self.write_line(terms, head, status, took);
        }
        if let Some(span) = self.span {
            end_span(*span, terms, head, status, route.pattern);
        }
    }

    fn write_line(&self, terms: &ServerTerms, head: &RequestHead, status: StatusCode, took: Duration) {
        let Some(log) = &terms.settings.access_log else { return };
        let millis = took.as_millis();
        let now = Clock::system().unix_millis();
        log.put(&AccessLine {
            remote: client_address(head, &terms.settings.lookups),
            begin_millis: now.saturating_sub(u64::try_from(millis).unwrap_or_default()),
            method: head.method.as_str(),
            uri: &head.uri.to_string(),
            protocol: &format!("{:?}", head.version),
            status: status.as_u16(),
            length: self.body_length(head),
            millis,
            request_id: &self.context.id().to_string(),
        });
    }

    /// The length of the body, as the head says. `None` if the head does not say it.
    fn body_length(&self, head: &RequestHead) -> Option<u64> {
        match head.headers.get(header::CONTENT_LENGTH) {
            Some(length) => length.to_str().ok()?.trim().parse().ok(),
            None => (!self.has_body).then_some(0),
        }
    }
}

/// The value of a header that is there once.
fn only<'h>(head: &'h RequestHead, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = head.headers.get_all(name);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Names and attributes follow the conventions of OpenTelemetry for servers of HTTP.
fn end_span(
    mut span: ServerSpan,
    terms: &ServerTerms,
    head: &RequestHead,
    status: StatusCode,
    pattern: &'static str,
) {
    let known = KNOWN_METHODS.into_iter().find(|known| *known == head.method.as_str());
    let verb = known.unwrap_or("HTTP");
    if pattern.is_empty() {
        span.name(verb);
    } else {
        span.name(format!("{verb} {pattern}"));
        span.note("http.route", pattern);
    }
    span.note("http.request.method", known.unwrap_or("_OTHER"));
    if known.is_none() {
        span.note("http.request.method_original", head.method.as_str().to_owned());
    }
    span.note(
        "url.scheme",
        match terms.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        },
    );
    span.note("url.path", head.uri.path().to_owned());
    if let Some(query) = head.uri.query() {
        span.note("url.query", query.to_owned());
    }
    let host =
        only(head, &header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    if let Some(server) = host.as_ref().or(head.uri.authority()) {
        let server: &Authority = server;
        span.note("server.address", server.host().to_owned());
        if let Some(port) = server.port_u16() {
            span.note("server.port", i64::from(port));
        }
    }
    span.note("client.address", client_address(head, &terms.settings.lookups).to_string());
    if let Some(peer) = head.peer_addr {
        span.note("network.peer.address", peer.ip().to_string());
        span.note("network.peer.port", i64::from(peer.port()));
    }
    let version = format!("{:?}", head.version);
    let version = version.trim_start_matches("HTTP/");
    span.note("network.protocol.version", if version == "2.0" { "2".to_owned() } else { version.to_owned() });
    if let Some(agent) = only(head, &header::USER_AGENT).and_then(|agent| agent.to_str().ok()) {
        span.note("user_agent.original", agent.to_owned());
    }
    span.note("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.note("error.type", status.as_u16().to_string());
        span.fail();
    }
}
