//! Writes of instances: register, restore, unregister, change.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::core::{RegistryCore, committed, store_error, unchanged};
use super::messages::{
    Author, ChangeInstance, ChangeStatusWhere, Committed, FormerLease, InstanceEdit, RegisterInstance,
    ReleaseExpiries, RestoreInstance, UnregisterInstance, WriteReply,
};
use crate::actors::causes::cause;
use crate::cache::{InstanceEntry, LeaseMark, ServiceView};
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::instance::PropertiesFrom;
use crate::domain::json::{self, TextMap};
use crate::domain::{Instance, InstanceId, ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::recorder::note::SeenAgain;
use crate::recorder::{EventKind, Happening, Note, Purpose};
use crate::store::{Compare, Entry, KeepAlive, Key, LeaseId, Op, Reason, StoreError, Txn, TxnOutcome, keys};

#[cfg(test)]
mod tests;

const NO_SERVICE: &str = "Invalid 'serviceID' in request body.";
const NO_LEASE: &str = "Instance's leaseId not exist.";
const NO_INSTANCE: &str = "Service instance does not exist.";

/// The TTL of a late goodbye and of a release in seconds. Longer than the write of an instance that is written again takes.
const LATE_GOODBYE_TTL: i64 = 60;
/// How many transactions of one [`ChangeStatusWhere`] wait at once, so that other writes get their turn.
const BULK_AT_ONCE: usize = 1_000;

/// The keys of an instance, and the key of its service.
struct InstanceKeys {
    service: Key,
    document: Key,
    lease: Key,
    overrides: Key,
}

impl InstanceKeys {
    fn new(tenant: &Tenant, service: &ServiceId, instance: &str) -> Self {
        Self {
            service: keys::service(tenant, service.as_str()),
            document: keys::instance(tenant, service.as_str(), instance),
            lease: keys::lease(tenant, service.as_str(), instance),
            overrides: keys::properties_override(tenant, service.as_str(), instance),
        }
    }

    /// Puts all keys of the instance, on one lease.
    fn puts(&self, document: &Bytes, properties: PropertiesFrom, lease: LeaseId) -> Vec<Op> {
        let lease_text = Bytes::from(lease.to_string());
        let mut puts = vec![
            Op::Put { key: Key::clone(&self.document), value: document.clone(), lease: Some(lease) },
            Op::Put { key: Key::clone(&self.lease), value: lease_text, lease: Some(lease) },
        ];
        puts.extend(self.mark(properties, lease));
        puts
    }

    /// Puts the key that says that a request has replaced the properties, if so.
    fn mark(&self, properties: PropertiesFrom, lease: LeaseId) -> Option<Op> {
        let put = Op::Put { key: Key::clone(&self.overrides), value: Bytes::new(), lease: Some(lease) };
        (properties == PropertiesFrom::Request).then_some(put)
    }

    /// Reads the service, the document and the lease, for a write whose compares fail.
    fn reads(&self) -> Vec<Op> {
        [&self.service, &self.document, &self.lease].map(|key| Op::Get(Key::clone(key))).into()
    }
}

/// What [`InstanceKeys::reads`] found.
struct FoundInstance {
    has_service: bool,
    document: Option<Entry>,
    lease: Option<LeaseId>,
    /// The revision of the last write of document or lease. `None` unless both are there.
    revision: Option<Revision>,
}

impl FoundInstance {
    fn new(reads: Vec<Vec<Entry>>) -> Self {
        let mut reads = reads.into_iter().map(|mut entries| entries.pop());
        let mut next = || reads.next().flatten();
        let (service, document, lease) = (next(), next(), next());
        let revision = document.as_ref().zip(lease.as_ref());
        let revision = revision.map(|(document, lease)| document.mod_revision.max(lease.mod_revision));
        let lease = lease.and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok().map(LeaseId));
        Self { has_service: service.is_some(), document, lease, revision }
    }
}

/// A registered instance that the snapshot shows.
struct KnownInstance {
    entry: Arc<InstanceEntry>,
    document: Instance,
    properties: PropertiesFrom,
}

impl KnownInstance {
    /// Finds the id of the message in the snapshot. An empty id finds nothing.
    fn find(core: &RegistryCore, message: &RegisterInstance) -> Result<Option<Self>, Error> {
        let RegisterInstance { tenant, service, instance, .. } = message;
        let id = &instance.instance_id;
        let snapshot = core.reader.load();
        let Some(entry) = snapshot.instance(tenant, service.as_str(), id) else { return Ok(None) };
        let (tenant, service, instance) = (tenant.clone(), service.clone(), id.as_str().into());
        let properties = snapshot.properties_from(&InstanceRef { tenant, service, instance });
        Ok(Some(Self { entry: Arc::clone(entry), document: parse(&entry.json())?, properties }))
    }
}

/// Completes the document that an owner sends. Keeps what a registration does not change in a known instance.
fn document_of(
    core: &RegistryCore,
    message: &RegisterInstance,
    service: &ServiceView,
    id: String,
    known: Option<&KnownInstance>,
) -> (Instance, PropertiesFrom) {
    let mut document = Instance::clone(&message.instance);
    let mut properties = PropertiesFrom::Registration;
    if let Some(known) = known.filter(|_| message.author == Author::Client) {
        properties = known.properties;
        document.keep(&known.document, properties);
    }
    document.complete(&service.record.document, id, core.now(), &core.rules.instances);
    (document, properties)
}

/// Registers an instance.
pub(super) async fn register(core: Rc<RegistryCore>, message: RegisterInstance) -> WriteReply<InstanceId> {
    let RegisterInstance { tenant, service, instance, author, .. } = &message;
    let given = &instance.instance_id;
    let (id, id_known) = match given.as_str() {
        "" => (Uuid::new_v4().simple().to_string(), IdKnown::Here),
        given => (given.to_owned(), IdKnown::Outside),
    };
    let at = InstanceKeys::new(tenant, service, &id);
    // Nobody else writes a new id.
    let _turn = match id_known {
        IdKnown::Here => None,
        IdKnown::Outside => Some(core.turn(&at.document).await?),
    };
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let view = match author {
            Author::Client => core.service(tenant, service.as_str(), NO_SERVICE).await?,
            Author::Node => core.any_service(tenant, service.as_str(), NO_SERVICE).await?,
        };
        let known = KnownInstance::find(&core, &message)?;
        let is_new = known.is_none();
        if let Some(known) = known {
            // In a box, because a new instance does not need the space of this future.
            match Box::pin(replace(&core, &message, &view, &known, &at)).await? {
                Replaced::Done(reply) => return Ok(reply),
                Replaced::Gone => {}
            }
        }
        // An instance that is shown counts already, even if its lease has just ended.
        if is_new && *author == Author::Client {
            core.check_quota("INSTANCE", core.rules.quotas.instances, tenant, |usage| usage.instances)
                .await?;
        }
        // If the instance is still shown because its expiry is held, it keeps what a living instance keeps.
        let shown = if is_new { None } else { KnownInstance::find(&core, &message)? };
        let (document, properties) = document_of(&core, &message, &view, id.clone(), shown.as_ref());
        let json = Bytes::from(json::encode(&document));
        let ttl_seconds = document.ttl_seconds(&core.rules.instances);
        match create(&core, &at, &NewInstance { json, properties, ttl_seconds }, None, id_known).await? {
            Created::Done(outcome, lease) => {
                let is_late = message.answer_by.is_some_and(|by| core.clock.monotonic() >= by);
                if is_late && id_known == IdKnown::Here {
                    return take_back(core, message, document.instance_id.into(), lease).await;
                }
                return Ok(committed(document.instance_id.into(), &outcome));
            }
            Created::NoService => return Err(Error::new(Code::ServiceNotExists, NO_SERVICE)),
            // Another node registered it a moment ago. When the snapshot shows it, the next try replaces it.
            Created::Exists(revision) => core.catch_up_with(revision).await,
        }
    }
}

/// Unregisters an instance whose owner has been answered that the store is late, and does not know the id.
async fn take_back(
    core: Rc<RegistryCore>,
    message: RegisterInstance,
    instance: InstanceId,
    lease: LeaseId,
) -> WriteReply<InstanceId> {
    let RegisterInstance { tenant, service, author, .. } = message;
    let goodbye = UnregisterInstance { tenant, service, instance, author, unless_below: None };
    if let Err(error) = unregister(Rc::clone(&core), goodbye).await {
        log::debug!(
            "an instance that was registered too late is not unregistered, its lease is revoked: {error}"
        );
        core.leases.discard(vec![lease]);
    }
    Err(Error::new(Code::Unavailable, "the registration took too long and was taken back, try again"))
}

enum Created {
    /// With the lease of the instance.
    Done(TxnOutcome, LeaseId),
    NoService,
    Exists(Option<Revision>),
}

/// Who knows the id of an instance before it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdKnown {
    /// Only this node, until it answers.
    Here,
    /// Its owner too, who may send it to any node.
    Outside,
}

/// The instance to create.
struct NewInstance {
    json: Bytes,
    properties: PropertiesFrom,
    ttl_seconds: i64,
}

/// Puts an instance on a lease of its own, if neither it nor the key `unless` exists.
async fn create(
    core: &RegistryCore,
    at: &InstanceKeys,
    new: &NewInstance,
    unless: Option<&Key>,
    id: IdKnown,
) -> Result<Created, Error> {
    let absent = [&at.document].into_iter().chain(unless).map(|key| Compare::Absent(Key::clone(key)));
    let compares: Vec<Compare> =
        [Compare::Present(Key::clone(&at.service))].into_iter().chain(absent).collect();
    let txn = |lease| {
        let then = at.puts(&new.json, new.properties, lease);
        Txn { compares: compares.clone(), then, otherwise: Vec::new() }
    };
    let purpose = if unless.is_some() { Purpose::Restore } else { Purpose::Other };
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let lease = core.leases.take(new.ttl_seconds).await.map_err(|error| store_error(&error))?;
        let mut outcome = core.batcher.submit_for(txn(lease), purpose).await;
        let mut is_unsure = matches!(outcome, Err(StoreError::Unknown { .. }));
        if is_unsure && !deadline.is_over() {
            // The same write again. If it was committed before, its compares fail now, and the reads show this lease. They are made
            // with the compares: a goodbye in between would make it look as if nothing had been written.
            let again = Txn { otherwise: at.reads(), ..txn(lease) };
            outcome = core.batcher.submit_for(again, purpose).await;
        }
        match outcome {
            Ok(outcome) if outcome.succeeded => return Ok(Created::Done(outcome, lease)),
            Ok(outcome) => {
                let mut reads = outcome.reads;
                if reads.is_empty() {
                    // A second round, because it is rare. Reads in the write would cost each registration more than its compares do.
                    let look = Txn { then: at.reads(), ..Txn::default() };
                    let found = core.batcher.submit(look).await.map_err(|error| {
                        core.leases.discard(vec![lease]);
                        store_error(&error)
                    })?;
                    reads = found.reads;
                }
                let found = FoundInstance::new(reads);
                if let (Some(document), Some(held)) = (&found.document, found.lease)
                    && held == lease
                {
                    let outcome = TxnOutcome {
                        succeeded: true,
                        revision: document.mod_revision,
                        changed: true,
                        reads: Vec::new(),
                    };
                    return Ok(Created::Done(outcome, lease));
                }
                core.leases.discard(vec![lease]);
                return Ok(if found.has_service {
                    Created::Exists(found.revision)
                } else {
                    Created::NoService
                });
            }
            Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => {}
            Err(error) => {
                is_unsure |= matches!(error, StoreError::Unknown { .. });
                // The instance may have been written, or be written later. If nobody else knows its id, its lease is revoked: then
                // it ends, and etcd rejects a later write on the lease. But if
                // its owner knows the id, the owner may have registered it again meanwhile, here or at another node, and may
                // have been answered that it is there. Then the lease stays, and the instance ends if no heartbeat comes.
                if !is_unsure || id == IdKnown::Here {
                    core.leases.discard(vec![lease]);
                }
                return Err(store_error(&error));
            }
        }
    }
}

enum Replaced {
    Done(Committed<InstanceId>),
    Gone,
}

/// Registers a known id again. An equal document only renews the lease. A changed document replaces the stored one, except what
/// [`Instance::keep`] keeps. The instance moves to a new lease if its TTL changes, if it has no lease, or if its lease cannot
/// be renewed. Where the properties come from needs no compare of its own, because that changes only with the document.
async fn replace(
    core: &RegistryCore,
    message: &RegisterInstance,
    service: &ServiceView,
    known: &KnownInstance,
    at: &InstanceKeys,
) -> Result<Replaced, Error> {
    let id = InstanceId::from(message.instance.instance_id.as_str());
    let (mut document, properties) = document_of(core, message, service, id.to_string(), Some(known));
    let KnownInstance { entry: known, document: stored, .. } = known;
    let ttl = document.ttl_seconds(&core.rules.instances);
    let keeps_lease =
        message.former_lease == FormerLease::Renewed && ttl == stored.ttl_seconds(&core.rules.instances);
    let is_equal = keeps_lease && document.same_as_registered(stored);
    let held = known.lease.as_ref().map(|mark| LeaseId(mark.lease()));
    let compares = vec![
        Compare::Present(Key::clone(&at.service)),
        Compare::Unchanged { key: Key::clone(&at.document), mod_revision: known.mod_revision },
        match held {
            Some(held) => {
                Compare::ValueIs { key: Key::clone(&at.lease), value: Bytes::from(held.to_string()) }
            }
            None => Compare::Absent(Key::clone(&at.lease)),
        },
    ];
    // An equal document is not written. But before the owner is answered that the instance is there, the store is asked,
    // because the instance may have been unregistered through another node that has not ended its lease yet.
    let look = is_equal.then(|| Txn { compares: compares.clone(), then: Vec::new(), otherwise: at.reads() });
    let look = async { Some(core.batcher.submit(look?).await) };
    // Registering again counts as a heartbeat. The lease is renewed first, because a write on an expired lease ends with it.
    let is_renewed = match known.lease.as_ref().filter(|_| keeps_lease) {
        None => false,
        Some(mark) => match tokio::join!(renew(core, mark), look) {
            (KeepAlive::Renewed(_), Some(Ok(other))) if !other.succeeded => {
                core.catch_up_with(FoundInstance::new(other.reads).revision).await;
                return Ok(Replaced::Gone);
            }
            (KeepAlive::Renewed(_), Some(Err(error))) => return Err(store_error(&error)),
            (KeepAlive::Renewed(_), Some(Ok(_))) => {
                note_reregistered(core, message, service, known);
                return Ok(Replaced::Done(unchanged(id)));
            }
            (KeepAlive::Renewed(_), None) => true,
            (KeepAlive::NotFound, _) => {
                // The keys go with the lease. The compares of the next try decide.
                core.freshness.catch_up().await;
                return Ok(Replaced::Gone);
            }
            // The lease may be over and not yet ended by the store, which takes seconds if there are many. Nobody waits for
            // that.
            (KeepAlive::Unanswered(why), _) => {
                log::debug!("lease {} is not renewed, a new lease replaces it: {why}", mark.lease());
                false
            }
        },
    };
    document.timestamp.clone_from(&stored.timestamp);
    let json = if is_equal { known.json() } else { Bytes::from(json::encode(&document)) };
    let lease = match held.filter(|_| is_renewed) {
        Some(held) => held,
        None => core.leases.take(ttl).await.map_err(|error| store_error(&error))?,
    };
    let moves = held != Some(lease);
    let then = if moves {
        at.puts(&json, properties, lease)
    } else {
        vec![Op::Put { key: Key::clone(&at.document), value: json, lease: Some(lease) }]
    };
    let txn = Txn { compares, then, otherwise: at.reads() };
    let mut outcome = core.batcher.submit(txn.clone()).await;
    let is_unsure = matches!(outcome, Err(StoreError::Unknown { .. }));
    if is_unsure {
        // The same write again. If it was committed before, its compares fail now, and the reads show this lease.
        outcome = core.batcher.submit(txn).await;
    }
    let written = match outcome {
        Ok(outcome) => ReplaceOutcome::of(outcome, lease, moves),
        Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) if !is_unsure => {
            ReplaceOutcome::Not(None)
        }
        Err(error) => {
            // If the outcome is unknown, the instance may be on either lease, so none is revoked. The other one expires.
            if moves && !is_unsure {
                core.leases.discard(vec![lease]);
            }
            return Err(store_error(&error));
        }
    };
    match written {
        ReplaceOutcome::At(revision) => {
            if moves {
                core.leases.discard(held.into_iter().collect());
            }
            Ok(Replaced::Done(Committed { value: id, revision: Some(revision) }))
        }
        ReplaceOutcome::Not(there) => {
            if moves {
                core.leases.discard(vec![lease]);
            }
            core.catch_up_with(there).await;
            Ok(Replaced::Gone)
        }
    }
}

/// Tells the recorder that an instance registered again and nothing was written.
fn note_reregistered(
    core: &RegistryCore,
    message: &RegisterInstance,
    service: &ServiceView,
    known: &InstanceEntry,
) {
    let RegisterInstance { tenant, instance, .. } = message;
    let instance = InstanceId::from(instance.instance_id.as_str());
    let at = InstanceRef { tenant: tenant.clone(), service: service.id.clone(), instance };
    let again = SeenAgain { at, json: known.json(), service: Some(Arc::clone(&service.record)) };
    core.recorder.note(Note::Happened(Happening {
        time: core.clock.unix_timestamp(),
        kind: EventKind::InstanceReregistered,
        cause: cause(),
        detail: None,
        instance: Some(again),
    }));
}

/// The outcome of a replacement.
enum ReplaceOutcome {
    At(Revision),
    /// Not written. The revision of what is there instead, if known.
    Not(Option<Revision>),
}

impl ReplaceOutcome {
    fn of(outcome: TxnOutcome, lease: LeaseId, moves: bool) -> Self {
        if outcome.succeeded {
            return Self::At(outcome.revision);
        }
        let found = FoundInstance::new(outcome.reads);
        match found.revision {
            // The first try wrote it, because nobody else can have put this lease there.
            Some(revision) if moves && found.lease == Some(lease) => Self::At(revision),
            there => Self::Not(there),
        }
    }
}

async fn renew(core: &RegistryCore, mark: &LeaseMark) -> KeepAlive {
    let sent = core.clock.monotonic();
    let answer = core.store.keep_alive(vec![LeaseId(mark.lease())]).await.pop();
    let answer = answer.unwrap_or_else(|| KeepAlive::Unanswered("the store did not answer".to_owned()));
    if let KeepAlive::Renewed(ttl) = &answer {
        mark.renewed(sent, *ttl);
    }
    answer
}

/// Writes an instance again whose lease expired although heartbeats came.
pub(super) async fn restore(core: Rc<RegistryCore>, message: RestoreInstance) -> WriteReply<()> {
    let RestoreInstance { tenant, service, instance, json, properties, former_lease } = message;
    let ttl_seconds = parse(&json)?.ttl_seconds(&core.rules.instances);
    let at = InstanceKeys::new(&tenant, &service, instance.as_str());
    let goodbye = keys::late_goodbye(&tenant, service.as_str(), instance.as_str(), former_lease);
    let new = NewInstance { json, properties, ttl_seconds };
    match create(&core, &at, &new, Some(&goodbye), IdKnown::Outside).await? {
        Created::Done(outcome, _) => Ok(committed((), &outcome)),
        Created::NoService => Err(Error::new(Code::ServiceNotExists, NO_SERVICE)),
        Created::Exists(_) => Ok(unchanged(())),
    }
}

/// Unregisters an instance. Deletes the lease key before the document, so that every node takes this for a goodbye.
pub(super) async fn unregister(core: Rc<RegistryCore>, message: UnregisterInstance) -> WriteReply<()> {
    let UnregisterInstance { tenant, service, instance, unless_below, .. } = &message;
    let at = InstanceKeys::new(tenant, service, instance.as_str());
    let _turn = core.turn(&at.document).await?;
    let mut lease = known_lease(&core, &message).await?;
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let mut compares =
            vec![Compare::ValueIs { key: Key::clone(&at.lease), value: Bytes::from(lease.to_string()) }];
        compares.extend(unless_below.as_ref().map(|prefix| Compare::NoneBelow(Key::clone(prefix))));
        let then = [&at.lease, &at.document, &at.overrides].map(|key| Op::Delete(Key::clone(key))).into();
        let mut otherwise = at.reads();
        let others_at = otherwise.len();
        otherwise.extend(unless_below.as_ref().map(|prefix| Op::GetPrefix(Key::clone(prefix))));
        let outcome = core.commit(Txn { compares, then, otherwise }).await?;
        if outcome.succeeded {
            core.leases.discard(vec![lease]);
            return Ok(committed((), &outcome));
        }
        if outcome.reads.get(others_at).is_some_and(|others| !others.is_empty()) {
            return Ok(unchanged(()));
        }
        let found = FoundInstance::new(outcome.reads);
        lease = match found.lease {
            Some(other) => other,
            None if found.document.is_some() => return Err(Error::new(Code::InstanceNotExists, NO_LEASE)),
            None => match unregister_expired(&core, &message, &at, lease).await? {
                LateGoodbye::Said(reply) => return Ok(reply),
                LateGoodbye::NotYet(lease) => lease,
            },
        };
    }
}

enum LateGoodbye {
    Said(Committed<()>),
    /// Not said, because the instance is there again. The lease to try next.
    NotYet(LeaseId),
}

/// Says goodbye for an instance whose lease has ended and which is still shown, because its expiry waits or is held. The keys
/// of the instance are gone, so another key tells every node. While that key exists, no node writes the instance again for its
/// former lease.
async fn unregister_expired(
    core: &RegistryCore,
    message: &UnregisterInstance,
    at: &InstanceKeys,
    lease: LeaseId,
) -> Result<LateGoodbye, Error> {
    let UnregisterInstance { tenant, service, instance, .. } = message;
    let not_exists = || Error::new(Code::InstanceNotExists, NO_LEASE);
    // If the watch has not brought an earlier goodbye yet, this one must fail.
    core.be_current().await?;
    let snapshot = core.reader.load_full();
    let shown = snapshot.instance(tenant, service.as_str(), instance.as_str()).ok_or_else(not_exists)?;
    let shown = LeaseId(shown.lease.as_ref().ok_or_else(not_exists)?.lease());
    if shown != lease {
        return Ok(LateGoodbye::NotYet(shown));
    }
    let goodbye = keys::late_goodbye(tenant, service.as_str(), instance.as_str(), lease.0);
    let kept = core.leases.take(LATE_GOODBYE_TTL).await.map_err(|error| store_error(&error))?;
    let absent = [&at.document, &at.lease, &goodbye].map(|key| Compare::Absent(Key::clone(key)));
    let put = Op::Put { key: Key::clone(&goodbye), value: Bytes::new(), lease: Some(kept) };
    let txn = Txn { compares: absent.into(), then: vec![put], otherwise: vec![Op::Get(goodbye)] };
    let outcome = core.commit(txn).await;
    if let Ok(outcome) = &outcome
        && outcome.succeeded
    {
        return Ok(LateGoodbye::Said(committed((), outcome)));
    }
    // The key may have been written despite an error. Revoking its lease removes it.
    core.leases.discard(vec![kept]);
    let outcome = outcome?;
    if outcome.reads.into_iter().flatten().next().is_some() {
        Err(not_exists())
    } else {
        Ok(LateGoodbye::NotYet(lease))
    }
}

/// Puts a key that makes every node drop the expired instances of a service. The nodes take it in the order of the events, so they
/// drop those that expired before it, and no others.
pub(super) async fn release_expiries(core: Rc<RegistryCore>, message: ReleaseExpiries) -> WriteReply<()> {
    let ReleaseExpiries { tenant, service } = &message;
    core.any_service(tenant, service.as_str(), super::services::NO_SERVICE).await?;
    let kept = core.leases.take(LATE_GOODBYE_TTL).await.map_err(|error| store_error(&error))?;
    let key = keys::release(tenant, service.as_str());
    let then = vec![Op::Put { key, value: Bytes::new(), lease: Some(kept) }];
    let outcome = core.commit(Txn { then, ..Txn::default() }).await;
    if outcome.is_err() {
        // The key may have been written all the same. It has done its work then, so revoking its lease only tidies up.
        core.leases.discard(vec![kept]);
    }
    Ok(committed((), &outcome?))
}

async fn known_lease(core: &RegistryCore, message: &UnregisterInstance) -> Result<LeaseId, Error> {
    let UnregisterInstance { tenant, service, instance, author, .. } = message;
    let at = (tenant, service.as_str(), instance.as_str());
    let lease = |entry: &InstanceEntry| entry.lease.as_ref().map(|mark| LeaseId(mark.lease()));
    if let Some(lease) = lease(&*core.instance(*author, at, NO_LEASE).await?) {
        return Ok(lease);
    }
    core.be_current().await?;
    let lease = lease(&*core.instance(*author, at, NO_LEASE).await?);
    lease.ok_or_else(|| Error::new(Code::InstanceNotExists, NO_LEASE))
}

/// Changes an instance document under compares. Its lease stays.
pub(super) async fn change(core: Rc<RegistryCore>, message: ChangeInstance) -> WriteReply<()> {
    let ChangeInstance { tenant, service, instance, change } = message;
    let at = InstanceKeys::new(&tenant, &service, instance.as_str());
    let is_asked = !matches!(change, InstanceEdit::AddConfigured);
    let claim = if is_asked { None } else { core.claim(Key::clone(&at.document)) };
    if !is_asked && claim.is_none() {
        return Ok(unchanged(()));
    }
    let _turn = core.turn(&at.document).await?;
    let author = if is_asked { Author::Client } else { Author::Node };
    let known = core.instance(author, (&tenant, service.as_str(), instance.as_str()), NO_INSTANCE).await?;
    let mut lease = known.lease.as_ref().map(|mark| LeaseId(mark.lease()));
    let (mut json, mut mod_revision) = (known.json(), known.mod_revision);
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let held = lease.ok_or_else(|| Error::new(Code::InstanceNotExists, NO_LEASE))?;
        let mut document = parse(&json)?;
        if !apply(&mut document, &change, &core.rules.instances.properties, core.now()) {
            return Ok(unchanged(()));
        }
        let compares = vec![
            Compare::Present(Key::clone(&at.service)),
            Compare::Unchanged { key: Key::clone(&at.document), mod_revision },
            Compare::ValueIs { key: Key::clone(&at.lease), value: Bytes::from(held.to_string()) },
        ];
        let value = Bytes::from(json::encode(&document));
        let mut then = vec![Op::Put { key: Key::clone(&at.document), value, lease: Some(held) }];
        if matches!(change, InstanceEdit::Properties(_)) {
            then.extend(at.mark(PropertiesFrom::Request, held));
        }
        let outcome = match core.batcher.submit(Txn { compares, then, otherwise: at.reads() }).await {
            Ok(outcome) => outcome,
            Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => {
                return Err(Error::new(Code::InstanceNotExists, NO_LEASE));
            }
            Err(error) => return Err(store_error(&error)),
        };
        if outcome.succeeded {
            return Ok(committed((), &outcome));
        }
        let found = FoundInstance::new(outcome.reads);
        let entry = found.document.filter(|_| found.has_service);
        let entry = entry.ok_or_else(|| Error::new(Code::InstanceNotExists, NO_INSTANCE))?;
        (json, mod_revision, lease) = (entry.value, entry.mod_revision, found.lease);
    }
}

/// `false` if there is nothing to write.
fn apply(document: &mut Instance, change: &InstanceEdit, configured: &TextMap, now: u64) -> bool {
    match change {
        InstanceEdit::Status(status) => document.status.clone_from(status),
        InstanceEdit::BulkStatus(status) => {
            document.status.clone_from(status);
            return true;
        }
        InstanceEdit::Properties(properties) => {
            document.properties.clone_from(properties);
            document.add_configured(configured);
        }
        InstanceEdit::AddConfigured => {
            if !document.add_configured(configured) {
                return false;
            }
        }
    }
    document.mod_timestamp = now.to_string();
    true
}

/// Sets the status of many instances, except the registry's own instances. Each instance is a transaction of its own.
pub(super) async fn change_status_where(
    core: Rc<RegistryCore>,
    message: ChangeStatusWhere,
) -> WriteReply<usize> {
    let ChangeStatusWhere { tenant, properties, status } = message;
    core.be_current().await?;
    let targets: Vec<_> = {
        let snapshot = core.reader.load();
        let nodes = snapshot.tenant(&tenant).into_iter().flat_map(|view| view.nodes());
        let nodes = nodes.filter(|(_, node)| node.view.as_ref().is_none_or(|service| !service.is_registry));
        let entries = nodes.flat_map(|(service, node)| node.instances.entries().map(move |at| (service, at)));
        entries.map(|(service, (id, entry))| (service.clone(), id, Arc::clone(entry))).collect()
    };
    let (mut changed, mut revision) = (0, None);
    // One chunk at a time, so that other writes get their turn and few documents are in memory.
    for chunk in targets.chunks(BULK_AT_ONCE) {
        let mut writes = Vec::new();
        for (service, id, entry) in chunk {
            let txn = status_write(&tenant, service, id, entry, &properties, &status);
            writes.extend(txn.map(|txn| (service, id, txn)));
        }
        let submitted = writes.iter().map(|(_, _, txn)| core.batcher.submit(txn.clone()));
        let outcomes = futures_util::future::join_all(submitted).await;
        for ((service, instance, _), outcome) in writes.iter().zip(outcomes) {
            match outcome {
                Ok(outcome) if outcome.succeeded => {
                    changed += 1;
                    revision = revision.max(Some(outcome.revision));
                }
                Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => {}
                Err(error) => return Err(store_error(&error)),
                // The instance was written meanwhile. Try again with its new document. If it is gone, that is fine.
                Ok(_) => {
                    let change = InstanceEdit::BulkStatus(status.clone());
                    let (service, instance) = ((*service).clone(), (*instance).clone());
                    let again = ChangeInstance { tenant: tenant.clone(), service, instance, change };
                    match self::change(Rc::clone(&core), again).await {
                        Ok(reply) => {
                            changed += 1;
                            revision = revision.max(reply.revision);
                        }
                        Err(error) if error.code == Code::InstanceNotExists => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
    Ok(Committed { value: changed, revision })
}

/// The write that sets a status. `None` if the instance has the status, lacks a property, or has no lease.
fn status_write(
    tenant: &Tenant,
    service: &ServiceId,
    id: &InstanceId,
    entry: &InstanceEntry,
    properties: &TextMap,
    status: &str,
) -> Option<Txn> {
    let lease = LeaseId(entry.lease.as_ref()?.lease());
    let mut document = parse(&entry.json()).ok()?;
    let has_all = properties.iter().all(|(key, value)| document.properties.get(key) == Some(value));
    if !has_all || document.status == status {
        return None;
    }
    status.clone_into(&mut document.status);
    let at = InstanceKeys::new(tenant, service, id.as_str());
    let value = Bytes::from(json::encode(&document));
    let compares = vec![
        Compare::Present(Key::clone(&at.service)),
        Compare::Unchanged { key: Key::clone(&at.document), mod_revision: entry.mod_revision },
        Compare::ValueIs { key: Key::clone(&at.lease), value: Bytes::from(lease.to_string()) },
    ];
    let then = vec![Op::Put { key: Key::clone(&at.document), value, lease: Some(lease) }];
    Some(Txn { compares, then, otherwise: Vec::new() })
}

fn parse(stored: &[u8]) -> Result<Instance, Error> {
    json::decode(stored).map_err(|error| Error::new(Code::Internal, format!("a stored instance: {error}")))
}
