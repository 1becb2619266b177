//! Pages in browsers: which of them may read, which of them may change something, and the headers that tell a browser (CORS).
//!
//! A page of the server itself and a page of a listed origin are trusted: they may do whatever a client may. Any other page may
//! only read, and with accounts not even that. The headers alone do not keep a page from sending a request: a browser sends
//! forms and simple requests without asking first. So the server refuses changes by foreign pages itself (`server/gate.rs`).
//!
//! The original server allows every origin to do everything, but it neither allows the header `Authorization` nor exposes its
//! own headers. A portal in a browser needs both.

use actix_http::header::{self, HeaderMap, HeaderValue};
use actix_http::{Method, RequestHead};

use crate::config::{Scheme, WebOrigin};
use crate::http::reply::Reply;
use crate::http::spec::Pages;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "UPDATE"];
const HEADERS: [&str; 6] =
    ["origin", "accept", "content-type", "x-domain-name", "x-consumerid", "authorization"];

const ANY: HeaderValue = HeaderValue::from_static("*");
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Resource-Revision, X-Schema-Summary, X-Request-Id");

/// The header `Vary` of the answer to a preflight.
pub const PREFLIGHT_VARY: HeaderValue = HeaderValue::from_static(
    "Accept-Encoding, Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// Which pages of other origins may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readers {
    /// Every page: without accounts, whoever reaches the port may read.
    #[default]
    Anyone,
    /// Pages of listed origins: with accounts, a browser may hold a token that the page must not use.
    Listed,
}

/// Who sent a request, as far as browsers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageTrust {
    /// The request has no `Origin`. Browsers send none with a `GET` of the same origin, and with images and the like, whose
    /// content they hide from the page.
    NoPage,
    /// A page of the server, or of a listed origin.
    Trusted,
    /// Any other page; also an `Origin` that is empty, `null`, no origin at all, or there twice.
    Foreign,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    Read,
    Change,
}

impl Intent {
    pub fn of(method: &Method) -> Self {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            Self::Read
        } else {
            Self::Change
        }
    }
}

/// Which pages may do what.
#[derive(Debug)]
pub struct Cors {
    listed: Vec<WebOrigin>,
    readers: Readers,
    /// The scheme of the server's own pages.
    scheme: Scheme,
}

impl Cors {
    pub fn new(listed: Vec<WebOrigin>, readers: Readers, scheme: Scheme) -> Self {
        Self { listed, readers, scheme }
    }

    /// Whether foreign pages may read.
    pub fn readers(&self) -> Readers {
        self.readers
    }

    pub fn caller(&self, head: &RequestHead) -> PageTrust {
        let mut given = head.headers.get_all(header::ORIGIN);
        let Some(origin) = given.next() else { return PageTrust::NoPage };
        if given.next().is_some() {
            return PageTrust::Foreign;
        }
        let Some(origin) = origin.to_str().ok().and_then(WebOrigin::of_header) else {
            return PageTrust::Foreign;
        };
        let is_trusted = self.listed.contains(&origin) || self.own(head).is_some_and(|own| own == origin);
        if is_trusted { PageTrust::Trusted } else { PageTrust::Foreign }
    }

    /// The origin of the server's own pages, as this request names the server. The page chooses the name by its address, so this
    /// does not stop a page whose name was made to point to this server (DNS rebinding, `docs/security.md`).
    fn own(&self, head: &RequestHead) -> Option<WebOrigin> {
        if let Some(authority) = head.uri.authority() {
            return WebOrigin::of_server(self.scheme, authority.as_str());
        }
        let mut hosts = head.headers.get_all(header::HOST);
        let host = hosts.next()?.to_str().ok()?;
        if hosts.next().is_some() { None } else { WebOrigin::of_server(self.scheme, host) }
    }

    /// The value of `Access-Control-Allow-Origin`, if the page may do what it asks for.
    fn allowed(&self, head: &RequestHead, pages: Pages, intent: Intent) -> Option<HeaderValue> {
        let caller = self.caller(head);
        if caller == PageTrust::NoPage || pages == Pages::OwnOrigin {
            return None;
        }
        match (self.readers, intent, caller) {
            (Readers::Anyone, Intent::Read, _) => Some(ANY),
            (_, _, PageTrust::Trusted) => head.headers.get(header::ORIGIN).cloned(),
            _ => None,
        }
    }

    /// Adds the headers that let the browser give the answer to the page.
    pub fn allow(&self, head: &RequestHead, pages: Pages, answer: &mut HeaderMap) {
        if let Some(origin) = self.allowed(head, pages, Intent::of(&head.method))
            && METHODS.contains(&head.method.as_str())
        {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }

    /// The answer to `OPTIONS` on any path: 200 without a body. A preflight gets either everything that it asks for, or nothing.
    /// `pages` and `intent` are those of the request that it asks about.
    pub fn options(&self, head: &RequestHead, pages: Pages, intent: Intent) -> Reply {
        let origin = self.allowed(head, pages, intent);
        let Some(method) = asked_method(&head.headers) else {
            let reply = Reply::bare();
            return match origin {
                Some(origin) => reply.header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
                None => reply,
            };
        };
        let reply = Reply::bare().header(header::VARY, PREFLIGHT_VARY);
        match origin.zip(grant(&head.headers, method)) {
            Some((origin, (method, names))) => {
                let reply = reply
                    .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
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
}

/// The method that a preflight asks about. `None` for an `OPTIONS` that is no preflight.
pub fn asked_method(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD).filter(|value| !value.is_empty())
}

/// The method and the header names that a preflight gets, as the answer spells them. `None` if it gets nothing.
fn grant(headers: &HeaderMap, method: &HeaderValue) -> Option<(String, String)> {
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LISTED: &str = "https://portal.example:8443";

    fn cors(readers: Readers) -> Cors {
        Cors::new(vec![WebOrigin::parse(LISTED).unwrap()], readers, Scheme::Http)
    }

    fn head(uri: &str, headers: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        head.uri = uri.parse().unwrap();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            head.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        head
    }

    fn caller(uri: &str, headers: &[(&str, &str)]) -> PageTrust {
        cors(Readers::Anyone).caller(&head(uri, headers))
    }

    #[test]
    fn a_page_is_trusted_if_it_is_listed_or_the_servers_own() {
        let host = ("host", "10.0.0.1:30100");
        let check = |origin: &str, expected| {
            assert_eq!(caller("/", &[host, ("origin", origin)]), expected, "{origin}");
        };
        assert_eq!(caller("/", &[host]), PageTrust::NoPage);
        check("http://10.0.0.1:30100", PageTrust::Trusted);
        check(LISTED, PageTrust::Trusted);
        for foreign in [
            "",
            "null",
            "http://10.0.0.1",
            "https://10.0.0.1:30100",
            "http://10.0.0.2:30100",
            "https://portal.example",
            "https://portal.example:8443 https://portal.example:8443",
        ] {
            check(foreign, PageTrust::Foreign);
        }
    }

    #[test]
    fn the_server_is_what_the_request_names_once() {
        let origin = ("origin", "http://10.0.0.1:30100");
        let (host, other) = (("host", "10.0.0.1:30100"), ("host", "h"));
        let listed = ("origin", LISTED);
        assert_eq!(caller("/", &[origin]), PageTrust::Foreign);
        assert_eq!(caller("/", &[origin, host, other]), PageTrust::Foreign);
        assert_eq!(caller("/", &[origin, origin, host]), PageTrust::Foreign);
        assert_eq!(caller("/", &[listed, origin, host]), PageTrust::Foreign);
        // HTTP/2, or a target in absolute form.
        assert_eq!(caller("http://10.0.0.1:30100/", &[origin]), PageTrust::Trusted);
        assert_eq!(caller("http://10.0.0.1:30100/", &[origin, other]), PageTrust::Trusted);
        assert_eq!(caller("http://h/", &[origin, host]), PageTrust::Foreign);
    }

    #[test]
    fn reading_and_changing_are_allowed_apart() {
        let check = |readers, origin: &str, pages, intent, expected: Option<&str>| {
            let head = head("/", &[("host", "h:30100"), ("origin", origin)]);
            let allowed = cors(readers).allowed(&head, pages, intent);
            let text = allowed.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(text, expected, "{readers:?} {origin} {pages:?} {intent:?}");
        };
        use Pages::{OtherOrigins, OwnOrigin};
        use Readers::{Anyone, Listed};
        let (foreign, own) = ("http://x.example", "http://h:30100");
        for origin in [foreign, own, LISTED, "null"] {
            check(Anyone, origin, OtherOrigins, Intent::Read, Some("*"));
            for intent in [Intent::Read, Intent::Change] {
                check(Anyone, origin, OwnOrigin, intent, None);
                check(Listed, origin, OwnOrigin, intent, None);
            }
        }
        for readers in [Anyone, Listed] {
            check(readers, foreign, OtherOrigins, Intent::Change, None);
            check(readers, LISTED, OtherOrigins, Intent::Change, Some(LISTED));
            check(readers, own, OtherOrigins, Intent::Change, Some(own));
        }
        check(Listed, foreign, OtherOrigins, Intent::Read, None);
        check(Listed, "null", OtherOrigins, Intent::Read, None);
        check(Listed, LISTED, OtherOrigins, Intent::Read, Some(LISTED));
    }

    fn check(asked: &[(&str, &str)], methods: Option<&str>, names: Option<&str>) {
        let reply = cors(Readers::Anyone).options(&head("/", asked), Pages::OtherOrigins, Intent::Read);
        let find = |name: header::HeaderName| {
            reply
                .headers
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        assert_eq!(reply.status(), 200);
        assert_eq!(find(header::ACCESS_CONTROL_ALLOW_METHODS).as_deref(), methods, "{asked:?}");
        assert_eq!(find(header::ACCESS_CONTROL_ALLOW_HEADERS).as_deref(), names, "{asked:?}");
        let is_preflight = asked.iter().any(|(name, _)| name.ends_with("method"));
        let origin = find(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(origin.is_some(), methods.is_some() || !is_preflight, "{asked:?}");
    }

    #[test]
    fn a_preflight_is_granted_as_a_whole_or_not_at_all() {
        let origin = ("origin", "http://example.com");
        let get = ("access-control-request-method", "GET");
        let names = "access-control-request-headers";
        check(
            &[origin, get, (names, "content-type,x-domain-name")],
            Some("GET"),
            Some("Content-Type, X-Domain-Name"),
        );
        check(&[origin, ("access-control-request-method", "get")], Some("GET"), None);
        check(
            &[origin, get, (names, "X-ConsumerId, AUTHORIZATION")],
            Some("GET"),
            Some("X-Consumerid, Authorization"),
        );
        check(&[origin, get, (names, "Content-Type, X-Other")], None, None);
        check(&[origin, ("access-control-request-method", "PATCH")], None, None);
        check(&[get], None, None);
        check(&[origin], None, None);
    }
}
