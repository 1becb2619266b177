//! One connection: sends bytes, reads whole responses, in whatever framing they come.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::{HttpError, Request, Response};
use crate::support::eventually::Deadline;

/// A head longer than this is no answer of ours.
const MAX_HEAD_BYTES: usize = 1024 * 1024;
/// A body longer than this would only fill the test's memory.
const MAX_BODY_BYTES: usize = 256 * 1024 * 1024;

/// A connection, used for one exchange after another as long as the server keeps it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    host: String,
    limit: Duration,
    received: Vec<u8>,
    reusable: bool,
}

impl Connection {
    /// Connects. `limit` holds for the connecting and for each exchange.
    pub fn open(address: SocketAddr, limit: Duration) -> Result<Self, HttpError> {
        let stream = TcpStream::connect_timeout(&address, limit).map_err(HttpError::Connect)?;
        stream.set_nodelay(true).map_err(HttpError::Connect)?;
        Ok(Self { stream, host: address.to_string(), limit, received: Vec::new(), reusable: true })
    }

    /// Whether the last answer leaves the connection open for another request.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Sends a request and reads its answer.
    ///
    /// A server may answer, and close, before it has read a body it refuses: then the answer counts.
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
        self.stream.set_write_timeout(Some(self.limit))?;
        self.stream.write_all(bytes)
    }

    /// Reads the answer to a request made by [`Connection::send_bytes`]; the method decides whether a body follows.
    pub fn read_response(&mut self, method: &str) -> Result<Response, HttpError> {
        self.receive(method, Deadline::after(self.limit))
    }

    /// Whether the server closes the connection within `limit` without sending anything more.
    pub fn closes_within(&mut self, limit: Duration) -> bool {
        let deadline = Deadline::after(limit);
        let before = self.received.len();
        let ended = matches!(self.fill(deadline), Ok(0) | Err(HttpError::Receive(_)));
        ended && self.received.len() == before
    }

    /// Ends the connection without a word.
    pub fn cut(self) {
        self.stream.shutdown(Shutdown::Both).ok();
    }

    fn receive(&mut self, method: &str, deadline: Deadline) -> Result<Response, HttpError> {
        loop {
            let (status, headers) = self.receive_head(deadline)?;
            if (100..200).contains(&status) && status != 101 {
                continue; // 100 Continue and its like announce the answer
            }
            let mut response = Response { status, headers, body: Vec::new() };
            let bodiless = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let mut keeps =
                !response.header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
            if !bodiless {
                response.body = if is_chunked(&response) {
                    self.receive_chunks(deadline)?
                } else if let Some(length) = response.header("Content-Length") {
                    let length = length.parse().map_err(|_| malformed("Content-Length", length))?;
                    self.take(length, deadline)?
                } else {
                    keeps = false;
                    self.receive_to_end(deadline)?
                };
            }
            self.reusable = keeps;
            return Ok(response);
        }
    }

    fn receive_head(&mut self, deadline: Deadline) -> Result<(u16, Vec<(String, String)>), HttpError> {
        let status_line = self.take_line(deadline)?;
        let status = status_line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| malformed("status line", &status_line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.take_line(deadline)?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed("header line", &line))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn receive_chunks(&mut self, deadline: Deadline) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line(deadline)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| malformed("chunk size", &line))?;
            if length == 0 {
                while !self.take_line(deadline)?.is_empty() {} // trailers
                return Ok(body);
            }
            if body.len() + length > MAX_BODY_BYTES {
                return Err(malformed("chunk size", "the body is too long"));
            }
            body.extend(self.take(length, deadline)?);
            if !self.take_line(deadline)?.is_empty() {
                return Err(malformed("chunk", "no line end after it"));
            }
        }
    }

    fn receive_to_end(&mut self, deadline: Deadline) -> Result<Vec<u8>, HttpError> {
        while self.fill(deadline)? > 0 {
            if self.received.len() > MAX_BODY_BYTES {
                return Err(malformed("body", "it is too long"));
            }
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// The bytes up to the next line end, without it, as text (each byte a character, as HTTP/1.1 has it).
    fn take_line(&mut self, deadline: Deadline) -> Result<String, HttpError> {
        loop {
            if let Some(end) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.received[..end].iter().map(|&byte| char::from(byte)).collect();
                self.received.drain(..end + 2);
                return Ok(line);
            }
            if self.received.len() > MAX_HEAD_BYTES {
                return Err(malformed("line", "it does not end"));
            }
            if self.fill(deadline)? == 0 {
                return Err(HttpError::Closed(self.received.len()));
            }
        }
    }

    fn take(&mut self, length: usize, deadline: Deadline) -> Result<Vec<u8>, HttpError> {
        if length > MAX_BODY_BYTES {
            return Err(malformed("body", "it is too long"));
        }
        while self.received.len() < length {
            if self.fill(deadline)? == 0 {
                return Err(HttpError::Closed(self.received.len()));
            }
        }
        let rest = self.received.split_off(length);
        Ok(std::mem::replace(&mut self.received, rest))
    }

    /// Reads what is there, at least one byte unless the connection has ended; the number of bytes.
    fn fill(&mut self, deadline: Deadline) -> Result<usize, HttpError> {
        let mut buffer = [0; 64 * 1024];
        loop {
            let left = deadline.remaining();
            if left.is_zero() {
                return Err(HttpError::TimedOut);
            }
            self.stream.set_read_timeout(Some(left)).map_err(HttpError::Receive)?;
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.received.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(HttpError::Receive(error)),
            }
        }
    }
}

fn is_chunked(response: &Response) -> bool {
    response.header("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

fn malformed(what: &str, seen: &str) -> HttpError {
    HttpError::Malformed(format!("{what}: {seen:?}"))
}
