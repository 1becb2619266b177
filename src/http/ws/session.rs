//! A session while it runs: one future that polls everything it waits for, so that an idle one holds no buffers.
//!
//! A peer that is gone without a word is found by pings: some clients never send anything by themselves, but all answer a
//! ping, so whatever comes counts as life and nothing at all for [`Limits::silence`] ends the session. A slow peer is not
//! taken for one that is gone: while nothing can be sent to it, no ping reaches it either. A ping of the client is answered
//! with its payload and changes nothing about ours.

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

use super::{End, GOING_AWAY, Limits, OnPong, PROTOCOL_ERROR, Session, TOO_BIG};
use crate::actors::hub::outbox::{OutboxItem, OutboxReader};
use crate::frame::{self, Decoder, Heard, Payload};
use crate::http::signal::Signal;

/// Bytes read at a time, on the stack.
const READ_SIZE: usize = 1024;

/// Reads before other sessions of this thread have their turn.
const READS_A_TURN: usize = 16;

/// Bytes of events joined into one write.
const WRITE_SIZE: usize = 16 * 1024;

/// What a session runs on.
pub(in crate::http) trait SessionIo: AsyncRead + AsyncWrite + Unpin + 'static {
    /// The other end.
    fn peer(&self) -> Option<SocketAddr>;

    /// Makes the end of the connection a reset, which throws away what the client has not taken.
    fn reset_on_drop(&self);
}

/// A connection that asked for a websocket, taken out of HTTP.
pub(in crate::http) struct Opened<I> {
    pub(in crate::http) io: I,
    /// Bytes of the client that came behind the handshake.
    pub(in crate::http) received: Bytes,
    /// Earlier answers that were not sent yet.
    pub(in crate::http) unsent: Bytes,
    /// The answer to the handshake.
    pub(in crate::http) accept: Vec<u8>,
}

/// Runs a session to its end.
pub(in crate::http) async fn run<I: SessionIo>(
    opened: Opened<I>,
    session: Box<Session>,
    limits: Limits,
    end: Arc<Signal>,
) {
    let Opened { mut io, received, unsent, accept } = opened;
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
    let mut live = Box::new(Live::new(io, &limits, ping_every, end));
    live.outbox = outbox;
    live.on_pong = on_pong;
    let outcome = match ended {
        Some(end) => Outcome::End(end),
        None => match live.hear(&received) {
            Some(outcome) => outcome,
            None => {
                drop(received);
                poll_fn(|cx| live.poll(cx)).await
            }
        },
    };
    // Unsubscribed before the goodbye: what would still come is not sent any more.
    live.outbox = None;
    drop(guard);
    log::debug!("websocket session with {peer:?} ends: {outcome:?}");
    // Boxed: what a goodbye needs must not make every session's task larger.
    Box::pin(live.conclude(outcome, limits.close_wait)).await;
}

/// Why a session ends.
#[derive(Debug)]
enum Outcome {
    /// We end it.
    End(End),
    /// The client closes, with this payload.
    Closed(Payload),
    /// The connection is gone.
    Gone,
}

struct Live<I> {
    io: I,
    decoder: Decoder,
    outbox: Option<OutboxReader>,
    /// What is being written.
    out: Bytes,
    unflushed: bool,
    /// The connection took no more when it was last written to.
    held_up: bool,
    /// Answer to the client's latest ping; earlier ones need none.
    pong: Option<Box<Payload>>,
    ping_due: bool,
    on_pong: Option<OnPong>,
    verdict: Option<LocalBoxFuture<'static, Option<End>>>,
    ping_every: Duration,
    silence: Duration,
    next_ping: Instant,
    heard: Instant,
    /// Fires at the earliest deadline as it was when it was set; each firing looks again.
    timer: Pin<Box<Sleep>>,
    stop: LocalBoxFuture<'static, ()>,
}

impl<I: SessionIo> Live<I> {
    fn new(io: I, limits: &Limits, ping_every: Option<Duration>, end: Arc<Signal>) -> Self {
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
            held_up: false,
            pong: None,
            ping_due: false,
            on_pong: None,
            verdict: None,
            ping_every,
            silence,
            next_ping,
            heard: now,
            timer: Box::pin(sleep_until(next_ping.min(now + silence))),
            stop: Box::pin(end.wait()),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        if self.stop.as_mut().poll(cx).is_ready() {
            let reason = "the registry node stops".into();
            return Poll::Ready(Outcome::End(End::Close { code: GOING_AWAY, reason }));
        }
        if let Some(outcome) = self.poll_read(cx) {
            return Poll::Ready(outcome);
        }
        if let Some(verdict) = &mut self.verdict
            && let Poll::Ready(end) = verdict.as_mut().poll(cx)
        {
            self.verdict = None;
            if let Some(end) = end {
                return Poll::Ready(Outcome::End(end));
            }
        }
        if let Some(outcome) = self.poll_timer(cx) {
            return Poll::Ready(outcome);
        }
        self.poll_write(cx)
    }

    /// Reads what is there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Option<Outcome> {
        let mut bytes = [0; READ_SIZE];
        for _ in 0..READS_A_TURN {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => return None,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Some(Outcome::Gone),
                Poll::Ready(Ok(())) => {
                    self.heard = Instant::now();
                    if let Some(outcome) = self.hear(buffer.filled()) {
                        return Some(outcome);
                    }
                }
                Poll::Ready(Err(_)) => return Some(Outcome::Gone),
            }
        }
        cx.waker().wake_by_ref();
        None
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Option<Outcome> {
        while let Some(heard) = self.decoder.hear(&mut bytes) {
            match heard {
                Heard::Ping(payload) => self.pong = Some(Box::new(payload)),
                Heard::Pong => {
                    if let (Some(on_pong), None) = (&mut self.on_pong, &self.verdict) {
                        self.verdict = Some(on_pong());
                    }
                }
                Heard::Close(payload) => return Some(Outcome::Closed(payload)),
                Heard::TooBig => {
                    return Some(Outcome::End(End::Close {
                        code: TOO_BIG,
                        reason: "message too big".into(),
                    }));
                }
                Heard::Violation(what) => {
                    return Some(Outcome::End(End::Close { code: PROTOCOL_ERROR, reason: what.into() }));
                }
            }
        }
        None
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Option<Outcome> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let silent_at = self.heard + self.silence;
            if silent_at <= now && !self.held_up {
                return Some(Outcome::End(End::Abort));
            }
            if self.next_ping <= now {
                self.ping_due = true;
                self.next_ping = now + self.ping_every;
            }
            let next = if self.held_up { self.next_ping } else { self.next_ping.min(silent_at) };
            self.timer.as_mut().reset(next);
        }
        None
    }

    /// Writes what there is to write; control frames go before events, but never into the middle of one.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            if self.out.is_empty()
                && let Some(end) = self.poll_fill(cx)
            {
                return Poll::Ready(Outcome::End(end));
            }
            if self.out.is_empty() {
                if self.unflushed {
                    match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
                        Ok(()) => self.unflushed = false,
                        Err(_) => return Poll::Ready(Outcome::Gone),
                    }
                }
                return Poll::Pending;
            }
            let written = Pin::new(&mut self.io).poll_write(cx, &self.out);
            let was_held_up = std::mem::replace(&mut self.held_up, written.is_pending());
            match ready!(written) {
                Ok(0) | Err(_) => return Poll::Ready(Outcome::Gone),
                Ok(written) => {
                    // There is room again because the peer has taken something.
                    if was_held_up {
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
        // Whole buffers are given back with the last byte.
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

    /// Says goodbye, as far as the client listens.
    async fn conclude(self, outcome: Outcome, limit: Duration) {
        let Self { mut io, mut decoder, out, .. } = self;
        // A frame that is half out is finished first.
        let mut last = out.to_vec();
        let client_is_done = matches!(outcome, Outcome::Closed(_));
        match outcome {
            Outcome::Gone => return,
            Outcome::End(End::Abort) => {
                io.reset_on_drop();
                return;
            }
            Outcome::End(End::Close { code, reason }) => frame::put_close(&mut last, code, &reason),
            Outcome::End(End::Say(text)) => last.extend_from_slice(&frame::text_frame(text.as_bytes())),
            Outcome::Closed(payload) => frame::put_close_echo(&mut last, &payload),
        }
        let goodbye = async {
            io.write_all(&last).await?;
            io.shutdown().await?;
            // A socket that is closed with unread bytes is reset, and the client may then never see the goodbye. So what
            // it still sends is read, up to its answer to the close or its end.
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
        // Whether the client listened makes no difference.
        let _ = timeout(limit, goodbye).await;
    }
}
