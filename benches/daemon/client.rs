//! A client on kept connections: what fills the daemon, and what measures where wrk cannot. It reads answers as the tests do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::http::{AsyncConnection, Response};

/// For one answer. A daemon that takes longer has failed.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Connections that fill.
const FILLERS: usize = 64;
/// Threads they are spread over: more would not fill faster on few cores.
const THREADS: usize = 2;

/// The API of the default project.
pub const BASE: &str = "/v4/default/registry";

/// Where requests are sent to, and the token that goes with each.
#[derive(Clone, Copy, Debug)]
pub struct Api<'a> {
    /// The address of the daemon.
    pub address: SocketAddr,
    /// A daemon with accounts asks for it.
    pub token: Option<&'a str>,
}

impl From<SocketAddr> for Api<'_> {
    fn from(address: SocketAddr) -> Self {
        Self { address, token: None }
    }
}

impl Api<'_> {
    fn with_token(self, request: Vec<u8>) -> Vec<u8> {
        match self.token {
            Some(token) => with_token(&request, token),
            None => request,
        }
    }
}

/// The request with this token.
pub fn with_token(request: &[u8], token: &str) -> Vec<u8> {
    let line = request.windows(2).position(|window| window == b"\r\n").map_or(0, |end| end + 2);
    let (line, rest) = request.split_at(line);
    [line, format!("Authorization: Bearer {token}\r\n").as_bytes(), rest].concat()
}

/// A request without a body.
pub fn request(method: &str, path: &str, consumer: Option<&str>) -> Vec<u8> {
    let consumer = consumer.map(|id| format!("X-ConsumerId: {id}\r\n")).unwrap_or_default();
    // A method that may have a body says that it has none.
    let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    format!("{method} {path} HTTP/1.1\r\nHost: bench\r\n{consumer}{length}\r\n").into_bytes()
}

/// A `POST` of JSON.
pub fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A text member of an answer's body, which is a small JSON object.
pub fn member(answer: &Response, name: &str) -> Result<String, String> {
    let body = answer.text();
    let found = serde_json::from_str::<serde_json::Value>(&body).ok();
    let found = found.and_then(|value| value[name].as_str().map(str::to_owned));
    found.ok_or_else(|| format!("no {name} in {body}"))
}

/// How many instances a find has found.
pub fn instances_in(answer: &Response) -> usize {
    count_instances(&answer.body)
}

/// As [`instances_in`], of a body.
pub fn count_instances(body: &[u8]) -> usize {
    memchr::memmem::find_iter(body, b"{\"instanceId\":").count()
}

/// A kept connection.
pub struct Connection(AsyncConnection);

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, String> {
        AsyncConnection::open(address).await.map(Self).map_err(|error| error.to_string())
    }

    /// Sends a request, of any method but HEAD, and waits for its answer, whatever its status.
    pub async fn call(&mut self, request: &[u8]) -> Result<Response, String> {
        let exchange = async {
            self.0.send(request).await?;
            self.0.read_response("GET").await
        };
        match timeout(ANSWER_LIMIT, exchange).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {ANSWER_LIMIT:?}")),
        }
    }

    /// As [`Connection::call`]; another status than 200 is an error.
    pub async fn succeed(&mut self, request: &[u8]) -> Result<Response, String> {
        let answer = self.call(request).await?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let line = String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned();
        Err(format!("{line}: {} {}", answer.status, answer.text()))
    }

    /// The socket, and what was received behind the last answer.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        self.0.into_parts()
    }
}

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// One request on a connection of its own.
pub fn once<'a>(api: impl Into<Api<'a>>, request: &[u8]) -> Result<Response, String> {
    let api = api.into();
    block_on(async { Connection::open(api.address).await?.succeed(&api.with_token(request.to_vec())).await })
}

/// Sends `count` requests as fast as they are answered, all with 200, over many connections; `take` gets the answers.
pub fn send_all<'a>(
    api: impl Into<Api<'a>>,
    count: usize,
    request: impl Fn(usize) -> Vec<u8> + Sync,
    take: impl Fn(usize, Response) + Sync,
) -> Result<(), String> {
    let (api, next) = (api.into(), AtomicUsize::new(0));
    let filler = async || {
        let mut connection = Connection::open(api.address).await?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            take(index, connection.succeed(&api.with_token(request(index))).await?);
        }
    };
    let fillers = || block_on(try_join_all((0..FILLERS / THREADS).map(|_| filler()))).map(drop);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(fillers)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a filler panicked".to_owned())))
    })
}
