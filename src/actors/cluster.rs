//! The nodes that are registered as instances of the registry's own service: nodes of this server and of the original.

use crate::cache::Snapshot;
use crate::cache::snapshot::{ENVIRONMENTS, name_path};
use crate::domain::event::InstanceRef;
use crate::domain::json;
use crate::domain::service::{DEFAULT_APP, REGISTRY_SERVICE};
use crate::domain::{Instance, Tenant};

/// An instance of the registry's own service.
pub struct RegisteredNode {
    pub at: InstanceRef,
    pub environment: &'static str,
    /// The version of its service: the level of the API.
    pub version: String,
    pub document: Instance,
}

/// All registered nodes, of all environments and versions.
pub fn registered(snapshot: &Snapshot) -> Vec<RegisteredNode> {
    let tenant = Tenant::default_tenant();
    let Some(view) = snapshot.tenant(&tenant) else { return Vec::new() };
    let names = ENVIRONMENTS.into_iter().filter_map(|environment| {
        let name = view.name(&name_path(environment, DEFAULT_APP, REGISTRY_SERVICE))?;
        Some((environment, name))
    });
    let versions = names
        .flat_map(|(environment, name)| name.versions().iter().map(move |version| (environment, version)));
    let mut found = Vec::new();
    for (environment, named) in versions {
        let Some(node) = view.node(named.service.as_str()) else { continue };
        for (instance, entry) in node.instances.entries() {
            let Ok(document) = json::decode::<Instance>(&entry.json()) else { continue };
            let (tenant, service) = (tenant.clone(), named.service.clone());
            found.push(RegisteredNode {
                at: InstanceRef { tenant, service, instance },
                environment,
                version: named.version.to_string(),
                document,
            });
        }
    }
    found
}

/// `host:port` of an endpoint, without scheme, path and query.
pub fn address(endpoint: &str) -> &str {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

impl RegisteredNode {
    /// Whether one of its endpoints has this `host:port`.
    pub fn has_address(&self, host_and_port: &str) -> bool {
        self.document.endpoints.iter().any(|endpoint| address(endpoint) == host_and_port)
    }
}
