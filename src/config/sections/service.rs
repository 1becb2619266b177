//! Services, schemas and quotas.

use super::super::cron::Cron;
use super::super::keys::table;
use super::super::reader::Reader;

/// The job that deletes old versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetireConfig {
    /// `None`: it does not run.
    pub cron: Option<Cron>,
    /// Newest versions of a service it keeps in any case; at least 1.
    pub reserve: usize,
}

/// Rules about services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Names of services of the app `default` in `default/default` that every tenant finds; `SERVICECENTER` is one in any
    /// case and is not listed.
    pub global_visible: Vec<String>,
    /// Whether services of different domains may depend on each other.
    pub cross_domain: bool,
    /// The job that deletes old versions without instances.
    pub retire: RetireConfig,
}

impl ServiceConfig {
    pub(in super::super) fn read(reader: &mut Reader) -> Self {
        let disabled = reader.switch(&table::SERVICE_RETIRE_DISABLE);
        let cron = reader.cron(&table::SERVICE_RETIRE_CRON).filter(|_| !disabled);
        let mut global_visible = reader.list(&table::GLOBAL_VISIBLE);
        global_visible.retain(|name| name != "SERVICECENTER");
        Self {
            global_visible,
            cross_domain: reader.switch(&table::DEPENDENCY_CROSS_DOMAIN),
            retire: RetireConfig { cron, reserve: reader.integer(&table::SERVICE_RETIRE_RESERVE) },
        }
    }
}

/// Rules about schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaConfig {
    /// Whether writing a single schema is refused.
    pub disable: bool,
    /// When contents that no service refers to are deleted; `None` only beside a mistake.
    pub retire_cron: Option<Cron>,
}

impl SchemaConfig {
    pub(in super::super) fn read(reader: &mut Reader) -> Self {
        Self {
            disable: reader.switch(&table::SCHEMA_DISABLE),
            retire_cron: reader.cron(&table::SCHEMA_RETIRE_CRON),
        }
    }
}

/// How much a tenant, or a service, may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Tenants that hold something.
    pub tenants: usize,
    /// Service versions a tenant.
    pub services: usize,
    /// Instances a tenant.
    pub instances: usize,
    /// Schemas a service.
    pub schemas: usize,
    /// Bytes of schema texts a service.
    pub schema_bytes: usize,
    /// Tags in a request.
    pub tags: usize,
    /// Providers a consumer.
    pub dependencies: usize,
}

impl QuotaConfig {
    pub(in super::super) fn read(reader: &mut Reader) -> Self {
        // More than a machine can count is as good as no limit.
        let mut limit = |key| usize::try_from(reader.integer::<u64>(key)).unwrap_or(usize::MAX);
        Self {
            tenants: limit(&table::QUOTA_DOMAIN),
            services: limit(&table::QUOTA_SERVICE),
            instances: limit(&table::QUOTA_INSTANCE),
            schemas: limit(&table::QUOTA_SCHEMA),
            schema_bytes: limit(&table::QUOTA_SCHEMA_BYTES),
            tags: limit(&table::QUOTA_TAG),
            dependencies: limit(&table::QUOTA_DEPENDENCY),
        }
    }
}
