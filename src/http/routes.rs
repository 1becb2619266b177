//! Every path of the server on one screen. How paths are matched is the router's business; what the columns mean stands in
//! [`super::spec`].

use super::api::Api;
use super::call::Answer;
use super::route::Handler::{Answer as To, Websocket};
use super::route::{Route, route};
use super::spec::Body::{Configured, Ignored, Instance, Properties};
use super::spec::Load::{Always, Find, Memory, Store};
use super::spec::Method::{Delete, Get, Post, Put};
use super::spec::Permission::{Admin, Needs, Open};
use super::spec::Resource::{Ops, Service, ServiceSchema};
use super::spec::{V3, Verb};
use super::v4::{
    admin, batch_find, dependencies, existence, exposition, find, health, heartbeats, instances, node,
    schemas, services, tags, watch,
};

/// An async handler as the table holds it: one that need not wait is answered at once.
macro_rules! handler {
    ($handler:path) => {
        |api, call| Answer::soon($handler(std::sync::Arc::clone(api), call))
    };
}

/// The table.
#[rustfmt::skip]
pub static ROUTES: &[Route<Api>] = &[
    route(Get,    "/v4/{project}/registry/version",                                    V3::Bare,     Ignored,         Always, Open,                       To(node::version), &node::VERSION),
    route(Get,    "/v4/{project}/registry/health",                                     V3::Bare,     Ignored,         Always, Open,                       To(handler!(health::health)), &health::HEALTH),
    route(Get,    "/v4/{project}/registry/health/readiness",                           V3::None,     Ignored,         Always, Open,                       To(node::readiness), &node::READINESS),
    route(Get,    "/v4/{project}/registry/existence",                                  V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(existence::existence)), &existence::EXISTENCE),
    route(Get,    "/v4/{project}/registry/microservices",                              V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(services::list)), &services::LIST),
    route(Post,   "/v4/{project}/registry/microservices",                              V3::Prefixed, Configured,      Store,  Needs(Verb::Create, Service), To(handler!(services::create)), &services::CREATE),
    route(Delete, "/v4/{project}/registry/microservices",                              V3::Prefixed, Configured,      Store,  Needs(Verb::Delete, Service), To(handler!(services::delete_many)), &services::DELETE_MANY),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}",                  V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(services::get)), &services::GET),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}",                  V3::Prefixed, Ignored,         Store,  Needs(Verb::Delete, Service), To(handler!(services::delete)), &services::DELETE),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/properties",       V3::Prefixed, Properties,      Store,  Needs(Verb::Update, Service), To(handler!(services::put_properties)), &services::PUT_PROPERTIES),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/tags",             V3::Prefixed, Configured,      Store,  Needs(Verb::Create, Service), To(handler!(tags::replace)), &tags::REPLACE),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/tags",             V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(tags::get)), &tags::GET),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/tags/{key}",       V3::Prefixed, Ignored,         Store,  Needs(Verb::Update, Service), To(handler!(tags::put)), &tags::PUT),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}/tags/{key}",       V3::Prefixed, Ignored,         Store,  Needs(Verb::Delete, Service), To(handler!(tags::delete)), &tags::DELETE),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/schemas",          V3::Prefixed, Ignored,         Store,  Needs(Verb::Get, ServiceSchema),    To(handler!(schemas::list)), &schemas::LIST),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/schemas",          V3::Prefixed, Configured,      Store,  Needs(Verb::Create, ServiceSchema), To(handler!(schemas::replace)), &schemas::REPLACE),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", V3::Prefixed, Ignored,       Store,  Needs(Verb::Get, ServiceSchema),    To(handler!(schemas::get)), &schemas::GET),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", V3::Prefixed, Configured,    Store,  Needs(Verb::Update, ServiceSchema), To(handler!(schemas::put)), &schemas::PUT),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}/schemas/{schemaId}", V3::Prefixed, Ignored,       Store,  Needs(Verb::Delete, ServiceSchema), To(handler!(schemas::delete)), &schemas::DELETE),
    route(Post,   "/v4/{project}/registry/dependencies",                               V3::None,     Configured,      Store,  Admin,                      To(handler!(dependencies::add)), &dependencies::ADD),
    route(Put,    "/v4/{project}/registry/dependencies",                               V3::None,     Configured,      Store,  Admin,                      To(handler!(dependencies::replace)), &dependencies::REPLACE),
    route(Get,    "/v4/{project}/registry/microservices/{consumerId}/providers",       V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(dependencies::providers)), &dependencies::PROVIDERS),
    route(Get,    "/v4/{project}/registry/microservices/{providerId}/consumers",       V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    To(handler!(dependencies::consumers)), &dependencies::CONSUMERS),
    route(Get,    "/v4/{project}/registry/instances",                                  V3::Prefixed, Ignored,         Find,   Needs(Verb::Get, Service),    To(find::find), &find::FIND),
    route(Post,   "/v4/{project}/registry/instances/action",                           V3::None,     Configured,      Find,   Needs(Verb::Get, Service),    To(handler!(batch_find::batch_find)), &batch_find::BATCH_FIND),
    route(Put,    "/v4/{project}/registry/instances/status",                           V3::None,     Configured,      Store,  Needs(Verb::Update, Service), To(handler!(instances::put_status_where)), &instances::PUT_STATUS_WHERE),
    route(Put,    "/v4/{project}/registry/heartbeats",                                 V3::Prefixed, Configured,      Memory, Needs(Verb::Update, Service), To(handler!(heartbeats::beat_many)), &heartbeats::BEAT_MANY),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/instances",        V3::Prefixed, Ignored,         Find,   Needs(Verb::Get, Service),    To(handler!(find::list)), &find::LIST),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/instances",        V3::Prefixed, Instance,        Store,  Needs(Verb::Create, Service), To(handler!(instances::register)), &instances::REGISTER),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}", V3::Prefixed, Ignored,   Find,   Needs(Verb::Get, Service),    To(handler!(find::instance)), &find::INSTANCE),
    route(Delete, "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}", V3::Prefixed, Ignored,   Store,  Needs(Verb::Delete, Service), To(handler!(instances::unregister)), &instances::UNREGISTER),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/properties", V3::Prefixed, Properties,      Store,  Needs(Verb::Update, Service), To(handler!(instances::put_properties)), &instances::PUT_PROPERTIES),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/status",     V3::Prefixed, Ignored, Store,  Needs(Verb::Update, Service), To(handler!(instances::put_status)), &instances::PUT_STATUS),
    route(Put,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat",  V3::Prefixed, Ignored, Memory, Needs(Verb::Update, Service), To(heartbeats::beat), &heartbeats::BEAT),
    route(Post,   "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat",  V3::None,     Ignored, Memory, Needs(Verb::Update, Service), To(heartbeats::beat), &heartbeats::BEAT_BY_POST),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/instances/{instanceId}/heartbeat",  V3::None,     Ignored, Memory, Needs(Verb::Get, Service),    Websocket(watch::heartbeat), &watch::HEARTBEAT),
    route(Get,    "/v4/{project}/registry/microservices/{serviceId}/watcher",          V3::Prefixed, Ignored,         Memory, Needs(Verb::Get, Service),    Websocket(watch::watch), &watch::WATCH),
    route(Get,    "/v4/{project}/admin/expiries",                                      V3::None,     Ignored,         Always, Needs(Verb::Get, Ops),        To(handler!(admin::expiries)), &admin::EXPIRIES),
    route(Get,    "/metrics",                                                          V3::None,     Ignored,         Always, Open,                       To(handler!(exposition::metrics)), &exposition::METRICS),
    route(Get,    "/openapi.json",                                                     V3::None,     Ignored,         Memory, Open,                       To(exposition::openapi), &exposition::OPENAPI),
];
