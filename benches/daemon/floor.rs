//! The floor: what this machine needs to answer the same bytes with nothing behind them.
//!
//! Plain actix-web under the daemon's settings (the same service, one default service instead of routes, TCP_NODELAY, as
//! many workers, the same time limits, the same allocator), and a constant: status, headers and body recorded from the
//! daemon. None of the daemon's own code runs in it, neither connection wrapper nor dispatcher nor router: what they cost
//! is what the ratio is to show. It is a process of its own, this program once more, so that its CPU can be counted alone.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use actix_http::body::None as NoBody;
use actix_http::error::DispatchError;
use actix_http::header::{HeaderName, HeaderValue};
use actix_http::{HttpService, KeepAlive, Protocol, StatusCode};
use actix_server::Server;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::AppConfig;
use actix_web::{App, HttpResponse, web};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::TcpStream;

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

/// A floor that serves.
pub struct Floor {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Floor {
    /// Starts a floor that answers everything with `answer`.
    pub fn start(answer: &Response, reads: Reads) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the floor: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let (recorded, log) = (folder.path().join("answer"), folder.path().join("output"));
        fs::write(&recorded, bytes_of(answer)).map_err(failed)?;
        let address = free_address().map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["floor", reads.name()]).arg(address.to_string()).arg(&recorded);
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

/// Serves until it is killed.
pub fn serve(reads: Reads, address: SocketAddr, answer: &Path) -> ExitCode {
    let constant = match Constant::read(answer) {
        Ok(constant) => constant,
        Err(why) => {
            eprintln!("{}: {why}", answer.display());
            return ExitCode::FAILURE;
        }
    };
    let served = actix_rt::System::new().block_on(async move {
        let factory = move || {
            let constant = constant.clone();
            let answer = move || std::future::ready(constant.response());
            let default_service = match reads {
                Reads::Head => web::to(answer),
                Reads::Body => web::to(move |_body: Bytes| answer()),
            };
            let app = App::new().default_service(default_service);
            let http = HttpService::<TcpStream, _, _>::build()
                .keep_alive(KeepAlive::Timeout(Duration::from_secs(90)))
                .client_request_timeout(Duration::from_secs(60))
                .client_disconnect_timeout(Duration::from_secs(5))
                .finish(map_config(app, |()| AppConfig::default()));
            fn_service(async |tcp: TcpStream| {
                tcp.set_nodelay(true)?;
                let peer = tcp.peer_addr().ok();
                Ok::<_, DispatchError>((tcp, Protocol::Http1, peer))
            })
            .and_then(http)
        };
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Server::build().workers(workers).listen("floor", listener, factory)?.run().await
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{address}: {error}");
            ExitCode::FAILURE
        }
    }
}
