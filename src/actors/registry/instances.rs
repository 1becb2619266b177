//! Writes of instances: register, restore, unregister, change.

use std::rc::Rc;

use bytes::Bytes;
use uuid::Uuid;

use super::core::{RegistryCore, committed, store_error, unchanged};
use super::messages::{
    ChangeInstance, ChangeStatusWhere, InstanceChange, QuotaCheck, RegisterInstance, Reply, RestoreInstance,
    UnregisterInstance,
};
use crate::cache::{InstanceEntry, ServiceView};
use crate::domain::json::{self, TextMap};
use crate::domain::{Instance, InstanceId, ServiceId, Tenant, quota};
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, LeaseId, Op, Reason, StoreError, Txn, TxnOutcome, keys};

const NO_SERVICE: &str = "Invalid 'serviceID' in request body.";
const NO_LEASE: &str = "Instance's leaseId not exist.";
const NO_INSTANCE: &str = "Service instance does not exist.";

/// Transactions of a change of many that wait at once, so that others get their turn.
const BULK_AT_ONCE: usize = 1_000;

/// The keys an instance lives under, and that of its service.
struct Keys {
    service: Key,
    document: Key,
    lease: Key,
}

impl Keys {
    fn new(tenant: &Tenant, service: &ServiceId, instance: &str) -> Self {
        Self {
            service: keys::service(tenant, service.as_str()),
            document: keys::instance(tenant, service.as_str(), instance),
            lease: keys::lease(tenant, service.as_str(), instance),
        }
    }

    fn puts(&self, document: &Bytes, lease: LeaseId) -> Vec<Op> {
        let lease_text = Bytes::from(lease.to_string());
        vec![
            Op::Put { key: Key::clone(&self.document), value: document.clone(), lease: Some(lease) },
            Op::Put { key: Key::clone(&self.lease), value: lease_text, lease: Some(lease) },
        ]
    }

    /// Service, document, lease: what a failed write needs to know.
    fn reads(&self) -> Vec<Op> {
        [&self.service, &self.document, &self.lease].map(|key| Op::Get(Key::clone(key))).into()
    }
}

/// What [`Keys::reads`] found.
struct Found {
    has_service: bool,
    document: Option<Entry>,
    lease: Option<LeaseId>,
}

impl Found {
    fn new(outcome: TxnOutcome) -> Self {
        let mut reads = outcome.reads.into_iter().map(|mut entries| entries.pop());
        let mut next = || reads.next().flatten();
        let (service, document, lease) = (next(), next(), next());
        let lease = lease.and_then(|entry| std::str::from_utf8(&entry.value).ok()?.parse().ok().map(LeaseId));
        Self { has_service: service.is_some(), document, lease }
    }
}

/// Registers an instance.
pub(super) async fn register(core: Rc<RegistryCore>, message: RegisterInstance) -> Reply<InstanceId> {
    let RegisterInstance { tenant, service, instance, quota } = message;
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let view = core.service(&tenant, service.as_str(), NO_SERVICE).await?;
        let known = core.reader.load().instance(&tenant, service.as_str(), &instance.instance_id).cloned();
        let known = known.filter(|_| !instance.instance_id.is_empty());
        if let Some(known) = known {
            match replace(&core, &tenant, &view, &instance, &known).await? {
                Replaced::Done(reply) => return Ok(reply),
                Replaced::Gone => {}
            }
        }
        if quota == QuotaCheck::Enforced {
            let usage = core.reader.load().usage(&tenant, &core.rules.shared);
            quota::check("INSTANCE", core.rules.quotas.instances, usage.instances)?;
        }
        let mut document = instance.clone();
        let id = match instance.instance_id.as_str() {
            "" => Uuid::new_v4().simple().to_string(),
            given => given.to_owned(),
        };
        document.complete(&view.record.document, id, core.now(), &core.rules.instances);
        let at = Keys::new(&tenant, &service, &document.instance_id);
        let json = Bytes::from(json::encode(&document));
        match create(&core, &at, &json, document.ttl_seconds(&core.rules.instances)).await? {
            Created::Done(outcome) => return Ok(committed(document.instance_id.into(), &outcome)),
            Created::NoService => return Err(Error::new(Code::ServiceNotExists, NO_SERVICE)),
            // Another node registered it a moment ago: once the snapshot has it, it is compared and replaced.
            Created::Exists(revision) => core.catch_up(revision).await,
        }
    }
}

enum Created {
    Done(TxnOutcome),
    NoService,
    Exists(i64),
}

/// Puts an instance that must not exist, on a lease of its own.
async fn create(core: &RegistryCore, at: &Keys, json: &Bytes, ttl_seconds: i64) -> Result<Created, Error> {
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let lease = core.leases.take(ttl_seconds).await.map_err(|error| store_error(&error))?;
        let txn = Txn {
            compares: vec![
                Compare::Present(Key::clone(&at.service)),
                Compare::Absent(Key::clone(&at.document)),
            ],
            then: at.puts(json, lease),
            otherwise: at.reads(),
        };
        let mut outcome = core.batcher.submit(txn.clone()).await;
        if matches!(outcome, Err(StoreError::Unknown { .. })) && !deadline.is_over() {
            // The same write again: committed before, it now fails on its own document, which the reads show.
            outcome = core.batcher.submit(txn).await;
        }
        match outcome {
            Ok(outcome) if outcome.succeeded => return Ok(Created::Done(outcome)),
            Ok(outcome) => {
                let revision = outcome.revision;
                let found = Found::new(outcome);
                if let (Some(document), Some(held)) = (&found.document, found.lease)
                    && held == lease
                {
                    let outcome = TxnOutcome {
                        succeeded: true,
                        revision: document.mod_revision,
                        changed: true,
                        reads: Vec::new(),
                    };
                    return Ok(Created::Done(outcome));
                }
                core.leases.discard(vec![lease]);
                return Ok(if found.has_service { Created::Exists(revision) } else { Created::NoService });
            }
            Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => {}
            Err(error) => {
                // Maybe written: without its lease it cannot stand.
                core.leases.discard(vec![lease]);
                return Err(store_error(&error));
            }
        }
    }
}

enum Replaced {
    Done(super::messages::Committed<InstanceId>),
    Gone,
}

/// A known id registers again: an equal document only renews the lease, a changed one replaces the document.
async fn replace(
    core: &RegistryCore,
    tenant: &Tenant,
    service: &ServiceView,
    sent: &Instance,
    known: &InstanceEntry,
) -> Result<Replaced, Error> {
    let Some(mark) = &known.lease else { return Ok(Replaced::Gone) };
    let stored = parse(known.json())?;
    let mut document = sent.clone();
    document.complete(&service.record.document, sent.instance_id.clone(), core.now(), &core.rules.instances);
    let id = InstanceId::from(sent.instance_id.as_str());
    let lease = LeaseId(mark.lease());
    if document.same_as_registered(&stored) {
        let answers = core.store.keep_alive(vec![lease]).await;
        return match answers.first() {
            Some(crate::store::KeepAlive::Renewed(_)) => {
                mark.renewed(core.clock.monotonic());
                Ok(Replaced::Done(unchanged(id)))
            }
            Some(crate::store::KeepAlive::NotFound) => {
                wait_for_expiry(core).await;
                Ok(Replaced::Gone)
            }
            Some(crate::store::KeepAlive::Unanswered(why)) => Err(Error::new(Code::Unavailable, why.clone())),
            None => Err(Error::new(Code::Unavailable, "the store did not answer")),
        };
    }
    document.timestamp.clone_from(&stored.timestamp);
    let at = Keys::new(tenant, &service.id, id.as_str());
    let json = Bytes::from(json::encode(&document));
    let ttl = document.ttl_seconds(&core.rules.instances);
    let same_ttl = ttl == stored.ttl_seconds(&core.rules.instances);
    let new_lease =
        if same_ttl { lease } else { core.leases.take(ttl).await.map_err(|error| store_error(&error))? };
    let then = if same_ttl {
        vec![Op::Put { key: Key::clone(&at.document), value: json, lease: Some(lease) }]
    } else {
        at.puts(&json, new_lease)
    };
    let compares = vec![
        Compare::Present(Key::clone(&at.service)),
        Compare::Unchanged { key: Key::clone(&at.document), mod_revision: known.record.mod_revision },
        Compare::ValueIs { key: Key::clone(&at.lease), value: Bytes::from(lease.to_string()) },
    ];
    let outcome = core.batcher.submit(Txn { compares, then, otherwise: at.reads() }).await;
    let failed = outcome.as_ref().map_or(true, |outcome| !outcome.succeeded);
    let unused = if failed { new_lease } else { lease };
    if !same_ttl {
        core.leases.discard(vec![unused]);
    }
    match outcome {
        Ok(outcome) if outcome.succeeded => {
            if same_ttl {
                // Registering again is a sign of life too.
                core.store.keep_alive(vec![lease]).await;
            }
            Ok(Replaced::Done(committed(id, &outcome)))
        }
        Ok(outcome) => {
            core.catch_up(outcome.revision).await;
            Ok(Replaced::Gone)
        }
        Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => {
            wait_for_expiry(core).await;
            Ok(Replaced::Gone)
        }
        Err(error) => Err(store_error(&error)),
    }
}

/// The lease is gone, its keys go with it; the compares of the next try decide.
async fn wait_for_expiry(core: &RegistryCore) {
    core.freshness.catch_up().await;
}

/// Writes an instance again that its store let expire.
pub(super) async fn restore(core: Rc<RegistryCore>, message: RestoreInstance) -> Reply<()> {
    let RestoreInstance { tenant, service, instance, json } = message;
    let ttl = parse(&json)?.ttl_seconds(&core.rules.instances);
    let at = Keys::new(&tenant, &service, instance.as_str());
    match create(&core, &at, &json, ttl).await? {
        Created::Done(outcome) => Ok(committed((), &outcome)),
        Created::NoService => Err(Error::new(Code::ServiceNotExists, NO_SERVICE)),
        Created::Exists(_) => Ok(unchanged(())),
    }
}

/// An owner says goodbye: the lease key goes before the document, which tells every node that this is no expiry.
pub(super) async fn unregister(core: Rc<RegistryCore>, message: UnregisterInstance) -> Reply<()> {
    let UnregisterInstance { tenant, service, instance } = message;
    let at = Keys::new(&tenant, &service, instance.as_str());
    let mut lease = known_lease(&core, &tenant, &service, &instance).await?;
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let compares =
            vec![Compare::ValueIs { key: Key::clone(&at.lease), value: Bytes::from(lease.to_string()) }];
        let then = vec![Op::Delete(Key::clone(&at.lease)), Op::Delete(Key::clone(&at.document))];
        let outcome = core.commit(Txn { compares, then, otherwise: at.reads() }).await?;
        if outcome.succeeded {
            core.leases.discard(vec![lease]);
            return Ok(committed((), &outcome));
        }
        lease = Found::new(outcome).lease.ok_or_else(|| Error::new(Code::InstanceNotExists, NO_LEASE))?;
    }
}

async fn known_lease(
    core: &RegistryCore,
    tenant: &Tenant,
    service: &ServiceId,
    instance: &InstanceId,
) -> Result<LeaseId, Error> {
    let look = || {
        let snapshot = core.reader.load();
        let entry = snapshot.instance(tenant, service.as_str(), instance.as_str())?;
        entry.lease.as_ref().map(|mark| LeaseId(mark.lease()))
    };
    if let Some(lease) = look() {
        return Ok(lease);
    }
    core.freshness.catch_up().await;
    look().ok_or_else(|| Error::new(Code::InstanceNotExists, NO_LEASE))
}

/// Changes an instance document under compares; its lease stays.
pub(super) async fn change(core: Rc<RegistryCore>, message: ChangeInstance) -> Reply<()> {
    let ChangeInstance { tenant, service, instance, change } = message;
    let at = Keys::new(&tenant, &service, instance.as_str());
    let look = || core.reader.load().instance(&tenant, service.as_str(), instance.as_str()).cloned();
    let mut known = look();
    if known.is_none() {
        core.freshness.catch_up().await;
        known = look();
    }
    let known = known.ok_or_else(|| Error::new(Code::InstanceNotExists, NO_INSTANCE))?;
    let mut lease = known.lease.as_ref().map(|mark| LeaseId(mark.lease()));
    let (mut json, mut mod_revision) = (known.json().clone(), known.record.mod_revision);
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
        let then = vec![Op::Put { key: Key::clone(&at.document), value, lease: Some(held) }];
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
        let found = Found::new(outcome);
        let entry = found.document.filter(|_| found.has_service);
        let entry = entry.ok_or_else(|| Error::new(Code::InstanceNotExists, NO_INSTANCE))?;
        (json, mod_revision, lease) = (entry.value, entry.mod_revision, found.lease);
    }
}

/// `false` if there is nothing to write.
fn apply(document: &mut Instance, change: &InstanceChange, configured: &TextMap, now: u64) -> bool {
    match change {
        InstanceChange::Status(status) => document.status.clone_from(status),
        InstanceChange::BulkStatus(status) => {
            document.status.clone_from(status);
            return true;
        }
        InstanceChange::Properties(properties) => {
            document.properties.clone_from(properties);
            document.add_configured(configured);
        }
        InstanceChange::AddConfigured => {
            if !document.add_configured(configured) {
                return false;
            }
        }
    }
    document.mod_timestamp = now.to_string();
    true
}

/// Sets a status on many; each is a transaction of its own, together in batches.
pub(super) async fn change_status_where(core: Rc<RegistryCore>, message: ChangeStatusWhere) -> Reply<usize> {
    let ChangeStatusWhere { tenant, properties, status } = message;
    core.freshness.catch_up().await;
    let snapshot = core.reader.load_full();
    let nodes = snapshot.tenant(&tenant).into_iter().flat_map(|view| view.nodes());
    let mut writes = Vec::new();
    for (service, node) in nodes {
        for (id, entry) in node.instances.entries() {
            let (Some(mark), Ok(mut document)) = (&entry.lease, parse(entry.json())) else { continue };
            let has_all = properties.iter().all(|(key, value)| document.properties.get(key) == Some(value));
            if !has_all || document.status == status {
                continue;
            }
            document.status.clone_from(&status);
            let at = Keys::new(&tenant, service, id.as_str());
            let lease = LeaseId(mark.lease());
            let value = Bytes::from(json::encode(&document));
            let compares = vec![
                Compare::Present(Key::clone(&at.service)),
                Compare::Unchanged { key: Key::clone(&at.document), mod_revision: entry.record.mod_revision },
                Compare::ValueIs { key: Key::clone(&at.lease), value: Bytes::from(lease.to_string()) },
            ];
            let then = vec![Op::Put { key: Key::clone(&at.document), value, lease: Some(lease) }];
            writes.push((service.clone(), id.clone(), Txn { compares, then, otherwise: Vec::new() }));
        }
    }
    let (mut changed, mut revision) = (0, None);
    for chunk in writes.chunks(BULK_AT_ONCE) {
        let submitted = chunk.iter().map(|(_, _, txn)| core.batcher.submit(txn.clone()));
        let outcomes = futures_util::future::join_all(submitted).await;
        for ((service, instance, _), outcome) in chunk.iter().zip(outcomes) {
            match outcome {
                Ok(outcome) if outcome.succeeded => {
                    changed += 1;
                    revision = revision.max(Some(outcome.revision));
                }
                Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => {}
                Err(error) => return Err(store_error(&error)),
                // Somebody wrote it meanwhile: once more, with what it is now. Gone by now is fine.
                Ok(_) => {
                    let change = InstanceChange::BulkStatus(status.clone());
                    let (service, instance) = (service.clone(), instance.clone());
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
    Ok(super::messages::Committed { value: changed, revision })
}

fn parse(stored: &[u8]) -> Result<Instance, Error> {
    json::decode(stored).map_err(|error| Error::new(Code::Internal, format!("a stored instance: {error}")))
}
