//! One request, from its head to its answer.
//!
//! A request without a body whose answer is in memory is answered in one call: without a task of its own, a lock or an allocation.
//! A panic in a handler is logged and answered with 500003.

use std::future::{Ready, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use actix_http::{Method, RequestHead, StatusCode, Version, header};
use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::future::{Either, LocalBoxFuture};
use tokio::time::Instant;

use super::admission::{Admission, refusal};
use super::body::{self, BodyError};
use super::connection::Exchange;
use super::record::RequestRecord;
use super::response::{CountedAs, RequestFacts, caught, hold, must_wait, too_large_head};
use super::router::{RouteLookup, Router, shown};
use super::terms::ServerTerms;
use crate::domain::Tenant;
use crate::error::Error;
use crate::http::access::{Access, Denied, RequestSender, permission_of};
use crate::http::call::{Answer, Call, Matched, X_DOMAIN_NAME, X_TENANT_NAME, header_text, invalid_utf8};
use crate::http::reply::Reply;
use crate::http::route::{Handler, Route};
use crate::http::spec::{Body, Load, Permission, Surface};
use crate::http::ws;
use crate::metrics::requests::{self, DomainNumber};
use crate::trace::{self, RequestIds};

/// The domain or project of a request that names none.
const DEFAULT: &str = "default";

/// Serves the requests of one worker.
pub(super) struct Dispatcher<S: 'static> {
    state: Arc<S>,
    router: Arc<Router<S>>,
    terms: Rc<ServerTerms>,
    admission: Arc<Admission>,
    /// `default/default`, the tenant of nearly all requests.
    default_tenant: Tenant,
    /// `None` while accounts are off.
    access: Option<Access>,
    ids: RequestIds,
}

/// The result of routing.
enum Routed<S: 'static> {
    Answered(Reply, CountedAs),
    Run(&'static Route<S>, Matched, Tenant, RequestSender),
}

/// An answer that is ready or is waited for.
pub(super) type ServedResponse = Either<Ready<HttpResponse>, LocalBoxFuture<'static, HttpResponse>>;

impl<S: Send + Sync + 'static> Dispatcher<S> {
    pub(super) fn new(
        state: Arc<S>,
        router: Arc<Router<S>>,
        terms: Rc<ServerTerms>,
        admission: Arc<Admission>,
    ) -> Self {
        let access = terms.settings.access.clone().map(Access::new);
        let (default_tenant, ids) = (Tenant::default_tenant(), RequestIds::new(rand::random()));
        Self { state, router, terms, admission, default_tenant, access, ids }
    }

    pub(super) fn serve(self: &Rc<Self>, request: HttpRequest, payload: Payload) -> ServedResponse {
        let Some(exchange) = Exchange::of(&request) else {
            log::error!("a request of unknown connection is rejected");
            return Either::Left(ready(HttpResponse::new(StatusCode::INTERNAL_SERVER_ERROR)));
        };
        let has_body = !matches!(payload, Payload::None);
        let head_size = exchange.head_complete();
        // With HTTP/2, the last read may be that of another request.
        let is_http2 = request.version() == Version::HTTP_2;
        let begin = if is_http2 { Instant::now() } else { exchange.last_read() };
        let mut record = RequestRecord::new(&self.terms, &self.ids, request.head(), has_body, begin);
        if head_size > self.terms.max_head() {
            return Either::Left(ready(too_large_head(&self.terms, request.head(), record)));
        }
        let mut entered = record.context().enter();
        let routed = self.route(request.head(), &exchange);
        if let Routed::Run(route, ..) = &routed
            && may_change(route.load)
        {
            drop(entered);
            record.note_sender(&self.terms, request.head());
            entered = record.context().enter();
        }
        if has_body {
            // The library rejects a chunked body that has this header too.
            let length = body::announced(request.head());
            let (this, running) = (Rc::clone(self), exchange.run_with_body(length));
            return Either::Right(Box::pin(async move {
                let _running = running;
                let context = Some(record.context().clone());
                let served = pin!(this.serve_with_body(&request, payload, routed, &exchange, record));
                let (response, unread) = trace::within(context, served).await;
                let Some(unread) = unread else { return response };
                exchange.end();
                hold(response, unread)
            }));
        }
        let (answer, facts) = match routed {
            Routed::Answered(reply, counted) => {
                (Answer::Ready(reply), RequestFacts::answered(&exchange, counted, record))
            }
            Routed::Run(route, matched, tenant, entry) => {
                let facts = RequestFacts::matched(&exchange, route, counted(&matched, &tenant), record);
                let call = Call::new(request.clone(), matched, tenant, Bytes::new());
                (self.admit(route, call, entry, &exchange), facts)
            }
        };
        drop(entered);
        match answer {
            Answer::Ready(reply) if !must_wait(&reply, request.head()) => {
                Either::Left(ready(self.terms.send(request.head(), reply, facts)))
            }
            answer => {
                let (this, running) = (Rc::clone(self), exchange.run());
                let waiting = self.admission.wait(facts.load);
                Either::Right(Box::pin(async move {
                    let _held = (running, waiting);
                    let context = Some(facts.record.context().clone());
                    let reply = {
                        let reply = pin!(this.terms.wait(answer, request.head(), &facts));
                        trace::within(context, reply).await
                    };
                    this.terms.send(request.head(), reply, facts)
                }))
            }
        }
    }

    /// Serves a request that has a body, even if its route takes none. Also returns the body if it was not read to its end: then the
    /// connection must end.
    async fn serve_with_body(
        self: &Rc<Self>,
        request: &HttpRequest,
        mut payload: Payload,
        routed: Routed<S>,
        exchange: &Rc<Exchange>,
        record: RequestRecord,
    ) -> (HttpResponse, Option<Payload>) {
        let (head, terms) = (request.head(), &self.terms);
        let mut space = self.admission.body();
        let (answer, facts, is_read) = match routed {
            Routed::Answered(reply, counted) => {
                let is_read = body::drop_rest(head, &mut payload).await;
                (reply.into(), RequestFacts::answered(exchange, counted, record), is_read)
            }
            Routed::Run(route, matched, tenant, entry) => {
                let facts = RequestFacts::matched(exchange, route, counted(&matched, &tenant), record);
                let read = match terms.body_limit(route.body) {
                    None => Ok((Bytes::new(), body::drop_rest(head, &mut payload).await)),
                    Some(limit) => {
                        let time = terms.settings.body_time;
                        let body = body::read(head, &mut payload, limit, time, &mut space).await;
                        body.map(|body| (body, true))
                    }
                };
                let (answer, is_read) = match read {
                    // Other requests may have come while the body was read.
                    Ok((body, is_read)) => match self.admission.refusal(route.load) {
                        Some(refusal) => (refusal.into(), is_read),
                        None => {
                            let call = Call::new(request.clone(), matched, tenant, body);
                            // A body may come slowly, and the account may have changed since the head came.
                            let entered = self.access.as_ref().map_or(Ok(entry), |access| {
                                access.enter(needed(route, call.surface()), head)
                            });
                            let answer = match entered {
                                Ok(entry) => self.admit(route, call, entry, exchange),
                                Err(error) => error.into(),
                            };
                            (answer, is_read)
                        }
                    },
                    Err(BodyError::NoRoom) => (refusal(route.load).into(), false),
                    Err(BodyError::Rejected(detail)) => {
                        (Error::invalid(detail).into(), body::drop_rest(head, &mut payload).await)
                    }
                    Err(BodyError::Incomplete(detail)) => (Error::invalid(detail).into(), false),
                };
                (answer, facts, is_read)
            }
        };
        exchange.body_complete();
        let _waiting = self.admission.wait(facts.load);
        let reply = terms.wait(answer, head, &facts).await;
        (terms.send(head, reply, facts), (!is_read).then_some(payload))
    }

    fn route(&self, head: &RequestHead, exchange: &Exchange) -> Routed<S> {
        let found = self.router.find(&head.method, &head.uri);
        if let Some(refusal) = self.terms.gate.refusal(head, &found) {
            return match &found {
                RouteLookup::Route(_, matched) => self.refused(refusal, head, matched),
                _ => unmatched(refusal),
            };
        }
        let refuse = |status, text: &'static str| unmatched(Reply::library_text(status, text));
        match found {
            RouteLookup::BadUri => {
                let text = format!("Invalid Request URI {}", shown(&head.uri));
                unmatched(Reply::library_text(StatusCode::BAD_REQUEST, text))
            }
            _ if head.method == Method::OPTIONS => unmatched(self.terms.gate.options(head, &self.router)),
            RouteLookup::BadEscape => refuse(StatusCode::BAD_REQUEST, "400 Bad Request"),
            RouteLookup::InvalidUtf8(part) => unmatched(Reply::error(&invalid_utf8(&part))),
            RouteLookup::NoRoute => refuse(StatusCode::NOT_FOUND, "404 page not found\n"),
            RouteLookup::WrongMethod(allow) => {
                let reply = Reply::library_text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
                unmatched(reply.header(header::ALLOW, allow))
            }
            RouteLookup::Route(route, matched) => {
                if exchange.is_reserve() && route.load != Load::Always {
                    return self.refused(Reply::error(&refusal(route.load)), head, &matched);
                }
                if let Some(refusal) = self.admission.refusal(route.load) {
                    return self.refused(Reply::error(&refusal), head, &matched);
                }
                let mut entry = RequestSender::Open;
                if let Some(access) = &self.access {
                    entry = match access.enter(needed(route, matched.surface), head) {
                        Ok(entry) => entry,
                        Err(error) => return self.refused(Reply::error(&error), head, &matched),
                    };
                    if let Some(refusal) = access.over_rate(&entry, route.operation.rate) {
                        return self.refused(refusal, head, &matched);
                    }
                }
                match self.tenant(head, &matched) {
                    Ok(tenant) => Routed::Run(route, matched, tenant, entry),
                    Err(error) => self.refused(Reply::error(&error), head, &matched),
                }
            }
        }
    }

    /// The answer to a request that matches a route whose handler does not run.
    fn refused(&self, reply: Reply, head: &RequestHead, matched: &Matched) -> Routed<S> {
        let domain = match self.tenant(head, matched) {
            Ok(tenant) => requests::domain(tenant.domain()),
            Err(_) => requests::domain(""),
        };
        Routed::Answered(reply, CountedAs { route: matched.number, domain })
    }

    /// Domain and project. They become part of keys, so they are checked before anything else.
    fn tenant(&self, head: &RequestHead, matched: &Matched) -> Result<Tenant, Error> {
        let or_default = |value: &str| if value.is_empty() { DEFAULT.to_owned() } else { value.to_owned() };
        let project = match matched.surface {
            Surface::Plain => return Ok(self.default_tenant.clone()),
            Surface::V4 => matched.find(head.uri.path(), "project"),
            Surface::V3 => DEFAULT,
        };
        let (mut part, mut domain) = ("header X-Domain-Name", header_text(&head.headers, &X_DOMAIN_NAME)?);
        if matched.surface == Surface::V3 {
            let named = header_text(&head.headers, &X_TENANT_NAME)?;
            if !named.is_empty() {
                (part, domain) = ("header X-Tenant-Name", named);
            }
        }
        if matches!(domain, "" | DEFAULT) && matches!(project, "" | DEFAULT) {
            return Ok(self.default_tenant.clone());
        }
        let (domain, project) = (or_default(domain), or_default(project));
        let refusal = Tenant::refusal(part, &domain).or_else(|| Tenant::refusal("project", &project));
        match refusal {
            Some(refusal) => Err(Error::invalid(refusal)),
            None => Ok(Tenant::new(&domain, &project)),
        }
    }

    /// Runs the handler, if the caller may send the request.
    fn admit(
        self: &Rc<Self>,
        route: &'static Route<S>,
        mut call: Call,
        entry: RequestSender,
        exchange: &Rc<Exchange>,
    ) -> Answer {
        let Some(access) = &self.access else { return self.run(route, call, exchange) };
        let permission = needed(route, call.surface());
        match access.admit(permission, entry, &mut call) {
            Ok(()) => self.run(route, call, exchange),
            Err(denied) if !denied.may_be_stale => denied.error.into(),
            Err(denied) => {
                let (this, exchange) = (Rc::clone(self), Rc::clone(exchange));
                Answer::later(async move {
                    let Some(access) = &this.access else { return Reply::error(&denied.error) };
                    access.catch_up().await;
                    let entry = access.enter(permission, call.head()).map_err(Denied::from);
                    match entry.and_then(|entry| access.admit(permission, entry, &mut call)) {
                        Ok(()) => match this.run(route, call, &exchange) {
                            Answer::Ready(reply) => reply,
                            Answer::Later(reply) => reply.await,
                        },
                        Err(denied) => Reply::error(&denied.error),
                    }
                })
            }
        }
    }

    fn run(&self, route: &Route<S>, call: Call, exchange: &Exchange) -> Answer {
        if may_change(route.load)
            && let Some(caller) = call.caller()
        {
            trace::signed_in(&caller.name);
        }
        match route.handler {
            // The socket is handed over already, so a body cannot be read.
            Handler::Answer(_) if route.body != Body::Ignored && exchange.is_upgrade() => {
                Error::invalid("header Upgrade: this path is no websocket").into()
            }
            Handler::Answer(handler) => caught(route.path, || handler(&self.state, call)),
            Handler::Websocket(start) if exchange.is_upgrade() && ws::is_handshake(call.head()) => {
                match caught(route.path, || start(&self.state, call)) {
                    ws::SessionStart::Session(session) => {
                        exchange.start_session(session);
                        Reply::library_text(StatusCode::SWITCHING_PROTOCOLS, "").into()
                    }
                    ws::SessionStart::Refuse(reply) => reply.into(),
                }
            }
            Handler::Websocket(_) => ws::refusal().into(),
        }
    }
}

fn unmatched<S>(reply: Reply) -> Routed<S> {
    Routed::Answered(reply, CountedAs::UNMATCHED)
}

fn counted(matched: &Matched, tenant: &Tenant) -> CountedAs {
    let domain = if tenant.is_default() { DomainNumber::DEFAULT } else { requests::domain(tenant.domain()) };
    CountedAs { route: matched.number, domain }
}

/// Whether a request may change what the record of events shows. Finds and heartbeats do not, and there are many of them.
fn may_change(load: Load) -> bool {
    matches!(load, Load::Store | Load::View)
}

fn needed<S>(route: &Route<S>, surface: Surface) -> Permission {
    permission_of(route.permission, surface, route.path)
}
