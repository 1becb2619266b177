//! A running session: one future that polls everything it waits for, so that an idle session holds no buffers.
//!
//! Pings find clients that are gone. All clients answer a ping, so a session ends if no byte comes for [`SessionLimits::silence`].
//! While a write is blocked, no ping reaches the client, so its silence does not count. A ping of the client is answered with its
//! payload, and does not replace a ping of the server.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{End, GOING_AWAY, OnPong, PROTOCOL_ERROR, Session, SessionLimits, TOO_BIG};
use crate::actors::hub::outbox::{OutboxItem, OutboxReader};
use crate::frame::{self, Decoder, Heard, Payload};
use crate::http::signal::Signal;

/// How many bytes are read at a time. The buffer is on the stack.
const READ_SIZE: usize = 1024;

/// After this many reads the other sessions of the thread have their turn.
const READS_A_TURN: usize = 16;

/// How many bytes of events are joined into one write.
const WRITE_SIZE: usize = 16 * 1024;

/// The connection of a session.
pub(in crate::http) trait SessionIo: AsyncRead + AsyncWrite + Unpin + 'static {
    fn peer(&self) -> Option<SocketAddr>;

    /// From now on, dropping the connection resets it. The kernel then drops bytes that the client has not taken.
    fn reset_on_drop(&self);
}

/// A socket with an accepted handshake, after it has left HTTP.
pub(in crate::http) struct OpenedSocket<I> {
    pub(in crate::http) io: I,
    /// Bytes of the client that came after the handshake.
    pub(in crate::http) received: Bytes,
    /// Bytes of earlier answers that were not sent yet.
    pub(in crate::http) unsent: Bytes,
    /// The answer to the handshake.
    pub(in crate::http) accept: Vec<u8>,
}

/// Runs a session to its end.
pub(in crate::http) async fn run<I: SessionIo>(
    opened: OpenedSocket<I>,
    session: Box<Session>,
    limits: SessionLimits,
    end: Arc<Signal>,
) {
    let OpenedSocket { mut io, received, unsent, accept } = opened;
    let peer = io.peer();
    for part in [unsent.as_ref(), accept.as_slice()] {
        if io.write_all(part).await.is_err() {
            return;
        }
    }
    if io.flush().await.is_err() {
        return;
    }
    drop((unsent, accept));
    let Session { outbox, end: ended, ping_every, on_pong, guard } = *session;
    let mut live = Box::new(LiveSession::new(io, &limits, ping_every, end));
    live.outbox = outbox;
    live.on_pong = on_pong;
    let outcome = match ended {
        Some(end) => SessionOutcome::End(end),
        None => match live.hear(&received) {
            Some(outcome) => outcome,
            None => {
                drop(received);
                poll_fn(|cx| live.poll(cx)).await
            }
        },
    };
    // No further event is sent, so the subscription ends before the close.
    live.outbox = None;
    drop(guard);
    log::debug!("the websocket session with {peer:?} ends: {outcome:?}");
    // Boxed, so that the buffers of the close do not make the task of each session larger.
    Box::pin(live.conclude(outcome, limits.close_wait)).await;
}

/// Why a session ends.
#[derive(Debug)]
enum SessionOutcome {
    /// The server ends it.
    End(End),
    /// The client closed, with this payload.
    Closed(Payload),
    /// The connection broke.
    Gone,
}

struct LiveSession<I> {
    io: I,
    decoder: Decoder,
    outbox: Option<OutboxReader>,
    /// Bytes that are being written.
    out: Bytes,
    unflushed: bool,
    /// The last write was blocked.
    is_blocked: bool,
    /// The payload of the latest ping of the client. Earlier pings need no answer.
    pong: Option<Box<Payload>>,
    ping_due: bool,
    on_pong: Option<OnPong>,
    pong_answer: Option<LocalBoxFuture<'static, Option<End>>>,
    ping_every: Duration,
    silence: Duration,
    next_ping: Instant,
    heard: Instant,
    /// Set to the earliest deadline at that time. When it fires, the deadlines are compared again.
    timer: Pin<Box<Sleep>>,
    stop: LocalBoxFuture<'static, ()>,
}

impl<I: SessionIo> LiveSession<I> {
    fn new(io: I, limits: &SessionLimits, ping_every: Option<Duration>, end: Arc<Signal>) -> Self {
        let now = Instant::now();
        let ping_every = ping_every.unwrap_or(limits.ping_every);
        let silence = limits.silence.max(ping_every * 2);
        let next_ping = now + ping_every;
        Self {
            io,
            decoder: Decoder::new(limits.max_message),
            outbox: None,
            out: Bytes::new(),
            unflushed: false,
            is_blocked: false,
            pong: None,
            ping_due: false,
            on_pong: None,
            pong_answer: None,
            ping_every,
            silence,
            next_ping,
            heard: now,
            timer: Box::pin(sleep_until(next_ping.min(now + silence))),
            stop: Box::pin(end.wait()),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SessionOutcome> {
        if self.stop.as_mut().poll(cx).is_ready() {
            let reason = "the registry node stops".into();
            return Poll::Ready(SessionOutcome::End(End::Close { code: GOING_AWAY, reason }));
        }
        if let Some(outcome) = self.poll_read(cx) {
            return Poll::Ready(outcome);
        }
        if let Some(pong_answer) = &mut self.pong_answer
            && let Poll::Ready(end) = pong_answer.as_mut().poll(cx)
        {
            self.pong_answer = None;
            if let Some(end) = end {
                return Poll::Ready(SessionOutcome::End(end));
            }
        }
        if let Some(outcome) = self.poll_timer(cx) {
            return Poll::Ready(outcome);
        }
        self.poll_write(cx)
    }

    /// Reads until the socket is empty.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Option<SessionOutcome> {
        let mut bytes = [0; READ_SIZE];
        for _ in 0..READS_A_TURN {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return None,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Some(SessionOutcome::Gone),
                Poll::Ready(Ok(())) => {
                    self.heard = Instant::now();
                    if let Some(outcome) = self.hear(buffer.filled()) {
                        return Some(outcome);
                    }
                }
                Poll::Ready(Err(_)) => return Some(SessionOutcome::Gone),
            }
        }
        cx.waker().wake_by_ref();
        None
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Option<SessionOutcome> {
        while let Some(heard) = self.decoder.hear(&mut bytes) {
            match heard {
                Heard::Ping(payload) => self.pong = Some(Box::new(payload)),
                Heard::Pong => {
                    if let (Some(on_pong), None) = (&mut self.on_pong, &self.pong_answer) {
                        self.pong_answer = Some(on_pong());
                    }
                }
                Heard::Close(payload) => return Some(SessionOutcome::Closed(payload)),
                Heard::TooBig => {
                    return Some(SessionOutcome::End(End::Close {
                        code: TOO_BIG,
                        reason: "message too big".into(),
                    }));
                }
                Heard::Violation(what) => {
                    return Some(SessionOutcome::End(End::Close {
                        code: PROTOCOL_ERROR,
                        reason: what.into(),
                    }));
                }
            }
        }
        None
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Option<SessionOutcome> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let silent_at = self.heard + self.silence;
            if silent_at <= now && !self.is_blocked {
                return Some(SessionOutcome::End(End::Abort));
            }
            if self.next_ping <= now {
                self.ping_due = true;
                self.next_ping = now + self.ping_every;
            }
            let next = if self.is_blocked { self.next_ping } else { self.next_ping.min(silent_at) };
            self.timer.as_mut().reset(next);
        }
        None
    }

    /// Writes until nothing is left. Control frames go before events, but never into the middle of an event.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<SessionOutcome> {
        loop {
            if self.out.is_empty()
                && let Some(end) = self.poll_fill(cx)
            {
                return Poll::Ready(SessionOutcome::End(end));
            }
            if self.out.is_empty() {
                if self.unflushed {
                    match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
                        Ok(()) => self.unflushed = false,
                        Err(_) => return Poll::Ready(SessionOutcome::Gone),
                    }
                }
                return Poll::Pending;
            }
            let written = Pin::new(&mut self.io).poll_write(cx, &self.out);
            let was_is_blocked = std::mem::replace(&mut self.is_blocked, written.is_pending());
            match ready!(written) {
                Ok(0) | Err(_) => return Poll::Ready(SessionOutcome::Gone),
                Ok(written) => {
                    // There is room again because the client has taken something.
                    if was_is_blocked {
                        self.heard = Instant::now();
                    }
                    self.out.advance(written);
                    self.unflushed = true;
                }
            }
        }
    }

    /// The next bytes to write, if there are any.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Option<End> {
        // Frees the buffer.
        self.out = Bytes::new();
        if let Some(payload) = self.pong.take() {
            let mut pong = Vec::new();
            frame::put_pong(&mut pong, &payload);
            self.out = pong.into();
        } else if std::mem::take(&mut self.ping_due) {
            self.out = Bytes::from_static(&frame::EMPTY_PING);
        } else if let Some(outbox) = &mut self.outbox {
            match outbox.poll_take(cx, WRITE_SIZE) {
                Poll::Pending => {}
                Poll::Ready(OutboxItem::Frames(frames)) => self.out = frames,
                Poll::Ready(OutboxItem::End(end)) => return Some(end),
            }
        }
        None
    }

    /// Sends the last frame and closes the connection. Errors are ignored, because the session ends in any case.
    async fn conclude(self, outcome: SessionOutcome, limit: Duration) {
        let Self { mut io, mut decoder, out, .. } = self;
        // A frame that is partly sent is finished first.
        let mut last = out.to_vec();
        let client_is_done = matches!(outcome, SessionOutcome::Closed(_));
        match outcome {
            SessionOutcome::Gone => return,
            SessionOutcome::End(End::Abort) => {
                io.reset_on_drop();
                return;
            }
            SessionOutcome::End(End::Close { code, reason }) => frame::put_close(&mut last, code, &reason),
            SessionOutcome::End(End::Say(text)) => {
                last.extend_from_slice(&frame::text_frame(text.as_bytes()))
            }
            SessionOutcome::Closed(payload) => frame::put_close_echo(&mut last, &payload),
        }
        let closing = async {
            io.write_all(&last).await?;
            io.shutdown().await?;
            // Closing a socket with unread bytes resets it, and the client may then never read the last frame. So the bytes of the
            // client are read, until it answers the close or ends the connection.
            let mut bytes = [0; READ_SIZE];
            let mut waits = !client_is_done;
            while waits {
                let read = io.read(&mut bytes).await?;
                let mut rest = bytes.get(..read).unwrap_or_default();
                waits = read > 0;
                while let Some(heard) = decoder.hear(&mut rest) {
                    waits &= !matches!(heard, Heard::Close(_));
                }
            }
            std::io::Result::Ok(())
        };
        let _ = timeout(limit, closing).await;
    }
}
