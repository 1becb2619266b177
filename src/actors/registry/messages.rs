//! The messages of the RegistryActor: one message for each operation.

use std::fmt;
use std::sync::Arc;

use actix::Message;

use crate::cache::find::NewDependency;
use crate::clock::Monotonic;
use crate::domain::dependency::Dependency;
use crate::domain::event::Revision;
use crate::domain::instance::PropertiesFrom;
use crate::domain::json::TextMap;
use crate::domain::schema::Schema;
use crate::domain::validate::flag::Force;
use crate::domain::{Instance, InstanceId, Service, ServiceId, Tenant};
use crate::error::Error;
use crate::store::Key;

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    pub value: T,
    /// The snapshot shows the write once it holds this revision. `None` if nothing was written.
    pub revision: Option<Revision>,
}

pub type WriteReply<T> = Result<Committed<T>, Error>;

/// The author of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A client. Quotas apply. Writes to the registry's own service and its instances are rejected with 403001.
    Client,
    /// This node, for its own service and instance. No quota applies.
    Node,
}

/// Registers a service. If the service exists, nothing is written, and its id is the answer.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<ServiceId>")]
pub struct RegisterService {
    pub tenant: Tenant,
    /// The validated document, with defaults applied.
    pub service: Service,
    pub author: Author,
}

/// Deletes a service with all that belongs to it.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct UnregisterService {
    pub tenant: Tenant,
    pub service: ServiceId,
    /// Whether it is deleted even if it has instances or consumers.
    pub force: Force,
}

/// Deletes a service version that the retirement job has chosen, whether or not it has consumers. Rejected with
/// [`Code::ServiceHasInstances`](crate::error::Code::ServiceHasInstances) if it has instances at the time of the write.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RetireService {
    pub tenant: Tenant,
    pub service: ServiceId,
}

/// Deletes a service that the retirement job has found empty for long enough, together with its mark. Rejected with
/// [`Code::ServiceHasInstances`](crate::error::Code::ServiceHasInstances) if the service was used since the mark was put, with
/// [`Code::ServiceHasConsumers`](crate::error::Code::ServiceHasConsumers) if it has consumers.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RetireEmptyService {
    pub tenant: Tenant,
    pub service: ServiceId,
    /// The service was empty at this revision.
    pub empty_at: Revision,
    /// The revision at which the mark was put. If the mark has changed since, a node has seen that the service is used.
    pub marked_at: Revision,
}

/// Deletes schema contents, except those that a service of the tenant refers to at the time of the write.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<usize>")]
pub struct RetireSchemaContents {
    pub tenant: Tenant,
    pub hashes: Vec<Arc<str>>,
}

/// Replaces the properties of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ReplaceServiceProperties {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub properties: TextMap,
}

/// A change of a service's tags.
#[derive(Debug)]
pub enum TagChange {
    /// Replaces all tags by these.
    Replace(TextMap),
    /// Sets the value of an existing tag.
    Set { key: String, value: String },
    /// Removes these tags. All of them must exist.
    Remove(Vec<String>),
}

/// Changes the tags of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ChangeTags {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub change: TagChange,
}

/// What happens to the lease of an instance that registers again with an equal document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormerLease {
    /// The lease is renewed, and nothing is written.
    Renewed,
    /// A new lease replaces it, because another process registers than the process that the lease was granted for.
    Replaced,
}

/// Registers an instance, or takes a changed document of a known instance. The status of a known instance stays, and so do
/// properties that a request has replaced. (If the author is a node, both come from the document.)
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<InstanceId>")]
pub struct RegisterInstance {
    pub tenant: Tenant,
    pub service: ServiceId,
    /// The validated document as sent.
    pub instance: Box<Instance>,
    /// What happens to the lease of a known instance.
    pub former_lease: FormerLease,
    pub author: Author,
    /// When the sender stops waiting for the answer. An instance that is written later is taken back if only this node knows its id:
    /// its owner was answered an error, and will register again. `None`: the sender waits.
    pub answer_by: Option<Monotonic>,
}

/// Writes an instance again, with the same id and document, whose lease expired although heartbeats came. Nothing is written if
/// the instance is there or its owner has said goodbye.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RestoreInstance {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub instance: InstanceId,
    /// The document that was stored.
    pub json: bytes::Bytes,
    /// Where its properties come from.
    pub properties: PropertiesFrom,
    /// The lease that has expired.
    pub former_lease: i64,
}

/// Unregisters an instance for its owner. Nothing is written if a key begins with `unless_below`.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct UnregisterInstance {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub instance: InstanceId,
    pub author: Author,
    /// The instance stays if a key begins with this prefix.
    pub unless_below: Option<Key>,
}

/// Releases the expiries of a service: no node shows its expired instances any longer.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ReleaseExpiries {
    pub tenant: Tenant,
    pub service: ServiceId,
}

/// A change of an instance document.
#[derive(Clone, Debug)]
pub enum InstanceEdit {
    /// Sets the status.
    Status(String),
    /// Sets the status as part of [`ChangeStatusWhere`], which leaves `modTimestamp` as it is.
    BulkStatus(String),
    /// Replaces the properties by these, and adds the configured properties.
    Properties(TextMap),
    /// Adds the configured properties that are missing.
    AddConfigured,
}

/// Changes an instance document. Its lease stays.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ChangeInstance {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub instance: InstanceId,
    pub change: InstanceEdit,
}

/// Sets the status of every instance of a tenant that has all of these properties, except the registry's own instances.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<usize>")]
pub struct ChangeStatusWhere {
    pub tenant: Tenant,
    /// At least one property.
    pub properties: TextMap,
    pub status: String,
}

/// Writes one schema of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct PutSchema {
    pub tenant: Tenant,
    pub service: ServiceId,
    /// Id, summary and text.
    pub schema: Schema,
}

/// Replaces all schemas of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ReplaceSchemas {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub schemas: Vec<Schema>,
}

/// Deletes a schema of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct DeleteSchema {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub schema: Arc<str>,
}

/// The schemas to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaSelection {
    One(Arc<str>),
    All,
}

/// Accounts for the memory of texts read from the store, until it is dropped.
pub trait TextSpace: fmt::Debug + Send {
    /// Takes memory so that it covers this many bytes. The error is for the client, if there is not enough memory.
    fn grow_to(&mut self, bytes: usize) -> Result<(), Error>;
}

/// Schemas with their texts, and the memory that they take.
#[derive(Debug)]
pub struct SchemasWithTexts {
    pub schemas: Vec<Schema>,
    pub space: Box<dyn TextSpace>,
}

/// Reads schemas with their texts. No snapshot holds the texts.
#[derive(Debug, Message)]
#[rtype(result = "Result<SchemasWithTexts, Error>")]
pub struct ReadSchemas {
    pub tenant: Tenant,
    pub service: ServiceId,
    pub selection: SchemaSelection,
    /// Grows with each text.
    pub space: Box<dyn TextSpace>,
}

/// Whether providers are added to the existing ones or replace them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    Add,
    Replace,
}

/// Adds or replaces dependencies of consumers.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ChangeDependencies {
    pub tenant: Tenant,
    /// The validated requests as sent.
    pub requests: Vec<Dependency>,
    pub merge: Merge,
}

/// Records a dependency that a find has shown.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RecordDependency {
    pub tenant: Tenant,
    pub dependency: NewDependency,
}

/// Writes the server record if the stored one names an older version.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct RecordServerVersion {
    /// The version that the node registers under.
    pub version: String,
    pub environment: String,
}
