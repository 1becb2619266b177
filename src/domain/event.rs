//! What happens to the registry, as every node learns it from the store: one event a key, in the order of revisions.

use std::sync::Arc;

use bytes::Bytes;

use super::dependency::Partners;
use super::id::{InstanceId, ServiceId, Tenant};
use super::json::TextMap;
use super::service::Service;

/// The store's revision a fact is of.
pub type Revision = i64;

/// A service as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// The document.
    pub document: Service,
    /// The document as JSON in the API's form.
    pub json: Bytes,
    /// Revision of its last write.
    pub mod_revision: Revision,
}

/// An instance as stored. The document itself is only kept as JSON: reads answer it as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRecord {
    /// The document as JSON in the API's form.
    pub json: Bytes,
    /// Revision of its last write.
    pub mod_revision: Revision,
    /// TTL by its health check, seconds.
    pub ttl_seconds: i64,
    /// Heartbeat interval by its health check, seconds.
    pub interval_seconds: i64,
}

/// Identity of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceRef {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// Instance.
    pub instance: InstanceId,
}

/// Under what a service is looked for: everything of its key but the version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// Tenant.
    pub tenant: Tenant,
    /// Environment, may be empty.
    pub environment: Arc<str>,
    /// Application.
    pub app_id: Arc<str>,
    /// Name or alias.
    pub name: Arc<str>,
}

impl ServiceName {
    /// The name in these parts.
    pub fn new(tenant: Tenant, environment: &str, app_id: &str, name: &str) -> Self {
        Self { tenant, environment: environment.into(), app_id: app_id.into(), name: name.into() }
    }
}

/// Whether a put made the key or changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PutKind {
    /// The key is new.
    Created,
    /// The key was there.
    Updated,
}

/// One change. A deletion carries only what the key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryEvent {
    /// A service document was written.
    ServicePut(Tenant, ServiceId, Arc<ServiceRecord>),
    /// A service document was deleted.
    ServiceDeleted(Tenant, ServiceId),
    /// A version of a name belongs to a service.
    IndexPut(ServiceName, Arc<str>, ServiceId),
    /// A version of a name is free.
    IndexDeleted(ServiceName, Arc<str>),
    /// A version of an alias belongs to a service.
    AliasPut(ServiceName, Arc<str>, ServiceId),
    /// A version of an alias is free.
    AliasDeleted(ServiceName, Arc<str>),
    /// A service's tags were written, all of them, at a revision.
    TagsPut(Tenant, ServiceId, Arc<TextMap>, Revision),
    /// A service's tags were deleted.
    TagsDeleted(Tenant, ServiceId),
    /// A schema of a service refers to a content: schema id, hash.
    SchemaRefPut(Tenant, ServiceId, Arc<str>, Arc<str>),
    /// A schema of a service refers to nothing.
    SchemaRefDeleted(Tenant, ServiceId, Arc<str>),
    /// Summary of a schema: schema id, summary.
    SchemaSummaryPut(Tenant, ServiceId, Arc<str>, Arc<str>),
    /// A schema has no summary.
    SchemaSummaryDeleted(Tenant, ServiceId, Arc<str>),
    /// Providers of a consumer version were written.
    ConsumerRulePut(ServiceName, Arc<str>, Arc<Partners>),
    /// A consumer version has no providers.
    ConsumerRuleDeleted(ServiceName, Arc<str>),
    /// Consumers of a provider were written (version key as stored).
    ProviderRulePut(ServiceName, Arc<str>, Arc<Partners>),
    /// A provider has no consumers.
    ProviderRuleDeleted(ServiceName, Arc<str>),
    /// A dependency request waits: the key it waits under, and the deleted consumer whose dependencies it ends, if it does.
    DependencyQueued(Arc<str>, Option<(Tenant, ServiceId)>),
    /// A dependency request was taken: the key it waited under, and as above.
    DependencyTaken(Arc<str>, Option<(Tenant, ServiceId)>),
    /// An instance document was written.
    InstancePut(InstanceRef, PutKind, InstanceRecord),
    /// An instance document was deleted.
    InstanceDeleted(InstanceRef),
    /// An instance hangs on a lease.
    LeasePut(InstanceRef, i64),
    /// An instance hangs on no lease.
    LeaseDeleted(InstanceRef),
    /// The owner of an instance that had expired said goodbye; the lease that had ended.
    LateGoodbye(InstanceRef, i64),
    /// The properties of an instance stay when it registers again.
    OverridePut(InstanceRef),
    /// They do not any more.
    OverrideDeleted(InstanceRef),
    /// A domain exists.
    DomainPut(Arc<str>),
    /// A domain's key is gone.
    DomainDeleted(Arc<str>),
    /// A project exists.
    ProjectPut(Tenant),
    /// A project's key is gone.
    ProjectDeleted(Tenant),
}
