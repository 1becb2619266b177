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
mod gate;
mod gauge;
mod head_end;
mod http2;
mod record;
mod response;
mod router;
mod stream;
mod terms;
mod upgrade;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Request};
use actix_server::{Server, ServerHandle};
use actix_service::{Service as _, ServiceFactory as _, fn_factory, fn_service, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use futures_util::FutureExt as _;
use tokio::net::{TcpSocket, TcpStream};

use self::accept::HttpVersion;
use self::admission::Admission;
use self::connection::ClientConnection;
use self::dispatch::Dispatcher;
use self::router::Router;
use self::terms::ServerTerms;
use super::route::Route;
use super::ws::SessionIo as _;
use crate::actors::nodes::limits::NodeLimits;

pub(super) use self::admission::refusal;
pub use self::terms::{ErrorAlarm, PROTOCOLS, Settings};

/// How long closing a connection may take.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 2048;

/// How many threads a worker may use to compress large answers.
const BLOCKING_THREADS: usize = 4;

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

pub struct RunningServer {
    handle: ServerHandle,
    terms: ServerTerms,
    admission: Arc<Admission>,
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
    table: impl IntoIterator<Item = &'static Route<S>>,
    settings: Settings,
) -> io::Result<RunningServer> {
    let router = Arc::new(Router::new(table).map_err(io::Error::other)?);
    let admission = Admission::new(settings.max_requests, settings.max_body_memory);
    let terms = ServerTerms::new(settings)?;
    let mut builder = Server::build()
        .workers(terms.settings.workers.max(1))
        .worker_max_blocking_threads(BLOCKING_THREADS)
        // The acceptor counts the connections of all workers, and answers those over the limit. This limit is never reached.
        .max_concurrent_connections(terms.settings.max_connections.saturating_mul(2).max(1024))
        .shutdown_timeout(DISCONNECT_LIMIT.as_secs())
        .disable_signals();
    let factory = {
        let (terms, admission) = (terms.clone(), Arc::clone(&admission));
        move || {
            let terms = Rc::new(terms.of_worker());
            let (router, admission) = (Arc::clone(&router), Arc::clone(&admission));
            let dispatcher = Rc::new(Dispatcher::new(state(), router, Rc::clone(&terms), admission));
            fn_factory(move || {
                let (dispatcher, terms) = (Rc::clone(&dispatcher), Rc::clone(&terms));
                async move {
                    // A service without extractors: they would box the future once more.
                    let handler = fn_service(move |request: ServiceRequest| {
                        let (request, payload) = request.into_parts();
                        let served = dispatcher.serve(request.clone(), payload);
                        served.map(|response| {
                            Ok::<_, actix_web::Error>(ServiceResponse::new(request, response))
                        })
                    });
                    let app = map_config(App::new().default_service(handler), |()| AppConfig::default());
                    let app = Rc::new(app.new_service(()).await?);
                    let of_http1 = Rc::clone(&app);
                    let of_upgrades = (Rc::clone(&app), Rc::clone(&terms));
                    let http1 = HttpService::<ClientConnection, _, _>::build()
                        // The connection limits these two times itself.
                        .keep_alive(KeepAlive::Os)
                        .client_request_timeout(Duration::ZERO)
                        .client_disconnect_timeout(DISCONNECT_LIMIT)
                        .on_connect_ext(|connection: &ClientConnection, data| {
                            data.insert(Rc::clone(connection.exchange()));
                        })
                        .upgrade(fn_service(move |(request, framed)| {
                            let (app, terms) = of_upgrades.clone();
                            upgrade::serve(app, request, framed, terms)
                        }))
                        .h1(fn_service(move |request: Request| of_http1.call(request)));
                    let http1 = Rc::new(http1.new_service(()).await?);
                    Ok::<_, ()>(fn_service(move |tcp: TcpStream| {
                        let (app, http1, terms) = (Rc::clone(&app), Rc::clone(&http1), Rc::clone(&terms));
                        async move {
                            match accept::accept(&terms, tcp).await? {
                                (connection, HttpVersion::Http1) => {
                                    let peer = connection.peer();
                                    http1.call((connection, peer)).await?;
                                }
                                // Boxed, so that the task of an HTTP/1.1 connection stays small.
                                (connection, HttpVersion::Http2) => {
                                    Box::pin(http2::serve(app, connection, terms)).await;
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
    Ok(RunningServer { handle, terms, admission, addresses, listeners: listening })
}

impl RunningServer {
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many connections are open, including websocket sessions.
    pub fn connections(&self) -> usize {
        self.terms.connections.open()
    }

    /// Adds the limits of this server to those of the node.
    pub fn add_limits(&self, limits: &NodeLimits) {
        let Settings { max_connections, max_requests, max_body_memory, answers, .. } = &self.terms.settings;
        let connections = Arc::clone(&self.terms.connections);
        limits.add("connections", *max_connections, move || connections.open());
        let admission = Arc::clone(&self.admission);
        limits.add("waitingRequests", *max_requests, move || admission.waiting());
        let admission = Arc::clone(&self.admission);
        limits.add("requestBytes", *max_body_memory, move || admission.body_bytes());
        let answers = Arc::clone(answers);
        limits.add("answerBytes", answers.most(), move || answers.held());
    }

    /// Closes all websocket sessions with 1001, also those that open later.
    pub fn end_sessions(&self) {
        self.terms.end_sessions.raise();
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
        self.end_sessions();
        self.terms.stop.raise();
        let drained = async {
            while self.connections() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        let cut = match tokio::time::timeout(limit, drained).await {
            Ok(()) => 0,
            Err(_) => self.connections(),
        };
        if cut > 0 {
            log::warn!(
                "{cut} connections are cut because their requests took longer than {limit:?} after the stop"
            );
        }
        self.handle.stop(false).await;
        cut
    }
}

/// How long the accepting thread may take to pause.
const PAUSE_TIME: Duration = Duration::from_millis(20);

/// How often a stop counts the open connections.
const DRAIN_POLL: Duration = Duration::from_millis(10);
