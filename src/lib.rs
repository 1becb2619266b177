//! `service-center`: a microservice registry.

pub mod clock;
pub mod store;
