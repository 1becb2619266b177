//! Pages of other origins when only listed ones may read, as it is with accounts.

use std::sync::atomic::Ordering;

use service_center::config::WebOrigin;
use service_center::http::middleware::cors::Readers;
use service_center::http::server::Settings;

use super::client::Client;
use super::table::{Fixture, serve, settings};

const LISTED: &str = "https://portal.example";
const FOREIGN: &str = "http://evil.example";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn serving() -> Fixture {
    let page_origins = vec![WebOrigin::parse(LISTED).unwrap()];
    serve(Settings { page_origins, page_readers: Readers::Listed, ..settings() }).await
}

/// The clients of these tests call the server `h`.
const OWN: &str = "http://h";

#[actix_web::test]
async fn only_listed_pages_may_read() {
    let fixture = serving().await;
    let mut client = Client::connect(fixture.server.addresses()[0]).await;
    for (origin, allowed) in [(LISTED, Some(LISTED)), (OWN, Some(OWN)), (FOREIGN, None), ("null", None)] {
        let header = format!("Origin: {origin}\r\n");
        let read = client.ask("GET /empty", &header).await;
        assert_eq!((read.status, read.header("Access-Control-Allow-Origin")), (200, allowed), "{origin}");
        assert_eq!(read.header("Access-Control-Expose-Headers").is_some(), allowed.is_some(), "{origin}");
        assert_eq!(read.header("Vary"), Some("Accept-Encoding, Origin"), "{origin}");
        for method in ["GET", "PUT", "DELETE"] {
            let asked = format!("{header}Access-Control-Request-Method: {method}\r\n");
            let preflight = client.ask("OPTIONS /v4/default/registry/show/x", &asked).await;
            let granted = preflight.header("Access-Control-Allow-Origin");
            assert_eq!((preflight.status, granted), (200, allowed), "{origin} {method}");
            assert!(preflight.header("Vary").is_some_and(|vary| vary.contains("Origin")), "{origin}");
        }
    }
    let nobody = client.get("/empty").await;
    assert_eq!((nobody.status, nobody.header("Access-Control-Allow-Origin")), (200, None));
}

#[actix_web::test]
async fn only_listed_pages_may_change_and_open_websockets() {
    let fixture = serving().await;
    let address = fixture.server.addresses()[0];
    for (origin, is_trusted) in [(LISTED, true), (OWN, true), (FOREIGN, false), ("null", false), ("", false)]
    {
        let header = format!("Origin: {origin}\r\n");
        let mut client = Client::connect(address).await;
        let ran = fixture.state.ran.load(Ordering::SeqCst);
        let changed =
            client.ask("PUT /v4/default/registry/show/x", &format!("{header}Content-Length: 0\r\n")).await;
        assert_eq!(changed.status, if is_trusted { 200 } else { 403 }, "{origin}");
        assert_eq!(fixture.state.ran.load(Ordering::SeqCst) - ran, usize::from(is_trusted), "{origin}");
        let watch = client.ask("GET /watch", &format!("{header}{HANDSHAKE}")).await;
        assert_eq!(watch.status, if is_trusted { 101 } else { 403 }, "{origin}");
    }
    let mut client = Client::connect(address).await;
    assert_eq!(client.ask("GET /watch", HANDSHAKE).await.status, 101, "a client that is no browser");
    assert_eq!(fixture.state.outboxes.lock().unwrap().len(), 3);
}
