//! A client's connection, plain or TLS, with the limits the HTTP/1.1 library does not keep itself.
//!
//! How long a request's head may take, how long an idle connection is kept, a limit for a client that does not take its
//! answer, the end of idle connections when the server stops, and the count of open connections. The library counts some of
//! these, too, but to half a second, for the first request only, or anew whenever something wakes it. This layer knows
//! when a request begins and ends, because the dispatcher tells it, and nothing else about requests. A connection that leaves HTTP/1.1 keeps the limit for writing and nothing else.
//!
//! The library reads although it cannot use the bytes yet, and decodes every request in its buffer before it answers the first
//! one. While the buffer is full, the library wakes itself without end (`docs/upstream.md`). So this layer gives it one head at a
//! time, and nothing while a request is being answered or a write is blocked.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::gauge::{Entry, OVERLOADED, Slot};
use super::head_end::HeadEnd;
use crate::http::signal::Signal;
use crate::http::ws::SessionIo;
use crate::metrics;

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoLimits {
    /// For a request's head, from its first byte; for the first one's from the connection's begin.
    pub(crate) head: Duration,
    /// For a connection without a request, from the last byte of the last answer.
    pub(crate) idle: Duration,
    /// For a client that takes none of what it is sent.
    pub(crate) write_stall: Duration,
}

/// For the request of a connection from the reserve, and for its answer.
pub(crate) const RESERVE_LIMIT: Duration = Duration::from_secs(2);

/// What connection and dispatcher tell each other.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Requests being answered.
    running: Cell<usize>,
    /// Bytes read since the last request began, while none was running.
    unclaimed: Cell<usize>,
    /// When the first of them came, or the connection did.
    since: Cell<Option<Instant>>,
    /// When the client took a part of an answer last, or one became ready to be taken.
    answered: Cell<Option<Instant>>,
    /// The client has been told that its connection ends.
    is_ending: Cell<bool>,
    /// It has no place of its own: its first answer is its last.
    is_reserve: bool,
    /// The request being answered still reads its body.
    reads_body: Cell<bool>,
    /// The connection's task, while this layer gives it nothing to read.
    withheld: RefCell<Option<Waker>>,
}

impl Exchange {
    /// A request begins: its head is complete. Returns the size of the head in bytes.
    pub(crate) fn head_complete(&self) -> usize {
        self.since.set(None);
        self.unclaimed.take()
    }

    /// A request is being answered until the guard is dropped.
    pub(crate) fn run(self: &Rc<Self>) -> Running {
        self.running.set(self.running.get() + 1);
        Running(Rc::clone(self))
    }

    /// As [`run`](Self::run), for a request that has a body.
    pub(crate) fn run_with_body(self: &Rc<Self>) -> Running {
        self.reads_body.set(true);
        self.resume();
        self.run()
    }

    /// The request being answered reads no more of its body.
    pub(crate) fn body_complete(&self) {
        self.reads_body.set(false);
    }

    /// Whether the library cannot use the next bytes yet.
    fn is_busy(&self) -> bool {
        self.running.get() > 0 && !self.reads_body.get()
    }

    /// Lets the library read again. If a part of the next head was read before, its time begins anew: the client may have sent the
    /// rest meanwhile.
    fn resume(&self) {
        if let Some(waker) = self.withheld.borrow_mut().take() {
            if self.since.get().is_some() {
                self.since.set(Some(Instant::now()));
            }
            waker.wake();
        }
    }

    /// What a further request may ask for.
    pub(crate) fn standing(&self) -> Standing {
        if self.is_reserve { Standing::Reserve } else { Standing::Place }
    }

    /// The answer under way is the connection's last: it says `Connection: close`.
    pub(crate) fn end(&self) {
        self.is_ending.set(true);
    }

    fn received(&self, bytes: usize) {
        // No head follows the last answer.
        if self.running.get() == 0 && !self.is_ending.get() {
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

/// How a request's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has a place of its own.
    Place,
    /// It is one of the reserve: only the server's health may be asked for, and the answer is the last.
    Reserve,
}

/// A request being answered.
#[derive(Debug)]
pub(crate) struct Running(Rc<Exchange>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get().saturating_sub(1));
        self.0.answered.set(Some(Instant::now()));
        self.0.body_complete();
        self.0.resume();
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

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
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
    head_end: HeadEnd,
    /// The library was given the end of a head, and has not decoded it yet.
    head_handed: bool,
    /// Bytes that were read together with that head and follow it.
    ahead: Bytes,
    /// `None` for a connection that left HTTP/1.1.
    stop: Option<Stop>,
    _slot: Slot,
}

/// The answer to a head that takes too long.
const HEAD_TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 19\r\n\
Connection: close\r\n\r\n408 Request Timeout";

/// What a client that sends nothing has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// The limit of a request's head.
    Head,
    /// The limit of an idle connection.
    Idle,
}

/// The server's stop, as one connection waits for it.
struct Stop {
    signal: Arc<Signal>,
    wait: LocalBoxFuture<'static, ()>,
    in_line: bool,
}

/// Bytes the kernel takes of what a websocket session sends (it allows itself twice as much).
const SESSION_SEND_BUFFER: usize = 128 << 10;

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        limits: IoLimits,
        stop: Arc<Signal>,
        entry: Entry,
    ) -> Option<Self> {
        let (slot, is_reserve) = match entry {
            Entry::Place(slot) => (slot, false),
            Entry::Reserve(slot) => (slot, true),
            Entry::Told(_) | Entry::Full => return None,
        };
        let exchange = Exchange { is_reserve, ..Exchange::default() };
        let mut limits = limits;
        if is_reserve {
            limits = IoLimits { head: RESERVE_LIMIT, idle: RESERVE_LIMIT, write_stall: RESERVE_LIMIT };
        }
        exchange.since.set(Some(Instant::now()));
        Some(Self {
            transport,
            exchange: Rc::new(exchange),
            limits,
            timer: None,
            write_blocked: None,
            head_end: HeadEnd::default(),
            head_handed: false,
            ahead: Bytes::new(),
            stop: Some(Stop { signal: Arc::clone(&stop), wait: Box::pin(stop.wait()), in_line: false }),
            _slot: slot,
        })
    }

    /// What the dispatcher shares with this connection.
    pub(crate) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// Leaves HTTP/1.1: from now on only writing is limited, and the server's stop does not end the connection any more. Returns
    /// the limits of the connection.
    pub(crate) fn leave_http1(&mut self) -> IoLimits {
        self.stop = None;
        self.timer = None;
        self.limits
    }

    /// Leaves HTTP/1.1 for a session. Returns the bytes that followed the last request.
    pub(crate) fn take_over(&mut self, write_stall: Duration) -> Bytes {
        // The kernel would take megabytes for a peer that does not read. What waits behind them is old by the time it is
        // read, and events that wait here become one. Without this the session works too.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(self.transport.tcp(), SESSION_SEND_BUFFER);
        self.leave_http1();
        self.limits.write_stall = write_stall;
        mem::take(&mut self.ahead)
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

    /// Whether nothing can be expected of a client that sends nothing now. Called when it does; however that turns out, the
    /// task is woken again in time to see the next limit, since nothing else may wake it.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Silence> {
        let IoLimits { head, idle, .. } = self.limits;
        if let Some(since) = self.exchange.since.get() {
            // These bytes may be a whole request, which the library has not looked at yet: then this is the last look
            // before the connection is idle.
            let early = self.poll_deadline(cx, since + head.min(idle));
            return match early {
                Poll::Ready(()) => self.poll_deadline(cx, since + head).map(|()| Silence::Head),
                Poll::Pending => Poll::Pending,
            };
        }
        let is_idle = self.exchange.is_idle() && self.write_blocked.is_none();
        match self.exchange.answered.get() {
            Some(answered) if is_idle => self.poll_deadline(cx, answered + idle).map(|()| Silence::Idle),
            _ => {
                let look = Instant::now() + idle;
                // Just armed, so it is in the future.
                let _ = self.poll_deadline(cx, look);
                Poll::Pending
            }
        }
    }

    /// Whether the library gets nothing to read now. Its task is woken when that changes.
    fn withholds(&mut self, cx: &mut Context<'_>) -> bool {
        if self.exchange.is_busy() || self.write_blocked.is_some() {
            self.exchange.withheld.replace(Some(cx.waker().clone()));
            return true;
        }
        false
    }

    /// Whether there may be more to read. If not, the task is woken when there is.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> bool {
        match &self.transport {
            _ if !self.ahead.is_empty() => true,
            Transport::Plain(tcp) => tcp.poll_read_ready(cx).is_ready(),
            // The TLS stream does not say whether it holds decrypted bytes.
            Transport::Tls(_) => true,
        }
    }

    /// Reads, up to the end of a head.
    fn poll_hand(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let before = buf.filled().len();
            ready!(self.transport.poll_read(cx, buf))?;
            let (earlier, came) = buf.filled().split_at(before);
            if let Some(length) = self.head_end.find(came) {
                self.head_handed = true;
                self.ahead = Bytes::copy_from_slice(&came[length..]);
                let filled = earlier.len() + length;
                buf.set_filled(filled);
            }
        } else {
            let most = self.ahead.len().min(buf.remaining());
            let head = self.head_end.find(&self.ahead[..most]);
            self.head_handed = head.is_some();
            buf.put_slice(&self.ahead.split_to(head.unwrap_or(most)));
        }
        Poll::Ready(Ok(()))
    }

    /// Judges the outcome of a write or flush.
    fn judge_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.write_blocked.take().is_some() {
                self.exchange.resume();
            }
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

impl SessionIo for Connection {
    fn peer(&self) -> Option<SocketAddr> {
        self.transport.tcp().peer_addr().ok()
    }

    fn reset_on_drop(&self) {
        // If the socket is broken already, there is nothing to throw away.
        let _ = self.transport.tcp().set_zero_linger();
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stop.is_none() {
            return this.transport.poll_read(cx, buf);
        }
        let before = buf.filled().len();
        let outcome = if this.withholds(cx) {
            return Poll::Pending;
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
            let read = buf.filled().len() - before;
            if read > 0 {
                this.exchange.received(read);
            }
            return outcome;
        }
        // A request that has come before the stop is served; only then is an idle connection at its end.
        if this.poll_stop(cx) {
            return Poll::Ready(Ok(()));
        }
        match this.poll_silence(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Silence::Idle) => Poll::Ready(Ok(())),
            Poll::Ready(Silence::Head) => {
                if this.write_blocked.is_none() {
                    let words = if this.exchange.is_reserve {
                        metrics::REFUSED_FOR_LOAD.add(1);
                        OVERLOADED
                    } else {
                        HEAD_TOO_SLOW
                    };
                    // As far as the client listens: nothing is waited for.
                    let _ = this.transport.poll_write(cx, words);
                    let _ = this.transport.poll_flush(cx);
                }
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request's head took too long")))
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = this.transport.poll_write(cx, buf);
        if outcome.is_ready() {
            this.exchange.answered.set(Some(Instant::now()));
        }
        this.judge_write(cx, outcome)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = this.transport.poll_flush(cx);
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::http::server::gauge::Gauge;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Fixture {
        connection: Connection,
        client: TcpStream,
        wakes: Arc<Wakes>,
    }

    impl Fixture {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let transport = Transport::Plain(listener.accept().await.unwrap().0);
            let hour = Duration::from_secs(3600);
            let limits = IoLimits { head: hour, idle: hour, write_stall: hour };
            let entry = Gauge::new(1).enter();
            let connection = Connection::new(transport, limits, Arc::default(), entry).unwrap();
            Self { connection, client, wakes: Arc::default() }
        }

        /// Sends bytes from the client and waits until the connection can read them.
        async fn send(&mut self, text: &str) {
            self.client.write_all(text.as_bytes()).await.unwrap();
            self.connection.transport.tcp().readable().await.unwrap();
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
    async fn nothing_is_handed_while_a_request_is_answered() {
        let mut fixture = Fixture::new().await;
        let running = fixture.connection.exchange.run_with_body();
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
        let next = fixture.connection.exchange.run_with_body();
        assert_eq!(fixture.wakes(), 1);
        fixture.check("body", 0);
        drop((running, next));
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
        fixture.send("a\r\n\r\n").await;
        fixture.check("", 0);
        let mut taken = vec![0; sent];
        fixture.client.read_exact(&mut taken).await.unwrap();
        poll_fn(|cx| Pin::new(&mut fixture.connection).poll_write(cx, b"x")).await.unwrap();
        assert!(fixture.wakes() > 0);
        fixture.check("a\r\n\r\n", 0);
    }
}
