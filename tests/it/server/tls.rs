//! TLS connections, and plain connections to a TLS port. The certificate and the key beside this file are self-signed, and for
//! `127.0.0.1`. Only tests use them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use service_center::http::answer_memory::AnswerMemory;
use service_center::http::server::{PROTOCOLS, Settings};
use service_center::tls::files::FileSet;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::Client;
use super::table::{Fixture, eventually, serve, serve_in_still_time, settings};
use crate::support::eventually::GENEROUS;

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(include_bytes!("localhost.pem")).unwrap()
}

fn key() -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(include_bytes!("localhost.key")).unwrap()
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    Arc::new(roots)
}

async fn serving(tls: ServerConfig) -> Fixture {
    serve(Settings { tls: Some(files(tls)), ..settings() }).await
}

/// A configuration that changes with no file.
pub(super) fn files(mut tls: ServerConfig) -> Arc<FileSet<ServerConfig>> {
    tls.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Arc::new(FileSet::open("test", "the test's certificates", Vec::new(), move |_| Ok(tls.clone())).unwrap())
}

pub(super) fn plain_server() -> ServerConfig {
    ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate()], key()).unwrap()
}

async fn connect(fixture: &Fixture, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(fixture.server.addresses()[0]).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), tcp).await
}

fn client() -> ClientConfig {
    ClientConfig::builder().with_root_certificates(roots()).with_no_client_auth()
}

#[actix_web::test]
async fn requests_and_websockets_work_over_tls() {
    let fixture = serving(plain_server()).await;
    let mut http = Client::over(connect(&fixture, client()).await.unwrap());
    for _ in 0..3 {
        let answer = http.get("/v4/default/registry/show/x").await;
        assert_eq!(answer.header("X-Resource-Revision"), Some("abc"));
    }
    let large = http.get("/bytes/3000000").await;
    assert_eq!(large.body.len(), 3_000_000);
    let mut watch = Client::over(connect(&fixture, client()).await.unwrap());
    watch
        .send(
            "GET /watch-unknown HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    watch.until(b"\r\n\r\n").await;
    assert_eq!(watch.rest().await, b"\x81\x16service does not exist");
}

/// The client sends requests without waiting for answers, and reads the large answers late. All answers come in order.
#[actix_web::test]
async fn pipelined_requests_over_tls_are_all_answered() {
    async fn check<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut client: Client<T>) {
        const ROUNDS: usize = 50;
        let show = "/v4/default/registry/show/";
        let mut requests = String::new();
        for round in 0..ROUNDS {
            requests += &format!(
                "GET /bytes/100000 HTTP/1.1\r\nHost: h\r\n\r\nGET {show}{round} HTTP/1.1\nHost: h\n\n"
            );
            let body = "\r\n\r\n".repeat(round);
            requests +=
                &format!("PUT {show}x HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
        client.send(&requests).await;
        for round in 0..ROUNDS {
            assert_eq!(client.answer_to("GET").await.body.len(), 100_000);
            let shown = client.answer_to("GET").await;
            assert!(shown.text().starts_with(&format!("id={round} ")), "{round}: {}", shown.text());
            assert_eq!(client.answer_to("PUT").await.text(), format!("{} bytes", round * 4));
        }
        assert_eq!(client.get("/empty").await.status, 200);
    }
    let plain = serve(settings()).await;
    check(Client::connect(plain.server.addresses()[0]).await).await;
    let encrypted = serving(plain_server()).await;
    check(Client::over(connect(&encrypted, client()).await.unwrap())).await;
}

#[actix_web::test]
async fn the_protocol_is_negotiated() {
    let fixture = serving(plain_server()).await;
    for protocol in ["h2", "http/1.1"] {
        let mut config = client();
        config.alpn_protocols = vec![protocol.into()];
        let stream = connect(&fixture, config).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    }
}

pub(super) type Http2 = h2::client::SendRequest<bytes::Bytes>;

/// A client of HTTP/2 that sends a ping as soon as the last one is answered.
pub(super) async fn http_2(fixture: &Fixture) -> Http2 {
    let mut config = client();
    config.alpn_protocols = vec!["h2".into()];
    let stream = connect(fixture, config).await.unwrap();
    let (client, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    actix_web::rt::spawn(async move { drop(connection.await) });
    actix_web::rt::spawn(async move { while pings.ping(h2::Ping::opaque()).await.is_ok() {} });
    client.ready().await.unwrap()
}

pub(super) fn get(client: &mut Http2, path: &str) -> h2::client::ResponseFuture {
    let request = http::Request::builder().uri(format!("https://127.0.0.1{path}")).body(()).unwrap();
    client.send_request(request, true).unwrap().0
}

#[actix_web::test]
async fn answers_over_http_2_have_the_id_of_their_request() {
    let fixture = serving(plain_server()).await;
    let mut client = http_2(&fixture).await;
    for (path, status) in [("/empty", 200), ("/unchanged", 304), ("/nope", 404), ("/panic-later", 500)] {
        let uri = format!("https://127.0.0.1{path}");
        let request = http::Request::builder().uri(uri).header("x-request-id", "of-http-2").body(()).unwrap();
        let given = client.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(
            (given.status().as_u16(), given.headers()["x-request-id"].as_bytes()),
            (status, &b"of-http-2"[..])
        );
        let made = get(&mut client, path).await.unwrap();
        assert_eq!(made.headers()["x-request-id"].len(), 26, "{path}");
    }
}

#[actix_web::test]
async fn http_2_is_served() {
    let fixture = serving(plain_server()).await;
    let mut client = http_2(&fixture).await;
    let mut ask = async |method: &str, path: &str, body: Vec<u8>| {
        let uri = format!("https://127.0.0.1{path}");
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        let (response, mut sender) = client.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            sender.send_data(body.into(), true).unwrap();
        }
        let (head, mut stream) = response.await.unwrap().into_parts();
        let mut length = 0;
        while let Some(chunk) = stream.data().await {
            let chunk = chunk.unwrap();
            length += chunk.len();
            stream.flow_control().release_capacity(chunk.len()).unwrap();
        }
        let revision =
            head.headers.get("x-resource-revision").map(|value| value.to_str().unwrap().to_owned());
        (head.status.as_u16(), revision.unwrap_or_default(), length)
    };
    assert_eq!(ask("GET", "/unchanged", Vec::new()).await, (304, "abc".to_owned(), 0));
    assert_eq!(ask("GET", "/bytes/3000000", Vec::new()).await, (200, String::new(), 3_000_000));
    assert_eq!(ask("GET", "/watch", Vec::new()).await.0, 400);
    let show = "/v4/default/registry/show/x";
    assert_eq!(ask("PUT", show, vec![b' '; 2 * 1024 * 1024]).await.0, 200);
    assert_eq!(ask("PUT", show, vec![b' '; 3 * 1024 * 1024]).await.0, 400);
    assert_eq!(ask("GET", show, Vec::new()).await.0, 200);
    for other in
        ["/unchanged/..%2fv4/default/registry/show/x", "/unchanged/%2e%2e/version", "/unchanged//../version"]
    {
        assert_eq!(ask("GET", other, Vec::new()).await.0, 404, "{other}");
    }
    assert_eq!(ask("GET", "/unchanged/../version", Vec::new()).await.0, 200);
    // Frames that belong to no request do not make the connection busy.
    assert_eq!(fixture.server.stop(GENEROUS).await, 0);
}

#[actix_web::test]
async fn an_idle_http_2_connection_ends() {
    let keep_alive = Duration::from_secs(7);
    let tls = Some(files(plain_server()));
    let (fixture, time) = serve_in_still_time(Settings { tls, keep_alive, ..settings() }).await;
    // Pings do not keep a connection that has no request.
    let mut client = http_2(&fixture).await;
    let response = get(&mut client, "/wait");
    eventually("the request runs", || fixture.state.ran.load(Ordering::SeqCst) == 1).await;
    time.pass(keep_alive * 4).await;
    fixture.state.go.notify_one();
    assert_eq!(response.await.unwrap().status(), 200);
    time.pass_until(eventually("the connection is gone", || fixture.server.connections() == 0)).await;
}

#[actix_web::test]
async fn a_stop_waits_for_the_answers_of_http_2() {
    let fixture = serving(plain_server()).await;
    let mut client = http_2(&fixture).await;
    let (waits, large) = (get(&mut client, "/wait"), get(&mut client, "/bytes/3000000"));
    eventually("the request runs", || fixture.state.ran.load(Ordering::SeqCst) == 1).await;
    let state = Arc::clone(&fixture.state);
    let stop = actix_web::rt::spawn(fixture.server.stop(GENEROUS));
    let mut large = large.await.unwrap().into_body();
    state.go.notify_one();
    assert_eq!(waits.await.unwrap().status(), 200);
    let mut length = 0;
    while let Some(chunk) = large.data().await {
        let chunk = chunk.unwrap();
        length += chunk.len();
        large.flow_control().release_capacity(chunk.len()).unwrap();
    }
    assert_eq!(length, 3_000_000);
    assert_eq!(stop.await.unwrap(), 0);
}

/// The client reads no answer, but it sends pings.
#[actix_web::test]
async fn a_client_of_http_2_that_takes_no_answer_is_not_kept() {
    let tls = Some(files(plain_server()));
    let (fixture, time) = serve_in_still_time(Settings { tls, ..settings() }).await;
    let mut client = http_2(&fixture).await;
    let _untaken = get(&mut client, "/bytes/3000000").await.unwrap();
    time.pass_until(eventually("the connection is gone", || fixture.server.connections() == 0)).await;
}

/// The server announces the limit, so the client waits with the next request.
#[actix_web::test]
async fn the_requests_of_one_http_2_connection_have_a_limit() {
    let fixture = serving(plain_server()).await;
    let mut client = http_2(&fixture).await;
    assert_eq!(get(&mut client, "/unchanged").await.unwrap().status(), 304);
    let most = client.current_max_send_streams();
    assert_eq!(most, 128);
    let mut open = Vec::new();
    for _ in 0..most {
        client = client.ready().await.unwrap();
        // The body never ends.
        let uri = "https://127.0.0.1/v4/default/registry/show/x";
        let request = http::Request::builder().method("PUT").uri(uri).body(()).unwrap();
        let (response, mut sender) = client.send_request(request, false).unwrap();
        sender.send_data(" ".into(), false).unwrap();
        open.push((response, sender));
        // The client counts what it has sent.
        tokio::task::yield_now().await;
    }
    let waiting = get(&mut client, "/unchanged");
    let mut next = Box::pin(client.ready());
    assert!((&mut next).now_or_never().is_none(), "one waits to be sent, and no other may");
    // When one ends there is room for another.
    let (response, mut sender) = open.pop().unwrap();
    sender.send_data(" ".into(), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    assert_eq!(waiting.await.unwrap().status(), 304);
    assert!(next.await.is_ok());
}

/// A client that opens streams and resets them is idle: only answers count.
#[actix_web::test]
async fn streams_that_are_reset_keep_no_http_2_connection() {
    let limit = Duration::from_secs(7);
    let tls = Some(files(plain_server()));
    let limits = Settings { tls, head_time: limit, keep_alive: limit, ..settings() };
    let (fixture, time) = serve_in_still_time(limits).await;
    for answered_before in [false, true] {
        let mut client = http_2(&fixture).await;
        if answered_before {
            assert_eq!(get(&mut client, "/unchanged").await.unwrap().status(), 304);
        }
        let mut resets = 0;
        while let Ok(ready) = client.ready().await {
            client = ready;
            let request = http::Request::builder().uri("https://127.0.0.1/wait").body(()).unwrap();
            let Ok((_response, mut sender)) = client.send_request(request, true) else { break };
            sender.send_reset(h2::Reason::CANCEL);
            resets += 1;
            assert!(resets < 100, "the connection is kept");
            time.pass(limit / 20).await;
        }
        eventually("the connection is gone", || fixture.server.connections() == 0).await;
    }
}

#[actix_web::test]
async fn heads_of_http_2_have_a_limit() {
    let tls = Some(files(plain_server()));
    let fixture = serve(Settings { tls, max_header_bytes: 8192, ..settings() }).await;
    let mut client = http_2(&fixture).await;
    for (length, status) in [(12_000, 304), (12_400, 431), (12_000, 304)] {
        let request = http::Request::builder().uri("https://127.0.0.1/unchanged");
        let request = request.header("x-long", "x".repeat(length)).body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        assert_eq!(response.await.unwrap().status(), status, "{length}");
    }
}

#[actix_web::test]
async fn over_the_limit_one_request_is_answered_over_http_2_too() {
    let tls = Some(files(plain_server()));
    let fixture = serve(Settings { tls, max_connections: 1, ..settings() }).await;
    let mut first = http_2(&fixture).await;
    assert_eq!(get(&mut first, "/unchanged").await.unwrap().status(), 304);
    for (path, status) in [("/version", 200), ("/unchanged", 503)] {
        let mut further = http_2(&fixture).await;
        assert_eq!(get(&mut further, path).await.unwrap().status(), status);
        eventually("its place is free again", || fixture.server.connections() == 1).await;
    }
    assert_eq!(get(&mut first, "/unchanged").await.unwrap().status(), 304);
}

/// A connection that sends no request ends, whatever protocol was negotiated.
#[actix_web::test]
async fn a_tls_connection_without_a_request_ends() {
    let tls = Some(files(plain_server()));
    let (fixture, time) = serve_in_still_time(Settings { tls, ..settings() }).await;
    let mut config = client();
    for protocol in ["h2", "http/1.1"] {
        config.alpn_protocols = vec![protocol.into()];
        let silent = connect(&fixture, config.clone()).await.unwrap();
        eventually("it is open", || fixture.server.connections() == 1).await;
        time.pass_until(eventually("it is gone", || fixture.server.connections() == 0)).await;
        drop(silent);
    }
    config.alpn_protocols = vec!["h2".into()];
    let (_client, connection) =
        h2::client::handshake(connect(&fixture, config).await.unwrap()).await.unwrap();
    drop(time.pass_until(connection).await);
    eventually("it is gone", || fixture.server.connections() == 0).await;
}

#[actix_web::test]
async fn a_plain_client_on_a_tls_port_is_answered() {
    let fixture = serving(plain_server()).await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    client.send("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let told = String::from_utf8(client.rest().await).unwrap();
    assert!(told.starts_with("HTTP/1.0 400 Bad Request\r\n"), "{told}");
    assert!(told.ends_with("\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"), "{told}");
    eventually("its place is free again", || fixture.server.connections() == 0).await;
}

#[actix_web::test]
async fn a_client_without_a_required_certificate_is_rejected() {
    let verifier = WebPkiClientVerifier::builder(roots()).build().unwrap();
    let server = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate()], key())
        .unwrap();
    let fixture = serving(server).await;
    // With TLS 1.3 the client sees the rejection when it reads.
    let mut refused = match connect(&fixture, client()).await {
        Ok(stream) => Client::over(stream),
        Err(_) => return,
    };
    assert!(refused.rest().await.is_empty());
}

#[actix_web::test]
async fn unread_streams_hold_the_memory_of_their_answers() {
    let answers = AnswerMemory::new(1_000_000, 2_500_000);
    let settings = Settings { tls: Some(files(plain_server())), answers: Arc::clone(&answers), ..settings() };
    let fixture = serve(settings).await;
    let mut client = http_2(&fixture).await;
    let mut unread = Vec::new();
    for _ in 0..2 {
        let answer = get(&mut client, "/bytes/1000000").await.unwrap();
        assert_eq!(answer.status(), 200);
        unread.push(answer);
    }
    assert_eq!(get(&mut client, "/bytes/1000000").await.unwrap().status(), 503);
    assert!(answers.held() > 2_000_000);
    // Each is reset.
    drop(unread);
    eventually("the space is free", || answers.held() == 0).await;
    assert_eq!(get(&mut client, "/bytes/1000000").await.unwrap().status(), 200);
}
