//! The registry's terms and rules: what a service, an instance and a dependency are, and when they are valid.
//!
//! Invariant: this layer is pure. It has no async code, I/O, clock, actix or store. Time and randomness are arguments. It
//! imports only `error`, and every layer above may import it.

pub mod account;
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
pub mod time;
pub mod validate;
pub mod version;

pub use id::{InstanceId, ServiceId, Tenant};
pub use instance::Instance;
pub use service::{Service, ServiceKey};
