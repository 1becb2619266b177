//! Websocket sessions: the watch of a consumer and the heartbeat of an instance.
//!
//! A session owns its socket; the HTTP library's buffers are given back, so that an idle watcher costs a few hundred bytes
//! beside its socket. What is sent comes from an [`Outbox`](crate::actors::hub::outbox::Outbox); what a client sends is
//! only looked at as far as the protocol asks.

mod handshake;
mod session;

use std::any::Any;
use std::fmt;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

pub use self::handshake::refusal;
pub(super) use self::handshake::{accept_line, is_handshake};
pub(super) use self::session::{Opened, SessionIo, run};
use super::reply::Reply;
pub use crate::actors::hub::outbox::End;
use crate::actors::hub::outbox::OutboxReader;

/// Close code for a stopping server.
pub const GOING_AWAY: u16 = 1001;
/// Close code for what breaks the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// Close code for a message of more bytes than allowed.
pub const TOO_BIG: u16 = 1009;
/// Close code clients know: the instance does not exist, register it again.
pub const INSTANCE_NOT_EXISTS: u16 = 4001;

/// Limits of every session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between two pings. Clients give up on a silent connection after 60 s, the shortest.
    pub ping_every: Duration,
    /// For a client from which nothing at all came, no pong either. A session that pings less often waits for two pings.
    /// While what is sent is held up a ping is too, and nothing is meant by silence.
    pub silence: Duration,
    /// For a client that takes none of what it is sent; then its connection is reset. As long as the kernel tries to reach
    /// a peer that is gone: one that is only slow gets the latest state, and what waits for it is bounded.
    pub write_stall: Duration,
    /// For a client's answer to our close.
    pub close_wait: Duration,
    /// Bytes of a client's message. Clients have nothing to say here.
    pub max_message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(30),
            silence: Duration::from_secs(120),
            write_stall: Duration::from_secs(15 * 60),
            close_wait: Duration::from_secs(2),
            max_message: 64,
        }
    }
}

/// What a websocket route's handler decides.
#[must_use]
pub enum Start {
    /// No websocket: an ordinary answer instead of the upgrade.
    Refuse(Reply),
    /// The session.
    Session(Box<Session>),
}

impl From<Reply> for Start {
    fn from(reply: Reply) -> Self {
        Self::Refuse(reply)
    }
}

impl From<Session> for Start {
    fn from(session: Session) -> Self {
        Self::Session(Box::new(session))
    }
}

/// What a pong means: the session goes on, or ends.
pub type OnPong = Box<dyn FnMut() -> LocalBoxFuture<'static, Option<End>>>;

/// One session, before it runs.
#[must_use]
pub struct Session {
    outbox: Option<OutboxReader>,
    end: Option<End>,
    ping_every: Option<Duration>,
    on_pong: Option<OnPong>,
    guard: Option<Box<dyn Any>>,
}

impl Session {
    const EMPTY: Self = Self { outbox: None, end: None, ping_every: None, on_pong: None, guard: None };

    /// A session that sends what the outbox brings, until the outbox says how to end. `guard` is dropped with the session:
    /// the subscription.
    pub fn watch(outbox: OutboxReader, guard: impl Any) -> Self {
        Self { outbox: Some(outbox), guard: Some(Box::new(guard)), ..Self::EMPTY }
    }

    /// A session that pings at its own interval and asks `on_pong` about each pong. A pong that comes while the last one's
    /// answer is awaited counts as the same.
    pub fn heartbeat(ping_every: Duration, on_pong: OnPong) -> Self {
        Self { ping_every: Some(ping_every), on_pong: Some(on_pong), ..Self::EMPTY }
    }

    /// The same session, which also ends when an outbox says so.
    pub fn until(self, outbox: OutboxReader) -> Self {
        Self { outbox: Some(outbox), ..self }
    }

    /// A session that ends at once, after the handshake: refusals clients understand only from there.
    pub fn ended(end: End) -> Self {
        Self { end: Some(end), ..Self::EMPTY }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("outbox", &self.outbox)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
