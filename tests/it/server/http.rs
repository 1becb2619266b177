//! Answers: routing, headers, tenants, query, compression.

use std::io::{self, Read as _, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use service_center::config::LogFormat;
use service_center::config::logging::LogOutput;
use service_center::config::logging::access::AccessLog;
use service_center::http::server::Settings;

use super::client::Client;
use super::table::{Fixture, eventually, serve, serve_in_still_time, settings};
use crate::support::http::Response;

async fn connected() -> (Fixture, Client) {
    let fixture = serve(Settings { version: "2.2.0".to_owned(), ..settings() }).await;
    let client = Client::connect(fixture.server.addresses()[0]).await;
    (fixture, client)
}

/// The header names of an answer as they are spelled, in alphabetical order.
fn names(answer: &Response) -> Vec<&str> {
    let mut names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

#[actix_web::test]
async fn headers_are_spelled_as_clients_expect() {
    let (_fixture, mut client) = connected().await;
    let found = client.get("/v4/default/registry/show/x").await;
    assert_eq!(found.status, 200);
    assert_eq!(
        names(&found),
        ["Content-Length", "Content-Type", "Date", "Server", "Vary", "X-Request-Id", "X-Resource-Revision"]
    );
    assert_eq!(found.header("Content-Type"), Some("application/json; charset=UTF-8"));
    assert_eq!(found.header("Server"), Some("SERVICECENTER/2.2.0"));
    assert_eq!(found.header("Vary"), Some("Accept-Encoding, Origin"));

    let unchanged = client.get("/unchanged").await;
    assert_eq!(unchanged.status, 304);
    assert_eq!(names(&unchanged), ["Date", "Server", "Vary", "X-Request-Id", "X-Resource-Revision"]);

    let empty = client.get("/empty").await;
    assert_eq!(empty.status, 200);
    assert_eq!(names(&empty), ["Content-Length", "Content-Type", "Date", "Server", "Vary", "X-Request-Id"]);
    assert_eq!(empty.header("Content-Type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(empty.header("Content-Length"), Some("0"));

    let refused = client.get("/refused").await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.text(),
        r#"{"errorCode":"400001","errorMessage":"Invalid parameter(s)","detail":"a detail"}"#
    );
}

#[actix_web::test]
async fn unknown_paths_and_wrong_methods() {
    let (fixture, mut client) = connected().await;
    let unknown = client.get("/nope").await;
    assert_eq!((unknown.status, unknown.text().as_str()), (404, "404 page not found\n"));
    assert_eq!(unknown.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(unknown.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(unknown.header("Server"), Some("SERVICECENTER/2.2.0"));
    for method in ["POST", "PATCH", "BREW"] {
        let wrong = client.ask(&format!("{method} /v4/p/registry/show/x"), "").await;
        assert_eq!((wrong.status, wrong.text().as_str()), (405, "Method Not Allowed\n"), "{method}");
        assert_eq!(wrong.header("Allow"), Some("GET, PUT, DELETE"));
        assert_eq!(wrong.header("X-Content-Type-Options"), Some("nosniff"));
        for name in ["Allow", "X-Content-Type-Options"] {
            assert!(names(&wrong).contains(&name), "{name} in {:?}", names(&wrong));
        }
    }
    let head = client.ask("HEAD /v4/p/registry/show/x", "").await;
    assert_eq!(head.status, 405);
    assert_eq!(client.ask("HEAD /nope", "").await.status, 404);
    assert_eq!(client.get("/v4/p/registry/show/%zz").await.status, 400);
    assert_eq!(fixture.state.ran.load(Ordering::SeqCst), 0);
    // The connection still works.
    assert_eq!(client.get("/empty").await.status, 200);
}

#[actix_web::test]
async fn paths_are_cleaned_and_decoded_and_absolute_targets_are_taken() {
    let (_fixture, mut client) = connected().await;
    for target in [
        "/v4/default/registry/show/a%20b",
        "/v4/default//registry/./x/../show/a%20b",
        "http://other:1/v4/default/registry/show/a%20b",
    ] {
        let answer = client.get(target).await;
        assert_eq!(answer.status, 200, "{target}");
        assert!(answer.text().starts_with("id=a b tenant=default/default surface=V4"), "{}", answer.text());
    }
    assert_eq!(client.get("/v4/default/registry/show/a%2Fb").await.status, 404);
}

#[actix_web::test]
async fn bad_uris_are_refused_and_not_run() {
    let (fixture, mut client) = connected().await;
    let base = "/v4/default/registry/show/x";
    for target in ["?a=b//c", "?a=http://x", "?a=1;", "?a=1&", "?", "??", "?a=+", "?a=x@", "@"] {
        let target = format!("{base}{target}");
        let answer = client.get(&target).await;
        assert_eq!(answer.status, 400, "{target}");
        assert_eq!(answer.text(), format!("Invalid Request URI {target}"));
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("Server"), Some("SERVICECENTER/2.2.0"));
    }
    let long = |length: usize| format!("{base}?a={}", "x".repeat(length - base.len() - 3));
    assert_eq!(client.get(&long(2048)).await.status, 400);
    assert_eq!(client.get(&long(10_000)).await.status, 400);
    assert_eq!(fixture.state.ran.load(Ordering::SeqCst), 0);
    assert_eq!(client.get(&long(2047)).await.status, 200);
    assert_eq!(client.get(&format!("{base}?a=1%3B")).await.status, 200);
}

#[actix_web::test]
async fn the_tenant_stands_in_header_and_path() {
    let (_fixture, mut client) = connected().await;
    let mut check = async |target: &str, headers: &str, expected: &str| {
        let answer = client.ask(&format!("GET {target}"), headers).await;
        let text = answer.text();
        let tenant = text.split(' ').find_map(|part| part.strip_prefix("tenant="));
        assert_eq!(tenant.unwrap_or(&text), expected, "{target} {headers}");
    };
    check("/v4/default/registry/show/x", "", "default/default").await;
    check("/v4/p1/registry/show/x", "X-Domain-Name: d1\r\n", "d1/p1").await;
    check("/v4/p1/registry/show/x", "x-domain-name:\r\n", "default/p1").await;
    check("/v4/p1/registry/show/x", "X-Tenant-Name: t1\r\n", "default/p1").await;
    check("/registry/v3/show/x", "X-Tenant-Name: t1\r\nX-Domain-Name: d1\r\n", "t1/default").await;
    check("/registry/v3/show/x", "X-Domain-Name: d1\r\n", "d1/default").await;
    check("/version", "X-Domain-Name: d1\r\n", "Plain default/default").await;
    check("/v4/p1/registry/version", "X-Domain-Name: d1\r\n", "V4 d1/p1").await;
    let refusal = |what: &str| {
        format!(
            r#"{{"errorCode":"400001","errorMessage":"Invalid parameter(s)","detail":"{what} must have 1 to 64 printable characters, without '/' or blanks, and be neither '.' nor '..'"}}"#
        )
    };
    check("/v4/p/registry/show/x", "X-Domain-Name: a/b\r\n", &refusal("header X-Domain-Name 'a/b'")).await;
    check("/registry/v3/show/x", "X-Tenant-Name: a b\r\n", &refusal("header X-Tenant-Name 'a b'")).await;
    check("/v4/a%20b/registry/show/x", "", &refusal("project 'a b'")).await;
    let long = "x".repeat(65);
    check(&format!("/v4/{long}/registry/show/x"), "", &refusal(&format!("project '{long}'"))).await;
}

/// Names that differ only in bytes that are not UTF-8 must not become one tenant, consumer or service.
#[actix_web::test]
async fn what_becomes_part_of_a_key_is_utf_8() {
    let (fixture, mut client) = connected().await;
    let mut check = async |target: &str, header: &[u8], part: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n")).await;
        client.send([header, b"\r\n\r\n"].concat()).await;
        let answer = client.answer_to("GET").await;
        let refusal = format!(
            r#"{{"errorCode":"400001","errorMessage":"Invalid parameter(s)","detail":"{part}: invalid UTF-8"}}"#
        );
        assert_eq!((answer.status, answer.text().as_str()), (400, refusal.as_str()), "{target}");
        assert_eq!(answer.header("Connection"), None, "the connection goes on");
    };
    let (newer, older) = ("/v4/p/registry/show/x", "/registry/v3/show/x");
    check(newer, b"X-Domain-Name: a\xff", "header X-Domain-Name").await;
    check(older, b"X-Domain-Name: a\xfe", "header X-Domain-Name").await;
    check(older, b"X-Domain-Name: b\r\nX-Tenant-Name: a\xc3", "header X-Tenant-Name").await;
    assert_eq!(fixture.state.ran.load(Ordering::SeqCst), 0);
    check(newer, b"X-ConsumerId: \xff", "header X-ConsumerId").await;
    let escaped = "/v4/p%ff/registry/show/x";
    check(escaped, b"X: y", &format!("path '{escaped}'")).await;
    check("/v4/p/registry/show/x?q=1&tags=a%ffb", b"X: y", "query parameter 'tags'").await;
    let text = client.ask("GET /v4/p/registry/show/%C3%A4", "X-Domain-Name: \u{e4}\r\n").await;
    assert!(text.text().starts_with("id=\u{e4} tenant=\u{e4}/p "), "{}", text.text());
}

#[actix_web::test]
async fn queries_are_read_as_go_reads_them() {
    let (_fixture, mut client) = connected().await;
    let mut check = async |query: &str, expected: &str| {
        let answer =
            client.ask(&format!("GET /v4/default/registry/show/x?{query}"), "X-ConsumerId: c1\r\n").await;
        let text = answer.text();
        let (_, text) = text.split_once("consumer=").unwrap();
        assert_eq!(text, expected, "{query}");
    };
    check("q=a+b%2B&q=2", r#"c1 q=Some("a b+") noCache=false cacheOnly=false"#).await;
    check("noCache=TRUE", "c1 q=None noCache=true cacheOnly=false").await;
    check("noCache=0&cacheOnly=1", "c1 q=None noCache=false cacheOnly=true").await;
    check("noCache=1&cacheOnly=1", "c1 q=None noCache=true cacheOnly=true").await;
    check("q=%zz&q=2", r#"c1 q=Some("2") noCache=false cacheOnly=false"#).await;
}

#[actix_web::test]
async fn options_is_answered_everywhere() {
    let (_fixture, mut client) = connected().await;
    let plain = client.ask("OPTIONS /nope", "").await;
    assert_eq!((plain.status, plain.header("Content-Length")), (200, Some("0")));
    assert_eq!(plain.header("Access-Control-Allow-Origin"), None);
    let preflight = client
        .ask(
            "OPTIONS /v4/default/registry/show/x",
            "Origin: http://example.com\r\nAccess-Control-Request-Method: get\r\n\
             Access-Control-Request-Headers: content-type,x-consumerid\r\n",
        )
        .await;
    assert_eq!(
        names(&preflight)[..3],
        ["Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Origin"]
    );
    assert_eq!(preflight.header("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(preflight.header("Access-Control-Allow-Methods"), Some("GET"));
    assert_eq!(preflight.header("Access-Control-Allow-Headers"), Some("Content-Type, X-Consumerid"));
    assert_eq!(
        preflight.header("Vary"),
        Some("Accept-Encoding, Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
    );
    let get = client.ask("GET /empty", "Origin: http://example.com\r\n").await;
    assert_eq!(get.header("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(
        get.header("Access-Control-Expose-Headers"),
        Some("X-Resource-Revision, X-Schema-Summary, X-Request-Id")
    );
}

#[actix_web::test]
async fn large_answers_are_compressed_on_request() {
    let (fixture, mut client) = connected().await;
    let mut check = async |how: &str, accept: &str, packed: Option<&[u8]>, plain: usize| {
        let answer = client.ask(&format!("GET /gzip/{how}"), &format!("Accept-Encoding: {accept}\r\n")).await;
        assert_eq!(answer.header("Content-Encoding").is_some(), packed.is_some(), "{how} {accept}");
        match packed {
            None => assert_eq!(answer.body, vec![b'y'; plain], "{how} {accept}"),
            Some(b"") => {
                let mut out = Vec::new();
                flate2::read::GzDecoder::new(answer.body.as_slice()).read_to_end(&mut out).unwrap();
                assert_eq!(out, vec![b'y'; plain], "{how} {accept}");
            }
            Some(exactly) => assert_eq!(answer.body, exactly),
        }
    };
    check("plain", "gzip, deflate, br", Some(b""), 1400).await;
    check("plain", "deflate", None, 1400).await;
    check("plain", "gzip;q=0", None, 1400).await;
    check("short", "gzip", None, 1399).await;
    check("long", "deflate, gzip", Some(b""), 200_000).await;
    check("ready", "gzip", Some(b"made before"), 0).await;
    check("ready", "identity", None, 1400).await;
    check("never", "gzip", None, 1400).await;
    check("keep", "gzip", Some(b""), 1400).await;
    assert!(fixture.state.kept.lock().unwrap().is_some());
}

#[actix_web::test]
async fn a_panic_is_an_answer() {
    let (_fixture, mut client) = connected().await;
    for path in ["/panic", "/panic-later"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.text(), r#"{"errorCode":"500003","errorMessage":"Internal server error"}"#);
    }
    assert_eq!(client.get("/empty").await.status, 200, "the connection goes on");
}

#[actix_web::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_fixture, mut client) = connected().await;
    let mut all = String::new();
    for id in 0..40 {
        all.push_str(&format!("GET /v4/default/registry/show/{id} HTTP/1.1\r\nHost: h\r\n\r\n"));
        all.push_str("PUT /v4/default/registry/show/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
        // This body looks like requests.
        all.push_str("PUT /v4/default/registry/show/x HTTP/1.1\r\nHost: h\r\nContent-Length: 32\r\n\r\n");
        all.push_str("\r\n\r\nContent-Length: 9\r\n\r\nabc\r\n\r\n");
    }
    client.send(all).await;
    for id in 0..40 {
        let shown = client.answer_to("GET").await;
        assert!(shown.text().starts_with(&format!("id={id} ")), "{}", shown.text());
        assert_eq!(client.answer_to("PUT").await.text(), "3 bytes");
        assert_eq!(client.answer_to("PUT").await.text(), "32 bytes");
    }
}

/// A log that keeps what is written to it.
#[derive(Clone, Default)]
struct KeptLog(Arc<Mutex<Vec<u8>>>);

impl KeptLog {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for KeptLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogOutput for KeptLog {
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The client waits with a body, and then sends the body and the next request in one write. The wait is a part of the first request
/// only.
#[actix_web::test]
async fn a_request_behind_a_slow_body_has_a_time_of_its_own() {
    let log = KeptLog::default();
    let access_log = Some(AccessLog::start(log.clone(), LogFormat::Text).unwrap());
    let (fixture, time) = serve_in_still_time(Settings { access_log, ..settings() }).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    client.send("POST /instances HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n").await;
    eventually("it is being served", || fixture.server.connections() == 1).await;
    time.pass(Duration::from_secs(2)).await;
    client.send("01234567890123456789GET /empty HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.answer_to("POST").await.text(), "20 bytes");
    assert_eq!(client.answer_to("GET").await.status, 200);
    eventually("both are logged", || log.text().lines().count() == 2).await;
    let ends = [r#""POST /instances HTTP/1.1" 200 20 2000"#, r#""GET /empty HTTP/1.1" 200 0 0"#];
    let text = log.text();
    assert!(text.lines().zip(ends).all(|(line, end)| line.ends_with(end)), "{text}");
}

/// The rest of a body comes in one write with further requests. No answer but the last says that the connection ends.
#[actix_web::test]
async fn requests_behind_a_body_in_pieces_wait_for_its_answer() {
    let (fixture, time) = serve_in_still_time(settings()).await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (begin, end) in [
        ("Content-Length: 8\r\n\r\n\r\nab", "\r\n\r\n"),
        ("Content-Length: 8\r\n\r\nab", "\r\n\r\nab"),
        ("Content-Len", "gth: 8\r\n\r\n\r\n\r\nabab"),
        ("Content-Length: 8\r\n\r", "\n\r\n\r\nabab"),
        (&format!("{chunked}8\r\nab\r\n"), "\r\nab\r\n0\r\n\r\n"),
    ] {
        let mut client = Client::connect(fixture.server.addresses()[0]).await;
        client.send(format!("POST /store HTTP/1.1\r\nHost: h\r\n{begin}")).await;
        // The server reads this before it is sent the rest.
        time.pass(Duration::from_secs(1)).await;
        let second = "POST /store HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        let last = "GET /empty HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        client.send(format!("{end}{second}{last}")).await;
        for (method, text, connection) in
            [("POST", "8 bytes", None), ("POST", "3 bytes", None), ("GET", "", Some("close"))]
        {
            let answer = client.answer_to(method).await;
            assert_eq!((&*answer.text(), answer.header("Connection")), (text, connection), "{begin:?}");
        }
    }
}

/// The answer is larger than what the system keeps for a client, so the server waits for the client again and again.
#[actix_web::test]
async fn requests_behind_a_large_answer_wait_for_its_end() {
    let (fixture, _time) = serve_in_still_time(settings()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    let body = "x".repeat(200_000);
    let second = format!("POST /store HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let third = "POST /store HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    client.send(format!("GET /bytes/{} HTTP/1.1\r\nHost: h\r\n\r\n{second}{third}", 32 << 20)).await;
    let answer = client.answer_to("GET").await;
    assert_eq!((answer.status, answer.text().len()), (200, 32 << 20));
    for text in ["200000 bytes", "3 bytes"] {
        let answer = client.answer_to("POST").await;
        assert_eq!((answer.status, &*answer.text(), answer.header("Connection")), (200, text, None));
    }
}

#[actix_web::test]
async fn an_offer_of_another_protocol_is_declined() {
    let (_fixture, mut client) = connected().await;
    let headers =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let answer = client.ask("GET /empty", headers).await;
    assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
}
