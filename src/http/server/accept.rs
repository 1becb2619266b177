//! From an accepted socket to a connection: the limit of connections, TLS, and what a client on the wrong port is told.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::{Connection, IoLimits, RESERVE_LIMIT, Transport};
use super::gauge::{Entry, Gauge, OVERLOADED};
use crate::http::signal::Signal;
use crate::metrics;

/// For a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// For telling a client why it is not served.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

const PLAIN_ON_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Accepts the connections of one worker.
pub(super) struct Acceptor {
    pub(super) limits: IoLimits,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) connections: Arc<Gauge>,
    pub(super) stop: Arc<Signal>,
}

impl Acceptor {
    pub(super) async fn accept(
        self: Rc<Self>,
        mut tcp: TcpStream,
    ) -> Result<(Connection, Protocol, Option<SocketAddr>), DispatchError> {
        // Answers go out in parts; without this a client's delayed ACK holds back the last one for 40 ms.
        tcp.set_nodelay(true)?;
        let (entry, handshake_limit) = match self.connections.enter() {
            entry @ Entry::Place(_) => (entry, HANDSHAKE_LIMIT),
            entry @ Entry::Reserve(_) => (entry, RESERVE_LIMIT),
            Entry::Told(slot) => {
                metrics::REFUSED_FOR_LOAD.add(1);
                if self.tls.is_none() {
                    refuse(&mut tcp, OVERLOADED).await;
                }
                drop(slot);
                return Err(too_many());
            }
            Entry::Full => {
                metrics::REFUSED_FOR_LOAD.add(1);
                return Err(too_many());
            }
        };
        let peer = tcp.peer_addr().ok();
        let Some(tls) = &self.tls else {
            let connection = self.connection(Transport::Plain(tcp), entry)?;
            return Ok((connection, Protocol::Http1, peer));
        };
        let handshake = async {
            let mut first = [0];
            if tcp.peek(&mut first).await? == 1 && first != [TLS_HANDSHAKE] && first[0].is_ascii_alphabetic()
            {
                refuse(&mut tcp, PLAIN_ON_TLS).await;
                return Err(io::Error::other("plain HTTP on a TLS port"));
            }
            TlsAcceptor::from(Arc::clone(tls)).accept(tcp).await
        };
        let stream = timeout(handshake_limit, handshake)
            .await
            .map_err(|_| refused("the TLS handshake took too long"))?
            .inspect_err(|error| log::debug!("TLS handshake with {peer:?}: {error}"))?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((self.connection(Transport::Tls(Box::new(stream)), entry)?, protocol, peer))
    }

    fn connection(&self, transport: Transport, entry: Entry) -> Result<Connection, DispatchError> {
        Connection::new(transport, self.limits, Arc::clone(&self.stop), entry).ok_or_else(too_many)
    }
}

fn too_many() -> DispatchError {
    refused("too many connections")
}

fn refused(why: &'static str) -> DispatchError {
    DispatchError::Io(io::Error::new(io::ErrorKind::ConnectionRefused, why))
}

/// Says why, as far as the client listens.
async fn refuse(tcp: &mut TcpStream, answer: &[u8]) {
    let said = async {
        tcp.write_all(answer).await?;
        tcp.shutdown().await?;
        // What the client has sent must be read, or its end of the connection is reset before it reads the answer.
        let mut rest = [0; 512];
        while tokio::io::AsyncReadExt::read(tcp, &mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whether the client listened makes no difference.
    let _ = timeout(REFUSAL_LIMIT, said).await;
}

/// The configuration with the protocols this server speaks, where it names none itself.
pub(super) fn with_protocols(config: &rustls::ServerConfig) -> Arc<rustls::ServerConfig> {
    let mut config = config.clone();
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Arc::new(config)
}
