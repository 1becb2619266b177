//! Clients that take much and give little: half-sent requests on hundreds of connections, and a writer that only makes mistakes
//! beside many others. The node serves other clients all the time.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::proxy::names;
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Request;
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::scale::Scale;

/// The beginning of a request, after which a slow client sends nothing more.
const BEGUN: [&str; 4] = [
    "",
    "GET /v4/default/registry/microservices HTTP/1.1\r\nHost: node\r\nX-A: ",
    "POST /v4/default/registry/microservices HTTP/1.1\r\nHost: node\r\nContent-Length: 1000\r\n\r\n{\"service\":",
    "POST /v4/default/registry/microservices HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n{",
];

/// Whether the other side has closed or reset the connection.
fn has_ended(stream: &mut TcpStream) -> bool {
    use std::io::Read as _;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Injected: hundreds of connections that send nothing, half a head, or half a body, and then wait. The node serves other clients, and
/// ends the half-sent requests after their limit (3 s here).
#[test]
fn half_sent_requests_hold_nobody_up_and_are_ended() {
    let count = Scale::of_this_run().choose(500, 5_000);
    let settings = Settings::default()
        .yaml("server.request.headerTimeout", json!("3s"))
        .yaml("server.request.timeout", json!("3s"));
    let mut node = Daemon::start(settings).unwrap();
    let registry = Registry::new(node.client(), "default");
    let service = registry.create_service("provider", "1.0.0").unwrap();
    let mut slow: Vec<TcpStream> = (0..count)
        .map(|number| {
            let mut stream = TcpStream::connect(node.address()).unwrap();
            stream.write_all(BEGUN[number % BEGUN.len()].as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let mut served = 0_usize;
    let mut longest = Duration::ZERO;
    eventually(GENEROUS * 2, || {
        let begin = Instant::now();
        let health = node.client().get("/v4/default/registry/health").unwrap();
        assert_eq!(health.status, 200);
        let id = format!("i{served}");
        registry.register(&service, &Instance::named(&id).with_health_check(600, 3)).unwrap();
        assert!(registry.list(&service, Freshness::Cached).unwrap().contains(&id));
        longest = longest.max(begin.elapsed());
        served += 1;
        slow.retain_mut(|stream| !has_ended(stream));
        if slow.is_empty() { Ok(()) } else { Err(format!("{} connections are kept", slow.len())) }
    });
    assert_eq!(registry.list(&service, Freshness::Fresh).unwrap().len(), served);
    assert_eq!(node.process().exit_status(), None);
    say!("figure: half-sent requests: {count} ended; {served} rounds of others, longest {longest:?}");
}

/// Injected: of 64 writers one names a service that does not exist, again and again. It is refused each time. Every request of the other
/// writers succeeds, and `/health` is answered all the time.
#[test]
fn one_writer_that_errs_fails_no_other() {
    let (writers, each) = (64, Scale::of_this_run().choose(40, 400));
    let node = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(node.client(), "default");
    let service = registry.create_service("provider", "1.0.0").unwrap();
    let is_over = AtomicBool::new(false);
    let begin = Instant::now();
    let (refusals, looks) = thread::scope(|scope| {
        let erring = scope.spawn(|| {
            let mut refusals = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                let refused = registry.register("unknown", &Instance::named("x")).unwrap_err();
                assert!(matches!(refused, CallError::Refused { status: 400, .. }), "{refused}");
                refusals += 1;
            }
            refusals
        });
        let looking = scope.spawn(|| {
            let mut looks = 0_usize;
            while !is_over.load(Ordering::Relaxed) {
                let health = node.client().get("/v4/default/registry/health").unwrap();
                assert_eq!(health.status, 200, "{}", health.text());
                looks += 1;
            }
            looks
        });
        let working: Vec<_> = (1..writers)
            .map(|writer| {
                let (node, service) = (&node, &service);
                scope.spawn(move || {
                    let mut connection = node.client().connect().unwrap();
                    for id in names(&format!("w{writer}-"), each) {
                        let target = format!("/v4/default/registry/microservices/{service}/instances");
                        // They get no heartbeats, and a long run takes minutes.
                        let check = json!({"mode": "push", "interval": 600, "times": 3});
                        let body = json!({"instance": {"instanceId": id, "hostName": "h",
                            "endpoints": ["rest://127.0.0.1:1"], "healthCheck": check}});
                        let answer = connection.exchange(&Request::new("POST", &target).json(&body)).unwrap();
                        assert_eq!(answer.status, 200, "{id}: {}", answer.text());
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = working.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        outcomes.into_iter().for_each(|outcome| outcome.unwrap());
        (erring.join().unwrap(), looking.join().unwrap())
    });
    let written = (writers - 1) * each;
    assert_eq!(registry.list(&service, Freshness::Fresh).unwrap().len(), written);
    assert!(refusals > 0 && looks > 0);
    say!(
        "figure: {written} writes by {} writers in {:?} beside {refusals} refusals and {looks} looks at /health",
        writers - 1,
        begin.elapsed()
    );
}
