//! The configuration: every source read once, every mistake reported at once, before anything starts.
//!
//! Invariant: only this module looks at the environment, at `.env` and at `conf/`. It starts nothing but the thread that writes
//! the log, and imports nothing of the registry but its counters; the rest of the program is handed the plain structs of
//! [`Config`]. First found wins: flag, environment,
//! `.env`, `conf/app.conf`, `conf/app.yaml`, default; the one exception is told in `precedence`.
//!
//! "The reference" is Apache ServiceComb Service-Center, whose files and variables mean here what they mean there.
//!
//! Way in: [`keys`] (the table), [`Sources::gather`] (what is said where), [`Sources::load`] (what it means).

mod cron;
mod dot_env;
mod endpoint;
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
mod yaml;

pub use cron::{Cron, LocalMinute};
pub use endpoint::{EtcdEndpoint, Scheme};
pub use inputs::Inputs;
pub(crate) use keys::{is_known_flag, nearest_flag};
pub(crate) use nearest::nearest;
pub use origin::{Mistake, Mistakes, Origin, Warning};
pub use reader::Effective;
pub use sections::{
    Cipher, Datacenter, EtcdConfig, EtcdTls, HeartbeatConfig, InstanceConfig, LogConfig, LogFile, LogFormat,
    MetricsConfig, QuotaConfig, RegistryConfig, RetireConfig, SchemaConfig, Secret, ServerConfig,
    ServiceConfig, StoreKind, TlsConfig, TlsFiles, TlsVersion,
};
pub use sources::Sources;

use keys::table;
use reader::Reader;

/// Everything the daemon is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `environment` as configured: `dev`, `prod`, …
    pub environment: String,
    /// The HTTP server.
    pub server: ServerConfig,
    /// HTTPS.
    pub tls: TlsConfig,
    /// The log.
    pub log: LogConfig,
    /// Where the data lives.
    pub registry: RegistryConfig,
    /// This node's own instance, and the rules for every instance.
    pub instance: InstanceConfig,
    /// Rules about services.
    pub service: ServiceConfig,
    /// Rules about schemas.
    pub schema: SchemaConfig,
    /// Quotas.
    pub quota: QuotaConfig,
    /// The pings of heartbeats by websocket.
    pub heartbeat: HeartbeatConfig,
    /// Metrics.
    pub metrics: MetricsConfig,
}

impl Config {
    /// The environment under which this node registers itself: `development` if `environment` is exactly `dev`, else
    /// `production`.
    pub fn own_environment(&self) -> &'static str {
        if self.environment == "dev" { "development" } else { "production" }
    }

    fn read(reader: &mut Reader) -> Self {
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
            heartbeat: HeartbeatConfig::read(reader),
            metrics: MetricsConfig::read(reader),
            server,
            tls,
            log,
            registry,
        }
    }
}

/// What came of reading the sources.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, or all that is wrong.
    pub config: Result<Config, Mistakes>,
    /// Each key with the value that counts, in the order of the documentation; also beside mistakes.
    pub effective: Vec<Effective>,
    /// To be logged once the log is up.
    pub warnings: Vec<Warning>,
}

impl Sources {
    /// Says what the sources mean.
    pub fn load(self) -> Loaded {
        let mut reader = Reader::new(self);
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
        let mut reader = Reader::new(Sources::default());
        // effective() asks for all; so before it.
        Config::read(&mut reader);
        assert_eq!(reader.not_asked(), [""; 0]);
    }
}
