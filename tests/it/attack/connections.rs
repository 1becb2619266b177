//! Connections that send and do not read, and HTTP/2 connections that keep streams open.

use std::fs;
use std::io::{ErrorKind, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tempfile::TempDir;

use super::comes_to_rest;
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::Registry;
use crate::support::store::on_etcd;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const EVENTS: &str = "GET /v4/default/admin/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n";
const VERSION: &str = "GET /version HTTP/1.1\r\nHost: h\r\n\r\n";

/// Answered requests that the CPU time of blocked connections is compared with.
const ANSWERED: usize = 10_000;
/// Requests that are sent before the first of their answers is read.
const TOGETHER: usize = 20;

/// Has the daemon answer [`ANSWERED`] requests; the CPU time it used meanwhile.
fn cost_of_answers(daemon: &mut Daemon) -> Duration {
    let mut connection = daemon.client().connect().unwrap();
    let before = daemon.process().cpu_time();
    for _ in 0..ANSWERED / TOGETHER {
        connection.send_bytes(VERSION.repeat(TOGETHER).as_bytes()).unwrap();
        for _ in 0..TOGETHER {
            assert_eq!(connection.read_response("GET").unwrap().status, 200);
        }
    }
    daemon.process().cpu_time() - before
}

/// At most so many bytes of requests are sent on a connection.
const MOST_SENT: usize = 4 << 20;

/// A connection on which a client sends the same request again and again, and reads no answer.
struct Unread<S> {
    stream: S,
    requests: Vec<u8>,
    sent: usize,
}

impl<S: Write> Unread<S> {
    /// The stream must not block.
    fn new(stream: S, request: &[u8]) -> Self {
        Self { stream, requests: request.repeat((64 << 10) / request.len()), sent: 0 }
    }

    /// Sends until the other side takes nothing more, or the limit is reached; how many bytes were sent.
    fn send(&mut self) -> usize {
        let before = self.sent;
        while self.sent < MOST_SENT {
            match self.stream.write(&self.requests[self.sent % self.requests.len()..]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                count => self.sent += count.expect("the daemon keeps the connection"),
            }
        }
        self.sent - before
    }
}

/// Sends on all connections until the daemon takes nothing more from any of them although it is at rest.
fn stuff<S: Write>(daemon: &mut Daemon, connections: &mut [Unread<S>]) {
    let mut send = || connections.iter_mut().map(Unread::send).sum::<usize>();
    while send() > 0 {
        comes_to_rest(daemon);
    }
}

/// A client sends up to 4 MiB of requests on each connection and reads no answer. When the answers are held up, the connections
/// cost no CPU time, the daemon holds a buffer or two for each, and other clients are served.
#[test]
fn requests_whose_answers_nobody_reads_cost_nothing() {
    unread_answers(Settings::default());
}

#[test]
fn requests_whose_answers_nobody_reads_cost_nothing_on_etcd() {
    let etcd = Etcd::start();
    unread_answers(on_etcd(Settings::default(), &[etcd.address()]));
}

fn unread_answers(settings: Settings) {
    const CONNECTIONS_OF_A_KIND: usize = 4;
    /// A buffer for reads, a buffer for writes of up to 32 KiB, and the bytes behind the last head. Twice as much because of the
    /// allocator.
    const KILOBYTES_EACH: usize = 2 * (32 + 32 + 8);
    let mut daemon = Daemon::start(settings).unwrap();
    let alone = cost_of_answers(&mut daemon);
    let before = daemon.process().peak_memory();
    let registry = Registry::new(daemon.client(), "default");
    let watch = registry.watch_target(&registry.create_service("watcher", "1.0.0").unwrap());
    let upgrade = format!("GET {watch} HTTP/1.1\r\nHost: h\r\n{UPGRADE}\r\n");
    let kinds: [(&str, &[u8]); 8] = [
        ("", VERSION.as_bytes()),
        ("", b"GET /nope HTTP/1.0\nConnection: keep-alive\n\n"),
        ("", b"GET /v4/default/registry/health/readiness HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("", b"PUT /v4/default/registry/heartbeats HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"),
        ("", b"GET /v4/default/registry/microservices?noCache=1 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("GET /version HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", VERSION.as_bytes()),
        (&upgrade, b"\x89\x80\0\0\0\0"),
        (EVENTS, VERSION.as_bytes()),
    ];
    let mut kept = Vec::new();
    for (begin, request) in kinds {
        for _ in 0..CONNECTIONS_OF_A_KIND {
            let mut stream = TcpStream::connect(daemon.address()).unwrap();
            stream.write_all(begin.as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            kept.push(Unread::new(stream, request));
        }
    }
    stuff(&mut daemon, &mut kept);
    let count = kept.len();
    // Connections that wake themselves would use all the CPU time each time. On a busy machine the same work costs up to three times as
    // much as on a quiet one, and sometimes more.
    eventually(GENEROUS, || {
        let beside_them = cost_of_answers(&mut daemon);
        if beside_them < alone * 5 {
            Ok(())
        } else {
            Err(format!("{alone:?} alone, {beside_them:?} beside {count}"))
        }
    });
    let grown = daemon.process().peak_memory().saturating_sub(before);
    assert!(grown < count * KILOBYTES_EACH, "{grown} kB for {count} connections");
}

/// A request with a body, or of HTTP/1.0, opens no websocket, and its connection ends. Otherwise the daemon would read frames where a
/// proxy sees the body or the next request.
#[test]
fn no_websocket_begins_with_a_body() {
    websockets_with_bodies(Settings::default());
}

#[test]
fn no_websocket_begins_with_a_body_on_etcd() {
    let etcd = Etcd::start();
    websockets_with_bodies(on_etcd(Settings::default(), &[etcd.address()]));
}

fn websockets_with_bodies(settings: Settings) {
    let daemon = Daemon::start(settings).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let watch = registry.watch_target(&registry.create_service("watcher", "1.0.0").unwrap());
    let ask = |version: &str, headers: &str, behind: &str| {
        let mut connection = daemon.client().connect().unwrap();
        let request = format!("GET {watch} HTTP/{version}\r\nHost: h\r\n{UPGRADE}{headers}\r\n{behind}");
        connection.send_bytes(request.as_bytes()).unwrap();
        let status = connection.read_response("GET").unwrap().status;
        (status, status == 101 || connection.closes_within(GENEROUS))
    };
    assert_eq!(ask("1.1", "", ""), (101, true));
    assert_eq!(ask("1.1", "Content-Length: 0\r\n", ""), (101, true));
    for (version, headers, behind) in
        [("1.0", "", ""), ("1.1", "Content-Length: 37\r\n", VERSION), ("1.1", "Content-Length: 37\r\n", "")]
    {
        assert_eq!(ask(version, headers, behind), (400, true), "HTTP/{version} {headers}");
    }
    let chunked = ask("1.1", "Transfer-Encoding: chunked\r\nConnection: close\r\n", "0\r\n\r\n");
    assert_eq!(chunked, (400, true));
}

const CERTIFICATE: &[u8] = include_bytes!("../server/localhost.pem");
const KEY: &[u8] = include_bytes!("../server/localhost.key");

/// Starts a daemon that speaks TLS only; the daemon, and the folder with its key.
pub(super) fn with_tls(settings: Settings) -> (Daemon, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("server.cer", CERTIFICATE), ("trust.cer", CERTIFICATE), ("server_key.pem", KEY)]
    {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let settings = settings
        .yaml("ssl.enable", json!(true))
        .yaml("ssl.verifyClient", json!(0))
        .yaml("ssl.dir", json!(folder.path()));
    let daemon = Daemon::spawn(settings).unwrap();
    // The daemon opens the port when it serves.
    eventually(GENEROUS, || TcpStream::connect(daemon.address()));
    (daemon, folder)
}

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

/// The name in the certificate. The address is one of each test alone.
pub(super) fn certified_name() -> ServerName<'static> {
    ServerName::try_from("127.0.0.1").unwrap()
}

/// The TLS configuration of a client for one protocol.
pub(super) fn client_config(protocol: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    Arc::new(config)
}

/// A TLS connection with this protocol, after the handshake.
fn encrypted(address: SocketAddr, protocol: &str) -> Encrypted {
    let mut tls = ClientConnection::new(client_config(protocol), certified_name()).unwrap();
    tls.set_buffer_limit(None);
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(GENEROUS)).unwrap();
    tls.complete_io(&mut tcp).unwrap();
    assert_eq!(tls.alpn_protocol(), Some(protocol.as_bytes()));
    StreamOwned::new(tls, tcp)
}

/// Whether a request over HTTP/1.1 is answered.
fn serves(address: SocketAddr) -> bool {
    let mut connection = encrypted(address, "http/1.1");
    connection.write_all(b"GET /version HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    // The server may close the connection without the closing message of TLS.
    connection.read_to_string(&mut answer).ok();
    answer.starts_with("HTTP/1.1 200 OK\r\n")
}

/// The same over TLS. Requests that are decrypted already must not keep the daemon busy either.
#[test]
fn requests_over_tls_whose_answers_nobody_reads_cost_nothing() {
    unread_answers_over_tls(Settings::default());
}

#[test]
fn requests_over_tls_whose_answers_nobody_reads_cost_nothing_on_etcd() {
    let etcd = Etcd::start();
    unread_answers_over_tls(on_etcd(Settings::default(), &[etcd.address()]));
}

fn unread_answers_over_tls(settings: Settings) {
    const CONNECTIONS: usize = 8;
    /// The buffers of a plain connection, and 64 KiB of TLS in each direction. Twice as much because of the allocator.
    const KILOBYTES_EACH: usize = 2 * (32 + 32 + 8 + 64 + 64);
    let (mut daemon, _key) = with_tls(settings);
    assert!(serves(daemon.address()));
    let before = daemon.process().peak_memory();
    let mut kept: Vec<Unread<Encrypted>> = (0..CONNECTIONS)
        .map(|_| {
            let connection = encrypted(daemon.address(), "http/1.1");
            connection.sock.set_nonblocking(true).unwrap();
            Unread::new(connection, VERSION.as_bytes())
        })
        .collect();
    stuff(&mut daemon, &mut kept);
    let grown = daemon.process().peak_memory().saturating_sub(before);
    assert!(grown < CONNECTIONS * KILOBYTES_EACH, "{grown} kB for {CONNECTIONS} connections");
    assert!(serves(daemon.address()));
    drop(kept);
}

mod frames {
    //! Frames of HTTP/2 for a client that keeps no rule.

    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;

    pub const REFUSED_STREAM: u32 = 7;

    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// The beginning of a connection, with a window of 0 for each answer.
    pub fn preface() -> Vec<u8> {
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat()
    }

    /// The headers of a GET, in HPACK without compression.
    pub fn get(path: &str) -> Vec<u8> {
        [&[0x82, 0x87, 0x01, 1, b'h', 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat()
    }

    /// The headers of a POST, in HPACK without compression.
    pub fn post(path: &str) -> Vec<u8> {
        let mut headers = get(path);
        headers[0] = 0x83;
        headers
    }
}

/// The frames that a client of HTTP/2 sends again and again.
struct Flood {
    about: &'static str,
    /// The frames for one stream.
    each: fn(stream: u32) -> Vec<u8>,
    /// Whether the client reads.
    reads: bool,
}

/// The result of a flood.
#[derive(Default)]
struct FloodResult {
    /// Streams that the client has begun.
    sent: u32,
    refused: u32,
    /// The daemon ended the connection.
    ended: bool,
    /// Received bytes that are not a whole frame yet.
    received: Vec<u8>,
}

impl FloodResult {
    /// Reads the frames that have come.
    fn read(&mut self, connection: &mut Encrypted) {
        let mut bytes = [0; 16 << 10];
        loop {
            match connection.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.received.extend_from_slice(&bytes[..count]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.ended = true,
            }
            break;
        }
        while let Some((head, rest)) = self.received.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..length) else { break };
            match head[3] {
                frames::RESET if payload == frames::REFUSED_STREAM.to_be_bytes() => self.refused += 1,
                frames::GOAWAY => self.ended = true,
                _ => {}
            }
            self.received.drain(..9 + length);
        }
    }
}

/// Sends up to so many streams; the connection as it is then. A client that reads goes on until the daemon ends the connection. A client
/// that does not read stops when the daemon takes nothing more although it is at rest.
fn flood(daemon: &mut Daemon, flood: &Flood, most: u32) -> Encrypted {
    const TOGETHER: u32 = 50;
    let mut connection = encrypted(daemon.address(), "h2");
    connection.write_all(&frames::preface()).unwrap();
    connection.sock.set_nonblocking(true).unwrap();
    let mut outcome = FloodResult::default();
    while outcome.sent < most && !outcome.ended {
        let streams = outcome.sent..outcome.sent + TOGETHER;
        let bytes: Vec<u8> = streams.flat_map(|number| (flood.each)(2 * number + 1)).collect();
        connection.conn.writer().write_all(&bytes).unwrap();
        let flush = |connection: &mut Encrypted| match connection.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            flushed => Some(flushed),
        };
        let flushed = if flood.reads {
            eventually(GENEROUS, || {
                outcome.read(&mut connection);
                let flushed = flush(&mut connection);
                (flushed.is_some() || outcome.ended).then_some(flushed)
            })
        } else {
            flush(&mut connection).or_else(|| {
                comes_to_rest(daemon);
                flush(&mut connection)
            })
        };
        let Some(flushed) = flushed else { break };
        outcome.ended |= flushed.is_err();
        outcome.sent += TOGETHER;
    }
    if flood.reads {
        // The client may have sent everything before the daemon has read it.
        eventually(GENEROUS, || {
            connection.flush().ok();
            outcome.read(&mut connection);
            let FloodResult { sent, refused, .. } = outcome;
            let why = || format!("{}: no end after {sent} streams, {refused} of them refused", flood.about);
            if outcome.ended { Ok(()) } else { Err(why()) }
        });
    }
    connection
}

/// Clients open streams and read no answers, or do not end their requests. A connection may have 128 streams. If a client opens more, the
/// daemon ends the connection. The memory for it is bounded, and other clients are served.
#[test]
fn http_2_streams_that_are_kept_open_cost_little() {
    open_streams(Settings::default());
}

#[test]
fn http_2_streams_that_are_kept_open_cost_little_on_etcd() {
    let etcd = Etcd::start();
    open_streams(on_etcd(Settings::default(), &[etcd.address()]));
}

fn open_streams(settings: Settings) {
    use frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RESET, frame, get, post};
    const STREAMS: u32 = 20_000;
    /// 1 MiB of buffers for the connection, and 32 KiB for each of 128 streams: its head, its state, and the waiting part of its answer
    /// or body.
    const MOST_KILOBYTES: usize = 1024 + 128 * 32;
    let (mut daemon, _key) = with_tls(settings);
    assert!(serves(daemon.address()));
    let at_first = daemon.process().peak_memory();
    const HEALTH: &str = "/v4/default/registry/health";
    for attack in [
        Flood {
            about: "answers that may not be sent",
            each: |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(HEALTH)),
            reads: true,
        },
        Flood {
            about: "answers that may not be sent, and nothing is read",
            each: |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(HEALTH)),
            reads: false,
        },
        Flood {
            about: "bodies that never end",
            each: |stream| {
                let head = frame(HEADERS, END_HEADERS, stream, &post("/v4/default/registry/microservices"));
                [head, frame(DATA, 0, stream, &[b' '; 300])].concat()
            },
            reads: true,
        },
        Flood {
            about: "unknown paths",
            each: |stream| frame(HEADERS, END_HEADERS, stream, &get("/nope")),
            reads: true,
        },
        Flood {
            about: "requests that are given up at once",
            each: |stream| {
                let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(HEALTH));
                [head, frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
            },
            reads: true,
        },
        Flood {
            about: "pings whose answers nobody reads",
            each: |_| frame(PING, 0, 0, &[0; 8]).repeat(50),
            reads: false,
        },
        Flood {
            about: "a head without end",
            each: |stream| {
                if stream == 1 {
                    frame(HEADERS, 0, 1, &get(HEALTH))
                } else {
                    let header =
                        [&[0x00, 4, b'x', b'-', b'a', b'b', 0x7f, 0x81, 0x3e], [b'y'; 8064].as_slice()]
                            .concat();
                    frame(CONTINUATION, 0, 1, &header)
                }
            },
            reads: true,
        },
    ] {
        let before = daemon.process().resident_memory();
        let connection = flood(&mut daemon, &attack, STREAMS);
        comes_to_rest(&mut daemon);
        let grown = daemon.process().resident_memory().saturating_sub(before);
        let about = attack.about;
        assert!(grown < MOST_KILOBYTES, "{about}: {grown} kB more");
        assert!(serves(daemon.address()), "{about}");
        drop(connection);
    }
    let grown = daemon.process().peak_memory().saturating_sub(at_first);
    assert!(grown < MOST_KILOBYTES, "{grown} kB more at some time");
}
