//! Connections to etcd: TCP, TLS for `https` endpoints, and the gRPC channel. All time limits of connecting are here, so that a
//! failed connection is known as such: nothing was sent.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::Service;

use super::certificates::Certificates;
use super::failure::{alert_words, words};
use super::options::OptionsError;
use crate::config::{EtcdEndpoint, Scheme};
use crate::tls::files::Reload;

/// Pings on a connection with open streams. etcd ends a connection that pings more often than every 5 s, or without an open
/// stream. So pings are only the last resort: calls and renewals have their own time limits, and watches ask for progress.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// The receive windows of a stream and of a connection, bytes. With the default of 64 KiB a page of a listing needs many round
/// trips.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// If an address of a name has not connected after this long, the next address is tried concurrently (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// The most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Makes channels to one endpoint. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connector(Arc<ConnectorState>);

struct ConnectorState {
    endpoint: EtcdEndpoint,
    tls: Option<(Arc<Certificates>, ServerName<'static>)>,
    limit: Duration,
    /// Why the other side ended the last connection before it answered.
    refusal: Mutex<Option<String>>,
}

impl Connector {
    /// An `https` endpoint needs `certificates`. `server_name` is the name in etcd's certificate if it is not the endpoint's
    /// host.
    pub fn new(
        endpoint: EtcdEndpoint,
        certificates: Option<&Arc<Certificates>>,
        server_name: Option<&str>,
        limit: Duration,
    ) -> Result<Self, OptionsError> {
        let tls = match (endpoint.scheme, certificates) {
            (Scheme::Http, _) => None,
            (Scheme::Https, None) => {
                return Err(OptionsError(format!(
                    "{endpoint}: https needs certificates, but none are configured"
                )));
            }
            (Scheme::Https, Some(certificates)) => {
                let name = server_name.unwrap_or(&endpoint.host).to_owned();
                let name = ServerName::try_from(name.clone())
                    .map_err(|_| OptionsError(format!("{name:?} cannot be the name of a TLS server")))?;
                Some((Arc::clone(certificates), name))
            }
        };
        Ok(Self(Arc::new(ConnectorState { endpoint, tls, limit, refusal: Mutex::default() })))
    }

    pub fn endpoint(&self) -> &EtcdEndpoint {
        &self.0.endpoint
    }

    /// Why the connection was refused, if that is known, else `words`. In TLS 1.3 a client considers the handshake done before
    /// the server has seen its certificate. A refusal comes later, and the request learns only that the connection has ended.
    pub fn explained(&self, words: String) -> String {
        self.0.refusal.lock().clone().unwrap_or(words)
    }

    /// A channel with a connection of its own. It connects when it is first used, and again after the connection is lost. Must
    /// be called within the runtime that drives it.
    pub fn channel(&self) -> Result<Channel, OptionsError> {
        let ConnectorState { endpoint, .. } = &*self.0;
        let bad = |error: &dyn std::fmt::Display| OptionsError(format!("{endpoint}: {error}"));
        let origin: Uri = endpoint.to_string().parse().map_err(|error| bad(&error))?;
        // The connector does TLS itself, because tonic cannot leave the host name unchecked. So tonic sees a plain endpoint, and
        // `origin` puts the right scheme into the requests.
        let plain = EtcdEndpoint { scheme: Scheme::Http, ..endpoint.clone() };
        let channel = Endpoint::from_shared(plain.to_string())
            .map_err(|error| bad(&error))?
            .origin(origin)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(false);
        Ok(channel.connect_with_connector_lazy(self.clone()))
    }

    async fn connect(self) -> io::Result<TokioIo<EtcdConnection>> {
        let ConnectorState { endpoint, tls, limit, .. } = &*self.0;
        let named = |error: io::Error| {
            // The refusal of an earlier connection does not explain this error.
            *self.0.refusal.lock() = None;
            io::Error::new(error.kind(), format!("connect {endpoint}: {}", words(&error)))
        };
        let tls = match tls {
            None => None,
            Some((certificates, name)) => {
                let certificates = Arc::clone(certificates);
                let looked = tokio::task::spawn_blocking(move || {
                    certificates.look();
                    certificates.current()
                });
                Some((TlsConnector::from(looked.await.map_err(io::Error::other)?), name))
            }
        };
        let tls = tls.as_ref();
        let attempt = |address: SocketAddr| async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            match tls {
                None => Ok(Box::new(tcp) as Box<dyn Duplex>),
                Some((tls, name)) => {
                    let connected = tls.connect((*name).clone(), tcp).await.map_err(ended_in_handshake)?;
                    Ok(Box::new(connected) as Box<dyn Duplex>)
                }
            }
        };
        let connected = async {
            let addresses = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await?;
            first_of(&alternating(addresses), *limit, attempt).await
        };
        match tokio::time::timeout(*limit, connected).await {
            Ok(Ok(stream)) => Ok(TokioIo::new(EtcdConnection {
                stream,
                connector: Arc::clone(&self.0),
                has_answered: false,
            })),
            Ok(Err(error)) => Err(named(error)),
            Err(_) => {
                let waited = format!("no connection within {limit:?}");
                Err(named(io::Error::new(io::ErrorKind::TimedOut, waited)))
            }
        }
    }
}

/// A server that does not speak TLS ends the connection in the handshake.
fn ended_in_handshake(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            let words = "it ended the connection in the TLS handshake, without a word (is https:// right?)";
            io::Error::new(error.kind(), words)
        }
        _ => error,
    }
}

/// The addresses of a name in the order they are tried: the system's order, but IPv4 and IPv6 in turn, because if one of them
/// does not work, all its addresses fail.
fn alternating(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.peekable();
    let is_v6 = addresses.peek().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv6() == is_v6);
    let mut second = second.into_iter();
    let mut order: Vec<SocketAddr> =
        first.into_iter().flat_map(|address| [Some(address), second.next()]).flatten().collect();
    order.extend(second);
    order.truncate(MAX_ADDRESSES);
    order
}

/// The connection to the first address that answers. The next address is tried after a failure, or after a delay, because an
/// address that drops packets does not fail. All attempts begin within the limit.
async fn first_of<T, Fut: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    limit: Duration,
    attempt: impl Fn(SocketAddr) -> Fut,
) -> io::Result<T> {
    let share = u32::try_from(addresses.len()).map_or(Duration::ZERO, |count| limit / (count + 1));
    let stagger = NEXT_ADDRESS_AFTER.min(share);
    let mut waiting = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            let attempt = attempt(address);
            running.push(async move { (address, attempt.await) });
        }
        let ended = tokio::select! {
            ended = running.next() => ended,
            () = tokio::time::sleep(stagger), if waiting.len() > 0 => continue,
        };
        match ended {
            Some((_, Ok(connection))) => return Ok(connection),
            Some((address, Err(error))) => failures.push((address, error)),
            None => return Err(all_failed(failures)),
        }
    }
}

fn all_failed(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    match failures.len() {
        0 => io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        1 => failures.remove(0).1,
        _ => {
            let each: Vec<String> = failures
                .iter()
                .map(|(address, error)| format!("{}: {}", address.ip(), words(error)))
                .collect();
            let kind = failures.first().map_or(io::ErrorKind::Other, |(_, error)| error.kind());
            io::Error::new(kind, each.join("; "))
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that records why the other side ended it without an answer.
pub(super) struct EtcdConnection {
    stream: Box<dyn Duplex>,
    connector: Arc<ConnectorState>,
    has_answered: bool,
}

impl EtcdConnection {
    /// Call this when the connection has ended, with or without an error.
    fn has_ended(&mut self, error: Option<&io::Error>) {
        let words = match self.connector.tls {
            _ if self.has_answered => None,
            Some(_) => error.and_then(|error| alert_words(error)),
            None => {
                Some("it ended the connection without a word (if it speaks TLS, write https://)".to_owned())
            }
        };
        if let Some(words) = words {
            *self.connector.refusal.lock() = Some(format!("connect {}: {words}", self.connector.endpoint));
        }
    }

    /// The result of a write. An error of a write does not say why the connection has ended. The reason can be read, or is about
    /// to arrive, so this waits for it.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Poll::Ready(Err(error)) = &written else { return written };
        if self.has_answered || self.connector.tls.is_none() {
            self.has_ended(Some(error));
            return written;
        }
        let mut scratch = [0; 1];
        match Pin::new(&mut self.stream).poll_read(context, &mut ReadBuf::new(&mut scratch)) {
            Poll::Ready(Err(reason)) => self.has_ended(Some(&reason)),
            Poll::Ready(Ok(())) => {}
            Poll::Pending => return Poll::Pending,
        }
        written
    }
}

impl AsyncRead for EtcdConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match &read {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                if !std::mem::replace(&mut self.has_answered, true) {
                    *self.connector.refusal.lock() = None;
                }
            }
            Poll::Ready(Ok(())) => self.has_ended(None),
            Poll::Ready(Err(error)) => self.has_ended(Some(error)),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for EtcdConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<EtcdConnection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A limit that nothing comes near.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn both_kinds_of_addresses_take_turns() {
        let check = |given: &[&str], expected: &[&str]| {
            assert_eq!(alternating(addresses(given).into_iter()), addresses(expected));
        };
        check(
            &["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"],
            &["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"],
        );
        check(&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"], &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]);
        check(&["1.1.1.1:1", "[::1]:1", "[::2]:1"], &["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
        check(&[], &[]);
        let many = (1..=200).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(alternating(many).len(), MAX_ADDRESSES);
    }

    /// An address that neither accepts nor refuses connections: its queue is full, so the system drops all packets. The second
    /// value keeps it so.
    async fn black_hole() -> (SocketAddr, impl Sized) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let queued = std::net::TcpStream::connect(address).unwrap();
        (address, (listener, queued))
    }

    #[tokio::test]
    async fn an_address_that_drops_packets_does_not_hide_the_next() {
        let (silent, _kept) = black_hole().await;
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // Refuses connections, because it does not listen. It keeps the port from other tests.
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let refused = bound.local_addr().unwrap();
        let (answered, begun) = (good.local_addr().unwrap(), Mutex::new(Vec::new()));
        let attempt = |address| {
            begun.lock().push(address);
            TcpStream::connect(address)
        };
        let all = [silent, refused, answered];
        let connected = first_of(&all, PATIENCE, attempt).await.unwrap();
        assert_eq!(connected.peer_addr().unwrap(), answered);
        assert_eq!(*begun.lock(), all);
    }

    #[tokio::test]
    async fn one_that_answers_is_the_only_one_tried() {
        let good = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let all = [good.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap()];
        let begun = Mutex::new(0);
        let attempt = |address| {
            *begun.lock() += 1;
            std::future::ready(Ok::<SocketAddr, io::Error>(address))
        };
        assert_eq!(first_of(&all, PATIENCE, attempt).await.unwrap(), all[0]);
        assert_eq!(*begun.lock(), 1);
    }

    #[tokio::test]
    async fn if_all_fail_each_is_named() {
        let attempt = |address: SocketAddr| {
            std::future::ready(Err::<(), _>(io::Error::other(format!("port {} is closed", address.port()))))
        };
        let error =
            first_of(&addresses(&["127.0.0.1:1", "127.0.0.2:2"]), PATIENCE, attempt).await.unwrap_err();
        assert_eq!(error.to_string(), "127.0.0.1: port 1 is closed; 127.0.0.2: port 2 is closed");
        let error = first_of(&addresses(&["127.0.0.1:7"]), PATIENCE, attempt).await.unwrap_err();
        assert_eq!(error.to_string(), "port 7 is closed");
        assert_eq!(first_of(&[], PATIENCE, attempt).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
