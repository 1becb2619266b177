//! Who depends on whom, over a snapshot: rules resolved to services that exist.

use std::collections::HashSet;
use std::sync::Arc;

use super::snapshot::{ServiceView, Snapshot, name_path};
use crate::domain::dependency::ALL_VERSIONS;
use crate::domain::{ServiceKey, Tenant};

/// Which partners are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartnerFilter {
    /// Leave out other tenants.
    pub same_tenant: bool,
    /// Leave out the service itself.
    pub not_self: bool,
}

impl Snapshot {
    /// Services a consumer depends on: of each provider all versions.
    pub fn providers(
        &self,
        tenant: &Tenant,
        consumer: &ServiceView,
        filter: PartnerFilter,
    ) -> Vec<Arc<ServiceView>> {
        let rule = self.tenant(tenant).and_then(|view| view.consumer_rule(&consumer.versioned_path));
        let keys = rule.map(|rule| rule.partners.keys.as_slice()).unwrap_or_default();
        self.resolve(tenant, consumer, keys, filter)
    }

    /// Services that depend on a provider.
    pub fn consumers(
        &self,
        tenant: &Tenant,
        provider: &ServiceView,
        filter: PartnerFilter,
    ) -> Vec<Arc<ServiceView>> {
        let rules = self.tenant(tenant).into_iter().flat_map(|view| view.provider_rules(&provider.path));
        let keys: Vec<ServiceKey> = rules.flat_map(|(_, partners)| partners.keys.iter().cloned()).collect();
        self.resolve(tenant, provider, &keys, filter)
    }

    fn resolve(
        &self,
        tenant: &Tenant,
        of: &ServiceView,
        keys: &[ServiceKey],
        filter: PartnerFilter,
    ) -> Vec<Arc<ServiceView>> {
        let mut found: Vec<Arc<ServiceView>> = Vec::new();
        let mut known = HashSet::new();
        for key in keys {
            if filter.same_tenant && key.tenant != tenant.as_str() {
                continue;
            }
            for service in self.services_of(key) {
                let is_self = service.id == of.id && key.tenant == tenant.as_str();
                if !(filter.not_self && is_self) && known.insert(Arc::as_ptr(service)) {
                    found.push(Arc::clone(service));
                }
            }
        }
        found
    }

    /// The services a key of a rule means: all versions or the exact one, by name, else by its alias.
    pub fn services_of(&self, key: &ServiceKey) -> Vec<&Arc<ServiceView>> {
        let Some(view) = self.tenant(&Tenant::from(key.tenant.as_str())) else { return Vec::new() };
        let named = view.name(&name_path(&key.environment, &key.app_id, &key.service_name));
        let node = named.or_else(|| {
            let by_alias = !key.alias.is_empty();
            by_alias.then(|| view.alias(&name_path(&key.environment, &key.app_id, &key.alias)))?
        });
        let versions = node.map(|node| node.versions()).unwrap_or_default();
        let wanted =
            versions.iter().filter(|(version, _)| key.version == ALL_VERSIONS || **version == *key.version);
        wanted.filter_map(|(_, id)| view.service(id.as_str())).collect()
    }
}
