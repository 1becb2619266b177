//! etcd goes away for some seconds and comes back. It is frozen (its connections stay, it answers nothing, and its clock goes on),
//! or killed and started again.
//!
//! Meanwhile the node answers finds, heartbeats and `/health` with 200 from its memory, and refuses writes with a clear error.
//! Afterwards writes succeed, watches go on, and instances with heartbeats are there.

use std::net::TcpListener;
use std::thread;

use serde_json::json;

use super::outage::Outage;
use super::owners::Owners;
use super::proxy::short_leases;
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Response};
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

/// Heartbeats while etcd is away. They take longer than the short leases (2 s and 4 s), and less than the 50 s after which `/health` reports
/// the outage.
const BEATS_AWAY: usize = 16;

/// Sends a write that needs etcd while etcd is away; the answer, which comes within a minute.
fn write(client: &Client) -> Response {
    let service = json!({"service": {"serviceName": "meanwhile", "version": "1.0.0"}});
    client.post("/v4/default/registry/microservices", &service).expect("an answer, not a hang")
}

fn check_outage(outage: Outage) {
    let mut etcd = Etcd::start();
    let mut daemon = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    let (client, registry) = (daemon.client(), Registry::new(daemon.client(), "default"));
    let setup = registry.clone().patient();
    let provider = setup.create_service("provider", "1.0.0").unwrap();
    let consumer = setup.create_service("consumer", "1.0.0").unwrap();
    setup.register(&provider, &Instance::named("long")).unwrap();
    registry.depend(&consumer, "provider", &provider);
    let owner = Owners::register(daemon.client(), &provider, &["beats".to_owned()], (1, 1));
    // On a lease that does not end before etcd goes away.
    setup.register(&provider, &Instance::named("silent").with_health_check(1, 3)).unwrap();
    let find = |freshness| registry.find(Some(&consumer), "provider", freshness);
    assert_eq!(find(Freshness::Fresh).unwrap(), ["beats", "long", "silent"]);
    let mut watch = WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
    registry.heartbeat(&provider, "silent").unwrap();

    outage.begin(&mut etcd);
    let refused = thread::scope(|scope| {
        let writing = scope.spawn(|| write(&client));
        let rounds = owner.rounds();
        while owner.rounds() < rounds + BEATS_AWAY {
            for freshness in [Freshness::Cached, Freshness::Fresh] {
                let found = find(freshness).expect("a find while etcd is away");
                assert_eq!(found, ["beats", "long", "silent"], "from what the node knows");
            }
            for target in ["health", "health/readiness"] {
                let health = client.get(&format!("/v4/default/registry/{target}")).unwrap();
                assert_eq!(health.status, 200, "{target}: {}", health.text());
            }
        }
        let refused = writing.join().unwrap();
        outage.end(&mut etcd);
        refused
    });
    assert!((500..600).contains(&refused.status), "{}: {}", refused.status, refused.text());
    let body = refused.json();
    assert_eq!(body["errorCode"], json!("500011"), "{body}");
    assert_eq!(body["errorMessage"], json!("Registry service is unavailable"), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "says why: {body}");

    eventually(GENEROUS, || registry.create_service("meanwhile", "1.0.0"));
    // The instance without heartbeats goes. The one with heartbeats is there, also in etcd.
    eventually(GENEROUS, || {
        let found = find(Freshness::Fresh)?;
        if found == ["beats", "long"] { Ok(()) } else { Err(CallError::Unexpected(format!("{found:?}"))) }
    });
    let key = format!("/cse-sr/inst/files/default/default/{provider}/beats");
    eventually(GENEROUS, || {
        etcd.try_ctl(&["get", "--keys-only", &key]).is_ok_and(|keys| keys.contains(&key))
    });
    setup.register(&provider, &Instance::named("later")).unwrap();
    loop {
        let event = watch.expect_json(GENEROUS).expect("an event of the watch that was there before");
        let (action, id) = (&event["action"], &event["instance"]["instanceId"]);
        if id == "later" {
            assert_eq!(action, "CREATE", "{event}");
            break;
        }
        // Watchers see an instance that is written again as created. It was at no time gone.
        let expected = if id == "beats" { "CREATE" } else { "DELETE" };
        assert_eq!(action, expected, "only the instance without heartbeats goes: {event}");
    }
    assert_eq!(find(Freshness::Fresh).unwrap(), ["beats", "later", "long"]);
    owner.stop().assert_all_taken();
    if outage == Outage::Frozen {
        // Its lease ended in etcd, so the node wrote it again.
        let written_again = format!(
            "instance {provider}/beats was written again: its lease had ended although heartbeats came"
        );
        eventually(GENEROUS, || daemon.process().log().contains(&written_again));
    }
}

#[test]
fn a_frozen_etcd_stops_no_reader() {
    check_outage(Outage::Frozen);
}

#[test]
fn a_killed_etcd_stops_no_reader() {
    check_outage(Outage::Killed);
}

/// Injected: etcd is killed, and a listener in its place accepts connections and closes them, which counts the node's attempts. The log
/// reports the change of state, and not each attempt.
#[test]
fn an_outage_is_logged_once_and_its_end_as_well() {
    let mut etcd = Etcd::start();
    let mut daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let before = daemon.process().log().len();
    etcd.kill();
    let listener = TcpListener::bind(etcd.address()).unwrap();
    for _ in 0..30 {
        drop(listener.accept().unwrap());
    }
    drop(listener);
    etcd.restart();
    let node = format!("etcd {} answers again", etcd.endpoint());
    let ends = ["the watch of the store works again", "the store answers again", &node];
    eventually(GENEROUS, || {
        let log = daemon.process().log().split_off(before);
        ends.iter().all(|end| log.contains(*end))
    });
    let log = daemon.process().log().split_off(before);
    let warnings = log.lines().filter(|line| line.contains(" WARN ")).count();
    // Five parts of the node report it, each with up to four reasons.
    assert!((5..=20).contains(&warnings), "{warnings} warnings: {log}");
    assert!(!log.contains("transport error"), "{log}");
}
