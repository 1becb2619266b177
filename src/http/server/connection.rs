//! A client's connection, plain or TLS, with the limits the HTTP library does not keep itself.
//!
//! The library limits how long the first request's head may take, and how long an idle connection is kept. This layer adds:
//! a limit for the head of every later request, a limit for a client that does not take its answer, the end of idle
//! connections when the server stops, and the count of open connections. It knows nothing of requests but when one begins
//! and ends, which the dispatcher tells it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Protocol;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::signal::Signal;

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoLimits {
    /// For a request's head, from its first byte.
    pub(crate) head: Duration,
    /// For a client that takes none of what it is sent.
    pub(crate) write_stall: Duration,
}

/// How many connections are open, of how many.
#[derive(Debug)]
pub(crate) struct Gauge {
    open: AtomicUsize,
    most: usize,
}

impl Gauge {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), most })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Slot> {
        let before = self.open.fetch_add(1, Ordering::SeqCst);
        let slot = Slot(Arc::clone(self));
        (before < self.most).then_some(slot)
    }
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Gauge>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What connection and dispatcher tell each other.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Requests being answered.
    running: Cell<usize>,
    /// Bytes read since the last request began, while none was running.
    unclaimed: Cell<usize>,
    /// When the first of them came.
    since: Cell<Option<Instant>>,
    /// HTTP/2: many requests at once, and bytes that belong to none.
    multiplexed: bool,
}

impl Exchange {
    /// A request begins: its head is complete. Answers how many bytes came since the last one began. The head has no more
    /// than that, which is cheaper to know than its size.
    pub(crate) fn head_complete(&self) -> usize {
        if self.multiplexed {
            return usize::MAX;
        }
        self.since.set(None);
        self.unclaimed.take()
    }

    /// Bytes beyond the head that was just completed belong to the next request.
    pub(crate) fn carry_over(&self, bytes: usize) {
        if !self.multiplexed {
            self.unclaimed.set(bytes);
        }
    }

    /// A request is being answered until the guard is dropped.
    pub(crate) fn run(self: &Rc<Self>) -> Running {
        self.running.set(self.running.get() + 1);
        Running(Rc::clone(self))
    }

    fn received(&self, bytes: usize) {
        if self.running.get() == 0 && !self.multiplexed {
            self.unclaimed.set(self.unclaimed.get().saturating_add(bytes));
            if self.since.get().is_none() {
                self.since.set(Some(Instant::now()));
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.running.get() == 0 && self.unclaimed.get() == 0
    }
}

/// A request being answered.
#[derive(Debug)]
pub(crate) struct Running(Rc<Exchange>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get().saturating_sub(1));
    }
}

/// Plain or TLS.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// A client's connection.
pub(crate) struct Connection {
    transport: Transport,
    exchange: Rc<Exchange>,
    limits: IoLimits,
    /// Wakes the task at the earliest deadline; left running when that is met, since most are.
    timer: Option<Pin<Box<Sleep>>>,
    write_blocked: Option<Instant>,
    stop: Option<Stop>,
    _slot: Slot,
}

/// The server's stop, as one connection waits for it.
struct Stop {
    signal: Arc<Signal>,
    wait: LocalBoxFuture<'static, ()>,
    in_line: bool,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        protocol: Protocol,
        limits: IoLimits,
        stop: Arc<Signal>,
        slot: Slot,
    ) -> Self {
        let exchange = Exchange { multiplexed: protocol == Protocol::Http2, ..Exchange::default() };
        Self {
            transport,
            exchange: Rc::new(exchange),
            limits,
            timer: None,
            write_blocked: None,
            stop: Some(Stop { signal: Arc::clone(&stop), wait: Box::pin(stop.wait()), in_line: false }),
            _slot: slot,
        }
    }

    /// What the dispatcher shares with this connection.
    pub(crate) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// The other end.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.transport.tcp().peer_addr().ok()
    }

    /// Leaves HTTP: from now on only writing is limited. The server's stop does not end the connection any more.
    pub(crate) fn take_over(&mut self, write_stall: Duration) {
        self.stop = None;
        self.timer = None;
        self.exchange.running.set(1);
        self.exchange.head_complete();
        self.limits.write_stall = write_stall;
    }

    /// Makes the end of this connection a reset: what the client has not taken is thrown away, not kept by the kernel.
    pub(crate) fn reset_on_drop(&self) {
        // If the socket is broken already, there is nothing to throw away.
        let _ = self.transport.tcp().set_zero_linger();
    }

    /// Whether an idle connection must end now.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stop) = &mut self.stop else { return false };
        if !stop.in_line && !stop.signal.is_raised() {
            // Once is enough: a connection stays in one task.
            let _ = stop.wait.as_mut().poll(cx);
            stop.in_line = true;
        }
        stop.signal.is_raised() && self.exchange.is_idle()
    }

    /// Ready when `deadline` has passed; else the task is woken by then.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            match &mut self.timer {
                Some(timer) if timer.deadline() <= deadline && !timer.is_elapsed() => {
                    // It was polled when it was made, by this same task.
                    return Poll::Pending;
                }
                _ if Instant::now() >= deadline => return Poll::Ready(()),
                slot => {
                    let timer = slot.insert(Box::pin(sleep_until(deadline)));
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    /// Judges the outcome of a write or flush.
    fn judge_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_blocked = None;
            return outcome;
        }
        let since = *self.write_blocked.get_or_insert_with(Instant::now);
        match self.poll_deadline(cx, since + self.limits.write_stall) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.reset_on_drop();
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        if outcome.is_ready() {
            let read = buf.filled().len().saturating_sub(before);
            if read > 0 {
                this.exchange.received(read);
            }
            return outcome;
        }
        // A request that has come before the stop is served; only then is an idle connection at its end.
        if this.poll_stop(cx) {
            return Poll::Ready(Ok(()));
        }
        match this.exchange.since.get() {
            Some(since) if this.poll_deadline(cx, since + this.limits.head).is_ready() => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's head took too long")))
            }
            _ => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Transport::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        };
        this.judge_write(cx, outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        this.judge_write(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = match &mut this.transport {
            Transport::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        };
        this.judge_write(cx, outcome)
    }
}
