//! `service-center`: a microservice registry.

pub mod actors;
pub mod cache;
pub mod clock;
pub mod domain;
pub mod error;
pub mod http;
pub mod store;
