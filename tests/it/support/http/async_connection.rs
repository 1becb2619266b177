//! A connection for a test that is a task, over a plain or an encrypted stream. The caller sets the limits.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::incoming::Incoming;
use super::{HttpError, Response};

/// The least free space in the buffer before a read, in bytes.
const ROOM: usize = 16 * 1024;

/// A connection. It sends exactly the bytes of the caller.
#[derive(Debug)]
pub struct AsyncConnection<T = TcpStream> {
    stream: T,
    incoming: Incoming,
}

impl AsyncConnection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self, HttpError> {
        let stream = TcpStream::connect(address).await.map_err(HttpError::Connect)?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;
        Ok(Self::over(stream))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncConnection<T> {
    /// A connection over this stream.
    pub fn over(stream: T) -> Self {
        Self { stream, incoming: Incoming::default() }
    }

    /// The stream.
    pub fn stream(&self) -> &T {
        &self.stream
    }

    /// The stream, and the bytes behind the last answer.
    #[allow(dead_code, reason = "the benches go on with another protocol")]
    pub fn into_parts(mut self) -> (T, Vec<u8>) {
        (self.stream, self.incoming.take_all())
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), HttpError> {
        self.stream.write_all(bytes).await.map_err(HttpError::Send)?;
        self.stream.flush().await.map_err(HttpError::Send)
    }

    /// Reads the answer to a request; its method decides whether a body follows.
    pub async fn read_response(&mut self, method: &str) -> Result<Response, HttpError> {
        let mut has_ended = false;
        loop {
            if let Some(response) = self.incoming.take_response(method, has_ended)? {
                return Ok(response);
            }
            has_ended = self.fill().await? == 0;
        }
    }

    /// Reads so many bytes.
    pub async fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, HttpError> {
        self.read_until(|incoming| incoming.take(length)).await
    }

    /// Reads up to and including `end`.
    pub async fn read_through(&mut self, end: &[u8]) -> Result<Vec<u8>, HttpError> {
        self.read_until(|incoming| incoming.take_through(end)).await
    }

    /// Reads to the end of the connection. An error counts as the end.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        while matches!(self.fill().await, Ok(1..)) {}
        self.incoming.take_all()
    }

    async fn read_until(
        &mut self,
        take: impl Fn(&mut Incoming) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, HttpError> {
        loop {
            if let Some(bytes) = take(&mut self.incoming) {
                return Ok(bytes);
            }
            if self.fill().await? == 0 {
                return Err(HttpError::Closed(self.incoming.buffer().len()));
            }
        }
    }

    /// Reads the available bytes, at least one unless the connection has ended; their number.
    async fn fill(&mut self) -> Result<usize, HttpError> {
        let buffer = self.incoming.buffer();
        buffer.reserve(ROOM);
        self.stream.read_buf(buffer).await.map_err(HttpError::Receive)
    }
}
