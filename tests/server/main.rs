//! The HTTP server as clients meet it: real sockets, bytes as they go over the wire, a table of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod client;
mod http;
mod lifecycle;
mod limits;
mod table;
mod tls;
mod websocket;
