//! Reading a request's body: bounded in size and time, without a copy where it comes in one piece.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::RequestHead;
use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::header;
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::admission::BodySpace;
use crate::http::answer_memory::{AnswerSpace, PIECE};

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is larger than the route takes.
    TooLarge,
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

/// How long an unwanted body may take.
const DROP_LIMIT: Duration = Duration::from_secs(5);

/// The body, of at most `most` bytes, within `limit`. What is left of a body that is too large stays in `payload`.
pub(super) async fn read(
    head: &RequestHead,
    payload: &mut Payload,
    most: usize,
    limit: Duration,
    space: &mut BodySpace,
) -> Result<Bytes, BodyError> {
    if announced(head).is_some_and(|length| length > u64::try_from(most).unwrap_or(u64::MAX)) {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(limit, collect(payload, most, space)).await.unwrap_or(Err(BodyError::Slow))
}

async fn collect(payload: &mut Payload, most: usize, space: &mut BodySpace) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    let mut length = 0_usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| BodyError::Broken(error.to_string()))?;
        length = length.saturating_add(chunk.len());
        if length > most {
            return Err(BodyError::TooLarge);
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
