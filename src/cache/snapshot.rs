//! The snapshot: everything readers ask for, indexed by what they ask with. Immutable and cheap to copy: persistent maps
//! share all that a publish did not touch.

use std::collections::HashMap as StdHashMap;
use std::sync::Arc;

use imbl::{HashMap, OrdMap, OrdSet};

use super::answer::AnswerCell;
use super::instances::{InstanceEntry, Instances};
use crate::domain::dependency::{CrossDomain, Partners};
use crate::domain::event::{InstanceRef, Revision, ServiceRecord};
use crate::domain::instance::PropertiesFrom;
use crate::domain::json::TextMap;
use crate::domain::shared::SharedServices;
use crate::domain::{InstanceId, ServiceId, ServiceKey, Tenant};

/// `<environment>/<app>/<name>`: the part of index keys that says what a service is looked for under. The parts cannot
/// hold a slash, so one text can be looked up without building a key of parts.
pub type NamePath = Arc<str>;

/// Builds a [`NamePath`] text.
pub fn name_path(environment: &str, app_id: &str, name: &str) -> String {
    let mut path = String::with_capacity(environment.len() + app_id.len() + name.len() + 2);
    path.push_str(environment);
    path.push('/');
    path.push_str(app_id);
    path.push('/');
    path.push_str(name);
    path
}

/// The registry as of a revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All events up to this revision are in it.
    pub revision: Revision,
    /// How often the store was listed: a listing does not say what became of what it does not hold.
    pub listing: u32,
    /// Which partners are taken from dependency rules.
    pub(super) cross_domain: CrossDomain,
    /// Instances of all tenants.
    pub instance_count: usize,
    /// Keys of waiting dependency requests.
    pub dependency_queue: OrdSet<Arc<str>>,
    /// Deleted services whose dependencies one of those requests ends. A service with the same id may be there again.
    pub(super) ending_consumers: OrdSet<(Tenant, ServiceId)>,
    /// Domains that have a key.
    pub domains: OrdSet<Arc<str>>,
    /// Projects that have a key.
    pub projects: OrdSet<Tenant>,
    pub(super) tenants: OrdMap<Tenant, Arc<TenantView>>,
}

/// One tenant's part.
#[derive(Clone, Debug, Default)]
pub struct TenantView {
    /// Instances of the tenant.
    pub instance_count: usize,
    /// Service documents of the tenant.
    pub service_count: usize,
    pub(super) services: HashMap<ServiceId, Arc<ServiceNode>>,
    pub(super) names: HashMap<NamePath, Arc<NameNode>>,
    pub(super) aliases: HashMap<NamePath, Arc<NameNode>>,
    /// By `<name path>/<version>` of the consumer.
    pub(super) consumer_rules: HashMap<Arc<str>, Arc<ConsumerRule>>,
    /// By name path of the provider, then version key.
    pub(super) provider_rules: HashMap<NamePath, OrdMap<Arc<str>, Arc<Partners>>>,
    /// Those of them that are filed under a name which no service has.
    pub(super) nameless_rules: OrdSet<NamePath>,
    /// By alias path: the name paths of the providers that rules name with this alias, each with the number of those rules.
    pub(super) aliased_rules: HashMap<NamePath, OrdMap<NamePath, usize>>,
}

/// What is known under a service id. Its parts come and go one by one, in the store's order.
#[derive(Clone, Debug, Default)]
pub struct ServiceNode {
    /// The document.
    pub view: Option<Arc<ServiceView>>,
    /// Tags and the revision of their last write.
    pub tags: Option<(Arc<TextMap>, Revision)>,
    /// Content hash by schema id.
    pub schema_refs: OrdMap<Arc<str>, Arc<str>>,
    /// Summary by schema id.
    pub schema_summaries: OrdMap<Arc<str>, Arc<str>>,
    /// Its instances.
    pub instances: Instances,
    /// Answer of the list of its instances.
    pub list_answer: AnswerCell,
    /// Names and aliases that lead here: their answers fall with it.
    pub(super) listed: Vec<Listed>,
    /// Leases of instances that are not there: their keys came before, or stayed.
    pub(super) early_leases: OrdMap<InstanceId, i64>,
    /// Instances whose properties were replaced by a request.
    pub(super) overrides: OrdSet<InstanceId>,
}

/// A way to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    Name(NamePath),
    Alias(NamePath),
}

/// A service document with what finds need of it.
#[derive(Debug)]
pub struct ServiceView {
    /// The document as stored.
    pub record: Arc<ServiceRecord>,
    /// Its id.
    pub id: ServiceId,
    /// Its name path.
    pub path: NamePath,
    /// `<name path>/<version>`.
    pub versioned_path: Arc<str>,
    /// Whether consumers of other applications may see it.
    pub allows_cross_app: bool,
    /// Whether it is the registry's own, see [`Service::is_registry`](crate::domain::Service::is_registry).
    pub is_registry: bool,
}

/// All versions known under a name or an alias.
#[derive(Clone, Debug, Default)]
pub struct NameNode {
    pub(super) versions: Vec<(Arc<str>, ServiceId)>,
    pub(super) answers: AnswerCell,
}

/// Providers of a consumer version.
#[derive(Debug)]
pub struct ConsumerRule {
    /// As stored, without those the consumer may not depend on.
    pub partners: Arc<Partners>,
    /// Where they stand in it, by tenant and name path. Nearly always there is one tenant.
    places: Vec<(Box<str>, Places)>,
}

/// Where providers stand in a rule, by name path.
type Places = StdHashMap<Box<str>, usize>;

impl ConsumerRule {
    pub(super) fn new(partners: Arc<Partners>) -> Self {
        let mut places: Vec<(Box<str>, Places)> = Vec::new();
        for (at, key) in partners.keys.iter().enumerate() {
            let path = name_path(&key.environment, &key.app_id, &key.service_name).into_boxed_str();
            match places.iter_mut().find(|(tenant, _)| **tenant == *key.tenant) {
                Some((_, places)) => drop(places.insert(path, at)),
                None => places.push((key.tenant.as_str().into(), Places::from([(path, at)]))),
            }
        }
        Self { partners, places }
    }

    /// The key of a provider in it, in whatever version.
    pub fn provider(&self, tenant: &Tenant, path: &str) -> Option<&ServiceKey> {
        let is_of = |of: &str| of.split_once('/') == Some((tenant.domain(), tenant.project()));
        let mut places = self.places.iter().filter(|(of, _)| is_of(of));
        self.partners.keys.get(*places.find_map(|(_, places)| places.get(path))?)
    }
}

impl NameNode {
    /// Versions and whom they belong to.
    pub fn versions(&self) -> &[(Arc<str>, ServiceId)] {
        &self.versions
    }

    /// Owner of a version.
    pub fn version(&self, version: &str) -> Option<&ServiceId> {
        self.versions.iter().find(|(known, _)| **known == *version).map(|(_, id)| id)
    }
}

impl TenantView {
    /// What is known under a service id.
    pub fn node(&self, id: &str) -> Option<&Arc<ServiceNode>> {
        self.services.get(id)
    }

    /// A service by id.
    pub fn service(&self, id: &str) -> Option<&Arc<ServiceView>> {
        self.node(id)?.view.as_ref()
    }

    /// All services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<ServiceView>> {
        self.services.values().filter_map(|node| node.view.as_ref())
    }

    /// All that is known, by service id.
    pub fn nodes(&self) -> impl Iterator<Item = (&ServiceId, &Arc<ServiceNode>)> {
        self.services.iter()
    }

    /// A name.
    pub fn name(&self, path: &str) -> Option<&Arc<NameNode>> {
        self.names.get(path)
    }

    /// An alias.
    pub fn alias(&self, path: &str) -> Option<&Arc<NameNode>> {
        self.aliases.get(path)
    }

    /// Providers of a consumer, by its versioned path.
    pub fn consumer_rule(&self, versioned_path: &str) -> Option<&Arc<ConsumerRule>> {
        self.consumer_rules.get(versioned_path)
    }

    /// Consumers of a provider, of each version key.
    pub fn provider_rules(&self, path: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<Partners>)> {
        self.provider_rules.get(path).into_iter().flatten()
    }

    /// Providers that have consumers, though no service has their name: name path and rules, by version key.
    pub fn nameless_provider_rules(
        &self,
    ) -> impl Iterator<Item = (&NamePath, &OrdMap<Arc<str>, Arc<Partners>>)> {
        self.nameless_rules.iter().filter_map(|path| self.provider_rules.get_key_value(path))
    }

    /// The versions that a key of a dependency rule means: those of its name, or if no service has it, those of its alias.
    pub fn meant_by(&self, key: &ServiceKey) -> Option<&Arc<NameNode>> {
        let path = |name: &str| name_path(&key.environment, &key.app_id, name);
        let by_alias = || Some(&key.alias).filter(|alias| !alias.is_empty()).map(|alias| path(alias));
        self.name(&path(&key.service_name)).or_else(|| self.alias(&by_alias()?))
    }

    /// An instance.
    pub fn instance(&self, service: &str, instance: &str) -> Option<&Arc<InstanceEntry>> {
        self.node(service)?.instances.find(instance)
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
    /// A tenant's part; `None` if nothing was ever registered there.
    pub fn tenant(&self, tenant: &Tenant) -> Option<&Arc<TenantView>> {
        self.tenants.get(tenant)
    }

    /// How many tenants the registry holds something of.
    pub fn tenant_count(&self) -> usize {
        self.tenants.len()
    }

    /// All tenants.
    pub fn tenants(&self) -> impl Iterator<Item = (&Tenant, &Arc<TenantView>)> {
        self.tenants.iter()
    }

    /// A service by id.
    pub fn service(&self, tenant: &Tenant, id: &str) -> Option<&Arc<ServiceView>> {
        self.tenant(tenant)?.service(id)
    }

    /// An instance.
    pub fn instance(&self, tenant: &Tenant, service: &str, instance: &str) -> Option<&Arc<InstanceEntry>> {
        self.tenant(tenant)?.instance(service, instance)
    }

    /// Whose the properties of an instance are.
    pub fn properties_from(&self, at: &InstanceRef) -> PropertiesFrom {
        let node = self.tenant(&at.tenant).and_then(|view| view.node(at.service.as_str()));
        match node.is_some_and(|node| node.overrides.contains(&at.instance)) {
            true => PropertiesFrom::Request,
            false => PropertiesFrom::Registration,
        }
    }

    /// Whether a service is the registry's own.
    pub fn is_registry(&self, tenant: &Tenant, service: &str) -> bool {
        self.service(tenant, service).is_some_and(|service| service.is_registry)
    }

    /// Services and instances of a tenant that count against its quotas: the shared ones do not.
    pub fn usage(&self, tenant: &Tenant, shared: &SharedServices) -> Usage {
        let Some(view) = self.tenant(tenant) else { return Usage::default() };
        let mut usage = Usage { services: view.service_count, instances: view.instance_count };
        for service in shared.names_in(tenant).flat_map(|name| view.shared_ids(name)) {
            usage.services = usage.services.saturating_sub(1);
            usage.instances =
                usage.instances.saturating_sub(view.node(service.as_str()).map_or(0, |n| n.instances.len()));
        }
        usage
    }
}

/// What counts against quotas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Service versions.
    pub services: usize,
    /// Instances.
    pub instances: usize,
}

impl TenantView {
    /// Ids of all versions of a shared name, in any environment.
    fn shared_ids<'a>(&'a self, name: &str) -> Vec<&'a ServiceId> {
        const ENVIRONMENTS: [&str; 5] = ["", "development", "testing", "acceptance", "production"];
        let paths =
            ENVIRONMENTS.map(|environment| name_path(environment, crate::domain::service::DEFAULT_APP, name));
        let nodes = paths.iter().filter_map(|path| self.name(path));
        nodes.flat_map(|node| node.versions().iter().map(|(_, id)| id)).collect()
    }
}
