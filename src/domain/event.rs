//! Events: the changes of the registry as every node learns them from the store. There is one event for each changed key, and
//! events come in the order of their revisions.

use std::sync::Arc;

use bytes::Bytes;

use super::account::{Account, AccountLock, Role};
use super::dependency::Partners;
use super::id::{InstanceId, ServiceId, Tenant};
use super::json::TextMap;
use super::service::Service;
use crate::packed::compact::Compact;

/// A revision of the store: a counter that grows with each committed transaction that changes something. The transactions of a
/// batch have one revision.
pub type Revision = i64;

/// A service as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    pub document: Service,
    /// The document as JSON in the API's form.
    pub json: Bytes,
    /// Revision of the last write of the document.
    pub mod_revision: Revision,
}

/// An instance as stored. It has the document only as JSON, because reads answer the JSON as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRecord {
    /// The document as JSON in the API's form.
    pub json: Bytes,
    /// The JSON as the store keeps it, so that both share it.
    pub compact: Option<Compact>,
    /// Revision of the last write of the document.
    pub mod_revision: Revision,
}

/// Identifies an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceRef {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub instance: InstanceId,
}

/// What a service is found by: all parts of its key except the version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    pub tenant: Tenant,
    /// May be empty.
    pub environment: Arc<str>,
    pub app_id: Arc<str>,
    /// Name or alias.
    pub name: Arc<str>,
}

impl ServiceName {
    pub fn new(tenant: Tenant, environment: &str, app_id: &str, name: &str) -> Self {
        Self { tenant, environment: environment.into(), app_id: app_id.into(), name: name.into() }
    }
}

/// Whether a put created its key or changed the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PutKind {
    Created,
    Updated,
}

/// One change of a key. A deletion carries only what the key itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryEvent {
    ServicePut(Tenant, ServiceId, Arc<ServiceRecord>),
    ServiceDeleted(Tenant, ServiceId),
    /// This version of a name belongs to a service since this revision.
    IndexPut(ServiceName, Arc<str>, ServiceId, Revision),
    /// This version of a name belongs to no service.
    IndexDeleted(ServiceName, Arc<str>),
    /// This version of an alias belongs to a service since this revision.
    AliasPut(ServiceName, Arc<str>, ServiceId, Revision),
    /// This version of an alias belongs to no service.
    AliasDeleted(ServiceName, Arc<str>),
    /// All tags of a service were written at this revision.
    TagsPut(Tenant, ServiceId, Arc<TextMap>, Revision),
    TagsDeleted(Tenant, ServiceId),
    /// A schema id of a service refers to the content with this hash, written at this revision.
    SchemaRefPut(Tenant, ServiceId, Arc<str>, Arc<str>, Revision),
    /// A schema id of a service refers to no content.
    SchemaRefDeleted(Tenant, ServiceId, Arc<str>),
    /// Schema id and summary, written at this revision.
    SchemaSummaryPut(Tenant, ServiceId, Arc<str>, Arc<str>, Revision),
    /// Schema id.
    SchemaSummaryDeleted(Tenant, ServiceId, Arc<str>),
    /// The providers of this version of a consumer were written at this revision.
    ConsumerRulePut(ServiceName, Arc<str>, Arc<Partners>, Revision),
    /// This version of a consumer has no providers.
    ConsumerRuleDeleted(ServiceName, Arc<str>),
    /// The consumers of a provider were written at this revision. The text is the version in the rule's key.
    ProviderRulePut(ServiceName, Arc<str>, Arc<Partners>, Revision),
    /// A provider has no consumers under this version key.
    ProviderRuleDeleted(ServiceName, Arc<str>),
    /// A dependency request waits under this key. If it removes the dependencies of a deleted consumer, that consumer.
    DependencyQueued(Arc<str>, Option<(Tenant, ServiceId)>),
    /// The dependency request under this key was taken from the queue. If it removes the dependencies of a deleted consumer,
    /// that consumer.
    DependencyTaken(Arc<str>, Option<(Tenant, ServiceId)>),
    InstancePut(InstanceRef, PutKind, InstanceRecord),
    InstanceDeleted(InstanceRef),
    /// The instance is attached to this lease.
    LeasePut(InstanceRef, i64),
    /// The instance is attached to no lease.
    LeaseDeleted(InstanceRef),
    /// An instance unregistered after its lease, the one given here, had ended.
    LateGoodbye(InstanceRef, i64),
    /// Somebody has released the expiries of a service: no node shows its expired instances any more.
    ExpiriesReleased(Tenant, ServiceId),
    /// A request has replaced the properties of an instance. They stay when the instance registers again.
    OverridePut(InstanceRef),
    /// A new registration replaces the properties of the instance again.
    OverrideDeleted(InstanceRef),
    /// The domain has a key in the store.
    DomainPut(Arc<str>),
    DomainDeleted(Arc<str>),
    /// The project has a key in the store.
    ProjectPut(Tenant),
    ProjectDeleted(Tenant),
    /// The account of this name was written at this revision.
    AccountPut(Arc<str>, Arc<Account>, Revision),
    AccountDeleted(Arc<str>),
    /// The role of this name was written at this revision.
    RolePut(Arc<str>, Arc<Role>, Revision),
    RoleDeleted(Arc<str>),
    /// The lock with this key, `<account>::<address>`, was written.
    AccountLockPut(Arc<str>, Arc<AccountLock>),
    AccountLockDeleted(Arc<str>),
}
