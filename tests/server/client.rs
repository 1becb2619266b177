//! A client that speaks bytes.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// More than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub struct Client<T = TcpStream> {
    io: T,
    unread: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub struct Response {
    /// Status line and headers, as they came.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// A header by its exact spelling.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Client {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// The socket alone, without what a client needs to read from it.
    pub fn into_socket(self) -> std::net::TcpStream {
        assert!(self.unread.is_empty());
        self.io.into_std().unwrap()
    }

    /// A client on a socket.
    pub fn from_socket(socket: std::net::TcpStream) -> Self {
        Self::over(TcpStream::from_std(socket).unwrap())
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.io
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    /// A client over any stream.
    pub fn over(io: T) -> Self {
        Self { io, unread: Vec::new() }
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.io.write_all(bytes.as_ref())).await.unwrap().unwrap();
        self.io.flush().await.unwrap();
    }

    /// Sends a request without a body and reads the answer.
    pub async fn get(&mut self, target: &str) -> Response {
        self.ask(&format!("GET {target}"), "").await
    }

    /// Sends a request line (`PUT /x`) with further header lines and reads the answer.
    pub async fn ask(&mut self, line: &str, headers: &str) -> Response {
        self.send(format!("{line} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")).await;
        self.answer_to(line).await
    }

    /// Sends a request with a body and reads the answer.
    pub async fn put(&mut self, line: &str, body: &[u8]) -> Response {
        self.send(format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len())).await;
        self.send(body).await;
        self.answer_to(line).await
    }

    /// Reads the answer to a request.
    pub async fn answer_to(&mut self, line: &str) -> Response {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await).unwrap();
        let mut response = Response { head, body: Vec::new() };
        let length = response.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        if !line.starts_with("HEAD") {
            response.body = self.exactly(length).await;
        }
        response
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return self.unread.drain(..at + end.len()).collect();
            }
            assert!(
                self.more().await,
                "the connection ended with {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(
                self.more().await,
                "the connection ended with {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        }
        self.unread.drain(..length).collect()
    }

    /// Reads to the connection's end; an error is an end, too.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    async fn more(&mut self) -> bool {
        timeout(PATIENCE, self.io.read_buf(&mut self.unread))
            .await
            .expect("an answer")
            .is_ok_and(|read| read > 0)
    }
}
