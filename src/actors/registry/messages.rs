//! What the RegistryActor takes: one message and one reply type an operation.

use std::fmt;
use std::sync::Arc;

use actix::Message;

use crate::cache::find::NewDependency;
use crate::domain::dependency::Dependency;
use crate::domain::event::Revision;
use crate::domain::instance::PropertiesFrom;
use crate::domain::json::TextMap;
use crate::domain::schema::Schema;
use crate::domain::validate::flag::Force;
use crate::domain::{Instance, InstanceId, Service, ServiceId, Tenant};
use crate::error::Error;
use crate::store::Key;

/// An answered write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed<T> {
    /// The reply.
    pub value: T,
    /// The snapshot holds the write once it holds this revision; `None` if nothing was written.
    pub revision: Option<Revision>,
}

/// What every operation answers.
pub type WriteReply<T> = Result<Committed<T>, Error>;

/// Who asks for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// A client. Quotas count, and the registry's own service and its instances are out of reach: 403001.
    Client,
    /// This node, for its own service and instance. No quota counts.
    Node,
}

/// Registers a service; an existing one is answered as it is.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<ServiceId>")]
pub struct RegisterService {
    /// Tenant.
    pub tenant: Tenant,
    /// The valid document, defaults applied.
    pub service: Service,
    /// Who asks.
    pub author: Author,
}

/// Deletes a service with all that belongs to it.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct UnregisterService {
    /// Tenant.
    pub tenant: Tenant,
    /// Which.
    pub service: ServiceId,
    /// Also with instances or consumers.
    pub force: Force,
}

/// Deletes a service version that the retirement job has chosen: as a forced deletion, consumers or not, but refused with
/// [`Code::ServiceHasInstances`](crate::error::Code::ServiceHasInstances) if it has instances when it is written.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RetireService {
    /// Tenant.
    pub tenant: Tenant,
    /// Which.
    pub service: ServiceId,
}

/// Deletes schema contents that no service of the tenant refers to when they are deleted; the others stay.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<usize>")]
pub struct RetireSchemaContents {
    /// Tenant.
    pub tenant: Tenant,
    /// Hashes of the contents.
    pub hashes: Vec<Arc<str>>,
}

/// Replaces the properties of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ReplaceServiceProperties {
    /// Tenant.
    pub tenant: Tenant,
    /// Which.
    pub service: ServiceId,
    /// All of them.
    pub properties: TextMap,
}

/// A change of a service's tags.
#[derive(Debug)]
pub enum TagChange {
    /// Exactly these.
    Replace(TextMap),
    /// Another value for a tag that exists.
    Set {
        /// The tag.
        key: String,
        /// Its value.
        value: String,
    },
    /// Without these, which must all exist.
    Remove(Vec<String>),
}

/// Changes the tags of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ChangeTags {
    /// Tenant.
    pub tenant: Tenant,
    /// Which.
    pub service: ServiceId,
    /// How.
    pub change: TagChange,
}

/// What becomes of the lease of an instance that registers again with an equal document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormerLease {
    /// It is renewed, and nothing is written.
    Renewed,
    /// A new one takes its place: who registers is another process than the one the lease was granted for.
    Replaced,
}

/// Registers an instance, or takes a changed document of a known one, whose status stays, and properties that were replaced
/// by a request. (A node that registers itself is up.)
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<InstanceId>")]
pub struct RegisterInstance {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// The valid document as sent.
    pub instance: Instance,
    /// The lease of a known one.
    pub former_lease: FormerLease,
    /// Who asks.
    pub author: Author,
}

/// Writes an instance again that its store let expire although it kept beating: same id, same document. No revision is
/// answered if nothing was written: it is there, or its owner has said goodbye.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RestoreInstance {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// Instance.
    pub instance: InstanceId,
    /// The document as it was stored.
    pub json: bytes::Bytes,
    /// Whose its properties are.
    pub properties: PropertiesFrom,
    /// The lease that has ended.
    pub former_lease: i64,
}

/// An owner says goodbye. No revision is answered if nothing was written: somebody else stands behind the instance.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct UnregisterInstance {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// Instance.
    pub instance: InstanceId,
    /// Who asks.
    pub author: Author,
    /// It stays if a key begins with this.
    pub unless_below: Option<Key>,
}

/// A change of an instance document.
#[derive(Clone, Debug)]
pub enum InstanceEdit {
    /// Another status.
    Status(String),
    /// Another status by a change of many, which leaves `modTimestamp` alone.
    BulkStatus(String),
    /// Exactly these properties, and the configured ones.
    Properties(TextMap),
    /// The configured properties that are missing.
    AddConfigured,
}

/// Changes an instance document; its lease stays.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ChangeInstance {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// Instance.
    pub instance: InstanceId,
    /// How.
    pub change: InstanceEdit,
}

/// Sets the status of every instance of a tenant that has all of these properties, but for the registry's own instances.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<usize>")]
pub struct ChangeStatusWhere {
    /// Tenant.
    pub tenant: Tenant,
    /// Properties to have, one at least.
    pub properties: TextMap,
    /// The status.
    pub status: String,
}

/// Writes one schema of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct PutSchema {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// Id, summary and text.
    pub schema: Schema,
}

/// Replaces all schemas of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ReplaceSchemas {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// All of them.
    pub schemas: Vec<Schema>,
}

/// Deletes a schema of a service.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct DeleteSchema {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// Schema id.
    pub schema: Arc<str>,
}

/// Which schemas of a service to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaSelection {
    /// One.
    One(Arc<str>),
    /// All, with their texts.
    All,
}

/// The memory that texts from the store take, until it is dropped.
pub trait TextSpace: fmt::Debug + Send {
    /// Takes what is missing to hold so many bytes; what the client is told if there is no more.
    fn grow_to(&mut self, bytes: usize) -> Result<(), Error>;
}

/// Schemas with their texts, and what they take of memory.
#[derive(Debug)]
pub struct SchemasWithTexts {
    /// The schemas.
    pub schemas: Vec<Schema>,
    /// Their memory.
    pub space: Box<dyn TextSpace>,
}

/// Reads schema texts, which no snapshot holds.
#[derive(Debug, Message)]
#[rtype(result = "Result<SchemasWithTexts, Error>")]
pub struct ReadSchemas {
    /// Tenant.
    pub tenant: Tenant,
    /// Service.
    pub service: ServiceId,
    /// Which.
    pub selection: SchemaSelection,
    /// Grows with each text that is read.
    pub space: Box<dyn TextSpace>,
}

/// Whether providers are added to those there are, or take their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// These too.
    Add,
    /// Exactly these.
    Replace,
}

/// Adds or replaces dependencies of consumers.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct ChangeDependencies {
    /// Tenant.
    pub tenant: Tenant,
    /// Requests with valid members, as sent.
    pub requests: Vec<Dependency>,
    /// How they go with the providers there are.
    pub merge: Merge,
}

/// Records a dependency a find has shown.
#[derive(Debug, Message)]
#[rtype(result = "WriteReply<()>")]
pub struct RecordDependency {
    /// Tenant of the consumer.
    pub tenant: Tenant,
    /// The dependency.
    pub dependency: NewDependency,
}

/// Writes the server record if it says less than this version.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Error>")]
pub struct RecordServerVersion {
    /// Version the node registers itself under.
    pub version: String,
    /// Configured environment.
    pub environment: String,
}
