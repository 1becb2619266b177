//! Writes of services: register, properties, delete.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::core::{RegistryCore, committed, registry_is_closed, unchanged};
use super::dependencies;
use super::messages::{Author, RegisterService, ReplaceServiceProperties, UnregisterService, WriteReply};
use super::rules::DependencyMode;
use super::schema_texts;
use crate::cache::dependency::PartnerFilter;
use crate::cache::snapshot::name_path;
use crate::cache::{ServiceView, Snapshot};
use crate::domain::dependency::Dependency;
use crate::domain::event::{Revision, ServiceName};
use crate::domain::json;
use crate::domain::service::{Service, derived_id};
use crate::domain::validate::flag::Force;
use crate::domain::{ServiceId, Tenant, quota};
use crate::error::{Code, Error};
use crate::recorder::Purpose;
use crate::store::{Compare, Entry, Key, LeaseId, Op, Txn, keys};

pub(super) const NO_SERVICE: &str = "Service does not exist.";

/// Registers a service. One transaction decides whether its id, its name or its alias is taken.
pub(super) async fn register(core: Rc<RegistryCore>, message: RegisterService) -> WriteReply<ServiceId> {
    let RegisterService { tenant, mut service, author } = message;
    if author == Author::Client && service.claims_registry(&tenant) {
        return Err(registry_is_closed());
    }
    let name = name_of(&tenant, &service);
    let index = keys::index(&name, &service.version);
    let alias = (!service.alias.is_empty()).then(|| {
        let name = ServiceName { name: service.alias.as_str().into(), ..name.clone() };
        keys::alias(&name, &service.version)
    });
    let given = std::mem::take(&mut service.service_id);
    if author == Author::Client {
        check_tenants(&core, &tenant).await?;
        check_quota(&core, &tenant, &service).await?;
    }
    let mut id = if given.is_empty() { derived_id(&index) } else { given.clone() };
    service.timestamp = core.now().to_string();
    service.mod_timestamp.clone_from(&service.timestamp);
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        service.service_id.clone_from(&id);
        let outcome = core.commit(creation(&tenant, &service, &index, alias.as_ref())).await?;
        // The owner of the name comes before that of the alias.
        let taken = outcome.reads.iter().flatten().next();
        let owner = taken.and_then(owner_of);
        let reply = match owner {
            _ if outcome.succeeded => {
                actix::spawn(announce_tenant(Rc::clone(&core), tenant.clone(), outcome.revision));
                committed(ServiceId::from(id), &outcome)
            }
            Some(owner) if given.is_empty() || owner.as_str() == given => {
                core.catch_up_with(taken.map(|entry| entry.mod_revision)).await;
                unchanged(owner)
            }
            // Another service was registered with the id that is derived for this one. Then this one gets a random id.
            None if given.is_empty() => {
                id = Uuid::new_v4().simple().to_string();
                continue;
            }
            _ => {
                let detail = "ServiceID conflict or found the same service with different id.";
                return Err(Error::new(Code::ServiceExists, detail));
            }
        };
        if author == Author::Node {
            *core.own_service.borrow_mut() = Some(reply.value.clone());
        }
        return Ok(reply);
    }
}

/// Puts a service, unless its id, its name or its alias is taken. Then it reads the owners of the name and the alias.
fn creation(tenant: &Tenant, service: &Service, index: &Key, alias: Option<&Key>) -> Txn {
    let document = keys::service(tenant, &service.service_id);
    let taken = [Some(&document), Some(index), alias].into_iter().flatten();
    let compares = taken.map(|key| Compare::Absent(Key::clone(key))).collect();
    let owner = Bytes::from(service.service_id.clone().into_bytes());
    let mut then = vec![put(&document, Bytes::from(json::encode(service))), put(index, owner.clone())];
    then.extend(alias.map(|alias| put(alias, owner)));
    let otherwise = [Some(index), alias].into_iter().flatten().map(|key| Op::Get(Key::clone(key))).collect();
    Txn { compares, then, otherwise }
}

fn owner_of(entry: &Entry) -> Option<ServiceId> {
    std::str::from_utf8(&entry.value).ok().map(ServiceId::from)
}

fn put(key: &Key, value: Bytes) -> Op {
    Op::Put { key: Key::clone(key), value, lease: None }
}

fn name_of(tenant: &Tenant, service: &Service) -> ServiceName {
    ServiceName::new(tenant.clone(), &service.environment, &service.app_id, &service.service_name)
}

/// 400100 for the first service of a tenant if there are too many tenants already.
async fn check_tenants(core: &RegistryCore, tenant: &Tenant) -> Result<(), Error> {
    let limit = core.rules.quotas.tenants;
    let others = || {
        let snapshot = core.reader.load();
        snapshot.tenant(tenant).is_none().then(|| snapshot.tenant_count())
    };
    if others().is_none_or(|count| count < limit) {
        return Ok(());
    }
    core.be_current().await?;
    others().map_or(Ok(()), |count| quota::check("DOMAIN", limit, count))
}

/// 400100 for a new service if the quota is used up. An existing service may register again.
async fn check_quota(core: &RegistryCore, tenant: &Tenant, service: &Service) -> Result<(), Error> {
    let full =
        core.check_quota("SERVICE", core.rules.quotas.services, tenant, |usage| usage.services).await.err();
    match full {
        Some(error) if !is_known(core, tenant, service) => Err(error),
        _ => Ok(()),
    }
}

fn is_known(core: &RegistryCore, tenant: &Tenant, service: &Service) -> bool {
    core.reader.load().tenant(tenant).is_some_and(|view| {
        let path = |name: &str| name_path(&service.environment, &service.app_id, name);
        let named = view.name(&path(&service.service_name)).and_then(|node| node.version(&service.version));
        let aliased = view.alias(&path(&service.alias)).and_then(|node| node.version(&service.version));
        named.or(aliased).is_some()
    })
}

/// How long to wait for the snapshot when no client waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns when the snapshot holds a revision, or is late. Then the keys of the tenant stay as they are until its next service
/// comes or goes.
async fn wait_for(core: &RegistryCore, written: Revision) {
    let _ = tokio::time::timeout(PATIENCE, core.reader.wait_for(written)).await;
}

/// Puts the keys of a project and its domain if they are not there. No client waits for this. `written` is the revision of a
/// service in the project. It takes turns with [`forget_tenant`], so that a service that comes and goes leaves no key: if that had its
/// turn before, the snapshot shows that the service is gone.
///
/// Many services may come to a new project at once, and one write is enough for all of them. The others wait for their turn and
/// then see the keys. They must not give up instead (see [`RegistryCore::claim`]): the keys may be deleted between that write
/// and the service that gives up.
async fn announce_tenant(core: Rc<RegistryCore>, tenant: Tenant, written: Revision) {
    wait_for(&core, written).await;
    let is_announced = || {
        let snapshot = core.reader.load();
        snapshot.projects.contains(&tenant) && snapshot.domains.contains(tenant.domain())
    };
    if is_announced() {
        return;
    }
    let Ok(_turn) = core.turn(&keys::project(&tenant)).await else {
        log::debug!(
            "the keys of {tenant} are not written, because many write them; the next new service writes them"
        );
        return;
    };
    let snapshot = core.reader.load_full();
    if snapshot.revision >= written && !has_services(&snapshot, &tenant) {
        return;
    }
    if !snapshot.projects.contains(&tenant)
        && let Some(at) = announce(&core, keys::project(&tenant)).await
    {
        wait_for(&core, at).await;
    }
    if !core.reader.load().domains.contains(tenant.domain())
        && let Some(at) = announce(&core, keys::domain(tenant.domain())).await
    {
        wait_for(&core, at).await;
    }
}

/// The revision at which the key was put. `None` if it was there or could not be put.
async fn announce(core: &RegistryCore, key: Key) -> Option<Revision> {
    let compares = vec![Compare::Absent(Key::clone(&key))];
    let txn = Txn { compares, then: vec![put(&key, Bytes::new())], otherwise: Vec::new() };
    match core.commit(txn).await {
        Ok(outcome) => outcome.changed.then_some(outcome.revision),
        Err(error) => {
            log::debug!("\"{key}\" was not written, the next new service writes it: {error}");
            None
        }
    }
}

fn has_services(snapshot: &Snapshot, tenant: &Tenant) -> bool {
    snapshot.tenant(tenant).is_some_and(|view| view.service_count > 0)
}

/// Deletes the keys of a project without services, and the key of its domain if the domain has no other project. Else tenants
/// that come and go would leave any number of keys. No client waits for this.
async fn forget_tenant(core: Rc<RegistryCore>, tenant: Tenant, written: Revision) {
    wait_for(&core, written).await;
    let Ok(_turn) = core.turn(&keys::project(&tenant)).await else {
        log::debug!(
            "the keys of {tenant} are not deleted, because many write them; they stay until it is used again"
        );
        return;
    };
    if has_services(&core.reader.load(), &tenant) {
        return;
    }
    let unused = [
        (keys::services_of(&tenant), keys::project(&tenant)),
        (keys::projects_of(tenant.domain()), keys::domain(tenant.domain())),
    ];
    for (below, key) in unused {
        let (compares, then) = (vec![Compare::NoneBelow(below)], vec![Op::Delete(Key::clone(&key))]);
        match core.commit(Txn { compares, then, otherwise: Vec::new() }).await {
            Ok(outcome) if outcome.succeeded => {}
            Ok(_) => return,
            Err(error) => {
                log::debug!("\"{key}\" was not deleted, it stays until the tenant is used again: {error}");
                return;
            }
        }
    }
}

/// Replaces the properties of a service.
pub(super) async fn replace_properties(
    core: Rc<RegistryCore>,
    message: ReplaceServiceProperties,
) -> WriteReply<()> {
    let ReplaceServiceProperties { tenant, service, properties } = message;
    let now = core.now().to_string();
    change_document(&core, &tenant, &service, |document| {
        document.properties.clone_from(&properties);
        document.mod_timestamp.clone_from(&now);
    })
    .await
}

/// Changes a service document, under a compare with the former one.
async fn change_document(
    core: &RegistryCore,
    tenant: &Tenant,
    service: &ServiceId,
    change: impl Fn(&mut Service),
) -> WriteReply<()> {
    let key = keys::service(tenant, service.as_str());
    let _turn = core.turn(&key).await?;
    let view = core.service(tenant, service.as_str(), NO_SERVICE).await?;
    let (mut document, mut mod_revision) = (view.record.document.clone(), view.record.mod_revision);
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        change(&mut document);
        let compares = vec![Compare::Unchanged { key: Key::clone(&key), mod_revision }];
        let then = vec![put(&key, Bytes::from(json::encode(&document)))];
        let outcome = core.commit(Txn { compares, then, otherwise: vec![Op::Get(Key::clone(&key))] }).await?;
        if outcome.succeeded {
            return Ok(committed((), &outcome));
        }
        let entry = outcome.reads.into_iter().flatten().next();
        let entry = entry.ok_or_else(|| Error::new(Code::ServiceNotExists, NO_SERVICE))?;
        (document, mod_revision) = (parse(&entry.value)?, entry.mod_revision);
    }
}

pub(super) fn parse(stored: &[u8]) -> Result<Service, Error> {
    json::decode(stored).map_err(|error| Error::new(Code::Internal, format!("a stored service: {error}")))
}

/// What protects a service from being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// Its instances, and consumers that depend on it.
    InstancesAndConsumers,
    /// Its instances.
    Instances,
    /// Nothing.
    None,
}

/// Deletes a service with everything under its id, and queues the end of its dependencies.
pub(super) async fn unregister(core: Rc<RegistryCore>, message: UnregisterService) -> WriteReply<()> {
    let UnregisterService { tenant, service, force } = message;
    core.service(&tenant, service.as_str(), NO_SERVICE).await?;
    let protection = match force {
        Force::No => Protection::InstancesAndConsumers,
        Force::Yes => Protection::None,
    };
    delete(&core, &tenant, &service, protection, DeletionTerms::default()).await
}

/// What a transaction that deletes a service compares and writes besides.
#[derive(Debug, Default)]
pub(super) struct DeletionTerms {
    pub purpose: Purpose,
    pub compares: Vec<Compare>,
    pub also: Vec<Op>,
}

pub(super) async fn delete(
    core: &Rc<RegistryCore>,
    tenant: &Tenant,
    service: &ServiceId,
    protection: Protection,
    terms: DeletionTerms,
) -> WriteReply<()> {
    if tenant.is_default() && core.own_service.borrow().as_ref() == Some(service) {
        return Err(Error::invalid("not allow to delete service center"));
    }
    if protection == Protection::InstancesAndConsumers {
        // Consumers and instances must not come from an old snapshot.
        core.be_current().await?;
    }
    let view = core.any_service(tenant, service.as_str(), NO_SERVICE).await?;
    let snapshot = core.reader.load_full();
    let instances = snapshot.tenant(tenant).and_then(|tenant| tenant.node(service.as_str()));
    let instances = instances.map(|node| node.instances.clone()).unwrap_or_default();
    if protection == Protection::InstancesAndConsumers {
        let others = PartnerFilter { same_tenant: false, not_self: true };
        if !snapshot.consumers(tenant, &view, others).is_empty() {
            let detail = "Can not delete this service, other service rely it.";
            return Err(Error::new(Code::ServiceHasConsumers, detail));
        }
    }
    if protection != Protection::None && !instances.is_empty() {
        return Err(has_instances());
    }
    // The transaction may be committed despite the error.
    let in_doubt = |_: &Error| {
        let node = snapshot.tenant(tenant).and_then(|tenant| tenant.node(service.as_str()));
        core.texts.leave(tenant, node.into_iter().flat_map(|node| node.schema_refs.values().cloned()));
    };
    let mut txn = deletion(core, tenant, &view, protection);
    txn.compares.extend(terms.compares);
    txn.then.extend(terms.also);
    let outcome = core.commit_for(txn, terms.purpose).await.inspect_err(in_doubt)?;
    if !outcome.succeeded {
        let is_gone = outcome.reads.iter().flatten().next().is_none();
        return Err(if is_gone { Error::new(Code::ServiceNotExists, NO_SERVICE) } else { has_instances() });
    }
    let leases = instances.iter().filter_map(|entry| entry.lease.as_ref()).map(|mark| LeaseId(mark.lease()));
    core.leases.discard(leases.collect());
    schema_texts::let_go(core, tenant, schema_texts::hashes(&outcome), outcome.revision).await;
    if core.rules.dependencies == DependencyMode::Direct {
        let consumer = Some(view.record.document.key(tenant));
        core.catch_up(outcome.revision).await;
        let ended = Dependency { consumer, providers: Vec::new(), replace: true };
        if let Err(error) = dependencies::apply_directly(core, vec![ended]).await {
            // The service is deleted all the same. Readers ignore the rules of a consumer that does not exist.
            log::warn!("the dependency rules of the deleted service \"{service}\" were not removed: {error}");
        }
    }
    actix::spawn(forget_tenant(Rc::clone(core), tenant.clone(), outcome.revision));
    Ok(committed((), &outcome))
}

fn has_instances() -> Error {
    Error::new(Code::ServiceHasInstances, "Can not delete the service deployed instance(s).")
}

/// Deletes the lease keys before the documents, so that every node takes this for a goodbye of each instance.
fn deletion(core: &RegistryCore, tenant: &Tenant, view: &ServiceView, protection: Protection) -> Txn {
    let (id, document) = (view.id.as_str(), &view.record.document);
    let key = keys::service(tenant, id);
    let instances = keys::instance(tenant, id, "");
    let name = name_of(tenant, document);
    let mut compares = vec![Compare::Present(Key::clone(&key))];
    if protection != Protection::None {
        compares.push(Compare::NoneBelow(Key::clone(&instances)));
    }
    let mut then = vec![
        Op::DeletePrefix(keys::lease(tenant, id, "")),
        Op::DeletePrefix(instances),
        Op::DeletePrefix(keys::properties_override(tenant, id, "")),
        Op::Delete(keys::index(&name, &document.version)),
    ];
    if !document.alias.is_empty() {
        let alias = ServiceName { name: document.alias.as_str().into(), ..name };
        then.push(Op::Delete(keys::alias(&alias, &document.version)));
    }
    then.push(Op::Delete(Key::clone(&key)));
    if core.rules.dependencies == DependencyMode::Queued {
        let ended = Dependency { consumer: Some(document.key(tenant)), providers: Vec::new(), replace: true };
        then.push(put(&keys::dependency_ending(tenant, id), Bytes::from(json::encode(&ended))));
    }
    then.extend([
        Op::GetPrefix(keys::schema_ref(tenant, id, "")),
        Op::DeletePrefix(keys::old_schema(tenant, id, "")),
        Op::DeletePrefix(keys::schema_summary(tenant, id, "")),
        Op::DeletePrefix(keys::schema_ref(tenant, id, "")),
        Op::Delete(keys::tags(tenant, id)),
    ]);
    Txn { compares, then, otherwise: vec![Op::Get(key)] }
}
