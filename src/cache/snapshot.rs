//! The snapshot: everything that readers ask for, indexed by what they ask with. It is immutable. A copy is cheap, because its
//! persistent maps share all entries that a change does not touch.

use std::collections::HashMap as StdHashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap, OrdSet};

use super::access::AccessView;
use super::answer::AnswerCell;
use super::digest::Unit;
use super::instances::{InstanceEntry, InstanceMap};
use super::search::text::TextsCell;
use super::statuses::StatusCounts;
use crate::domain::dependency::{CrossDomain, Partners};
use crate::domain::event::{InstanceRef, Revision, ServiceRecord};
use crate::domain::instance::PropertiesFrom;
use crate::domain::json::TextMap;
use crate::domain::shared::SharedServices;
use crate::domain::{InstanceId, ServiceId, ServiceKey, Tenant};
use crate::packed::compact::Models;

/// A find looks up six keys. With the standard library's hash, each would take four times as long.
pub(super) type HashMap<K, V> = GenericHashMap<K, V, RandomState, DefaultSharedPtr>;

/// `<environment>/<app>/<name>`: the part of an index key that a find looks for. None of the three parts can contain a slash,
/// so different parts make different texts.
pub type NamePath = Arc<str>;

/// All environments that a service can have.
pub const ENVIRONMENTS: [&str; 5] = ["", "development", "testing", "acceptance", "production"];

/// Builds the text of a [`NamePath`].
pub fn name_path(environment: &str, app_id: &str, name: &str) -> String {
    let mut path = String::with_capacity(environment.len() + app_id.len() + name.len() + 2);
    path.push_str(environment);
    path.push('/');
    path.push_str(app_id);
    path.push('/');
    path.push_str(name);
    path
}

/// The environment, the application and the name in a [`NamePath`].
pub fn path_parts(path: &str) -> Option<[&str; 3]> {
    let mut parts = path.splitn(3, '/');
    Some([parts.next()?, parts.next()?, parts.next()?])
}

/// The registry as of a revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All events up to this revision are applied.
    pub revision: Revision,
    /// How many times the store was listed again. What a new listing lacks was removed, but the listing does not say why.
    pub listing: u32,
    /// Which partners of dependency rules the snapshot holds.
    pub(super) cross_domain: CrossDomain,
    /// Number of instances of all tenants.
    pub instance_count: usize,
    /// Keys of dependency requests that wait in the store.
    pub dependency_queue: OrdSet<Arc<str>>,
    /// Deleted services whose dependencies a waiting request will remove. A new service may have the same id already.
    pub(super) ending_consumers: OrdSet<(Tenant, ServiceId)>,
    /// Domains that have a key in the store.
    pub domains: OrdSet<Arc<str>>,
    /// Projects that have a key in the store.
    pub projects: OrdSet<Tenant>,
    pub(super) tenants: OrdMap<Tenant, Arc<TenantView>>,
    pub access: Arc<AccessView>,
    /// See [`super::digest`]. That of the accounts is in `access`.
    pub(super) digests: Digests,
    /// Expired instances that are still shown, each with those of its parts whose keys the store has deleted.
    pub(super) held: HashMap<InstanceRef, HeldParts>,
}

/// Sums of the hashes of entries, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// The sum of all [`ServiceNode::digest`].
    pub services: u64,
    pub names: u64,
    pub rules: u64,
    pub tenants: u64,
    /// The sum of [`HeldParts`], which is in none of the others.
    pub held: u64,
}

/// The hashes of those parts of an expired instance that are shown although the store has deleted their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldParts([Option<u64>; 3]);

/// A part of an instance that has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstancePart {
    Document,
    Lease,
    Override,
}

impl HeldParts {
    pub fn has(&self, part: InstancePart) -> bool {
        self.part(part).is_some()
    }

    fn part(&self, part: InstancePart) -> Option<u64> {
        let Self([document, lease, properties]) = *self;
        match part {
            InstancePart::Document => document,
            InstancePart::Lease => lease,
            InstancePart::Override => properties,
        }
    }

    pub(super) fn replace(&mut self, part: InstancePart, hash: Option<u64>) -> Option<u64> {
        let Self([document, lease, properties]) = self;
        let place = match part {
            InstancePart::Document => document,
            InstancePart::Lease => lease,
            InstancePart::Override => properties,
        };
        std::mem::replace(place, hash)
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One tenant's part of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct TenantView {
    pub instance_count: usize,
    /// Number of service documents.
    pub service_count: usize,
    /// Number of schemas of all services.
    pub schema_count: usize,
    /// Number of services that have tags.
    pub tagged_count: usize,
    /// What there is of each framework.
    pub(super) frameworks: OrdMap<Arc<FrameworkName>, FrameworkCounts>,
    pub(super) services: HashMap<ServiceId, Arc<ServiceNode>>,
    pub(super) names: HashMap<NamePath, Arc<NameNode>>,
    pub(super) aliases: HashMap<NamePath, Arc<NameNode>>,
    /// Keyed by the consumer's `<name path>/<version>`.
    pub(super) consumer_rules: HashMap<Arc<str>, Arc<ConsumerRule>>,
    /// Keyed by the provider's name path, then by the version in the rule's key.
    pub(super) provider_rules: HashMap<NamePath, OrdMap<Arc<str>, Arc<ProviderRule>>>,
    /// Keys of `provider_rules` that are the name of no service.
    pub(super) nameless_rules: OrdSet<NamePath>,
    /// Keyed by alias path: the name paths that consumers' rules give together with this alias, each with the number of these
    /// rules.
    pub(super) aliased_rules: HashMap<NamePath, OrdMap<NamePath, usize>>,
}

/// The framework that a service is built with. Empty if the service names none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameworkName {
    pub name: String,
    pub version: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameworkCounts {
    /// Service documents that name the framework.
    pub services: usize,
    /// Instances of these services.
    pub instances: usize,
}

/// What the store holds under a service id. Each part comes and goes with its own key, in the store's order.
#[derive(Clone, Debug, Default)]
pub struct ServiceNode {
    /// The service document. `None` if only other keys of the service are there.
    pub view: Option<Arc<ServiceView>>,
    /// Tags and the revision of their last write.
    pub tags: Option<(Arc<TextMap>, Revision)>,
    /// Content hash by schema id.
    pub schema_refs: OrdMap<Arc<str>, Arc<str>>,
    /// By schema id.
    pub schema_summaries: OrdMap<Arc<str>, Arc<SchemaSummary>>,
    pub instances: InstanceMap,
    /// What the documents of new instances are compared with. Empty if there are no instances.
    pub(super) models: Models,
    /// How many of the instances have which status.
    pub statuses: StatusCounts,
    /// The last revision at which the document, the tags, a schema or an instance was written. Right after a listing it is that
    /// of what the listing shows. What has gone before is not known then.
    pub active_at: Revision,
    /// Ready answer with the list of the instances.
    pub list_answer: AnswerCell,
    /// What searches look at.
    pub texts: TextsCell,
    /// Names and aliases of the service. Their ready answers are dropped when an instance of the service changes.
    pub(super) listed: Vec<Listed>,
    /// Leases whose instance is not there: the lease key came before the instance, or stayed after it.
    pub(super) early_leases: OrdMap<InstanceId, i64>,
    /// Instances whose properties a request has replaced.
    pub(super) overrides: OrdSet<InstanceId>,
    /// The sum of the hashes of all entries of the service, except its names and rules. See [`super::digest`].
    pub(super) digest: u64,
}

impl ServiceNode {
    /// Drops what was made of the instances, because one of them has changed.
    pub(super) fn outdate(&mut self) {
        self.list_answer.outdate();
        self.texts.forget();
    }

    /// The lease of an instance, also of one that is not there.
    pub fn lease_of(&self, instance: &InstanceId) -> Option<i64> {
        let entry = self.instances.find(instance.as_str());
        let lease = entry.and_then(|entry| entry.lease.as_ref()).map(|mark| mark.lease());
        lease.or_else(|| self.early_leases.get(instance).copied())
    }

    /// The instances that have a lease, also those that are not there.
    pub fn leases(&self) -> impl Iterator<Item = (InstanceId, i64)> {
        let shown =
            self.instances.entries().filter_map(|(id, entry)| Some((id, entry.lease.as_ref()?.lease())));
        shown.chain(self.early_leases.iter().map(|(id, lease)| (id.clone(), *lease)))
    }

    /// The instances whose properties a request has replaced.
    pub fn overrides(&self) -> impl Iterator<Item = &InstanceId> {
        self.overrides.iter()
    }
}

/// What a service can be found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Name(NamePath),
    Alias(NamePath),
}

/// A service document, with what finds need ready made.
#[derive(Debug)]
pub struct ServiceView {
    pub record: Arc<ServiceRecord>,
    pub id: ServiceId,
    pub path: NamePath,
    /// `<name path>/<version>`.
    pub versioned_path: Arc<str>,
    /// Whether consumers of other applications may see the service.
    pub allows_cross_app: bool,
    /// See [`Service::is_registry`](crate::domain::Service::is_registry).
    pub is_registry: bool,
    pub framework: Arc<FrameworkName>,
}

/// The summary of a schema, and the revision of its last write.
#[derive(Debug, PartialEq, Eq)]
pub struct SchemaSummary {
    pub text: Arc<str>,
    pub mod_revision: Revision,
}

/// A version of a name or an alias, and the service that has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedVersion {
    pub version: Arc<str>,
    pub service: ServiceId,
    /// Revision of the last write of the key.
    pub mod_revision: Revision,
}

/// All versions that have a name or an alias.
#[derive(Clone, Debug, Default)]
pub struct NameNode {
    pub(super) versions: Vec<NamedVersion>,
    pub(super) answers: AnswerCell,
}

/// Providers of a consumer version.
#[derive(Debug)]
pub struct ConsumerRule {
    /// The stored providers, without those that the consumer may not depend on.
    pub partners: Arc<Partners>,
    /// Revision of the last write of the rule.
    pub mod_revision: Revision,
    /// The hash of the rule as it is stored.
    pub hash: u64,
    /// By tenant: the positions of its providers in `partners`. Nearly every rule has one tenant.
    positions: Vec<(Box<str>, PartnerPositions)>,
}

/// Consumers of a provider.
#[derive(Debug)]
pub struct ProviderRule {
    /// The stored consumers, without those that may not depend on the provider.
    pub partners: Arc<Partners>,
    /// Revision of the last write of the rule.
    pub mod_revision: Revision,
    /// The hash of the rule as it is stored.
    pub hash: u64,
}

/// Positions of providers in a rule, by name path.
type PartnerPositions = StdHashMap<Box<str>, usize, RandomState>;

impl ConsumerRule {
    pub(super) fn new(partners: Arc<Partners>, mod_revision: Revision, hash: u64) -> Self {
        let mut positions: Vec<(Box<str>, PartnerPositions)> = Vec::new();
        for (at, key) in partners.keys.iter().enumerate() {
            let path = name_path(&key.environment, &key.app_id, &key.service_name).into_boxed_str();
            match positions.iter_mut().find(|(tenant, _)| **tenant == *key.tenant) {
                Some((_, of_tenant)) => drop(of_tenant.insert(path, at)),
                None => {
                    positions.push((key.tenant.as_str().into(), PartnerPositions::from_iter([(path, at)])))
                }
            }
        }
        Self { partners, mod_revision, hash, positions }
    }

    /// The rule's key of a provider, whatever its version.
    pub fn provider(&self, tenant: &Tenant, path: &str) -> Option<&ServiceKey> {
        let (_, of_tenant) = self.positions.iter().find(|(of, _)| **of == *tenant.as_str())?;
        self.partners.keys.get(*of_tenant.get(path)?)
    }
}

impl NameNode {
    /// All versions. Sorted by version as a text.
    pub fn versions(&self) -> &[NamedVersion] {
        &self.versions
    }

    /// The service that has a version.
    pub fn version(&self, version: &str) -> Option<&ServiceId> {
        self.versions.iter().find(|known| *known.version == *version).map(|known| &known.service)
    }
}

impl TenantView {
    /// What the store holds under a service id.
    pub fn node(&self, id: &str) -> Option<&Arc<ServiceNode>> {
        self.services.get(id)
    }

    pub fn service(&self, id: &str) -> Option<&Arc<ServiceView>> {
        self.node(id)?.view.as_ref()
    }

    /// All services that have a document.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceView>> {
        self.services.values().filter_map(|node| node.view.as_ref())
    }

    /// All name paths, each with its versions.
    pub fn names(&self) -> impl Iterator<Item = (&NamePath, &Arc<NameNode>)> {
        self.names.iter()
    }

    /// All alias paths, each with its versions.
    pub fn aliases(&self) -> impl Iterator<Item = (&NamePath, &Arc<NameNode>)> {
        self.aliases.iter()
    }

    /// The rules of all consumers, by `<name path>/<version>`.
    pub fn all_consumer_rules(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<ConsumerRule>)> {
        self.consumer_rules.iter()
    }

    /// The rules of all providers: name path, the version in the rule's key, and the rule.
    pub fn all_provider_rules(&self) -> impl Iterator<Item = (&NamePath, &Arc<str>, &Arc<ProviderRule>)> {
        self.provider_rules
            .iter()
            .flat_map(|(path, rules)| rules.iter().map(move |(version, rule)| (path, version, rule)))
    }

    /// All service ids, also those without a document.
    pub fn nodes(&self) -> impl Iterator<Item = (&ServiceId, &Arc<ServiceNode>)> {
        self.services.iter()
    }

    /// The versions that have this name path.
    pub fn name(&self, path: &str) -> Option<&Arc<NameNode>> {
        self.names.get(path)
    }

    /// The versions that have this alias path.
    pub fn alias(&self, path: &str) -> Option<&Arc<NameNode>> {
        self.aliases.get(path)
    }

    /// The providers of the consumer with this `<name path>/<version>`.
    pub fn consumer_rule(&self, versioned_path: &str) -> Option<&Arc<ConsumerRule>> {
        self.consumer_rules.get(versioned_path)
    }

    /// The consumers of the provider with this name path, by the version in the rule's key.
    pub fn provider_rules(&self, path: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<Partners>)> {
        let rules = self.provider_rules.get(path).into_iter().flatten();
        rules.map(|(version, rule)| (version, &rule.partners))
    }

    /// Provider rules under a name that no service has: name path and consumers, by the version in the rule's key.
    pub fn nameless_provider_rules(
        &self,
    ) -> impl Iterator<Item = (&NamePath, &OrdMap<Arc<str>, Arc<ProviderRule>>)> {
        self.nameless_rules.iter().filter_map(|path| self.provider_rules.get_key_value(path))
    }

    /// The versions that a key of a dependency rule means: those with its name, or those with its alias if no service has the
    /// name.
    pub fn meant_by(&self, key: &ServiceKey) -> Option<&Arc<NameNode>> {
        let path = |name: &str| name_path(&key.environment, &key.app_id, name);
        let by_alias = || Some(&key.alias).filter(|alias| !alias.is_empty()).map(|alias| path(alias));
        self.name(&path(&key.service_name)).or_else(|| self.alias(&by_alias()?))
    }

    pub fn instance(&self, service: &str, instance: &str) -> Option<&Arc<InstanceEntry>> {
        self.node(service)?.instances.find(instance)
    }

    /// What there is of each framework.
    pub fn frameworks(&self) -> impl Iterator<Item = (&FrameworkName, FrameworkCounts)> {
        self.frameworks.iter().map(|(name, counts)| (&**name, *counts))
    }

    /// How many entries of the store there are, by kind: names, aliases, dependency rules.
    pub fn entry_counts(&self) -> [usize; 3] {
        [self.names.len(), self.aliases.len(), self.consumer_rules.len() + self.provider_rules.len()]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.names.is_empty()
            && self.aliases.is_empty()
            && self.consumer_rules.is_empty()
            && self.provider_rules.is_empty()
            && self.aliased_rules.is_empty()
    }
}

impl Snapshot {
    /// A tenant's part. `None` if the tenant holds nothing.
    pub fn tenant(&self, tenant: &Tenant) -> Option<&Arc<TenantView>> {
        self.tenants.get(tenant)
    }

    /// Number of tenants that hold something.
    pub fn tenant_count(&self) -> usize {
        self.tenants.len()
    }

    /// All tenants that hold something.
    pub fn tenants(&self) -> impl Iterator<Item = (&Tenant, &Arc<TenantView>)> {
        self.tenants.iter()
    }

    pub fn service(&self, tenant: &Tenant, id: &str) -> Option<&Arc<ServiceView>> {
        self.tenant(tenant)?.service(id)
    }

    pub fn instance(&self, tenant: &Tenant, service: &str, instance: &str) -> Option<&Arc<InstanceEntry>> {
        self.tenant(tenant)?.instance(service, instance)
    }

    /// The digest of what the store holds, as far as this node knows.
    pub fn digest(&self) -> u64 {
        let Digests { services, names, rules, tenants, held: _ } = self.digests;
        [services, names, rules, tenants, self.access.digest()].into_iter().fold(0, u64::wrapping_add)
    }

    /// The part of the digest that a unit makes. 0 for a service of which the snapshot holds nothing.
    pub fn digest_of(&self, unit: &Unit) -> u64 {
        match unit {
            Unit::Service(tenant, id) => {
                let node = self.tenant(tenant).and_then(|view| view.node(id.as_str()));
                node.map_or(0, |node| node.digest)
            }
            Unit::Names => self.digests.names,
            Unit::Rules => self.digests.rules,
            Unit::Tenants => self.digests.tenants,
            Unit::Access => self.access.digest(),
        }
    }

    /// What is shown of an expired instance although the store has deleted it. `None` if nothing is.
    pub fn held(&self, at: &InstanceRef) -> Option<&HeldParts> {
        self.held.get(at)
    }

    /// Number of expired instances that are still shown.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// The sum of the hashes of what is shown although the store has deleted it. It is not in [`Self::digest`].
    pub fn held_digest(&self) -> u64 {
        self.digests.held
    }

    /// Whether an instance's properties come from its registration, or a request has replaced them.
    pub fn properties_from(&self, at: &InstanceRef) -> PropertiesFrom {
        let node = self.tenant(&at.tenant).and_then(|view| view.node(at.service.as_str()));
        match node.is_some_and(|node| node.overrides.contains(&at.instance)) {
            true => PropertiesFrom::Request,
            false => PropertiesFrom::Registration,
        }
    }

    /// Whether the service is the registry's own, see [`Service::is_registry`](crate::domain::Service::is_registry).
    pub fn is_registry(&self, tenant: &Tenant, service: &str) -> bool {
        self.service(tenant, service).is_some_and(|service| service.is_registry)
    }

    /// Numbers of all services and instances of the tenant.
    pub fn counts(&self, tenant: &Tenant) -> QuotaUsage {
        self.tenant(tenant).map_or_else(QuotaUsage::default, |view| view.counts())
    }

    /// Numbers of services and instances that count against the tenant's quotas. Shared services and their instances do not
    /// count.
    pub fn usage(&self, tenant: &Tenant, shared: &SharedServices) -> QuotaUsage {
        let Some(view) = self.tenant(tenant) else { return QuotaUsage::default() };
        let mut usage = view.counts();
        for service in shared.names_in(tenant).flat_map(|name| view.shared_ids(name)) {
            usage.services = usage.services.saturating_sub(1);
            usage.instances =
                usage.instances.saturating_sub(view.node(service.as_str()).map_or(0, |n| n.instances.len()));
        }
        usage
    }
}

/// How much of its quotas a tenant uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Number of service versions.
    pub services: usize,
    pub instances: usize,
}

impl TenantView {
    fn counts(&self) -> QuotaUsage {
        QuotaUsage { services: self.service_count, instances: self.instance_count }
    }

    /// Ids of all versions of a shared name, in any environment.
    fn shared_ids<'a>(&'a self, name: &str) -> Vec<&'a ServiceId> {
        let paths =
            ENVIRONMENTS.map(|environment| name_path(environment, crate::domain::service::DEFAULT_APP, name));
        let nodes = paths.iter().filter_map(|path| self.name(path));
        nodes.flat_map(|node| node.versions().iter().map(|version| &version.service)).collect()
    }
}
