//! The service document, its key and its id.

use sha1::{Digest, Sha1};

use super::id::Tenant;
use super::json::TextMap;
use crate::json_object;

/// Name of the service that the nodes of the registry register themselves under.
pub const REGISTRY_SERVICE: &str = "SERVICECENTER";
/// `appId` of a service that gives none.
pub const DEFAULT_APP: &str = "default";
/// `version` of a service that gives none.
pub const DEFAULT_VERSION: &str = "0.0.1";
/// With the value `true`, in any case, this property lets consumers of other applications see the service.
pub const ALLOW_CROSS_APP: &str = "allowCrossApp";

json_object! {
    /// A microservice, as clients send and get it and as the store holds it.
    pub struct Service {
        /// Id. The client gives it, or the registry derives it from the key.
        "serviceId" => service_id: String,
        /// Name of the application.
        "appId" => app_id: String,
        /// Name of the service.
        "serviceName" => service_name: String,
        /// One to four numbers, `1.2.3`.
        "version" => version: String,
        /// Any text.
        "description" => description: String,
        /// `FRONT`, `MIDDLE` or `BACK`.
        "level" => level: String,
        /// Ids of the schemas. The requests for schemas keep the list up to date.
        "schemas" => schemas: Vec<String>,
        /// REST paths. A registration with a `null` in the list is rejected.
        "paths" => paths: Vec<Option<ServicePath>>,
        /// `UP` or `DOWN`.
        "status" => status: String,
        /// Any names and values. With `allowCrossApp` set to `true`, consumers of other applications see the service.
        "properties" => properties: TextMap,
        /// When the service was registered, Unix seconds.
        "timestamp" => timestamp: String,
        /// Stored as given and not used. A registration with a `null` in the list is rejected.
        "providers" => providers: Vec<Option<ServiceKey>>,
        /// A second name.
        "alias" => alias: String,
        /// Stored as given and not used.
        "LBStrategy" => lb_strategy: TextMap,
        /// When the properties were last written, Unix seconds.
        "modTimestamp" => mod_timestamp: String,
        /// `development`, `testing`, `acceptance`, `production` or empty. Empty is an environment of its own.
        "environment" => environment: String,
        /// `SDK`, `SIDECAR` or `PLATFORM`.
        "registerBy" => register_by: String,
        /// The framework that the service is built with.
        "framework" => framework: Option<Framework>,
    }
}

json_object! {
    /// A REST path of a service.
    pub struct ServicePath {
        /// The path itself.
        "path" => path: String,
        /// Any names and values.
        "property" => property: TextMap,
    }
}

json_object! {
    /// The framework of a service.
    pub struct Framework {
        /// Name of the framework.
        "name" => name: String,
        /// Version of the framework.
        "version" => version: String,
    }
}

json_object! {
    /// Identifies a service in dependencies, batch finds and watch events.
    pub struct ServiceKey {
        /// `domain/project`.
        "tenant" => tenant: String,
        /// Environment of the service.
        "environment" => environment: String,
        /// Name of the application.
        "appId" => app_id: String,
        /// Name of the service.
        "serviceName" => service_name: String,
        /// Second name of the service.
        "alias" => alias: String,
        /// Exact version, or `0.0.0+` for all versions.
        "version" => version: String,
    }
}

impl Service {
    /// Fills in members that a registration may leave out.
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

    /// Whether the nodes of the registry register themselves under this service: [`REGISTRY_SERVICE`] of the default application
    /// in `default/default`, in any environment and version.
    pub fn is_registry(&self, tenant: &Tenant) -> bool {
        tenant.is_default() && self.app_id == DEFAULT_APP && self.service_name == REGISTRY_SERVICE
    }

    /// Whether a find of the registry's own service could return this service, by its name or its alias.
    pub fn claims_registry(&self, tenant: &Tenant) -> bool {
        let is_aliased = tenant.is_default() && self.app_id == DEFAULT_APP && self.alias == REGISTRY_SERVICE;
        is_aliased || self.is_registry(tenant)
    }

    /// Whether consumers of other applications may see this service.
    pub fn allows_cross_app(&self) -> bool {
        self.properties.get(ALLOW_CROSS_APP).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// The id of a service that gives none: the SHA-1 of its index key in the store. Every node and every repeated registration
/// derives the same id.
pub fn derived_id(index_key: &str) -> String {
    hex::encode(Sha1::digest(index_key.as_bytes()))
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
