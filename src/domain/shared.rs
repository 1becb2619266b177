//! Shared (global) services: found from anywhere in `default/default` without a consumer.

use super::id::Tenant;
use super::service::{DEFAULT_APP, REGISTRY_SERVICE};

/// Which services are shared, and in which environment they are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedServices {
    names: Vec<String>,
    /// `development` if the node runs as `dev`, else `production`.
    pub environment: String,
}

impl SharedServices {
    /// The registry itself and the configured names.
    pub fn new(configured: impl IntoIterator<Item = String>, environment: &str) -> Self {
        let mut names = vec![REGISTRY_SERVICE.to_owned()];
        names.extend(configured.into_iter().filter(|name| !name.is_empty()));
        Self { names, environment: environment.to_owned() }
    }

    /// Whether a key is shared: a shared name of the default application in the default tenant.
    pub fn contains(&self, tenant: &Tenant, app_id: &str, name: &str) -> bool {
        tenant.is_default() && app_id == DEFAULT_APP && self.names.iter().any(|shared| shared == name)
    }

    /// The shared names, where the tenant is the one they live in.
    pub fn names_in(&self, tenant: &Tenant) -> impl Iterator<Item = &str> {
        let names = if tenant.is_default() { self.names.as_slice() } else { &[] };
        names.iter().map(String::as_str)
    }
}
