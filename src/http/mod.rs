//! The HTTP server: sockets, routes, and the translation between requests and the messages of the registry.
//!
//! Invariant: this layer translates and has no rules. `domain` decides what is valid, and the actors decide what is stored. A
//! handler reads snapshots and sends messages to actors. It never accesses the store.

pub mod access;
pub mod accounts;
pub mod answer_memory;
pub mod api;
pub mod call;
pub mod client_address;
pub mod console;
pub mod dto;
pub mod escape;
pub mod event_streams;
mod handler_names;
pub mod middleware;
pub mod node;
pub mod openapi;
pub mod paging;
pub mod parameters;
pub mod query;
pub mod rate_limit;
pub mod reply;
pub mod route;
pub mod routes;
pub mod search_texts;
pub mod server;
pub mod signal;
pub mod slices;
pub mod spec;
mod times;
pub mod v4;
pub mod ws;

pub use api::Api;
