//! Websocket sessions, frame by frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use service_center::actors::hub::outbox::{End, EventFrame, Outbox};
use service_center::cache::Action;
use service_center::domain::event::InstanceRef;
use service_center::domain::{InstanceId, ServiceId, Tenant};
use service_center::http::server::Settings;
use service_center::http::ws::SessionLimits;

use super::client::Client;
use super::still_time::MOMENT;
use super::table::{Fixture, eventually, serve, serve_in_still_time, settings};
use crate::support::eventually::GENEROUS;

const HANDSHAKE: &str = "Host: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A client's frame, masked.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut out = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap()];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Client {
    /// Opens a websocket.
    async fn open(fixture: &Fixture, path: &str) -> Self {
        let mut client = Self::connect(fixture.server.addresses()[0]).await;
        client.send(format!("GET {path} HTTP/1.1\r\n{HANDSHAKE}\r\n")).await;
        let head = client.until(b"\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        client
    }

    /// The next frame: opcode and payload. It must be whole and unmasked.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.exactly(2).await;
        assert_eq!(head[0] & 0xf0, 0x80, "an unfragmented frame");
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.exactly(2).await.try_into().unwrap())),
            127 => usize::try_from(u64::from_be_bytes(self.exactly(8).await.try_into().unwrap())).unwrap(),
            length => usize::from(length),
        };
        (head[0] & 0x0f, self.exactly(length).await)
    }

    /// The next frame that is not a ping.
    async fn said(&mut self) -> (u8, String) {
        loop {
            let (opcode, payload) = self.frame().await;
            if opcode != PING {
                return (opcode, String::from_utf8_lossy(&payload).into_owned());
            }
        }
    }

    /// The code and reason of the close frame that comes next. The connection ends after it.
    async fn closed(&mut self) -> (u16, String) {
        let (opcode, payload) = self.frame().await;
        assert_eq!(opcode, CLOSE);
        assert!(self.rest().await.is_empty(), "nothing follows a close frame");
        (u16::from_be_bytes([payload[0], payload[1]]), String::from_utf8(payload[2..].to_vec()).unwrap())
    }
}

fn instance(id: &str) -> Arc<InstanceRef> {
    Arc::new(InstanceRef {
        tenant: Tenant::default_tenant(),
        service: ServiceId::from("s"),
        instance: InstanceId::from(id),
    })
}

fn push(outbox: &Outbox, id: &str, document: &str) {
    outbox.push(&instance(id), &Arc::new(EventFrame::new(Action::Create, b"{}", document.as_bytes())));
}

/// A watch session: its client, and the outbox that the hub would have.
async fn watch(fixture: &Fixture) -> (Client, Outbox) {
    let client = Client::open(fixture, "/watch").await;
    let outbox = fixture.state.outboxes.lock().unwrap().last().unwrap().clone();
    (client, outbox)
}

async fn watching() -> (Fixture, Client, Outbox) {
    let fixture = serve(settings()).await;
    let (client, outbox) = watch(&fixture).await;
    (fixture, client, outbox)
}

fn with(limits: SessionLimits) -> Settings {
    Settings { websocket: limits, ..settings() }
}

#[actix_web::test]
async fn the_handshake_has_no_more_than_it_needs() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let further = "Sec-WebSocket-Protocol: a\r\nX-Request-Id: a-1\r\n";
    client.send(format!("GET /watch HTTP/1.1\r\n{HANDSHAKE}{further}\r\n")).await;
    assert_eq!(
        String::from_utf8(client.until(b"\r\n\r\n").await).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Request-Id: a-1\r\n\r\n"
    );
}

#[actix_web::test]
async fn anything_but_a_handshake_is_a_bad_request() {
    let fixture = serve(settings()).await;
    let whole = |without: &str| -> String {
        HANDSHAKE.split_inclusive("\r\n").filter(|line| !line.starts_with(without)).collect()
    };
    for headers in [
        "Host: h\r\n".to_owned(),
        format!("{HANDSHAKE}Content-Length: 7\r\n"),
        format!("{HANDSHAKE}Transfer-Encoding: chunked\r\n"),
        whole("Connection"),
        whole("Upgrade"),
        whole("Sec-WebSocket-Version"),
        whole("Sec-WebSocket-Key"),
        HANDSHAKE.replace("Version: 13", "Version: 8"),
        HANDSHAKE.replace("Key: dGhl", "Key: d"),
    ] {
        let mut client = Client::connect(fixture.server.addresses()[0]).await;
        client.send(format!("GET /watch HTTP/1.1\r\n{headers}\r\n0\r\n\r\n")).await;
        let answer = client.answer_to("GET").await;
        assert_eq!((answer.status, answer.text().as_str()), (400, "Bad Request\n"), "{headers}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("Sec-Websocket-Version"), Some("13"));
    }
    let mut older = Client::connect(fixture.server.addresses()[0]).await;
    older.send(format!("GET /watch HTTP/1.0\r\n{HANDSHAKE}\r\n")).await;
    assert_eq!(older.answer_to("GET").await.status, 400);
    assert!(fixture.state.outboxes.lock().unwrap().is_empty(), "no session was asked for");
    let mut empty = Client::connect(fixture.server.addresses()[0]).await;
    empty.send(format!("GET /watch HTTP/1.1\r\n{HANDSHAKE}Content-Length: 0\r\n\r\n")).await;
    assert!(empty.until(b"\r\n\r\n").await.starts_with(b"HTTP/1.1 101 "));
}

#[actix_web::test]
async fn a_handshake_elsewhere_is_an_ordinary_request() {
    let fixture = serve(settings()).await;
    let ask = async |line: &str| {
        let mut client = Client::connect(fixture.server.addresses()[0]).await;
        client.send(format!("{line} HTTP/1.1\r\n{HANDSHAKE}\r\n")).await;
        let answer = client.answer_to(line).await;
        assert_eq!(answer.header("Connection"), Some("close"));
        assert!(client.rest().await.is_empty());
        (answer.status, answer.text().to_owned())
    };
    assert_eq!(ask("GET /nope").await, (404, "404 page not found\n".to_owned()));
    assert_eq!(ask("POST /watch").await, (405, "Method Not Allowed\n".to_owned()));
    assert_eq!(ask("GET /empty").await, (200, String::new()));
    assert_eq!(ask("GET /watch-refused").await, (401, "who?".to_owned()));
    assert_eq!(ask("GET /bytes/100000").await.1.len(), 100_000);
    assert_eq!(ask("PUT /v4/default/registry/show/x").await.0, 400);
    assert_eq!(ask("CONNECT h:1").await.0, 404);
}

#[actix_web::test]
async fn events_arrive_as_whole_text_frames() {
    let (_fixture, mut client, outbox) = watching().await;
    push(&outbox, "a", "1");
    assert_eq!(client.frame().await, (TEXT, br#"{"action":"CREATE","key":{},"instance":1}"#.to_vec()));
    let long = format!("\"{}\"", "x".repeat(70_000));
    push(&outbox, "a", &long);
    push(&outbox, "b", "2");
    assert_eq!(client.frame().await.1.len(), 70_000 + 42);
    assert_eq!(client.said().await.1, r#"{"action":"CREATE","key":{},"instance":2}"#);
}

#[actix_web::test]
async fn an_unknown_service_is_reported_and_the_connection_ends_without_a_close() {
    let fixture = serve(settings()).await;
    let mut client = Client::open(&fixture, "/watch-unknown").await;
    assert_eq!(client.frame().await, (TEXT, b"service does not exist".to_vec()));
    assert!(client.rest().await.is_empty());
}

#[actix_web::test]
async fn a_ping_is_answered_with_its_payload_and_ours_go_on() {
    let limits = SessionLimits { ping_every: Duration::from_secs(1), ..SessionLimits::default() };
    let (fixture, time) = serve_in_still_time(with(limits)).await;
    let (mut client, _outbox) = watch(&fixture).await;
    for payload in ["", "abc", &"x".repeat(125)] {
        client.send(frame(PING, payload.as_bytes())).await;
        assert_eq!(client.said().await, (PONG, payload.to_owned()));
    }
    for _ in 0..3 {
        time.pass(limits.ping_every + MOMENT).await;
        assert_eq!(client.frame().await, (PING, Vec::new()));
    }
}

#[actix_web::test]
async fn frames_may_come_in_pieces_and_behind_the_handshake() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let mut bytes = format!("GET /watch HTTP/1.1\r\n{HANDSHAKE}\r\n").into_bytes();
    bytes.extend(frame(PING, b"early"));
    client.send(bytes).await;
    client.until(b"\r\n\r\n").await;
    assert_eq!(client.said().await, (PONG, "early".to_owned()));
    client.socket().set_nodelay(true).unwrap();
    for byte in frame(PING, b"bytewise") {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.said().await, (PONG, "bytewise".to_owned()));
}

#[actix_web::test]
async fn messages_of_a_client_are_dropped_up_to_64_bytes() {
    let (_fixture, mut client, _outbox) = watching().await;
    client.send(frame(TEXT, &[b'x'; 64])).await;
    client.send(frame(PING, b"still here")).await;
    assert_eq!(client.said().await, (PONG, "still here".to_owned()));
    client.send(frame(TEXT, &[b'x'; 65])).await;
    assert_eq!(client.closed().await, (1009, "message too big".to_owned()));
}

#[actix_web::test]
async fn a_broken_frame_is_a_protocol_error() {
    let (_fixture, mut client, _outbox) = watching().await;
    client.send([0x81, 1, b'x']).await;
    assert_eq!(client.closed().await, (1002, "unmasked frame".to_owned()));
}

#[actix_web::test]
async fn a_close_is_echoed() {
    for (payload, echo) in
        [(&b"\x03\xe8bye"[..], &b"\x03\xe8bye"[..]), (b"\x0f\xa0", b"\x0f\xa0"), (b"", b"")]
    {
        let (fixture, mut client, outbox) = watching().await;
        client.send(frame(CLOSE, payload)).await;
        assert_eq!(client.frame().await, (CLOSE, echo.to_vec()));
        assert!(client.rest().await.is_empty());
        drop(client);
        eventually("the session is gone", || outbox.is_closed() && fixture.server.connections() == 0).await;
        assert_eq!(fixture.state.unsubscribed.load(Ordering::SeqCst), 1);
    }
}

#[actix_web::test]
async fn a_client_that_vanishes_is_unsubscribed() {
    let (fixture, client, outbox) = watching().await;
    drop(client);
    eventually("the session is gone", || outbox.is_closed() && fixture.server.connections() == 0).await;
    assert_eq!(fixture.state.unsubscribed.load(Ordering::SeqCst), 1);
}

#[actix_web::test]
async fn only_a_silent_client_is_dropped() {
    let silence = Duration::from_secs(10);
    let limits = SessionLimits { ping_every: Duration::from_secs(1), silence, ..SessionLimits::default() };
    let (fixture, time) = serve_in_still_time(with(limits)).await;
    let (mut silent, gone) = watch(&fixture).await;
    let (mut lively, stays) = watch(&fixture).await;
    for seconds in 1..=20 {
        time.pass(limits.ping_every + MOMENT).await;
        assert_eq!(lively.frame().await, (PING, Vec::new()));
        lively.send(frame(PONG, b"")).await;
        assert!(seconds >= 10 || !gone.is_closed(), "dropped after {seconds} s");
    }
    eventually("the silent one is dropped", || gone.is_closed()).await;
    assert!(!stays.is_closed());
    // The server sent pings and no close frame. It reset the connection.
    let sent = silent.rest().await;
    assert!(sent.chunks(2).all(|frame| frame == [0x89, 0]), "{sent:?}");
}

#[actix_web::test]
async fn a_client_that_reads_nothing_is_reset() {
    let limits = SessionLimits { write_stall: Duration::from_secs(2), ..SessionLimits::default() };
    let (fixture, time) = serve_in_still_time(with(limits)).await;
    let (mut client, outbox) = watch(&fixture).await;
    let document = format!("\"{}\"", "x".repeat(1_000_000));
    for id in 0..30 {
        push(&outbox, &format!("i{id}"), &document);
    }
    let is_gone = || outbox.is_closed() && fixture.server.connections() == 0;
    time.pass_until(eventually("the session is gone", is_gone)).await;
    assert!(client.rest().await.len() < 30_000_000, "what it did not take was thrown away");
}

#[actix_web::test]
async fn a_slow_client_gets_the_latest_of_each_instance() {
    let (_fixture, mut client, outbox) = watching().await;
    let large = format!("\"{}\"", "x".repeat(9_000_000));
    push(&outbox, "large", &large);
    // The session is busy with the large frame. Events that come meanwhile are merged.
    eventually("the large frame was taken", || outbox.pending() == 0).await;
    for round in 0..1000 {
        for id in ["a", "b", "c"] {
            push(&outbox, id, &round.to_string());
        }
    }
    assert_eq!(client.frame().await.1.len(), 9_000_000 + 42);
    for _ in 0..3 {
        assert!(client.said().await.1.ends_with(r#""instance":999}"#));
    }
}

#[actix_web::test]
async fn the_hub_ends_sessions() {
    let (fixture, mut client, outbox) = watching().await;
    outbox.finish(End::Close { code: 4000, reason: "because".into() });
    assert_eq!(client.closed().await, (4000, "because".to_owned()));
    let mut client = Client::open(&fixture, "/watch").await;
    let outbox = fixture.state.outboxes.lock().unwrap().last().unwrap().clone();
    outbox.finish(End::Abort);
    assert!(client.rest().await.is_empty(), "no close frame");
}

#[actix_web::test]
async fn each_pong_of_a_heartbeat_is_asked_about() {
    let fixture = serve(settings()).await;
    let mut client = Client::open(&fixture, "/heartbeat/3").await;
    // Only a pong counts.
    client.send(frame(PING, b"")).await;
    client.send(frame(TEXT, b"x")).await;
    assert_eq!(client.said().await.0, PONG);
    for beat in 1..=3 {
        while client.frame().await.0 != PING {}
        client.send(frame(PONG, b"")).await;
        eventually("the pong counts", || fixture.state.pongs.load(Ordering::SeqCst) == beat).await;
    }
    assert_eq!(client.said().await, (CLOSE, format!("{}no such instance", "\u{f}\u{fffd}")));
}

#[actix_web::test]
async fn a_stop_closes_sessions_as_going_away() {
    let limits = SessionLimits { close_wait: GENEROUS * 2, ..SessionLimits::default() };
    let fixture = serve(with(limits)).await;
    let (mut client, outbox) = watch(&fixture).await;
    let (mut second, _) = watch(&fixture).await;
    let stop = actix_web::rt::spawn(fixture.server.stop(GENEROUS));
    assert_eq!(client.closed().await, (1001, "the registry node stops".to_owned()));
    assert_eq!(second.closed().await.0, 1001);
    // One client closes its side. The other one answers the close frame and waits. Both sessions are over.
    drop(client);
    second.send(frame(CLOSE, b"\x03\xe9")).await;
    assert_eq!(stop.await.unwrap(), 0);
    assert!(outbox.is_closed());
}

#[actix_web::test]
async fn sessions_can_be_ended_before_the_stop() {
    let (fixture, mut client, _outbox) = watching().await;
    fixture.server.end_sessions();
    assert_eq!(client.closed().await.0, 1001);
    // Requests are still served, and a new session ends at once.
    let mut http = Client::connect(fixture.server.addresses()[0]).await;
    assert_eq!(http.get("/empty").await.status, 200);
    assert_eq!(Client::open(&fixture, "/watch").await.closed().await.0, 1001);
}

#[actix_web::test]
async fn two_thousand_watchers_are_all_served() {
    const WATCHERS: usize = 2000;
    // The clients answer no ping.
    let limits = SessionLimits { silence: GENEROUS * 60, ..SessionLimits::default() };
    let fixture = serve(with(limits)).await;
    let mut clients = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        clients.push(Client::open(&fixture, "/watch").await);
    }
    let outboxes = fixture.state.outboxes.lock().unwrap().clone();
    let event = Arc::new(EventFrame::new(Action::Create, b"{}", b"1"));
    for outbox in &outboxes {
        outbox.push(&instance("a"), &event);
    }
    for client in &mut clients {
        assert_eq!(client.said().await.1, r#"{"action":"CREATE","key":{},"instance":1}"#);
    }
    assert_eq!(fixture.server.stop(GENEROUS).await, 0);
}
