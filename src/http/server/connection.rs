//! A client's connection, plain or TLS, with the limits that the HTTP/1.1 library does not keep itself.
//!
//! Why the library's own limits are not enough:
//!
//! - Time for a head: the library limits the first head of a connection and no later one.
//! - Idle time: the library measures it to half a second, and starts again whenever something wakes the connection.
//! - Time without progress for a client that does not read its answer: the library has no such limit.
//! - End of idle connections when the server stops: the library drops a request that has arrived but is not decoded yet, and takes
//!   a lock that all workers share each time it polls a connection.
//! - Open connections: the library counts them by worker, and stops accepting. A client over the limit gets no answer.
//!
//! The dispatcher tells this layer when a request begins and ends. A connection that leaves HTTP/1.1 keeps the limit for writing
//! and no other limit.
//!
//! The library reads although it cannot use the bytes yet. It decodes all requests in its buffer before it answers the first one.
//! While the buffer is full, the library wakes itself without end (`docs/upstream.md`). So this layer gives the library one head
//! at a time, with the part of its body that came with it, and then the rest of that body. It gives nothing else while a request is
//! being answered, an answer without a length is being sent, or a write is blocked.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::{HttpMessage as _, HttpRequest};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::gauge::{ConnectionSlot, OVERLOADED};
use super::head_end::{HeadEnd, announced_body};
use super::terms::{ServerTerms, Settings};
use crate::http::signal::Signal;
use crate::http::ws::{Session, SessionIo};
use crate::metrics;

#[derive(Clone, Copy, Debug)]
pub(super) struct IoLimits {
    /// For the head of a request, from its first byte. For the first head: from the begin of the connection.
    pub(super) head: Duration,
    /// For a connection without a request, from the last byte of the last answer.
    pub(super) idle: Duration,
    /// For a client that takes no byte of its answer.
    pub(super) write_stall: Duration,
}

/// Each limit of a connection from the reserve.
pub(super) const RESERVE_LIMIT: Duration = Duration::from_secs(2);

/// Stands for the bytes that are left of a chunked body. No other body is so long.
const CHUNKED: usize = usize::MAX;

/// The state that a connection and the dispatcher share.
pub(super) struct Exchange {
    /// Requests that are being answered.
    running: Cell<usize>,
    /// Bytes that were read since the last head was complete, while no request was running.
    unclaimed: Cell<usize>,
    /// When the first of these bytes came. Before the first head: when the connection began.
    since: Cell<Option<Instant>>,
    /// When bytes of a head last came, while no request was running. Before the first ones: when the connection began.
    last_read: Cell<Instant>,
    /// When the client last took a part of an answer, or when an answer was last complete.
    answered: Cell<Option<Instant>>,
    /// An answer is ready, and nothing of it has been written. The clock was read then, and it is not read again for the first write.
    is_unwritten: Cell<bool>,
    /// The client has been told that the connection ends.
    is_ending: Cell<bool>,
    /// The connection is over the limit: only requests for the health of the server are served, and the first answer is the last.
    is_reserve: bool,
    /// How many bytes of the body of the request that is being answered were not handed yet, or [`CHUNKED`].
    body_left: Cell<usize>,
    /// How many bytes of a body were handed together with the last head.
    body_with_head: Cell<usize>,
    /// Since when the client takes none of what the library writes.
    write_blocked: Cell<Option<Instant>>,
    /// The task of the connection, while this layer gives it nothing to read or no next piece of an answer.
    withheld: RefCell<Option<Waker>>,
    /// The request asks for another protocol, and the library has handed over the socket.
    is_upgrade: Cell<bool>,
    /// The session that the handler of an upgrade has accepted.
    session: Cell<Option<Box<Session>>>,
    /// Answers without a length that are being sent.
    streams: Cell<usize>,
}

impl Exchange {
    /// Of a connection that begins.
    pub(super) fn new(is_reserve: bool) -> Self {
        let now = Instant::now();
        Self {
            running: Cell::default(),
            unclaimed: Cell::default(),
            since: Cell::new(Some(now)),
            last_read: Cell::new(now),
            answered: Cell::default(),
            is_unwritten: Cell::default(),
            is_ending: Cell::default(),
            is_reserve,
            body_left: Cell::default(),
            body_with_head: Cell::default(),
            write_blocked: Cell::default(),
            withheld: RefCell::default(),
            is_upgrade: Cell::default(),
            session: Cell::default(),
            streams: Cell::default(),
        }
    }

    /// When bytes of a head last came.
    pub(super) fn last_read(&self) -> Instant {
        self.last_read.get()
    }

    /// An answer is ready.
    pub(super) fn answer_ready(&self, now: Instant) {
        self.answered.set(Some(now));
        self.is_unwritten.set(true);
    }

    /// A write of an answer was tried. If the client took a part of it, that is noted. The first try needs no other time than that of
    /// [`answer_ready`](Self::answer_ready).
    fn tried_to_write<T>(&self, outcome: &Poll<T>) {
        if !self.is_unwritten.take() && outcome.is_ready() {
            self.answered.set(Some(Instant::now()));
        }
    }

    /// The exchange of a request's connection. HTTP/1.1 keeps it with the connection, HTTP/2 with each request.
    pub(super) fn of(request: &HttpRequest) -> Option<Rc<Self>> {
        let of_connection = request.conn_data::<Rc<Self>>().cloned();
        of_connection.or_else(|| request.extensions().get::<Rc<Self>>().cloned())
    }

    /// The head of a request is complete. Returns its size in bytes.
    pub(super) fn head_complete(&self) -> usize {
        self.since.set(None);
        self.unclaimed.take()
    }

    /// A request is being answered until the guard is dropped.
    pub(super) fn run(self: &Rc<Self>) -> RunningRequest {
        self.running.set(self.running.get() + 1);
        RunningRequest(Rc::clone(self))
    }

    /// As [`run`](Self::run), for a request that has a body. A chunked body has no `length`.
    pub(super) fn run_with_body(self: &Rc<Self>, length: Option<u64>) -> RunningRequest {
        let length = length.and_then(|length| usize::try_from(length).ok());
        let left = length.map(|length| length.saturating_sub(self.body_with_head.get()));
        self.body_left.set(left.unwrap_or(CHUNKED));
        self.resume();
        self.run()
    }

    /// The request that is being answered reads no more of its body.
    pub(super) fn body_complete(&self) {
        self.body_left.set(0);
    }

    /// An answer without a length is being sent until the guard is dropped. Meanwhile the connection is not idle, although the client
    /// may be sent nothing for some time.
    pub(super) fn open_stream(self: &Rc<Self>) -> OpenStream {
        self.streams.set(self.streams.get() + 1);
        OpenStream(Rc::clone(self))
    }

    pub(super) fn has_streams(&self) -> bool {
        self.streams.get() > 0
    }

    pub(super) fn is_reserve(&self) -> bool {
        self.is_reserve
    }

    /// The current answer says `Connection: close`: it is the last one.
    pub(super) fn end(&self) {
        self.is_ending.set(true);
    }

    /// The next request asks for another protocol.
    pub(super) fn begin_upgrade(&self) {
        self.is_upgrade.set(true);
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.is_upgrade.get()
    }

    /// Accepts the upgrade. Its answer is then the websocket handshake, whatever the handler returns.
    pub(super) fn start_session(&self, session: Box<Session>) {
        self.session.set(Some(session));
    }

    pub(super) fn take_session(&self) -> Option<Box<Session>> {
        self.session.take()
    }

    /// Whether the library cannot use the next bytes yet.
    fn is_busy(&self) -> bool {
        self.running.get() > 0 && self.body_left.get() == 0 || self.has_streams()
    }

    /// Lets the library read again. If a part of the next head was read before, the time for that head starts again, because the
    /// client may have sent the rest while nothing was read.
    fn resume(&self) {
        if let Some(waker) = self.withheld.borrow_mut().take() {
            if self.since.get().is_some() {
                self.since.set(Some(Instant::now()));
            }
            waker.wake();
        }
    }

    /// Ready when the client has taken all that the library has written. The library asks for the next piece of an answer while its
    /// buffer still holds the end of the last piece.
    pub(super) fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        if self.write_blocked.get().is_none() {
            return Poll::Ready(());
        }
        self.withheld.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Bytes were read. They belong to a head, unless a request is running.
    fn received(&self, bytes: usize) {
        // No head follows the last answer.
        if bytes > 0 && self.running.get() == 0 && !self.is_ending.get() {
            self.unclaimed.set(self.unclaimed.get().saturating_add(bytes));
            let now = Instant::now();
            self.last_read.set(now);
            self.since.set(self.since.get().or(Some(now)));
        }
    }

    fn is_idle(&self) -> bool {
        self.running.get() == 0 && self.unclaimed.get() == 0 && !self.has_streams()
    }
}

/// An answer without a length that is being sent.
pub(super) struct OpenStream(Rc<Exchange>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.answered.set(Some(Instant::now()));
        self.0.resume();
    }
}

/// A request that is being answered.
pub(super) struct RunningRequest(Rc<Exchange>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get().saturating_sub(1));
        self.0.answered.set(Some(Instant::now()));
        self.0.body_complete();
        self.0.resume();
    }
}

/// Plain or TLS.
pub(super) type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

pub(super) struct ClientConnection {
    transport: Transport,
    exchange: Rc<Exchange>,
    limits: IoLimits,
    /// Wakes the task at the earliest deadline. It keeps running when the client meets the deadline, because most clients do.
    timer: Option<Pin<Box<Sleep>>>,
    /// Finds where the head ends that is being read.
    head_end: HeadEnd,
    /// The library was given the end of a head and has not decoded it yet.
    head_handed: bool,
    /// Bytes that were read together with that head and follow it and its body.
    ahead: Bytes,
    /// `None` for a connection that left HTTP/1.1.
    stop: Option<StopWait>,
    _slot: ConnectionSlot,
}

/// After so many bytes, nothing more is read beside an answer without a length.
const MOST_BESIDE_STREAM: usize = 8 << 10;

/// The answer to a head that takes too long.
const HEAD_TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 19\r\n\
Connection: close\r\n\r\n408 Request Timeout";

/// The limit that a client exceeds by sending nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    Head,
    Idle,
}

/// How one connection waits for the stop of the server.
struct StopWait {
    signal: Arc<Signal>,
    wait: LocalBoxFuture<'static, ()>,
    is_registered: bool,
}

/// How many bytes the kernel buffers for a websocket session. It allows itself twice as much.
const SESSION_SEND_BUFFER: usize = 128 << 10;

impl ClientConnection {
    pub(super) fn new(
        transport: Transport,
        terms: &ServerTerms,
        slot: ConnectionSlot,
        is_reserve: bool,
    ) -> Self {
        let limits = if is_reserve {
            IoLimits { head: RESERVE_LIMIT, idle: RESERVE_LIMIT, write_stall: RESERVE_LIMIT }
        } else {
            let Settings { head_time: head, keep_alive: idle, write_stall, .. } = terms.settings;
            IoLimits { head, idle, write_stall }
        };
        let signal = Arc::clone(&terms.stop);
        let wait = Box::pin(Arc::clone(&signal).wait());
        Self {
            transport,
            exchange: Rc::new(Exchange::new(is_reserve)),
            limits,
            timer: None,
            head_end: HeadEnd::default(),
            head_handed: false,
            ahead: Bytes::new(),
            stop: Some(StopWait { signal, wait, is_registered: false }),
            _slot: slot,
        }
    }

    pub(super) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// Leaves HTTP/1.1: from now on only writing is limited, and the stop of the server does not end the connection. Returns the
    /// limits of the connection.
    pub(super) fn leave_http1(&mut self) -> IoLimits {
        self.stop = None;
        self.timer = None;
        self.limits
    }

    /// Leaves HTTP/1.1 for a session. Returns the bytes that followed the last request.
    pub(super) fn take_over(&mut self, write_stall: Duration) -> Bytes {
        // The kernel would buffer megabytes for a client that does not read. The client would read old events from this buffer. Events
        // of one instance that wait in the session are merged instead. An error is ignored, because the session works with any buffer.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(self.tcp(), SESSION_SEND_BUFFER);
        self.leave_http1();
        self.limits.write_stall = write_stall;
        mem::take(&mut self.ahead)
    }

    fn tcp(&self) -> &TcpStream {
        match &self.transport {
            Either::Left(tcp) => tcp,
            Either::Right(tls) => tls.get_ref().0,
        }
    }

    /// Whether the connection is idle and the server stops.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stop) = &mut self.stop else { return false };
        if !stop.is_registered && !stop.signal.is_raised() {
            // One poll is enough, because a connection stays in one task. Each further poll would take a lock.
            let _ = stop.wait.as_mut().poll(cx);
            stop.is_registered = true;
        }
        stop.signal.is_raised() && self.exchange.is_idle()
    }

    /// Ready when `deadline` has passed. Otherwise the task is woken at `deadline` or earlier.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            match &mut self.timer {
                Some(timer) if timer.deadline() <= deadline && !timer.is_elapsed() => {
                    // This task polled the timer when it made it.
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

    /// Ready when the client has sent nothing for too long. Called when there is nothing to read. If it is pending, the task is woken
    /// in time for the next limit, because nothing else may wake it.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        let IoLimits { head, idle, .. } = self.limits;
        if let Some(since) = self.exchange.since.get() {
            // These bytes may be a whole request that the library decodes after this read. Then nothing is read again before the
            // connection is idle, so the task must be woken for that limit too.
            ready!(self.poll_deadline(cx, since + head.min(idle)));
            return self.poll_deadline(cx, since + head).map(|()| Silence::Head);
        }
        if let Some(answered) = self.exchange.answered.get()
            && self.exchange.is_idle()
            && self.exchange.write_blocked.get().is_none()
        {
            return self.poll_deadline(cx, answered + idle).map(|()| Silence::Idle);
        }
        // This deadline is in the future.
        let _ = self.poll_deadline(cx, Instant::now() + idle);
        Poll::Pending
    }

    /// Whether there may be bytes that the library does not get now. Its task is woken when it gets them.
    fn withholds(&mut self, cx: &mut Context<'_>) -> bool {
        let is_blocked = self.exchange.write_blocked.get().is_some();
        let withholds = is_blocked || (self.exchange.is_busy() && self.poll_more(cx));
        if withholds {
            self.exchange.withheld.replace(Some(cx.waker().clone()));
        }
        withholds
    }

    /// Whether there may be more to read. If not, the task is woken when there is.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> bool {
        match &self.transport {
            _ if !self.ahead.is_empty() => true,
            Either::Left(tcp) => tcp.poll_read_ready(cx).is_ready(),
            Either::Right(tls) => {
                let (tcp, session) = tls.get_ref();
                // A session that wants no read holds decrypted bytes, or the client has ended it.
                !session.wants_read() || tcp.poll_read_ready(cx).is_ready()
            }
        }
    }

    /// Reads beside an answer without a length. Ready when the client is gone: the library would go on with the answer until a write
    /// fails. What the client sends waits for the end of the answer.
    fn poll_gone(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Error> {
        let before = buf.filled().len();
        while self.ahead.len() < MOST_BESIDE_STREAM {
            if let Err(error) = ready!(Pin::new(&mut self.transport).poll_read(cx, buf)) {
                return Poll::Ready(error);
            }
            let came = &buf.filled()[before..];
            if came.is_empty() {
                return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
            }
            self.ahead = [&self.ahead, came].concat().into();
            buf.set_filled(before);
        }
        Poll::Pending
    }

    /// Reads, up to the end of a head, or of the body that came with it if the head says how long the body is. While a body is read: up
    /// to its end, or up to an empty line if it is chunked, because it ends with one.
    fn poll_hand(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let is_new = self.ahead.is_empty();
        let came = if is_new {
            ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
            &buf.filled()[before..]
        } else {
            &self.ahead[..self.ahead.len().min(buf.remaining())]
        };
        let exchange = &self.exchange;
        let handed = match exchange.body_left.get() {
            left @ (0 | CHUNKED) => {
                let head_end = self.head_end.find(came);
                self.head_handed = head_end.is_some();
                let head = head_end.unwrap_or(came.len());
                let mut body = 0;
                if head < came.len() && left == 0 {
                    body = announced_body(&came[..head]).min(came.len() - head);
                }
                exchange.body_with_head.set(body);
                exchange.received(head);
                head + body
            }
            left => {
                let body = left.min(came.len());
                exchange.body_left.set(left - body);
                body
            }
        };
        if !is_new {
            buf.put_slice(&self.ahead.split_to(handed));
        } else if handed < came.len() {
            self.ahead = Bytes::copy_from_slice(&came[handed..]);
            buf.set_filled(before + handed);
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the client that its head took too long, if the socket takes the answer at once.
    fn reject_slow_head(&mut self, cx: &mut Context<'_>) -> io::Error {
        if self.exchange.write_blocked.get().is_none() {
            let mut answer = HEAD_TOO_SLOW;
            if self.exchange.is_reserve {
                metrics::REFUSED_FOR_LOAD.add(1);
                answer = OVERLOADED;
            }
            // The connection ends whether or not the client gets the answer.
            let _ = Pin::new(&mut self.transport).poll_write(cx, answer);
            let _ = Pin::new(&mut self.transport).poll_flush(cx);
        }
        io::Error::new(io::ErrorKind::TimedOut, "the head of the request took too long")
    }

    /// Limits the time of a write or flush that makes no progress.
    fn limit_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.exchange.write_blocked.take().is_some() {
                self.exchange.resume();
            }
            return outcome;
        }
        let since = self.exchange.write_blocked.get().unwrap_or_else(Instant::now);
        self.exchange.write_blocked.set(Some(since));
        ready!(self.poll_deadline(cx, since + self.limits.write_stall));
        self.reset_on_drop();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl SessionIo for ClientConnection {
    fn peer(&self) -> Option<SocketAddr> {
        self.tcp().peer_addr().ok()
    }

    fn reset_on_drop(&self) {
        // An error means that the socket is broken, and then nothing is left to send.
        let _ = self.tcp().set_zero_linger();
    }
}

impl AsyncRead for ClientConnection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stop.is_none() {
            return Pin::new(&mut this.transport).poll_read(cx, buf);
        }
        if this.exchange.has_streams()
            && let Poll::Ready(error) = this.poll_gone(cx, buf)
        {
            return Poll::Ready(Err(error));
        }
        let outcome = if this.withholds(cx) {
            return Poll::Pending;
        } else if this.exchange.is_busy() {
            Poll::Pending
        } else if !mem::take(&mut this.head_handed) {
            this.poll_hand(cx, buf)
        } else if this.poll_more(cx) {
            // The library decodes only when a read is pending.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        } else {
            Poll::Pending
        };
        if outcome.is_ready() {
            return outcome;
        }
        // A request that arrived before the stop has been read and is served.
        if this.poll_stop(cx) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(match ready!(this.poll_silence(cx)) {
            Silence::Idle => Ok(()),
            Silence::Head => Err(this.reject_slow_head(cx)),
        })
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.transport).poll_write(cx, buf);
        this.exchange.tried_to_write(&outcome);
        this.limit_write(cx, outcome)
    }

    // HTTP/2 writes the head of a frame and its bytes at once. Over TLS, two writes would be two records.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.transport).poll_write_vectored(cx, bufs);
        this.exchange.tried_to_write(&outcome);
        this.limit_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.transport).poll_flush(cx);
        this.limit_write(cx, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.transport).poll_shutdown(cx);
        this.limit_write(cx, outcome)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Fixture {
        connection: ClientConnection,
        terms: ServerTerms,
        client: TcpStream,
        wakes: Arc<Wakes>,
    }

    impl Fixture {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let transport = Either::Left(listener.accept().await.unwrap().0);
            let hour = Duration::from_secs(3600);
            let settings =
                Settings { head_time: hour, keep_alive: hour, write_stall: hour, ..Settings::default() };
            let terms = ServerTerms::new(settings).unwrap();
            let (slot, _) = terms.connections.enter();
            let connection = ClientConnection::new(transport, &terms, slot, false);
            Self { connection, terms, client, wakes: Arc::default() }
        }

        /// Sends bytes from the client and waits until the connection can read them.
        async fn send(&mut self, text: &str) {
            self.client.write_all(text.as_bytes()).await.unwrap();
            self.connection.tcp().readable().await.unwrap();
        }

        /// How often the library's task was woken since the last call.
        fn wakes(&self) -> usize {
            self.wakes.0.swap(0, Ordering::SeqCst)
        }

        /// What the library reads until a read is pending, and how often its task is woken meanwhile.
        fn look(&mut self) -> (String, usize) {
            self.wakes();
            let waker = Arc::clone(&self.wakes).into();
            let mut cx = Context::from_waker(&waker);
            let mut text = String::new();
            let mut bytes = [0; 1024];
            loop {
                let mut buf = ReadBuf::new(&mut bytes);
                match Pin::new(&mut self.connection).poll_read(&mut cx, &mut buf) {
                    Poll::Pending => return (text, self.wakes()),
                    Poll::Ready(outcome) => outcome.unwrap(),
                }
                if buf.filled().is_empty() {
                    return (text + "(end)", self.wakes());
                }
                text.push_str(std::str::from_utf8(buf.filled()).unwrap());
            }
        }

        fn check(&mut self, text: &str, wakes: usize) {
            assert_eq!(self.look(), (text.to_owned(), wakes));
        }
    }

    #[tokio::test]
    async fn heads_are_handed_one_by_one() {
        let mut fixture = Fixture::new().await;
        fixture.send("a\r\n\r\nb\r\n\r\nc\r\n").await;
        fixture.check("a\r\n\r\n", 1);
        assert_eq!(fixture.connection.exchange.head_complete(), 5);
        fixture.check("b\r\n\r\n", 1);
        assert_eq!(fixture.connection.exchange.head_complete(), 5);
        fixture.check("c\r\n", 0);
        fixture.send("\r\nd").await;
        fixture.check("\r\n", 1);
        assert_eq!(fixture.connection.exchange.head_complete(), 5);
        fixture.check("d", 0);
    }

    #[tokio::test]
    async fn a_head_behind_a_body_waits_for_its_answer() {
        let mut fixture = Fixture::new().await;
        let exchange = Rc::clone(fixture.connection.exchange());
        fixture.send("a\r\nContent-Length: 8\r\n\r\nbo").await;
        fixture.check("a\r\nContent-Length: 8\r\n\r\nbo", 0);
        exchange.head_complete();
        let (running, before) = (exchange.run_with_body(Some(8)), exchange.last_read());
        fixture.send("d").await;
        fixture.check("d", 0);
        // An empty line is a part of the body.
        fixture.send("\r\n\r\nyb\r\n\r\nc").await;
        fixture.check("\r\n\r\ny", 0);
        drop(running);
        assert_eq!(fixture.wakes(), 1);
        fixture.check("b\r\n\r\n", 1);
        assert_eq!(exchange.head_complete(), 5);
        assert!(exchange.last_read() > before);
        // A chunked body ends with an empty line.
        fixture.check("c", 0);
        fixture.send("\r\n\r\n1\r\n").await;
        fixture.check("\r\n\r\n", 1);
        assert_eq!(exchange.head_complete(), 5);
        let running = exchange.run_with_body(None);
        fixture.send("x\r\n0\r\n\r\nd\r\n\r\n").await;
        fixture.check("1\r\nx\r\n0\r\n\r\n", 1);
        exchange.body_complete();
        fixture.check("", 0);
        drop(running);
        fixture.check("d\r\n\r\n", 0);
    }

    #[tokio::test]
    async fn a_body_is_handed_with_its_head() {
        let mut fixture = Fixture::new().await;
        let head = "a\r\nContent-Length: 6\r\n\r\n";
        fixture.send(&format!("{head}b\r\n\r\ncd\r\n\r\n")).await;
        fixture.check(&format!("{head}b\r\n\r\nc"), 1);
        assert_eq!(fixture.connection.exchange.head_complete(), head.len());
        fixture.check("d\r\n\r\n", 0);
        assert_eq!(fixture.connection.exchange.head_complete(), 5);
        fixture.send(&format!("{head}b")).await;
        fixture.check(&format!("{head}b"), 0);
        assert_eq!(fixture.connection.exchange.head_complete(), head.len());
        let running = fixture.connection.exchange.run_with_body(None);
        // What looks like a head in a body announces nothing.
        fixture.send(&format!("{head}d\r\n\r\ne\r\n\r\n")).await;
        fixture.check(head, 1);
        drop(running);
    }

    #[tokio::test]
    async fn a_request_that_arrived_before_the_stop_is_served() {
        let mut fixture = Fixture::new().await;
        fixture.send("a\r\n\r\n").await;
        fixture.terms.stop.raise();
        fixture.check("a\r\n\r\n", 0);
        let running = fixture.connection.exchange.run();
        fixture.connection.exchange.head_complete();
        fixture.check("", 0);
        drop(running);
        fixture.check("(end)", 0);
    }

    #[tokio::test]
    async fn nothing_is_handed_while_a_request_is_answered() {
        let mut fixture = Fixture::new().await;
        let running = fixture.connection.exchange.run_with_body(None);
        fixture.send("body").await;
        fixture.check("body", 0);
        fixture.connection.exchange.body_complete();
        fixture.send("a\r\n\r\n").await;
        fixture.check("", 0);
        drop(running);
        assert_eq!(fixture.wakes(), 1);
        fixture.check("a\r\n\r\n", 0);
        let running = fixture.connection.exchange.run();
        fixture.send("body").await;
        fixture.check("", 0);
        let next = fixture.connection.exchange.run_with_body(None);
        assert_eq!(fixture.wakes(), 1);
        fixture.check("body", 0);
        drop((running, next));
        // Nothing came meanwhile, so there is nothing to look at after the answer.
        let running = fixture.connection.exchange.run();
        fixture.check("", 0);
        drop(running);
        assert_eq!(fixture.wakes(), 0);
    }

    #[tokio::test]
    async fn nothing_is_handed_beside_an_answer_without_a_length() {
        let mut fixture = Fixture::new().await;
        fixture.send("a\r\n\r\nb").await;
        fixture.check("a\r\n\r\n", 1);
        let exchange = Rc::clone(fixture.connection.exchange());
        exchange.head_complete();
        let stream = exchange.open_stream();
        fixture.check("", 0);
        fixture.send("\r\n\r\nc\r\n\r\n").await;
        fixture.check("", 0);
        assert!(exchange.since.get().is_none(), "no head is waited for");
        drop(stream);
        assert_eq!(fixture.wakes(), 1);
        fixture.check("b\r\n\r\n", 1);
        assert_eq!(exchange.head_complete(), 5);
        fixture.check("c\r\n\r\n", 0);
        exchange.head_complete();
        // Little is kept of what comes beside it.
        let _stream = exchange.open_stream();
        fixture.client.write_all(&[b'x'; 64 << 10]).await.unwrap();
        fixture.connection.tcp().readable().await.unwrap();
        fixture.check("", 0);
        fixture.check("", 0);
        let kept = fixture.connection.ahead.len();
        assert!((1..2 * MOST_BESIDE_STREAM).contains(&kept), "{kept}");
    }

    #[tokio::test]
    async fn an_answer_without_a_length_ends_with_its_client() {
        let mut fixture = Fixture::new().await;
        let _stream = Rc::clone(fixture.connection.exchange()).open_stream();
        fixture.send("a\r\n\r\n").await;
        fixture.check("", 0);
        drop(fixture.client);
        let mut bytes = [0; 16];
        let read =
            poll_fn(|cx| Pin::new(&mut fixture.connection).poll_read(cx, &mut ReadBuf::new(&mut bytes)));
        assert_eq!(read.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn nothing_is_handed_while_the_client_takes_no_answers() {
        let mut fixture = Fixture::new().await;
        let waker = Arc::clone(&fixture.wakes).into();
        let answer = [b'x'; 64 << 10];
        let mut sent = 0;
        while let Poll::Ready(written) =
            Pin::new(&mut fixture.connection).poll_write(&mut Context::from_waker(&waker), &answer)
        {
            sent += written.unwrap();
        }
        let exchange = Rc::clone(fixture.connection.exchange());
        assert!(exchange.poll_written(&Context::from_waker(&waker)).is_pending());
        fixture.send("a\r\n\r\n").await;
        fixture.check("", 0);
        let mut taken = vec![0; sent];
        fixture.client.read_exact(&mut taken).await.unwrap();
        poll_fn(|cx| Pin::new(&mut fixture.connection).poll_write(cx, b"x")).await.unwrap();
        assert!(fixture.wakes() > 0);
        assert!(exchange.poll_written(&Context::from_waker(&waker)).is_ready());
        fixture.check("a\r\n\r\n", 0);
    }
}
