//! Registrations whose outcome is not known, and those of ids that are known.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::Ordering;

use futures_util::StreamExt;

use super::*;
use crate::actors::freshness::Freshness;
use crate::actors::registry::core::{DependencyMode, RegistryRules};
use crate::actors::registry::messages::RegisterService;
use crate::actors::registry::services;
use crate::cache::cell::cell;
use crate::cache::{SnapshotBuilder, SnapshotPublisher};
use crate::clock::Clock;
use crate::domain::Service;
use crate::domain::instance::{HealthCheck, InstanceRules};
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;
use crate::store::Store;
use crate::store::codec::{self, Decoded};
use crate::store::embedded::{EmbeddedStore, Options};
use crate::store::faulty::FaultyStore;

struct World {
    store: Arc<FaultyStore>,
    core: Rc<RegistryCore>,
    publisher: SnapshotPublisher,
    service: ServiceId,
    _dir: tempfile::TempDir,
}

impl World {
    /// A registry with one service and room for one instance.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_700_000_000);
        let embedded = EmbeddedStore::open(dir.path(), Options::default(), clock.clone()).unwrap();
        let store = Arc::new(FaultyStore::new(Arc::new(embedded)));
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let (publisher, reader) = cell();
        let freshness = Freshness::new(Arc::clone(&shared), reader.clone());
        let rules = RegistryRules {
            quotas: Quotas { instances: 1, ..Quotas::default() },
            instances: InstanceRules::default(),
            shared: SharedServices::new([], "development"),
            dependencies: DependencyMode::Direct,
        };
        let core = RegistryCore::new(shared, reader, freshness, clock, rules);
        let world = Self { store, core, publisher, service: ServiceId::from("s"), _dir: dir };
        world.learn().await;
        let mut service =
            Service { service_id: "s".into(), service_name: "svc".into(), ..Service::default() };
        service.apply_defaults();
        let message = RegisterService { tenant: tenant(), service, quota: QuotaCheck::Enforced };
        services::register(Rc::clone(&world.core), message).await.unwrap();
        // The keys of the tenant are written beside it, and must not be what is lost later.
        for _ in 0..10_000 {
            world.learn().await;
            let snapshot = world.core.reader.load();
            if !snapshot.domains.is_empty() && !snapshot.projects.is_empty() {
                break;
            }
        }
        world
    }

    /// Publishes what the store holds.
    async fn learn(&self) {
        let mut builder = SnapshotBuilder::default();
        let mut revision = 0;
        let mut pages = self.store.list(keys::ROOT);
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            revision = page.revision;
            for entry in &page.entries {
                if let Decoded::Event(event) = codec::decode_put(entry) {
                    builder.apply(event);
                }
            }
        }
        self.publisher.publish(builder.publish(revision).0);
    }

    async fn register(&self, id: &str, interval: i32) -> Result<InstanceId, Code> {
        let check = HealthCheck { mode: "push".into(), interval, times: 3, ..HealthCheck::default() };
        let instance = Instance {
            instance_id: id.into(),
            host_name: "h".into(),
            health_check: Some(check),
            ..Instance::default()
        };
        let (service, quota) = (self.service.clone(), QuotaCheck::Enforced);
        let message = RegisterInstance { tenant: tenant(), service, instance, quota };
        let reply = register(Rc::clone(&self.core), message).await;
        // What is done beside an answer is asked of the store before the next question.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.learn().await;
        reply.map(|reply| reply.value).map_err(|error| error.code)
    }

    /// Interval and lease of an instance in the store.
    async fn stored(&self, id: &str) -> Option<(i32, i64)> {
        let at = Keys::new(&tenant(), &self.service, id);
        let txn = Txn { then: at.reads(), ..Txn::default() };
        let found = Found::new(self.store.batch(vec![txn]).await.remove(0).unwrap());
        let document = parse(&found.document?.value).unwrap();
        Some((document.health_check.unwrap().interval, found.lease?.0))
    }

    fn lose_answers(&self, count: usize) {
        self.store.loses_answers.store(count, Ordering::SeqCst);
    }
}

fn tenant() -> Tenant {
    Tenant::default_tenant()
}

#[actix::test]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let world = World::new().await;
    world.lose_answers(1);
    assert!(world.register("i", 30).await.is_ok());
    assert!(world.stored("i").await.is_some());
}

#[actix::test]
async fn a_registration_of_unknown_outcome_does_not_stay() {
    let world = World::new().await;
    world.lose_answers(2);
    assert_eq!(world.register("i", 30).await, Err(Code::Unavailable));
    assert_eq!(world.stored("i").await, None);
}

#[actix::test]
async fn another_ttl_moves_to_another_lease() {
    let world = World::new().await;
    world.register("i", 30).await.unwrap();
    let (_, former) = world.stored("i").await.unwrap();
    world.lose_answers(1);
    world.register("i", 60).await.unwrap();
    let (interval, lease) = world.stored("i").await.unwrap();
    assert_eq!(interval, 60);
    assert_ne!(lease, former);
    let alive = world.store.keep_alive(vec![LeaseId(lease), LeaseId(former)]).await;
    assert!(matches!(alive.as_slice(), [KeepAlive::Renewed(_), KeepAlive::NotFound]), "{alive:?}");
}

#[actix::test]
async fn a_change_of_ttl_of_unknown_outcome_does_not_end_the_instance() {
    let world = World::new().await;
    world.register("i", 30).await.unwrap();
    world.lose_answers(2);
    assert_eq!(world.register("i", 60).await, Err(Code::Unavailable));
    let (interval, lease) = world.stored("i").await.unwrap();
    assert_eq!(interval, 60);
    let alive = world.store.keep_alive(vec![LeaseId(lease)]).await;
    assert!(matches!(alive.as_slice(), [KeepAlive::Renewed(_)]), "{alive:?}");
}

#[actix::test]
async fn one_without_a_lease_gets_one() {
    let world = World::new().await;
    world.register("i", 30).await.unwrap();
    let at = Keys::new(&tenant(), &world.service, "i");
    let value = Bytes::from_static(b"{\"instanceId\":\"i\",\"hostName\":\"h\"}");
    let immortal = vec![Op::Put { key: at.document, value, lease: None }, Op::Delete(at.lease)];
    let txn = Txn { then: immortal, ..Txn::default() };
    world.store.batch(vec![txn]).await.remove(0).unwrap();
    world.learn().await;
    world.register("i", 30).await.unwrap();
    assert!(world.stored("i").await.is_some());
}

#[actix::test]
async fn one_that_is_shown_needs_no_room_of_its_own() {
    let world = World::new().await;
    world.register("i", 30).await.unwrap();
    let (_, lease) = world.stored("i").await.unwrap();
    // The store ended it, and the snapshot still shows it, as one that is held.
    world.store.revoke(LeaseId(lease)).await.unwrap();
    assert!(world.register("i", 30).await.is_ok());
    assert!(world.stored("i").await.is_some());
    assert_eq!(world.register("j", 30).await, Err(Code::NotEnoughQuota));
}

#[actix::test]
async fn nobody_is_refused_for_what_an_old_snapshot_says() {
    let world = World::new().await;
    world.register("i", 30).await.unwrap();
    let (service, instance) = (world.service.clone(), InstanceId::from("i"));
    let message = UnregisterInstance { tenant: tenant(), service, instance };
    unregister(Rc::clone(&world.core), message).await.unwrap();
    // The watch brings it while the registration waits.
    let (registered, ()) = tokio::join!(world.register("j", 30), async {
        tokio::task::yield_now().await;
        world.learn().await;
    });
    assert!(registered.is_ok(), "{registered:?}");
}
