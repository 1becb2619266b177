//! Dependency requests of clients and finds. A request becomes rules of the consumer and of its providers.
//!
//! On etcd, a request waits in a queue until the node that holds the lock applies it, as in the original server. On the
//! embedded store it is applied at once. Requests that come together are applied together (`dependency_rules`), in the order
//! they came. The transactions compare everything they write, the queue entries and the lock. So a node that has lost the lock
//! cannot write.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use bytes::Bytes;
use uuid::Uuid;

use super::core::{RegistryCore, committed, registry_is_closed, unchanged};
use super::dependency_cleanup::{clean_up, leave_out_unknown};
use super::dependency_rules::{DependencyRequest, RuleWriter};
use super::dependency_waiting::DirectRequest;
use super::failure::DependencyFailure;
use super::messages::{ChangeDependencies, Committed, Merge, RecordDependency, WriteReply};
use super::rules::DependencyMode;
use crate::cache::snapshot::{Snapshot, name_path};
use crate::domain::dependency::{self, ALL_VERSIONS, Dependency, merged_providers};
use crate::domain::event::Revision;
use crate::domain::json;
use crate::domain::{ServiceId, ServiceKey, Tenant};
use crate::error::{Code, Error};
use crate::store::{Compare, Key, Op, Txn, keys};

/// A consumer that exists: its tenant and its id.
type ConsumerAt = (Tenant, ServiceId);

/// Takes the requests of a client.
pub(super) async fn change(core: Rc<RegistryCore>, message: ChangeDependencies) -> WriteReply<()> {
    let ChangeDependencies { tenant, requests, merge } = message;
    core.be_current().await?;
    let complete = all_completed(&core.reader.load(), &tenant, requests, merge)?;
    check_quota(&core, &complete)?;
    match core.rules.dependencies {
        DependencyMode::Direct => {
            let requests = complete.into_iter().map(|(_, request)| request).collect();
            let revision = apply_directly(&core, requests).await?;
            Ok(Committed { value: (), revision })
        }
        DependencyMode::Queued => {
            let queued = complete.into_iter().map(|((tenant, consumer), request)| {
                let id = if merge == Merge::Replace {
                    "0".to_owned()
                } else {
                    Uuid::new_v4().simple().to_string()
                };
                let value = Bytes::from(json::encode(&request));
                let key = keys::dependency_request(&tenant, consumer.as_str(), &id);
                Op::Put { key, value, lease: None }
            });
            let outcome = core.commit(Txn { then: queued.collect(), ..Txn::default() }).await?;
            Ok(committed((), &outcome))
        }
    }
}

/// Completes the requests of one message. Two requests that replace the providers of one consumer (named once by its name and
/// once by its alias) become one.
fn all_completed(
    snapshot: &Snapshot,
    tenant: &Tenant,
    requests: Vec<Dependency>,
    merge: Merge,
) -> Result<Vec<(ConsumerAt, Dependency)>, Error> {
    let mut all: Vec<(ConsumerAt, Dependency)> = Vec::new();
    for request in requests {
        let (consumer, request) = completed(snapshot, tenant, request, merge)?;
        let same = all.iter_mut().find(|(known, _)| merge == Merge::Replace && *known == consumer);
        match same {
            Some((_, known)) => known.providers.extend(request.providers),
            None => all.push((consumer, request)),
        }
    }
    Ok(all)
}

/// Finds the consumer and fills in what its providers leave out.
fn completed(
    snapshot: &Snapshot,
    tenant: &Tenant,
    request: Dependency,
    merge: Merge,
) -> Result<(ConsumerAt, Dependency), Error> {
    let mut own = request.consumer.unwrap_or_default();
    if own.tenant.is_empty() {
        tenant.as_str().clone_into(&mut own.tenant);
    }
    let Some(consumer) = snapshot.services_of(&own).first().copied() else {
        let path = name_path(&own.environment, &own.app_id, &own.service_name);
        let detail = format!("Consumer {path}/{} does not exist.", own.version);
        return Err(Error::new(Code::ServiceNotExists, detail));
    };
    if consumer.is_registry {
        return Err(registry_is_closed());
    }
    let mut providers = request.providers;
    for provider in &mut providers {
        if provider.tenant.is_empty() {
            tenant.as_str().clone_into(&mut provider.tenant);
        }
        if provider.app_id.is_empty() {
            provider.app_id.clone_from(&own.app_id);
        }
        ALL_VERSIONS.clone_into(&mut provider.version);
    }
    let mut names = HashSet::new();
    if !providers.iter().all(|provider| names.insert(dependency::name(provider))) {
        let detail =
            "Invalid request body for provider info.Duplicate provider or (serviceName and appId is same).";
        return Err(Error::invalid(detail));
    }
    let tenant = Tenant::from(own.tenant);
    let mut key = consumer.record.document.key(&tenant);
    // The alias is part of the rule only if the request names it.
    key.alias = own.alias;
    let request = Dependency { consumer: Some(key), providers, replace: merge == Merge::Replace };
    Ok(((tenant, consumer.id.clone()), request))
}

/// 400100 if the requests give a consumer too many providers, according to the snapshot. When they are applied, providers that
/// were added meanwhile count too.
fn check_quota(core: &RegistryCore, requests: &[(ConsumerAt, Dependency)]) -> Result<(), Error> {
    let snapshot = core.reader.load();
    let mut held: HashMap<&ConsumerAt, Vec<ServiceKey>> = HashMap::new();
    for (consumer, request) in requests {
        let current = held.entry(consumer).or_insert_with(|| held_by(&snapshot, consumer).to_vec());
        let wanted = merged_providers(current, &request.providers, request.replace);
        dependency::check_quota(core.rules.quotas.dependencies, current, &wanted)?;
        *current = wanted;
    }
    Ok(())
}

/// The providers of a consumer, according to the snapshot.
fn held_by<'a>(snapshot: &'a Snapshot, (tenant, id): &ConsumerAt) -> &'a [ServiceKey] {
    let rule = snapshot.tenant(tenant).and_then(|view| {
        let consumer = view.service(id.as_str())?;
        view.consumer_rule(&consumer.versioned_path)
    });
    rule.map(|rule| rule.partners.keys.as_slice()).unwrap_or_default()
}

/// Records a dependency that a find has shown. Many finds show the same one before the rule exists. Only one request waits
/// then.
pub(super) async fn record(core: Rc<RegistryCore>, message: RecordDependency) -> WriteReply<()> {
    let RecordDependency { tenant, dependency } = message;
    let consumer = (tenant.clone(), ServiceId::from(&*dependency.consumer_id));
    if held_by(&core.reader.load(), &consumer).len() >= core.rules.quotas.dependencies {
        // No error: the find shows the provider all the same.
        return Ok(unchanged(()));
    }
    let consumer = dependency.consumer_id;
    let id = format!("{}_{}", dependency.provider.app_id, dependency.provider.service_name);
    let key = keys::dependency_request(&tenant, &consumer, &id);
    let Some(_claim) = core.claim(Key::clone(&key)) else { return Ok(unchanged(())) };
    let request = Dependency {
        consumer: Some(dependency.consumer),
        providers: vec![dependency.provider],
        replace: false,
    };
    match core.rules.dependencies {
        DependencyMode::Direct => {
            let revision = apply_directly(&core, vec![request]).await?;
            core.catch_up(revision.unwrap_or_default()).await;
            Ok(Committed { value: (), revision })
        }
        DependencyMode::Queued => {
            if core.reader.load().dependency_queue.contains(&key) {
                return Ok(unchanged(()));
            }
            let value = Bytes::from(json::encode(&request));
            let compares = vec![Compare::Absent(Key::clone(&key))];
            let then = vec![Op::Put { key, value, lease: None }];
            let outcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await?;
            let reply = committed((), &outcome);
            // When the snapshot holds the request, finds see that it waits.
            core.catch_up(reply.revision.unwrap_or_default()).await;
            Ok(reply)
        }
    }
}

/// Applies requests without a queue in the store, together with others that wait. Returns when all are done, with the first
/// error if one failed.
pub(super) async fn apply_directly(
    core: &RegistryCore,
    requests: Vec<Dependency>,
) -> Result<Option<Revision>, Error> {
    let mut all = Ok(None);
    for mut answer in core.dependencies.add(requests)? {
        let dropped = || Error::new(Code::Unavailable, "the change of dependencies was dropped");
        let outcome = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer.unwrap_or_else(|_| Err(dropped())),
                _turn = core.dependencies.turn() => apply_waiting(core).await,
            }
        };
        all = all.and_then(|revision: Option<Revision>| Ok(revision.max(outcome?)));
    }
    all
}

/// Applies waiting requests in the order they came, up to a limited number.
async fn apply_waiting(core: &RegistryCore) {
    let taken = core.dependencies.take();
    let snapshot = core.reader.load_full();
    let (requests, replies): (Vec<DependencyRequest>, Vec<_>) = taken
        .into_iter()
        .map(|DirectRequest { mut request, reply }| {
            let consumer = request.consumer.as_ref();
            let tenant = consumer.map(|consumer| Tenant::from(consumer.tenant.as_str()));
            let tenant = tenant.filter(|_| request.replace);
            if let Some(tenant) = &tenant {
                leave_out_unknown(&snapshot, tenant, &mut request);
            }
            (DependencyRequest { dependency: request, entry: None }, (tenant, reply))
        })
        .unzip();
    let cleaned_up: BTreeSet<Tenant> = replies.iter().filter_map(|(tenant, _)| tenant.clone()).collect();
    drop(snapshot);
    let mut outcomes = RuleWriter::new(core, None).apply(&requests, &[], None).await.into_iter();
    let mut cleanings = HashMap::new();
    for tenant in cleaned_up {
        let cleaned = clean_up(core, &tenant, &[], None).await;
        cleanings.insert(tenant, cleaned);
    }
    let mut failure: Option<DependencyFailure> = None;
    for (tenant, reply) in replies {
        let outcome = match outcomes.next().or_else(|| failure.clone().map(Err)) {
            Some(outcome) => outcome.map_err(|error| DependencyFailure::clone(failure.insert(error))),
            None => Err(DependencyFailure::Later(Error::new(
                Code::Unavailable,
                "the change of dependencies was not made",
            ))),
        };
        let cleaned = tenant.and_then(|tenant| cleanings.get(&tenant).cloned());
        let outcome = match (outcome, cleaned) {
            (Ok(revision), Some(cleaned)) => cleaned.map(|cleaned| revision.max(cleaned)),
            (outcome, _) => outcome,
        };
        // Fails if the sender no longer waits.
        let _ = reply.send(outcome.map_err(Error::from));
    }
}
