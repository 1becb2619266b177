//! A row of the route table: what a route says of itself, and what answers it. The server serves any table of these.

use super::call::{Answer, Call};
use super::spec::{Body, Load, Method, Operation, Permission, V3};
use super::ws;

/// What answers a route, given the server's state `S`.
pub enum Handler<S> {
    /// An ordinary request.
    Answer(fn(&std::sync::Arc<S>, Call) -> Answer),
    /// A websocket; asked after the handshake was found valid and before it is answered.
    Websocket(fn(&std::sync::Arc<S>, Call) -> ws::Start),
}

impl<S> Clone for Handler<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Handler<S> {}

/// One row of the table.
pub struct Route<S> {
    /// Method.
    pub method: Method,
    /// Path with `{name}` for a segment.
    pub path: &'static str,
    /// Its older spelling.
    pub v3: V3,
    /// Body it takes.
    pub body: Body,
    /// What it costs.
    pub load: Load,
    /// Who may use it.
    pub permission: Permission,
    /// What answers.
    pub handler: Handler<S>,
    /// What it does, in words.
    pub operation: &'static Operation,
}

/// A row.
#[expect(clippy::too_many_arguments, reason = "the columns of a table")]
pub const fn route<S>(
    method: Method,
    path: &'static str,
    v3: V3,
    body: Body,
    load: Load,
    permission: Permission,
    handler: Handler<S>,
    operation: &'static Operation,
) -> Route<S> {
    Route { method, path, v3, body, load, permission, handler, operation }
}
