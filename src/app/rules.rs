//! From configuration to the rules each layer works by.

use std::time::Duration;

use crate::actors::registry::rules::{DependencyMode, RegistryRules};
use crate::actors::retire::{LocalZone, RetireRules};
use crate::actors::watch::WatchRules;
use crate::config::{Config, StoreKind};
use crate::domain::dependency::CrossDomain;
use crate::domain::instance::InstanceRules;
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;
use crate::http::api::{ApiRules, MetricsEndpoint, SchemaWrites};

/// Rules of the RegistryActor.
pub fn registry(config: &Config) -> RegistryRules {
    RegistryRules {
        quotas: quotas(config),
        instances: InstanceRules {
            min_interval: i32::try_from(config.instance.min_interval.as_secs()).unwrap_or(i32::MAX),
            min_times: i32::try_from(config.instance.min_times).unwrap_or(i32::MAX),
            fixed_ttl_seconds: config.instance.ttl.unwrap_or(0),
            properties: config.instance.properties.clone(),
        },
        shared: shared(config),
        cross_domain: cross_domain(config),
        dependencies: match config.registry.kind {
            StoreKind::Embedded { .. } => DependencyMode::Direct,
            StoreKind::Etcd(_) => DependencyMode::Queued,
        },
    }
}

/// Rules of handlers.
pub fn api(config: &Config) -> ApiRules {
    ApiRules {
        quotas: quotas(config),
        shared: shared(config),
        cross_domain: cross_domain(config),
        instance_properties: config.instance.properties.clone(),
        max_batch: config.server.max_batch,
        metrics: if config.metrics.endpoint { MetricsEndpoint::Open } else { MetricsEndpoint::Closed },
        heartbeat_ping: config.heartbeat.ping_interval,
        schema_writes: if config.schema.disable { SchemaWrites::Disabled } else { SchemaWrites::Enabled },
    }
}

/// How the WatchActor judges what the store tells it.
pub fn watch(config: &Config) -> WatchRules {
    WatchRules {
        share: config.instance.expiry_guard_share,
        fixed_ttl_seconds: config.instance.ttl.unwrap_or(0),
        cross_domain: cross_domain(config),
    }
}

/// How often this node beats for itself: more often than its health check says (30 s), and than every lease's TTL if the
/// configuration gives one.
pub fn own_beat(config: &Config) -> Duration {
    const BEAT: Duration = Duration::from_secs(10);
    let ttl = config.instance.ttl.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    ttl.map_or(BEAT, |ttl| BEAT.min(ttl / 4))
}

/// When the RetireActor works and what it keeps.
pub fn retire(config: &Config) -> RetireRules {
    RetireRules {
        services: config.service.retire.cron,
        reserve: config.service.retire.reserve,
        schema_contents: config.schema.retire_cron,
        zone: LocalZone::system(),
    }
}

fn quotas(config: &Config) -> Quotas {
    let quota = &config.quota;
    Quotas {
        services: quota.services,
        instances: quota.instances,
        schemas: quota.schemas,
        tags: quota.tags,
        dependencies: quota.dependencies,
    }
}

fn cross_domain(config: &Config) -> CrossDomain {
    if config.service.cross_domain { CrossDomain::Allowed } else { CrossDomain::Forbidden }
}

fn shared(config: &Config) -> SharedServices {
    SharedServices::new(config.service.global_visible.iter().cloned(), config.own_environment())
}
