//! A blocking client for server-sent events over HTTP/1.1. Every wait has a limit.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct SseEvent {
    pub id: String,
    pub kind: String,
    pub data: Value,
}

/// An open stream of events. Dropping it ends the connection.
#[derive(Debug)]
pub struct EventStream {
    socket: TcpStream,
    /// Status line and headers of the answer.
    pub head: String,
    /// What came and is no whole chunk yet.
    raw: Vec<u8>,
    /// What came in chunks and is no whole event yet.
    text: String,
    has_ended: bool,
}

impl EventStream {
    /// Asks for a stream. `Err` is any answer but 200, with its body as far as it has come.
    pub fn open(
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
        limit: Duration,
    ) -> Result<Self, String> {
        let mut socket = TcpStream::connect_timeout(&address, limit).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(limit)).map_err(|error| error.to_string())?;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
        let (text, raw) = (String::new(), Vec::new());
        let mut stream = Self { socket, head: String::new(), raw, text, has_ended: false };
        let end = loop {
            if let Some(end) = find(&stream.raw, b"\r\n\r\n") {
                break end;
            }
            stream.read()?;
        };
        stream.head = String::from_utf8_lossy(&stream.raw[..end]).into_owned();
        stream.raw.drain(..end + 4);
        if stream.head.starts_with("HTTP/1.1 200 ") {
            Ok(stream)
        } else {
            Err(format!("{}\r\n\r\n{}", stream.head, String::from_utf8_lossy(&stream.raw)))
        }
    }

    /// The next event, after any comments. `None` if the stream has ended. Panics if nothing comes within the limit of the stream.
    #[track_caller]
    pub fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                if event.starts_with(':') {
                    continue;
                }
                return Some(parse(&event));
            }
            if self.take_chunk() {
                continue;
            }
            if self.has_ended {
                return None;
            }
            self.read().unwrap_or_else(|error| panic!("no event came: {error}"));
        }
    }

    /// The next event. Panics if the stream has ended.
    #[track_caller]
    pub fn expect(&mut self) -> SseEvent {
        self.next().expect("the stream has ended")
    }

    fn read(&mut self) -> Result<(), String> {
        let mut bytes = [0; 16 * 1024];
        match self.socket.read(&mut bytes) {
            Ok(0) => Err("the connection has ended".to_owned()),
            Ok(count) => {
                self.raw.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes a chunk, if a whole one has come.
    fn take_chunk(&mut self) -> bool {
        let Some(line) = find(&self.raw, b"\r\n") else { return false };
        let size = std::str::from_utf8(&self.raw[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no size of a chunk: {size:?}"));
        let end = line + 2 + size;
        if self.raw.len() < end + 2 {
            return false;
        }
        self.text.push_str(std::str::from_utf8(&self.raw[line + 2..end]).unwrap());
        self.raw.drain(..end + 2);
        self.has_ended |= size == 0;
        size > 0
    }
}

fn find(bytes: &[u8], sought: &[u8]) -> Option<usize> {
    bytes.windows(sought.len()).position(|window| window == sought)
}

fn parse(text: &str) -> SseEvent {
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = lines.next().unwrap_or_default().to_owned();
        assert_eq!(lines.next(), None, "one line for each field: {text}");
        value
    };
    SseEvent { id: field("id"), kind: field("event"), data: serde_json::from_str(&field("data")).unwrap() }
}
