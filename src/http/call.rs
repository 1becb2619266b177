//! One request as a handler sees it: matched, its tenant checked, its body read. What a request may not need (query,
//! headers) is decoded when asked for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use actix_http::RequestHead;
use actix_http::header::{HeaderMap, HeaderName};
use actix_web::HttpRequest;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::middleware::compress;
use super::query::{Query, is_true};
use super::reply::Reply;
use super::spec::Surface;
use crate::domain::Tenant;
use crate::error::Error;

/// The service on whose behalf a consumer asks.
pub const X_CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumerid");
/// The caller's domain.
pub const X_DOMAIN_NAME: HeaderName = HeaderName::from_static("x-domain-name");
/// The caller's domain on the v3 API, where it wins over [`X_DOMAIN_NAME`].
pub const X_TENANT_NAME: HeaderName = HeaderName::from_static("x-tenant-name");

/// What a handler gives back.
#[must_use]
pub enum Answer {
    /// The reply: costs no allocation and no wake-up. What reads the snapshot answers so.
    Ready(Reply),
    /// The reply, later.
    Later(LocalBoxFuture<'static, Reply>),
}

impl Answer {
    /// The reply of a handler that usually need not wait: it is tried once right here.
    pub fn soon<R: Into<Reply>>(future: impl Future<Output = R> + 'static) -> Self {
        let mut future = Box::pin(async move { future.await.into() });
        match futures_util::FutureExt::now_or_never(&mut future) {
            Some(reply) => Self::Ready(reply),
            None => Self::Later(future),
        }
    }

    /// A reply that has to wait for something; the future brings its own limit.
    pub fn later<R: Into<Reply>>(future: impl Future<Output = R> + 'static) -> Self {
        Self::Later(Box::pin(async move { future.await.into() }))
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Ready(reply)
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::Ready(error.into())
    }
}

impl<E: Into<Reply>> From<Result<Reply, E>> for Answer {
    fn from(result: Result<Reply, E>) -> Self {
        Self::Ready(result.into())
    }
}

/// A request line with its headers: from the service of HTTP/1.1, from an upgrade or from HTTP/2.
pub(super) enum Head {
    Web(HttpRequest),
    Bare(Rc<actix_http::Request>),
}

impl Head {
    pub(super) fn get(&self) -> &RequestHead {
        match self {
            Self::Web(request) => request.head(),
            Self::Bare(request) => request.head(),
        }
    }

    /// The same head once more.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Web(request) => Self::Web(request.clone()),
            Self::Bare(request) => Self::Bare(Rc::clone(request)),
        }
    }
}

/// What the router found: the decoded path where it differs from the raw one, and where in it the parameters are.
#[derive(Debug)]
pub(super) struct Matched {
    pub(super) surface: Surface,
    pub(super) names: &'static [&'static str],
    pub(super) values: [Range<u16>; MAX_PARAMS],
    pub(super) decoded: Option<Box<str>>,
}

/// Most parameters a path has.
pub(super) const MAX_PARAMS: usize = 4;

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// The snapshot as it is.
    Snapshot,
    /// `noCache`: at least as fresh as the store is now.
    Current,
    /// `cacheOnly`: the snapshot, whatever else there is.
    CacheOnly,
}

/// A request.
pub struct Call {
    head: Head,
    matched: Matched,
    tenant: Tenant,
    body: Bytes,
    query: OnceCell<Query>,
}

impl Call {
    pub(super) fn new(head: Head, matched: Matched, tenant: Tenant, body: Bytes) -> Self {
        Self { head, matched, tenant, body, query: OnceCell::new() }
    }

    /// Method, URI and headers as they came.
    pub fn head(&self) -> &RequestHead {
        self.head.get()
    }

    /// The API that was called.
    pub fn surface(&self) -> Surface {
        self.matched.surface
    }

    /// A path parameter, decoded; empty if the path has none of that name (the older spelling has no project).
    pub fn param(&self, name: &str) -> &str {
        self.matched.find(self.head.get().uri.path(), name)
    }

    /// Domain and project of the caller.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// A header's value; empty if it is not there. Of several the first. 400001 if it is no UTF-8.
    pub fn header(&self, name: &HeaderName) -> Result<&str, Error> {
        header_text(&self.head.get().headers, name)
    }

    /// `X-ConsumerId`, empty if it is not there. 400001 if it is no UTF-8.
    pub fn consumer_id(&self) -> Result<&str, Error> {
        self.header(&X_CONSUMER_ID)
    }

    /// A query parameter's first value, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let raw = self.raw_query();
        if raw.is_empty() {
            return None;
        }
        self.query.get_or_init(|| Query::split(raw)).find(raw, name)
    }

    /// A query parameter's first value, decoded; empty if it is not there.
    pub fn query_text(&self, name: &str) -> Cow<'_, str> {
        self.query(name).unwrap_or_default()
    }

    /// Whether a query flag is on: `1` or `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.query(name).is_some_and(|value| is_true(&value))
    }

    /// How fresh the answer has to be. `cacheOnly` counts only without `noCache`.
    pub fn freshness(&self) -> Freshness {
        if self.flag("noCache") {
            Freshness::Current
        } else if self.flag("cacheOnly") {
            Freshness::CacheOnly
        } else {
            Freshness::Snapshot
        }
    }

    /// `noCache`: the answer must be as fresh as the store is now.
    pub fn wants_current(&self) -> bool {
        self.flag("noCache")
    }

    /// The client's last revision. Empty means none; `noCache` and `cacheOnly` switch it off.
    pub fn rev(&self) -> Cow<'_, str> {
        match self.freshness() {
            Freshness::Snapshot => self.query_text("rev"),
            Freshness::Current | Freshness::CacheOnly => Cow::Borrowed(""),
        }
    }

    /// What follows `?`, as it came.
    pub fn raw_query(&self) -> &str {
        self.head.get().uri.query().unwrap_or_default()
    }

    /// The body; empty on routes that take none.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Whether the client takes gzip: worth asking before a compressed body is looked for.
    pub fn accepts_gzip(&self) -> bool {
        compress::accepts_gzip(&self.head.get().headers)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.head.get();
        f.debug_struct("Call")
            .field("method", &head.method)
            .field("uri", &head.uri)
            .field("tenant", &self.tenant)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Matched {
    /// A path parameter, given the request's raw path.
    pub(super) fn find<'m>(&'m self, raw_path: &'m str, name: &str) -> &'m str {
        let path = self.decoded.as_deref().unwrap_or(raw_path);
        self.names
            .iter()
            .zip(&self.values)
            .find(|(known, _)| **known == name)
            .and_then(|(_, range)| path.get(usize::from(range.start)..usize::from(range.end)))
            .unwrap_or_default()
    }
}

/// A header's first value, empty if it is not there. Values become parts of keys, so what is no UTF-8 is refused: with a
/// replacement for each such byte two callers would share a key.
pub(super) fn header_text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Error> {
    let Some(value) = headers.get(name) else { return Ok("") };
    std::str::from_utf8(value.as_bytes()).map_err(|_| {
        let spelling = [
            ("x-domain-name", "X-Domain-Name"),
            ("x-tenant-name", "X-Tenant-Name"),
            ("x-consumerid", "X-ConsumerId"),
        ];
        let known = spelling.into_iter().find(|(plain, _)| *plain == name.as_str());
        no_text(&format!("header {}", known.map_or(name.as_str(), |(_, spelled)| spelled)))
    })
}

/// 400001 for a part of a request that is no UTF-8.
pub(super) fn no_text(part: &str) -> Error {
    Error::invalid(format!("{part} must be UTF-8"))
}
