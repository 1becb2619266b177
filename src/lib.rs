//! `service-center`: a microservice registry.

pub mod actors;
pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod http;
pub mod metrics;
pub mod store;
