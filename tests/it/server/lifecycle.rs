//! Opening and closing: the port, and the stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use service_center::http::server::{Bound, start};
use tokio::net::TcpStream;

use super::client::Client;
use super::table::{State, TABLE, eventually, serve, settings};
use crate::support::eventually::{GENEROUS, eventually_async};

#[actix_web::test]
async fn the_port_opens_when_the_server_starts() {
    let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.address();
    assert_ne!(address.port(), 0);
    assert!(TcpStream::connect(address).await.is_err(), "it is bound and refuses");
    let server = start(vec![bound], || Arc::new(State::default()), TABLE, settings()).await.unwrap();
    assert_eq!(server.addresses(), [address]);
    assert_eq!(Client::connect(address).await.get("/empty").await.status, 200);
    assert!(Bound::bind(address).is_err(), "an address in use is known at once");
}

#[actix_web::test]
async fn a_server_without_address_does_not_start() {
    assert!(start(Vec::new(), || Arc::new(State::default()), TABLE, settings()).await.is_err());
}

#[actix_web::test]
async fn a_stop_finishes_requests_and_ends_idle_connections() {
    let fixture = serve(settings()).await;
    let address = fixture.server.addresses()[0];
    let state = Arc::clone(&fixture.state);
    let (mut busy, mut idle, mut unused) =
        (Client::connect(address).await, Client::connect(address).await, Client::connect(address).await);
    assert_eq!(idle.get("/empty").await.status, 200);
    busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    eventually("the request runs", || state.ran.load(Ordering::SeqCst) == 1).await;
    let stop = actix_web::rt::spawn(fixture.server.stop(GENEROUS));
    assert!(idle.rest().await.is_empty());
    assert!(unused.rest().await.is_empty());
    // New connections are refused.
    eventually_async(GENEROUS, async || TcpStream::connect(address).await.is_err()).await;
    assert!(!stop.is_finished());
    state.go.notify_one();
    let answer = busy.answer_to("GET").await;
    assert_eq!((answer.text().as_str(), answer.header("Connection")), ("waited", Some("close")));
    assert_eq!(stop.await.unwrap(), 0);
}

#[actix_web::test]
async fn a_stop_has_a_time_limit() {
    let fixture = serve(settings()).await;
    let mut busy = Client::connect(fixture.server.addresses()[0]).await;
    busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
    eventually("the request runs", || fixture.state.ran.load(Ordering::SeqCst) == 1).await;
    assert_eq!(fixture.server.stop(Duration::from_millis(200)).await, 1);
    assert!(busy.rest().await.is_empty());
}
