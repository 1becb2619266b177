//! The id of each request: every answer has one, and none that would break a header or a log is taken from a client.

use std::collections::HashSet;

use service_center::http::server::Settings;

use super::client::Client;
use super::table::{serve, settings};
use crate::support::http::Response;

const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn id(answer: &Response) -> String {
    let ids: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "X-Request-Id")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(ids.len(), 1, "{answer:?}");
    ids[0].to_owned()
}

#[actix_web::test]
async fn every_answer_has_an_id_of_its_own() {
    let fixture = serve(settings()).await;
    let address = fixture.server.addresses()[0];
    let mut seen = HashSet::new();
    for (line, headers, status) in [
        ("GET /empty", "", 200),
        ("GET /unchanged", "", 304),
        ("GET /refused", "", 400),
        ("GET /empty;", "", 400),
        ("GET /v4/p/registry/show/%zz", "", 400),
        ("GET /v4/p/registry/show/%ff", "", 400),
        ("GET /nope", "", 404),
        ("POST /empty", "", 405),
        ("BREW /empty", "", 405),
        ("OPTIONS /empty", "Origin: http://a.example\r\nAccess-Control-Request-Method: GET\r\n", 200),
        ("PUT /v4/p/registry/show/x", "Origin: http://a.example\r\nContent-Length: 0\r\n", 403),
        ("GET /panic", "", 500),
        ("GET /panic-later", "", 500),
        ("GET /gzip/long", "Accept-Encoding: gzip\r\n", 200),
        ("GET /watch-refused", HANDSHAKE, 401),
        ("GET /watch", "", 400),
    ] {
        let mut client = Client::connect(address).await;
        let answer = client.ask(line, headers).await;
        assert_eq!(answer.status, status, "{line}");
        let id = id(&answer);
        assert!(id.len() == 26 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{line}: {id}");
        assert!(seen.insert(id), "{line} has the id of another request");
    }
    let mut client = Client::connect(address).await;
    let body = vec![b'x'; 6000];
    let answer = client.put("POST /instances", &body).await;
    assert!(answer.status == 400 && seen.insert(id(&answer)));
    let answer = Client::connect(address).await.put("PUT /v4/p/registry/show/x", b"abc").await;
    assert!(answer.status == 200 && seen.insert(id(&answer)));

    let mut client = Client::connect(address).await;
    client
        .send(format!("GET /watch HTTP/1.1\r\nHost: h\r\nX-Request-Id: of-a-watch\r\n{HANDSHAKE}\r\n"))
        .await;
    let accepted = String::from_utf8(client.until(b"\r\n\r\n").await).unwrap();
    assert!(accepted.starts_with("HTTP/1.1 101 "), "{accepted}");
    assert_eq!(accepted.matches("\r\nX-Request-Id: of-a-watch\r\n").count(), 1, "{accepted}");
}

#[actix_web::test]
async fn answers_of_a_server_that_refuses_have_an_id() {
    let fixture = serve(Settings { max_requests: 0, max_header_bytes: 1024, ..settings() }).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    for (target, status) in [("/find", 429), ("/empty", 503)] {
        let answer = client.get(target).await;
        assert_eq!(answer.status, status);
        id(&answer);
    }
    let long = format!("X-Long: {}\r\nX-Request-Id: long\r\n", "x".repeat(8000));
    let answer = client.ask("GET /empty", &long).await;
    assert_eq!((answer.status, id(&answer).as_str()), (431, "long"));
}

#[actix_web::test]
async fn the_id_of_a_client_is_taken_if_it_is_harmless() {
    let fixture = serve(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let longest = "x".repeat(128);
    for given in ["a", "7e3c5c5e-3f0c-4b8e-9f4e-0d2f8f1f2a3b", "Root=1-67891233-abcdef01", &longest] {
        for target in ["/empty", "/unchanged", "/nope", "/refused"] {
            let answer = client.ask(&format!("GET {target}"), &format!("x-request-id: {given}\r\n")).await;
            assert_eq!(id(&answer), *given);
        }
    }
    let too_long = "x".repeat(129);
    for hostile in ["", "a b", "a\tb", "\"quoted\"", "it's", "<script>", "a\\n", "a;b", "größer", &too_long]
    {
        let answer = client.ask("GET /empty", &format!("X-Request-Id: {hostile}\r\n")).await;
        assert_eq!((answer.status, id(&answer).len()), (200, 26), "{hostile:?}");
    }
    let twice = client.ask("GET /empty", "X-Request-Id: a\r\nX-Request-Id: b\r\n").await;
    assert_eq!(id(&twice).len(), 26);
}
