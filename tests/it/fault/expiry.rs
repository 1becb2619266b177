//! Instances that stop beating, and what watchers are told, on both stores; on etcd the watcher sits on another node than
//! the writer.

use serde_json::{Value, json};

use super::proxy::short_leases;
use crate::support::daemon::Daemon;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::store::{Backing, Embedded, OwnEtcd};
use crate::support::ws::WebSocket;

fn short_lived(id: &str) -> Instance {
    Instance::named(id).with_health_check(1, 1)
}

/// A consumer that watches a provider on one node while the provider's instances are written on another, or the same.
struct Scene {
    writing: Registry,
    watching: Registry,
    watcher: Daemon,
    provider: String,
    consumer: String,
    watch: WebSocket,
}

impl Scene {
    fn new(writer: Option<&Daemon>, watcher: Daemon) -> Self {
        let writing = Registry::new(writer.unwrap_or(&watcher).client(), "default");
        let watching = Registry::new(watcher.client(), "default");
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

/// On one node with the embedded store, then on two nodes with etcd.
fn on_both_stores(check: impl Fn(Scene)) {
    check(Scene::new(None, Daemon::start(Embedded.chosen_in(short_leases())).unwrap()));
    let etcd = OwnEtcd::start();
    let start = || Daemon::start(etcd.chosen_in(short_leases())).unwrap();
    let writer = start();
    check(Scene::new(Some(&writer), start()));
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

/// Injected: of three instances one stops beating, and one says goodbye after the first one's lease has ended. The goodbye
/// is pushed at once, so it comes before the expiry, which every node holds back for a while. The one that beats stays.
#[test]
fn an_expiry_is_held_back_and_a_goodbye_is_not() {
    on_both_stores(|mut scene| {
        scene.register(&Instance::named("leaves"));
        scene.register(&short_lived("beats"));
        scene.register(&short_lived("dies"));
        eventually(GENEROUS, || {
            scene.writing.heartbeat(&scene.provider, "beats").unwrap();
            let held = scene.watcher.client().get("/v4/default/admin/expiries").unwrap().json();
            let held = held["expiries"].as_array().cloned().unwrap_or_default();
            held.iter().any(|expiry| expiry["instanceId"] == json!("dies"))
        });
        assert!(scene.found().contains(&"dies".to_owned()), "what is held back is still found");
        scene.writing.unregister(&scene.provider, "leaves").unwrap();
        scene.expect("DELETE", "leaves");
        eventually(GENEROUS, || {
            scene.writing.heartbeat(&scene.provider, "beats").unwrap();
            scene.found() == ["beats"]
        });
        scene.expect("DELETE", "dies");
        // It goes on beating for longer than its lease lives without.
        let mut rounds = 0;
        eventually(GENEROUS, || {
            scene.writing.heartbeat(&scene.provider, "beats").unwrap();
            rounds += 1;
            rounds > 150
        });
        assert_eq!(scene.found(), ["beats"]);
    });
}
