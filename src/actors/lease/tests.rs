//! Instances whose lease is gone though they beat: who is written again, and who is not.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::Ordering;

use actix::prelude::Actor;
use bytes::Bytes;

use super::*;
use crate::actors::lifeline::Lifelines;
use crate::actors::registry::core::{DependencyMode, RegistryCore, RegistryRules};
use crate::cache::cell::cell;
use crate::cache::{InstanceEntry, SnapshotBuilder, SnapshotPublisher};
use crate::domain::event::{InstanceRecord, InstanceRef, PutKind, RegistryEvent};
use crate::domain::instance::InstanceRules;
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;
use crate::domain::{InstanceId, ServiceId, Tenant};
use crate::store::embedded::{EmbeddedStore, Options};
use crate::store::faulty::FaultyStore;
use crate::store::{Key, Op, Revision, Txn, keys};

/// A lease no store knows.
const GONE: i64 = 4711;
const TTL: i64 = 120;

struct World {
    store: Arc<FaultyStore>,
    core: Rc<LeaseCore>,
    publisher: SnapshotPublisher,
    builder: SnapshotBuilder,
    clock: Clock,
    _dir: tempfile::TempDir,
}

fn at() -> InstanceRef {
    let (service, instance) = (ServiceId::from("s"), InstanceId::from("i"));
    InstanceRef { tenant: Tenant::default_tenant(), service, instance }
}

impl World {
    /// A store that holds the service only, and a snapshot that still shows its instance.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(1_700_000_000);
        let embedded = EmbeddedStore::open(dir.path(), Options::default(), clock.clone()).unwrap();
        let store = Arc::new(FaultyStore::new(Arc::new(embedded)));
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let (publisher, reader) = cell();
        let freshness = Freshness::new(Arc::clone(&shared), reader.clone());
        let rules = RegistryRules {
            quotas: Quotas::default(),
            instances: InstanceRules::default(),
            shared: SharedServices::new([], "development"),
            dependencies: DependencyMode::Direct,
        };
        let (for_registry, their_reader, their_freshness, their_clock) =
            (Arc::clone(&shared), reader.clone(), freshness.clone(), clock.clone());
        let lifelines = Lifelines::default();
        let tie = lifelines.tie("RegistryActor");
        lifelines.release();
        let registry = RegistryCore::new(for_registry, their_reader, their_freshness, their_clock, rules);
        let core = LeaseCore {
            store: shared,
            beats: Beats::default(),
            reader,
            freshness,
            goodbyes: Goodbyes::default(),
            registry: RegistryActor::new(registry, "test".to_owned(), tie).start(),
            clock: clock.clone(),
        };
        let mut world = Self {
            store,
            core: Rc::new(core),
            publisher,
            builder: SnapshotBuilder::default(),
            clock,
            _dir: dir,
        };
        let key = keys::service(&at().tenant, "s");
        let put = Op::Put { key, value: Bytes::from_static(b"{\"serviceId\":\"s\"}"), lease: None };
        let txn = Txn { then: vec![put], ..Txn::default() };
        let revision = world.store.batch(vec![txn]).await.remove(0).unwrap().revision;
        let record = InstanceRecord {
            json: Bytes::from_static(b"{\"instanceId\":\"i\"}"),
            mod_revision: 1,
            ttl_seconds: TTL,
            interval_seconds: 30,
        };
        world.builder.apply(RegistryEvent::InstancePut(at(), PutKind::Created, record));
        world.builder.apply(RegistryEvent::LeasePut(at(), GONE));
        world.publish(revision);
        world
    }

    fn publish(&mut self, revision: Revision) {
        let (snapshot, _) = self.builder.publish(revision);
        self.publisher.publish(snapshot);
    }

    /// Renews a beat of the instance; `true` if it is to be tried again.
    async fn beat(&self, first_sent: Option<Duration>) -> bool {
        let entry: Arc<InstanceEntry> =
            self.core.reader.load().instance(&at().tenant, "s", "i").unwrap().clone();
        let mark = Arc::clone(entry.lease.as_ref().unwrap());
        !restore(&self.core, vec![Beat { at: at(), mark, entry, first_sent }]).await.is_empty()
    }

    async fn is_stored(&self) -> bool {
        let key: Key = keys::instance(&at().tenant, "s", "i");
        let txn = Txn { then: vec![Op::Get(key)], ..Txn::default() };
        !self.store.batch(vec![txn]).await.remove(0).unwrap().reads.concat().is_empty()
    }
}

#[actix::test]
async fn one_that_beats_is_written_again() {
    let world = World::new().await;
    assert!(!world.beat(None).await);
    assert!(world.is_stored().await);
}

#[actix::test]
async fn nobody_is_written_again_on_an_old_snapshot() {
    let mut world = World::new().await;
    world.store.hides_revision.store(true, Ordering::SeqCst);
    assert!(world.beat(None).await, "what the store holds is not known: later");
    assert!(!world.is_stored().await);
    // It had said goodbye: this is what the watch had not brought.
    world.store.hides_revision.store(false, Ordering::SeqCst);
    world.core.goodbyes.remember(at(), world.clock.monotonic());
    world.publish(2);
    assert!(!world.beat(None).await);
    assert!(!world.is_stored().await);
}

#[actix::test]
async fn one_that_was_silent_for_its_ttl_has_expired_rightly() {
    let world = World::new().await;
    let first_sent = world.clock.monotonic();
    world.clock.advance(Duration::from_secs(119));
    assert!(!world.beat(Some(first_sent)).await);
    assert!(world.is_stored().await, "just in time");
    let world = World::new().await;
    let first_sent = world.clock.monotonic();
    world.clock.advance(Duration::from_secs(120));
    assert!(!world.beat(Some(first_sent)).await);
    assert!(!world.is_stored().await);
}

#[actix::test]
async fn a_beat_keeps_the_time_it_was_first_sent() {
    let world = World::new().await;
    let entry = world.core.reader.load().instance(&at().tenant, "s", "i").unwrap().clone();
    world.core.beats.take(at, &entry);
    let mut drained = world.core.beats.drain();
    drained[0].first_sent = Some(Duration::from_secs(7));
    drained.into_iter().for_each(|beat| world.core.beats.retry(beat));
    assert_eq!(world.core.beats.drain()[0].first_sent, Some(Duration::from_secs(7)));
    // A beat that came meanwhile takes the place of the one to be tried again.
    let mark = Arc::clone(entry.lease.as_ref().unwrap());
    let old = Beat { at: at(), mark, entry: Arc::clone(&entry), first_sent: Some(Duration::ZERO) };
    world.core.beats.take(at, &entry);
    world.core.beats.retry(old);
    let drained = world.core.beats.drain();
    assert_eq!(drained.iter().map(|beat| beat.first_sent).collect::<Vec<_>>(), [None]);
}
