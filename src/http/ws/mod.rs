//! Websocket sessions: the watch of a consumer and the heartbeat of an instance.
//!
//! A session owns its socket and none of the HTTP library's buffers, so that an idle watcher takes a few hundred bytes besides its
//! socket. A session sends the events of an [`Outbox`](crate::actors::hub::outbox::Outbox). It answers control frames, and drops
//! the messages of the client.

mod handshake;
mod session;

use std::any::Any;
use std::fmt;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

pub(super) use self::handshake::{accept_line, is_handshake, refusal};
pub(super) use self::session::{OpenedSocket, SessionIo, run};
use super::reply::Reply;
pub use crate::actors::hub::outbox::End;
use crate::actors::hub::outbox::OutboxReader;

/// Close code of a server that stops.
const GOING_AWAY: u16 = 1001;
/// Close code for a breach of the protocol.
const PROTOCOL_ERROR: u16 = 1002;
/// Close code for a message over the limit.
const TOO_BIG: u16 = 1009;
/// Close code that clients know: the instance does not exist and must be registered again.
pub(super) const INSTANCE_NOT_EXISTS: u16 = 4001;

#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Time between two pings. Clients close a silent connection after 60 s or more.
    pub ping_every: Duration,
    /// A session ends if nothing comes from its client for this time, not even a pong. A session that pings less often waits for two
    /// of its pings. The limit does not count while a write is blocked, because pings are blocked too.
    pub silence: Duration,
    /// A connection is reset if its client takes no byte for this time. The time is as long as the kernel tries to reach a client that
    /// is gone. A client that is only slow may stay, because it gets the latest state only and so takes limited memory.
    pub write_stall: Duration,
    /// How long a client may take to answer a close frame.
    pub close_wait: Duration,
    /// The limit for a message of a client, in bytes. No client has a reason to send messages.
    pub max_message: usize,
}

impl Default for SessionLimits {
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

/// The decision of a websocket route's handler.
#[must_use]
pub enum SessionStart {
    /// An ordinary answer instead of the upgrade.
    Refuse(Reply),
    Session(Box<Session>),
}

impl From<Reply> for SessionStart {
    fn from(reply: Reply) -> Self {
        Self::Refuse(reply)
    }
}

impl From<Session> for SessionStart {
    fn from(session: Session) -> Self {
        Self::Session(Box::new(session))
    }
}

/// Called for a pong. `None`: the session goes on.
pub type OnPong = Box<dyn FnMut() -> LocalBoxFuture<'static, Option<End>>>;

/// A session that does not run yet.
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

    /// A session that sends the events of an outbox until the outbox ends it. `guard` is dropped at the end of the session.
    pub fn watch(outbox: OutboxReader, guard: impl Any) -> Self {
        Self { outbox: Some(outbox), guard: Some(Box::new(guard)), ..Self::EMPTY }
    }

    /// A session that pings at its own interval and calls `on_pong` for each pong. A pong that comes while the last call is awaited is
    /// ignored.
    pub fn heartbeat(ping_every: Duration, on_pong: OnPong) -> Self {
        Self { ping_every: Some(ping_every), on_pong: Some(on_pong), ..Self::EMPTY }
    }

    /// The same session, but an outbox can also end it.
    pub fn until(self, outbox: OutboxReader) -> Self {
        Self { outbox: Some(outbox), ..self }
    }

    /// A session that ends after the handshake: clients do not understand some refusals before the handshake.
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
