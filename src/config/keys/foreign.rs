//! Keys of the reference that this server does not read. Files of existing deployments hold them, so they are not reported as
//! unknown. A value that differs from the default is a warning if it matters that it has no effect, and a mistake if that would
//! be dangerous.

use super::{ConfigKey as Key, KeyStanding as Standing, ValueKind as Kind};

const NOT_LOADED: Standing = Standing::Without("plug-ins are not loaded; what is built in is used");

const fn plugin(name: &'static str, old: &'static str) -> Key {
    Key::new(name, Kind::Text, "buildin", "Which plug-in to use.")
        .old(old)
        .shipped(&["", "buildin"])
        .standing(NOT_LOADED)
}

const fn silent(name: &'static str, effect: &'static str) -> Key {
    Key::new(name, Kind::Text, "", effect).standing(Standing::Silent)
}

/// Keys with a message, or with a name of their own in `app.conf` or the environment.
pub(crate) static KEYS: &[Key] = &[
    Key::new("rbac.enable", Kind::Switch, "false", "Accounts and roles.").old("rbac_enabled").shipped(&["false"]).standing(
        Standing::Refused(
            "access control is not implemented yet, and the registry must not run open where it was asked for; write \
             false, and protect the port by other means",
        ),
    ),
    silent("rbac.privateKeyFile", "Signs tokens.").old("rbac_rsa_private_key_file"),
    silent("rbac.publicKeyFile", "Verifies tokens.").old("rbac_rsa_public_key_file"),
    Key::new("ssl.mode", Kind::Switch, "0", "The name of ssl.enable before 2.1.").old("ssl.mode").standing(
        Standing::Refused("this key is called ssl.enable since 2.1, and is not read; write ssl.enable"),
    ),
    Key::new("ssl.client.minVersion", Kind::Text, "", "Lowest TLS version of outgoing connections.")
        .old("ssl_client_min_version")
        .shipped(&["TLSv1.2", "TLSv1.3"])
        .standing(Standing::Without("outgoing connections use TLS 1.2 or 1.3")),
    Key::new("ssl.client.ciphers", Kind::List, "", "Suites of outgoing connections.")
        .old("ssl_client_ciphers")
        .standing(Standing::Without("outgoing connections use every suite with forward secrecy")),
    Key::new("sync.enableOnStart", Kind::Switch, "false", "Synchronizes registries of several regions.")
        .shipped(&["false"])
        .standing(Standing::Without("synchronization with other regions is not implemented yet: nothing is sent or taken")),
    Key::new("server.turbo", Kind::Switch, "false", "A second, faster REST server.")
        .standing(Standing::Without("there is no second server: clients that use its port must use server.port")),
    Key::new("server.limit.connections", Kind::Integer(0, u64::MAX), "0", "A rate limit.")
        .old("limit_conns")
        .shipped(&["0"])
        .standing(Standing::Without("no rate limit exists (the reference reads the key and does nothing, too)")),
    silent("server.limit.unit", "Unit of that limit.").old("limit_ttl"),
    silent("server.limit.ipLookups", "Where that limit finds the client's address.").old("limit_iplookups"),
    Key::new("server.pprof.mode", Kind::Switch, "0", "Go's profiling pages.")
        .old("enable_pprof")
        .shipped(&["0"])
        .standing(Standing::Without("there are no Go profiles here")),
    Key::new("discovery.kind", Kind::Text, "etcd", "Adaptors to other registries.")
        .old("discovery_plugin")
        .shipped(&["etcd", "buildin", ""])
        .standing(Standing::Without("other registries are not aggregated: only the own one is shown")),
    silent("discovery.aggregate.mode", "Which adaptors.").old("aggregate_mode"),
    Key::new("registry.cache.mode", Kind::Switch, "1", "0: no cache and no pushed events.")
        .old("enable_cache")
        .shipped(&["1"])
        .standing(Standing::Without("reads always come from memory, and watchers are always told")),
    silent("registry.cache.ttl", "When caches are rebuilt; not needed here.").old("cache_ttl").env("CACHE_TTL"),
    silent("registry.etcd.compact.indexDelta", "Revisions kept by the embedded etcd.").old("compact_index_delta"),
    silent("registry.etcd.compact.interval", "Without effect on a remote etcd, in the reference too.").old("compact_interval"),
    Key::new("registry.service.clearEnable", Kind::Switch, "false", "The name of the retirement job's switch before 2.1.")
        .shipped(&["false"])
        .standing(Standing::Without("this is registry.service.retire.* since 2.1, and is not read")),
    Key::new("log.accessEnable", Kind::Switch, "false", "The access log.")
        .old("enable_access_log")
        .shipped(&["false"])
        .standing(Standing::Without("the access log is not implemented yet")),
    silent("log.accessFile", "Its file.").old("access_log_file").env("SC_ACCESS_LOG_FILE"),
    silent("log.system", "Without effect in the reference, too.").old("log_sys"),
    silent("plugin.dir", "Folder of plug-ins.").old("plugins_dir"),
    plugin("auth.kind", "auth_plugin"),
    plugin("cipher.kind", "cipher_plugin"),
    plugin("quota.kind", "quota_plugin"),
    plugin("tracing.kind", "tracing_plugin"),
    plugin("ssl.kind", "ssl_plugin"),
    plugin("auditlog.kind", "auditlog_plugin"),
    Key::new("uuid.kind", Kind::Text, "context", "How service ids are made.")
        .old("uuid_plugin")
        .shipped(&["context", "buildin", ""])
        .standing(NOT_LOADED),
    Key::new("metrics.prometheus.listenURL", Kind::Text, "", "A listener of its own for /metrics.")
        .shipped(&[""])
        .standing(Standing::Without("/metrics is answered on server.port")),
    silent("metrics.interval", "How often gauges are refreshed; here they are current at each scrape."),
    Key::new("tracing.zipkin.collector.type", Kind::Text, "", "Where traces go.")
        .env("TRACING_COLLECTOR")
        .shipped(&[""])
        .standing(Standing::Without("tracing is not implemented yet: no trace is written")),
    silent("tracing.zipkin.collector.path", "File of traces.").env("TRACING_FILE_PATH"),
    silent("tracing.zipkin.collector.endpoint", "Server of traces.").env("TRACING_SERVER_ADDRESS"),
    silent("tracing.zipkin.sampler.rate", "Share of requests traced.").env("TRACING_SIMPLER_RATE"),
    silent("quota.cap.account.limit", "Accounts.").env("QUOTA_ACCOUNT"),
    silent("quota.cap.role.limit", "Roles.").env("QUOTA_ROLE"),
];

/// Beginnings of names that the reference or its other programs read, in lower case. They are ignored.
pub(crate) const PREFIXES: &[&str] = &[
    "gov.",
    "heartbeat.cachecapacity",
    "heartbeat.kind",
    "heartbeat.timeout",
    "heartbeat.workernum",
    "quota.cap.rule",
    "rbac.",
    "register.fastregistration.",
    "registry.fastregistration.",
    "registry.mongo.",
    "registry.schema.editable",
    "registry.service.clear",
    "servicecomb.",
    "sync.",
    "syncer.",
    "tracing.",
];

/// Names in `app.conf` that other programs or older releases read, in lower case. They are ignored.
pub(crate) const OLD_NAMES: &[&str] = &[
    "appname",
    "component_name",
    "frontend_endpoint_cidr",
    "frontend_host_ip",
    "frontend_host_port",
    "ssl_protocols",
    "trace_plugin",
];
