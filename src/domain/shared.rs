//! Shared (global) services. They are services of `default/default`, and every tenant finds them.

use super::id::Tenant;
use super::service::{DEFAULT_APP, REGISTRY_SERVICE};

/// Which services are shared, and in which environment finds look for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedServices {
    names: Vec<String>,
    /// `development` if the node runs as `dev`, otherwise `production`.
    pub environment: String,
}

impl SharedServices {
    /// The registry's own service and the configured names.
    pub fn new(configured: impl IntoIterator<Item = String>, environment: &str) -> Self {
        let mut names = vec![REGISTRY_SERVICE.to_owned()];
        names.extend(configured.into_iter().filter(|name| !name.is_empty()));
        Self { names, environment: environment.to_owned() }
    }

    /// Whether a service is shared: it has a shared name, and is of the default application in `default/default`.
    pub fn contains(&self, tenant: &Tenant, app_id: &str, name: &str) -> bool {
        tenant.is_default() && app_id == DEFAULT_APP && self.names.iter().any(|shared| shared == name)
    }

    /// The shared names if the tenant is `default/default`. Other tenants have none.
    pub fn names_in(&self, tenant: &Tenant) -> impl Iterator<Item = &str> {
        let names = if tenant.is_default() { self.names.as_slice() } else { &[] };
        names.iter().map(String::as_str)
    }
}
