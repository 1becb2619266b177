//! One row of the route table: a path, its rules and its handler. The server serves any such table; tests make their own.

use super::call::{Answer, Call};
use super::spec::{Body, Load, Method, Operation, Permission, Success, V3};
use super::ws;

/// The function that answers a route. `S` is the state that handlers share.
pub enum Handler<S> {
    Answer(fn(&std::sync::Arc<S>, Call) -> Answer),
    /// Called for a valid handshake, before it is answered.
    Websocket(fn(&std::sync::Arc<S>, Call) -> ws::SessionStart),
}

impl<S> Clone for Handler<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Handler<S> {}

pub struct Route<S> {
    pub method: Method,
    /// A segment `{name}` is a parameter. A last segment `{*name}` is one that may contain `/`.
    pub path: &'static str,
    pub v3: V3,
    pub body: Body,
    pub load: Load,
    pub permission: Permission,
    pub handler: Handler<S>,
    /// The description for OpenAPI.
    pub operation: &'static Operation,
}

impl<S> Route<S> {
    /// Whether a request changes the registry. The pongs on a websocket can be heartbeats, and its request is a `GET`.
    pub fn changes(&self) -> bool {
        self.method != Method::Get || matches!(self.operation.success, Success::Pongs)
    }
}

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
