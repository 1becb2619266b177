//! The configuration. Every source is read once, and all mistakes are reported together, before anything starts.
//!
//! Invariant: only this module reads the environment, `.env` and `conf/`. The rest of the program gets the plain structs of
//! [`Config`]. This module imports nothing of the registry except its counters and the request that a line of the log belongs to.
//! It starts nothing except the threads that write the logs.
//!
//! The first source that names a key wins: flag, environment, `.env`, `conf/app.conf`, `conf/app.yaml`, default. `precedence`
//! describes the one exception. "The reference" is Apache ServiceComb Service-Center; its files and variables have the same
//! meaning here.
//!
//! Read in this order: [`keys`] (the table of keys), [`Sources::gather`] (collects the values), [`Sources::load`] (decides and
//! checks them).

mod cron;
mod dot_env;
pub(crate) mod endpoint;
mod expand;
mod files;
mod gather;
mod ini;
mod inputs;
pub(crate) mod keys;
pub mod logging;
mod nearest;
mod origin;
mod precedence;
mod reader;
pub mod reference;
mod sections;
mod sources;
mod value;
mod web_origin;
mod yaml;

pub use cron::{Cron, LocalMinute};
pub use endpoint::{EtcdCluster, EtcdEndpoint, ListenUrl, Scheme};
pub use inputs::Inputs;
pub(crate) use keys::{is_known_flag, nearest_flag};
pub(crate) use nearest::nearest;
pub use origin::{Mistake, Mistakes, ValueOrigin, Warning};
pub use reader::Effective;
pub use sections::{
    AddressLookup, Cipher, ConsoleConfig, ConsoleWritable, Datacenter, DrainConfig, EtcdConfig, EtcdTls,
    EventsConfig, HeartbeatConfig, InstanceConfig, InterestConfig, LogConfig, LogFile, LogFormat,
    MetricsConfig, QuotaConfig, RateConfig, RbacConfig, RbacScope, RegistryConfig, RetireConfig,
    SchemaConfig, Secret, ServerConfig, ServiceConfig, StoreKind, SupervisorConfig, TlsConfig, TlsFiles,
    TlsVersion, TraceSampling, TracingConfig,
};
pub use sources::Sources;
pub(crate) use value::parse_duration;
pub use web_origin::WebOrigin;

use keys::table;
use reader::ConfigReader;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `environment` as configured: `dev`, `prod`, …
    pub environment: String,
    pub server: ServerConfig,
    pub tls: TlsConfig,
    pub log: LogConfig,
    pub registry: RegistryConfig,
    pub instance: InstanceConfig,
    pub service: ServiceConfig,
    pub schema: SchemaConfig,
    pub quota: QuotaConfig,
    pub rbac: RbacConfig,
    pub heartbeat: HeartbeatConfig,
    pub metrics: MetricsConfig,
    pub tracing: TracingConfig,
    pub events: EventsConfig,
    pub console: ConsoleConfig,
    pub supervisor: SupervisorConfig,
}

impl Config {
    /// The environment in which this node registers itself: `development` if `environment` is exactly `dev`, otherwise
    /// `production`.
    pub fn own_environment(&self) -> &'static str {
        if self.environment == "dev" { "development" } else { "production" }
    }

    fn read(reader: &mut ConfigReader) -> Self {
        let server = ServerConfig::read(reader);
        let tls = TlsConfig::read(reader);
        let log = LogConfig::read(reader);
        let registry = RegistryConfig::read(reader, &tls);
        Self {
            environment: reader.text(&table::ENVIRONMENT),
            instance: InstanceConfig::read(reader, &server, registry.self_register),
            service: ServiceConfig::read(reader),
            schema: SchemaConfig::read(reader),
            quota: QuotaConfig::read(reader),
            rbac: RbacConfig::read(reader),
            heartbeat: HeartbeatConfig::read(reader),
            metrics: MetricsConfig::read(reader, &server, tls.enable),
            tracing: TracingConfig::read(reader),
            events: EventsConfig::read(reader),
            console: ConsoleConfig::read(reader),
            supervisor: SupervisorConfig::read(reader),
            server,
            tls,
            log,
            registry,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Result<Config, Mistakes>,
    /// Each key with its effective value, in the order of the documentation. Complete even if there are mistakes.
    pub effective: Vec<Effective>,
    pub warnings: Vec<Warning>,
}

impl Sources {
    /// Decides which value of each key counts, and checks the values.
    pub fn load(self) -> Loaded {
        let mut reader = ConfigReader::new(self);
        let config = Config::read(&mut reader);
        let effective = reader.effective();
        let (mistakes, warnings) = reader.finish();
        let config = if mistakes.is_empty() { Ok(config) } else { Err(Mistakes(mistakes)) };
        Loaded { config, effective, warnings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_is_read() {
        let mut reader = ConfigReader::new(Sources::default());
        // Not `load`: it calls `effective`, which asks for every key.
        Config::read(&mut reader);
        assert_eq!(reader.not_asked(), [""; 0]);
    }
}
