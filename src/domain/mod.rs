//! The registry's words and rules: what a service, an instance, a dependency is, and when one is valid.
//!
//! Invariant: pure. No async, no I/O, no clock, no actix, no store: time and randomness are arguments. Everything above
//! may import it, it imports only `error`.

pub mod dependency;
pub mod event;
pub mod id;
pub mod instance;
pub mod json;
pub mod quota;
pub mod revision;
pub mod schema;
pub mod service;
pub mod shape;
pub mod shared;
pub mod validate;
pub mod version;

pub use id::{InstanceId, ServiceId, Tenant};
pub use instance::Instance;
pub use service::{Service, ServiceKey};
