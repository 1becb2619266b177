//! The floor: what this machine needs to answer the same bytes with nothing behind them.
//!
//! Plain actix-web under the daemon's settings (the same service, one default service instead of routes, TCP_NODELAY, as
//! many workers, the same time limits, the same allocator), and a constant: status, headers and body recorded from the
//! daemon. None of the daemon's own code runs in it, neither connection wrapper nor dispatcher nor router: what they cost
//! is what the ratio is to show. It is a process of its own, this program once more, so that its CPU can be counted alone.
//!
//! Over TLS it puts `rustls` below. Over HTTP/2 it is the library `h2` alone: actix-web is built without HTTP/2 here.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_http::body::None as NoBody;
use actix_http::error::DispatchError;
use actix_http::header::{HeaderName, HeaderValue, HttpDate};
use actix_http::{HttpService, KeepAlive, Protocol, StatusCode};
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::AppConfig;
use actix_web::{App, HttpResponse, web};
use bytes::Bytes;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::encryption::{self, Certificate};
use crate::support::eventually::{GENEROUS, try_eventually};
use crate::support::http::{Incoming, Response};
use crate::support::net::free_address;
use crate::support::process::Process;
use crate::usage;

/// The daemon's own.
const BACKLOG: u32 = 2048;

/// What a floor does with a request before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing: the head says it all.
    Head,
    /// It reads the body, which the daemon must as well.
    Body,
}

impl Reads {
    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Head, Self::Body].into_iter().find(|reads| reads.name() == name)
    }
}

/// What a floor speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Plain,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2,
}

impl Speaks {
    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
            Self::Http2 => "h2",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Plain, Self::Tls, Self::Http2].into_iter().find(|speaks| speaks.name() == name)
    }
}

/// A floor that serves.
pub struct Floor {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Floor {
    /// Starts a floor that answers everything with `answer`.
    pub fn start(answer: &Response, reads: Reads) -> Result<Self, String> {
        Self::start_speaking(Speaks::Plain, None, answer, reads)
    }

    /// As [`Floor::start`], over TLS.
    pub fn start_over_tls(
        speaks: Speaks,
        certificate: &Certificate,
        answer: &Response,
    ) -> Result<Self, String> {
        Self::start_speaking(speaks, Some(certificate), answer, Reads::Head)
    }

    fn start_speaking(
        speaks: Speaks,
        certificate: Option<&Certificate>,
        answer: &Response,
        reads: Reads,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the floor: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let (recorded, log) = (folder.path().join("answer"), folder.path().join("output"));
        fs::write(&recorded, bytes_of(answer)).map_err(failed)?;
        let address = free_address().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["floor", speaks.name(), reads.name()]).arg(address.to_string()).arg(&recorded);
        command.args(certificate.map(Certificate::folder));
        let process = Process::spawn("floor", &mut command, &log).map_err(failed)?;
        let floor = Self { process, address, _folder: folder };
        try_eventually(GENEROUS, || std::net::TcpStream::connect(address).map(drop))
            .map_err(|why| format!("the floor: {why}; it says: {}", floor.process.log_tail()))?;
        Ok(floor)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time it has used.
    pub fn cpu(&self) -> Result<Duration, String> {
        usage::cpu(self.process.id())
    }
}

/// An answer as it went over the wire.
fn bytes_of(answer: &Response) -> Vec<u8> {
    let lines = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let head = format!("HTTP/1.1 {}\r\n{}\r\n", answer.status, lines.collect::<String>());
    [head.as_bytes(), &answer.body].concat()
}

/// What every request is answered with.
#[derive(Clone)]
struct Constant {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Constant {
    fn read(path: &Path) -> Result<Self, String> {
        let mut incoming = Incoming::default();
        *incoming.buffer() = fs::read(path).map_err(|error| error.to_string())?;
        let answer =
            incoming.take_response("GET", true).map_err(|error| error.to_string())?.ok_or("no answer")?;
        let mut headers = Vec::new();
        for (name, value) in answer.headers {
            // These two actix-web writes itself.
            if ["date", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
                continue;
            }
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            headers.push((name, HeaderValue::try_from(value).map_err(|error| error.to_string())?));
        }
        let status = StatusCode::from_u16(answer.status).map_err(|error| error.to_string())?;
        Ok(Self { status, headers, body: answer.body.into() })
    }

    fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status);
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response.head_mut().set_camel_case_headers(true);
        if self.status == StatusCode::NOT_MODIFIED {
            response.set_body(BoxBody::new(NoBody::new()))
        } else {
            response.set_body(BoxBody::new(self.body.clone()))
        }
    }
}

impl Constant {
    /// The head for `h2`, with the two headers that actix-web writes itself.
    fn http2_head(&self) -> Result<http::Response<()>, http::Error> {
        let mut head = http::Response::builder().status(self.status.as_u16());
        for (name, value) in &self.headers {
            head = head.header(name.as_str(), value.as_bytes());
        }
        let date = HttpDate::from(SystemTime::now()).to_string();
        head.header("content-length", self.body.len()).header("date", date).body(())
    }
}

/// What a floor is started with.
pub struct Setup {
    pub speaks: Speaks,
    pub reads: Reads,
    pub address: SocketAddr,
    /// The file with the answer.
    pub answer: PathBuf,
    /// The folder of the certificate.
    pub certificate: Option<PathBuf>,
}

/// Serves until it is killed.
pub fn serve(setup: &Setup) -> ExitCode {
    let &Setup { speaks, reads, address, .. } = setup;
    let tls = setup.certificate.as_deref().map(encryption::server).transpose();
    let (constant, tls) = match Constant::read(&setup.answer).and_then(|constant| Ok((constant, tls?))) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("a floor at {address}: {why}");
            return ExitCode::FAILURE;
        }
    };
    let served = actix_rt::System::new().block_on(async move {
        let listener = listener(address)?;
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let server = Server::build().workers(workers);
        if let (Speaks::Http2, Some(tls)) = (speaks, tls.clone()) {
            let factory = move || {
                let (constant, tls) = (constant.clone(), tls.clone());
                fn_service(move |tcp: TcpStream| serve_http2(tcp, tls.clone(), constant.clone()))
            };
            return server.listen("floor", listener, factory)?.run().await;
        }
        let factory = move || {
            let (constant, tls) = (constant.clone(), tls.clone());
            let answer = move || std::future::ready(constant.response());
            let default_service = match reads {
                Reads::Head => web::to(answer),
                Reads::Body => web::to(move |_body: Bytes| answer()),
            };
            let app = App::new().default_service(default_service);
            let http = HttpService::<Transport, _, _>::build()
                .keep_alive(KeepAlive::Timeout(Duration::from_secs(90)))
                .client_request_timeout(Duration::from_secs(60))
                .client_disconnect_timeout(Duration::from_secs(5))
                .finish(map_config(app, |()| AppConfig::default()));
            let accept = move |tcp: TcpStream| {
                let tls = tls.clone();
                async move {
                    tcp.set_nodelay(true)?;
                    let peer = tcp.peer_addr().ok();
                    let transport = match tls {
                        Some(tls) => Either::Right(Box::new(TlsAcceptor::from(tls).accept(tcp).await?)),
                        None => Either::Left(tcp),
                    };
                    Ok::<_, DispatchError>((transport, Protocol::Http1, peer))
                }
            };
            fn_service(accept).and_then(http)
        };
        server.listen("floor", listener, factory)?.run().await
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{address}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plain or TLS, as in the daemon.
type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Answers all requests of a connection.
async fn serve_http2(tcp: TcpStream, tls: Arc<ServerConfig>, constant: Constant) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let stream = TlsAcceptor::from(tls).accept(tcp).await?;
    let mut connection = h2::server::handshake(stream).await.map_err(io::Error::other)?;
    while let Some(accepted) = connection.accept().await {
        // A client that has seen enough resets its stream.
        let Ok((_, mut respond)) = accepted else { break };
        let head = constant.http2_head().map_err(io::Error::other)?;
        let Ok(mut stream) = respond.send_response(head, constant.body.is_empty()) else { continue };
        if !constant.body.is_empty() {
            stream.send_data(constant.body.clone(), true).ok();
        }
    }
    Ok(())
}
