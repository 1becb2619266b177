//! The handlers, one file per resource. A handler translates a request into a read of the snapshot or a message to an actor, and
//! the result into a reply. It has no rules of its own.

pub mod accounts;
pub mod admin;
pub mod batch_find;
pub mod dependencies;
pub mod diagnose;
pub mod drains;
pub mod dump;
pub mod events;
pub mod existence;
pub mod expiries;
pub mod exposition;
pub mod find;
mod fresh_read;
pub mod gov;
pub mod govern;
pub mod health;
pub mod heartbeats;
pub mod instances;
pub mod login;
pub mod node;
pub mod nodes;
pub mod roles;
pub mod schemas;
pub mod services;
pub mod tags;
pub mod targets;
pub mod watch;
