//! A daemon that is reached over HTTP/1.1 or over HTTP/2, so that an attack runs over both.

use std::net::SocketAddr;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connections::{certified_name, client_config, with_tls};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::GENEROUS;
use crate::support::http::{Request, Response};

/// The protocol between a client and the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1 without TLS.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
}

/// A daemon, and the protocol to reach it.
pub struct Reached {
    pub daemon: Daemon,
    wire: Wire,
    _key: Option<TempDir>,
}

impl Reached {
    pub fn start(wire: Wire, settings: Settings) -> Self {
        match wire {
            Wire::Http1 => Self { daemon: Daemon::start(settings).unwrap(), wire, _key: None },
            Wire::Http2 => {
                let (daemon, key) = with_tls(settings);
                Self { daemon, wire, _key: Some(key) }
            }
        }
    }

    /// The origin of pages that the daemon would serve.
    pub fn origin(&self) -> String {
        let scheme = if self.wire == Wire::Http1 { "http" } else { "https" };
        format!("{scheme}://{}", self.daemon.address())
    }

    /// Sends a request on a connection of its own. Over HTTP/2 the headers that belong to a connection of HTTP/1.1 are left out.
    pub fn send(&self, request: &Request) -> Response {
        match self.wire {
            Wire::Http1 => self.daemon.client().send(request).unwrap(),
            Wire::Http2 => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let exchange = over_http2(self.daemon.address(), request);
                runtime.block_on(async { timeout(GENEROUS, exchange).await.expect("an answer in time") })
            }
        }
    }
}

async fn over_http2(address: SocketAddr, request: &Request) -> Response {
    let tcp = TcpStream::connect(address).await.unwrap();
    let tls = TlsConnector::from(client_config("h2")).connect(certified_name(), tcp).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    let target = format!("https://{address}{}", request.target);
    let mut head = http::Request::builder().method(request.method.as_str()).uri(target);
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        if !matches!(name.as_str(), "host" | "connection" | "content-length" | "upgrade") {
            head = head.header(name, value);
        }
    }
    let body = request.body.clone().unwrap_or_default();
    let (answer, mut stream) = client.send_request(head.body(()).unwrap(), body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::from(body), true).unwrap();
    }
    let (head, mut incoming) = answer.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk.unwrap();
        incoming.flow_control().release_capacity(chunk.len()).unwrap();
        body.extend_from_slice(&chunk);
    }
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Response { status: head.status.as_u16(), headers, body }
}
