//! Clients that send more requests than `server.limit.connections` allows their address.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;
use tokio::net::TcpSocket;

use super::wire::{Reached, Wire};
use crate::support::daemon::Settings;
use crate::support::http::{AsyncConnection, Request, Response};

const VERSION: &str = "/version";
const REGISTRY: &str = "/v4/default/registry";

/// Allows so many requests an hour. A test is too short for a client to get another request.
fn limited(requests: u32) -> Settings {
    Settings::default()
        .yaml("server.limit.connections", json!(requests))
        .yaml("server.limit.unit", json!("h"))
}

#[track_caller]
fn assert_over(answer: &Response, interval: u64) {
    assert_eq!((answer.status, &answer.json()["errorCode"]), (429, &json!("429001")), "{}", answer.text());
    let wait: u64 = answer.header("Retry-After").unwrap().parse().unwrap();
    assert!((1..=interval).contains(&wait), "{wait}");
    assert!(answer.text().contains("server.limit.connections"), "{}", answer.text());
}

#[test]
fn a_client_over_its_rate_is_told_when_to_come_back() {
    over_the_rate(Wire::Http1);
}

#[test]
fn a_client_over_its_rate_is_told_when_to_come_back_over_http_2() {
    over_the_rate(Wire::Http2);
}

fn over_the_rate(wire: Wire) {
    const REQUESTS: u32 = 10;
    const INTERVAL: u64 = 360;
    let reached = Reached::start(wire, limited(REQUESTS));
    let get = |target: &str| reached.send(&Request::new("GET", target));
    let post = |target: &str, body| reached.send(&Request::new("POST", target).json(&body));
    let service = json!({"service": {"serviceId": "s", "serviceName": "s"}});
    let instance =
        json!({"instance": {"instanceId": "i", "hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}});
    assert_eq!(post(&format!("{REGISTRY}/microservices"), service).status, 200);
    assert_eq!(post(&format!("{REGISTRY}/microservices/s/instances"), instance).status, 200);
    // Unknown paths and methods count as well.
    assert_eq!(get("/nope").status, 404);
    assert_eq!(reached.send(&Request::new("PUT", VERSION)).status, 405);
    for _ in 4..REQUESTS {
        assert_eq!(get(VERSION).status, 200);
    }
    assert_over(&get(VERSION), INTERVAL);
    assert_over(&get("/nope"), INTERVAL);
    let late = json!({"service": {"serviceId": "late", "serviceName": "late"}});
    assert_over(&post(&format!("{REGISTRY}/microservices"), late), INTERVAL);
    let forwarded =
        Request::new("GET", VERSION).header("X-Forwarded-For", "8.8.8.8").header("X-Real-IP", "8.8.4.4");
    assert_over(&reached.send(&forwarded), INTERVAL);

    // Heartbeats, metrics and health are still answered.
    let beat = format!("{REGISTRY}/microservices/s/instances/i/heartbeat");
    let beats = json!({"Instances": [{"serviceId": "s", "instanceId": "i"}]});
    for _ in 0..2 * REQUESTS {
        assert_eq!(reached.send(&Request::new("PUT", &beat)).status, 200);
        assert_eq!(reached.send(&Request::new("POST", &beat)).status, 200);
        assert_eq!(
            reached.send(&Request::new("PUT", &format!("{REGISTRY}/heartbeats")).json(&beats)).status,
            200
        );
    }
    for target in
        ["/metrics", "/health", &format!("{REGISTRY}/health"), &format!("{REGISTRY}/health/readiness")]
    {
        for _ in 0..2 * REQUESTS {
            assert_eq!(get(target).status, 200, "{target}");
        }
    }
    assert!(get("/metrics").text().contains("service_center_requests_refused_for_rate_total 4\n"));
    assert_over(&get(VERSION), INTERVAL);
}

/// Sends a GET from this address of the machine.
fn get_from(source: Ipv4Addr, reached: &Reached, target: &str) -> Response {
    let address = reached.daemon.address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(source), 0).into()).unwrap();
        let mut connection = AsyncConnection::over(socket.connect(address).await.unwrap());
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.unwrap();
        connection.read_response("GET").await.unwrap()
    })
}

/// A client over its rate does not affect another client, and its refused requests are not carried out.
#[test]
fn another_client_does_not_notice() {
    let reached = Reached::start(Wire::Http1, limited(3));
    let (greedy, other) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 77, 0, 1));
    for _ in 0..3 {
        assert_eq!(get_from(greedy, &reached, VERSION).status, 200);
    }
    for _ in 0..20 {
        assert_over(&get_from(greedy, &reached, VERSION), 1200);
    }
    let late = json!({"service": {"serviceName": "late"}});
    let refused = reached.send(&Request::new("POST", &format!("{REGISTRY}/microservices")).json(&late));
    assert_over(&refused, 1200);
    let services = get_from(other, &reached, &format!("{REGISTRY}/microservices?noCache=1"));
    assert_eq!(services.status, 200);
    assert!(!services.text().contains("late"), "{}", services.text());
}

/// Behind a proxy the configured header names the client. The proxy's own entry is the last one.
#[test]
fn behind_a_proxy_the_configured_header_counts() {
    let lookups = json!("X-Forwarded-For,RemoteAddr");
    let reached = Reached::start(Wire::Http1, limited(2).yaml("server.limit.ipLookups", lookups));
    let of = |forwarded: &str| {
        let request = Request::new("GET", VERSION).header("X-Forwarded-For", forwarded);
        reached.send(&request).status
    };
    assert_eq!(["192.0.2.1"; 3].map(of), [200, 200, 429]);
    assert_eq!(["192.0.2.2", "192.0.2.1, 192.0.2.2", "192.0.2.3, 192.0.2.2"].map(of), [200, 200, 429]);
    assert_eq!(
        ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"].map(of),
        [200, 200, 429, 200]
    );
    // Without an address in the header, the address of the connection counts.
    assert_eq!(["nobody", "", "unknown"].map(of), [200, 200, 429]);
}

/// An attacker pretends to be many clients. They cost no memory, and no client is refused because of them.
#[test]
fn a_crowd_of_addresses_takes_no_memory() {
    const ADDRESSES: usize = 20_000;
    const TOGETHER: usize = 100;
    /// The table of addresses has 1 MiB, and the allocator and the connection as much again.
    const MOST_KILOBYTES: usize = 2 * 1024;
    let lookups = json!("X-Forwarded-For");
    let mut reached = Reached::start(Wire::Http1, limited(1).yaml("server.limit.ipLookups", lookups));
    let mut connection = reached.daemon.client().connect().unwrap();
    let mut send = |from: usize| {
        let requests: String = (from..from + TOGETHER)
            .map(|n| {
                format!(
                    "GET {VERSION} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.9.{}.{}\r\n\r\n",
                    n >> 8,
                    n & 255
                )
            })
            .collect();
        connection.send_bytes(requests.as_bytes()).unwrap();
        for _ in 0..TOGETHER {
            assert_eq!(connection.read_response("GET").unwrap().status, 200);
        }
    };
    send(0);
    let before = reached.daemon.process().peak_memory();
    for from in (TOGETHER..ADDRESSES).step_by(TOGETHER) {
        send(from);
    }
    let grown = reached.daemon.process().peak_memory().saturating_sub(before);
    assert!(grown < MOST_KILOBYTES, "{grown} kB for {ADDRESSES} addresses");
}
