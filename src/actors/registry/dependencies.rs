//! Dependency rules: requests become rules of the consumer and of its providers.
//!
//! On etcd a request waits in a queue until the node that holds the lock applies it, as all nodes of the original do;
//! on the embedded store it is applied at once. Requests that come together are applied together (`dependency_rules`), in the
//! order they came, under compares on everything that is written, the queue entries and the lock, so a node that lost the
//! lock cannot write.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::core::{DependencyMode, RegistryCore, committed, unchanged};
use super::dependency_rules::{Request, Rules, name_of, read_rules, write};
use super::messages::{ChangeDependencies, Committed, Merge, RecordDependency, Reply};
use crate::cache::snapshot::{Snapshot, name_path};
use crate::domain::dependency::{ALL_VERSIONS, Dependency, merged_providers, same_partner};
use crate::domain::event::{Revision, ServiceName};
use crate::domain::json;
use crate::domain::{ServiceKey, Tenant};
use crate::error::{Code, Error};
use crate::store::{Compare, Key, Op, Txn, keys};

/// Requests that may wait to be applied without a queue in the store; a further one is refused.
const MAX_WAITING: usize = 10_000;
/// Requests applied together.
const MAX_TOGETHER: usize = 1_000;

/// Takes requests of clients.
pub(super) async fn change(core: Rc<RegistryCore>, message: ChangeDependencies) -> Reply<()> {
    let ChangeDependencies { tenant, requests, merge } = message;
    core.be_current().await?;
    let mut complete: Vec<(String, Dependency)> = Vec::new();
    for request in requests {
        let (id, request) = completed(&core.reader.load(), &tenant, request, merge)?;
        let same = complete.iter_mut().find(|(known, _)| merge == Merge::Replace && *known == id);
        match same {
            Some((_, known)) => {
                known.providers = merged_providers(&known.providers, &request.providers, false)
            }
            None => complete.push((id, request)),
        }
    }
    match core.rules.dependencies {
        DependencyMode::Direct => {
            let mut revision = None;
            for (_, request) in complete {
                revision = revision.max(apply_directly(&core, &tenant, request).await?);
            }
            Ok(Committed { value: (), revision })
        }
        DependencyMode::Queued => {
            let queued = complete.into_iter().map(|(consumer, request)| {
                let id = if merge == Merge::Replace {
                    "0".to_owned()
                } else {
                    Uuid::new_v4().simple().to_string()
                };
                let value = Bytes::from(json::encode(&request));
                Op::Put { key: keys::dependency_request(&tenant, &consumer, &id), value, lease: None }
            });
            let outcome = core.commit(Txn { then: queued.collect(), ..Txn::default() }).await?;
            Ok(committed((), &outcome))
        }
    }
}

/// Finds the consumer and fills in what its providers leave out.
fn completed(
    snapshot: &Snapshot,
    tenant: &Tenant,
    request: Dependency,
    merge: Merge,
) -> Result<(String, Dependency), Error> {
    let given = request.consumer.unwrap_or_default();
    let own = ServiceKey { tenant: tenant.as_str().to_owned(), ..given };
    let Some(consumer) = snapshot.services_of(&own).first().map(|service| (*service).clone()) else {
        let path = name_path(&own.environment, &own.app_id, &own.service_name);
        let detail = format!("Consumer {path}/{} does not exist.", own.version);
        return Err(Error::new(Code::ServiceNotExists, detail));
    };
    let mut providers: Vec<ServiceKey> = Vec::with_capacity(request.providers.len());
    for mut provider in request.providers {
        if provider.tenant.is_empty() {
            tenant.as_str().clone_into(&mut provider.tenant);
        }
        if provider.app_id.is_empty() {
            provider.app_id.clone_from(&own.app_id);
        }
        ALL_VERSIONS.clone_into(&mut provider.version);
        if providers.iter().any(|known| same_partner(known, &provider)) {
            let detail = "Invalid request body for provider info.Duplicate provider or (serviceName and appId is same).";
            return Err(Error::invalid(detail));
        }
        providers.push(provider);
    }
    let mut key = consumer.record.document.key(tenant);
    // Its alias is no part of the rule unless the request names it.
    key.alias = own.alias;
    let request = Dependency { consumer: Some(key), providers, replace: merge == Merge::Replace };
    Ok((consumer.id.as_str().to_owned(), request))
}

/// Records what a find has shown. Many finds show the same before the rule is there; only one request waits.
pub(super) async fn record(core: Rc<RegistryCore>, message: RecordDependency) -> Reply<()> {
    let RecordDependency { tenant, dependency } = message;
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
            let revision = apply_directly(&core, &tenant, request).await?;
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
            // From there on finds see that it waits.
            core.catch_up(reply.revision.unwrap_or_default()).await;
            Ok(reply)
        }
    }
}

/// Requests that wait to be applied without a queue in the store.
#[derive(Default)]
pub(super) struct Waiting {
    requests: RefCell<VecDeque<Direct>>,
    /// Who has it applies what waits, for all.
    turn: tokio::sync::Mutex<()>,
}

/// One of them.
struct Direct {
    tenant: Tenant,
    request: Dependency,
    reply: oneshot::Sender<Result<Option<Revision>, Error>>,
}

/// Applies a request without a queue in the store, together with those that came while others were applied.
pub(super) async fn apply_directly(
    core: &RegistryCore,
    tenant: &Tenant,
    request: Dependency,
) -> Result<Option<Revision>, Error> {
    let (reply, mut answer) = oneshot::channel();
    {
        let mut waiting = core.dependencies.requests.borrow_mut();
        if waiting.len() >= MAX_WAITING {
            return Err(Error::new(Code::Unavailable, "too many changes of dependencies wait, try again"));
        }
        waiting.push_back(Direct { tenant: tenant.clone(), request, reply });
    }
    let dropped = || Error::new(Code::Unavailable, "the change of dependencies was dropped");
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer.unwrap_or_else(|_| Err(dropped())),
            _turn = core.dependencies.turn.lock() => apply_waiting(core).await,
        }
    }
}

/// Applies what waits, up to a number, in the order it came.
async fn apply_waiting(core: &RegistryCore) {
    let taken: Vec<Direct> = {
        let mut waiting = core.dependencies.requests.borrow_mut();
        let count = waiting.len().min(MAX_TOGETHER);
        waiting.drain(..count).collect()
    };
    let cleaned_up: BTreeSet<Tenant> =
        taken.iter().filter(|direct| direct.request.replace).map(|direct| direct.tenant.clone()).collect();
    let snapshot = core.reader.load_full();
    let (requests, replies): (Vec<Request>, Vec<_>) = taken
        .into_iter()
        .map(|Direct { tenant, mut request, reply }| {
            leave_out_unknown(&snapshot, &tenant, &mut request);
            let reply = (request.replace.then_some(tenant), reply);
            (Request { dependency: request, entry: None }, reply)
        })
        .unzip();
    let mut outcomes = Rules::new(core, None).apply(&requests, &[], None).await.into_iter();
    let mut cleanings = HashMap::new();
    for tenant in cleaned_up {
        let cleaned = clean_up(core, &tenant, &[], None).await;
        cleanings.insert(tenant, cleaned);
    }
    let mut failure = None;
    for (tenant, reply) in replies {
        let outcome = match outcomes.next().or_else(|| failure.clone().map(Err)) {
            Some(outcome) => outcome,
            None => Err(Error::new(Code::Unavailable, "the change of dependencies was not made")),
        };
        // What comes behind a failure was not tried.
        failure = outcome.as_ref().err().cloned().or(failure);
        let cleaned = tenant.and_then(|tenant| cleanings.get(&tenant).cloned());
        let outcome = match (outcome, cleaned) {
            (Ok(revision), Some(cleaned)) => cleaned.map(|cleaned| revision.max(cleaned)),
            (outcome, _) => outcome,
        };
        // Nobody waits any more: the request was given up.
        let _ = reply.send(outcome);
    }
}

/// Leaves out of a replacing request the tenant's providers that do not exist at all. The clean-up that follows would come
/// too late for those that are registered as soon as the rules are seen.
pub(super) fn leave_out_unknown(snapshot: &Snapshot, tenant: &Tenant, request: &mut Dependency) {
    if request.replace {
        let exists = |key: &ServiceKey| snapshot.tenant(tenant).is_some_and(|view| view.has_name(key));
        request.providers.retain(|key| key.tenant != tenant.as_str() || exists(key));
    }
}

/// Drops the rules of a tenant that point to providers which do not exist at all. `written` is the revision of the rules
/// just applied.
pub(super) async fn clean_up(
    core: &RegistryCore,
    tenant: &Tenant,
    fences: &[Compare],
    written: Option<Revision>,
) -> Result<Option<Revision>, Error> {
    core.catch_up_with(written).await;
    let snapshot = core.reader.load_full();
    let mut revision = None;
    for (provider, consumers) in dead_providers(&snapshot, tenant) {
        let mut rule_keys = vec![keys::provider_rule(&provider, ALL_VERSIONS)];
        rule_keys.extend(consumers.iter().map(|key| keys::consumer_rule(&name_of(key), &key.version)));
        // A consumer may stand in the rules of several version keys.
        let mut seen = HashSet::new();
        rule_keys.retain(|key| seen.insert(Key::clone(key)));
        let rules = read_rules(core, &rule_keys).await?;
        let mut writes = Vec::new();
        for (at, (key, rule)) in rule_keys.iter().zip(&rules).enumerate() {
            let left: Vec<ServiceKey> = match at {
                0 => Vec::new(),
                _ => rule.partners.iter().filter(|key| name_of(key) != provider).cloned().collect(),
            };
            writes.extend(rule.become_partners(key, &left));
        }
        if writes.is_empty() {
            continue;
        }
        // The snapshot only says where to look: a provider registered meanwhile keeps its rule.
        let mut fences = fences.to_vec();
        fences.push(Compare::NoneBelow(keys::index_prefix(&provider)));
        // A failed compare leaves the rule to the next clean-up.
        let written = write(core, writes, &fences, &[]).await?;
        revision = revision.max(written.and_then(|revisions| revisions.into_iter().max()));
    }
    Ok(revision)
}

fn dead_providers(snapshot: &Snapshot, tenant: &Tenant) -> Vec<(ServiceName, Vec<ServiceKey>)> {
    let Some(view) = snapshot.tenant(tenant) else { return Vec::new() };
    let mut dead = Vec::new();
    for (path, rules) in view.dead_provider_rules() {
        let mut parts = path.splitn(3, '/');
        let (Some(environment), Some(app_id), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let consumers = rules.values().flat_map(|partners| partners.keys.iter().cloned()).collect();
        dead.push((ServiceName::new(tenant.clone(), environment, app_id, name), consumers));
    }
    dead
}
