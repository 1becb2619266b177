//! From a handler's reply to the response that goes out: the headers every answer has, compression, who is told of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix_http::header::{self, HeaderValue};
use actix_http::{ConnectionType, Method, RequestHead, StatusCode};
use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::FutureExt as _;

use super::body::{Holding, Pieces};
use super::connection::Standing;
use super::gate::Gate;
use crate::error::{Code, Error};
use crate::http::answer_memory::{AnswerMemory, AnswerSpace, UNCOUNTED};
use crate::http::call::Answer;
use crate::http::middleware::compress;
use crate::http::reply::{Gzip, Reply};
use crate::http::route::Route;
use crate::http::signal::Signal;
use crate::http::spec::{Load, Pages};
use crate::metrics;

const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, Origin");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// What the answers of a server have in common.
pub(super) struct Terms {
    /// `Server`.
    pub(super) server: HeaderValue,
    /// Bytes of a request's head.
    pub(super) max_head: usize,
    /// Bytes of a body where the route says nothing else.
    pub(super) max_body: usize,
    /// What answers may hold of memory.
    pub(super) answers: Arc<AnswerMemory>,
    /// Bytes of a body that is an instance.
    pub(super) max_instance: usize,
    /// Bytes of a body that is properties.
    pub(super) max_properties: usize,
    /// For a body, from the end of the head.
    pub(super) body_time: Duration,
    /// What is refused at once, and which pages may read.
    pub(super) gate: Arc<Gate>,
    /// Raised when the server stops.
    pub(super) stop: Arc<Signal>,
}

impl Terms {
    /// Makes the response: the reply's own headers and those every answer has.
    pub(super) fn send(&self, head: &RequestHead, reply: Reply, seen: &Seen) -> HttpResponse {
        let Reply { status, content_type, headers, mut body, gzip, mut space } = reply;
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
        let body = match self.in_flight(body, space, seen.load) {
            Ok(body) => body,
            // It is small, so it is not refused itself.
            Err(refusal) => return self.send(head, Reply::error(&refusal), seen),
        };
        let mut response = HttpResponse::new(status);
        let out = response.headers_mut();
        if let Some(content_type) = content_type {
            out.insert(header::CONTENT_TYPE, content_type);
        }
        out.insert(header::SERVER, self.server.clone());
        out.insert(header::VARY, VARY);
        if let Some(encoding) = encoding {
            out.insert(header::CONTENT_ENCODING, encoding);
        }
        if head.method != Method::OPTIONS {
            self.gate.cors.allow(head, seen.pages, out);
        }
        for (name, value) in headers {
            out.insert(name, value);
        }
        // A client that offered another protocol would take the library's answer for a switch to it.
        let ends = head.connection_type() == ConnectionType::Upgrade
            || seen.standing == Standing::Reserve
            || self.stop.is_raised();
        let response_head = response.head_mut();
        response_head.set_camel_case_headers(true);
        if ends {
            response_head.set_connection_type(ConnectionType::Close);
        }
        metrics::count_request(status.as_u16());
        if status == StatusCode::NOT_MODIFIED {
            // No length either: a 304's would be that of what the client has.
            response.set_body(BoxBody::new(actix_http::body::None::new()))
        } else {
            response.set_body(body)
        }
    }

    /// A body to be sent. A large one holds space until the client has taken it.
    fn in_flight(&self, body: Bytes, space: Option<Box<AnswerSpace>>, load: Load) -> Result<BoxBody, Error> {
        if body.len() <= UNCOUNTED {
            return Ok(BoxBody::new(body));
        }
        let space = match space {
            Some(mut space) => {
                space.add_piece(body.len())?;
                *space
            }
            None => self.answers.share(load, &body)?,
        };
        Ok(BoxBody::new(Pieces::new(body, space)))
    }

    /// Waits for an answer, and for its compression where that takes long.
    pub(super) async fn wait(&self, answer: Answer, head: &RequestHead, seen: &Seen) -> Reply {
        let reply = match answer {
            Answer::Ready(reply) => reply,
            Answer::Later(future) => AssertUnwindSafe(future)
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| panicked(seen.pattern, &*panic)),
        };
        self.packed(reply, head, seen.load).await
    }

    /// The reply, with a large body compressed on a thread of its own. The body holds its space meanwhile.
    pub(super) async fn packed(&self, mut reply: Reply, head: &RequestHead, load: Load) -> Reply {
        if !must_wait(&reply, head) {
            return reply;
        }
        if reply.space.is_none() {
            match self.answers.share(load, &reply.body) {
                Ok(space) => reply.space = Some(Box::new(space)),
                Err(refusal) => return Reply::error(&refusal),
            }
        }
        let body = reply.body.clone();
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

/// What is known about a request besides its head.
pub(super) struct Seen {
    pub(super) standing: Standing,
    pub(super) load: Load,
    /// The pattern of its row; empty where no row matched.
    pub(super) pattern: &'static str,
    /// Which pages may read the answer.
    pub(super) pages: Pages,
}

impl Seen {
    pub(super) fn unmatched(standing: Standing) -> Self {
        Self { standing, load: Load::Always, pattern: "", pages: Pages::OtherOrigins }
    }

    pub(super) fn matched<S>(standing: Standing, route: &'static Route<S>) -> Self {
        Self { standing, load: route.load, pattern: route.path, pages: route.operation.pages }
    }
}

/// Whether compressing this reply takes so long that other requests must not wait for it.
pub(super) fn must_wait(reply: &Reply, head: &RequestHead) -> bool {
    reply.body.len() > compress::LARGEST_INLINE
        && matches!(reply.gzip, Gzip::Compress | Gzip::CompressAndKeep(_))
        && compress::accepts_gzip(&head.headers)
}

/// Lets an answer go out before the rest of the request's body is given up, and the connection with it.
pub(super) fn hold(mut response: HttpResponse, unread: Payload) -> HttpResponse {
    response.head_mut().set_connection_type(ConnectionType::Close);
    response.map_body(|_, body| BoxBody::new(Holding::new(body, unread)))
}

/// What Go's library answers to a head of more bytes than configured: nothing of ours is in it.
pub(super) fn too_large_head() -> HttpResponse {
    let mut response = HttpResponse::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.head_mut().set_camel_case_headers(true);
    response.head_mut().set_connection_type(ConnectionType::Close);
    response.set_body(BoxBody::new("431 Request Header Fields Too Large"))
}

/// Runs a handler; a panic becomes an answer.
pub(super) fn caught<T: From<Reply>>(pattern: &'static str, handler: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(handler)).unwrap_or_else(|panic| panicked(pattern, &*panic).into())
}

fn panicked(pattern: &str, panic: &(dyn Any + Send)) -> Reply {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    log::error!("a handler of {pattern} panicked: {what}");
    Reply::error(&Error::new(Code::Internal, ""))
}
