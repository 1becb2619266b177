//! The actors of a node without its server, on both stores: each kind of event is recorded with its cause, and a node that leaves while
//! it registers leaves nothing.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Handler, Message};
use futures_util::future::join_all;
use service_center::actors::beats::Beats;
use service_center::actors::contact::Contact;
use service_center::actors::freshness::Freshness;
use service_center::actors::goodbyes::Goodbyes;
use service_center::actors::hub::HubActor;
use service_center::actors::interests::Interests;
use service_center::actors::lease::{LeaseActor, LeaseCore};
use service_center::actors::lifeline::Lifelines;
use service_center::actors::mailbox::{Mailbox, Work, ask};
use service_center::actors::peer::messages::{JoinCluster, LeaveCluster};
use service_center::actors::peer::{NodeIdentity, PeerActor, PeerCore, Registers};
use service_center::actors::recorder::messages::FlushRecord;
use service_center::actors::recorder::{RecordFolder, RecorderActor};
use service_center::actors::registry::RegistryActor;
use service_center::actors::registry::core::RegistryCore;
use service_center::actors::registry::messages::{
    Author, ChangeInstance, ChangeTags, DeleteSchema, FormerLease, InstanceEdit, PutSchema, RegisterInstance,
    RegisterService, RetireService, TagChange, UnregisterInstance, UnregisterService, WriteReply,
};
use service_center::actors::registry::rules::{DependencyMode, RegistryRules};
use service_center::actors::watch::guard::{GuardRules, Preservation};
use service_center::actors::watch::{WatchActor, WatchParts, WatchRules};
use service_center::alarm::Alarms;
use service_center::cache::{SnapshotReader, cell};
use service_center::clock::Clock;
use service_center::config::EtcdEndpoint;
use service_center::domain::dependency::CrossDomain;
use service_center::domain::event::InstanceRef;
use service_center::domain::instance::{HealthCheck, InstanceRules};
use service_center::domain::json::TextMap;
use service_center::domain::quota::Quotas;
use service_center::domain::schema::Schema;
use service_center::domain::shared::SharedServices;
use service_center::domain::validate::flag::Force;
use service_center::domain::{Instance, InstanceId, Service, ServiceId, Tenant};
use service_center::recorder::{self, Cause, Event, EventKind, Query, RecordReader, Recorder, RingLimits};
use service_center::store::embedded::{EmbeddedStore, Options};
use service_center::store::etcd::{EtcdOptions, EtcdStore};
use service_center::store::faulty::FaultyStore;
use service_center::store::{LeaseId, Store, WatchError};
use service_center::trace::{RequestContext, RequestId, Sender, signed_in};
use service_center::trouble::Trouble;

use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually_async};

/// An instance that sends no heartbeat expires after so many seconds.
const SHORT: i32 = 2;
/// As long is the expiry of an instance held whose lease the store ends. A longer one would look like a goodbye.
const HELD: i32 = 8;
const LONG: i32 = 120;

/// The actors of a node, on a store.
struct Node {
    store: FaultyStore,
    reader: SnapshotReader,
    registry: Mailbox<RegistryActor>,
    peer: Mailbox<PeerActor>,
    /// The registry of another node on the same store. It tells this record nothing.
    other: Mailbox<RegistryActor>,
    recorder: Mailbox<RecorderActor>,
    beats: Beats,
    record: RecordReader,
    _keep: Box<dyn Any>,
}

fn rules() -> RegistryRules {
    let quota = 10_000;
    RegistryRules {
        quotas: Quotas { services: quota, instances: quota, schemas: quota, ..Quotas::default() },
        instances: InstanceRules { min_interval: 1, min_times: 0, ..InstanceRules::default() },
        shared: SharedServices::new([], "development"),
        cross_domain: CrossDomain::Forbidden,
        dependencies: DependencyMode::Direct,
    }
}

fn tenant() -> Tenant {
    Tenant::default_tenant()
}

impl Node {
    async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), Options::default(), Clock::system()).unwrap();
        Self::start(Arc::new(store), Box::new(folder), None).await
    }

    async fn on_etcd() -> Self {
        let etcd = Etcd::start();
        let options = EtcdOptions::plain([EtcdEndpoint::parse(&etcd.endpoint()).unwrap()]);
        let store = EtcdStore::connect(options).await.unwrap();
        Self::start(Arc::new(store), Box::new(etcd), None).await
    }

    async fn start(inner: Arc<dyn Store>, keep: Box<dyn Any>, folder: Option<RecordFolder>) -> Self {
        let (clock, lifelines) = (Clock::system(), Lifelines::default());
        lifelines.release();
        let store = FaultyStore::new(inner);
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let (publisher, reader) = cell::cell();
        let freshness = Freshness::new(Arc::clone(&shared), reader.clone());
        let (beats, goodbyes, alarms) = (Beats::default(), Goodbyes::default(), Alarms::default());
        let (tells, record, recording) = recorder::record(RingLimits { events: 10_000, bytes: 10 << 20 });
        let recorder = {
            let clock = clock.clone();
            Mailbox::start_here(&lifelines, || RecorderActor::new(recording, folder, clock))
        };
        let hub = Mailbox::start_here(&lifelines, || {
            HubActor::new(Interests::default(), tells.clone(), clock.clone(), None)
        });
        let watch_rules = WatchRules {
            guard: GuardRules { preservation: Preservation::On, share: 1.0, service_share: 1.0 },
            fixed_ttl_seconds: 0,
            cross_domain: CrossDomain::Forbidden,
        };
        Mailbox::start_here(&lifelines, || {
            let (store, goodbyes) = (Arc::clone(&shared), goodbyes.clone());
            let interests = Interests::default();
            let (recorder, clock) = (tells.clone(), clock.clone());
            let parts = WatchParts { store, publisher, goodbyes, interests, hub, recorder, clock };
            WatchActor::new(parts, watch_rules)
        });
        let [registry, other] = [tells.clone(), Recorder::default()].map(|recorder| {
            let (store, reader, freshness) = (Arc::clone(&shared), reader.clone(), freshness.clone());
            let core = RegistryCore::new(store, reader, freshness, clock.clone(), recorder, rules());
            Mailbox::start_here(&lifelines, || RegistryActor::new(core, "test".to_owned()))
        });
        let lease = LeaseCore {
            store: Arc::clone(&shared),
            beats: beats.clone(),
            reader: reader.clone(),
            freshness: freshness.clone(),
            goodbyes,
            registry: registry.clone(),
            clock: clock.clone(),
            trouble: Trouble::default(),
        };
        Mailbox::start_here(&lifelines, || LeaseActor::new(lease));
        let peer = PeerCore {
            store: shared,
            registry: registry.clone(),
            beats: beats.clone(),
            reader: reader.clone(),
            freshness,
            contact: Contact::new(alarms),
            recorder: tells,
            clock,
            beat_every: GENEROUS,
            identity: NodeIdentity {
                version: "1.0.0".to_owned(),
                environment: String::new(),
                configured_environment: String::new(),
                host_name: "test".to_owned(),
                place: "test".to_owned(),
                endpoint: "rest://127.0.0.1:1".to_owned(),
                data_center: None,
                registers: Registers::Itself,
            },
            registered: RefCell::default(),
            presence: RefCell::default(),
            absence: Trouble::default(),
            has_joined: Cell::default(),
            is_leaving: Cell::default(),
            turn: tokio::sync::Mutex::default(),
        };
        let peer = Mailbox::start_here(&lifelines, || PeerActor::new(peer));
        reader.wait_until_complete().await;
        Self { store, reader, registry, peer, other, recorder, beats, record, _keep: keep }
    }

    /// Sends a message as the request with this id of the account `alice`.
    async fn requested<M, T>(&self, id: &str, message: M) -> T
    where
        RegistryActor: Handler<Work<M>>,
        M: Message<Result = WriteReply<T>> + Send + 'static,
        T: Send + 'static,
    {
        let mut context = RequestContext::new(RequestId::given(id.as_bytes()).unwrap());
        context.sent_by(Sender::new("10.0.0.7".parse().unwrap()));
        let asking = {
            let _entered = context.enter();
            signed_in(&"alice".into());
            let mut asking = Box::pin(ask(&self.registry, message, GENEROUS));
            // The message is sent when the future is polled first.
            match futures_util::poll!(&mut asking) {
                std::task::Poll::Ready(_) => panic!("answered before the actor had its turn"),
                std::task::Poll::Pending => asking,
            }
        };
        self.shown(asking.await.unwrap()).await
    }

    /// Sends a message for no request.
    async fn by_itself<M, T>(&self, to: &Mailbox<RegistryActor>, message: M) -> T
    where
        RegistryActor: Handler<Work<M>>,
        M: Message<Result = WriteReply<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.shown(ask(to, message, GENEROUS).await.unwrap()).await
    }

    async fn shown<T>(&self, reply: WriteReply<T>) -> T {
        let committed = reply.unwrap();
        if let Some(revision) = committed.revision {
            tokio::time::timeout(GENEROUS, self.reader.wait_for(revision)).await.unwrap();
        }
        committed.value
    }

    async fn service(&self, id: &str, name: &str, author: Author) -> ServiceId {
        let service = Service {
            service_name: name.to_owned(),
            version: "1.0.0".to_owned(),
            app_id: "default".to_owned(),
            ..Service::default()
        };
        self.requested(id, RegisterService { tenant: tenant(), service, author }).await
    }

    fn at(&self, service: &ServiceId, instance: &str) -> InstanceRef {
        InstanceRef { tenant: tenant(), service: service.clone(), instance: instance.into() }
    }

    /// A heartbeat, if the instance is shown.
    fn beat(&self, at: &InstanceRef) {
        let snapshot = self.reader.load();
        if let Some(entry) = snapshot.instance(&at.tenant, at.service.as_str(), at.instance.as_str()) {
            let _ = self.beats.take(|| at.clone(), entry);
        }
    }

    fn lease(&self, at: &InstanceRef) -> LeaseId {
        let snapshot = self.reader.load();
        let entry = snapshot.instance(&at.tenant, at.service.as_str(), at.instance.as_str()).unwrap();
        LeaseId(entry.lease.as_ref().unwrap().lease())
    }

    /// The events, as a text of their kind, instance or detail, and cause.
    fn events(&self) -> Vec<Arc<Event>> {
        self.record.page(&Query { limit: usize::MAX, ..Query::default() }, |_| true).events
    }

    /// Waits until the record has an event of a kind after another one, and returns it.
    async fn next(&self, kind: EventKind, after: u64) -> Arc<Event> {
        let found = async || {
            let found = self.events().into_iter().find(|event| event.seq > after && event.kind == kind);
            found.ok_or_else(|| format!("no {} after {after} in {}", kind.name(), self.text()))
        };
        eventually_async(GENEROUS, found).await
    }

    fn text(&self) -> String {
        self.events().iter().map(|event| format!("\n{}", text(event))).collect()
    }

    async fn last(&self) -> u64 {
        assert!(self.record.caught_up().await);
        self.record.last_seq()
    }
}

fn registration(service: &ServiceId, id: &str, ttl: i32) -> RegisterInstance {
    let check = HealthCheck { mode: "push".into(), interval: ttl, times: 0, ..HealthCheck::default() };
    let instance = Instance {
        instance_id: id.to_owned(),
        host_name: format!("host-{id}"),
        endpoints: vec!["rest://127.0.0.1:1".to_owned()],
        health_check: Some(check),
        ..Instance::default()
    };
    RegisterInstance {
        tenant: tenant(),
        service: service.clone(),
        instance: instance.into(),
        former_lease: FormerLease::Renewed,
        author: Author::Client,
        answer_by: None,
    }
}

fn goodbye(service: &ServiceId, id: &str) -> UnregisterInstance {
    let (service, instance) = (service.clone(), InstanceId::from(id));
    UnregisterInstance { tenant: tenant(), service, instance, author: Author::Client, unless_below: None }
}

fn cause(event: &Event) -> String {
    match &event.cause {
        Cause::Request(by) => {
            format!("{} {} {}", by.request_id, by.account.as_deref().unwrap_or("-"), by.client.unwrap())
        }
        Cause::Lease { heartbeat_age, .. } => format!("lease, heard {}", heartbeat_age.is_some()),
        Cause::Rule { rule, .. } => format!("rule {rule}"),
        other => format!("{other:?}"),
    }
}

fn text(event: &Event) -> String {
    let of = event.instance.as_ref().map(|instance| instance.id.as_str());
    format!("{} {} by {}", event.kind.name(), of.or(event.detail.as_deref()).unwrap_or("-"), cause(event))
}

/// Registers, changes and deletes services and instances, each by a request. Each event names it.
async fn requests(node: &Node) -> Vec<String> {
    let begin = node.last().await;
    let service = node.service("r1", "a", Author::Client).await;
    node.requested("r2", registration(&service, "i", LONG)).await;
    node.requested("r3", registration(&service, "i", LONG)).await;
    let change =
        |change| ChangeInstance { tenant: tenant(), service: service.clone(), instance: "i".into(), change };
    node.requested("r4", change(InstanceEdit::Status("DOWN".to_owned()))).await;
    let schema = Schema { schema_id: "sch".into(), schema: "text".into(), summary: String::new() };
    node.requested("r5", PutSchema { tenant: tenant(), service: service.clone(), schema }).await;
    let tags = TagChange::Replace(TextMap::from([("a".to_owned(), "b".to_owned())]));
    node.requested("r6", ChangeTags { tenant: tenant(), service: service.clone(), change: tags }).await;
    let schema = DeleteSchema { tenant: tenant(), service: service.clone(), schema: "sch".into() };
    node.requested("r7", schema).await;
    node.by_itself(&node.other, registration(&service, "o", LONG)).await;
    node.requested("r8", goodbye(&service, "i")).await;
    let deletion = UnregisterService { tenant: tenant(), service, force: Force::Yes };
    node.requested("r9", deletion).await;
    node.last().await;
    node.events().iter().filter(|event| event.seq > begin).map(|event| text(event)).collect()
}

const OF_REQUESTS: [&str; 10] = [
    "service.registered - by r1 alice 10.0.0.7",
    "instance.registered i by r2 alice 10.0.0.7",
    "instance.reregistered i by r3 alice 10.0.0.7",
    "instance.changed i by r4 alice 10.0.0.7",
    "schema.changed sch by r5 alice 10.0.0.7",
    "service.changed - by r6 alice 10.0.0.7",
    "schema.deleted sch by r7 alice 10.0.0.7",
    "instance.registered o by OtherNode",
    "instance.unregistered i by r8 alice 10.0.0.7",
    "instance.deletedWithService o by r9 alice 10.0.0.7",
];

async fn each_kind_with_its_cause(node: &Node) {
    node.last().await;
    let events = node.events();
    assert_eq!(text(&events[0]), "record.gap the record begins here by Node");
    let mut expected = OF_REQUESTS.map(str::to_owned).to_vec();
    expected.push("service.deleted - by r9 alice 10.0.0.7".to_owned());
    assert_eq!(requests(node).await, expected);
    let changed = node.next(EventKind::InstanceChanged, 0).await;
    let shown = [changed.before.as_ref(), changed.instance.as_ref().map(|instance| &instance.shown)];
    assert_eq!(shown.map(|shown| shown.unwrap().status().to_owned()), ["UP", "DOWN"]);

    // Without heartbeats: the lease ends. With heartbeats, although the store has ended the lease: this node writes it again.
    let service = node.service("r1", "b", Author::Client).await;
    let after = node.last().await;
    let (silent, heard) = (node.at(&service, "silent"), node.at(&service, "heard"));
    // At once, because its lease is short.
    node.requested("r2", registration(&service, "silent", SHORT)).await;
    node.beat(&silent);
    node.requested("r2", registration(&service, "heard", SHORT)).await;
    let revoked = node.lease(&heard);
    let _ = node.store.revoke(revoked).await;
    let restored = async || {
        node.beat(&heard);
        let kinds = node.events();
        kinds.iter().any(|event| event.seq > after && event.kind == EventKind::InstanceRestored)
    };
    eventually_async(GENEROUS, restored).await;
    assert_eq!(
        text(&*node.next(EventKind::InstanceRestored, after).await),
        "instance.restored heard by Node"
    );
    let expired = async || {
        node.beat(&heard);
        node.events().into_iter().find(|event| event.seq > after && event.kind == EventKind::InstanceExpired)
    };
    let expired = eventually_async(GENEROUS, expired).await;
    assert_eq!(text(&expired), "instance.expired silent by lease, heard true");
    node.requested("r3", goodbye(&service, "heard")).await;

    // A crowd: a rule holds the expiries. One of them comes back, one unregisters, the others go when their time is over.
    let after = node.last().await;
    let crowd: Vec<String> = (0..8).rev().map(|number| format!("c{number}")).collect();
    for id in &crowd {
        node.requested("r4", registration(&service, id, HELD)).await;
    }
    let leases = crowd.iter().map(|id| node.lease(&node.at(&service, id)));
    let _ = join_all(leases.map(|lease| node.store.revoke(lease))).await;
    let is_held = async |id: &str| {
        let held = async || {
            let events = node.events();
            let of = |event: &&Arc<Event>| event.instance.as_ref().is_some_and(|of| of.id.as_str() == id);
            events.iter().filter(of).any(|event| event.kind == EventKind::InstanceHeld)
        };
        eventually_async(GENEROUS, held).await;
    };
    // It comes back before anything else, because it is held only for so long.
    is_held("c0").await;
    node.requested("r5", registration(&service, "c0", LONG)).await;
    for id in &crowd {
        is_held(id).await;
    }
    let held = node.next(EventKind::InstanceHeld, after).await;
    assert_eq!(cause(&held), "rule preservation");
    let Cause::Rule { until, .. } = held.cause else { panic!("{held:?}") };
    assert!((0..=600_000).contains(&(until - held.time)), "{held:?}");
    let released = node.next(EventKind::InstanceReleased, after).await;
    assert_eq!(text(&released), "instance.released c0 by r5 alice 10.0.0.7");
    let back = node.next(EventKind::InstanceRegistered, released.seq).await;
    assert_eq!(text(&back), "instance.registered c0 by r5 alice 10.0.0.7");

    // A retirement job, nodes, and the store.
    node.requested("r6", UnregisterService { tenant: tenant(), service, force: Force::Yes }).await;
    let old = node.service("r1", "old", Author::Client).await;
    node.by_itself(&node.registry, RetireService { tenant: tenant(), service: old }).await;
    assert_eq!(cause(&*node.next(EventKind::ServiceRetired, after).await), "Node");
    let center = node.service("r1", "SERVICECENTER", Author::Node).await;
    let register = RegisterInstance { author: Author::Node, ..registration(&center, "n", LONG) };
    node.by_itself(&node.registry, register).await;
    assert_eq!(text(&*node.next(EventKind::NodeJoined, after).await), "node.joined n by Node");
    let leave = UnregisterInstance { author: Author::Node, ..goodbye(&center, "n") };
    node.by_itself(&node.other, leave).await;
    assert_eq!(text(&*node.next(EventKind::NodeLeft, after).await), "node.left n by OtherNode");
    node.store.end_watches(WatchError::Compacted);
    assert_eq!(cause(&*node.next(EventKind::StoreRelisted, after).await), "Node");
    node.store.go_away();
    let lost = node.next(EventKind::StoreLost, after).await;
    assert!(lost.detail.as_ref().is_some_and(|why| !why.is_empty()), "{lost:?}");
    node.store.come_back();
    node.next(EventKind::StoreBack, lost.seq).await;
    let numbers: Vec<u64> = node.events().iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[actix::test]
async fn each_kind_of_event_has_its_cause_on_the_embedded_store() {
    each_kind_with_its_cause(&Node::embedded().await).await;
}

#[actix::test]
async fn each_kind_of_event_has_its_cause_on_etcd() {
    each_kind_with_its_cause(&Node::on_etcd().await).await;
}

async fn on_folder(folder: &Path) -> Node {
    // A process that another test starts holds a copy of the lock of the store before, until it runs its program.
    let open = async || EmbeddedStore::open(&folder.join("store"), Options::default(), Clock::system());
    let store = eventually_async(GENEROUS, open).await;
    let events = RecordFolder { path: folder.join("events"), max_bytes: 1 << 20 };
    let node = Node::start(Arc::new(store), Box::new(()), Some(events)).await;
    node.last().await;
    node
}

/// A node that stops and starts again goes on with its record. If its last events are lost, the record says so.
#[actix::test]
async fn a_restart_goes_on_with_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let stop = async |node: Node| {
        let revision = node.store.revision().await.unwrap();
        let caught_up = async || {
            let known = node.record.revision();
            if known >= revision {
                Ok(())
            } else {
                Err(format!("the record is at {known}, the store at {revision}"))
            }
        };
        eventually_async(GENEROUS, caught_up).await;
        ask(&node.recorder, FlushRecord, GENEROUS).await.unwrap();
        let texts: Vec<String> =
            node.events().iter().map(|event| format!("{} {}", event.seq, text(event))).collect();
        node.store.inner().close().await;
        texts
    };
    let node = on_folder(folder.path()).await;
    // With its last service, the keys of a tenant go too, a moment later.
    node.service("r0", "stays", Author::Client).await;
    let expected = requests(&node).await;
    let before = stop(node).await;
    assert_eq!(before.len(), 2 + expected.len());

    let node = on_folder(folder.path()).await;
    let again = requests(&node).await;
    assert_eq!(again, expected);
    let numbers: Vec<u64> = node.events().iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let after = stop(node).await;
    assert_eq!(&after[..before.len()], &before, "nothing was missed, so there is no gap");
    assert_eq!(after.len(), before.len() + expected.len(), "{after:#?}");

    // The end of the last file is lost.
    let events = folder.path().join("events");
    let mut files: Vec<_> = std::fs::read_dir(&events).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("events-"));
    files.sort();
    let last = files.last().unwrap();
    let bytes = std::fs::read(last).unwrap();
    std::fs::write(last, &bytes[..bytes.len() - 5]).unwrap();
    let node = on_folder(folder.path()).await;
    let kept = node.events();
    let (gap, kept) = kept.split_last().unwrap();
    assert_eq!(gap.kind, EventKind::Gap, "{}", node.text());
    assert!(gap.detail.as_ref().unwrap().contains("its record before ends at revision"), "{gap:?}");
    assert!(kept.len() < after.len());
    let kept: Vec<String> = kept.iter().map(|event| format!("{} {}", event.seq, text(event))).collect();
    assert_eq!(kept, after[..kept.len()]);
    assert_eq!(node.record.complete_since().seq, gap.seq);
}

/// Other processes use the folder, or it cannot be made: the record is kept in memory.
#[actix::test]
async fn a_folder_that_cannot_be_used_costs_only_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let one = on_folder(folder.path()).await;
    one.service("r1", "a", Author::Client).await;
    std::fs::write(folder.path().join("file"), "no folder").unwrap();
    for path in [folder.path().join("events"), folder.path().join("file")] {
        let store = tempfile::tempdir().unwrap();
        let inner = EmbeddedStore::open(store.path(), Options::default(), Clock::system()).unwrap();
        let events = RecordFolder { path, max_bytes: 1 << 20 };
        let node = Node::start(Arc::new(inner), Box::new(store), Some(events)).await;
        node.service("r1", "a", Author::Client).await;
        assert_eq!(cause(&*node.next(EventKind::ServiceRegistered, 0).await), "r1 alice 10.0.0.7");
        tokio::time::timeout(GENEROUS, ask(&node.recorder, FlushRecord, Duration::from_secs(5)))
            .await
            .unwrap()
            .unwrap();
    }
}

/// The leave comes when the service of the nodes is registered, and the node is not.
#[actix::test]
async fn a_node_that_leaves_while_it_registers_leaves_nothing() {
    let node = Node::embedded().await;
    let mut joining = Box::pin(ask(&node.peer, JoinCluster, GENEROUS));
    while node.reader.load().counts(&tenant()).services == 0 {
        assert!(futures_util::poll!(&mut joining).is_pending());
        tokio::task::yield_now().await;
    }
    ask(&node.peer, LeaveCluster, GENEROUS).await.unwrap();
    let std::task::Poll::Ready(joined) = futures_util::poll!(joining) else { panic!("it still registers") };
    joined.unwrap().unwrap();
    eventually_async(GENEROUS, async || node.reader.load().counts(&tenant()).instances == 0).await;
}
