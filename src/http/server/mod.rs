//! The listening side: sockets, workers, the way from a connection to the dispatcher, and the stop.
//!
//! An address is bound early, so that a mistake is known before anything else starts, and the port opens only when
//! [`start`] is called: until then clients are refused, not kept waiting. A stop first closes the listening sockets, ends
//! idle connections and gives running requests their time.

mod accept;
mod admission;
mod body;
mod connection;
mod dispatch;
mod gate;
mod gauge;
mod head_end;
mod http2;
mod response;
mod router;
mod upgrade;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::header::HeaderValue;
use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::{Server, ServerHandle};
use actix_service::{Service as _, ServiceFactory as _, fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, HttpRequest, web};
use futures_util::FutureExt as _;
use tokio::net::{TcpSocket, TcpStream};

use self::accept::Acceptor;
use self::admission::Admission;
use self::connection::{Connection, Exchange, IoLimits};
use self::dispatch::Dispatcher;
use self::gate::Gate;
use self::gauge::Gauge;
use self::response::Terms;
use self::router::Router;
use self::upgrade::Upgrades;
use super::answer_memory::AnswerMemory;
use super::call::Head;
use super::middleware::cors::{Cors, Readers};
use super::route::Route;
use super::signal::Signal;
use super::ws;
use crate::config::{RateConfig, Scheme, WebOrigin};

pub(super) use self::admission::refusal;

/// What Go's server adds to the configured limit of a request's head.
const HEAD_SLACK: usize = 4096;

/// How long a connection that is being closed may take to say goodbye.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How many connections the kernel keeps for us to accept.
const BACKLOG: u32 = 2048;

/// Threads a worker may use to compress large answers.
const BLOCKING_THREADS: usize = 4;

/// How a server behaves.
#[derive(Clone)]
pub struct Settings {
    /// What stands behind `SERVICECENTER/` in the header `Server`.
    pub version: String,
    /// Threads that serve requests.
    pub workers: usize,
    /// Connections, watches among them. Some further ones may ask one question each: after the server's health, or they
    /// learn that it has too much to do. Those beyond are answered 503 unasked.
    pub max_connections: usize,
    /// Requests that wait for something; how many of which kind: [`super::spec::Load`].
    pub max_requests: usize,
    /// Bytes of all bodies that are being read, or whose requests wait, beyond the first 8 KiB of each.
    pub max_body_memory: usize,
    /// What answers may hold of memory.
    pub answers: Arc<AnswerMemory>,
    /// Bytes of a request's head; 4 KiB more pass, as they do with the original server. At most 128 KiB.
    pub max_header_bytes: usize,
    /// Bytes of a body on routes that say nothing else.
    pub max_body_bytes: usize,
    /// Bytes of a body that is an instance.
    pub max_instance_bytes: usize,
    /// Bytes of a body that is properties.
    pub max_properties_bytes: usize,
    /// For a request's head, from its first byte (the first one's from the connection's begin).
    pub head_time: Duration,
    /// For a request's body, from the end of its head.
    pub body_time: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// For a client that takes none of its answer.
    pub write_stall: Duration,
    /// TLS, if any. Protocols are negotiated here: `h2`, `http/1.1`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Websocket sessions.
    pub websocket: ws::Limits,
    /// Origins whose pages may do what pages of the server may.
    pub page_origins: Vec<WebOrigin>,
    /// Which pages of other origins may read. With accounts: the listed ones.
    pub page_readers: Readers,
    /// The limit of requests per client address, if any.
    pub rate: Option<RateConfig>,
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
            websocket: ws::Limits::default(),
            page_origins: Vec::new(),
            page_readers: Readers::default(),
            rate: None,
        }
    }
}

/// An address that is taken but does not listen yet: who connects is refused.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Bound {
    /// Takes an address. Port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted server must not wait for the last one's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address, with the port that was found for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A server that accepts connections.
#[derive(Debug)]
pub struct Running {
    handle: ServerHandle,
    connections: Arc<Gauge>,
    stop: Arc<Signal>,
    end_sessions: Arc<Signal>,
    addresses: Vec<SocketAddr>,
    /// The listening sockets once more, to be closed before the library closes them.
    listeners: Vec<TcpListener>,
}

/// What a stop left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that were cut when the limit was reached.
    pub cut: usize,
}

/// Opens the ports and serves `table`. `state` is called for each worker: what a request counts references to is best a
/// worker's own, or the cores take it from each other with every request. To be called inside an actix system. Fails if a
/// socket cannot listen, a worker cannot start or the table is unsound; nothing is left running then.
pub async fn start<S: Send + Sync + 'static>(
    listeners: Vec<Bound>,
    state: impl Fn() -> Arc<S> + Clone + Send + 'static,
    table: &'static [Route<S>],
    settings: Settings,
) -> io::Result<Running> {
    let router = Arc::new(Router::new(table).map_err(io::Error::other)?);
    let server_header =
        HeaderValue::from_str(&format!("SERVICECENTER/{}", settings.version)).map_err(io::Error::other)?;
    let connections = Gauge::new(settings.max_connections);
    let admission = Admission::new(settings.max_requests, settings.max_body_memory);
    let stop = Arc::new(Signal::default());
    let end_sessions = Arc::new(Signal::default());
    let scheme = if settings.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let cors = Cors::new(settings.page_origins.clone(), settings.page_readers, scheme);
    let gate = Arc::new(Gate::new(cors, settings.rate.as_ref()));
    let tls = settings.tls.as_deref().map(accept::with_protocols);
    let factory = {
        let (connections, stop, end_sessions) =
            (Arc::clone(&connections), Arc::clone(&stop), Arc::clone(&end_sessions));
        move || {
            let terms = Terms {
                // Copied, for the same reason as the state.
                server: HeaderValue::from_bytes(server_header.as_bytes()).unwrap_or(server_header.clone()),
                max_head: settings.max_header_bytes.saturating_add(HEAD_SLACK),
                max_body: settings.max_body_bytes,
                answers: Arc::clone(&settings.answers),
                max_instance: settings.max_instance_bytes,
                max_properties: settings.max_properties_bytes,
                body_time: settings.body_time,
                gate: Arc::clone(&gate),
                stop: Arc::clone(&stop),
            };
            let dispatcher =
                Rc::new(Dispatcher::new(state(), Arc::clone(&router), terms, Arc::clone(&admission)));
            let acceptor = Rc::new(Acceptor {
                limits: IoLimits {
                    head: settings.head_time,
                    idle: settings.keep_alive,
                    write_stall: settings.write_stall,
                },
                tls: tls.clone(),
                connections: Arc::clone(&connections),
                stop: Arc::clone(&stop),
            });
            let upgrades = Upgrades {
                dispatcher: Rc::clone(&dispatcher),
                limits: settings.websocket,
                end: Arc::clone(&end_sessions),
            };
            let of_http2 = Rc::clone(&dispatcher);
            let app =
                App::new().default_service(web::to(move |request: HttpRequest, payload: web::Payload| {
                    let exchange = request.conn_data::<Rc<Exchange>>().cloned();
                    dispatcher.serve(Head::Web(request), payload.into_inner(), exchange)
                }));
            let http1 = HttpService::<Connection, _, _>::build()
                // The connection counts these two by itself.
                .keep_alive(KeepAlive::Os)
                .client_request_timeout(Duration::ZERO)
                .client_disconnect_timeout(DISCONNECT_LIMIT)
                .on_connect_ext(|connection: &Connection, data| {
                    data.insert(Rc::clone(connection.exchange()));
                })
                .upgrade(fn_service(move |(request, framed)| upgrades.clone().serve(request, framed)))
                .h1(map_config(app, |()| AppConfig::default()));
            fn_factory(move || {
                let (acceptor, dispatcher, http1) =
                    (Rc::clone(&acceptor), Rc::clone(&of_http2), http1.new_service(()));
                async move {
                    let http1 = Rc::new(http1.await?);
                    Ok::<_, ()>(fn_service(move |tcp: TcpStream| {
                        let (acceptor, dispatcher, http1) =
                            (Rc::clone(&acceptor), Rc::clone(&dispatcher), Rc::clone(&http1));
                        async move {
                            let (connection, protocol, peer) = acceptor.accept(tcp).await?;
                            match protocol {
                                // Boxed, so that the task of an HTTP/1.1 connection stays small.
                                Protocol::Http2 => Box::pin(http2::serve(connection, dispatcher)).await,
                                _ => http1.call((connection, peer)).await?,
                            }
                            Ok::<_, DispatchError>(())
                        }
                    }))
                }
            })
        }
    };
    let mut builder = Server::build()
        .workers(settings.workers.max(1))
        .worker_max_blocking_threads(BLOCKING_THREADS)
        // Connections are counted by the acceptor, for all workers and with an answer; this is far above it.
        .max_concurrent_connections(settings.max_connections.saturating_mul(2).max(1024))
        .shutdown_timeout(DISCONNECT_LIMIT.as_secs())
        .disable_signals();
    let mut addresses = Vec::new();
    let mut listening = Vec::new();
    for bound in listeners {
        addresses.push(bound.address);
        let listener = bound.socket.listen(BACKLOG)?.into_std()?;
        listening.push(listener.try_clone()?);
        builder = builder.listen("http", listener, factory.clone())?;
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on"));
    }
    let mut server = builder.run();
    let handle = server.handle();
    // The first poll starts the workers, and says so if one cannot start.
    if let Some(ended) = (&mut server).now_or_never() {
        return Err(ended.err().unwrap_or_else(|| io::Error::other("the server ended at once")));
    }
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            log::error!("the HTTP server ended: {error}");
        }
    });
    Ok(Running { handle, connections, stop, end_sessions, addresses, listeners: listening })
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Connections that are open now, websocket sessions among them.
    pub fn connections(&self) -> usize {
        self.connections.open()
    }

    /// Closes every websocket session with 1001, and those that open from now on.
    pub fn end_sessions(&self) {
        self.end_sessions.raise();
    }

    /// Stops: new connections are refused, websocket sessions are closed, idle connections end, running requests have
    /// until `limit`. What is left then is cut.
    pub async fn stop(self, limit: Duration) -> Stopped {
        // The library's own stop drops its workers, and with them the requests that run, if they learn of the closed
        // listener before they learn of the stop. So it is told only when nothing runs any more.
        self.handle.pause().await;
        // The accepting thread is told by then, and says nothing when it has obeyed; it complains of a socket closed
        // under it.
        tokio::time::sleep(PAUSE_TIME).await;
        for listener in &self.listeners {
            if let Err(error) = rustix::net::shutdown(listener, rustix::net::Shutdown::Both) {
                log::warn!("closing a listening socket: {error}");
            }
        }
        self.end_sessions.raise();
        self.stop.raise();
        let drained = async {
            while self.connections.open() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        let cut = match tokio::time::timeout(limit, drained).await {
            Ok(()) => 0,
            Err(_) => self.connections.open(),
        };
        if cut > 0 {
            log::warn!("{cut} connections were still busy after {limit:?} and are cut");
        }
        self.handle.stop(false).await;
        Stopped { cut }
    }
}

/// For the accepting thread to let go of its sockets.
const PAUSE_TIME: Duration = Duration::from_millis(20);

/// How often a stop looks whether the last connection is gone.
const DRAIN_POLL: Duration = Duration::from_millis(10);
