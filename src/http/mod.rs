//! The HTTP face: sockets, routing, and the translation between requests and the registry's words.
//!
//! Invariant: translation, no rules. What is valid and what it means is `domain`'s, what is stored the actors'. This layer
//! reads snapshots and sends messages; it never touches the store.

pub mod answer_memory;
pub mod api;
pub mod call;
pub mod dto;
pub mod escape;
pub mod middleware;
pub mod node;
pub mod openapi;
pub mod parameters;
pub mod query;
pub mod reply;
pub mod route;
pub mod routes;
pub mod server;
pub mod signal;
pub mod spec;
pub mod v4;
pub mod ws;

pub use api::Api;
