//! The listening side: sockets, workers, the way from a connection to the dispatcher, and the stop.
//!
//! An address is bound early, so that a wrong address is reported before anything else starts. The port opens when [`start`] is
//! called. Until then the kernel refuses clients, so that they do not wait. A stop closes the listening sockets, ends idle
//! connections and lets running requests finish until a time limit.
//!
//! HTTP/1.1, HTTP/2 and websocket upgrades reach the dispatcher through one `actix_web::App`.

mod accept;
mod admission;
mod body;
mod connection;
mod dispatch;
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
use actix_http::{HttpService, KeepAlive, Request};
use actix_server::{Server, ServerHandle};
use actix_service::{Service as _, ServiceFactory as _, fn_factory, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, HttpRequest, web};
use futures_util::FutureExt as _;
use tokio::net::{TcpSocket, TcpStream};

use self::accept::{Acceptor, HttpVersion};
use self::admission::Admission;
use self::connection::{ClientConnection, IoLimits};
use self::dispatch::Dispatcher;
use self::gauge::Gauge;
use self::response::ServerTerms;
use self::router::Router;
use super::answer_memory::AnswerMemory;
use super::route::Route;
use super::signal::Signal;
use super::ws;
use crate::http::ws::SessionIo as _;

pub(super) use self::admission::refusal;

/// Go's server adds this to the configured limit for the head of a request.
const HEAD_SLACK: usize = 4096;

/// How long closing a connection may take.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 2048;

/// How many threads a worker may use to compress large answers.
const BLOCKING_THREADS: usize = 4;

#[derive(Clone)]
pub struct Settings {
    /// The version in the header `Server`, after `SERVICECENTER/`.
    pub version: String,
    /// How many threads serve requests.
    pub workers: usize,
    /// The limit for connections, including watches. Some further connections may send one request each: requests for the health of
    /// the server are served, and others are rejected. Connections beyond these are answered 503 without reading a request.
    pub max_connections: usize,
    /// The limit for requests that wait for something. [`super::spec::Load`] has the shares of the kinds of requests.
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
    /// If it names no protocols, `h2` and `http/1.1` are negotiated.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub websocket: ws::Limits,
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
        }
    }
}

/// A bound address that does not listen yet. The kernel refuses connections.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
}

impl Bound {
    /// Binds an address. Port 0 stands for any free port.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Otherwise a restarted server could not bind while the kernel remembers connections of the last one.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address, with the real port if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Debug)]
pub struct RunningServer {
    handle: ServerHandle,
    connections: Arc<Gauge>,
    stop: Arc<Signal>,
    end_sessions: Arc<Signal>,
    addresses: Vec<SocketAddr>,
    /// Copies of the listening sockets. They are closed before the library closes its own.
    listeners: Vec<TcpListener>,
}

/// Opens the ports and serves `table`. `state` is called for each worker, because workers that count references to one value slow
/// each other down with every request. To be called inside an actix system. Fails if a socket cannot listen, a worker cannot start or
/// the table is invalid. Then nothing is left running.
pub async fn start<S: Send + Sync + 'static>(
    listeners: Vec<Bound>,
    state: impl Fn() -> Arc<S> + Clone + Send + 'static,
    table: &'static [Route<S>],
    settings: Settings,
) -> io::Result<RunningServer> {
    let router = Arc::new(Router::new(table).map_err(io::Error::other)?);
    let server_header =
        HeaderValue::from_str(&format!("SERVICECENTER/{}", settings.version)).map_err(io::Error::other)?;
    let connections = Gauge::new(settings.max_connections);
    let admission = Admission::new(settings.max_requests, settings.max_body_memory);
    let stop = Arc::new(Signal::default());
    let end_sessions = Arc::new(Signal::default());
    let tls = settings.tls.as_deref().map(accept::with_protocols);
    let mut builder = Server::build()
        .workers(settings.workers.max(1))
        .worker_max_blocking_threads(BLOCKING_THREADS)
        // The acceptor counts the connections of all workers, and answers those over the limit. This limit is never reached.
        .max_concurrent_connections(settings.max_connections.saturating_mul(2).max(1024))
        .shutdown_timeout(DISCONNECT_LIMIT.as_secs())
        .disable_signals();
    let factory = {
        let (connections, stop, end_sessions) =
            (Arc::clone(&connections), Arc::clone(&stop), Arc::clone(&end_sessions));
        move || {
            let max_head = settings.max_header_bytes.saturating_add(HEAD_SLACK);
            let terms = ServerTerms {
                // Copied for each worker, for the same reason as the state.
                server: HeaderValue::from_bytes(server_header.as_bytes()).unwrap_or(server_header.clone()),
                max_head,
                settings: settings.clone(),
                stop: Arc::clone(&stop),
            };
            let dispatcher =
                Rc::new(Dispatcher::new(state(), Arc::clone(&router), terms, Arc::clone(&admission)));
            let limits = IoLimits {
                head: settings.head_time,
                idle: settings.keep_alive,
                write_stall: settings.write_stall,
            };
            let acceptor = Rc::new(Acceptor {
                limits,
                tls: tls.clone(),
                connections: Arc::clone(&connections),
                stop: Arc::clone(&stop),
            });
            let (stop, end_sessions, session_limits) =
                (Arc::clone(&stop), Arc::clone(&end_sessions), settings.websocket);
            fn_factory(move || {
                let (acceptor, dispatcher) = (Rc::clone(&acceptor), Rc::clone(&dispatcher));
                let (stop, end_sessions) = (Arc::clone(&stop), Arc::clone(&end_sessions));
                async move {
                    let handler = web::to(move |request: HttpRequest, payload: web::Payload| {
                        dispatcher.serve(request, payload.into_inner())
                    });
                    let app = map_config(App::new().default_service(handler), |()| AppConfig::default());
                    let app = Rc::new(app.new_service(()).await?);
                    let (of_http1, of_upgrades) = (Rc::clone(&app), Rc::clone(&app));
                    let http1 = HttpService::<ClientConnection, _, _>::build()
                        // The connection limits these two times itself.
                        .keep_alive(KeepAlive::Os)
                        .client_request_timeout(Duration::ZERO)
                        .client_disconnect_timeout(DISCONNECT_LIMIT)
                        .on_connect_ext(|connection: &ClientConnection, data| {
                            data.insert(Rc::clone(connection.exchange()));
                        })
                        .upgrade(fn_service(move |(request, framed)| {
                            let (app, end) = (Rc::clone(&of_upgrades), Arc::clone(&end_sessions));
                            upgrade::serve(app, request, framed, session_limits, end)
                        }))
                        .h1(fn_service(move |request: Request| of_http1.call(request)));
                    let http1 = Rc::new(http1.new_service(()).await?);
                    Ok::<_, ()>(fn_service(move |tcp: TcpStream| {
                        let (acceptor, app, http1) =
                            (Rc::clone(&acceptor), Rc::clone(&app), Rc::clone(&http1));
                        let stop = Arc::clone(&stop);
                        async move {
                            match acceptor.accept(tcp).await? {
                                (connection, HttpVersion::Http1) => {
                                    let peer = connection.peer();
                                    http1.call((connection, peer)).await?;
                                }
                                // Boxed, so that the task of an HTTP/1.1 connection stays small.
                                (connection, HttpVersion::Http2) => {
                                    Box::pin(http2::serve(app, connection, max_head, stop)).await;
                                }
                            }
                            Ok::<_, DispatchError>(())
                        }
                    }))
                }
            })
        }
    };
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
    // The first poll starts the workers, and returns the error if one cannot start.
    if let Some(ended) = (&mut server).now_or_never() {
        return Err(ended.err().unwrap_or_else(|| io::Error::other("the HTTP server ended when it started")));
    }
    actix_rt::spawn(async move {
        if let Err(error) = server.await {
            log::error!("the HTTP server ended: {error}");
        }
    });
    Ok(RunningServer { handle, connections, stop, end_sessions, addresses, listeners: listening })
}

impl RunningServer {
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many connections are open, including websocket sessions.
    pub fn connections(&self) -> usize {
        self.connections.open()
    }

    /// Closes all websocket sessions with 1001, also those that open later.
    pub fn end_sessions(&self) {
        self.end_sessions.raise();
    }

    /// Stops: new connections are refused, websocket sessions are closed, idle connections end, and running requests may take until
    /// `limit`. Then the remaining connections are cut. Returns how many were cut.
    pub async fn stop(self, limit: Duration) -> usize {
        // The library's own stop drops the workers and their running requests if they learn of the closed listener before they learn
        // of the stop. So the library is told when no request runs any more.
        self.handle.pause().await;
        // The accepting thread does not tell when it has paused, and it logs an error if its socket is closed before.
        tokio::time::sleep(PAUSE_TIME).await;
        for listener in &self.listeners {
            if let Err(error) = rustix::net::shutdown(listener, rustix::net::Shutdown::Both) {
                log::warn!("a listening socket cannot be closed: {error}");
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
            log::warn!("{cut} connections are cut because their requests took longer than {limit:?} after the stop");
        }
        self.handle.stop(false).await;
        cut
    }
}

/// How long the accepting thread may take to pause.
const PAUSE_TIME: Duration = Duration::from_millis(20);

/// How often a stop counts the open connections.
const DRAIN_POLL: Duration = Duration::from_millis(10);
