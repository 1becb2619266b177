//! Connections that send without reading, and HTTP/2 connections that keep streams open.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually, try_eventually};
use crate::support::registry::Registry;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "GET /version HTTP/1.1\r\nHost: h\r\n\r\n";

/// Answered requests that the CPU time of blocked connections is compared with.
const ANSWERED: usize = 20_000;
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

/// Waits until the daemon does nothing any more: in a row of looks it has used next to no CPU time.
fn comes_to_rest(daemon: &mut Daemon) {
    const LOOKS: usize = 25;
    const NEXT_TO_NONE: Duration = Duration::from_millis(10);
    let (mut looks, mut since) = (0, daemon.process().cpu_time());
    eventually(GENEROUS, || {
        let used = daemon.process().cpu_time();
        (looks, since) = if used - since > NEXT_TO_NONE { (0, used) } else { (looks + 1, since) };
        if looks == LOOKS { Ok(()) } else { Err(format!("the daemon works on: {used:?} of CPU time so far")) }
    });
}

/// A connection on which `request` is sent again and again until nobody takes any more of it, or the limit is reached.
fn stuffed(address: SocketAddr, begin: &str, request: &[u8]) -> TcpStream {
    const MOST: usize = 4 << 20;
    const UNTAKEN: Duration = Duration::from_millis(200);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(begin.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let bytes = request.repeat((64 << 10) / request.len());
    let mut sent = 0;
    while sent < MOST {
        let rest = &bytes[sent % bytes.len()..];
        let taken = try_eventually(UNTAKEN, || match stream.write(rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            outcome => Some(outcome),
        });
        match taken {
            Ok(count) => sent += count.expect("the daemon keeps the connection"),
            Err(_) => break,
        }
    }
    stream
}

/// 1 MiB and more of requests on each connection, and not one answer is read. Once the answers are held up, the connections
/// cost no CPU time, and the daemon holds a buffer or two for each. Others are served.
#[test]
fn requests_whose_answers_nobody_reads_cost_nothing() {
    const CONNECTIONS_OF_A_KIND: usize = 8;
    /// A buffer for reading, one for writing that grows to 32 KiB, and what was read behind the last head, with as much again
    /// for the allocator.
    const KILOBYTES_EACH: usize = 2 * (32 + 32 + 8);
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let alone = cost_of_answers(&mut daemon);
    let before = daemon.process().peak_memory();
    let registry = Registry::new(daemon.client(), "default");
    let watch = registry.watch_target(&registry.create_service("watcher", "1.0.0").unwrap());
    let upgrade = format!("GET {watch} HTTP/1.1\r\nHost: h\r\n{UPGRADE}\r\n");
    let kinds: [(&str, &[u8]); 7] = [
        ("", VERSION.as_bytes()),
        ("", b"GET /nope HTTP/1.0\nConnection: keep-alive\n\n"),
        ("", b"GET /v4/default/registry/health/readiness HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("", b"PUT /v4/default/registry/heartbeats HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"),
        ("", b"GET /v4/default/registry/microservices?noCache=1 HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("GET /version HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", VERSION.as_bytes()),
        (&upgrade, b"\x89\x80\0\0\0\0"),
    ];
    let mut kept = Vec::new();
    for (begin, request) in kinds {
        for _ in 0..CONNECTIONS_OF_A_KIND {
            kept.push(stuffed(daemon.address(), begin, request));
        }
    }
    comes_to_rest(&mut daemon);
    let beside_them = cost_of_answers(&mut daemon);
    let grown = daemon.process().peak_memory().saturating_sub(before);
    let count = kept.len();
    assert!(beside_them < alone * 2, "{alone:?} alone, {beside_them:?} beside {count} blocked connections");
    assert!(grown < count * KILOBYTES_EACH, "{grown} kB for {count} connections");
}

/// What a proxy takes for a request with a body, or for one of HTTP/1.0, opens no websocket: else what it took for the body, or
/// for the next request, would be frames. The connection ends.
#[test]
fn no_websocket_begins_with_a_body() {
    let daemon = Daemon::start(Settings::default()).unwrap();
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
