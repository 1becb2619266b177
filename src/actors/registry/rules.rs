//! The registry's rules as configured.

use crate::domain::dependency::CrossDomain;
use crate::domain::instance::InstanceRules;
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;

/// The registry's rules as configured.
#[derive(Clone, Debug)]
pub struct RegistryRules {
    /// Quotas.
    pub quotas: Quotas,
    /// Health checks, TTLs, configured properties.
    pub instances: InstanceRules,
    /// Shared services.
    pub shared: SharedServices,
    /// Whether a dependency may lead to another domain.
    pub cross_domain: CrossDomain,
    /// Where dependency requests are applied.
    pub dependencies: DependencyMode,
}

/// How dependency requests become rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyMode {
    /// At once, by this node: it is the only one.
    Direct,
    /// Through the queue in the store, by whichever node holds the lock.
    Queued,
}
