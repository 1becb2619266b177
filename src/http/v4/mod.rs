//! Handlers, a file a resource: translation between HTTP and the registry, no rules.

pub mod admin;
pub mod batch_find;
pub mod dependencies;
pub mod existence;
pub mod exposition;
pub mod find;
pub mod health;
pub mod heartbeats;
pub mod instances;
mod look;
pub mod node;
pub mod schemas;
pub mod services;
pub mod tags;
pub mod watch;
