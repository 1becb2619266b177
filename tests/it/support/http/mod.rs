//! A small HTTP/1.1 client that shows every detail. Header names keep their case, repeated headers are kept, and it sends exactly what the test
//! gives it.
//!
//! [`Client`] and [`Connection`] block, and every exchange has a limit. [`AsyncConnection`] is for tests and benches that are tasks. Both kinds of
//! connection read answers with [`Incoming`].

mod async_connection;
mod client;
mod connection;
mod incoming;
mod message;

pub use async_connection::AsyncConnection;
pub use client::Client;
pub use connection::Connection;
#[allow(unused_imports, reason = "the benches read an answer from a file")]
pub use incoming::Incoming;
pub use message::{Request, Response};

use std::io;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The connection failed.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The request could not be sent completely, and no answer came.
    #[error("cannot send: {0}")]
    Send(io::Error),
    /// The connection broke before the answer was complete.
    #[error("cannot receive: {0}")]
    Receive(io::Error),
    /// The server closed the connection before the answer was complete.
    #[error("closed after {0} bytes of an answer that was not whole")]
    Closed(usize),
    /// The limit ran out.
    #[error("no whole answer in time")]
    TimedOut,
    /// The answer is invalid HTTP.
    #[error("not an HTTP answer: {0}")]
    Malformed(String),
}
