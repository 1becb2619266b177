//! One HTTP/2 connection: its requests, their answers, and its end.
//!
//! The library `h2` implements the protocol and limits its frames. This module gives each request to the application and sends the
//! answer. It ends the connection when no request was answered for the time of an idle connection, whatever else the client sends,
//! and when the server stops. Requests that run then are finished. `actix-http` does not pass on the limits of `h2`
//! (`docs/upstream.md`).

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use actix_http::body::{BodySize, MessageBody as _};
use actix_http::error::PayloadError;
use actix_http::header::{HeaderName, HeaderValue, HttpDate};
use actix_http::{HttpMessage as _, Method, Payload, Request, Version};
use actix_service::Service;
use actix_web::HttpResponse;
use actix_web::dev::ServiceResponse;
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, unfold};
use futures_util::{FutureExt as _, StreamExt as _};
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::header::{CONTENT_LENGTH, DATE};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::ClientConnection;
use super::terms::ServerTerms;
use crate::clock::Clock;
use crate::http::ws::SessionIo as _;

/// Requests of one connection at a time, including those whose body has not arrived and those whose answer the client does not take.
/// The server announces the number, and the library refuses further streams.
const MOST_STREAMS: u32 = 128;

/// Bytes of one answer that the library holds until they are sent.
const MOST_UNSENT: usize = 64 << 10;

/// From the announcement of the end until an unused connection is closed: requests that are on their way are still served.
const LINGER: Duration = Duration::from_secs(1);

/// How a request ended.
enum StreamEnd {
    /// The library has the whole answer, and the client's windows allow to send it.
    Taken,
    /// The client reset the stream, or the connection broke.
    GivenUp,
    /// The client took nothing of the answer for too long.
    Stalled,
}

/// Serves a connection to its end.
pub(super) async fn serve<A>(app: Rc<A>, mut connection: ClientConnection, terms: Rc<ServerTerms>)
where
    A: Service<Request, Response = ServiceResponse>,
{
    let (peer, exchange, begin) = (connection.peer(), Rc::clone(connection.exchange()), Instant::now());
    let limits = connection.leave_http1();
    let handshake = Builder::new()
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(terms.max_head()).unwrap_or(u32::MAX))
        .max_send_buffer_size(MOST_UNSENT)
        .handshake(connection);
    let Ok(Ok(mut connection)) = timeout(limits.head, handshake).await else { return };
    // A connection of the reserve is for one request.
    let idle = if exchange.is_reserve() { Duration::ZERO } else { limits.idle };
    let mut stopped = pin!(Arc::clone(&terms.stop).wait().fuse());
    let mut answers = FuturesUnordered::new();
    let mut deadline = begin + limits.head;
    let mut is_ending = false;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let (request, respond) = match accepted {
                    Some(Ok(accepted)) => accepted,
                    Some(Err(error)) => return log::debug!("HTTP/2 with {peer:?} ended: {error}"),
                    None => return,
                };
                let (parts, body) = request.into_parts();
                // If a head is valid for `h2` only, dropping `respond` resets the stream.
                if let Some(mut request) = request_head(&parts) {
                    request.head_mut().peer_addr = peer;
                    request.extensions_mut().insert(Rc::clone(&exchange));
                    *request.payload() = payload(body);
                    answers.push(answer(Rc::clone(&app), request, respond, limits.write_stall));
                }
            }
            Some(end) = answers.next() => match end {
                // After a stop only the end is waited for.
                StreamEnd::Taken if !is_ending && !terms.stop.is_raised() => deadline = Instant::now() + idle,
                StreamEnd::Taken | StreamEnd::GivenUp => {}
                StreamEnd::Stalled => deadline = Instant::now(),
            },
            () = &mut stopped => deadline = Instant::now(),
            // The client of a stream takes each piece in time, so the connection is in use.
            () = sleep_until(deadline) => if exchange.has_streams() && !terms.stop.is_raised() {
                deadline = Instant::now() + limits.idle;
            } else {
                if is_ending && !connection.has_streams() {
                    return;
                }
                connection.graceful_shutdown();
                is_ending = true;
                deadline = Instant::now() + LINGER;
            }
        }
    }
}

/// Serves one request, until the client resets its stream.
async fn answer<A>(
    app: Rc<A>,
    request: Request,
    mut respond: SendResponse<Bytes>,
    write_stall: Duration,
) -> StreamEnd
where
    A: Service<Request, Response = ServiceResponse>,
{
    let is_head = request.method() == Method::HEAD;
    let served = tokio::select! {
        served = app.call(request) => served,
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return StreamEnd::GivenUp,
    };
    let Ok(served) = served else { return StreamEnd::GivenUp };
    let (_, response) = served.into_parts();
    send(response, respond, is_head, write_stall).await.map_or_else(|end| end, |()| StreamEnd::Taken)
}

/// Sends an answer, as fast as the client takes it.
async fn send(
    response: HttpResponse,
    mut respond: SendResponse<Bytes>,
    is_head: bool,
    write_stall: Duration,
) -> Result<(), StreamEnd> {
    let given_up = |_| StreamEnd::GivenUp;
    let (response, body) = response.into_parts();
    let ends_with_head = is_head || body.size().is_eof();
    let head = response_head(&response, body.size()).ok_or(StreamEnd::GivenUp)?;
    let mut stream = respond.send_response(head, ends_with_head).map_err(given_up)?;
    if ends_with_head {
        return Ok(());
    }
    let mut unsent = match body.size() {
        BodySize::Sized(length) => Some(length),
        BodySize::None | BodySize::Stream => None,
    };
    let mut body = pin!(body);
    loop {
        let chunk = tokio::select! {
            chunk = poll_fn(|cx| body.as_mut().poll_next(cx)) => chunk,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return Err(StreamEnd::GivenUp),
        };
        let Some(chunk) = chunk else { break };
        let mut chunk = chunk.map_err(|_| StreamEnd::GivenUp)?;
        while !chunk.is_empty() {
            stream.reserve_capacity(chunk.len().min(MOST_UNSENT));
            let room = timeout(write_stall, poll_fn(|cx| stream.poll_capacity(cx))).await;
            let room = room.map_err(|_| StreamEnd::Stalled)?.ok_or(StreamEnd::GivenUp)?.map_err(given_up)?;
            let piece = chunk.split_to(room.min(chunk.len()));
            unsent = unsent.map(|unsent| unsent.saturating_sub(piece.len() as u64));
            // Otherwise the end would be a frame of its own, and over TLS a record of its own.
            let is_end = unsent == Some(0);
            stream.send_data(piece, is_end).map_err(given_up)?;
            if is_end {
                return Ok(());
            }
        }
    }
    stream.send_data(Bytes::new(), true).map_err(given_up)
}

/// The head as a request of `actix_http`.
fn request_head(parts: &http::request::Parts) -> Option<Request> {
    let mut request = Request::new();
    let head = request.head_mut();
    head.version = Version::HTTP_2;
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = parts.uri.to_string().parse().ok()?;
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_ref()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(request)
}

/// The head as a response of `h2`, with the length and the date. For HTTP/1.1 the library adds both.
fn response_head(response: &HttpResponse<()>, size: BodySize) -> Option<http::Response<()>> {
    let mut head = http::Response::new(());
    *head.status_mut() = http::StatusCode::from_u16(response.status().as_u16()).ok()?;
    let headers = head.headers_mut();
    for (name, value) in response.headers() {
        let name = http::HeaderName::from_bytes(name.as_ref()).ok()?;
        headers.append(name, http::HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    if let BodySize::Sized(length) = size {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    let now = UNIX_EPOCH + Duration::from_secs(Clock::system().unix_seconds());
    headers.insert(DATE, http::HeaderValue::from_str(&HttpDate::from(now).to_string()).ok()?);
    Some(head)
}

/// The body of a request. Reading it makes room in the window of the client.
fn payload(body: RecvStream) -> Payload {
    if body.is_end_stream() {
        return Payload::None;
    }
    let chunks = unfold(body, |mut body| async move {
        let chunk = body.data().await?.and_then(|chunk| {
            body.flow_control().release_capacity(chunk.len())?;
            Ok(chunk)
        });
        Some((chunk.map_err(|error| PayloadError::Io(std::io::Error::other(error))), body))
    });
    Payload::Stream { payload: Box::pin(chunks) }
}
