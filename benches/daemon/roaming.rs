//! A client of several nodes, as SDKs are: it keeps a connection to one node, and takes the next node when this one refuses, is overloaded or
//! says that it ends. It allocates nothing for a request, so that many clients are a cheap load.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::ANSWER_LIMIT;

/// The end of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// One client.
pub struct Roaming<'a> {
    nodes: &'a [SocketAddr],
    /// The node of the connection, or of the next one.
    at: usize,
    stream: Option<TcpStream>,
    received: Vec<u8>,
    /// How often it took the next node.
    pub moves: usize,
}

/// What a node has answered.
struct Received {
    status: u16,
    body: Range<usize>,
    is_last: bool,
}

impl<'a> Roaming<'a> {
    /// A client that begins with the node of this number.
    pub fn new(nodes: &'a [SocketAddr], first: usize) -> Self {
        Self { nodes, at: first % nodes.len(), stream: None, received: Vec::new(), moves: 0 }
    }

    /// Sends a request that may be executed twice, at most once to each node, and at least twice. The status and the body; an error if no node
    /// has answered, or all are overloaded.
    pub async fn call(&mut self, request: &[u8]) -> std::result::Result<(u16, &[u8]), String> {
        let mut tries = self.nodes.len().max(2);
        let received = loop {
            let why = match timeout(ANSWER_LIMIT, self.exchange(request)).await {
                Ok(Ok(received)) if received.status != 503 => break received,
                Ok(Ok(_)) => "503".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {ANSWER_LIMIT:?}"),
            };
            self.go_on();
            tries -= 1;
            if tries == 0 {
                return Err(why);
            }
        };
        if received.is_last {
            self.go_on();
        }
        Ok((received.status, &self.received[received.body]))
    }

    /// The next node is used for the next request.
    fn go_on(&mut self) {
        self.stream = None;
        self.at = (self.at + 1) % self.nodes.len();
        self.moves += 1;
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Received> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.nodes[self.at]).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(request).await?;
        self.received.clear();
        let begin = loop {
            if let Some(end) = memchr::memmem::find(&self.received, HEAD_END) {
                break end + HEAD_END.len();
            }
            fill(stream, &mut self.received).await?;
        };
        let head = Head::read(&self.received[..begin])?;
        let end = begin + head.length;
        self.received.reserve(end.saturating_sub(self.received.len()));
        while self.received.len() < end {
            fill(stream, &mut self.received).await?;
        }
        Ok(Received { status: head.status, body: begin..end, is_last: head.is_last })
    }
}

async fn fill(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<()> {
    if stream.read_buf(received).await? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// What counts of a head.
struct Head {
    status: u16,
    length: usize,
    /// No further request is answered on this connection.
    is_last: bool,
}

impl Head {
    fn read(head: &[u8]) -> Result<Self> {
        let malformed = || Error::new(ErrorKind::InvalidData, String::from_utf8_lossy(head));
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.trim().parse::<usize>().ok();
        let status = head.get(9..12).and_then(number).ok_or_else(malformed)?;
        let (mut length, mut is_last) = (None, false);
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(0));
            if name.eq_ignore_ascii_case(b"content-length") {
                length = number(&value[1..]);
            } else if name.eq_ignore_ascii_case(b"connection") {
                is_last = value[1..].trim_ascii().eq_ignore_ascii_case(b"close");
            }
        }
        // An answer without content may name no length.
        let length = length.or((status == 304 || status == 204).then_some(0)).ok_or_else(malformed)?;
        let status = u16::try_from(status).map_err(|_| malformed())?;
        Ok(Self { status, length, is_last })
    }
}
