//! All routes of the server. They fit on one screen.
//!
//! The columns are: method, path (after the prefix of its block), spelling in the API v3, body, load, permission, handler,
//! description for OpenAPI. [`super::spec`] explains their values. `CONTRIBUTING.md` shows how to add a route. The order of the
//! rows has no meaning: `server/router.rs` finds the row of a request.

use super::api::Api;
use super::call::Answer;
use super::console;
use super::route::{Handler, Route, route};
use super::spec::{Body, Load, Method, Permission, Resource, Target, V3, Verb};
use super::v4::govern::{explain, neighbors, search, watchers};
use super::v4::{
    accounts, admin, batch_find, dependencies, diagnose, drains, dump, events, existence, expiries,
    exposition, find, gov, govern, health, heartbeats, instances, login, node, nodes, roles, schemas,
    services, tags, targets, watch,
};

/// `Open`, `Account`, `Admin`, or a verb and a resource: those that a list shows, `of` the service in a path parameter, or `by` what
/// the request names.
macro_rules! permission {
    ($verb:ident $resource:ident) => {
        Permission::Needs(Verb::$verb, Resource::$resource, Target::Listed)
    };
    ($verb:ident $resource:ident of $parameter:ident) => {
        Permission::Needs(Verb::$verb, Resource::$resource, Target::Service(stringify!($parameter)))
    };
    ($verb:ident $resource:ident by $target:ident) => {
        Permission::Needs(Verb::$verb, Resource::$resource, Target::$target)
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
    ($table:ident: $($prefix:literal { $(
        $method:ident, $path:literal, $v3:ident, $body:ident, $load:ident, $($permission:ident)+,
        $first:ident $(::$second:ident)? $($module:ident::$function:ident)?, $operation:ident;
    )+ })+) => {
        static $table: &[Route<Api>] = &[$($(route(
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

/// The routes, with those of accounts if there are accounts. Without, their paths are 404.
pub fn table(accounts: Accounts) -> impl Iterator<Item = &'static Route<Api>> + Clone {
    let of_accounts = match accounts {
        Accounts::On => ACCOUNT_ROUTES,
        Accounts::Off => &[],
    };
    ROUTES.iter().chain(of_accounts)
}

/// Whether this is the route of the metrics.
pub fn is_metrics(row: &Route<Api>) -> bool {
    row.operation.id == exposition::METRICS.id
}

/// Whether this is a route of the web console.
pub fn is_console(row: &Route<Api>) -> bool {
    row.operation.tag == console::TAG
}

/// The route of the metrics with another path. Called once, because the route is never freed.
pub fn metrics_at(path: &str) -> &'static Route<Api> {
    let path: &'static str = Box::leak(path.to_owned().into_boxed_str());
    let handler = handler!(exposition::metrics);
    Box::leak(Box::new(route(
        Method::Get,
        path,
        V3::None,
        Body::Ignored,
        Load::Always,
        Permission::Open,
        handler,
        &exposition::METRICS,
    )))
}

/// Whether `rbac.enable` is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accounts {
    On,
    Off,
}

routes! {
    ROUTES:
    "/v4/{project}/registry" {
        Get,    "/version",                                                     Bare,     Ignored,    Always, Open,                              ready node::version,         VERSION;
        Get,    "/health",                                                      Bare,     Ignored,    Always, Open,                              health::health,              HEALTH;
        Get,    "/health/readiness",                                            None,     Ignored,    Always, Open,                              ready node::readiness,       READINESS;
        Get,    "/existence",                                                   Prefixed, Ignored,    Memory, Get Service by Existence,          existence::existence,        EXISTENCE;
        Get,    "/microservices",                                               Prefixed, Ignored,    Memory, Get Service,                       services::list,              LIST;
        Post,   "/microservices",                                               Prefixed, Configured, Store,  Create Service by NewService,      services::create,            CREATE;
        Delete, "/microservices",                                               Prefixed, Configured, Store,  Delete Service by ServiceIds,      services::delete_many,       DELETE_MANY;
        Get,    "/microservices/{serviceId}",                                   Prefixed, Ignored,    Memory, Get Service of serviceId,          services::get,               GET;
        Delete, "/microservices/{serviceId}",                                   Prefixed, Ignored,    Store,  Delete Service of serviceId,       services::delete,            DELETE;
        Put,    "/microservices/{serviceId}/properties",                        Prefixed, Properties, Store,  Update Service of serviceId,       services::put_properties,    PUT_PROPERTIES;
        Post,   "/microservices/{serviceId}/tags",                              Prefixed, Configured, Store,  Create Service of serviceId,       tags::replace,               REPLACE;
        Get,    "/microservices/{serviceId}/tags",                              Prefixed, Ignored,    Memory, Get Service of serviceId,          tags::get,                   GET;
        Put,    "/microservices/{serviceId}/tags/{key}",                        Prefixed, Ignored,    Store,  Update Service of serviceId,       tags::put,                   PUT;
        Delete, "/microservices/{serviceId}/tags/{key}",                        Prefixed, Ignored,    Store,  Delete Service of serviceId,       tags::delete,                DELETE;
        Get,    "/microservices/{serviceId}/schemas",                           Prefixed, Ignored,    Store,  Get ServiceSchema of serviceId,    schemas::list,               LIST;
        Post,   "/microservices/{serviceId}/schemas",                           Prefixed, Configured, Store,  Create ServiceSchema of serviceId, schemas::replace,            REPLACE;
        Get,    "/microservices/{serviceId}/schemas/{schemaId}",                Prefixed, Ignored,    Store,  Get ServiceSchema of serviceId,    schemas::get,                GET;
        Put,    "/microservices/{serviceId}/schemas/{schemaId}",                Prefixed, Configured, Store,  Update ServiceSchema of serviceId, schemas::put,                PUT;
        Delete, "/microservices/{serviceId}/schemas/{schemaId}",                Prefixed, Ignored,    Store,  Delete ServiceSchema of serviceId, schemas::delete,             DELETE;
        Post,   "/dependencies",                                                None,     Configured, Store,  Admin,                             dependencies::add,           ADD;
        Put,    "/dependencies",                                                None,     Configured, Store,  Admin,                             dependencies::replace,       REPLACE;
        Get,    "/microservices/{consumerId}/providers",                        Prefixed, Ignored,    Memory, Get Service of consumerId,         dependencies::providers,     PROVIDERS;
        Get,    "/microservices/{providerId}/consumers",                        Prefixed, Ignored,    Memory, Get Service of providerId,         dependencies::consumers,     CONSUMERS;
        Get,    "/instances",                                                   Prefixed, Ignored,    Find,   Get Service by Query,              ready find::find,            FIND;
        Post,   "/instances/action",                                            None,     Configured, Find,   Get Service by BatchFind,          batch_find::batch_find,      BATCH_FIND;
        Put,    "/instances/status",                                            None,     Configured, Store,  Update Service by All,             instances::put_status_where, PUT_STATUS_WHERE;
        Put,    "/heartbeats",                                                  Prefixed, Configured, Memory, Update Service by Heartbeats,      heartbeats::beat_many,       BEAT_MANY;
        Get,    "/microservices/{serviceId}/instances",                         Prefixed, Ignored,    Find,   Get Service of serviceId,          find::list,                  LIST;
        Post,   "/microservices/{serviceId}/instances",                         Prefixed, Instance,   Store,  Create Service of serviceId,       instances::register,         REGISTER;
        Get,    "/microservices/{serviceId}/instances/{instanceId}",            Prefixed, Ignored,    Find,   Get Service of serviceId,          find::instance,              INSTANCE;
        Delete, "/microservices/{serviceId}/instances/{instanceId}",            Prefixed, Ignored,    Store,  Delete Service of serviceId,       instances::unregister,       UNREGISTER;
        Put,    "/microservices/{serviceId}/instances/{instanceId}/properties", Prefixed, Properties, Store,  Update Service of serviceId,       instances::put_properties,   PUT_PROPERTIES;
        Put,    "/microservices/{serviceId}/instances/{instanceId}/status",     Prefixed, Ignored,    Store,  Update Service of serviceId,       instances::put_status,       PUT_STATUS;
        Post,   "/microservices/{serviceId}/instances/{instanceId}/drain",      None,     Ignored,    Store,  Update Service of serviceId,       drains::drain,               DRAIN;
        Put,    "/microservices/{serviceId}/instances/{instanceId}/heartbeat",  Prefixed, Ignored,    Memory, Update Service of serviceId,       ready heartbeats::beat,      BEAT;
        Post,   "/microservices/{serviceId}/instances/{instanceId}/heartbeat",  None,     Ignored,    Memory, Update Service of serviceId,       ready heartbeats::beat,      BEAT_BY_POST;
        Get,    "/microservices/{serviceId}/instances/{instanceId}/heartbeat",  None,     Ignored,    Memory, Update Service of serviceId,       socket watch::heartbeat,     HEARTBEAT;
        Get,    "/microservices/{serviceId}/watcher",                           Prefixed, Ignored,    Memory, Get Service of serviceId,          socket watch::watch,         WATCH;
    }
    "" {
        Get,    "/v4/{project}/admin/expiries",                                 None,     Ignored,    Always, Get Ops,                           expiries::list,              LIST;
        Delete, "/v4/{project}/admin/expiries",                                 None,     Ignored,    Store,  Delete Ops by Query,               expiries::release,           RELEASE;
        Get,    "/v4/{project}/admin/events",                                   None,     Ignored,    View,   Get Ops,                           events::list,                LIST;
        Get,    "/v4/{project}/admin/instances/{serviceId}/{instanceId}/history", None,   Ignored,    View,   Get Ops,                           events::history,             HISTORY;
        Get,    "/v4/{project}/admin/snapshot",                                 None,     Ignored,    View,   Get Ops,                           events::past,                PAST;
        Get,    "/v4/{project}/admin/dump",                                     None,     Ignored,    View,   Get Ops,                           dump::dump,                  DUMP;
        Get,    "/v4/{project}/admin/clusters",                                 None,     Ignored,    Always, Get Ops,                           ready admin::clusters,       CLUSTERS;
        Get,    "/v4/{project}/admin/alarms",                                   None,     Ignored,    Always, Get Ops,                           ready admin::alarms,         ALARMS;
        Delete, "/v4/{project}/admin/alarms",                                   None,     Ignored,    Always, Delete Ops,                        ready admin::forget_alarms,  FORGET_ALARMS;
        Get,    "/v4/{project}/govern/microservices",                           None,     Ignored,    View,   Get Service,                       govern::list,                LIST;
        Get,    "/v4/{project}/govern/microservices/{serviceId}",               None,     Ignored,    View,   Get Service of serviceId,          govern::detail,              DETAIL;
        Get,    "/v4/{project}/govern/relations",                               None,     Ignored,    View,   Get Service,                       govern::relations,           RELATIONS;
        Get,    "/v4/{project}/govern/apps",                                    None,     Ignored,    View,   Get Service,                       govern::apps,                APPS;
        Get,    "/v4/{project}/govern/statistics",                              None,     Ignored,    View,   Get Service,                       govern::statistics,          STATISTICS;
        Get,    "/v4/{project}/govern/services",                                None,     Ignored,    View,   Get Service,                       search::services,            SERVICES;
        Get,    "/v4/{project}/govern/instances",                               None,     Ignored,    View,   Get Service,                       search::instances,           INSTANCES;
        Get,    "/v4/{project}/govern/services/{serviceId}/watchers",           None,     Ignored,    View,   Get Service of serviceId,          watchers::watchers,          WATCHERS;
        Get,    "/v4/{project}/govern/services/{serviceId}/neighbours",         None,     Ignored,    View,   Get Service of serviceId,          neighbors::neighbors,        NEIGHBORS;
        Get,    "/v4/{project}/govern/explain",                                 None,     Ignored,    View,   Get Service,                       explain::explain,            EXPLAIN;
        Post,   "/v1/{project}/gov/{kind}",                                     None,     Ignored,    Memory, Create Governance,                 ready gov::unknown_kind,     CREATE;
        Get,    "/v1/{project}/gov/{kind}",                                     None,     Ignored,    Memory, Get Governance,                    ready gov::unknown_kind,     LIST;
        Get,    "/v1/{project}/gov/{kind}/{id}",                                None,     Ignored,    Memory, Get Governance,                    ready gov::unknown_kind,     GET;
        Put,    "/v1/{project}/gov/{kind}/{id}",                                None,     Ignored,    Memory, Update Governance,                 ready gov::unknown_kind,     REPLACE;
        Delete, "/v1/{project}/gov/{kind}/{id}",                                None,     Ignored,    Memory, Delete Governance,                 ready gov::unknown_kind,     DELETE;
        Get,    "/v1/syncer/health",                                            None,     Ignored,    Memory, Open,                              ready gov::syncer_health,    SYNCER_HEALTH;
        Get,    "/v4/{project}/prometheus/targets",                             None,     Ignored,    View,   Get Service,                       targets::targets,            TARGETS;
        Get,    "/v4/{project}/admin/retirements",                              None,     Ignored,    View,   Get Ops,                           admin::retirements,          RETIREMENTS;
        Get,    "/v4/{project}/admin/nodes",                                    None,     Ignored,    View,   Get Ops,                           nodes::nodes,                NODES;
        Get,    "/v4/{project}/admin/diagnose",                                 None,     Ignored,    View,   Get Ops,                           diagnose::diagnose,          DIAGNOSE;
        Get,    "/metrics",                                                     None,     Ignored,    Always, Open,                              exposition::metrics,         METRICS;
        Get,    "/openapi.json",                                                None,     Ignored,    Memory, Open,                              ready exposition::openapi,   OPENAPI;
        Get,    "/console",                                                     None,     Ignored,    Memory, Open,                              ready console::folder,       FOLDER;
        Get,    "/console/",                                                    None,     Ignored,    Memory, Open,                              ready console::page,         PAGE;
        Get,    "/console/assets/{hash}/{*path}",                               None,     Ignored,    Memory, Open,                              ready console::asset,        ASSET;
    }
}

routes! {
    ACCOUNT_ROUTES:
    "/v4" {
        Post,   "/token",                    None, Configured, Store,  Open,           login::log_in,          LOG_IN;
        Get,    "/self-perms",               None, Ignored,    Memory, Account,        login::own_permissions, SELF_PERMISSIONS;
        Get,    "/accounts",                 None, Ignored,    Memory, Get Account,    accounts::list,         LIST;
        Post,   "/accounts",                 None, Configured, Store,  Create Account, accounts::create,       CREATE;
        Post,   "/accounts/batch-create",    None, Configured, Store,  Create Account, accounts::create_many,  CREATE_MANY;
        Get,    "/accounts/{name}",          None, Ignored,    Memory, Get Account,    accounts::get,          GET;
        Put,    "/accounts/{name}",          None, Configured, Store,  Update Account, accounts::put,          PUT;
        Delete, "/accounts/{name}",          None, Ignored,    Store,  Delete Account, accounts::delete,       DELETE;
        Post,   "/accounts/{name}/password", None, Configured, Store,  Account,        login::change_password, CHANGE_PASSWORD;
        Get,    "/account-locks",            None, Ignored,    Memory, Get Account,    accounts::locks,        LOCKS;
        Get,    "/roles",                    None, Ignored,    Memory, Get Role,       roles::list,            LIST;
        Post,   "/roles",                    None, Configured, Store,  Create Role,    roles::create,          CREATE;
        Get,    "/roles/{roleName}",         None, Ignored,    Memory, Get Role,       roles::get,             GET;
        Put,    "/roles/{roleName}",         None, Configured, Store,  Update Role,    roles::put,             PUT;
        Delete, "/roles/{roleName}",         None, Ignored,    Store,  Delete Role,    roles::delete,          DELETE;
    }
}
