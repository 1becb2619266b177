//! One request as a handler sees it: its route is found, its tenant is valid, its body is read. The query and the headers are
//! decoded when a handler asks for them, because many requests do not need them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use actix_http::RequestHead;
use actix_http::header::{HeaderMap, HeaderName};
use actix_web::HttpRequest;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use super::middleware::compress;
use super::query::{all_values, first_values, is_true};
use super::reply::Reply;
use super::spec::Surface;
use crate::domain::Tenant;
use crate::error::{Code, Error};
use crate::metrics::requests::RouteNumber;
use crate::rbac::Grant;
use crate::rbac::signed_in::SignedIn;

// Names are `static`, because a name that is made for a look-up costs more than the look-up.

/// The service id of the consumer that sends the request.
pub static X_CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumerid");
/// The caller's domain.
pub static X_DOMAIN_NAME: HeaderName = HeaderName::from_static("x-domain-name");
/// The caller's domain in the v3 API. There it takes precedence over [`X_DOMAIN_NAME`].
pub static X_TENANT_NAME: HeaderName = HeaderName::from_static("x-tenant-name");

/// What a handler returns.
#[must_use]
pub enum Answer {
    /// A reply that is there already. It costs no allocation and no wake-up, so handlers that only read the snapshot use it.
    Ready(Reply),
    /// A reply that has to wait for an actor or the store.
    Later(LocalBoxFuture<'static, Reply>),
}

impl Answer {
    /// The reply of an async handler. The future is polled once here: most handlers finish at once.
    pub fn soon<R: Into<Reply>>(future: impl Future<Output = R> + 'static) -> Self {
        let mut future = Box::pin(async move { future.await.into() });
        match futures_util::FutureExt::now_or_never(&mut future) {
            Some(reply) => Self::Ready(reply),
            None => Self::Later(future),
        }
    }

    /// A reply that has to wait. The future must limit its own time.
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

/// The route of a request: where the parameters are in its path. `decoded` is the path if it differs from the raw path.
#[derive(Debug)]
pub(super) struct Matched {
    pub(super) surface: Surface,
    pub(super) names: &'static [&'static str],
    pub(super) values: [Range<u16>; MAX_PARAMS],
    pub(super) decoded: Option<Box<str>>,
    /// What metrics count the request by.
    pub(super) number: RouteNumber,
}

/// How many parameters a path can have.
pub(super) const MAX_PARAMS: usize = 4;

pub struct Call {
    request: HttpRequest,
    matched: Matched,
    tenant: Tenant,
    body: Bytes,
    caller: Option<Arc<SignedIn>>,
    grant: Grant,
}

impl Call {
    pub(super) fn new(request: HttpRequest, matched: Matched, tenant: Tenant, body: Bytes) -> Self {
        Self { request, matched, tenant, body, caller: None, grant: Grant::All }
    }

    /// Notes who sends the request, and what the caller may see. [`super::access`] decides it.
    pub(super) fn admit(&mut self, caller: Option<Arc<SignedIn>>, grant: Grant) {
        (self.caller, self.grant) = (caller, grant);
    }

    /// The account that sends the request. 401204 if the route is open to requests without an account.
    pub fn signed_in(&self) -> Result<&Arc<SignedIn>, Error> {
        self.caller.as_ref().ok_or_else(|| Error::new(Code::NoAuthHeader, ""))
    }

    /// The account that sends the request, if its route needs one.
    pub fn caller(&self) -> Option<&Arc<SignedIn>> {
        self.caller.as_ref()
    }

    /// What the answer may show of a list. Without accounts: everything.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Method, URI and headers as the client sent them.
    pub fn head(&self) -> &RequestHead {
        self.request.head()
    }

    pub fn surface(&self) -> Surface {
        self.matched.surface
    }

    /// A decoded path parameter. It is empty if the path has no such parameter (paths of the v3 API have no `project`).
    pub fn param(&self, name: &str) -> &str {
        self.matched.find(self.request.head().uri.path(), name)
    }

    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The value of a header: the first one if there are several, empty if there is none. 400001 for invalid UTF-8.
    pub fn header(&self, name: &HeaderName) -> Result<&str, Error> {
        header_text(&self.request.head().headers, name)
    }

    /// The header `X-ConsumerId`; empty if it is missing. 400001 for invalid UTF-8.
    pub fn consumer_id(&self) -> Result<&str, Error> {
        self.header(&X_CONSUMER_ID)
    }

    /// The first value of a query parameter, decoded.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let [value] = self.queries([name]);
        value
    }

    /// As [`Self::query`], for several parameters.
    pub fn queries<const N: usize>(&self, names: [&str; N]) -> [Option<Cow<'_, str>>; N] {
        first_values(self.raw_query(), names)
    }

    /// All values of a query parameter, decoded.
    pub fn query_values(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        all_values(self.raw_query(), name)
    }

    /// As [`Self::query`]; empty if the parameter is missing.
    pub fn query_text(&self, name: &str) -> Cow<'_, str> {
        self.query(name).unwrap_or_default()
    }

    /// Whether a query parameter is `1` or `true`.
    pub fn flag(&self, name: &str) -> bool {
        is_set(self.query(name).as_deref())
    }

    /// The flag `noCache`: the answer must include every write that was committed before the request.
    pub fn wants_current(&self) -> bool {
        self.flag("noCache")
    }

    /// The part of the URI after `?`, not decoded.
    pub fn raw_query(&self) -> &str {
        self.request.head().uri.query().unwrap_or_default()
    }

    /// The body; empty if the route takes none.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn accepts_gzip(&self) -> bool {
        compress::accepts_gzip(&self.request.head().headers)
    }
}

/// Whether the value of a flag says yes.
pub fn is_set(flag: Option<&str>) -> bool {
    flag.is_some_and(is_true)
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.request.head();
        f.debug_struct("Call")
            .field("method", &head.method)
            .field("path", &head.uri.path())
            .field("tenant", &self.tenant)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Matched {
    /// A path parameter. `raw_path` is the path of the request.
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

/// The first value of a header; empty if there is none. 400001 for invalid UTF-8: values become parts of keys, and with
/// replacement characters two callers would share a key.
pub(super) fn header_text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Error> {
    let Some(value) = headers.get(name) else { return Ok("") };
    std::str::from_utf8(value.as_bytes()).map_err(|_| {
        let spelling = [
            ("x-domain-name", "X-Domain-Name"),
            ("x-tenant-name", "X-Tenant-Name"),
            ("x-consumerid", "X-ConsumerId"),
        ];
        let known = spelling.into_iter().find(|(plain, _)| *plain == name.as_str());
        invalid_utf8(&format!("header {}", known.map_or(name.as_str(), |(_, spelled)| spelled)))
    })
}

/// 400001 for invalid UTF-8 in a part of a request.
pub(super) fn invalid_utf8(part: &str) -> Error {
    Error::invalid(format!("{part}: invalid UTF-8"))
}
