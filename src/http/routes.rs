//! Every path of the server on one screen, and what a row says.
//!
//! A row holds what is true of a path before its handler runs: method, pattern, the older spelling of the path, how much
//! body it takes and what the caller must be allowed to do. How paths are matched is the router's business.

use super::api::Api;
use super::call::Answer;
use super::call::Call;
use super::node;
use super::openapi;
use super::v4::{
    admin, batch_find, dependencies, existence, exposition, find, health, heartbeats, instances, schemas,
    services, tags, watch,
};
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

/// What a request costs, and so what becomes of it when the server has too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Next to nothing, and operators need it most then: it is never refused.
    Always,
    /// A find: refused only when every place is taken, with 429, which makes clients keep what they know.
    Find,
    /// Answered from memory, as a rule without waiting: refused when every place is taken.
    Memory,
    /// Waits for the store: refused while places are left for the others.
    Store,
}

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
    /// What it costs.
    pub load: Load,
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
    load: Load,
    permission: Permission,
    handler: Handler<S>,
) -> Route<S> {
    Route { method, path, v3, body, load, permission, handler }
}

/// An async handler as the table holds it: one that need not wait is answered at once.
macro_rules! handler {
    ($handler:path) => {
        |api, call| Answer::soon($handler(std::sync::Arc::clone(api), call))
    };
}

use Body::{Configured, Ignored};
use Handler::{Answer as To, Websocket};
use Load::{Always, Find, Memory, Store};
use Method::{Delete, Get, Post, Put};
use Permission::{Admin, Needs, Open};
use Resource::{Ops, Service, ServiceSchema};

/// The table.
#[rustfmt::skip]
pub static ROUTES: &[Route<Api>] = &[
    route(Get,    "/v4/{project}/registry/version",                                    V3::Bare,     Ignored,         Always, Open,                       To(node::version)),
    route(Get,    "/v4/{project}/registry/health",                                     V3::Bare,     Ignored,         Always, Open,                       To(handler!(health::health))),
    route(Get,    "/v4/{project}/registry/health/readiness",                           V3::None,     Ignored,         Always, Open,                       To(node::readiness)),
    route(Get,    "/v4/{project}/registry/existence",                                  V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(existence::existence))),
    route(Get,    "/v4/{project}/registry/microservices",                              V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(services::list))),
    route(Post,   "/v4/{project}/registry/microservices",                              V3::Prefixed, Configured,      Store,  Needs(Verb::Create, Service), To(handler!(services::create))),
    route(Delete, "/v4/{project}/registry/microservices",                              V3::Prefixed, Configured,      Store,  Needs(Verb::Delete, Service), To(handler!(services::delete_many))),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}",                  V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(services::get))),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}",                  V3::Prefixed, Ignored,         Store,  Needs(Verb::Delete, Service), To(handler!(services::delete))),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/properties",       V3::Prefixed, PROPERTIES_BODY, Store,  Needs(Verb::Update, Service), To(handler!(services::put_properties))),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/tags",             V3::Prefixed, Configured,      Store,  Needs(Verb::Create, Service), To(handler!(tags::replace))),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/tags",             V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(tags::get))),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/tags/{key}",       V3::Prefixed, Ignored,         Store,  Needs(Verb::Update, Service), To(handler!(tags::put))),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}/tags/{key}",       V3::Prefixed, Ignored,         Store,  Needs(Verb::Delete, Service), To(handler!(tags::delete))),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/schemas",          V3::Prefixed, Ignored,         Store,  Needs(Verb::Get, ServiceSchema),    To(handler!(schemas::list))),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/schemas",          V3::Prefixed, Configured,      Store,  Needs(Verb::Create, ServiceSchema), To(handler!(schemas::replace))),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", V3::Prefixed, Ignored,       Store,  Needs(Verb::Get, ServiceSchema),    To(handler!(schemas::get))),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", V3::Prefixed, Configured,    Store,  Needs(Verb::Update, ServiceSchema), To(handler!(schemas::put))),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", V3::Prefixed, Ignored,       Store,  Needs(Verb::Delete, ServiceSchema), To(handler!(schemas::delete))),
    route(Post,   "/v4/{project}/registry/dependencies",                               V3::None,     Configured,      Store,  Admin,                      To(handler!(dependencies::add))),
    route(Put,    "/v4/{project}/registry/dependencies",                               V3::None,     Configured,      Store,  Admin,                      To(handler!(dependencies::replace))),
    route(Get,    "/v4/{project}/registry/microservices/{consumerId}/providers",       V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(dependencies::providers))),
    route(Get,    "/v4/{project}/registry/microservices/{providerId}/consumers",       V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(dependencies::consumers))),
    route(Get,    "/v4/{project}/registry/instances",                                  V3::Prefixed, Ignored,         Find,   Needs(Verb::Get, Service),    To(find::find)),
    route(Post,   "/v4/{project}/registry/instances/action",                           V3::None,     Configured,      Find,   Needs(Verb::Get, Service),    To(handler!(batch_find::batch_find))),
    route(Put,    "/v4/{project}/registry/instances/status",                           V3::None,     Configured,      Store,  Needs(Verb::Update, Service), To(handler!(instances::put_status_where))),
    route(Put,    "/v4/{project}/registry/heartbeats",                                 V3::Prefixed, Configured,      Memory, Needs(Verb::Update, Service), To(handler!(heartbeats::beat_many))),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/instances",        V3::Prefixed, Ignored,         Find,   Needs(Verb::Get, Service),    To(handler!(find::list))),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/instances",        V3::Prefixed, INSTANCE_BODY,   Store,  Needs(Verb::Create, Service), To(handler!(instances::register))),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}", V3::Prefixed, Ignored,   Find,   Needs(Verb::Get, Service),    To(handler!(find::instance))),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}", V3::Prefixed, Ignored,   Store,  Needs(Verb::Delete, Service), To(handler!(instances::unregister))),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/properties", V3::Prefixed, PROPERTIES_BODY, Store,  Needs(Verb::Update, Service), To(handler!(instances::put_properties))),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/status",     V3::Prefixed, Ignored, Store,  Needs(Verb::Update, Service), To(handler!(instances::put_status))),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat",  V3::Prefixed, Ignored, Memory, Needs(Verb::Update, Service), To(heartbeats::beat)),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat",  V3::None,     Ignored, Memory, Needs(Verb::Update, Service), To(heartbeats::beat)),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat",  V3::None,     Ignored, Memory, Needs(Verb::Get, Service),    Websocket(watch::heartbeat)),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/watcher",          V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    Websocket(watch::watch)),
    route(Get,    "/v4/{project}/admin/expiries",                                      V3::None,     Ignored,         Always, Needs(Verb::Get, Ops),        To(handler!(admin::expiries))),
    route(Get,    "/metrics",                                                          V3::None,     Ignored,         Always, Open,                       To(handler!(exposition::metrics))),
    route(Get,    "/openapi.json",                                                     V3::None,     Ignored,         Always, Open,                       To(openapi::document)),
];
