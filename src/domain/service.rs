//! The service document, its key and its id.

use sha1::{Digest, Sha1};

use super::id::Tenant;
use super::json::TextMap;
use crate::json_object;

/// Name of the service every node registers itself under.
pub const REGISTRY_SERVICE: &str = "SERVICECENTER";
/// `appId` when none is given.
pub const DEFAULT_APP: &str = "default";
/// `version` when none is given.
pub const DEFAULT_VERSION: &str = "0.0.1";
/// Property that opens a service to consumers of other applications when it is `true` (in any case).
pub const ALLOW_CROSS_APP: &str = "allowCrossApp";

json_object! {
    /// A microservice: the document clients send and get and the store holds. Members in wire order.
    pub struct Service {
        /// Given by the client or derived from the key.
        "serviceId" => service_id: String,
        /// Application.
        "appId" => app_id: String,
        /// Name.
        "serviceName" => service_name: String,
        /// One to four numbers, `1.2.3`.
        "version" => version: String,
        /// Free text.
        "description" => description: String,
        /// `FRONT`, `MIDDLE` or `BACK`.
        "level" => level: String,
        /// Ids of its schemas; kept by the schema routes.
        "schemas" => schemas: Vec<String>,
        /// REST paths; a registration with a `null` among them is refused.
        "paths" => paths: Vec<Option<ServicePath>>,
        /// `UP` or `DOWN`.
        "status" => status: String,
        /// Free pairs; [`ALLOW_CROSS_APP`] has a meaning.
        "properties" => properties: TextMap,
        /// When it was registered, Unix seconds.
        "timestamp" => timestamp: String,
        /// Stored as given, never used; a registration with a `null` among them is refused.
        "providers" => providers: Vec<Option<ServiceKey>>,
        /// A second name.
        "alias" => alias: String,
        /// Stored as given.
        "LBStrategy" => lb_strategy: TextMap,
        /// When its properties were last written, Unix seconds.
        "modTimestamp" => mod_timestamp: String,
        /// `development`, `testing`, `acceptance`, `production` or empty, which is an environment of its own.
        "environment" => environment: String,
        /// `SDK`, `SIDECAR` or `PLATFORM`.
        "registerBy" => register_by: String,
        /// What it is built with.
        "framework" => framework: Option<Framework>,
    }
}

json_object! {
    /// A REST path of a service.
    pub struct ServicePath {
        /// The path.
        "path" => path: String,
        /// Free pairs.
        "property" => property: TextMap,
    }
}

json_object! {
    /// A framework.
    pub struct Framework {
        /// Name.
        "name" => name: String,
        /// Version.
        "version" => version: String,
    }
}

json_object! {
    /// What identifies a service to others: in dependencies, batch finds and pushed events.
    pub struct ServiceKey {
        /// `domain/project`.
        "tenant" => tenant: String,
        /// Environment.
        "environment" => environment: String,
        /// Application.
        "appId" => app_id: String,
        /// Name.
        "serviceName" => service_name: String,
        /// Second name.
        "alias" => alias: String,
        /// Exact version, or `0.0.0+` for all.
        "version" => version: String,
    }
}

impl Service {
    /// Fills what a registration may leave out.
    pub fn apply_defaults(&mut self) {
        let defaults = [
            (&mut self.app_id, DEFAULT_APP),
            (&mut self.version, DEFAULT_VERSION),
            (&mut self.level, "BACK"),
            (&mut self.status, "UP"),
        ];
        for (member, default) in defaults {
            if member.is_empty() {
                default.clone_into(member);
            }
        }
    }

    /// Its key in a tenant.
    pub fn key(&self, tenant: &Tenant) -> ServiceKey {
        ServiceKey {
            tenant: tenant.as_str().to_owned(),
            environment: self.environment.clone(),
            app_id: self.app_id.clone(),
            service_name: self.service_name.clone(),
            alias: self.alias.clone(),
            version: self.version.clone(),
        }
    }

    /// Whether this is the service that the nodes of the registry register themselves under: [`REGISTRY_SERVICE`] of the
    /// default application in `default/default`, in any environment and version.
    pub fn is_registry(&self, tenant: &Tenant) -> bool {
        tenant.is_default() && self.app_id == DEFAULT_APP && self.service_name == REGISTRY_SERVICE
    }

    /// Whether a look-up of the registry's own service could lead here: by the name, or by the alias.
    pub fn claims_registry(&self, tenant: &Tenant) -> bool {
        let is_aliased = tenant.is_default() && self.app_id == DEFAULT_APP && self.alias == REGISTRY_SERVICE;
        is_aliased || self.is_registry(tenant)
    }

    /// Whether consumers of other applications may see it.
    pub fn allows_cross_app(&self) -> bool {
        self.properties.get(ALLOW_CROSS_APP).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// The id a service gets that brings none: the SHA-1 of its index key in the store, so that every node and every
/// re-registration arrives at the same one.
pub fn derived_id(index_key: &str) -> String {
    hex(&Sha1::digest(index_key.as_bytes()))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_own_service_is_told_by_tenant_application_and_name() {
        let check = |tenant: &str, app: &str, name: &str, alias: &str, expected: (bool, bool)| {
            let service = Service {
                app_id: app.to_owned(),
                service_name: name.to_owned(),
                alias: alias.to_owned(),
                environment: "testing".to_owned(),
                ..Service::default()
            };
            let tenant = Tenant::from(tenant);
            assert_eq!(
                (service.is_registry(&tenant), service.claims_registry(&tenant)),
                expected,
                "{service:?}"
            );
        };
        check("default/default", "default", "SERVICECENTER", "", (true, true));
        check("default/default", "default", "x", "SERVICECENTER", (false, true));
        check("default/default", "default", "servicecenter", "x", (false, false));
        check("default/default", "other", "SERVICECENTER", "SERVICECENTER", (false, false));
        check("default/p", "default", "SERVICECENTER", "SERVICECENTER", (false, false));
    }

    #[test]
    fn derived_ids_are_the_sha1_of_the_index_key() {
        let id = derived_id("/cse-sr/ms/indexes/default/default//default/svc/1.0.0");
        assert_eq!(id, "dce075d05a5d06a484b72dd58330c85eccae9aa8");
    }
}
