//! PeerActor: registers this node as an instance of SERVICECENTER, sends heartbeats for it, and probes the store.
//!
//! The nodes of a cluster are ordinary instances: a client that lists the service lists the cluster. A node finds its former
//! entry by host and port and takes it over, so a restart leaves no second entry. Nodes that share an advertised address share
//! its entry ([`presence`]).

pub mod messages;
pub mod presence;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};

use self::messages::{JoinCluster, LeaveCluster};
use self::presence::{Presence, Stand};
use super::beats::Beats;
use super::cluster::{self, address};
use super::contact::Contact;
use super::freshness::Freshness;
use super::mailbox::{Mailbox, Refused, Resident, Work, ask, run_until_end};
use super::registry::RegistryActor;
use super::registry::messages::{
    Author, FormerLease, RecordServerVersion, RegisterInstance, RegisterService, UnregisterInstance,
};
use crate::cache::SnapshotReader;
use crate::clock::Clock;
use crate::domain::event::InstanceRef;
use crate::domain::instance::DataCenter;
use crate::domain::instance::HealthCheck;
use crate::domain::json::TextMap;
use crate::domain::service::{ALLOW_CROSS_APP, REGISTRY_SERVICE};
use crate::domain::{Instance, InstanceId, Service, ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::metrics::{self, Depth};
use crate::recorder::{Cause, EventKind, Happening, Note, Recorder};
use crate::store::{Key, Store, StoreError};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 16;
static DEPTH: Depth = Depth::new("PeerActor");
/// The pause between two probes of the store.
const PROBE: Duration = Duration::from_secs(1);
/// The pause while the store is away. Short, because clients that moved to another node may come back within a second.
const PROBE_AWAY: Duration = Duration::from_millis(250);
/// How long one request to the RegistryActor may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long leaving may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// How this node presents itself.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// The version that the node registers under: the level of the API, as in the original server.
    pub version: String,
    /// The environment of the node's service: `development` or `production`.
    pub environment: String,
    /// The environment as configured, for the server record.
    pub configured_environment: String,
    /// `service_center_10_12_0_1`.
    pub host_name: String,
    /// The machine and the listening address. Two processes that run at the same time never have the same value.
    pub place: String,
    /// `rest://10.12.0.1:30100`.
    pub endpoint: String,
    pub data_center: Option<DataCenter>,
    pub registers: Registers,
}

impl NodeIdentity {
    /// What the node shares as an instance of this service.
    fn stand(&self, service: &ServiceId) -> Stand {
        Stand { address: address(&self.endpoint).to_owned(), service: service.clone() }
    }
}

/// Whether the node registers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registers {
    /// As an instance of SERVICECENTER.
    Itself,
    /// Not at all.
    Nothing,
}

pub struct PeerActor {
    core: Rc<PeerCore>,
}

pub struct PeerCore {
    pub store: Arc<dyn Store>,
    pub registry: Mailbox<RegistryActor>,
    /// Takes the node's own heartbeats.
    pub beats: Beats,
    pub reader: SnapshotReader,
    /// Makes the reader's snapshot catch up.
    pub freshness: Freshness,
    /// Gets the results of the probe.
    pub contact: Contact,
    pub recorder: Recorder,
    pub clock: Clock,
    /// The pause between two heartbeats of the node. A fraction of the TTL, so that a missed heartbeat does no harm.
    pub beat_every: Duration,
    pub identity: NodeIdentity,
    /// The entry of the node, once it is registered.
    pub registered: RefCell<Option<InstanceRef>>,
    /// The key that says that this process uses the entry.
    pub presence: RefCell<Option<Presence>>,
    /// Logs once that the key cannot be written.
    pub absence: Trouble,
    /// Set by [`JoinCluster`]. From then on each heartbeat registers the node if it is not registered.
    pub has_joined: Cell<bool>,
    /// Set by [`LeaveCluster`].
    pub is_leaving: Cell<bool>,
    /// The registration, heartbeats and the leave take turns. So the leave undoes a registration that is under way when it comes.
    pub turn: tokio::sync::Mutex<()>,
}

impl PeerActor {
    pub fn new(core: PeerCore) -> Self {
        Self { core: Rc::new(core) }
    }
}

impl Resident for PeerActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for PeerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, probe(Rc::clone(&self.core)));
        run_until_end(ctx, beat(Rc::clone(&self.core)));
    }
}

impl Handler<Work<JoinCluster>> for PeerActor {
    type Result = ResponseFuture<Result<(), Error>>;

    fn handle(&mut self, work: Work<JoinCluster>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = work.place;
            let _turn = core.turn.lock().await;
            core.has_joined.set(true);
            if core.is_leaving.get() { Ok(()) } else { join(&core).await }
        })
    }
}

impl Handler<Work<LeaveCluster>> for PeerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, work: Work<LeaveCluster>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        core.is_leaving.set(true);
        Box::pin(async move {
            let _place = work.place;
            let _turn = core.turn.lock().await;
            leave(&core).await;
        })
    }
}

async fn probe(core: Rc<PeerCore>) {
    let trouble = Trouble::default();
    loop {
        let pause = match core.store.revision().await {
            Ok(_) => {
                core.contact.restored(core.clock.monotonic());
                if trouble.is_over() {
                    log::info!("the store answers again");
                    note(&core, EventKind::StoreBack, None);
                }
                PROBE
            }
            Err(error) => {
                let why = error.to_string();
                if !trouble.goes_on() {
                    note(&core, EventKind::StoreLost, Some(why.as_str().into()));
                }
                if trouble.fails(&why) {
                    log::warn!("the store does not answer: {why}; reads go on from the snapshot");
                }
                core.contact.lost(core.clock.monotonic(), why);
                PROBE_AWAY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn note(core: &PeerCore, kind: EventKind, detail: Option<Arc<str>>) {
    let (time, cause) = (core.clock.unix_timestamp(), Cause::Node);
    core.recorder.note(Note::Happened(Happening { time, kind, cause, detail, instance: None }));
}

async fn beat(core: Rc<PeerCore>) {
    let trouble = Trouble::default();
    loop {
        tokio::time::sleep(core.beat_every).await;
        let _turn = core.turn.lock().await;
        if !core.has_joined.get() || core.is_leaving.get() {
            continue;
        }
        keep_presence(&core).await;
        let registered = core.registered.borrow().clone();
        let was_registered = registered.is_some();
        let snapshot = core.reader.load();
        let entry = registered.and_then(|at| {
            let entry = snapshot.instance(&at.tenant, at.service.as_str(), at.instance.as_str())?.clone();
            Some((at, entry))
        });
        drop(snapshot);
        metrics::NODES_REGISTERED.set(usize::from(entry.is_some()));
        if let Some((at, entry)) = entry {
            let _ = core.beats.take(|| at, &entry);
            continue;
        }
        if was_registered && !trouble.goes_on() {
            log::warn!("this node is no longer registered; registering again");
        }
        match join(&core).await {
            Ok(()) => {
                if trouble.is_over() {
                    log::info!("this node is registered again");
                }
            }
            Err(error) => {
                if trouble.fails(&error.to_string()) {
                    log::warn!("this node could not register itself, trying again until it can: {error}");
                }
            }
        }
    }
}

async fn join(core: &PeerCore) -> Result<(), Error> {
    if core.identity.registers == Registers::Nothing {
        return Ok(());
    }
    let identity = &core.identity;
    let tenant = Tenant::default_tenant();
    let record = RecordServerVersion {
        version: identity.version.clone(),
        environment: identity.configured_environment.clone(),
    };
    call(ask(&core.registry, record, LIMIT).await)?;
    let service =
        RegisterService { tenant: tenant.clone(), service: own_service(identity), author: Author::Node };
    let service = call(ask(&core.registry, service, LIMIT).await)?;
    if let Some(revision) = service.revision {
        // The instance below needs the service in the snapshot. If the wait times out, the RegistryActor catches up.
        let _ = tokio::time::timeout(LIMIT, core.reader.wait_for(revision)).await;
    }
    let service = service.value;
    // Before the entry: from here on, another node that leaves the address does not delete the entry.
    log_absence(core, &be_present(core, identity.stand(&service)).await);
    core.freshness.catch_up().await;
    let mut former = former_entries(core);
    let own = former.iter().position(|at| at.service == service).map(|at| former.remove(at));
    let mut id = own.map(|at| at.instance);
    // This node replaces the other entries of its address: second entries, and entries of other versions. An entry that nodes
    // of another version still use stays.
    for at in former {
        let instance = at.instance.clone();
        let unless_below = (at.service != service).then(|| identity.stand(&at.service).prefix());
        match call(ask(&core.registry, goodbye(at, unless_below), LIMIT).await) {
            Ok(gone) if gone.revision.is_some() => id = id.or(Some(instance)),
            Ok(_) => {}
            Err(error) => {
                log::warn!("a former entry of this node was not removed and ends with its lease: {error}")
            }
        }
    }
    let instance = own_instance(identity, id.unwrap_or_else(|| identity.stand(&service).instance()));
    let message = RegisterInstance {
        tenant: tenant.clone(),
        service: service.clone(),
        instance: Box::new(instance),
        former_lease: FormerLease::Replaced,
        author: Author::Node,
        answer_by: None,
    };
    let instance = call(ask(&core.registry, message, LIMIT).await)?;
    *core.registered.borrow_mut() = Some(InstanceRef { tenant, service, instance: instance.value });
    metrics::NODES_REGISTERED.set(1);
    if let Some(revision) = instance.revision {
        let _ = tokio::time::timeout(LIMIT, core.reader.wait_for(revision)).await;
    }
    Ok(())
}

/// Puts the key that says that this process uses its entry, unless it has put it already.
async fn be_present(core: &PeerCore, stand: Stand) -> Result<(), StoreError> {
    if core.presence.borrow().as_ref().is_some_and(|presence| presence.stand == stand) {
        return Ok(());
    }
    presence::end_predecessors(&core.store, &stand.address, &core.identity.place).await?;
    put_presence(core, stand).await
}

async fn put_presence(core: &PeerCore, stand: Stand) -> Result<(), StoreError> {
    // A node that has died counts as using the entry until four of its heartbeats are missing.
    let ttl = i64::try_from((4 * core.beat_every).as_secs()).unwrap_or(i64::MAX);
    core.presence.replace(Some(Presence::put(&core.store, stand, &core.identity.place, ttl).await?));
    Ok(())
}

/// Renews the key that says that this process uses its entry. Puts it again if it has expired or is not there yet.
async fn keep_presence(core: &PeerCore) {
    let presence = core.presence.borrow().clone();
    let said = match presence {
        Some(presence) if presence.renew().await => return,
        Some(presence) => put_presence(core, presence.stand).await,
        None => {
            let service = core.registered.borrow().as_ref().map(|at| at.service.clone());
            let Some(service) = service else { return };
            be_present(core, core.identity.stand(&service)).await
        }
    };
    log_absence(core, &said);
}

/// Logs once that the key cannot be put, and once that it is there again.
fn log_absence(core: &PeerCore, said: &Result<(), StoreError>) {
    match said {
        Ok(()) => {
            if core.absence.is_over() {
                log::info!("other nodes that advertise the same address know this node again");
            }
        }
        Err(error) => {
            if core.absence.fails(&error.to_string()) {
                log::warn!(
                    "other nodes that advertise the same address do not know this node, trying again until they do: {error}"
                );
            }
        }
    }
}

/// Ends the key of this process, and deletes the entry if no other process uses it.
async fn leave(core: &PeerCore) {
    let presence = core.presence.borrow_mut().take();
    if let Some(presence) = presence
        && let Err(error) = presence.end().await
    {
        log::warn!("the key of this node could not be removed and ends with its lease: {error}");
    }
    let Some(at) = core.registered.borrow_mut().take() else { return };
    metrics::NODES_REGISTERED.set(0);
    let unless_below = Some(core.identity.stand(&at.service).prefix());
    match ask(&core.registry, goodbye(at, unless_below), LEAVE_LIMIT).await {
        Ok(Ok(gone)) if gone.revision.is_none() => {
            log::info!("the entry of this node's address stays, because other nodes use it");
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            log::warn!("this node could not unregister itself, its entry ends with its lease: {error}")
        }
        Err(refused) => {
            log::warn!("this node could not unregister itself, its entry ends with its lease: {refused}")
        }
    }
}

fn goodbye(at: InstanceRef, unless_below: Option<Key>) -> UnregisterInstance {
    let InstanceRef { tenant, service, instance } = at;
    UnregisterInstance { tenant, service, instance, author: Author::Node, unless_below }
}

fn call<T>(answer: Result<Result<T, Error>, Refused>) -> Result<T, Error> {
    answer.unwrap_or_else(|refused| Err(Error::new(Code::Unavailable, refused.to_string())))
}

fn own_service(identity: &NodeIdentity) -> Service {
    let mut service = Service {
        service_name: REGISTRY_SERVICE.to_owned(),
        alias: REGISTRY_SERVICE.to_owned(),
        version: identity.version.clone(),
        environment: identity.environment.clone(),
        properties: TextMap::from([(ALLOW_CROSS_APP.to_owned(), "true".to_owned())]),
        ..Service::default()
    };
    service.apply_defaults();
    service
}

fn own_instance(identity: &NodeIdentity, id: InstanceId) -> Instance {
    Instance {
        instance_id: id.to_string(),
        endpoints: vec![identity.endpoint.clone()],
        host_name: identity.host_name.clone(),
        data_center: identity.data_center.clone(),
        // The original server gives it too, so that the least interval and times of the configuration count.
        health_check: Some(HealthCheck::by_heartbeat()),
        ..Instance::default()
    }
}

/// The entries in this environment, of any version, whose endpoint has this node's host and port.
fn former_entries(core: &PeerCore) -> Vec<InstanceRef> {
    let own = address(&core.identity.endpoint);
    let registered = cluster::registered(&core.reader.load()).into_iter();
    let former =
        registered.filter(|node| node.environment == core.identity.environment && node.has_address(own));
    former.map(|node| node.at).collect()
}
