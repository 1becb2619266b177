//! Instances that stop beating, and what watchers are told, on both stores; on etcd the watcher sits on another node than
//! the writer.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::proxy::short_leases;
use crate::support::daemon::Daemon;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::store::{Backing, Embedded, OwnEtcd};
use crate::support::ws::WebSocket;

/// The instance whose owner goes on with its heartbeats.
const LIVING: &str = "beats";
/// The wait for an event between two heartbeats.
const POLL: Duration = Duration::from_millis(200);

/// An instance on a lease of 2 s.
fn short_lived(id: &str) -> Instance {
    Instance::named(id).with_health_check(1, 1)
}

/// A consumer that watches a provider on one node while the provider's instances are written on another, or the same.
struct ExpiryScene {
    writing: Registry,
    watching: Registry,
    watcher: Daemon,
    provider: String,
    consumer: String,
    watch: WebSocket,
}

impl ExpiryScene {
    fn new(writer: Option<&Daemon>, watcher: Daemon) -> Self {
        let [writing, watching] = [writer.unwrap_or(&watcher), &watcher]
            .map(|node| Registry::new(node.client(), "default").patient());
        let provider = writing.create_service("provider", "1.0.0").unwrap();
        let consumer = writing.create_service("consumer", "1.0.0").unwrap();
        watching.depend(&consumer, "provider", &provider);
        let watch = WebSocket::open(watcher.address(), &watching.watch_target(&consumer), &[]).unwrap();
        Self { writing, watching, watcher, provider, consumer, watch }
    }

    fn register(&mut self, instance: &Instance) {
        self.writing.register(&self.provider, instance).unwrap();
        self.expect("CREATE", instance.id.as_deref().unwrap());
    }

    /// The next event is this one.
    #[track_caller]
    fn expect(&mut self, action: &str, instance: &str) -> Value {
        let event = self.watch.expect_json(GENEROUS).unwrap();
        let seen = (event["action"].as_str(), event["instance"]["instanceId"].as_str());
        assert_eq!(seen, (Some(action), Some(instance)), "{event}");
        assert_eq!(event["key"]["serviceName"], json!("provider"), "{event}");
        event
    }

    fn found(&self) -> Vec<String> {
        self.watching.find(Some(&self.consumer), "provider", Freshness::Cached).unwrap()
    }
}

/// On one node with the embedded store, and beside it on two nodes with etcd.
fn on_both_stores(check: impl Fn(ExpiryScene) + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| {
            check(ExpiryScene::new(None, Daemon::start(Embedded.chosen_in(short_leases())).unwrap()))
        });
        let etcd = OwnEtcd::start();
        let start = || Daemon::start(etcd.chosen_in(short_leases())).unwrap();
        let writer = start();
        check(ExpiryScene::new(Some(&writer), start()));
    });
}

/// Every change of the writer's node is pushed once, in order, on the watcher's, and a find there shows it by then.
#[test]
fn changes_are_pushed_in_order() {
    on_both_stores(|mut scene| {
        for round in 0..3 {
            let id = format!("i{round}");
            scene.register(&Instance::named(&id));
            assert_eq!(scene.found(), [id.as_str()]);
            scene.writing.set_status(&scene.provider, &id, "DOWN").unwrap();
            let event = scene.expect("UPDATE", &id);
            assert_eq!(event["instance"]["status"], json!("DOWN"), "{event}");
            scene.writing.unregister(&scene.provider, &id).unwrap();
            scene.expect("DELETE", &id);
            assert!(scene.found().is_empty());
        }
    });
}

impl ExpiryScene {
    /// Instances whose expiry the watcher's node holds back, after a heartbeat of the living instance.
    fn held_back(&self) -> Vec<Value> {
        self.writing.heartbeat(&self.provider, LIVING).unwrap();
        let held = self.watcher.client().all_items("/v4/default/admin/expiries").unwrap();
        held.into_iter().map(|expiry| expiry["instanceId"].clone()).collect()
    }

    /// One instance stops its heartbeats, and another one is unregistered after the lease of the first has ended. Whether the end
    /// of the second is pushed first. It is not where the machine stands still for longer than an expiry is held back (2 s).
    fn goodbye_overtakes_expiry(&mut self, round: usize) -> bool {
        let (leaving, dying) = (format!("leaves{round}"), format!("dies{round}"));
        self.register(&Instance::named(&leaving));
        self.register(&short_lived(&dying));
        // Where the machine stands still for so long, the expiry is over before anybody looks.
        eventually(GENEROUS, || self.held_back().contains(&json!(dying)) || !self.found().contains(&dying));
        let is_found = self.found().contains(&dying);
        self.writing.unregister(&self.provider, &leaving).unwrap();
        let ended: Vec<Value> = (0..2)
            .map(|_| {
                let event = eventually(GENEROUS, || {
                    self.writing.heartbeat(&self.provider, LIVING).unwrap();
                    self.watch.expect_json(POLL)
                });
                assert_eq!(event["action"], json!("DELETE"), "{event}");
                event["instance"]["instanceId"].clone()
            })
            .collect();
        assert!(ended.contains(&json!(leaving)) && ended.contains(&json!(dying)), "{ended:?}");
        assert_eq!(self.found(), [LIVING]);
        is_found && ended[0] == json!(leaving)
    }
}

/// Injected: instances that stop their heartbeats. Every node holds an expiry back for a while, and shows the instance meanwhile.
/// A goodbye is pushed at once, so it comes before an expiry that is held back. An instance that goes on with its heartbeats stays
/// for longer than its lease.
#[test]
fn an_expiry_is_held_back_and_a_goodbye_is_not() {
    on_both_stores(|mut scene| {
        // Two rounds take 8 s and more, which is longer than this lease of 6 s.
        scene.register(&Instance::named(LIVING).with_health_check(2, 2));
        scene.goodbye_overtakes_expiry(0);
        let mut round = 0;
        eventually(GENEROUS * 2, || {
            round += 1;
            scene.goodbye_overtakes_expiry(round)
        });
    });
}
