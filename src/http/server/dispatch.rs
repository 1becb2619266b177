//! One request, from its head to its answer.
//!
//! What needs no waiting (no body, an answer from memory) is done in one call without a task, a lock or an allocation of
//! its own. A panic in a handler is an answer, 500003, and a line in the log.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_http::{ConnectionType, Method, RequestHead, StatusCode, header};
use actix_web::HttpResponse;
use actix_web::dev::Payload;
use bytes::Bytes;
use futures_util::future::{Either, LocalBoxFuture};

use super::admission::{Admission, refusal};
use super::body::{self, BodyError, BodyLimit};
use super::connection::{Exchange, Standing};
use super::response::{Seen, Terms, caught, hold, must_wait, too_large_head};
use super::router::{Found, Router, shown};
use crate::domain::Tenant;
use crate::domain::validate::size;
use crate::error::Error;
use crate::http::call::{Answer, Call, Head, Matched, X_DOMAIN_NAME, X_TENANT_NAME, header_text, no_text};
use crate::http::reply::Reply;
use crate::http::route::{Handler, Route};
use crate::http::spec::{Body, Load, Surface};
use crate::http::ws;
use crate::metrics;

/// Domain or project of who names none.
const DEFAULT: &str = "default";

/// Serves the requests of one worker.
pub(super) struct Dispatcher<S: 'static> {
    state: Arc<S>,
    router: Arc<Router<S>>,
    terms: Terms,
    admission: Arc<Admission>,
    /// `default/default`, which nearly all requests are of.
    default_tenant: Tenant,
}

/// What routing made of a request.
enum Step<S: 'static> {
    Answered(Reply),
    Run(&'static Route<S>, Matched, Tenant),
}

/// The answer to a request, now or later.
pub(super) type Served = Either<Ready<HttpResponse>, LocalBoxFuture<'static, HttpResponse>>;

/// A request that wants to leave HTTP.
pub(super) enum Upgrade {
    /// The answer is an ordinary one after all.
    Refused(HttpResponse),
    /// The session to be run.
    Start(Head, Box<ws::Session>),
}

impl<S: Send + Sync + 'static> Dispatcher<S> {
    pub(super) fn new(
        state: Arc<S>,
        router: Arc<Router<S>>,
        terms: Terms,
        admission: Arc<Admission>,
    ) -> Self {
        Self { state, router, terms, admission, default_tenant: Tenant::default_tenant() }
    }

    /// Serves a request.
    pub(super) fn serve(
        self: &Rc<Self>,
        head: Head,
        payload: Payload,
        exchange: Option<Rc<Exchange>>,
    ) -> Served {
        if exchange.as_ref().is_some_and(|exchange| self.head_is_too_large(exchange)) {
            return Either::Left(ready(too_large_head()));
        }
        let standing = exchange.as_ref().map_or(Standing::Place, |exchange| exchange.standing());
        let step = self.route(head.get(), standing);
        let has_body = !matches!(payload, Payload::None);
        if has_body {
            let (this, running) = (Rc::clone(self), exchange.as_ref().map(Exchange::run_with_body));
            return Either::Right(Box::pin(async move {
                let _running = running;
                let (response, unread) =
                    this.serve_with_body(head, payload, step, standing, exchange.as_deref()).await;
                match unread {
                    None => response,
                    Some(unread) => {
                        if let Some(exchange) = exchange {
                            exchange.end();
                        }
                        hold(response, unread)
                    }
                }
            }));
        }
        let (answer, head, seen) = match step {
            Step::Answered(reply) => (Answer::Ready(reply), head, Seen::unmatched(standing)),
            Step::Run(route, matched, tenant) => {
                let seen = Seen::matched(standing, route);
                // The handler takes the head along, and the answer still needs it: it is shared, not copied.
                let kept = head.share();
                (self.run(route, Call::new(head, matched, tenant, Bytes::new())), kept, seen)
            }
        };
        match answer {
            Answer::Ready(reply) if !must_wait(&reply, head.get()) => {
                Either::Left(ready(self.terms.send(head.get(), reply, &seen)))
            }
            answer => {
                let (this, running) = (Rc::clone(self), exchange.as_ref().map(Exchange::run));
                let waiting = self.admission.wait(seen.load);
                Either::Right(Box::pin(async move {
                    let _held = (running, waiting);
                    let reply = this.terms.wait(answer, head.get(), &seen).await;
                    this.terms.send(head.get(), reply, &seen)
                }))
            }
        }
    }

    /// Serves a request that has a body, whether or not it is wanted. What of the body could not be read is returned, too: the
    /// connection cannot go on then.
    async fn serve_with_body(
        &self,
        head: Head,
        mut payload: Payload,
        step: Step<S>,
        standing: Standing,
        exchange: Option<&Exchange>,
    ) -> (HttpResponse, Option<Payload>) {
        let (route, matched, tenant) = match step {
            Step::Run(route, matched, tenant) => (route, matched, tenant),
            Step::Answered(reply) => {
                let emptied = body::drop_rest(head.get(), &mut payload).await;
                let reply = self.terms.packed(reply, head.get(), Load::Always).await;
                let response = self.terms.send(head.get(), reply, &Seen::unmatched(standing));
                return (response, (!emptied).then_some(payload));
            }
        };
        let seen = Seen::matched(standing, route);
        let kept = head.share();
        let mut space = self.admission.body();
        let terms = &self.terms;
        let limit = |most, key| Some(BodyLimit { most, key });
        let limit = match route.body {
            Body::Ignored => None,
            Body::Instance => limit(terms.max_instance, size::INSTANCE_KEY),
            Body::Properties => limit(terms.max_properties, size::PROPERTIES_KEY),
            Body::Configured => limit(terms.max_body, "server.request.maxBodyBytes"),
        };
        let read = match limit {
            Some(limit) => {
                let body = body::read(kept.get(), &mut payload, limit, terms.body_time, &mut space).await;
                body.map(|body| (body, true))
            }
            None => Ok((Bytes::new(), body::drop_rest(kept.get(), &mut payload).await)),
        };
        let (answer, emptied) = match read {
            // The body took its time, and others came meanwhile.
            Ok((body, emptied)) => match self.admission.refusal(route.load) {
                Some(refusal) => (refusal.into(), emptied),
                None => (self.run(route, Call::new(head, matched, tenant, body)), emptied),
            },
            Err(BodyError::NoRoom) => (refusal(route.load).into(), false),
            Err(BodyError::Unfit(detail)) => {
                let emptied = body::drop_rest(kept.get(), &mut payload).await;
                (Error::invalid(detail).into(), emptied)
            }
            Err(BodyError::Slow) => {
                let detail = format!("the body did not arrive within {} s", terms.body_time.as_secs());
                (Error::invalid(detail).into(), false)
            }
            Err(BodyError::Broken(why)) => {
                (Error::invalid(format!("the body broke off: {why}")).into(), false)
            }
        };
        if let Some(exchange) = exchange {
            exchange.body_complete();
        }
        let _waiting = self.admission.wait(route.load);
        let reply = terms.wait(answer, kept.get(), &seen).await;
        let response = self.terms.send(kept.get(), reply, &seen);
        (response, (!emptied).then_some(payload))
    }

    /// Serves a request that asks for an upgrade to websocket. Its body, if it has one, cannot be told from the stream any
    /// more.
    pub(super) async fn upgrade(&self, request: actix_http::Request, exchange: &Exchange) -> Upgrade {
        let head = Head::Bare(Rc::new(request));
        if self.head_is_too_large(exchange) {
            return Upgrade::Refused(too_large_head());
        }
        let standing = exchange.standing();
        let (answer, head, seen) = match self.route(head.get(), standing) {
            Step::Answered(reply) => (Answer::Ready(reply), head, Seen::unmatched(standing)),
            Step::Run(route, matched, tenant) => {
                let seen = Seen::matched(standing, route);
                let kept = head.share();
                let call = Call::new(head, matched, tenant, Bytes::new());
                let answer = match route.handler {
                    Handler::Websocket(_) if !ws::is_handshake(kept.get()) => ws::refusal().into(),
                    Handler::Websocket(start) => match caught(route.path, || start(&self.state, call)) {
                        ws::Start::Session(session) => {
                            metrics::count_request(StatusCode::SWITCHING_PROTOCOLS.as_u16());
                            return Upgrade::Start(kept, session);
                        }
                        ws::Start::Refuse(reply) => reply.into(),
                    },
                    // On any other route the header means nothing, as long as there is no body.
                    Handler::Answer(_) if route.body == Body::Ignored => self.run(route, call),
                    Handler::Answer(_) => Error::invalid("header Upgrade: this path is no websocket").into(),
                };
                (answer, kept, seen)
            }
        };
        let _waiting = self.admission.wait(seen.load);
        let reply = self.terms.wait(answer, head.get(), &seen).await;
        let mut response = self.terms.send(head.get(), reply, &seen);
        response.head_mut().set_connection_type(ConnectionType::Close);
        Upgrade::Refused(response)
    }

    /// What its answers have in common.
    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whether the head that has just come has more bytes than configured.
    fn head_is_too_large(&self, exchange: &Exchange) -> bool {
        exchange.head_complete() > self.terms.max_head
    }

    fn route(&self, head: &RequestHead, standing: Standing) -> Step<S> {
        let found = self.router.find(&head.method, &head.uri);
        if let Some(refusal) = self.terms.gate.refusal(head, &found) {
            return Step::Answered(refusal);
        }
        let refuse = |status, text: &'static str| Step::Answered(Reply::library_text(status, text));
        match found {
            Found::BadUri => {
                let text = format!("Invalid Request URI {}", shown(&head.uri));
                Step::Answered(Reply::library_text(StatusCode::BAD_REQUEST, text))
            }
            _ if head.method == Method::OPTIONS => {
                Step::Answered(self.terms.gate.options(head, &self.router))
            }
            Found::BadEscape => refuse(StatusCode::BAD_REQUEST, "400 Bad Request"),
            Found::NoText(part) => Step::Answered(Reply::error(&no_text(&part))),
            Found::NoRoute => refuse(StatusCode::NOT_FOUND, "404 page not found\n"),
            Found::WrongMethod(allow) => {
                let reply = Reply::library_text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
                Step::Answered(reply.header(header::ALLOW, allow))
            }
            Found::Route(route, matched) => {
                if standing != Standing::Place && route.load != Load::Always {
                    return Step::Answered(Reply::error(&refusal(route.load)));
                }
                if let Some(refusal) = self.admission.refusal(route.load) {
                    return Step::Answered(Reply::error(&refusal));
                }
                match self.tenant(head, &matched) {
                    Ok(tenant) => Step::Run(route, matched, tenant),
                    Err(error) => Step::Answered(Reply::error(&error)),
                }
            }
        }
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

    fn run(&self, route: &Route<S>, call: Call) -> Answer {
        match route.handler {
            Handler::Answer(handler) => caught(route.path, || handler(&self.state, call)),
            // Reached without an upgrade.
            Handler::Websocket(_) => ws::refusal().into(),
        }
    }
}
