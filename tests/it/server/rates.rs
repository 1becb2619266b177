//! The limit of requests per client address, as time passes.

use std::time::Duration;

use service_center::config::RateConfig;
use service_center::http::server::Settings;

use super::client::Client;
use super::table::{serve_in_still_time, settings};

/// All requests of a unit at once, and then one in each part of it.
#[actix_web::test]
async fn a_client_may_go_on_when_it_has_waited() {
    let rate = RateConfig { requests: 4, unit: Duration::from_secs(10) };
    let (fixture, time) = serve_in_still_time(Settings { rate: Some(rate), ..settings() }).await;
    let address = fixture.server.addresses()[0];
    let mut clients = [Client::connect(address).await, Client::connect(address).await];
    for round in 0..4 {
        assert_eq!(clients[round % 2].get("/empty").await.status, 200);
    }
    for client in &mut clients {
        let over = client.get("/empty").await;
        assert_eq!((over.status, over.header("Retry-After")), (429, Some("3")));
    }
    time.pass(Duration::from_millis(2_400)).await;
    let over = clients[0].get("/empty").await;
    assert_eq!((over.status, over.header("Retry-After")), (429, Some("1")));
    time.pass(Duration::from_millis(200)).await;
    assert_eq!(clients[0].get("/empty").await.status, 200);
    assert_eq!(clients[1].get("/empty").await.status, 429);
    time.pass(Duration::from_secs(11)).await;
    for _ in 0..4 {
        assert_eq!(clients[1].get("/empty").await.status, 200);
    }
    assert_eq!(clients[1].get("/empty").await.status, 429);
}
