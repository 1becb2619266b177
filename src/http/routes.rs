//! Every path of the server on one screen, and what a row says.
//!
//! A row holds what is true of a path before its handler runs: method, pattern, the older spelling of the path, how much
//! body it takes and what the caller must be allowed to do. How paths are matched is the router's business.

use super::Api;
use super::call::Answer;
use super::call::Call;
use super::node;
use super::ws;

/// Methods that can have routes. `HEAD`, `PATCH` and the rest never have (405), `OPTIONS` is answered before routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

/// The spelling of a v4 path in the older API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum V3 {
    /// There is none.
    None,
    /// `/registry/v3` stands for `/v4/{project}/registry`.
    Prefixed,
    /// The path stands alone: `/version` for `/v4/{project}/registry/version`.
    Bare,
}

/// How much body a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// None: what is sent all the same is read and dropped.
    Ignored,
    /// Up to this many bytes.
    UpTo(usize),
    /// Up to the configured maximum.
    Configured,
}

/// Most bytes of a registered instance.
pub const INSTANCE_BODY: Body = Body::UpTo(5120);
/// Most bytes of a service's or an instance's properties.
pub const PROPERTIES_BODY: Body = Body::UpTo(3072);

/// What a caller wants to do to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read it.
    Get,
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Delete it.
    Delete,
}

/// Resource types of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Accounts and account locks.
    Account,
    /// Roles.
    Role,
    /// Configuration.
    Config,
    /// Services, instances, tags, dependencies' readers, heartbeats, watches, statistics.
    Service,
    /// Schemas of services.
    ServiceSchema,
    /// Governance rules.
    Governance,
    /// The admin API.
    Ops,
}

/// Who may use a route when accounts are switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Anyone, without a token.
    Open,
    /// Any account.
    Account,
    /// Only the role `admin`: the route belongs to no resource type.
    Admin,
    /// An account with a role that allows the verb on the resource type.
    Needs(Verb, Resource),
}

/// What answers a route, given the server's state `S`.
pub enum Handler<S> {
    /// An ordinary request.
    Answer(fn(&std::sync::Arc<S>, Call) -> Answer),
    /// A websocket; asked after the handshake was found valid and before it is answered.
    Websocket(fn(&std::sync::Arc<S>, Call) -> ws::Start),
}

impl<S> Clone for Handler<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Handler<S> {}

/// One row of the table.
pub struct Route<S> {
    /// Method.
    pub method: Method,
    /// Path with `{name}` for a segment.
    pub path: &'static str,
    /// Its older spelling.
    pub v3: V3,
    /// Body it takes.
    pub body: Body,
    /// Who may use it.
    pub permission: Permission,
    /// What answers.
    pub handler: Handler<S>,
}

/// A row.
pub const fn route<S>(
    method: Method,
    path: &'static str,
    v3: V3,
    body: Body,
    permission: Permission,
    handler: Handler<S>,
) -> Route<S> {
    Route { method, path, v3, body, permission, handler }
}

use Body::Ignored;
use Handler::Answer as To;
use Method::Get;
use Permission::Open;

/// The table.
#[rustfmt::skip]
pub static ROUTES: &[Route<Api>] = &[
    route(Get, "/v4/{project}/registry/version",          V3::Bare, Ignored, Open, To(node::version)),
    route(Get, "/v4/{project}/registry/health/readiness", V3::None, Ignored, Open, To(node::readiness)),
];
