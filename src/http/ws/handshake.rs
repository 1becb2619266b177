//! The opening handshake: RFC 6455, version 13, any origin, no subprotocol, no extension.

use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::{RequestHead, StatusCode, Version, ws};

use crate::http::reply::Reply;

const SEC_WEBSOCKET_VERSION: HeaderName = header::SEC_WEBSOCKET_VERSION;

/// Whether a request is a valid handshake, of HTTP/1.1 and without a body. A proxy would take the frames for the body, or for the
/// next request.
pub(in crate::http) fn is_handshake(head: &RequestHead) -> bool {
    let is_zero = |length: &HeaderValue| length.to_str().is_ok_and(|text| text.trim().parse() == Ok(0_u64));
    ws::verify_handshake(head).is_ok()
        && head.version == Version::HTTP_11
        && !head.headers.contains_key(header::TRANSFER_ENCODING)
        && head.headers.get(header::CONTENT_LENGTH).is_none_or(is_zero)
}

/// The answer to any other request on a websocket route.
pub(in crate::http) fn refusal() -> Reply {
    Reply::library_text(StatusCode::BAD_REQUEST, "Bad Request\n")
        .header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

/// The answer to a valid handshake, as bytes. It has the id of the request.
pub(in crate::http) fn accept_line(head: &RequestHead, request_id: Option<&HeaderValue>) -> Vec<u8> {
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut answer = Vec::with_capacity(240);
    answer.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    answer.extend_from_slice(&ws::hash_key(key));
    if let Some(id) = request_id {
        answer.extend_from_slice(b"\r\nX-Request-Id: ");
        answer.extend_from_slice(id.as_bytes());
    }
    answer.extend_from_slice(b"\r\n\r\n");
    answer
}
