//! etcd goes away for some seconds and comes back: frozen (its connections stay, nothing answers, and its clock goes on)
//! or killed and started again.
//!
//! Meanwhile finds, heartbeats and `/health` answer 200 from what the node knows, and writes are refused clearly.
//! Afterwards writes work, watches go on, and instances that kept beating are there.

use std::net::TcpListener;
use std::thread;

use serde_json::json;

use super::outage::Outage;
use super::owners::{BEAT, Owners};
use super::proxy::short_leases;
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Response};
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::store::on_etcd;
use crate::support::ws::WebSocket;

/// So many beats while etcd is away take longer than the short leases (2 s) live, and not as long as it takes `/health` to
/// complain (50 s).
const BEATS_AWAY: usize = 16;

/// A write while etcd is away, one that needs it: the answer a client gets within its limit of a minute.
fn write(client: &Client) -> Response {
    let service = json!({"service": {"serviceName": "meanwhile", "version": "1.0.0"}});
    client.post("/v4/default/registry/microservices", &service).expect("an answer, not a hang")
}

fn check_outage(outage: Outage) {
    let mut etcd = Etcd::start();
    let mut daemon = Daemon::start(on_etcd(short_leases(), &[etcd.address()])).unwrap();
    let (client, registry) = (daemon.client(), Registry::new(daemon.client(), "default"));
    let provider = registry.create_service("provider", "1.0.0").unwrap();
    let consumer = registry.create_service("consumer", "1.0.0").unwrap();
    for id in ["beats", "silent"] {
        registry.register(&provider, &Instance::named(id).with_health_check(1, 1)).unwrap();
    }
    registry.register(&provider, &Instance::named("long")).unwrap();
    registry.depend(&consumer, "provider", &provider);
    let find = |freshness| registry.find(Some(&consumer), "provider", freshness);
    assert_eq!(find(Freshness::Fresh).unwrap(), ["beats", "long", "silent"]);
    let mut watch = WebSocket::open(daemon.address(), &registry.watch_target(&consumer), &[]).unwrap();
    registry.heartbeat(&provider, "silent").unwrap();

    let owner = Owners::beat(daemon.client(), &provider, &["beats".to_owned()], BEAT);
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
    // The silent instance goes. The one that beat is there, also in etcd.
    eventually(GENEROUS, || {
        let found = find(Freshness::Fresh)?;
        if found == ["beats", "long"] { Ok(()) } else { Err(CallError::Unexpected(format!("{found:?}"))) }
    });
    let key = format!("/cse-sr/inst/files/default/default/{provider}/beats");
    eventually(GENEROUS, || etcd.ctl(&["get", "--keys-only", &key]).contains(&key));
    registry.register(&provider, &Instance::named("later")).unwrap();
    loop {
        let event = watch.expect_json(GENEROUS).expect("an event of the watch that was there before");
        let (action, id) = (&event["action"], &event["instance"]["instanceId"]);
        if id == "later" {
            assert_eq!(action, "CREATE", "{event}");
            break;
        }
        // An instance that is written again is created anew, and was at no time gone.
        let expected = if id == "beats" { "CREATE" } else { "DELETE" };
        assert_eq!(action, expected, "only the silent instance went: {event}");
    }
    assert_eq!(find(Freshness::Fresh).unwrap(), ["beats", "later", "long"]);
    owner.stop().assert_all_taken();
    if outage == Outage::Frozen {
        // Its lease ended with etcd's own clock, so it was written again.
        let written_again = format!(
            "instance {provider}/beats was written again: its lease had ended although heartbeats came"
        );
        assert!(daemon.process().log().contains(&written_again), "{}", daemon.process().log());
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

/// Injected: etcd is killed, and something in its place takes connections and ends them, which counts the tries of the node.
/// The log tells the change of state, and not each try.
#[test]
fn an_outage_is_logged_once_and_its_end_as_well() {
    let mut etcd = Etcd::start();
    let mut daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let before = daemon.process().log().len();
    etcd.kill();
    let listener = TcpListener::bind(etcd.address()).unwrap();
    for _ in 0..60 {
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
    // Three parts tell it, each with up to four reasons.
    assert!((3..=12).contains(&warnings), "{warnings} warnings: {log}");
    assert!(!log.contains("transport error"), "{log}");
}
