//! The structs of the configuration, one for each concern. Each is read from the reader. A rule about several keys is next to the
//! struct that holds them.
//!
//! Code that uses a struct names all its fields (`let QuotaConfig { … } = quota;`, without `..`), so that a key without a use does
//! not compile. `tests/it/tidy/sections.rs` checks it.

mod console;
mod events;
mod instance;
mod log;
mod rbac;
mod registry;
mod server;
mod service;
mod supervisor;
mod tls;
mod tracing;

pub use console::{ConsoleConfig, ConsoleWritable};
pub use events::EventsConfig;
pub use instance::{Datacenter, InstanceConfig};
pub use log::{LogConfig, LogFile, LogFormat};
pub use rbac::{RbacConfig, RbacScope};
pub use registry::{EtcdConfig, EtcdTls, RegistryConfig, Secret, StoreKind};
pub use server::{AddressLookup, HeartbeatConfig, MetricsConfig, RateConfig, ServerConfig};
pub use service::{DrainConfig, InterestConfig, QuotaConfig, RetireConfig, SchemaConfig, ServiceConfig};
pub use supervisor::SupervisorConfig;
pub use tls::{Cipher, TlsConfig, TlsFiles, TlsVersion};
pub use tracing::{TraceSampling, TracingConfig};
