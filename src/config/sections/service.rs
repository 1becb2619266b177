//! Keys of services, schemas and quotas.

use std::time::Duration;

use super::super::cron::Cron;
use super::super::keys::table;
use super::super::reader::ConfigReader;

/// The clean-up job that deletes old versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetireConfig {
    /// `None` if the job does not run.
    pub cron: Option<Cron>,
    /// How many versions of a service the job always keeps, newest first. At least 1.
    pub reserve: usize,
    /// How long a service may be empty before the job deletes it. `None`: empty services stay.
    pub empty_after: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Names of shared services, without `SERVICECENTER`, which is always shared.
    pub global_visible: Vec<String>,
    /// Whether services of different domains may depend on each other.
    pub cross_domain: bool,
    pub retire: RetireConfig,
    pub interest: InterestConfig,
    pub drain: DrainConfig,
}

/// How many providers are remembered that consumers look for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterestConfig {
    pub limit: usize,
    pub per_consumer: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// Consumers without a watch are waited for if they asked within this time.
    pub poll_interval: Duration,
    /// Most drains at a time.
    pub limit: usize,
}

impl ServiceConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        let disabled = reader.switch(&table::SERVICE_RETIRE_DISABLE);
        let cron = reader.cron(&table::SERVICE_RETIRE_CRON).filter(|_| !disabled);
        let empty_after = reader.duration(&table::SERVICE_RETIRE_EMPTY_AFTER);
        let empty_after = Some(empty_after).filter(|after| !after.is_zero());
        if disabled && empty_after.is_some() {
            let text = "registry.service.retire.emptyAfter has no effect, because registry.service.retire.disable is true";
            reader.warn(&table::SERVICE_RETIRE_EMPTY_AFTER, text);
        }
        let mut global_visible = reader.list(&table::GLOBAL_VISIBLE);
        global_visible.retain(|name| name != "SERVICECENTER");
        Self {
            global_visible,
            cross_domain: reader.switch(&table::DEPENDENCY_CROSS_DOMAIN),
            retire: RetireConfig {
                cron,
                reserve: reader.integer(&table::SERVICE_RETIRE_RESERVE),
                empty_after,
            },
            interest: InterestConfig {
                limit: reader.integer(&table::INTEREST_LIMIT),
                per_consumer: reader.integer(&table::INTEREST_PER_CONSUMER),
            },
            drain: DrainConfig {
                poll_interval: reader.duration(&table::DRAIN_POLL_INTERVAL),
                limit: reader.integer(&table::DRAIN_LIMIT),
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaConfig {
    /// Whether writing a single schema is rejected.
    pub disable: bool,
    /// When texts that no service refers to are deleted. `None` only beside a mistake.
    pub retire_cron: Option<Cron>,
}

impl SchemaConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        Self {
            disable: reader.switch(&table::SCHEMA_DISABLE),
            retire_cron: reader.cron(&table::SCHEMA_RETIRE_CRON),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Tenants that hold services.
    pub tenants: usize,
    /// Service versions of a tenant.
    pub services: usize,
    /// Instances of a tenant.
    pub instances: usize,
    /// Schemas of a service.
    pub schemas: usize,
    /// Bytes of all schema texts of a service.
    pub schema_bytes: usize,
    /// Tags in one request.
    pub tags: usize,
    /// Providers of a consumer.
    pub dependencies: usize,
    /// Accounts of the registry.
    pub accounts: usize,
    /// Roles of the registry.
    pub roles: usize,
}

impl QuotaConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        // A number that does not fit into `usize` means no limit.
        let mut limit = |key| usize::try_from(reader.integer::<u64>(key)).unwrap_or(usize::MAX);
        Self {
            tenants: limit(&table::QUOTA_DOMAIN),
            services: limit(&table::QUOTA_SERVICE),
            instances: limit(&table::QUOTA_INSTANCE),
            schemas: limit(&table::QUOTA_SCHEMA),
            schema_bytes: limit(&table::QUOTA_SCHEMA_BYTES),
            tags: limit(&table::QUOTA_TAG),
            dependencies: limit(&table::QUOTA_DEPENDENCY),
            accounts: limit(&table::QUOTA_ACCOUNT),
            roles: limit(&table::QUOTA_ROLE),
        }
    }
}
