//! What a handler answers: status, body, and the headers that only the handler knows. The server adds the headers that all
//! answers have (`Server`, `Vary`, CORS), and compresses the body, when it sends the reply.

use std::fmt;

use actix_http::StatusCode;
use actix_http::header::{self, HeaderName, HeaderValue};
use bytes::Bytes;
use futures_util::stream::{LocalBoxStream, Stream};
use smallvec::SmallVec;

use super::answer_memory::AnswerSpace;
use crate::domain::json;
use crate::error::{Code, Error};

/// The revision of the answer to a find, on 200 and 304.
pub const X_RESOURCE_REVISION: HeaderName = HeaderName::from_static("x-resource-revision");
/// The summary of a schema.
pub const X_SCHEMA_SUMMARY: HeaderName = HeaderName::from_static("x-schema-summary");

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const DEPRECATED_V4: HeaderValue = HeaderValue::from_static("version=\"v4\"");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
// Go's HTTP library spells the charset in lower case. Answers that imitate the library do so too.
const LIBRARY_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// Without it, nginx would keep events until it has a whole buffer of them.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const NO: HeaderValue = HeaderValue::from_static("no");
static NO_BYTES: Bytes = Bytes::new();
const ONE: HeaderValue = HeaderValue::from_static("1");

#[must_use]
#[derive(Debug)]
pub struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: Option<HeaderValue>,
    /// Most answers have one header or none.
    pub(super) headers: SmallVec<[(HeaderName, HeaderValue); 1]>,
    pub(super) body: ReplyBody,
    pub(super) gzip: Gzip,
    /// The memory that is counted for a body that only this answer has.
    pub(super) space: Option<Box<AnswerSpace>>,
}

pub(super) enum ReplyBody {
    Whole(Bytes),
    /// A body without a length, which comes piece by piece.
    Pieces(LocalBoxStream<'static, Bytes>),
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(body) => body.fmt(f),
            Self::Pieces(_) => f.write_str("Pieces"),
        }
    }
}

/// How to compress a body of at least 1,400 bytes for a client that accepts gzip.
#[derive(Default)]
pub enum Gzip {
    /// Compress the body for this answer.
    #[default]
    Compress,
    /// Compress the body, and pass the result to this function, which keeps it. The next answer can be [`Gzip::Ready`].
    CompressAndKeep(Box<dyn FnOnce(Bytes)>),
    /// The body was compressed before; this is the result.
    Ready(Bytes),
    /// Do not compress the body, because it changes so often that compression costs more than it saves.
    Never,
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compress => "Compress",
            Self::CompressAndKeep(_) => "CompressAndKeep",
            Self::Ready(_) => "Ready",
            Self::Never => "Never",
        })
    }
}

impl Reply {
    fn with(status: StatusCode, content_type: Option<HeaderValue>, body: Bytes) -> Self {
        let body = ReplyBody::Whole(body);
        Self { status, content_type, headers: SmallVec::new(), body, gzip: Gzip::Compress, space: None }
    }

    /// 200 with a JSON document.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::with(StatusCode::OK, Some(JSON), body.into())
    }

    /// 200 with server-sent events. The client gets each piece at once: neither this server nor a proxy before it may keep it. The
    /// answer ends with the stream.
    pub fn events(pieces: impl Stream<Item = Bytes> + 'static) -> Self {
        let mut reply = Self::with(StatusCode::OK, Some(EVENT_STREAM), Bytes::new());
        reply.body = ReplyBody::Pieces(Box::pin(pieces));
        reply.header(header::CACHE_CONTROL, NO_STORE).header(X_ACCEL_BUFFERING, NO).gzip(Gzip::Never)
    }

    /// 200 with a value as JSON.
    pub fn encoded(value: &impl serde::Serialize) -> Self {
        Self::json(json::encode(value))
    }

    /// 200 without a body. A successful write that has no result answers this, never 201 or 204.
    pub fn empty() -> Self {
        Self::with(StatusCode::OK, Some(TEXT), Bytes::new())
    }

    /// 200 without body and content type.
    pub fn bare() -> Self {
        Self::with(StatusCode::OK, None, Bytes::new())
    }

    /// 307: the answer is at this address, which may be relative.
    pub fn elsewhere(location: HeaderValue) -> Self {
        Self::with(StatusCode::TEMPORARY_REDIRECT, None, Bytes::new()).header(header::LOCATION, location)
    }

    /// 304: the client has this revision already.
    pub fn not_modified(revision: &str) -> Self {
        Self::with(StatusCode::NOT_MODIFIED, None, Bytes::new()).revision(revision)
    }

    /// A plain text.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::with(status, Some(TEXT), text.into())
    }

    /// An error in the words of Go's HTTP library, with the header that makes browsers show it as text only.
    pub fn library_text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::with(status, Some(LIBRARY_TEXT), text.into()).header(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)
    }

    pub fn bytes(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        Self::with(status, Some(content_type), body.into())
    }

    /// `{"errorCode":"400012","errorMessage":"…","detail":"…"}` with the status of the code. `errorCode` is the first member
    /// and a string, because some clients search for its bytes. An error caused by overload has the header `Retry-After`.
    pub fn error(error: &Error) -> Self {
        let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut body =
            format!(r#"{{"errorCode":"{}","errorMessage":"{}""#, error.code.number(), error.code.message())
                .into_bytes();
        if !error.detail.is_empty() {
            body.extend_from_slice(br#","detail":"#);
            json::encode_into(&error.detail, &mut body);
        }
        body.push(b'}');
        let reply = Self::with(status, Some(JSON), body.into());
        if Self::says_when_to_retry(error.code) { reply.header(header::RETRY_AFTER, ONE) } else { reply }
    }

    /// Whether an error with this code has the header `Retry-After`.
    pub fn says_when_to_retry(code: Code) -> bool {
        matches!(code, Code::Overloaded | Code::TooManyRequests)
    }

    /// Sets the header `Retry-After`.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.retain(|(name, _)| *name != header::RETRY_AFTER);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds a header. A value with characters that are not allowed in headers is left out, and the header with it.
    pub fn text_header(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.header(name, value),
            Err(_) => self,
        }
    }

    /// Adds `X-Resource-Revision`.
    pub fn revision(self, revision: &str) -> Self {
        self.text_header(X_RESOURCE_REVISION, revision)
    }

    /// Adds `X-Schema-Summary`, even if the summary is empty.
    pub fn schema_summary(self, summary: &str) -> Self {
        self.text_header(X_SCHEMA_SUMMARY, summary)
    }

    /// Adds the header that marks a route as deprecated.
    pub fn deprecated(self) -> Self {
        self.header(DEPRECATION, DEPRECATED_V4)
    }

    pub fn gzip(mut self, gzip: Gzip) -> Self {
        self.gzip = gzip;
        self
    }

    /// Attaches the memory that was reserved for the body. A body without a reservation is counted when it is sent, and is then
    /// treated as a body that other answers may share.
    pub fn holding(mut self, space: Option<AnswerSpace>) -> Self {
        self.space = space.map(Box::new);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body; empty if it comes piece by piece.
    pub fn body(&self) -> &Bytes {
        match &self.body {
            ReplyBody::Whole(body) => body,
            ReplyBody::Pieces(_) => &NO_BYTES,
        }
    }
}

impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        Self::error(&error)
    }
}

impl<E: Into<Reply>> From<Result<Reply, E>> for Reply {
    fn from(result: Result<Reply, E>) -> Self {
        result.unwrap_or_else(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_compact_json_with_the_code_first() {
        let reply = Reply::error(&Error::new(Code::ServiceNotExists, "a \"b\" <c>"));
        assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
        assert_eq!(
            reply.body().as_ref(),
            br#"{"errorCode":"400012","errorMessage":"Micro-service does not exist","detail":"a \"b\" \u003cc\u003e"}"#
        );
    }

    #[test]
    fn an_empty_detail_is_left_out() {
        let reply = Reply::error(&Error::new(Code::Internal, ""));
        assert_eq!(reply.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            reply.body().as_ref(),
            br#"{"errorCode":"500003","errorMessage":"Internal server error"}"#
        );
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let reply = Reply::error(&Error::new(Code::Overloaded, ""));
        assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(reply.headers.iter().any(|(name, value)| *name == header::RETRY_AFTER && value == "1"));
    }
}
