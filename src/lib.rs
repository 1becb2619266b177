//! `service-center`: a microservice registry.

pub mod cache;
pub mod clock;
pub mod domain;
pub mod error;
pub mod store;
