//! Keys of the reference that this server does not read. Files of existing deployments hold them, so they are not reported as
//! unknown. A value that differs from the default is a warning if it matters that it has no effect, and a mistake if that would
//! be dangerous.

use super::{ConfigKey as Key, KeyStanding as Standing, ValueKind as Kind};

const NOT_LOADED: Standing = Standing::Without("plug-ins are not loaded; the built-in code is used");

const COMPACTION_RENAMED: Standing = Standing::Without(
    "registry.etcd.compaction.retention says how much history of etcd stays, 1h by default",
);

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
    Key::new("ssl.mode", Kind::Switch, "0", "The name of ssl.enable before 2.1.")
        .old("ssl.mode")
        .standing(Standing::Refused("this key is not read; since 2.1 its name is ssl.enable")),
    Key::new("ssl.client.minVersion", Kind::Text, "", "The lowest TLS version of outgoing connections.")
        .old("ssl_client_min_version")
        .shipped(&["TLSv1.2", "TLSv1.3"])
        .standing(Standing::Without("outgoing connections use TLS 1.2 or 1.3")),
    Key::new("ssl.client.ciphers", Kind::List, "", "Suites of outgoing connections.")
        .old("ssl_client_ciphers")
        .standing(Standing::Without("outgoing connections use every suite with forward secrecy")),
    Key::new("sync.enableOnStart", Kind::Switch, "false", "Synchronizes the registries of several regions.")
        .shipped(&["false"])
        .standing(Standing::Without(
            "synchronization with other regions is not implemented yet; nothing is sent or received",
        )),
    Key::new("server.turbo", Kind::Switch, "false", "A second, faster REST server.")
        .standing(Standing::Without("there is no second server; clients of its port must use server.port")),
    Key::new("server.pprof.mode", Kind::Switch, "0", "The profiling pages of Go.")
        .old("enable_pprof")
        .shipped(&["0"])
        .standing(Standing::Without("this server has no profiles of Go")),
    Key::new("discovery.kind", Kind::Text, "etcd", "Adapters to other registries.")
        .old("discovery_plugin")
        .shipped(&["etcd", "buildin", ""])
        .standing(Standing::Without("other registries are not aggregated; only this registry is shown")),
    silent("discovery.aggregate.mode", "Which adapters are used.").old("aggregate_mode"),
    Key::new("registry.cache.mode", Kind::Switch, "1", "0: no cache, and no events are pushed.")
        .old("enable_cache")
        .shipped(&["1"])
        .standing(Standing::Without("reads always come from memory, and events are always pushed")),
    silent("registry.cache.ttl", "How often caches are rebuilt. Not needed here.")
        .old("cache_ttl")
        .env("CACHE_TTL"),
    Key::new(
        "registry.etcd.compact.indexDelta",
        Kind::Text,
        "100",
        "Revisions that the embedded etcd keeps.",
    )
    .old("compact_index_delta")
    .shipped(&["100"])
    .standing(COMPACTION_RENAMED),
    Key::new(
        "registry.etcd.compact.interval",
        Kind::Duration(0, u64::MAX),
        "12h",
        "Has no effect on a remote etcd, in the reference neither.",
    )
    .old("compact_interval")
    .shipped(&["12h"])
    .standing(COMPACTION_RENAMED),
    Key::new(
        "registry.service.clearEnable",
        Kind::Switch,
        "false",
        "The switch of the clean-up job before 2.1.",
    )
    .shipped(&["false"])
    .standing(Standing::Without("this key is not read; since 2.1 the keys are registry.service.retire.*")),
    silent("log.system", "Has no effect, in the reference neither.").old("log_sys"),
    silent("plugin.dir", "The folder of plug-ins.").old("plugins_dir"),
    plugin("auth.kind", "auth_plugin"),
    plugin("cipher.kind", "cipher_plugin"),
    plugin("quota.kind", "quota_plugin"),
    Key::new("tracing.kind", Kind::Text, "buildin", "Which plug-in to use.")
        .old("tracing_plugin")
        .shipped(&["buildin", ""])
        .standing(Standing::Without("traces go to a collector of OpenTelemetry: set tracing.otlp.endpoint to its address")),
    plugin("ssl.kind", "ssl_plugin"),
    plugin("auditlog.kind", "auditlog_plugin"),
    Key::new("uuid.kind", Kind::Text, "context", "How service ids are made.")
        .old("uuid_plugin")
        .shipped(&["context", "buildin", ""])
        .standing(NOT_LOADED),
    silent("metrics.interval", "How often gauges are updated. Here they are current at each scrape."),
    Key::new("tracing.zipkin.collector.type", Kind::Text, "", "Where traces go.")
        .env("TRACING_COLLECTOR")
        .shipped(&[""])
        .standing(Standing::Without(
            "traces go to a collector of OpenTelemetry, which can pass them on to Zipkin: set tracing.otlp.endpoint to its address",
        )),
    Key::new("tracing.zipkin.collector.path", Kind::Text, "", "The file of traces.")
        .env("TRACING_FILE_PATH")
        .shipped(&[""])
        .standing(Standing::Without(
            "traces are not written to a file: set tracing.otlp.endpoint to a collector of OpenTelemetry, which can write one",
        )),
    Key::new("tracing.zipkin.collector.endpoint", Kind::Text, "", "The server of traces.")
        .env("TRACING_SERVER_ADDRESS")
        .shipped(&[""])
        .standing(Standing::Without(
            "traces are not sent to Zipkin: set tracing.otlp.endpoint to a collector of OpenTelemetry, which can pass them on",
        )),
    Key::new("tracing.zipkin.sampler.rate", Kind::Text, "", "The share of requests that is traced.")
        .env("TRACING_SIMPLER_RATE")
        .shipped(&[""])
        .standing(Standing::Without("the share of requests that is traced is tracing.sampler.rate")),
];

/// Beginnings of names that the reference or its other programs read, in lower case. They are ignored.
pub(crate) const PREFIXES: &[&str] = &[
    "gov.",
    "heartbeat.cachecapacity",
    "heartbeat.kind",
    "heartbeat.timeout",
    "heartbeat.workernum",
    "quota.cap.rule",
    "register.fastregistration.",
    "registry.fastregistration.",
    "registry.mongo.",
    "registry.schema.editable",
    "registry.service.clear",
    "servicecomb.",
    "sync.",
    "syncer.",
    "tracing.zipkin.",
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
