//! Request bodies: limits for size and time, gzip. And two kinds of answer bodies.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_http::RequestHead;
use actix_http::body::{BodySize, BoxBody, MessageBody, SizedStream};
use actix_http::error::PayloadError;
use actix_http::header;
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::admission::BodySpace;
use crate::domain::validate::rule::Shown;
use crate::http::answer_memory::{AnswerSpace, next_piece};

/// The limit for a body in bytes, and its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyLimit {
    pub(super) most: usize,
    pub(super) key: &'static str,
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// The body is too large, or its encoding is unknown or broken. The rest of it is not read. With the detail of the answer.
    Rejected(String),
    /// All bodies together are larger than the server allows.
    NoRoom,
    /// The body did not arrive in time, or the connection or the framing broke. With the detail of the answer.
    Incomplete(String),
}

/// If an unwanted body is larger than this, in bytes, it is not read and the connection is closed after the answer.
const MOST_DROPPED: usize = 256 * 1024;

/// How many characters of a header's value an answer repeats.
const SHOWN_CHARACTERS: usize = 64;

/// How long an unwanted body may take.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// Memory for unpacking besides the unpacked bytes: the window of gzip and a buffer.
const UNPACKING: usize = 80 * 1024;

impl BodyLimit {
    /// The text begins as in Go, because clients search for that.
    fn exceeded(self, by: std::fmt::Arguments<'_>) -> BodyError {
        let Self { most, key } = self;
        BodyError::Rejected(format!(
            "http: request body too large: {by}, at most {most} bytes are taken ({key})"
        ))
    }
}

/// Reads a body of at most `limit` bytes within `time`, and unpacks gzip. The rest of a rejected body stays in `payload`.
pub(super) async fn read(
    head: &RequestHead,
    payload: &mut Payload,
    limit: BodyLimit,
    time: Duration,
    space: &mut BodySpace,
) -> Result<Bytes, BodyError> {
    let is_gzip = is_gzip(head)?;
    if let Some(length) =
        announced(head).filter(|length| usize::try_from(*length).is_ok_and(|l| l > limit.most))
    {
        return Err(limit.exceeded(format_args!("it has {length} bytes")));
    }
    let read = async {
        if is_gzip {
            return unpack(payload, limit, space).await;
        }
        let mut body = BytesMut::new();
        let take = |chunk: &Bytes| {
            body.extend_from_slice(chunk);
            space.grow_to(body.len()).then_some(()).ok_or(BodyError::NoRoom)
        };
        collect(payload, limit, take).await?;
        Ok(body.freeze())
    };
    tokio::time::timeout(time, read).await.unwrap_or_else(|_| {
        let detail = format!("the body did not arrive within {} s", time.as_secs());
        Err(BodyError::Incomplete(detail))
    })
}

/// Whether the body is packed with gzip. Other encodings are rejected, because their bytes would be reported as invalid JSON.
fn is_gzip(head: &RequestHead) -> Result<bool, BodyError> {
    let mut named = head.headers.get_all(header::CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    match (named.next().unwrap_or_default(), named.next()) {
        (b"", None) => Ok(false),
        (one, None) if one.eq_ignore_ascii_case(b"identity") => Ok(false),
        (one, None) if one.eq_ignore_ascii_case(b"gzip") || one.eq_ignore_ascii_case(b"x-gzip") => Ok(true),
        (first, _) => {
            let shown = Shown::up_to(SHOWN_CHARACTERS, String::from_utf8_lossy(first));
            let detail = format!(
                "header Content-Encoding: '{shown}' is not supported; send the body as gzip or without an encoding"
            );
            Err(BodyError::Rejected(detail))
        }
    }
}

/// Unpacks a body as it comes, and stops at the first byte over the limit.
async fn unpack(payload: &mut Payload, limit: BodyLimit, space: &mut BodySpace) -> Result<Bytes, BodyError> {
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            limit.exceeded(format_args!("unpacked it has more than {} bytes", limit.most))
        }
        _ => {
            let what = "the body is not the gzip that header Content-Encoding announces";
            BodyError::Rejected(format!("{what}: {error}"))
        }
    };
    let mut decoder = GzDecoder::new(Unpacked { bytes: Vec::new(), most: limit.most });
    let take = |chunk: &Bytes| {
        decoder.write_all(chunk).map_err(broken)?;
        space.grow_to(UNPACKING + decoder.get_ref().bytes.len()).then_some(()).ok_or(BodyError::NoRoom)
    };
    collect(payload, limit, take).await?;
    decoder.finish().map(|unpacked| unpacked.bytes.into()).map_err(broken)
}

/// Takes `most` bytes, and then fails.
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

/// Reads a body chunk by chunk.
async fn collect(
    payload: &mut Payload,
    limit: BodyLimit,
    mut take: impl FnMut(&Bytes) -> Result<(), BodyError>,
) -> Result<(), BodyError> {
    let mut length = 0_usize;
    let mut next = first_look(payload).await;
    while let Some(chunk) = next {
        let chunk = chunk.map_err(|error| BodyError::Incomplete(format!("the body broke off: {error}")))?;
        length = length.saturating_add(chunk.len());
        if length > limit.most {
            return Err(limit.exceeded(format_args!("it has more than {} bytes", limit.most)));
        }
        take(&chunk)?;
        next = payload.next().await;
    }
    Ok(())
}

/// The first chunk of a body. HTTP/1: the library polls a new request first, then decodes what came with its head, and then polls the
/// request again, all in one poll of the connection. So the first poll leaves no waker: the library would wake the connection for one
/// more poll, which costs a tenth of a registration. Each later poll of the connection polls the request as well.
async fn first_look(payload: &mut Payload) -> Option<Result<Bytes, PayloadError>> {
    let mut is_polled_again = !matches!(payload, Payload::H1 { .. });
    poll_fn(|cx| {
        if std::mem::replace(&mut is_polled_again, true) {
            payload.poll_next_unpin(cx)
        } else {
            payload.poll_next_unpin(&mut Context::from_waker(Waker::noop()))
        }
    })
    .await
}

/// Reads and drops a body that no handler takes. `false` if the body is too large, takes too long or breaks off: then the
/// connection must end.
pub(super) async fn drop_rest(head: &RequestHead, payload: &mut Payload) -> bool {
    if announced(head).is_some_and(|length| length > MOST_DROPPED as u64) {
        return false;
    }
    let limit = BodyLimit { most: MOST_DROPPED, key: "" };
    let drained = tokio::time::timeout(DROP_LIMIT, collect(payload, limit, |_| Ok(()))).await;
    matches!(drained, Ok(Ok(())))
}

/// The header `Content-Length`. The parser has rejected values that are not numbers.
pub(super) fn announced(head: &RequestHead) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The body of an answer, and the unread body of its request. After the answer the library closes the connection, and drops what
/// still comes for a limited time. If the body of the request were dropped before the answer is sent, the library would read a
/// chunked body without end (`an_endless_body_ends_the_connection`).
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

/// The bytes of an answer, and the memory that is reserved for them.
struct CountedBody {
    body: Bytes,
    _space: AnswerSpace,
}

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// A body that is sent piece by piece and holds its memory meanwhile.
///
/// HTTP/1: the library copies a piece into its write buffer, and gets the next piece, or the end, when the socket has taken
/// the last one. So it never holds more than a piece besides the body, which many answers may share. HTTP/2: the library
/// queues pieces without a copy, also after the end of the body. So the memory belongs to the bytes.
/// `poll_written` is ready when the socket has taken all bytes before.
pub(super) fn in_pieces(
    body: Bytes,
    space: AnswerSpace,
    poll_written: impl Fn(&Context<'_>) -> Poll<()> + 'static,
) -> BoxBody {
    let most = space.piece();
    let body = Bytes::from_owner(CountedBody { body, _space: space });
    let length = body.len();
    let mut sent = 0;
    let pieces = stream::poll_fn(move |cx| {
        ready!(poll_written(cx));
        let begin = sent;
        sent += next_piece(length - begin, most);
        Poll::Ready((sent > begin).then(|| Ok::<_, Infallible>(body.slice(begin..sent))))
    });
    BoxBody::new(SizedStream::new(length as u64, pieces))
}
