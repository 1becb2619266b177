//! Reading a request's body: bounded in size and time, unpacked if it is gzip, without a copy where it comes in one piece.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::RequestHead;
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::header;
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use futures_util::StreamExt as _;

use super::admission::BodySpace;
use crate::domain::validate::rule::Shown;
use crate::http::answer_memory::{AnswerSpace, PIECE};

/// Most bytes of a body, and the key of the configuration that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyLimit {
    pub(super) most: usize,
    pub(super) key: &'static str,
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is too large, or packed in a way that is not understood: for the answer's detail. The rest of it is not read.
    Unfit(String),
    /// All bodies together are larger than the server holds.
    NoRoom,
    /// It did not arrive in time.
    Slow,
    /// The connection or the encoding broke.
    Broken(String),
}

/// Most bytes of an unwanted body that are read so that the connection can go on. More, and it is closed after the
/// answer.
const MOST_DROPPED: usize = 256 * 1024;

/// Characters of a header's value that an answer repeats.
const SHOWN_CHARACTERS: usize = 64;

/// How long an unwanted body may take.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// What unpacking takes beside what is unpacked: gzip's window and a buffer.
const UNPACKING: usize = 80 * 1024;

impl BodyLimit {
    /// 5120 bytes of `server.request.maxInstanceBytes`, in the words of an answer. They begin with Go's, which are searched
    /// for.
    fn exceeded(self, by: std::fmt::Arguments<'_>) -> BodyError {
        let Self { most, key } = self;
        BodyError::Unfit(format!(
            "http: request body too large: {by}, at most {most} bytes are taken ({key})"
        ))
    }
}

/// The body, of at most `limit` bytes, within `time`; gzip is unpacked. What is left of an unfit one stays in `payload`.
pub(super) async fn read(
    head: &RequestHead,
    payload: &mut Payload,
    limit: BodyLimit,
    time: Duration,
    space: &mut BodySpace,
) -> Result<Bytes, BodyError> {
    let packing = packing(head)?;
    if let Some(length) =
        announced(head).filter(|length| usize::try_from(*length).is_ok_and(|l| l > limit.most))
    {
        return Err(limit.exceeded(format_args!("it has {length} bytes")));
    }
    let read = async {
        match packing {
            Packing::None => collect(payload, limit, space).await,
            Packing::Gzip => unpack(payload, limit, space).await,
        }
    };
    tokio::time::timeout(time, read).await.unwrap_or(Err(BodyError::Slow))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
}

/// How the body is packed. Whatever else the header says is refused: read as it came, it would pass for bad JSON.
fn packing(head: &RequestHead) -> Result<Packing, BodyError> {
    let mut named = head.headers.get_all(header::CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    match (named.next().unwrap_or_default(), named.next()) {
        (b"", None) => Ok(Packing::None),
        (one, None) if one.eq_ignore_ascii_case(b"identity") => Ok(Packing::None),
        (one, None) if one.eq_ignore_ascii_case(b"gzip") || one.eq_ignore_ascii_case(b"x-gzip") => {
            Ok(Packing::Gzip)
        }
        (first, _) => {
            let shown = Shown::up_to(SHOWN_CHARACTERS, String::from_utf8_lossy(first));
            let detail =
                format!("header Content-Encoding: '{shown}' is not read, send the body as gzip or as it is");
            Err(BodyError::Unfit(detail))
        }
    }
}

/// Unpacks a body as it comes, and ends with the byte that is too much.
async fn unpack(payload: &mut Payload, limit: BodyLimit, space: &mut BodySpace) -> Result<Bytes, BodyError> {
    let too_large = |what| limit.exceeded(format_args!("{what} more than {} bytes", limit.most));
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large("unpacked it has"),
        _ => BodyError::Unfit(format!("the body is no gzip, as its header Content-Encoding says: {error}")),
    };
    let mut decoder = GzDecoder::new(Unpacked { bytes: Vec::new(), most: limit.most });
    let mut length = 0_usize;
    loop {
        if !space.grow_to(UNPACKING + decoder.get_ref().bytes.len()) {
            return Err(BodyError::NoRoom);
        }
        let Some(chunk) = payload.next().await else { break };
        let chunk = chunk.map_err(|error| BodyError::Broken(error.to_string()))?;
        length = length.saturating_add(chunk.len());
        if length > limit.most {
            return Err(too_large("it has"));
        }
        decoder.write_all(&chunk).map_err(broken)?;
    }
    decoder.finish().map(|unpacked| unpacked.bytes.into()).map_err(broken)
}

/// Takes so many bytes and no more.
struct Unpacked {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn collect(payload: &mut Payload, limit: BodyLimit, space: &mut BodySpace) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    let mut length = 0_usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| BodyError::Broken(error.to_string()))?;
        length = length.saturating_add(chunk.len());
        if length > limit.most {
            return Err(limit.exceeded(format_args!("it has more than {} bytes", limit.most)));
        }
        if !space.grow_to(length) {
            return Err(BodyError::NoRoom);
        }
        match &mut rest {
            Some(rest) => rest.extend_from_slice(&chunk),
            None if first.is_empty() => first = chunk,
            None => {
                let mut joined = BytesMut::with_capacity(length * 2);
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&chunk);
                rest = Some(joined);
            }
        }
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

/// Reads and drops a body nobody wants. `false` if it was too much, took too long or broke: the connection cannot go on.
pub(super) async fn drop_rest(head: &RequestHead, payload: &mut Payload) -> bool {
    if announced(head).is_some_and(|length| length > MOST_DROPPED as u64) {
        return false;
    }
    let drained = async {
        let mut length = 0_usize;
        while let Some(chunk) = payload.next().await {
            let Ok(chunk) = chunk else { return false };
            length = length.saturating_add(chunk.len());
            if length > MOST_DROPPED {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DROP_LIMIT, drained).await.unwrap_or(false)
}

/// `Content-Length`. What is no number never gets here: the parser refuses it.
fn announced(head: &RequestHead) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// An answer's body that holds the request's unread body until the answer is sent. The library then closes the
/// connection after the answer and throws away what still comes, for a bounded time; were the request's body dropped
/// earlier, it would go on reading a chunked one for ever.
pub(super) struct Holding {
    answer: BoxBody,
    _unread: Payload,
}

impl Holding {
    pub(super) fn new(answer: BoxBody, unread: Payload) -> Self {
        Self { answer, _unread: unread }
    }
}

impl MessageBody for Holding {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.get_mut().answer.as_pin_mut().poll_next(cx)
    }
}

/// An answer's body that is handed out piece by piece and holds its space meanwhile.
///
/// HTTP/1: the library copies a piece into its write buffer, and asks for the next one, or for the end, when the socket has
/// taken that. So it never holds more than a piece beside the body, which many answers may share. HTTP/2: the library
/// queues pieces without a copy, after the body's end as well; so the space hangs on the bytes.
pub(super) struct Pieces {
    answer: Bytes,
    sent: usize,
}

/// What the bytes of an answer in pieces belong to.
struct Owned {
    body: Bytes,
    _space: AnswerSpace,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Pieces {
    pub(super) fn new(body: Bytes, space: AnswerSpace) -> Self {
        Self { answer: Bytes::from_owner(Owned { body, _space: space }), sent: 0 }
    }
}

impl MessageBody for Pieces {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.answer.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let end = this.answer.len().min(this.sent.saturating_add(PIECE));
        let piece = this.answer.slice(this.sent..end);
        this.sent = end;
        Poll::Ready((!piece.is_empty()).then_some(Ok(piece)))
    }
}
