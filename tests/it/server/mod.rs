//! The HTTP server over real sockets, with a table of routes for tests.

mod client;
mod http;
mod lifecycle;
mod limits;
mod pages;
mod rates;
mod request_ids;
mod still_time;
mod streams;
mod table;
mod tls;
mod websocket;
