//! All routes of the server, on one screen.
//!
//! The columns are: method, path (after the prefix of its block), spelling in the API v3, body, load, permission, handler,
//! description for OpenAPI. [`super::spec`] explains their values. `CONTRIBUTING.md` shows how to add a route. The order of the
//! rows has no meaning: `server/router.rs` finds the row of a request.

use super::api::Api;
use super::call::Answer;
use super::route::{Handler, Route, route};
use super::spec::{Body, Load, Method, Permission, Resource, V3, Verb};
use super::v4::{
    admin, batch_find, dependencies, existence, exposition, find, health, heartbeats, instances, node,
    schemas, services, tags, watch,
};

/// `Open`, `Account`, `Admin`, or a verb and a resource.
macro_rules! permission {
    ($verb:ident $resource:ident) => {
        Permission::Needs(Verb::$verb, Resource::$resource)
    };
    ($kind:ident) => {
        Permission::$kind
    };
}

/// An async function; or `ready` and a function that answers without a future if it can; or `socket` and a function that
/// starts a websocket.
macro_rules! handler {
    (ready $module:ident::$function:ident) => {
        Handler::Answer($module::$function)
    };
    (socket $module:ident::$function:ident) => {
        Handler::Websocket($module::$function)
    };
    ($module:ident::$function:ident) => {
        Handler::Answer(|api, call| Answer::soon($module::$function(std::sync::Arc::clone(api), call)))
    };
}

/// The description of an operation: a constant in the module of its handler.
macro_rules! operation {
    ($module:ident::$function:ident, $operation:ident) => {
        &$module::$operation
    };
    ($kind:ident $module:ident::$function:ident, $operation:ident) => {
        &$module::$operation
    };
}

macro_rules! routes {
    ($($prefix:literal { $(
        $method:ident, $path:literal, $v3:ident, $body:ident, $load:ident, $($permission:ident)+,
        $first:ident $(::$second:ident)? $($module:ident::$function:ident)?, $operation:ident;
    )+ })+) => {
        pub static ROUTES: &[Route<Api>] = &[$($(route(
            Method::$method,
            concat!($prefix, $path),
            V3::$v3,
            Body::$body,
            Load::$load,
            permission!($($permission)+),
            handler!($first $(::$second)? $($module::$function)?),
            operation!($first $(::$second)? $($module::$function)?, $operation),
        )),+),+];
    };
}

routes! {
    "/v4/{project}/registry" {
        Get,    "/version",                                                     Bare,     Ignored,    Always, Open,                 ready node::version,         VERSION;
        Get,    "/health",                                                      Bare,     Ignored,    Always, Open,                 health::health,              HEALTH;
        Get,    "/health/readiness",                                            None,     Ignored,    Always, Open,                 ready node::readiness,       READINESS;
        Get,    "/existence",                                                   Prefixed, Ignored,    Memory, Get Service,          existence::existence,        EXISTENCE;
        Get,    "/microservices",                                               Prefixed, Ignored,    Memory, Get Service,          services::list,              LIST;
        Post,   "/microservices",                                               Prefixed, Configured, Store,  Create Service,       services::create,            CREATE;
        Delete, "/microservices",                                               Prefixed, Configured, Store,  Delete Service,       services::delete_many,       DELETE_MANY;
        Get,    "/microservices/{serviceId}",                                   Prefixed, Ignored,    Memory, Get Service,          services::get,               GET;
        Delete, "/microservices/{serviceId}",                                   Prefixed, Ignored,    Store,  Delete Service,       services::delete,            DELETE;
        Put,    "/microservices/{serviceId}/properties",                        Prefixed, Properties, Store,  Update Service,       services::put_properties,    PUT_PROPERTIES;
        Post,   "/microservices/{serviceId}/tags",                              Prefixed, Configured, Store,  Create Service,       tags::replace,               REPLACE;
        Get,    "/microservices/{serviceId}/tags",                              Prefixed, Ignored,    Memory, Get Service,          tags::get,                   GET;
        Put,    "/microservices/{serviceId}/tags/{key}",                        Prefixed, Ignored,    Store,  Update Service,       tags::put,                   PUT;
        Delete, "/microservices/{serviceId}/tags/{key}",                        Prefixed, Ignored,    Store,  Delete Service,       tags::delete,                DELETE;
        Get,    "/microservices/{serviceId}/schemas",                           Prefixed, Ignored,    Store,  Get ServiceSchema,    schemas::list,               LIST;
        Post,   "/microservices/{serviceId}/schemas",                           Prefixed, Configured, Store,  Create ServiceSchema, schemas::replace,            REPLACE;
        Get,    "/microservices/{serviceId}/schemas/{schemaId}",                Prefixed, Ignored,    Store,  Get ServiceSchema,    schemas::get,                GET;
        Put,    "/microservices/{serviceId}/schemas/{schemaId}",                Prefixed, Configured, Store,  Update ServiceSchema, schemas::put,                PUT;
        Delete, "/microservices/{serviceId}/schemas/{schemaId}",                Prefixed, Ignored,    Store,  Delete ServiceSchema, schemas::delete,             DELETE;
        Post,   "/dependencies",                                                None,     Configured, Store,  Admin,                dependencies::add,           ADD;
        Put,    "/dependencies",                                                None,     Configured, Store,  Admin,                dependencies::replace,       REPLACE;
        Get,    "/microservices/{consumerId}/providers",                        Prefixed, Ignored,    Memory, Get Service,          dependencies::providers,     PROVIDERS;
        Get,    "/microservices/{providerId}/consumers",                        Prefixed, Ignored,    Memory, Get Service,          dependencies::consumers,     CONSUMERS;
        Get,    "/instances",                                                   Prefixed, Ignored,    Find,   Get Service,          ready find::find,            FIND;
        Post,   "/instances/action",                                            None,     Configured, Find,   Get Service,          batch_find::batch_find,      BATCH_FIND;
        Put,    "/instances/status",                                            None,     Configured, Store,  Update Service,       instances::put_status_where, PUT_STATUS_WHERE;
        Put,    "/heartbeats",                                                  Prefixed, Configured, Memory, Update Service,       heartbeats::beat_many,       BEAT_MANY;
        Get,    "/microservices/{serviceId}/instances",                         Prefixed, Ignored,    Find,   Get Service,          find::list,                  LIST;
        Post,   "/microservices/{serviceId}/instances",                         Prefixed, Instance,   Store,  Create Service,       instances::register,         REGISTER;
        Get,    "/microservices/{serviceId}/instances/{instanceId}",            Prefixed, Ignored,    Find,   Get Service,          find::instance,              INSTANCE;
        Delete, "/microservices/{serviceId}/instances/{instanceId}",            Prefixed, Ignored,    Store,  Delete Service,       instances::unregister,       UNREGISTER;
        Put,    "/microservices/{serviceId}/instances/{instanceId}/properties", Prefixed, Properties, Store,  Update Service,       instances::put_properties,   PUT_PROPERTIES;
        Put,    "/microservices/{serviceId}/instances/{instanceId}/status",     Prefixed, Ignored,    Store,  Update Service,       instances::put_status,       PUT_STATUS;
        Put,    "/microservices/{serviceId}/instances/{instanceId}/heartbeat",  Prefixed, Ignored,    Memory, Update Service,       ready heartbeats::beat,      BEAT;
        Post,   "/microservices/{serviceId}/instances/{instanceId}/heartbeat",  None,     Ignored,    Memory, Update Service,       ready heartbeats::beat,      BEAT_BY_POST;
        Get,    "/microservices/{serviceId}/instances/{instanceId}/heartbeat",  None,     Ignored,    Memory, Get Service,          socket watch::heartbeat,     HEARTBEAT;
        Get,    "/microservices/{serviceId}/watcher",                           Prefixed, Ignored,    Memory, Get Service,          socket watch::watch,         WATCH;
    }
    "" {
        Get,    "/v4/{project}/admin/expiries",                                 None,     Ignored,    Always, Get Ops,              admin::expiries,             EXPIRIES;
        Get,    "/metrics",                                                     None,     Ignored,    Always, Open,                 exposition::metrics,         METRICS;
        Get,    "/openapi.json",                                                None,     Ignored,    Memory, Open,                 ready exposition::openapi,   OPENAPI;
    }
}
