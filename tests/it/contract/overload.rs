//! More requests than a node can handle at once: which requests it refuses, with which answer, and which ones it still answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use super::cases::Caller;
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Response;
use crate::support::store::on_etcd;

#[track_caller]
fn assert_refused_for_load(response: &Response) {
    assert_eq!(response.text(), r#"{"errorCode":"503001","errorMessage":"Service overloaded"}"#);
    assert_eq!((response.status, response.header("Retry-After")), (503, Some("1")));
}

/// Injected: etcd stops answering, and more clients write than may wait (writes have 14 of the 16 places). The node refuses the other
/// writes at once. It still answers finds, heartbeats, and requests for its health. When etcd answers again, writes succeed.
#[test]
fn writes_that_cannot_wait_are_refused_and_finds_are_not() {
    let etcd = Etcd::start();
    let settings = Settings::default().yaml("server.request.maxConcurrent", json!(16));
    let daemon = Daemon::start(on_etcd(settings, &[etcd.address()])).unwrap();
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "s"}));
    let instance = caller.instance(&service, json!({"hostName": "h"}));
    let new = |name: &str| caller.post("/microservices", &json!({"service": {"serviceName": name}}));
    etcd.freeze();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..20 {
            let (new, is_over) = (&new, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let status = new(&format!("w{writer}")).status;
                    // A refused writer tries again at once, although a client should wait.
                    assert!([200, 500, 503].contains(&status), "{status}");
                }
            });
        }
        let look = || {
            let refused = eventually(GENEROUS, || {
                let response = new("other");
                if response.status == 503 { Ok(response) } else { Err(response.text()) }
            });
            assert_refused_for_load(&refused);
            let get = |target: &str| daemon.client().get(target).unwrap();
            for target in ["/v4/default/govern/statistics", "/v4/default/admin/dump"] {
                let refused = eventually(GENEROUS, || match get(target) {
                    response if response.status == 503 => Ok(response),
                    response => Err(response.text()),
                });
                assert_refused_for_load(&refused);
            }
            for _ in 0..20 {
                assert_eq!(caller.find("appId=default&serviceName=s"), [instance.as_str()]);
                let beat = format!("/microservices/{service}/instances/{instance}/heartbeat");
                assert_eq!(caller.put(&beat, &json!(null)).status, 200);
                for target in
                    ["/v4/default/registry/health", "/v4/default/registry/health/readiness", "/metrics"]
                {
                    assert_eq!(daemon.client().get(target).unwrap().status, 200, "{target}");
                }
            }
        };
        // The writers end also when an assertion fails.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
        is_over.store(true, Ordering::Relaxed);
        etcd.thaw();
        outcome.unwrap();
    });
    eventually(GENEROUS, || match new("afterwards") {
        response if response.status == 200 => Ok(()),
        response => Err(response.text()),
    });
    assert!(daemon.metric("service_center_requests_refused_for_load_total") > 0);
}

/// Injected: etcd stops answering. The first find that needs an answer of etcd waits for at most a second. From then on the node knows
/// that etcd is silent, and answers such finds from its memory: many of them while one write waits for etcd.
#[test]
fn finds_do_not_wait_for_a_store_that_is_known_to_be_silent() {
    let etcd = Etcd::start();
    let daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let caller = Caller::of(&daemon);
    let service = caller.service(json!({"serviceName": "s"}));
    let instance = caller.instance(&service, json!({"hostName": "h"}));
    etcd.freeze();
    let find_again_and_again = || {
        for round in 0..10 {
            let query = format!("appId=default&serviceName=s&rev={round:040x}");
            assert_eq!(caller.find(&query), [instance.as_str()]);
            assert_eq!(caller.find("appId=default&serviceName=s&noCache=1"), [instance.as_str()]);
        }
    };
    find_again_and_again();
    eventually(GENEROUS, || {
        thread::scope(|scope| {
            let write =
                scope.spawn(|| caller.post("/microservices", &json!({"service": {"serviceName": "t"}})));
            find_again_and_again();
            let is_sooner = !write.is_finished();
            assert_eq!(write.join().unwrap().status, 500);
            if is_sooner { Ok(()) } else { Err("a write was refused before 20 finds were answered") }
        })
    });
    etcd.thaw();
    let other = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    eventually(GENEROUS, || {
        let service = Caller::of(&other).service(json!({"serviceName": "later"}));
        let found = caller.get(&format!("/microservices/{service}?noCache=1"));
        if found.status == 200 { Ok(()) } else { Err(found.text()) }
    });
}
