//! From an accepted socket to a connection: the limit of connections, TLS, and the answer to plain HTTP on a TLS port.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::connection::{ClientConnection, RESERVE_LIMIT, Transport};
use super::gauge::{ConnectionClass, OVERLOADED};
use super::terms::ServerTerms;
use crate::metrics;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// For an answer to a connection that is not served.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

const PLAIN_ON_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
Connection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// The protocol that a connection has negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    Http1,
    Http2,
}

pub(super) async fn accept(
    terms: &ServerTerms,
    mut tcp: TcpStream,
) -> io::Result<(ClientConnection, HttpVersion)> {
    // The kernel would hold back the last part of an answer for 40 ms, until the client acknowledges the first part.
    tcp.set_nodelay(true)?;
    let (slot, class) = terms.connections.enter();
    let tls = terms.settings.tls.as_ref();
    if matches!(class, ConnectionClass::Told | ConnectionClass::Dropped) {
        metrics::REFUSED_FOR_LOAD.add(1);
        if class == ConnectionClass::Told && tls.is_none() {
            refuse(&mut tcp, OVERLOADED).await;
        }
        return Err(refused("too many connections"));
    }
    let is_reserve = class == ConnectionClass::Reserve;
    let (transport, version): (Transport, _) = match tls {
        None => (Either::Left(tcp), HttpVersion::Http1),
        Some(tls) => {
            let limit = if is_reserve { RESERVE_LIMIT } else { HANDSHAKE_LIMIT };
            let peer = tcp.peer_addr();
            let stream = timeout(limit, handshake(tcp, tls.current()))
                .await
                .map_err(|_| refused("the TLS handshake took too long"))?
                .inspect_err(|error| log::debug!("TLS handshake with {peer:?} failed: {error}"))?;
            let version = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => HttpVersion::Http2,
                _ => HttpVersion::Http1,
            };
            (Either::Right(Box::new(stream)), version)
        }
    };
    Ok((ClientConnection::new(transport, terms, slot, is_reserve), version))
}

async fn handshake(mut tcp: TcpStream, tls: Arc<rustls::ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 1 && first != [TLS_HANDSHAKE] && first[0].is_ascii_alphabetic() {
        refuse(&mut tcp, PLAIN_ON_TLS).await;
        return Err(io::Error::other("plain HTTP on a TLS port"));
    }
    TlsAcceptor::from(tls).accept(tcp).await
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, why)
}

/// Sends an answer before the connection is closed. Errors are ignored, because the connection is closed in any case.
async fn refuse(tcp: &mut TcpStream, answer: &[u8]) {
    let said = async {
        tcp.write_all(answer).await?;
        tcp.shutdown().await?;
        // Closing a socket with unread bytes resets it, and the client may then never read the answer.
        let mut rest = [0; 512];
        while tokio::io::AsyncReadExt::read(tcp, &mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(REFUSAL_LIMIT, said).await;
}
