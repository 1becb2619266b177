//! The HTTP server as clients meet it: real sockets, bytes as they go over the wire, a table of its own.

mod client;
mod http;
mod lifecycle;
mod limits;
mod pages;
mod rates;
mod still_time;
mod table;
mod tls;
mod websocket;
