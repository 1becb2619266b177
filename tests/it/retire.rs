//! The retirement jobs with their actor: what they delete, what they keep, and which node runs them.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use service_center::actors::freshness::Freshness;
use service_center::actors::goodbyes::Goodbyes;
use service_center::actors::hub::HubActor;
use service_center::actors::interests::Interests;
use service_center::actors::lifeline::Lifelines;
use service_center::actors::mailbox::{Mailbox, ask};
use service_center::actors::registry::RegistryActor;
use service_center::actors::registry::core::RegistryCore;
use service_center::actors::registry::messages::{
    Author, ChangeDependencies, FormerLease, Merge, PutSchema, RegisterInstance, RegisterService,
    ReplaceSchemas, RetireEmptyService, RetireSchemaContents, UnregisterInstance, WriteReply,
};
use service_center::actors::registry::rules::{DependencyMode, RegistryRules};
use service_center::actors::retire::messages::{
    ListRetirements, LookForUse, PlannedRetirements, RetireJob, RetireNow, Retired, RetirementReason,
};
use service_center::actors::retire::{LocalZone, RetireActor, RetireCore, RetireRules};
use service_center::actors::watch::guard::{GuardRules, Preservation};
use service_center::actors::watch::{WatchActor, WatchParts, WatchRules};
use service_center::cache::{SnapshotReader, cell};
use service_center::clock::Clock;
use service_center::config::{Cron, EtcdEndpoint};
use service_center::domain::dependency::{CrossDomain, Dependency};
use service_center::domain::instance::InstanceRules;
use service_center::domain::json::TextMap;
use service_center::domain::quota::Quotas;
use service_center::domain::schema::{Schema, content_hash};
use service_center::domain::service::ServiceKey;
use service_center::domain::shared::SharedServices;
use service_center::domain::{Instance, InstanceId, Service, ServiceId, Tenant};
use service_center::error::{Code, Error};
use service_center::recorder::Recorder;
use service_center::store::embedded::{EmbeddedStore, Options};
use service_center::store::etcd::{EtcdOptions, EtcdStore};
use service_center::store::{Key, Op, Store, Txn, keys};

use crate::support::etcd::Etcd;

/// The limit of each wait. Correct code never comes near it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Any time, in seconds since 1970.
const START: u64 = 1_700_000_000;
/// How long a service may be empty.
const EMPTY_AFTER: Duration = Duration::from_secs(10 * 3_600);

/// The actors that a retirement needs, on a store of its own.
struct World {
    store: Arc<dyn Store>,
    reader: SnapshotReader,
    registry: Mailbox<RegistryActor>,
    retire: Mailbox<RetireActor>,
    lifelines: Lifelines,
    /// The time of the jobs.
    clock: Clock,
    /// The folder or the server of the store.
    _keep: Box<dyn Any>,
}

impl World {
    fn start(reserve: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), Options::default(), Clock::system()).unwrap();
        Self::start_on(Arc::new(store), Box::new(folder), reserve)
    }

    async fn start_on_etcd(reserve: usize) -> Self {
        let etcd = Etcd::start();
        let options = EtcdOptions::plain([EtcdEndpoint::parse(&etcd.endpoint()).unwrap()]);
        let store = EtcdStore::connect(options).await.unwrap();
        Self::start_on(Arc::new(store), Box::new(etcd), reserve)
    }

    fn start_on(store: Arc<dyn Store>, keep: Box<dyn Any>, reserve: usize) -> Self {
        let clock = Clock::system();
        let lifelines = Lifelines::default();
        let (publisher, reader) = cell::cell();
        let freshness = Freshness::new(Arc::clone(&store), reader.clone());
        let make_hub = || HubActor::new(Interests::default(), Recorder::default(), Clock::system(), None);
        let hub = Mailbox::start_here(&lifelines, make_hub);
        let expiry = WatchRules {
            guard: GuardRules { preservation: Preservation::On, share: 1.0, service_share: 1.0 },
            fixed_ttl_seconds: 0,
            cross_domain: CrossDomain::Forbidden,
        };
        let (watched, goodbyes, watch_clock) = (Arc::clone(&store), Goodbyes::default(), clock.clone());
        Mailbox::start_here(&lifelines, || {
            let parts = WatchParts {
                store: watched,
                publisher,
                goodbyes,
                interests: Interests::default(),
                hub,
                recorder: Recorder::default(),
                clock: watch_clock,
            };
            WatchActor::new(parts, expiry)
        });
        let core = RegistryCore::new(
            Arc::clone(&store),
            reader.clone(),
            freshness.clone(),
            clock.clone(),
            Recorder::default(),
            registry_rules(),
        );
        let registry = Mailbox::start_here(&lifelines, || RegistryActor::new(core, "test".to_owned()));
        let clock = Clock::manual(START);
        let core = RetireCore {
            store: Arc::clone(&store),
            registry: registry.clone(),
            reader: reader.clone(),
            freshness,
            clock: clock.clone(),
            rules: RetireRules {
                // Once a year. No test waits for it.
                services: Some(Cron::parse("0 1 1 1 *").unwrap()),
                reserve,
                empty_after: Some(EMPTY_AFTER),
                schema_contents: None,
                zone: LocalZone::system(),
            },
            owner: "test".to_owned(),
        };
        let retire = Mailbox::start_here(&lifelines, || RetireActor::new(core));
        Self { store, reader, registry, retire, lifelines, clock, _keep: keep }
    }

    /// Moves the time of the jobs. A node looks each half hour meanwhile.
    async fn pass(&self, hours: u64) {
        for _ in 0..2 * hours {
            self.clock.advance(Duration::from_secs(1_800));
            ask(&self.retire, LookForUse, PATIENCE).await.unwrap().unwrap();
        }
    }

    async fn planned(&self) -> PlannedRetirements {
        ask(&self.retire, ListRetirements, PATIENCE).await.unwrap().unwrap()
    }

    /// The empty services that a dry run lists: name, since when, and when they go, both in hours since the start.
    async fn planned_empty(&self) -> Vec<(String, Option<i64>, i64)> {
        let hours = |at: i64| (at - i64::try_from(START).unwrap()) / 3_600;
        let planned = self.planned().await.retirements.into_iter();
        let empty = planned.filter_map(|planned| match planned.reason {
            RetirementReason::Empty { since } => {
                let name = planned.service.record.document.service_name.clone();
                Some((name, since.map(hours), hours(planned.due)))
            }
            RetirementReason::OldVersion => None,
        });
        empty.collect()
    }

    async fn depend(&self, consumer: &str, provider: &str) {
        let key = |name: &str| ServiceKey {
            app_id: "default".to_owned(),
            service_name: name.to_owned(),
            version: "1.0.0".to_owned(),
            ..ServiceKey::default()
        };
        let request =
            Dependency { consumer: Some(key(consumer)), providers: vec![key(provider)], replace: false };
        let message = ChangeDependencies { tenant: tenant(), requests: vec![request], merge: Merge::Add };
        self.settled(ask(&self.registry, message, PATIENCE).await.unwrap()).await;
    }

    async fn unregister(&self, service: &ServiceId, instance: InstanceId) {
        let message = UnregisterInstance {
            tenant: tenant(),
            service: service.clone(),
            instance,
            author: Author::Client,
            unless_below: None,
        };
        self.settled(ask(&self.registry, message, PATIENCE).await.unwrap()).await;
    }

    /// The revision at which a service was marked as empty, and the revision of that write.
    async fn mark_of(&self, service: &ServiceId) -> (i64, i64) {
        let then = vec![Op::Get(keys::empty_service(&tenant(), service.as_str()))];
        let outcomes = self.store.batch(vec![Txn { then, ..Txn::default() }]).await;
        let entry = outcomes[0].as_ref().unwrap().reads[0][0].clone();
        let mark: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
        (mark["revision"].as_i64().unwrap(), entry.mod_revision)
    }

    /// Deletes a service as the job does that found this mark.
    async fn retire_empty(&self, service: &ServiceId, mark: (i64, i64)) -> Result<(), Code> {
        let (empty_at, marked_at) = mark;
        let message = RetireEmptyService { tenant: tenant(), service: service.clone(), empty_at, marked_at };
        ask(&self.registry, message, PATIENCE).await.unwrap().map(drop).map_err(|error| error.code)
    }

    /// The services that are marked as empty, sorted.
    async fn marked(&self) -> Vec<ServiceId> {
        let pages: Vec<_> = self.store.list(&[keys::EMPTY_SERVICES]).collect().await;
        let entries = pages.into_iter().flat_map(|page| page.unwrap().entries);
        entries.map(|entry| keys::parse_empty_service(&entry.key).unwrap().1).collect()
    }

    async fn run(&self, job: RetireJob) -> Result<Retired, Error> {
        ask(&self.retire, RetireNow { job }, PATIENCE).await.unwrap()
    }

    /// The value of a write, when the snapshot holds it.
    async fn settled<T>(&self, reply: WriteReply<T>) -> T {
        let committed = reply.unwrap();
        if let Some(revision) = committed.revision {
            self.catch_up(revision).await;
        }
        committed.value
    }

    async fn catch_up(&self, revision: i64) {
        let waited = tokio::time::timeout(PATIENCE, self.reader.wait_for(revision)).await;
        waited.expect("the snapshot catches up");
    }

    async fn service(&self, name: &str, version: &str) -> ServiceId {
        let mut service =
            Service { service_name: name.to_owned(), version: version.to_owned(), ..Service::default() };
        service.apply_defaults();
        let message = RegisterService { tenant: tenant(), service, author: Author::Client };
        self.settled(ask(&self.registry, message, PATIENCE).await.unwrap()).await
    }

    async fn instance(&self, service: &ServiceId) -> InstanceId {
        let instance = Instance { host_name: "h".to_owned(), ..Instance::default() };
        let message = RegisterInstance {
            tenant: tenant(),
            service: service.clone(),
            instance: instance.into(),
            former_lease: FormerLease::Renewed,
            author: Author::Client,
            answer_by: None,
        };
        self.settled(ask(&self.registry, message, PATIENCE).await.unwrap()).await
    }

    async fn schema(&self, service: &ServiceId, id: &str, text: &str) {
        let message = PutSchema { tenant: tenant(), service: service.clone(), schema: schema(id, text) };
        self.settled(ask(&self.registry, message, PATIENCE).await.unwrap()).await;
    }

    async fn schemas(&self, service: &ServiceId, schemas: Vec<Schema>) {
        for _ in 0..100 {
            let (service, schemas) = (service.clone(), schemas.clone());
            let message = ReplaceSchemas { tenant: tenant(), service, schemas };
            match ask(&self.registry, message, PATIENCE).await.unwrap() {
                // On a busy machine the job may interrupt the write until its attempts are used up.
                Err(error) if error.code == Code::Unavailable => {}
                reply => {
                    reply.unwrap();
                    return;
                }
            }
        }
        panic!("the schemas were never written");
    }

    /// The services the snapshot shows, sorted.
    async fn services(&self) -> Vec<ServiceId> {
        // The revision of the store may be that of a lock, which the watch does not show.
        self.catch_up(self.store.bookmark().await.unwrap()).await;
        let snapshot = self.reader.load_full();
        let ids =
            snapshot.tenant(&tenant()).map(|view| view.services().map(|view| view.id.clone()).collect());
        let mut ids: Vec<ServiceId> = ids.unwrap_or_default();
        ids.sort();
        ids
    }

    /// The hashes of the stored contents, sorted.
    async fn contents(&self) -> Vec<String> {
        let pages: Vec<_> = self.store.list(&[keys::SCHEMA_CONTENTS]).collect().await;
        let entries = pages.into_iter().flat_map(|page| page.unwrap().entries);
        entries.map(|entry| keys::parse_schema_content(&entry.key).unwrap().1.to_string()).collect()
    }

    async fn write(&self, ops: Vec<Op>) {
        let outcomes = self.store.batch(vec![Txn { then: ops, ..Txn::default() }]).await;
        assert!(outcomes[0].as_ref().unwrap().succeeded);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Otherwise the end of the actors would end the process of the tests.
        self.lifelines.release();
    }
}

fn tenant() -> Tenant {
    Tenant::new("default", "p")
}

fn schema(id: &str, text: &str) -> Schema {
    Schema { schema_id: id.to_owned(), schema: text.to_owned(), ..Schema::default() }
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: Key::from(key), value: Bytes::from(value.to_owned()), lease: None }
}

fn registry_rules() -> RegistryRules {
    RegistryRules {
        quotas: Quotas { services: 1_000, instances: 1_000, schemas: 1_000, ..Quotas::default() },
        instances: InstanceRules {
            min_interval: 5,
            min_times: 3,
            fixed_ttl_seconds: 0,
            properties: TextMap::default(),
        },
        shared: SharedServices::new([], "development"),
        cross_domain: CrossDomain::Forbidden,
        dependencies: DependencyMode::Direct,
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// Cases 297, 298 and 299, for several names at once. A second run deletes nothing.
#[actix::test]
async fn old_versions_without_instances_go() {
    let world = World::start(2);
    let mut kept = Vec::new();
    for version in ["1.0.0", "2.0.0", "10.0.0", "9.0.0"] {
        let id = world.service("many", version).await;
        if matches!(version, "9.0.0" | "10.0.0") {
            kept.push(id);
        }
    }
    let used = world.service("many", "0.1").await;
    world.instance(&used).await;
    kept.push(used);
    for version in ["1", "2"] {
        kept.push(world.service("few", version).await);
    }
    assert_eq!(world.run(RetireJob::Services).await, Ok(Retired::Deleted(2)));
    assert_eq!(world.services().await, sorted(kept));
    assert_eq!(world.run(RetireJob::Services).await, Ok(Retired::Deleted(0)));
}

/// Case 300: consumers do not protect a version.
#[actix::test]
async fn consumers_do_not_protect() {
    let world = World::start(1);
    let old = world.service("provider", "1.0.0").await;
    let new = world.service("provider", "2.0.0").await;
    let consumer = world.service("consumer", "1.0.0").await;
    let key = |name: &str, version: &str| ServiceKey {
        app_id: "default".to_owned(),
        service_name: name.to_owned(),
        version: version.to_owned(),
        ..ServiceKey::default()
    };
    let request = Dependency {
        consumer: Some(key("consumer", "1.0.0")),
        providers: vec![key("provider", "1.0.0")],
        replace: false,
    };
    let message = ChangeDependencies { tenant: tenant(), requests: vec![request], merge: Merge::Add };
    world.settled(ask(&world.registry, message, PATIENCE).await.unwrap()).await;
    assert_eq!(world.run(RetireJob::Services).await, Ok(Retired::Deleted(1)));
    assert!(!world.services().await.contains(&old));
    assert_eq!(world.services().await, sorted(vec![new, consumer]));
}

/// Case 282: a content with a reference stays, and a content without one is deleted.
#[actix::test]
async fn unreferenced_contents_go() {
    let world = World::start(3);
    let service = world.service("s", "1.0.0").await;
    world.schema(&service, "a", "used").await;
    world.schema(&service, "b", "used too").await;
    // A server of the original leaves such contents.
    let former = keys::schema_content(&tenant(), &content_hash("b", "former"));
    let elsewhere = keys::schema_content(&Tenant::new("default", "other"), "0123");
    world.write(vec![put(&former, "former"), put(&elsewhere, "of a tenant without references")]).await;
    assert_eq!(world.contents().await.len(), 4);
    assert_eq!(world.run(RetireJob::SchemaContents).await, Ok(Retired::Deleted(2)));
    let used = vec![content_hash("a", "used"), content_hash("b", "used too")];
    assert_eq!(world.contents().await, sorted(used));
    assert_eq!(world.run(RetireJob::SchemaContents).await, Ok(Retired::Deleted(0)));
    // A deleted content can be written again.
    world.schema(&service, "b", "former").await;
    assert!(world.contents().await.contains(&content_hash("b", "former")));
}

/// The chooser of the contents may have an old snapshot. A reference in the store protects a content that the message names.
#[actix::test]
async fn a_reference_of_the_last_moment_protects() {
    let world = World::start(3);
    let service = world.service("s", "1.0.0").await;
    world.schema(&service, "a", "used").await;
    let hashes = vec![content_hash("a", "used").into(), "0123".into()];
    world.write(vec![put(&keys::schema_content(&tenant(), "0123"), "unused")]).await;
    let message = RetireSchemaContents { tenant: tenant(), hashes };
    assert_eq!(world.settled(ask(&world.registry, message, PATIENCE).await.unwrap()).await, 1);
    assert_eq!(world.contents().await, [content_hash("a", "used")]);
    // The first reference of a tenant. The snapshot may not have it yet.
    let other = Tenant::new("default", "other");
    let reference = format!("{}s/a/b", keys::schema_refs_of(&other));
    world.write(vec![put(&keys::schema_content(&other, "0123"), "used"), put(&reference, "0123")]).await;
    let message = RetireSchemaContents { tenant: other, hashes: vec!["0123".into()] };
    assert_eq!(world.settled(ask(&world.registry, message, PATIENCE).await.unwrap()).await, 0);
}

/// Contents and references that need several transactions, while the job runs again and again. Every reference keeps its content.
#[actix::test]
async fn a_replacement_in_parts_survives_the_job() {
    let world = World::start(3);
    let service = world.service("s", "1.0.0").await;
    for round in 0..5 {
        let schemas: Vec<Schema> =
            (0..150).map(|number| schema(&format!("s{number}"), &format!("text {round}"))).collect();
        let hashes = schemas.iter().map(|schema| content_hash(&schema.schema_id, &schema.schema)).collect();
        let replacing = world.schemas(&service, schemas);
        let retiring = async {
            for _ in 0..10 {
                world.run(RetireJob::SchemaContents).await.unwrap();
            }
        };
        futures_util::future::join(replacing, retiring).await;
        let hashes: Vec<String> = sorted(hashes);
        let contents = world.contents().await;
        let lost: Vec<&String> = hashes.iter().filter(|hash| !contents.contains(hash)).collect();
        assert!(lost.is_empty(), "round {round}: {} references point nowhere", lost.len());
    }
}

/// One node runs a job under a lock. The lock is removed after the job, and only by the node that holds it.
#[actix::test]
async fn a_lock_held_elsewhere_is_respected() {
    let world = World::start(1);
    for version in ["1", "2"] {
        world.service("s", version).await;
    }
    world.write(vec![put(keys::RETIRE_SERVICES_LOCK, "another node")]).await;
    assert_eq!(world.run(RetireJob::Services).await, Ok(Retired::HeldElsewhere));
    assert_eq!(world.services().await.len(), 2);
    assert_eq!(world.run(RetireJob::SchemaContents).await, Ok(Retired::Deleted(0)), "its lock is another");
    world.write(vec![Op::Delete(keys::RETIRE_SERVICES_LOCK.into())]).await;
    assert_eq!(world.run(RetireJob::Services).await, Ok(Retired::Deleted(1)));
    let locks: Vec<_> = world.store.list(&["/lock/"]).collect().await;
    assert!(locks[0].as_ref().unwrap().entries.is_empty(), "{locks:?}");
}

/// A service goes when it has been empty for long enough, and not before. What is used stays.
async fn check_empty_services(world: &World) {
    let (gone, back) = (world.service("gone", "1.0.0").await, world.service("back", "1.0.0").await);
    let (used, changed) = (world.service("used", "1.0.0").await, world.service("changed", "1.0.0").await);
    let provider = world.service("provider", "1.0.0").await;
    let consumer = world.service("consumer", "1.0.0").await;
    world.depend("consumer", "provider").await;
    for service in [&used, &consumer] {
        world.instance(service).await;
    }
    // The first run marks.
    assert_eq!(
        world.planned_empty().await.iter().map(|(_, since, due)| (*since, *due)).collect::<Vec<_>>(),
        [(None, 10), (None, 10), (None, 10)]
    );
    assert_eq!(world.run(RetireJob::EmptyServices).await, Ok(Retired::Deleted(0)));
    assert_eq!(world.marked().await, sorted(vec![gone.clone(), back.clone(), changed.clone()]));
    world.pass(5).await;
    // An instance that comes and goes between two looks, and a change.
    let instance = world.instance(&back).await;
    world.unregister(&back, instance).await;
    world.schema(&changed, "a", "text").await;
    world.pass(1).await;
    assert_eq!(world.marked().await, std::slice::from_ref(&gone));
    assert_eq!(world.run(RetireJob::EmptyServices).await, Ok(Retired::Deleted(0)));
    let row = |name: &str, since, due| (name.to_owned(), Some(since), due);
    assert_eq!(world.planned_empty().await, [row("back", 6, 16), row("changed", 6, 16), row("gone", 0, 10)]);
    world.pass(3).await;
    assert_eq!(world.run(RetireJob::EmptyServices).await, Ok(Retired::Deleted(0)), "after nine hours");
    world.pass(1).await;
    assert_eq!(world.run(RetireJob::EmptyServices).await, Ok(Retired::Deleted(1)));
    assert!(!world.services().await.contains(&gone));
    world.pass(6).await;
    assert_eq!(world.run(RetireJob::EmptyServices).await, Ok(Retired::Deleted(2)));
    assert_eq!(world.services().await, sorted(vec![used, provider, consumer]));
    assert_eq!(world.marked().await, []);
    let locks: Vec<_> = world.store.list(&["/service-center/locks/"]).collect().await;
    assert!(locks[0].as_ref().unwrap().entries.is_empty(), "{locks:?}");
}

#[actix::test]
async fn empty_services_go() {
    check_empty_services(&World::start(100)).await;
}

#[actix::test]
async fn empty_services_go_on_etcd() {
    check_empty_services(&World::start_on_etcd(100).await).await;
}

/// If no node looked for more than an hour, nobody knows whether a service was used meanwhile.
#[actix::test]
async fn time_without_a_node_does_not_count() {
    let world = World::start(100);
    let service = world.service("s", "1.0.0").await;
    world.run(RetireJob::EmptyServices).await.unwrap();
    world.clock.advance(Duration::from_secs(1_000 * 3_600));
    // The choice does not need the note of a look, which another node may just have written by another clock.
    assert_eq!(world.planned_empty().await, [("s".to_owned(), Some(1_000), 1_010)]);
    assert_eq!(world.run(RetireJob::EmptyServices).await, Ok(Retired::Deleted(0)));
    assert_eq!(world.planned_empty().await, [("s".to_owned(), Some(1_000), 1_010)]);
    world.pass(10).await;
    assert_eq!(world.run(RetireJob::EmptyServices).await, Ok(Retired::Deleted(1)));
    assert!(!world.services().await.contains(&service));
}

/// What happens between the choice and the deletion protects a service.
#[actix::test]
async fn a_use_of_the_last_moment_protects() {
    let world = World::start(100);
    let services = ["used", "was-used", "changed", "marked-anew", "consumed"];
    let mut ids = Vec::new();
    for name in services {
        ids.push(world.service(name, "1.0.0").await);
    }
    let [used, was_used, changed, marked_anew, consumed] = ids.clone().try_into().unwrap();
    world.run(RetireJob::EmptyServices).await.unwrap();
    let mark = world.mark_of(&used).await;
    world.instance(&used).await;
    assert_eq!(world.retire_empty(&used, mark).await, Err(Code::ServiceHasInstances));
    let mark = world.mark_of(&was_used).await;
    let instance = world.instance(&was_used).await;
    world.unregister(&was_used, instance).await;
    assert_eq!(world.retire_empty(&was_used, mark).await, Err(Code::ServiceHasInstances));
    let mark = world.mark_of(&changed).await;
    world.schema(&changed, "a", "text").await;
    assert_eq!(world.retire_empty(&changed, mark).await, Err(Code::ServiceHasInstances));
    let mark = world.mark_of(&marked_anew).await;
    world.write(vec![put(&keys::empty_service(&tenant(), marked_anew.as_str()), "{}")]).await;
    assert_eq!(world.retire_empty(&marked_anew, mark).await, Err(Code::ServiceHasInstances));
    let mark = world.mark_of(&consumed).await;
    world.service("consumer", "1.0.0").await;
    world.depend("consumer", "consumed").await;
    assert_eq!(world.retire_empty(&consumed, mark).await, Err(Code::ServiceHasConsumers));
    for id in ids {
        assert!(world.services().await.contains(&id), "{id} stays");
    }
}

/// The dry run lists old versions too, and deletes nothing.
#[actix::test]
async fn a_dry_run_lists_old_versions() {
    let world = World::start(1);
    for version in ["1.0.0", "2.0.0"] {
        world.service("s", version).await;
    }
    world.run(RetireJob::EmptyServices).await.unwrap();
    for _ in 0..2 {
        let planned = world.planned().await;
        assert!(planned.next_run.is_some_and(|at| at > i64::try_from(START).unwrap()), "{planned:?}");
        let listed: Vec<(&str, bool)> = planned
            .retirements
            .iter()
            .map(|planned| {
                let is_old = planned.reason == RetirementReason::OldVersion;
                (planned.service.record.document.version.as_str(), is_old)
            })
            .collect();
        assert_eq!(listed, [("1.0.0", true), ("2.0.0", false)]);
    }
    assert_eq!(world.services().await.len(), 2);
    assert_eq!(world.run(RetireJob::Services).await, Ok(Retired::Deleted(1)));
}
