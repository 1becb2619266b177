//! Support for the tests of the actors: a store in memory that fails on demand, and the actors in front of it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod clock;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::beats::{BeatTaken, Beats};
use super::freshness::Freshness;
use super::goodbyes::Goodbyes;
use super::hub::HubActor;
use super::interests::Interests;
use super::lease::{LeaseActor, LeaseCore};
use super::lifeline::Lifelines;
use super::mailbox::{Mailbox, ask};
use super::registry::RegistryActor;
use super::registry::core::RegistryCore;
use super::registry::messages::{
    Author, ChangeInstance, Committed, FormerLease, InstanceEdit, RegisterInstance, RegisterService,
    UnregisterInstance, UnregisterService,
};
use super::registry::rules::{DependencyMode, RegistryRules};
use super::watch::guard::{GuardRules, Preservation};
use super::watch::{WatchActor, WatchParts, WatchRules};
use crate::cache::{InstanceEntry, SnapshotReader, cell};
use crate::clock::Clock;
use crate::domain::dependency::CrossDomain;
use crate::domain::event::InstanceRef;
use crate::domain::instance::{HealthCheck, InstanceRules};
use crate::domain::json;
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;
use crate::domain::validate::flag::Force;
use crate::domain::{Instance, InstanceId, Service, ServiceId, Tenant};
use crate::error::Error;
use crate::recorder::Recorder;
use crate::store::embedded::faulty_disk::FaultyDisk;
use crate::store::embedded::{EmbeddedStore, Options};
use crate::store::faulty::FaultyStore;
use crate::store::{LeaseId, Store};
use crate::trouble::Trouble;

/// A limit that no wait comes near.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A store in memory.
pub fn store() -> FaultyStore {
    store_by(Clock::system(), Options::default().late_tolerance)
}

/// A store in memory with this clock, which may move forward by `stride` at once.
fn store_by(clock: Clock, stride: Duration) -> FaultyStore {
    let on_fatal = Arc::new(|why: &str| panic!("fatal: {why}"));
    let options = Options { late_tolerance: stride, on_fatal, ..Options::default() };
    let inner = EmbeddedStore::open_on(Arc::new(FaultyDisk::default()), options, clock).unwrap();
    FaultyStore::new(Arc::new(inner))
}

/// Waits until `probe` holds.
#[track_caller]
pub fn eventually(what: &str, mut probe: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !probe() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "{place}: {what}: not within {PATIENCE:?}");
    }
}

pub fn tenant() -> Tenant {
    Tenant::default_tenant()
}

/// The actors on a store.
pub struct Stage {
    pub store: FaultyStore,
    pub reader: SnapshotReader,
    pub beats: Beats,
    pub goodbyes: Goodbyes,
    pub registry: Mailbox<RegistryActor>,
    pub watch: Mailbox<WatchActor>,
    pub hub: Mailbox<HubActor>,
    pub core: Rc<RegistryCore>,
    pub freshness: Freshness,
    pub service: ServiceId,
}

impl Stage {
    /// Starts the actors and registers a service.
    pub async fn set() -> Self {
        Self::set_on(store()).await
    }

    pub async fn set_on(store: FaultyStore) -> Self {
        Self::set_up(store, DependencyMode::Direct).await
    }

    pub async fn set_up(store: FaultyStore, dependencies: DependencyMode) -> Self {
        Self::set_all(store, dependencies, Clock::system()).await
    }

    /// The same, with a clock that the test moves.
    pub async fn set_by(clock: Clock, dependencies: DependencyMode) -> Self {
        let store = store_by(clock.clone(), Duration::from_secs(3600));
        Self::set_all(store, dependencies, clock).await
    }

    async fn set_all(store: FaultyStore, dependencies: DependencyMode, clock: Clock) -> Self {
        let lifelines = Lifelines::default();
        lifelines.release();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let (publisher, reader) = cell::cell();
        let (beats, goodbyes) = (Beats::default(), Goodbyes::default());
        let hub = Mailbox::start_here(&lifelines, || {
            HubActor::new(Interests::default(), Recorder::default(), Clock::system(), None)
        });
        let freshness = Freshness::new(Arc::clone(&shared), reader.clone());
        let rules = WatchRules {
            guard: GuardRules { preservation: Preservation::On, share: 1.0, service_share: 1.0 },
            fixed_ttl_seconds: 0,
            cross_domain: CrossDomain::Forbidden,
        };
        let watch = Mailbox::start_here(&lifelines, || {
            let parts = WatchParts {
                store: Arc::clone(&shared),
                publisher,
                goodbyes: goodbyes.clone(),
                interests: Interests::default(),
                hub: hub.clone(),
                recorder: Recorder::default(),
                clock: clock.clone(),
            };
            WatchActor::new(parts, rules)
        });
        let rules = RegistryRules {
            quotas: Quotas::default(),
            instances: InstanceRules { min_interval: 1, min_times: 0, ..InstanceRules::default() },
            shared: SharedServices::new([], "production"),
            cross_domain: CrossDomain::Forbidden,
            dependencies,
        };
        let core = RegistryCore::new(
            Arc::clone(&shared),
            reader.clone(),
            freshness.clone(),
            clock.clone(),
            Recorder::default(),
            rules,
        );
        let registry =
            Mailbox::start_here(&lifelines, || RegistryActor::new(Rc::clone(&core), "test".to_owned()));
        let lease_core = LeaseCore {
            store: shared,
            beats: beats.clone(),
            reader: reader.clone(),
            freshness: freshness.clone(),
            goodbyes: goodbyes.clone(),
            registry: registry.clone(),
            clock,
            trouble: Trouble::default(),
        };
        Mailbox::start_here(&lifelines, || LeaseActor::new(lease_core));
        reader.wait_until_complete().await;
        let mut stage = Self {
            store,
            reader,
            beats,
            goodbyes,
            registry,
            watch,
            hub,
            core,
            freshness,
            service: "".into(),
        };
        let service = Service { service_name: "svc".into(), version: "1".into(), ..Service::default() };
        let message = RegisterService { tenant: tenant(), service, author: Author::Client };
        let service = ask(&stage.registry, message, PATIENCE).await.unwrap().unwrap();
        stage.service = stage.seen(service).await;
        // No request waits for these two keys. They are written before a test makes the store fail.
        let announced = || {
            let snapshot = stage.reader.load();
            !snapshot.domains.is_empty() && !snapshot.projects.is_empty()
        };
        eventually("the tenant's keys", announced).await;
        stage
    }

    /// Waits until the snapshot holds the write, and returns its value.
    pub async fn seen<T>(&self, committed: Committed<T>) -> T {
        if let Some(revision) = committed.revision {
            tokio::time::timeout(PATIENCE, self.reader.wait_for(revision)).await.unwrap();
        }
        committed.value
    }

    pub async fn register(&self, id: &str) -> Result<Committed<InstanceId>, Error> {
        self.register_on(id, "host").await
    }

    pub async fn register_on(&self, id: &str, host: &str) -> Result<Committed<InstanceId>, Error> {
        let check = HealthCheck { mode: "push".into(), interval: 30, times: 3, ..HealthCheck::default() };
        let instance = Instance {
            instance_id: id.to_owned(),
            host_name: host.into(),
            health_check: Some(check),
            ..Instance::default()
        };
        let (service, author) = (self.service.clone(), Author::Client);
        let message = RegisterInstance {
            tenant: tenant(),
            service,
            instance: instance.into(),
            former_lease: FormerLease::Renewed,
            author,
            answer_by: None,
        };
        ask(&self.registry, message, PATIENCE).await.unwrap()
    }

    /// Registers an instance, and waits until the snapshot shows it.
    pub async fn registered(&self, id: &str) -> Arc<InstanceEntry> {
        let committed = self.register(id).await.unwrap();
        self.seen(committed).await;
        self.entry(id).unwrap()
    }

    pub fn document(&self, id: &str) -> Instance {
        json::decode(&self.entry(id).unwrap().json()).unwrap()
    }

    /// Changes an instance, and waits until the snapshot shows it.
    pub async fn change(&self, id: &str, change: InstanceEdit) {
        let (service, instance) = (self.service.clone(), InstanceId::from(id));
        let message = ChangeInstance { tenant: tenant(), service, instance, change };
        let committed = ask(&self.registry, message, PATIENCE).await.unwrap().unwrap();
        self.seen(committed).await;
    }

    pub async fn unregister(&self, id: &str) -> Result<(), Error> {
        let (service, instance) = (self.service.clone(), InstanceId::from(id));
        let (tenant, author) = (tenant(), Author::Client);
        let message = UnregisterInstance { tenant, service, instance, author, unless_below: None };
        let committed = ask(&self.registry, message, PATIENCE).await.unwrap()?;
        self.seen(committed).await;
        Ok(())
    }

    pub async fn unregister_service(&self) {
        let message =
            UnregisterService { tenant: tenant(), service: self.service.clone(), force: Force::Yes };
        let committed = ask(&self.registry, message, PATIENCE).await.unwrap().unwrap();
        self.seen(committed).await;
    }

    pub fn at(&self, id: &str) -> InstanceRef {
        InstanceRef { tenant: tenant(), service: self.service.clone(), instance: id.into() }
    }

    pub fn entry(&self, id: &str) -> Option<Arc<InstanceEntry>> {
        self.reader.load().instance(&tenant(), self.service.as_str(), id).cloned()
    }

    pub fn beat(&self, id: &str, entry: &Arc<InstanceEntry>) {
        assert_eq!(self.beats.take(|| self.at(id), entry), BeatTaken::Queued);
    }

    /// Waits until the snapshot holds all that the store holds. Returns how many instances it shows.
    pub async fn count(&self) -> usize {
        let revision = self.store.bookmark().await.unwrap();
        tokio::time::timeout(PATIENCE, self.reader.wait_for(revision)).await.unwrap();
        self.reader.load().instance_count
    }
}

pub fn lease_of(entry: &InstanceEntry) -> LeaseId {
    LeaseId(entry.lease.as_ref().unwrap().lease())
}
