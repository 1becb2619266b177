//! A blocking connection, with or without TLS. It sends bytes, and reads complete responses with any framing.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::incoming::Incoming;
use super::{HttpError, Request, Response};
use crate::support::eventually::Deadline;

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.sock,
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

/// A connection for one exchange after another, as long as the server keeps it open.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    host: String,
    limit: Duration,
    incoming: Incoming,
    reusable: bool,
}

impl Connection {
    /// Connects. `limit` applies to the connection and to each exchange.
    pub fn open(address: SocketAddr, limit: Duration) -> Result<Self, HttpError> {
        Ok(Self::over(Stream::Plain(connect(address, limit)?), address, limit))
    }

    /// As [`Connection::open`], with TLS. The server's certificate must name the IP address.
    pub fn open_tls(address: SocketAddr, limit: Duration, tls: Arc<ClientConfig>) -> Result<Self, HttpError> {
        let failed = |error: rustls::Error| HttpError::Connect(io::Error::other(error));
        let client = ClientConnection::new(tls, address.ip().into()).map_err(failed)?;
        let stream = StreamOwned::new(client, connect(address, limit)?);
        Ok(Self::over(Stream::Tls(Box::new(stream)), address, limit))
    }

    fn over(stream: Stream, address: SocketAddr, limit: Duration) -> Self {
        Self { stream, host: address.to_string(), limit, incoming: Incoming::default(), reusable: true }
    }

    /// Whether the last answer leaves the connection open for another request.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Sends a request and reads its answer.
    ///
    /// A server may answer and close the connection before it has read a body that it refuses. Then the answer counts.
    pub fn exchange(&mut self, request: &Request) -> Result<Response, HttpError> {
        let deadline = Deadline::after(self.limit);
        let sent = self.send_bytes(&request.encode(&self.host));
        match (self.receive(&request.method, deadline), sent) {
            (Ok(response), _) => Ok(response),
            (Err(_), Err(error)) => Err(HttpError::Send(error)),
            (Err(error), Ok(())) => Err(error),
        }
    }

    /// Sends these bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.tcp().set_write_timeout(Some(self.limit))?;
        self.stream.write_all(bytes)
    }

    /// Reads the answer to a request made by [`Connection::send_bytes`]; the method decides whether a body follows.
    pub fn read_response(&mut self, method: &str) -> Result<Response, HttpError> {
        self.receive(method, Deadline::after(self.limit))
    }

    /// Whether the server closes the connection within `limit` without sending anything more.
    pub fn closes_within(&mut self, limit: Duration) -> bool {
        let deadline = Deadline::after(limit);
        let before = self.incoming.buffer().len();
        let ended = matches!(self.fill(deadline), Ok(0) | Err(HttpError::Receive(_)));
        ended && self.incoming.buffer().len() == before
    }

    /// Ends the connection at once.
    pub fn cut(self) {
        self.stream.tcp().shutdown(Shutdown::Both).ok();
    }

    fn receive(&mut self, method: &str, deadline: Deadline) -> Result<Response, HttpError> {
        let mut has_ended = false;
        loop {
            if let Some(response) = self.incoming.take_response(method, has_ended)? {
                let says_close =
                    response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                self.reusable = !says_close && !has_ended;
                return Ok(response);
            }
            has_ended = self.fill(deadline)? == 0;
        }
    }

    /// Reads the available bytes, at least one unless the connection has ended; their number.
    fn fill(&mut self, deadline: Deadline) -> Result<usize, HttpError> {
        let mut buffer = [0; 64 * 1024];
        loop {
            let left = deadline.remaining();
            if left.is_zero() {
                return Err(HttpError::TimedOut);
            }
            self.stream.tcp().set_read_timeout(Some(left)).map_err(HttpError::Receive)?;
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.incoming.buffer().extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(HttpError::Receive(error)),
            }
        }
    }
}

fn connect(address: SocketAddr, limit: Duration) -> Result<TcpStream, HttpError> {
    let stream = TcpStream::connect_timeout(&address, limit).map_err(HttpError::Connect)?;
    stream.set_nodelay(true).map_err(HttpError::Connect)?;
    Ok(stream)
}
