//! Drops rules that name providers which do not exist: after a request that replaces a consumer's providers, and after the
//! deletion of a service.
//!
//! The snapshot only says where to look. Each transaction compares that no service has the name or the alias. The rules of the
//! consumers are written first, and those of the providers last. So the next clean-up finds what an interrupted one has left.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::core::RegistryCore;
use super::dependency_store::{consumer_key, read_rules, write};
use super::failure::DependencyFailure;
use crate::cache::snapshot::Snapshot;
use crate::domain::dependency::{self, Dependency};
use crate::domain::event::{Revision, ServiceName};
use crate::domain::{ServiceKey, Tenant};
use crate::store::{Compare, Key, Op, keys};

/// How many providers one clean-up drops. The next one drops the others.
const MAX_PROVIDERS: usize = 2_000;
/// How many providers one step drops. The rule of a consumer is written once for all of them.
const PROVIDERS_AT_ONCE: usize = 40;
/// How many names and aliases of providers one transaction compares: those of one step in one consumer's rule.
const MAX_ABSENT: usize = 2 * PROVIDERS_AT_ONCE;
/// How many rules of consumers are read at once. A rule may have a megabyte.
const CONSUMERS_AT_ONCE: usize = 30;

/// A provider that does not exist, and the consumers whose rules name it.
struct DeadProvider {
    /// The key of the provider. Its alias is not used.
    provider: ServiceKey,
    /// The versions under which it has rules.
    versions: Vec<Arc<str>>,
    consumers: Vec<ServiceKey>,
}

/// Removes the tenant's providers that do not exist from a replacing request. The clean-up that follows would come too late for
/// a provider that is registered as soon as the rules are seen.
pub(super) fn leave_out_unknown(snapshot: &Snapshot, tenant: &Tenant, request: &mut Dependency) {
    if request.replace {
        request.providers.retain(|key| key.tenant != tenant.as_str() || snapshot.is_meant(key));
    }
}

/// Drops the rules of a tenant that name providers which do not exist. `written` is the revision of the rules just applied.
pub(super) async fn clean_up(
    core: &RegistryCore,
    tenant: &Tenant,
    fences: &[Compare],
    written: Option<Revision>,
) -> Result<Option<Revision>, DependencyFailure> {
    core.catch_up_with(written).await;
    let snapshot = core.reader.load_full();
    let dead = dead_providers(&snapshot, tenant);
    let mut revision = None;
    for step in dead.chunks(PROVIDERS_AT_ONCE) {
        revision = revision.max(drop_rules(core, &snapshot, fences, step).await?);
    }
    Ok(revision)
}

fn dead_providers(snapshot: &Snapshot, tenant: &Tenant) -> Vec<DeadProvider> {
    let Some(view) = snapshot.tenant(tenant) else { return Vec::new() };
    let nameless = view.nameless_provider_rules().filter_map(|(path, rules)| {
        let mut parts = path.splitn(3, '/').map(str::to_owned);
        let (environment, app_id, service_name) = (parts.next()?, parts.next()?, parts.next()?);
        let tenant_text = tenant.as_str().to_owned();
        let provider =
            ServiceKey { tenant: tenant_text, environment, app_id, service_name, ..ServiceKey::default() };
        let consumers = || rules.values().flat_map(|rule| &rule.partners.keys);
        // A consumer keeps its rule if it means an existing service by the alias.
        let is_dead = |consumer: &&ServiceKey| {
            let key = snapshot.provider_key(consumer, tenant, path);
            !key.is_some_and(|key| snapshot.is_meant(key))
        };
        let dead: Vec<ServiceKey> = consumers().filter(is_dead).cloned().collect();
        let has_end = !dead.is_empty() || consumers().next().is_none();
        has_end.then(|| DeadProvider { provider, versions: rules.keys().cloned().collect(), consumers: dead })
    });
    nameless.take(MAX_PROVIDERS).collect()
}

/// Drops the rules of some providers.
async fn drop_rules(
    core: &RegistryCore,
    snapshot: &Snapshot,
    fences: &[Compare],
    dead: &[DeadProvider],
) -> Result<Option<Revision>, DependencyFailure> {
    let providers: HashSet<[&str; 4]> = dead.iter().map(|dead| dependency::name(&dead.provider)).collect();
    let is_dropped = |key: &ServiceKey| providers.contains(&dependency::name(key)) && !snapshot.is_meant(key);
    // A consumer may be in the rules of several providers and versions.
    let consumers: BTreeSet<Key> = dead.iter().flat_map(|dead| &dead.consumers).map(consumer_key).collect();
    let consumers: Vec<Key> = consumers.into_iter().collect();
    let mut step = CleanupStep::new(core, fences);
    for consumers in consumers.chunks(CONSUMERS_AT_ONCE) {
        for (key, rule) in consumers.iter().zip(read_rules(core, consumers).await?) {
            let (dropped, left): (Vec<_>, Vec<_>) = rule.partners.iter().cloned().partition(is_dropped);
            step.add(dropped.iter(), rule.become_partners(key, &left)).await?;
        }
        // Written before the next rules are read, so that little time passes between reading and writing a rule.
        step.write().await?;
    }
    for dead in dead {
        let gone: HashSet<Key> = dead.consumers.iter().map(consumer_key).collect();
        // Keeps consumers that came meanwhile, or that mean another service by the alias.
        let stays = |consumer: &ServiceKey| {
            core.rules.cross_domain.connects(&dead.provider.tenant, &consumer.tenant)
                && !gone.contains(&consumer_key(consumer))
        };
        let name = service_name(&dead.provider, &dead.provider.service_name);
        let rule_keys: Vec<Key> =
            dead.versions.iter().map(|version| keys::provider_rule(&name, version)).collect();
        for (key, rule) in rule_keys.iter().zip(read_rules(core, &rule_keys).await?) {
            let left: Vec<ServiceKey> =
                rule.partners.iter().filter(|consumer| stays(consumer)).cloned().collect();
            step.add([&dead.provider].into_iter(), rule.become_partners(key, &left)).await?;
        }
    }
    step.write().await?;
    Ok(step.revision)
}

/// Gathers writes up to the limits of one transaction. The first transaction whose compares fail ends the step. The next
/// clean-up does the rest.
struct CleanupStep<'a> {
    core: &'a RegistryCore,
    fences: &'a [Compare],
    /// Prefixes below which nothing may be.
    absent: BTreeSet<Key>,
    writes: Vec<(Compare, Op)>,
    has_failed: bool,
    revision: Option<Revision>,
}

impl<'a> CleanupStep<'a> {
    fn new(core: &'a RegistryCore, fences: &'a [Compare]) -> Self {
        let (absent, writes) = (BTreeSet::new(), Vec::new());
        Self { core, fences, absent, writes, has_failed: false, revision: None }
    }

    /// Adds a write that drops these providers.
    async fn add(
        &mut self,
        dropped: impl Iterator<Item = &ServiceKey>,
        write: Option<(Compare, Op)>,
    ) -> Result<(), DependencyFailure> {
        let Some(write) = write.filter(|_| !self.has_failed) else { return Ok(()) };
        let absent: Vec<Key> = dropped.flat_map(what_it_means).collect();
        if self.absent.len() + absent.len() > MAX_ABSENT {
            self.write().await?;
        }
        self.absent.extend(absent);
        self.writes.push(write);
        Ok(())
    }

    async fn write(&mut self) -> Result<(), DependencyFailure> {
        let (absent, writes) = (std::mem::take(&mut self.absent), std::mem::take(&mut self.writes));
        if writes.is_empty() || self.has_failed {
            return Ok(());
        }
        let absent = absent.into_iter().map(Compare::NoneBelow);
        let fences: Vec<Compare> = self.fences.iter().cloned().chain(absent).collect();
        match write(self.core, writes, &fences, &[]).await? {
            Some(revisions) => self.revision = self.revision.max(revisions.into_iter().max()),
            None => self.has_failed = true,
        }
        Ok(())
    }
}

/// The prefixes of the services that a provider's key means: by name, and by alias.
fn what_it_means(key: &ServiceKey) -> impl Iterator<Item = Key> {
    let name = keys::index_prefix(&service_name(key, &key.service_name));
    let alias = (!key.alias.is_empty()).then(|| keys::alias_prefix(&service_name(key, &key.alias)));
    std::iter::once(name).chain(alias)
}

fn service_name(key: &ServiceKey, name: &str) -> ServiceName {
    ServiceName::new(Tenant::from(key.tenant.as_str()), &key.environment, &key.app_id, name)
}
