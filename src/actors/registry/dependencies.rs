//! Dependency rules: requests become rules of the consumer and of its providers.
//!
//! On etcd a request waits in a queue until the node that holds the lock applies it, as all nodes of the original do;
//! on the embedded store it is applied at once. Applying is one transaction (a few, if it touches more rules than one
//! takes) under compares on everything it writes, the queue entry and the lock, so a node that lost the lock cannot write.

use std::rc::Rc;

use bytes::Bytes;
use uuid::Uuid;

use super::core::{DependencyMode, RegistryCore, committed, unchanged};
use super::messages::{ChangeDependencies, Committed, Merge, RecordDependency, Reply};
use crate::cache::snapshot::{Snapshot, name_path};
use crate::domain::dependency::{
    ALL_VERSIONS, Dependency, Partners, merged_providers, same_name, same_partner,
};
use crate::domain::event::{Revision, ServiceName};
use crate::domain::json;
use crate::domain::{ServiceKey, Tenant};
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, Op, Txn, TxnOutcome, keys};

/// Operations of one transaction, below the store's limit of 128.
const MAX_OPS: usize = 100;

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

/// Applies a request without a queue.
pub(super) async fn apply_directly(
    core: &RegistryCore,
    tenant: &Tenant,
    request: Dependency,
) -> Result<Option<Revision>, Error> {
    let _turn = core.dependency_turn.lock().await;
    let cleans_up = request.replace;
    let mut revision = apply(core, &request, &[], &[]).await?;
    if cleans_up {
        revision = revision.max(clean_up(core, tenant, &[]).await?);
    }
    Ok(revision)
}

/// A rule as read, to be compared with when it is written.
struct Rule {
    key: Key,
    stored: Option<Entry>,
    keys: Vec<ServiceKey>,
}

impl Rule {
    fn new(key: Key, stored: Option<Entry>) -> Self {
        let keys =
            stored.as_ref().map(|entry| json::decode::<Partners>(&entry.value).unwrap_or_default().keys);
        Self { key, stored, keys: keys.unwrap_or_default() }
    }

    fn compare(&self) -> Compare {
        let key = Key::clone(&self.key);
        match &self.stored {
            Some(entry) => Compare::Unchanged { key, mod_revision: entry.mod_revision },
            None => Compare::Absent(key),
        }
    }

    /// The write that leaves these partners; `None` if they are what is there.
    fn become_partners(&self, keys: Vec<ServiceKey>) -> Option<Op> {
        if keys == self.keys {
            return None;
        }
        let key = Key::clone(&self.key);
        Some(if keys.is_empty() {
            Op::Delete(key)
        } else {
            Op::Put { key, value: Bytes::from(json::encode(&Partners { keys })), lease: None }
        })
    }
}

fn name_of(key: &ServiceKey) -> ServiceName {
    ServiceName::new(Tenant::from(key.tenant.as_str()), &key.environment, &key.app_id, &key.service_name)
}

async fn read_rules(core: &RegistryCore, rule_keys: Vec<Key>) -> Result<Vec<Rule>, Error> {
    let mut rules = Vec::with_capacity(rule_keys.len());
    for chunk in rule_keys.chunks(MAX_OPS) {
        let reads = chunk.iter().map(|key| Op::Get(Key::clone(key))).collect();
        let found = core.read(reads).await?.into_iter().map(|mut entries| entries.pop());
        rules.extend(chunk.iter().zip(found).map(|(key, entry)| Rule::new(Key::clone(key), entry)));
    }
    Ok(rules)
}

/// Applies one request. `fences` are compares of every transaction, `with_last` goes with the last one.
pub(super) async fn apply(
    core: &RegistryCore,
    request: &Dependency,
    fences: &[Compare],
    with_last: &[Op],
) -> Result<Option<Revision>, Error> {
    let Some(consumer) = &request.consumer else { return finish(core, fences, with_last).await };
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        let own_key = keys::consumer_rule(&name_of(consumer), &consumer.version);
        let own = read_rules(core, vec![own_key]).await?;
        let Some(own) = own.into_iter().next() else { return Ok(None) };
        let wanted = merged_providers(&own.keys, &request.providers, request.replace);
        // One that goes on in another version stays: a provider has one rule for all of them.
        let gone = own.keys.iter().filter(|old| !wanted.iter().any(|key| same_name(key, old)));
        let touched: Vec<(ServiceKey, bool)> = gone
            .map(|key| (key.clone(), false))
            .chain(wanted.iter().map(|key| (key.clone(), true)))
            .collect();
        let provider_keys =
            touched.iter().map(|(key, _)| keys::provider_rule(&name_of(key), ALL_VERSIONS)).collect();
        let provider_rules = read_rules(core, provider_keys).await?;
        let mut writes: Vec<(Compare, Op)> = Vec::new();
        for (rule, (_, stays)) in provider_rules.iter().zip(&touched) {
            let mut consumers = rule.keys.clone();
            let known = consumers.iter().any(|key| same_partner(key, consumer));
            if *stays && !known {
                consumers.push(consumer.clone());
            } else if !*stays {
                consumers.retain(|key| !same_partner(key, consumer));
            }
            writes.extend(rule.become_partners(consumers).map(|op| (rule.compare(), op)));
        }
        writes.extend(own.become_partners(wanted).map(|op| (own.compare(), op)));
        match write(core, writes, fences, with_last).await? {
            Some(revision) => return Ok(revision),
            // Somebody wrote one of them meanwhile: read again. A lost fence shows as the same, and ends with the tries.
            None => continue,
        }
    }
}

/// Writes in as few transactions as the limits allow; `None` if a compare failed.
async fn write(
    core: &RegistryCore,
    writes: Vec<(Compare, Op)>,
    fences: &[Compare],
    with_last: &[Op],
) -> Result<Option<Option<Revision>>, Error> {
    let mut revision = None;
    let mut chunks: Vec<Vec<(Compare, Op)>> = Vec::new();
    for write in writes {
        match chunks.last_mut().filter(|chunk| chunk.len() < MAX_OPS) {
            Some(chunk) => chunk.push(write),
            None => chunks.push(vec![write]),
        }
    }
    if chunks.is_empty() && !with_last.is_empty() {
        chunks.push(Vec::new());
    }
    let last = chunks.len().saturating_sub(1);
    for (at, chunk) in chunks.into_iter().enumerate() {
        let (mut compares, mut then): (Vec<_>, Vec<_>) = chunk.into_iter().unzip();
        compares.extend_from_slice(fences);
        if at == last {
            then.extend_from_slice(with_last);
        }
        let outcome: TxnOutcome = core.commit(Txn { compares, then, otherwise: Vec::new() }).await?;
        if !outcome.succeeded {
            return Ok(None);
        }
        revision = revision.max(outcome.changed.then_some(outcome.revision));
    }
    Ok(Some(revision))
}

async fn finish(
    core: &RegistryCore,
    fences: &[Compare],
    with_last: &[Op],
) -> Result<Option<Revision>, Error> {
    Ok(write(core, Vec::new(), fences, with_last).await?.flatten())
}

/// Drops the rules of a tenant that point to providers which do not exist at all.
pub(super) async fn clean_up(
    core: &RegistryCore,
    tenant: &Tenant,
    fences: &[Compare],
) -> Result<Option<Revision>, Error> {
    core.be_current().await?;
    let snapshot = core.reader.load_full();
    let mut revision = None;
    for (provider, consumers) in dead_providers(&snapshot, tenant) {
        let provider_key = keys::provider_rule(&provider, ALL_VERSIONS);
        let mut rule_keys = vec![provider_key];
        rule_keys.extend(consumers.iter().map(|key| keys::consumer_rule(&name_of(key), &key.version)));
        let rules = read_rules(core, rule_keys).await?;
        let mut writes = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let left = match at {
                0 => Vec::new(),
                _ => rule.keys.iter().filter(|key| name_of(key) != provider).cloned().collect(),
            };
            writes.extend(rule.become_partners(left).map(|op| (rule.compare(), op)));
        }
        // The snapshot only says where to look: a provider registered meanwhile keeps its rule.
        let mut fences = fences.to_vec();
        fences.push(Compare::NoneBelow(keys::index_prefix(&provider)));
        // A failed compare leaves the rule to the next clean-up.
        revision = revision.max(write(core, writes, &fences, &[]).await?.flatten());
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
