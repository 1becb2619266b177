//! One small struct a concern, each built from the reader. Rules that join several keys of one concern stand beside its
//! struct.
//!
//! Whoever consumes a struct takes it apart with all its members by name (`let QuotaConfig { … } = quota;`, without `..`),
//! so that a key nobody uses does not compile. A test (`tests/it/tidy/sections.rs`) looks for it.

mod instance;
mod log;
mod registry;
mod server;
mod service;
mod tls;

pub use instance::{Datacenter, InstanceConfig};
pub use log::{LogConfig, LogFile, LogFormat};
pub use registry::{EtcdConfig, EtcdTls, RegistryConfig, Secret, StoreKind};
pub use server::{HeartbeatConfig, MetricsConfig, ServerConfig};
pub use service::{QuotaConfig, RetireConfig, SchemaConfig, ServiceConfig};
pub use tls::{Cipher, TlsConfig, TlsFiles, TlsVersion};
