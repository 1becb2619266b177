//! A client of the server under test. It sends bytes as they are written, and every wait has a limit.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::eventually::GENEROUS;
use crate::support::http::{AsyncConnection, Response};

pub struct Client<T = TcpStream>(AsyncConnection<T>);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(AsyncConnection::open(address).await.unwrap())
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.stream()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    /// A client over any stream.
    pub fn over(stream: T) -> Self {
        Self(AsyncConnection::over(stream))
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.send(bytes.as_ref())).await.unwrap();
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

    /// Reads the answer to a request line. Only the method matters.
    pub async fn answer_to(&mut self, line: &str) -> Response {
        let method = line.split(' ').next().unwrap_or_default();
        within(self.0.read_response(method)).await.unwrap()
    }

    /// Reads up to and including `end`.
    pub async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        within(self.0.read_through(end)).await.unwrap()
    }

    /// Reads `length` bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        within(self.0.read_exactly(length)).await.unwrap()
    }

    /// Reads to the end of the connection. An error counts as the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        within(self.0.read_to_end()).await
    }
}

async fn within<T>(reading: impl Future<Output = T>) -> T {
    timeout(GENEROUS, reading).await.expect("the server sends, takes, or ends the connection")
}
