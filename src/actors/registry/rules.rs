//! The registry's rules as configured.

use crate::domain::dependency::CrossDomain;
use crate::domain::instance::InstanceRules;
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;

#[derive(Clone, Debug)]
pub struct RegistryRules {
    pub quotas: Quotas,
    /// The rules for health checks, TTLs and configured properties.
    pub instances: InstanceRules,
    pub shared: SharedServices,
    /// Whether a dependency may lead to another domain.
    pub cross_domain: CrossDomain,
    /// Where dependency requests are applied.
    pub dependencies: DependencyMode,
}

/// How dependency requests become rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyMode {
    /// This node applies them at once, because it is the only node.
    Direct,
    /// They wait in a queue in the store. The node that holds the lock applies them.
    Queued,
}
