//! Cross-origin requests (CORS): every origin is allowed, without credentials.
//!
//! The original server also allows every origin, but it neither allows the header `Authorization` nor exposes its own headers.
//! A portal in a browser needs both. They reveal nothing, because every origin may read the registry anyway.

use actix_http::Method;
use actix_http::header::{self, HeaderMap, HeaderValue};

use crate::http::reply::Reply;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "UPDATE"];
const HEADERS: [&str; 6] =
    ["origin", "accept", "content-type", "x-domain-name", "x-consumerid", "authorization"];

const ANY: HeaderValue = HeaderValue::from_static("*");
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Resource-Revision, X-Schema-Summary");

/// The header `Vary` of the answer to a preflight.
pub const PREFLIGHT_VARY: HeaderValue = HeaderValue::from_static(
    "Accept-Encoding, Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// The answer to `OPTIONS` on any path: 200 without a body. A preflight gets either everything that it asks for, or nothing.
pub fn options(headers: &HeaderMap) -> Reply {
    let Some(method) = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|value| !value.is_empty())
    else {
        return Reply::bare();
    };
    let reply = Reply::bare().header(header::VARY, PREFLIGHT_VARY);
    match grant(headers, method) {
        Some((method, names)) => {
            let reply = reply
                .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY)
                .text_header(header::ACCESS_CONTROL_ALLOW_METHODS, &method);
            if names.is_empty() {
                reply
            } else {
                reply.text_header(header::ACCESS_CONTROL_ALLOW_HEADERS, &names)
            }
        }
        None => reply,
    }
}

/// The method and the header names that a preflight gets, as the answer spells them. `None` if it gets nothing.
fn grant(headers: &HeaderMap, method: &HeaderValue) -> Option<(String, String)> {
    headers.get(header::ORIGIN).filter(|origin| !origin.is_empty())?;
    let method = method.to_str().ok()?.to_ascii_uppercase();
    if !METHODS.contains(&method.as_str()) && method != "OPTIONS" {
        return None;
    }
    let asked = match headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        Some(value) => value.to_str().ok()?,
        None => "",
    };
    let mut names = String::new();
    for name in asked.split([',', ' ']).filter(|name| !name.is_empty()) {
        if !HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return None;
        }
        if !names.is_empty() {
            names.push_str(", ");
        }
        push_canonical(&mut names, name);
    }
    Some((method, names))
}

/// Appends a header name as Go spells it: upper case at the start and after each dash, otherwise lower case.
fn push_canonical(out: &mut String, name: &str) {
    let mut upper = true;
    for byte in name.chars() {
        out.push(if upper { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() });
        upper = byte == '-';
    }
}

/// Adds the headers that let a browser read the answer to a cross-origin request, if the request is one.
pub fn allow(method: &Method, request: &HeaderMap, answer: &mut HeaderMap) {
    if request.contains_key(header::ORIGIN) && METHODS.contains(&method.as_str()) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    fn check(asked: &[(&str, &str)], methods: Option<&str>, names: Option<&str>) {
        let mut headers = HeaderMap::new();
        for (name, value) in asked {
            headers.insert(
                header::HeaderName::from_bytes(name.as_bytes()).expect("a header name"),
                HeaderValue::from_str(value).expect("a header value"),
            );
        }
        let reply = options(&headers);
        let find = |name: header::HeaderName| {
            reply
                .headers
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_str().expect("text").to_owned())
        };
        assert_eq!(reply.status(), 200);
        assert_eq!(find(header::ACCESS_CONTROL_ALLOW_METHODS).as_deref(), methods, "{asked:?}");
        assert_eq!(find(header::ACCESS_CONTROL_ALLOW_HEADERS).as_deref(), names, "{asked:?}");
        assert_eq!(find(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_some(), methods.is_some(), "{asked:?}");
    }

    #[test]
    fn a_preflight_is_granted_as_a_whole_or_not_at_all() {
        let origin = ("origin", "http://example.com");
        let post = ("access-control-request-method", "POST");
        let names = "access-control-request-headers";
        check(
            &[origin, post, (names, "content-type,x-domain-name")],
            Some("POST"),
            Some("Content-Type, X-Domain-Name"),
        );
        check(&[origin, ("access-control-request-method", "delete")], Some("DELETE"), None);
        check(
            &[origin, post, (names, "X-ConsumerId, AUTHORIZATION")],
            Some("POST"),
            Some("X-Consumerid, Authorization"),
        );
        check(&[origin, post, (names, "Content-Type, X-Other")], None, None);
        check(&[origin, ("access-control-request-method", "PATCH")], None, None);
        check(&[post], None, None);
        check(&[origin], None, None);
    }
}
