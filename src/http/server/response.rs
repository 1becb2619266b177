//! From the reply of a handler to the response: the headers that every answer has, compression, and the memory of answers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::header::{self, HeaderValue};
use actix_http::{ConnectionType, Method, RequestHead, StatusCode, Version};
use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::body::{Holding, in_pieces};
use super::connection::Exchange;
use super::record::{RequestRecord, RouteRecord, X_REQUEST_ID};
use super::stream::StreamedBody;
use super::terms::{ErrorAlarm, ServerTerms};
use crate::alarm::AlarmKind;
use crate::domain::json;
use crate::domain::validate::rule::Shown;
use crate::error::{Code, Error};
use crate::http::answer_memory::{AnswerSpace, UNCOUNTED};
use crate::http::call::Answer;
use crate::http::dto::error::ErrorBody;
use crate::http::middleware::compress;
use crate::http::reply::{Gzip, Reply, ReplyBody};
use crate::http::route::Route;
use crate::http::spec::{Load, Pages, RequestLog};
use crate::metrics::requests::{self, DomainNumber, RouteNumber};

const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, Origin");
/// The text of an alarm is cut after this many characters.
const SHOWN_CHARACTERS: usize = 500;

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

impl ServerTerms {
    /// Makes the response: the reply's own headers and those every answer has.
    pub(super) fn send(&self, head: &RequestHead, reply: Reply, facts: RequestFacts) -> HttpResponse {
        let Reply { status, content_type, headers, body, gzip, mut space } = reply;
        let (mut body, pieces) = match body {
            ReplyBody::Whole(body) => (body, None),
            ReplyBody::Pieces(pieces) => (Bytes::new(), Some(pieces)),
        };
        // A probe is answered 503 while the node starts or stops. That is no error.
        let is_probe = facts.load == Load::Always && status == StatusCode::SERVICE_UNAVAILABLE;
        if status.is_server_error() && !is_probe {
            self.report(head, status, &body, &facts);
        }
        let mut encoding = None;
        if body.len() >= compress::SMALLEST && compress::accepts_gzip(&head.headers) {
            let packed = match gzip {
                Gzip::Never => None,
                Gzip::Ready(packed) => Some(packed),
                Gzip::Compress => compress::gzip(&body),
                Gzip::CompressAndKeep(keep) => compress::gzip(&body).inspect(|packed| keep(packed.clone())),
            };
            if let Some(packed) = packed {
                (body, space, encoding) = (packed, None, Some(GZIP));
            }
        }
        let body = match pieces {
            // The answer has no length: in a 304 it would be the length of the body that the client has.
            _ if status == StatusCode::NOT_MODIFIED => BoxBody::new(actix_http::body::None::new()),
            Some(pieces) => {
                let connection = written_by(head, &facts.exchange);
                BoxBody::new(StreamedBody::new(pieces, &facts.exchange, connection, &self.stop))
            }
            None => match self.in_flight(body, space, head, &facts) {
                Ok(body) => body,
                // The refusal is small, so it is not refused.
                Err(refusal) => return self.send(head, Reply::error(&refusal), facts),
            },
        };
        let mut response = HttpResponse::with_body(status, body);
        // `append` costs half of `insert`, and none of these headers is there twice.
        let out = response.headers_mut();
        if let Some(content_type) = content_type {
            out.append(header::CONTENT_TYPE, content_type);
        }
        out.append(header::SERVER, self.server.clone());
        out.append(header::VARY, VARY);
        out.append(X_REQUEST_ID.clone(), facts.record.header());
        if let Some(encoding) = encoding {
            out.append(header::CONTENT_ENCODING, encoding);
        }
        if head.method != Method::OPTIONS {
            self.gate.cors.allow(head, facts.pages, out);
        }
        for (name, value) in headers {
            out.insert(name, value);
        }
        // The library repeats `Connection: upgrade`. The client would take this for a switch to the protocol that it offered.
        let ends = head.connection_type() == ConnectionType::Upgrade
            || facts.exchange.is_reserve()
            || self.stop.is_raised();
        let response_head = response.head_mut();
        response_head.set_camel_case_headers(true);
        if ends {
            response_head.set_connection_type(ConnectionType::Close);
        }
        let RequestFacts { exchange, pattern, log, counted: CountedAs { route, domain }, record, .. } = facts;
        let now = Instant::now();
        let took = record.took(now);
        if requests::are_counted() {
            requests::count(route, domain, status.as_u16(), took);
        }
        record.end(self, head, status, RouteRecord { pattern, log }, took);
        exchange.answer_ready(now);
        response
    }

    /// Raises the alarm of errors, and logs the answer, unless the server is only overloaded. The texts have the pattern of the path, not
    /// the path itself, which is a client's text.
    fn report(&self, head: &RequestHead, status: StatusCode, body: &Bytes, facts: &RequestFacts) {
        let ErrorAlarm { alarms, lines, clock } = &self.settings.errors;
        let now = clock.monotonic();
        let error = || json::decode::<ErrorBody>(body).unwrap_or_default();
        let (method, pattern) = (&head.method, facts.pattern);
        let cut = |text: &str| Shown::up_to(SHOWN_CHARACTERS, text.trim_end()).to_string();
        alarms.raise(AlarmKind::InternalError, now, || {
            let error = error();
            cut(&format!("{method} {pattern}: {} {} {}", status.as_u16(), error.message, error.detail))
        });
        if status != StatusCode::SERVICE_UNAVAILABLE && lines.lets_through(now) {
            let ErrorBody { code, message, detail } = error();
            let code = if code.is_empty() { status.as_str() } else { &code };
            let colon = if detail.is_empty() { "" } else { ": " };
            // The line ends with the id of the request.
            let _entered = facts.record.context().enter();
            log::warn!(
                "{}",
                cut(&format!("answered {code} to {method} {pattern}: {message}{colon}{detail}"))
            );
        }
    }

    /// The body as it is sent. A large body holds memory until the client has taken it.
    fn in_flight(
        &self,
        body: Bytes,
        space: Option<Box<AnswerSpace>>,
        head: &RequestHead,
        facts: &RequestFacts,
    ) -> Result<BoxBody, Error> {
        if body.len() <= UNCOUNTED {
            return Ok(BoxBody::new(body));
        }
        let space = match space {
            Some(mut space) => {
                space.add_piece(body.len())?;
                *space
            }
            None => self.settings.answers.share(facts.load, &body)?,
        };
        // The request is being answered until the last piece is written.
        let connection = written_by(head, &facts.exchange).map(|connection| (connection.run(), connection));
        let poll_written = move |cx: &Context<'_>| match &connection {
            Some((_running, connection)) => connection.poll_written(cx),
            None => Poll::Ready(()),
        };
        Ok(in_pieces(body, space, poll_written))
    }

    /// Waits for an answer, and for its compression if that takes long.
    pub(super) async fn wait(&self, answer: Answer, head: &RequestHead, facts: &RequestFacts) -> Reply {
        let reply = match answer {
            Answer::Ready(reply) => reply,
            Answer::Later(future) => AssertUnwindSafe(future)
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| panicked(facts.pattern, &*panic)),
        };
        self.packed(reply, head, facts.load).await
    }

    /// Compresses a large body on another thread. The body holds memory meanwhile.
    async fn packed(&self, mut reply: Reply, head: &RequestHead, load: Load) -> Reply {
        if !must_wait(&reply, head) {
            return reply;
        }
        if reply.space.is_none() {
            match self.settings.answers.share(load, reply.body()) {
                Ok(space) => reply.space = Some(Box::new(space)),
                Err(refusal) => return Reply::error(&refusal),
            }
        }
        let body = reply.body().clone();
        let packed = tokio::task::spawn_blocking(move || compress::gzip(&body)).await.ok().flatten();
        let keep = std::mem::replace(&mut reply.gzip, Gzip::Never);
        if let Some(packed) = packed {
            if let Gzip::CompressAndKeep(keep) = keep {
                keep(packed.clone());
            }
            reply.gzip = Gzip::Ready(packed);
        }
        reply
    }
}

/// What the answer depends on besides the head of the request.
pub(super) struct RequestFacts {
    exchange: Rc<Exchange>,
    pub(super) load: Load,
    /// The path pattern of the route; empty if no route matched.
    pattern: &'static str,
    /// Which pages may read the answer.
    pages: Pages,
    log: RequestLog,
    counted: CountedAs,
    pub(super) record: RequestRecord,
}

/// What metrics count a request by.
#[derive(Clone, Copy)]
pub(super) struct CountedAs {
    pub(super) route: RouteNumber,
    pub(super) domain: DomainNumber,
}

impl CountedAs {
    /// The request matches no route.
    pub(super) const UNMATCHED: Self = Self { route: RouteNumber::NONE, domain: DomainNumber::DEFAULT };
}

impl RequestFacts {
    /// For a request that no handler runs for.
    pub(super) fn answered(exchange: &Rc<Exchange>, counted: CountedAs, record: RequestRecord) -> Self {
        let (load, pages, log) = (Load::Always, Pages::OtherOrigins, RequestLog::Written);
        Self { exchange: Rc::clone(exchange), load, pattern: "", pages, log, counted, record }
    }

    pub(super) fn matched<S>(
        exchange: &Rc<Exchange>,
        route: &'static Route<S>,
        counted: CountedAs,
        record: RequestRecord,
    ) -> Self {
        let Route { load, path: pattern, operation, .. } = route;
        let (pages, log) = (operation.pages, operation.log);
        Self { exchange: Rc::clone(exchange), load: *load, pattern, pages, log, counted, record }
    }
}

/// The connection that tells when the client has taken what was written. HTTP/2 has windows for this.
fn written_by(head: &RequestHead, exchange: &Rc<Exchange>) -> Option<Rc<Exchange>> {
    (head.version != Version::HTTP_2).then(|| Rc::clone(exchange))
}

/// Whether compressing this reply takes so long that other requests must not wait for it.
pub(super) fn must_wait(reply: &Reply, head: &RequestHead) -> bool {
    reply.body().len() > compress::LARGEST_INLINE
        && matches!(reply.gzip, Gzip::Compress | Gzip::CompressAndKeep(_))
        && compress::accepts_gzip(&head.headers)
}

/// Sends the answer before the unread body of the request is dropped, and then ends the connection.
pub(super) fn hold(mut response: HttpResponse, unread: Payload) -> HttpResponse {
    response.head_mut().set_connection_type(ConnectionType::Close);
    response.map_body(|_, body| BoxBody::new(Holding::new(body, unread)))
}

/// The answer to a head over the limit. It is the answer of Go's library, so of the headers of this server it has the id alone.
pub(super) fn too_large_head(terms: &ServerTerms, head: &RequestHead, record: RequestRecord) -> HttpResponse {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let mut response = HttpResponse::new(status);
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    out.insert(X_REQUEST_ID.clone(), record.header());
    let took = record.took(Instant::now());
    record.end(terms, head, status, RouteRecord { pattern: "", log: RequestLog::Written }, took);
    response.head_mut().set_camel_case_headers(true);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response.set_body(BoxBody::new("431 Request Header Fields Too Large"))
}

/// Runs a handler. A panic is logged and answered with 500003.
pub(super) fn caught<T: From<Reply>>(pattern: &'static str, handler: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|panic| panicked(pattern, &*panic).into())
}

fn panicked(pattern: &str, panic: &(dyn Any + Send)) -> Reply {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    log::error!("the handler of '{pattern}' panicked: {what}");
    Reply::error(&Error::new(Code::Internal, ""))
}
