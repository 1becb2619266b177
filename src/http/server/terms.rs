//! The settings of a server, and what the workers of a server share.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_http::header::HeaderValue;

use super::body::BodyLimit;
use super::gate::Gate;
use super::gauge::Gauge;
use crate::alarm::{Alarms, Pace};
use crate::clock::Clock;
use crate::config::logging::access::AccessLog;
use crate::config::{AddressLookup, RateConfig, Scheme, WebOrigin};
use crate::domain::validate::size;
use crate::http::access::AccessParts;
use crate::http::answer_memory::AnswerMemory;
use crate::http::middleware::cors::{Cors, Readers};
use crate::http::signal::Signal;
use crate::http::spec::Body;
use crate::http::ws;
use crate::tls::files::FileSet;
use crate::trace::Tracer;

/// Go's server adds this to the configured limit for the head of a request.
const HEAD_SLACK: usize = 4096;

/// The protocols of the server as TLS negotiates them (ALPN).
pub const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

#[derive(Clone)]
pub struct Settings {
    /// The version in the header `Server`, after `SERVICECENTER/`.
    pub version: String,
    /// How many threads serve requests.
    pub workers: usize,
    /// The limit for connections, including watches. Some further connections may send one request each: requests for the health of
    /// the server are served, and others are rejected. Connections beyond these are answered 503 without reading a request.
    pub max_connections: usize,
    /// The limit for requests that wait for something. [`Load`](crate::http::spec::Load) has the shares of the kinds of requests.
    pub max_requests: usize,
    /// The limit for all bodies that are being read or whose requests wait, in bytes. The first 8 KiB of each are not counted.
    pub max_body_memory: usize,
    pub answers: Arc<AnswerMemory>,
    /// The limit for the head of a request, in bytes. 4 KiB more are accepted, as in the original server. At most 128 KiB.
    pub max_header_bytes: usize,
    /// The limit for a body on routes without a limit of their own, in bytes.
    pub max_body_bytes: usize,
    pub max_instance_bytes: usize,
    pub max_properties_bytes: usize,
    /// For the head of a request, from its first byte. For the first head: from the begin of the connection.
    pub head_time: Duration,
    /// For the body of a request, from the end of its head.
    pub body_time: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// For a client that takes no byte of its answer.
    pub write_stall: Duration,
    /// It negotiates [`PROTOCOLS`]. A handshake uses the configuration that is current when it begins.
    pub tls: Option<Arc<FileSet<rustls::ServerConfig>>>,
    pub websocket: ws::SessionLimits,
    /// Origins whose pages may do what pages of the server may.
    pub page_origins: Vec<WebOrigin>,
    /// Which pages of other origins may read. With accounts: the listed ones.
    pub page_readers: Readers,
    /// The limit of requests per client address, if any.
    pub rate: Option<RateConfig>,
    /// Where the address of a client is found.
    pub lookups: Vec<AddressLookup>,
    /// Access control, if accounts are on.
    pub access: Option<AccessParts>,
    /// The log of requests, if it is on.
    pub access_log: Option<AccessLog>,
    /// Begins the spans of requests, if they are traced.
    pub tracer: Option<Arc<Tracer>>,
    /// What happens when an answer has a status of 500 or more.
    pub errors: ErrorAlarm,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            max_connections: 65_536,
            max_requests: 4096,
            max_body_memory: 256 * 1024 * 1024,
            answers: AnswerMemory::new(64 * 1024 * 1024, 128 * 1024 * 1024),
            max_header_bytes: 16 * 1024,
            max_body_bytes: 2 * 1024 * 1024,
            max_instance_bytes: 5120,
            max_properties_bytes: 3072,
            head_time: Duration::from_secs(60),
            body_time: Duration::from_secs(60),
            keep_alive: Duration::from_secs(90),
            write_stall: Duration::from_secs(60),
            tls: None,
            websocket: ws::SessionLimits::default(),
            page_origins: Vec::new(),
            page_readers: Readers::default(),
            rate: None,
            lookups: Vec::new(),
            access: None,
            errors: ErrorAlarm::default(),
            access_log: None,
            tracer: None,
        }
    }
}

/// The alarm that the answers of errors raise, and their lines in the log.
#[derive(Clone, Debug)]
pub struct ErrorAlarm {
    pub alarms: Alarms,
    /// Limits the lines.
    pub lines: Pace,
    pub clock: Clock,
}

impl Default for ErrorAlarm {
    fn default() -> Self {
        Self { alarms: Alarms::default(), lines: Pace::default(), clock: Clock::system() }
    }
}

/// What the connections and requests of one worker have in common. The counts and signals are those of the whole server.
#[derive(Clone)]
pub(super) struct ServerTerms {
    pub(super) settings: Settings,
    /// The header `Server`.
    pub(super) server: HeaderValue,
    pub(super) scheme: Scheme,
    pub(super) connections: Arc<Gauge>,
    /// What is rejected at once, and which pages may read.
    pub(super) gate: Arc<Gate>,
    /// Raised when the server stops.
    pub(super) stop: Arc<Signal>,
    /// Raised when all websocket sessions must end.
    pub(super) end_sessions: Arc<Signal>,
}

impl ServerTerms {
    /// Fails if the version is no valid header.
    pub(super) fn new(settings: Settings) -> io::Result<Self> {
        let server = format!("SERVICECENTER/{}", settings.version);
        let scheme = if settings.tls.is_some() { Scheme::Https } else { Scheme::Http };
        let cors = Cors::new(settings.page_origins.clone(), settings.page_readers, scheme);
        Ok(Self {
            gate: Arc::new(Gate::new(cors, settings.rate, settings.lookups.clone())),
            server: HeaderValue::from_str(&server).map_err(io::Error::other)?,
            scheme,
            connections: Gauge::new(settings.max_connections),
            settings,
            stop: Arc::default(),
            end_sessions: Arc::default(),
        })
    }

    /// A copy for a worker. The header is copied too, because workers that count references to one value slow each other down with
    /// every answer.
    pub(super) fn of_worker(&self) -> Self {
        let server = HeaderValue::from_bytes(self.server.as_bytes()).unwrap_or(self.server.clone());
        Self { server, ..self.clone() }
    }

    /// The limit for the head of a request, in bytes.
    pub(super) fn max_head(&self) -> usize {
        self.settings.max_header_bytes.saturating_add(HEAD_SLACK)
    }

    /// The limit for the bodies of a route. `None` if the route takes no body.
    pub(super) fn body_limit(&self, body: Body) -> Option<BodyLimit> {
        let (most, key) = match body {
            Body::Ignored => return None,
            Body::Instance => (self.settings.max_instance_bytes, size::INSTANCE_KEY),
            Body::Properties => (self.settings.max_properties_bytes, size::PROPERTIES_KEY),
            Body::Configured => (self.settings.max_body_bytes, "server.request.maxBodyBytes"),
        };
        Some(BodyLimit { most, key })
    }
}
