//! Resolves the dependency rules of a snapshot to services that exist.

use std::collections::HashSet;
use std::sync::Arc;

use super::snapshot::{ServiceView, Snapshot, TenantView, name_path};
use crate::domain::dependency::ALL_VERSIONS;
use crate::domain::{ServiceId, ServiceKey, Tenant};

/// Which partners a request leaves out.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartnerFilter {
    /// Leave out services of other tenants.
    pub same_tenant: bool,
    /// Leave out the service itself.
    pub not_self: bool,
}

/// Finds the partners of a service key by key, each partner once. So a caller with many keys can pause between two of them.
#[derive(Debug)]
pub struct PartnerSet<'s> {
    snapshot: &'s Snapshot,
    tenant: &'s Tenant,
    of: &'s ServiceView,
    filter: PartnerFilter,
    known: HashSet<*const ServiceView>,
}

impl<'s> PartnerSet<'s> {
    /// An empty set for a service of this tenant.
    pub fn new(
        snapshot: &'s Snapshot,
        tenant: &'s Tenant,
        of: &'s ServiceView,
        filter: PartnerFilter,
    ) -> Self {
        Self { snapshot, tenant, of, filter, known: HashSet::new() }
    }

    /// Adds the services that a key of a rule means. Returns those that are new.
    pub fn add(&mut self, key: &ServiceKey) -> Vec<&'s Arc<ServiceView>> {
        let is_own_tenant = key.tenant == self.tenant.as_str();
        if self.filter.same_tenant && !is_own_tenant {
            return Vec::new();
        }
        let mut found = self.snapshot.services_of(key);
        found.retain(|service| {
            let is_self = is_own_tenant && service.id == self.of.id;
            !(self.filter.not_self && is_self) && self.known.insert(Arc::as_ptr(service))
        });
        found
    }
}

impl Snapshot {
    /// The services that a consumer depends on.
    pub fn providers(
        &self,
        tenant: &Tenant,
        consumer: &ServiceView,
        filter: PartnerFilter,
    ) -> Vec<Arc<ServiceView>> {
        self.resolve(tenant, consumer, self.provider_keys(tenant, consumer), filter)
    }

    /// The providers in the rule of a consumer.
    pub fn provider_keys(&self, tenant: &Tenant, consumer: &ServiceView) -> &[ServiceKey] {
        let rule = self.tenant(tenant).and_then(|view| view.consumer_rule(&consumer.versioned_path));
        rule.map(|rule| rule.partners.keys.as_slice()).unwrap_or_default()
    }

    /// The services that depend on a provider.
    pub fn consumers(
        &self,
        tenant: &Tenant,
        provider: &ServiceView,
        filter: PartnerFilter,
    ) -> Vec<Arc<ServiceView>> {
        self.resolve(tenant, provider, self.consumer_keys(tenant, provider), filter)
    }

    /// The consumers in all rules that mean a provider: the rules under its name, and the rules under a name that no service
    /// has if they give the provider's alias. Also works for a provider that was just deleted, because its watchers are told.
    pub fn consumer_keys<'a>(&'a self, tenant: &Tenant, provider: &ServiceView) -> Vec<&'a ServiceKey> {
        let Some(view) = self.tenant(tenant) else { return Vec::new() };
        let rules = view.provider_rules(&provider.path);
        let mut keys: Vec<&ServiceKey> = rules.flat_map(|(_, partners)| &partners.keys).collect();
        if !provider.record.document.alias.is_empty() {
            keys.extend(self.consumer_keys_by_alias(tenant, view, provider));
        }
        keys
    }

    fn consumer_keys_by_alias<'a>(
        &'a self,
        tenant: &Tenant,
        view: &'a TenantView,
        provider: &ServiceView,
    ) -> Vec<&'a ServiceKey> {
        let document = &provider.record.document;
        let path = name_path(&document.environment, &document.app_id, &document.alias);
        let names = view.aliased_rules.get(path.as_str()).into_iter().flat_map(|names| names.keys());
        let mut keys = Vec::new();
        for name in names.filter(|name| view.name(name).is_none()) {
            let consumers = view.provider_rules(name).flat_map(|(_, partners)| &partners.keys);
            let named = |consumer: &&ServiceKey| {
                let key = self.provider_key(consumer, tenant, name);
                key.is_some_and(|key| key.alias == document.alias)
            };
            keys.extend(consumers.filter(named));
        }
        keys
    }

    /// The key by which a consumer's rule names a provider. `provider` is a name path.
    pub fn provider_key(
        &self,
        consumer: &ServiceKey,
        tenant: &Tenant,
        provider: &str,
    ) -> Option<&ServiceKey> {
        let view = self.tenant(&Tenant::from(consumer.tenant.as_str()))?;
        let path = name_path(&consumer.environment, &consumer.app_id, &consumer.service_name);
        view.consumer_rule(&format!("{path}/{}", consumer.version))?.provider(tenant, provider)
    }

    fn resolve<'a>(
        &self,
        tenant: &Tenant,
        of: &ServiceView,
        keys: impl IntoIterator<Item = &'a ServiceKey>,
        filter: PartnerFilter,
    ) -> Vec<Arc<ServiceView>> {
        let mut partners = PartnerSet::new(self, tenant, of, filter);
        keys.into_iter().flat_map(|key| partners.add(key)).map(Arc::clone).collect()
    }

    /// The tenants and ids of the services that some keys of rules mean.
    pub fn ids_of<'a>(&self, keys: impl IntoIterator<Item = &'a ServiceKey>) -> HashSet<(Tenant, ServiceId)> {
        let ids = |key: &'a ServiceKey| {
            let tenant = Tenant::from(key.tenant.as_str());
            let services = self.services_of(key);
            services.into_iter().map(move |service| (tenant.clone(), service.id.clone())).collect::<Vec<_>>()
        };
        keys.into_iter().flat_map(ids).collect()
    }

    /// The services that a key of a rule means, all versions or the one that it gives. See [`TenantView::meant_by`].
    pub fn services_of(&self, key: &ServiceKey) -> Vec<&Arc<ServiceView>> {
        let Some(view) = self.tenant(&Tenant::from(key.tenant.as_str())) else { return Vec::new() };
        let versions = view.meant_by(key).map(|node| node.versions()).unwrap_or_default();
        let wanted =
            versions.iter().filter(|known| key.version == ALL_VERSIONS || *known.version == *key.version);
        wanted.filter_map(|known| view.service(known.service.as_str())).collect()
    }

    /// Whether a key of a rule means a service in any version.
    pub fn is_meant(&self, key: &ServiceKey) -> bool {
        let view = self.tenant(&Tenant::from(key.tenant.as_str()));
        view.is_some_and(|view| view.meant_by(key).is_some())
    }
}
