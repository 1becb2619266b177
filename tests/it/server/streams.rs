//! Answers without a length, over HTTP/1.1 and HTTP/2: pieces come at once, and nothing but their end, the client or the stop of the
//! server ends them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use service_center::http::server::Settings;
use tokio::sync::mpsc::UnboundedSender;

use super::client::Client;
use super::table::{Fixture, eventually, serve, serve_in_still_time, settings};
use super::tls::{files, get, http_2, plain_server};
use crate::support::eventually::GENEROUS;

const REQUEST: &str = "GET /stream HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";

/// Opens a stream. Returns the head of the answer, and where its pieces come from.
async fn opened(fixture: &Fixture, client: &mut Client) -> (String, UnboundedSender<Bytes>) {
    client.send(REQUEST).await;
    let head = client.until(b"\r\n\r\n").await;
    (String::from_utf8(head).unwrap(), newest(fixture))
}

fn newest(fixture: &Fixture) -> UnboundedSender<Bytes> {
    fixture.state.pieces.lock().unwrap().last().unwrap().clone()
}

/// Sends more than the buffers of both kernels take.
fn send_too_much(pieces: &UnboundedSender<Bytes>) {
    let piece = Bytes::from(vec![b'x'; 100_000]);
    (0..1000).for_each(|_| pieces.send(piece.clone()).unwrap());
}

async fn client(fixture: &Fixture) -> Client {
    Client::connect(fixture.server.addresses()[0]).await
}

#[actix_web::test]
async fn pieces_come_at_once_and_the_connection_goes_on_after_the_end() {
    let fixture = serve(settings()).await;
    let mut client = client(&fixture).await;
    let (head, pieces) = opened(&fixture, &mut client).await;
    for line in [
        "HTTP/1.1 200 OK",
        "Content-Type: text/event-stream",
        "Transfer-Encoding: chunked",
        "Cache-Control: no-store",
        "X-Accel-Buffering: no",
    ] {
        assert!(
            head.to_ascii_lowercase().contains(&format!("{}\r\n", line.to_ascii_lowercase())),
            "{line}: {head}"
        );
    }
    assert!(!head.contains("ontent-Encoding"), "{head}");
    // A large piece is not compressed either, and an empty one is no end.
    for (piece, chunk) in [("one", "3\r\none\r\n"), ("", ""), ("two!", "4\r\ntwo!\r\n")] {
        pieces.send(piece.into()).unwrap();
        assert_eq!(client.exactly(chunk.len()).await, chunk.as_bytes());
    }
    let large = vec![b'x'; 100_000];
    pieces.send(large.clone().into()).unwrap();
    assert_eq!(client.until(b"\r\n").await, b"186A0\r\n");
    assert_eq!(client.exactly(large.len() + 2).await, [&large[..], b"\r\n"].concat());
    drop(pieces);
    fixture.state.pieces.lock().unwrap().clear();
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
    assert_eq!(client.get("/empty").await.status, 200);
}

#[actix_web::test]
async fn a_quiet_stream_outlives_all_limits_of_a_connection() {
    let limit = Duration::from_secs(2);
    let limits = Settings { head_time: limit, keep_alive: limit, write_stall: limit, ..settings() };
    let (fixture, time) = serve_in_still_time(limits).await;
    let mut client = client(&fixture).await;
    let (_, pieces) = opened(&fixture, &mut client).await;
    for _ in 0..5 {
        time.pass(limit * 3).await;
        pieces.send("one".into()).unwrap();
        assert_eq!(client.exactly(8).await, b"3\r\none\r\n");
    }
    fixture.state.pieces.lock().unwrap().clear();
    drop(pieces);
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
    // From now on the connection is idle.
    time.pass(limit * 2).await;
    assert!(client.rest().await.is_empty());
}

/// An empty line behind a request is a part of no head, and what follows it waits.
#[actix_web::test]
async fn what_comes_beside_a_stream_waits_for_its_end() {
    let limit = Duration::from_secs(2);
    let limits = Settings { head_time: limit, ..settings() };
    let (fixture, time) = serve_in_still_time(limits).await;
    let mut client = client(&fixture).await;
    let (_, pieces) = opened(&fixture, &mut client).await;
    for beside in ["\r\n", "GET /empty HTTP/1.1\r\nHost: h\r\n\r\nGET /emp"] {
        client.send(beside).await;
        time.pass(limit * 2).await;
        pieces.send("one".into()).unwrap();
        assert_eq!(client.exactly(8).await, b"3\r\none\r\n");
    }
    fixture.state.pieces.lock().unwrap().clear();
    drop(pieces);
    assert_eq!(client.exactly(5).await, b"0\r\n\r\n");
    assert_eq!(client.answer_to("GET").await.status, 200);
    client.send("ty HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.answer_to("GET").await.status, 200);
}

#[actix_web::test]
async fn a_stream_ends_with_its_client() {
    let fixture = serve(settings()).await;
    let mut client = client(&fixture).await;
    let (_, pieces) = opened(&fixture, &mut client).await;
    drop(client);
    eventually("nobody takes pieces", || pieces.is_closed()).await;
    eventually("the connection is gone", || fixture.server.connections() == 0).await;
}

#[actix_web::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let write_stall = Duration::from_secs(2);
    let (fixture, time) = serve_in_still_time(Settings { write_stall, ..settings() }).await;
    let mut client = client(&fixture).await;
    let (_, pieces) = opened(&fixture, &mut client).await;
    send_too_much(&pieces);
    time.pass_until(eventually("nobody takes pieces", || pieces.is_closed())).await;
    drop(client);
}

#[actix_web::test]
async fn a_stop_ends_streams() {
    let fixture = serve(settings()).await;
    let mut client = client(&fixture).await;
    let (_, pieces) = opened(&fixture, &mut client).await;
    pieces.send("one".into()).unwrap();
    assert_eq!(client.exactly(8).await, b"3\r\none\r\n");
    assert_eq!(fixture.server.stop(GENEROUS).await, 0);
    assert_eq!(client.rest().await, b"0\r\n\r\n");
}

#[actix_web::test]
async fn http_2_has_streams_too() {
    let limit = Duration::from_secs(2);
    let tls = Some(files(plain_server()));
    let limits = Settings { tls, head_time: limit, keep_alive: limit, write_stall: limit, ..settings() };
    let (fixture, time) = serve_in_still_time(limits).await;
    let mut client = http_2(&fixture).await;
    let response = get(&mut client, "/stream").await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let pieces = newest(&fixture);
    for _ in 0..3 {
        time.pass(limit * 3).await;
        pieces.send("one".into()).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "one");
        body.flow_control().release_capacity(3).unwrap();
    }
    // The connection serves other requests meanwhile.
    assert_eq!(get(&mut client, "/unchanged").await.unwrap().status(), 304);
    drop(body);
    eventually("nobody takes pieces", || pieces.is_closed()).await;
    let response = get(&mut client, "/stream").await.unwrap();
    let mut body = response.into_body();
    let pieces = newest(&fixture);
    send_too_much(&pieces);
    time.pass_until(eventually("nobody takes pieces", || pieces.is_closed())).await;
    while body.data().await.is_some_and(|data| data.is_ok()) {}
}

#[actix_web::test]
async fn a_stop_ends_streams_of_http_2() {
    let tls = Some(files(plain_server()));
    let fixture = serve(Settings { tls, ..settings() }).await;
    let mut client = http_2(&fixture).await;
    let mut body = get(&mut client, "/stream").await.unwrap().into_body();
    newest(&fixture).send("one".into()).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "one");
    let state = Arc::clone(&fixture.state);
    assert_eq!(fixture.server.stop(GENEROUS).await, 0);
    assert!(body.data().await.is_none_or(|data| data.is_ok_and(|data| data.is_empty())));
    assert!(state.pieces.lock().unwrap()[0].is_closed());
}
