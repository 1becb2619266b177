//! Bodies, heads and connections at their limits.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use service_center::http::answer_memory::AnswerMemory;
use service_center::http::server::Settings;
use tokio::net::TcpStream;

use super::client::Client;
use super::still_time::MOMENT;
use super::table::{eventually, serve, serve_in_still_time, settings};
use crate::support::http::Response;

/// The detail of the answer names the size as far as it is known, the limit, and the key of the limit.
fn assert_too_large(answer: &Response, size: &str, most: usize, key: &str) {
    assert_eq!(answer.status, 400);
    let detail =
        format!("http: request body too large: it has {size} bytes, at most {most} bytes are taken ({key})");
    let body =
        format!(r#"{{"errorCode":"400001","errorMessage":"Invalid parameter(s)","detail":"{detail}"}}"#);
    assert_eq!(answer.text(), body);
}

const INSTANCE: &str = "server.request.maxInstanceBytes";

#[actix_web::test]
async fn a_body_of_exactly_the_limit_passes() {
    let fixture = serve(Settings { max_body_bytes: 100_000, ..settings() }).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let (small, large) = ("POST /instances", "PUT /v4/default/registry/show/x");
    assert_eq!(client.put(small, &[b' '; 5120]).await.text(), "5120 bytes");
    assert_eq!(client.put(large, &[b' '; 100_000]).await.text(), "100000 bytes");
    // The body is a little over the limit, so it is read and dropped, and the connection goes on.
    for (line, most, key) in [(small, 5120, INSTANCE), (large, 100_000, "server.request.maxBodyBytes")] {
        let refused = client.put(line, &vec![b' '; most + 1]).await;
        assert_too_large(&refused, &(most + 1).to_string(), most, key);
        assert_eq!(refused.header("Connection"), None);
    }
    assert_eq!(client.put(small, b"").await.text(), "0 bytes");
}

#[actix_web::test]
async fn chunked_bodies_and_bodies_in_pieces_have_the_same_limit() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let chunked = "POST /instances HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("a00\r\n{}\r\n", " ".repeat(0xa00));
    client.send(format!("{chunked}{chunk}{chunk}0\r\n\r\n")).await;
    assert_eq!(client.answer_to("POST").await.text(), "5120 bytes");
    client.send(format!("{chunked}{chunk}{chunk}1\r\nx\r\n0\r\n\r\n")).await;
    assert_too_large(&client.answer_to("POST").await, "more than 5120", 5120, INSTANCE);
    for byte in "POST /instances HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n1234567".as_bytes() {
        client.send([*byte]).await;
    }
    assert_eq!(client.answer_to("POST").await.text(), "7 bytes");
}

#[actix_web::test]
async fn the_answer_to_an_unread_large_body_arrives() {
    let (fixture, time) = serve_in_still_time(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let body = vec![b' '; 4 * 1024 * 1024];
    let refused = client.put("POST /instances", &body).await;
    assert_too_large(&refused, "4194304", 5120, INSTANCE);
    assert_eq!(refused.header("Connection"), Some("close"));
    assert!(time.pass_until(client.rest()).await.is_empty());
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A POST to the route of instances, with a body in an encoding.
fn encoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST /instances HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n");
    [format!("{head}Content-Encoding: {encoding}\r\n\r\n").as_bytes(), body].concat()
}

#[actix_web::test]
async fn gzip_is_unpacked_up_to_the_limit() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    for encoding in ["gzip", "GZIP", "x-gzip"] {
        client.send(encoded(encoding, &packed(&[b' '; 5120]))).await;
        assert_eq!(client.answer_to("POST").await.text(), "5120 bytes");
    }
    client.send(encoded("identity", &[b' '; 20])).await;
    assert_eq!(client.answer_to("POST").await.text(), "20 bytes");
    // The body arrives byte by byte.
    for byte in encoded("gzip", &packed(b"1234567")) {
        client.send([byte]).await;
    }
    assert_eq!(client.answer_to("POST").await.text(), "7 bytes");
    // 20 MB in 20 kB. The client sends no more than the server reads, so the connection goes on.
    let bomb = packed(&vec![b' '; 20_000_000]);
    client.send(encoded("gzip", &bomb[..5000])).await;
    let refused = client.answer_to("POST").await;
    let (detail, most) =
        ("request body too large: unpacked it has more than 5120 bytes", "at most 5120 bytes");
    assert!(refused.text().contains(detail) && refused.text().contains(most), "{}", refused.text());
    client.send(encoded("gzip", &packed(b"x"))).await;
    assert_eq!(client.answer_to("POST").await.text(), "1 bytes");
}

#[actix_web::test]
async fn invalid_gzip_and_other_encodings_are_rejected() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let good = packed(b"{\"instance\":{}}");
    let mut damaged = good.clone();
    damaged[good.len() - 6] ^= 1;
    let behind = [good.as_slice(), b"more"].concat();
    for bad in [b"{}".as_slice(), &good[..good.len() - 1], &good[..12], &damaged, &behind] {
        client.send(encoded("gzip", bad)).await;
        let refused = client.answer_to("POST").await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("the body is not the gzip"), "{bad:?}: {}", refused.text());
    }
    for encoding in ["br", "deflate", "gzip, br", "zstd"] {
        client.send(encoded(encoding, b"x")).await;
        let refused = client.answer_to("POST").await;
        let detail = format!(
            "header Content-Encoding: '{encoding}' is not supported; send the body as gzip or without an encoding"
        );
        assert!(refused.text().contains(&detail), "{}", refused.text());
    }
    // The encoding of a body that is not read does not matter.
    client.send("GET /empty HTTP/1.1\r\nHost: h\r\nContent-Encoding: br\r\n\r\n").await;
    assert_eq!(client.answer_to("GET").await.status, 200);
}

/// Each unpacking holds memory, so it counts as a large body.
#[actix_web::test]
async fn unpacking_counts_as_memory() {
    let fixture = serve(Settings { max_body_memory: 100_000, ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let request = encoded("gzip", &packed(b"x"));
    let (most, rest) = request.split_at(request.len() - 1);
    let mut slow = Client::connect(address).await;
    slow.send(most).await;
    let mut refused = 0;
    for _ in 0..1_000 {
        // There is room until the server unpacks the first body.
        let mut other = Client::connect(address).await;
        other.send(encoded("gzip", &packed(b"x"))).await;
        refused = other.answer_to("POST").await.status;
        if refused != 200 {
            break;
        }
    }
    assert_eq!(refused, 503);
    let mut client = Client::connect(address).await;
    client.send(encoded("identity", b"x")).await;
    assert_eq!(client.answer_to("POST").await.text(), "1 bytes");
    slow.send(rest).await;
    assert_eq!(slow.answer_to("POST").await.text(), "1 bytes");
}

#[actix_web::test]
async fn an_endless_body_ends_the_connection() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    client.send("POST /instances HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    for _ in 0..40 {
        client.send(&chunk).await;
    }
    let refused = client.answer_to("POST").await;
    assert_too_large(&refused, "more than 5120", 5120, INSTANCE);
    assert_eq!(refused.header("Connection"), Some("close"));
}

#[actix_web::test]
async fn a_body_no_route_takes_does_not_end_the_connection() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    assert_eq!(client.put("POST /nope", &[b'x'; 10_000]).await.status, 404);
    assert_eq!(client.put("GET /v4/default/registry/show/x", b"{}").await.status, 200);
    assert_eq!(client.put("DELETE /v4/default/registry/show/x", &[b'x'; 9000]).await.status, 200);
    assert_eq!(client.get("/empty").await.status, 200);
}

#[actix_web::test]
async fn a_body_that_does_not_come_is_answered() {
    let body_time = Duration::from_secs(2);
    let (fixture, time) = serve_in_still_time(Settings { body_time, ..settings() }).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    client.send("POST /instances HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n123").await;
    eventually("it is being served", || fixture.server.connections() == 1).await;
    time.pass(body_time - MOMENT).await;
    assert_eq!(fixture.server.connections(), 1);
    let refused = time.pass_until(client.answer_to("POST")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("the body did not arrive within"), "{}", refused.text());
    assert_eq!(refused.header("Connection"), Some("close"));
}

#[actix_web::test]
async fn a_head_that_does_not_end_ends_the_connection() {
    let head_time = Duration::from_secs(2);
    let (fixture, time) = serve_in_still_time(Settings { head_time, ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let is_too_slow = async |mut client: Client| {
        eventually("it is being served", || fixture.server.connections() == 1).await;
        time.pass(head_time - MOMENT).await;
        assert_eq!(fixture.server.connections(), 1, "its time is not over");
        let told = String::from_utf8(time.pass_until(client.rest()).await).unwrap();
        assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
        eventually("the connection is gone", || fixture.server.connections() == 0).await;
    };
    // The first head of a connection.
    let mut client = Client::connect(address).await;
    client.send("GET /empty HTTP/1.1\r\nHo").await;
    is_too_slow(client).await;
    // A later head of the connection.
    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/empty").await.status, 200);
    client.send("GET /empty HTTP/1.1\r\nHo").await;
    is_too_slow(client).await;
    // A head that begins in the same packet in which the last request ends.
    let mut client = Client::connect(address).await;
    client.send("GET /empty HTTP/1.1\r\nHost: h\r\n\r\nGET /empty HTTP/1.1\r\nHost:h\r\n\r\nGET /empty HTTP/1.1\r\nHo").await;
    assert_eq!((client.answer_to("GET").await.status, client.answer_to("GET").await.status), (200, 200));
    is_too_slow(client).await;
    // A head that begins in the same packet in which the body of the last request ends.
    let mut client = Client::connect(address).await;
    let post = "POST /instances HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    client.send(format!("{post}GET /empty HTTP/1.1\r\nHo")).await;
    assert_eq!(client.answer_to("POST").await.text(), "1 bytes");
    is_too_slow(client).await;
}

#[actix_web::test]
async fn a_slow_head_does_not_outlive_its_limit_byte_by_byte() {
    let head_time = Duration::from_secs(2);
    let (fixture, time) = serve_in_still_time(Settings { head_time, ..settings() }).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    assert_eq!(client.get("/empty").await.status, 200);
    client.send("GET /empty HTTP/1.1\r\nX: ").await;
    for _ in 0..20 {
        // An error means that the connection has ended.
        let _ = client.socket().try_write(b"x");
        time.pass(head_time / 10).await;
    }
    eventually("the connection is gone", || fixture.server.connections() == 0).await;
}

/// The limit for a head is shorter than the limit for an idle connection, as by default. The limits must not be added.
#[actix_web::test]
async fn an_idle_connection_is_kept_for_its_time_and_no_longer() {
    let (head_time, keep_alive) = (Duration::from_secs(6), Duration::from_secs(7));
    let (fixture, time) = serve_in_still_time(Settings { head_time, keep_alive, ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let (mut once, mut twice) = (Client::connect(address).await, Client::connect(address).await);
    assert_eq!(once.get("/empty").await.status, 200);
    assert_eq!(twice.get("/empty").await.status, 200);
    let between = Duration::from_secs(2);
    time.pass(between).await;
    assert_eq!(twice.get("/empty").await.status, 200);
    time.pass(keep_alive - between - MOMENT).await;
    assert_eq!(fixture.server.connections(), 2);
    time.pass(2 * MOMENT).await;
    assert!(once.rest().await.is_empty());
    eventually("one is gone", || fixture.server.connections() == 1).await;
    time.pass(between - 2 * MOMENT).await;
    assert_eq!(fixture.server.connections(), 1);
    time.pass(2 * MOMENT).await;
    assert!(twice.rest().await.is_empty());
}

/// A connection is not idle while its request runs, however long that takes. The time limit begins with the answer.
#[actix_web::test]
async fn a_request_that_runs_for_long_keeps_its_connection() {
    let keep_alive = Duration::from_secs(7);
    let limits = Settings { head_time: keep_alive, keep_alive, ..settings() };
    let (fixture, time) = serve_in_still_time(limits).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    client.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    eventually("the request runs", || fixture.state.ran.load(Ordering::SeqCst) == 1).await;
    time.pass(keep_alive * 4).await;
    fixture.state.go.notify_one();
    assert_eq!(client.answer_to("GET").await.text(), "waited");
    time.pass(keep_alive - MOMENT).await;
    assert_eq!(fixture.server.connections(), 1);
    time.pass(2 * MOMENT).await;
    assert!(client.rest().await.is_empty());
    eventually("the connection is gone", || fixture.server.connections() == 0).await;
}

/// A request that ends its connection gets one answer, and no other answer follows. The server's own answers have
/// `Connection: close`; those of the HTTP library have no body.
#[actix_web::test]
async fn the_last_answer_of_a_connection_says_that_it_is() {
    let limits =
        Settings { head_time: Duration::from_secs(2), body_time: Duration::from_secs(1), ..settings() };
    let (fixture, time) = serve_in_still_time(limits).await;
    let address = fixture.server.addresses()[0];
    let mut clients = Vec::new();
    let long = format!("GET /empty HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(140_000));
    let post = |framing: &str| format!("POST /instances HTTP/1.1\r\nHost: h\r\n{framing}");
    for (what, bytes, status) in [
        ("no request", "nonsense\r\n\r\n".to_owned(), 400),
        ("a method alone", "GET\r\n\r\n".to_owned(), 400),
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400),
        ("a length that is none", post("Content-Length: x\r\n\r\nab"), 400),
        ("an unknown encoding", post("Transfer-Encoding: rot13\r\n\r\nab"), 400),
        ("a chunk without a size", post("Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n"), 400),
        ("a chunk's end missing", post("Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n"), 400),
        (
            "a bad chunk nobody wants",
            post("").replace("POST /instances", "DELETE /v4/p/registry/show/x")
                + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            200,
        ),
        (
            "a bad chunk on no path",
            post("").replace("/instances", "/nope") + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            404,
        ),
        ("a long head", long, 431),
        ("half a head", "GET /empty HTTP/1.1\r\nHo".to_owned(), 408),
        ("half a body", post("Content-Length: 7\r\n\r\n123"), 400),
        ("half a chunk", post("Transfer-Encoding: chunked\r\n\r\n7\r\n123"), 400),
        ("a body far too large", post("Content-Length: 9000000\r\n\r\n123"), 400),
        (
            "a large body on no path",
            post("Content-Length: 9000000\r\n\r\n123").replace("/instances", "/nope"),
            404,
        ),
        (
            "an offer of another protocol",
            "GET /empty HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            200,
        ),
    ] {
        for kept in [false, true] {
            let mut client = Client::connect(address).await;
            if kept {
                let before = client.get("/empty").await;
                assert_eq!((before.status, before.header("Connection")), (200, None), "{what}");
            }
            client.send(&bytes).await;
            clients.push((client, what, kept, status));
        }
    }
    let checks = clients.into_iter().map(async |(mut client, what, kept, status)| {
        let answer = client.answer_to("GET").await;
        assert_eq!(answer.status, status, "{what}, {kept}");
        let says_so = answer.header("Connection") == Some("close");
        assert!(says_so || answer.body.is_empty(), "{what}, {kept}: {answer:?}");
        let more = client.rest().await;
        assert!(more.is_empty(), "{what}, {kept}: {}", String::from_utf8_lossy(&more));
    });
    time.pass_until(join_all(checks)).await;
    // The requests before a bad one are answered first.
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    client
        .send(
            "GET /empty HTTP/1.1\r\nHost: h\r\n\r\nGET /bytes/100000 HTTP/1.1\r\nHost: h\r\n\r\n???\r\n\r\n",
        )
        .await;
    assert_eq!(client.answer_to("GET").await.header("Connection"), None);
    assert_eq!(client.answer_to("GET").await.body.len(), 100_000);
    let last = client.answer_to("GET").await;
    assert_eq!(last.status, 400);
    assert!(client.rest().await.is_empty());
}

#[actix_web::test]
async fn heads_have_a_limit_in_bytes() {
    let fixture = serve(Settings { max_header_bytes: 8192, ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let long = |length: usize| format!("X-Long: {}\r\n", "x".repeat(length));
    let mut client = Client::connect(address).await;
    assert_eq!(client.ask("GET /empty", &long(12_000)).await.status, 200);
    assert_eq!(client.ask("GET /empty", &long(12_000)).await.status, 200);
    let refused = client.ask("GET /empty", &long(12_400)).await;
    assert_eq!((refused.status, refused.header("Server")), (431, None));
    assert_eq!(refused.header("Connection"), Some("close"));
    // Many small headers, and a large one that the library itself refuses.
    for headers in [(0..90).map(|n| format!("X-{n}: {}\r\n", "y".repeat(150))).collect(), long(140_000)] {
        let mut client = Client::connect(address).await;
        client.send(format!("GET /empty HTTP/1.1\r\nHost: h\r\n{headers}\r\n")).await;
        let answer = client.until(b"\r\n\r\n").await;
        assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", String::from_utf8_lossy(&answer));
    }
    // A large body does not count as a large head.
    let mut client = Client::connect(address).await;
    assert_eq!(client.put("PUT /v4/default/registry/show/x", &[b'x'; 50_000]).await.text(), "50000 bytes");
}

#[actix_web::test]
async fn a_connection_over_the_limit_is_answered() {
    let fixture = serve(Settings { max_connections: 2, workers: 2, ..Settings::default() }).await;
    let address = fixture.server.addresses()[0];
    let (mut one, mut two) = (Client::connect(address).await, Client::connect(address).await);
    assert_eq!((one.get("/empty").await.status, two.get("/empty").await.status), (200, 200));
    let mut three = Client::connect(address).await;
    three.send("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let told = String::from_utf8(three.rest().await).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    assert!(told.contains("\r\nRetry-After: 1\r\n") && told.contains(r#""errorCode":"503001""#), "{told}");
    drop(one);
    eventually("a place is free", || fixture.server.connections() == 1).await;
    assert_eq!(Client::connect(address).await.get("/empty").await.status, 200);
}

/// A connection over the limit may send one request. Only a health check is served, and then the connection ends.
#[actix_web::test]
async fn over_the_limit_of_connections_only_probes_are_served() {
    let (fixture, time) = serve_in_still_time(Settings { max_connections: 32, ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let mut all = Vec::new();
    for _ in 0..32 {
        let mut client = Client::connect(address).await;
        assert_eq!(client.get("/empty").await.status, 200);
        all.push(client);
    }
    for (target, status, code) in
        [("/version", 200, ""), ("/find", 429, "429001"), ("/empty", 503, "503001"), ("/nope", 404, "")]
    {
        let mut client = Client::connect(address).await;
        let answer = client.get(target).await;
        assert_eq!((answer.status, answer.header("Connection")), (status, Some("close")), "{target}");
        assert!(answer.text().contains(code), "{}", answer.text());
        assert_eq!(answer.header("Retry-After"), (!code.is_empty()).then_some("1"), "{target}");
        assert!(client.rest().await.is_empty());
        eventually("its place is free again", || fixture.server.connections() == 32).await;
    }
    let mut refused = Client::connect(address).await;
    refused.send("GET /watch HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(refused.answer_to("GET").await.status, 503);
    eventually("its place is free again", || fixture.server.connections() == 32).await;
    // A connection that sends nothing leaves its place to the next one.
    let (mut silent, mut slow) = (Client::connect(address).await, Client::connect(address).await);
    slow.send("GET /version HTTP/1.1\r\nHo").await;
    eventually("both have places", || fixture.server.connections() == 34).await;
    let mut next = Client::connect(address).await;
    let told = String::from_utf8(time.pass_until(next.rest()).await).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    for client in [&mut silent, &mut slow] {
        let told = String::from_utf8(time.pass_until(client.rest()).await).unwrap();
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("Retry-After: 1\r\n"), "{told}");
    }
    assert_eq!(Client::connect(address).await.get("/version").await.status, 200);
}

const BUSY: &str = r#"{"errorCode":"503001","errorMessage":"Service overloaded"}"#;
const TOO_MANY: &str = r#"{"errorCode":"429001","errorMessage":"Too many requests"}"#;

/// Requests that wait for the store leave places to requests that are answered from memory. Finds are refused last, and
/// health is always answered. A refusal does not end its connection. When the waiting requests are answered, all are served
/// again.
#[actix_web::test]
async fn requests_at_once_have_a_limit() {
    let fixture = serve(Settings { max_requests: 16, ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let mut waiting = Vec::new();
    let mut ran = 0;
    let mut others = Client::connect(address).await;
    for (count, target) in [(14, "/store-wait"), (2, "/find-wait")] {
        for _ in 0..count {
            let mut client = Client::connect(address).await;
            client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            ran += 1;
            eventually("it waits", || fixture.state.ran.load(Ordering::SeqCst) == ran).await;
            waiting.push(client);
        }
        let is_full = target == "/find-wait";
        for (line, refusal) in [
            ("GET /store-wait", Some((503, BUSY))),
            ("POST /store", Some((503, BUSY))),
            ("GET /find", is_full.then_some((429, TOO_MANY))),
            ("POST /instances", is_full.then_some((503, BUSY))),
            ("GET /version", None),
        ] {
            let answer = others.put(line, if line.starts_with("POST") { b"{}" } else { b"" }).await;
            let expected = refusal.map_or(200, |(status, _)| status);
            assert_eq!((answer.status, answer.header("Connection")), (expected, None), "{line}");
            assert_eq!(answer.header("Retry-After"), refusal.map(|_| "1"), "{line}");
            assert!(refusal.is_none_or(|(_, text)| answer.text() == text), "{line}: {}", answer.text());
        }
        ran = fixture.state.ran.load(Ordering::SeqCst);
    }
    fixture.state.go.notify_waiters();
    for client in &mut waiting {
        assert_eq!(client.answer_to("GET").await.text(), "waited");
    }
    assert_eq!(others.put("POST /store", b"{}").await.text(), "2 bytes");
    assert_eq!(others.get("/find").await.status, 200);
}

/// Half-sent large bodies take memory up to a limit. Small bodies are always taken.
#[actix_web::test]
async fn bodies_have_a_limit_together() {
    let fixture = serve(Settings { max_body_memory: 100_000, ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let begin = "POST /store HTTP/1.1\r\nHost: h\r\nContent-Length: 80000\r\n\r\n";
    let mut half = Client::connect(address).await;
    half.send([begin.as_bytes(), &[b' '; 70_000]].concat()).await;
    let mut others = Client::connect(address).await;
    let mut refused = others.put("POST /store", &[b' '; 47_000]).await;
    for _ in 0..1_000 {
        // There is room until the server has read the bytes of the first body. When it has read all of them there is none, so
        // the second body is refused, not the first.
        if refused.status != 200 {
            break;
        }
        refused = others.put("POST /store", &[b' '; 47_000]).await;
    }
    assert_eq!(
        (refused.status, refused.text().as_str(), refused.header("Retry-After")),
        (503, BUSY, Some("1"))
    );
    assert_eq!(refused.header("Connection"), Some("close"));
    let mut others = Client::connect(address).await;
    assert_eq!(others.put("POST /instances", &[b' '; 5120]).await.text(), "5120 bytes");
    half.send([b' '; 10_000]).await;
    assert_eq!(half.answer_to("POST").await.text(), "80000 bytes");
    assert_eq!(others.put("POST /store", &[b' '; 80_000]).await.text(), "80000 bytes");
}

#[actix_web::test]
async fn a_client_that_reads_nothing_is_dropped() {
    let (fixture, time) = serve_in_still_time(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    client.send("GET /bytes/50000000 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    eventually("it is being served", || fixture.server.connections() == 1).await;
    time.pass_until(eventually("it is dropped", || fixture.server.connections() == 0)).await;
    assert!(client.rest().await.len() < 50_000_000);
}

/// The answer takes more than twice as long as a client may take nothing, but the client takes something each time.
#[actix_web::test]
async fn a_slow_reader_gets_everything() {
    let write_stall = Duration::from_secs(2);
    let (fixture, time) = serve_in_still_time(Settings { write_stall, ..settings() }).await;
    let stream = TcpStream::connect(fixture.server.addresses()[0]).await.unwrap();
    // The kernel then keeps little of the answer on this side.
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 64 << 10).unwrap();
    let mut client = Client::over(stream);
    client.send(format!("GET /bytes/{} HTTP/1.1\r\nHost: h\r\n\r\n", 3 * LARGE)).await;
    client.until(b"\r\n\r\n").await;
    for _ in 0..3 {
        // The client can read this much only if the server has sent more.
        assert_eq!(client.exactly(LARGE).await.len(), LARGE);
        time.pass(write_stall * 3 / 4).await;
    }
}

/// More than the two sockets of a connection hold.
const LARGE: usize = 16_000_000;

#[actix_web::test]
async fn unread_answers_hold_memory_until_they_are_read_or_given_up() {
    let answers = AnswerMemory::new(LARGE, 2 * LARGE + 1_000_000);
    let fixture = serve(Settings { answers: Arc::clone(&answers), ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let target = format!("/bytes/{LARGE}");
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let (mut one, mut two) = (Client::connect(address).await, Client::connect(address).await);
    for client in [&mut one, &mut two] {
        client.send(&request).await;
        client.until(b"HTTP/1.1 200 OK\r\n").await;
    }
    assert!(answers.held() > 2 * LARGE);
    let mut three = Client::connect(address).await;
    let refused = three.get(&target).await;
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    assert_eq!(refused.text(), r#"{"errorCode":"503001","errorMessage":"Service overloaded"}"#);
    assert_eq!(three.get("/bytes/8192").await.body.len(), 8192, "small ones are not counted");

    // One client takes its answer, the other gives up.
    one.until(b"\r\n\r\n").await;
    assert_eq!(one.exactly(LARGE).await, vec![b'x'; LARGE]);
    drop(two);
    eventually("the space is free", || answers.held() == 0).await;
    assert_eq!(three.get(&target).await.body.len(), LARGE);
    assert_eq!(one.get("/empty").await.status, 200);
}

/// The code that sends these answers is not the code for other answers.
#[actix_web::test]
async fn large_answers_are_whole_beside_an_upgrade_and_an_unread_body() {
    let (fixture, time) = serve_in_still_time(settings()).await;
    let address = fixture.server.addresses()[0];
    for headers in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Content-Length: 100000000\r\n",
    ] {
        let mut client = Client::connect(address).await;
        let answer = client.ask("GET /bytes/1000000", headers).await;
        assert_eq!(answer.body, vec![b'x'; 1_000_000], "{headers}");
        assert_eq!(answer.header("Connection"), Some("close"), "{headers}");
        assert!(time.pass_until(client.rest()).await.is_empty());
    }
}
