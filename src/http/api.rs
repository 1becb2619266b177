//! What handlers work with: the snapshot, the actors' addresses, the rules as configured.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Handler, Message};
use bytes::Bytes;
use serde::Serialize;

use crate::actors::beats::Beats;
use crate::actors::contact::Contact;
use crate::actors::freshness::Freshness;
use crate::actors::hub::HubActor;
use crate::actors::mailbox::{Mailbox, Refused, Work, ask_if_free, tell};
use crate::actors::registry::RegistryActor;
use crate::actors::registry::messages::WriteReply;
use crate::actors::watch::WatchActor;
use crate::cache::SnapshotReader;
use crate::clock::Clock;
use crate::domain::dependency::CrossDomain;
use crate::domain::json::TextMap;
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;
use crate::domain::validate::size::SizeLimits;
use crate::error::{Code, Error};
use crate::http::answer_memory::AnswerMemory;
use crate::http::node::Node;
use crate::http::reply::Reply;
use crate::http::spec::Load;
use crate::metrics;

/// How long a write may take in all before the client is told that its outcome is unknown.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer to a write waits for the snapshot to hold it.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(1);

/// What handlers work with. Clones share everything.
#[derive(Clone)]
pub struct Api {
    /// Reads.
    pub reader: SnapshotReader,
    /// Writes.
    pub registry: Mailbox<RegistryActor>,
    /// Watchers.
    pub hub: Mailbox<HubActor>,
    /// Held expiries.
    pub watch: Mailbox<WatchActor>,
    /// Heartbeats.
    pub beats: Beats,
    /// Reads that must not be stale.
    pub freshness: Freshness,
    /// Whether the store answers.
    pub contact: Contact,
    /// What answers may hold of memory.
    pub answers: Arc<AnswerMemory>,
    /// What this node says of itself.
    pub node: Arc<Node>,
    /// The OpenAPI document.
    pub openapi: Bytes,
    /// Time.
    pub clock: Clock,
    /// Rules.
    pub rules: ApiRules,
}

/// What configuration says to handlers.
#[derive(Clone, Debug)]
pub struct ApiRules {
    /// Quotas.
    pub quotas: Quotas,
    /// Most bytes of an object.
    pub sizes: SizeLimits,
    /// Shared services and the node's environment.
    pub shared: SharedServices,
    /// Whether a dependency may lead to another domain.
    pub cross_domain: CrossDomain,
    /// Pairs every instance must have.
    pub instance_properties: TextMap,
    /// Services and instances that a batch find may name.
    pub max_batch: usize,
    /// Whether schemas may be written.
    pub schema_writes: SchemaWrites,
    /// Whether `GET /metrics` is answered.
    pub metrics: MetricsEndpoint,
    /// How often a websocket that is a heartbeat is pinged.
    pub heartbeat_ping: Duration,
}

/// Whether schemas may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaWrites {
    /// By everyone.
    Enabled,
    /// By nobody: `registry.schema.disable`.
    Disabled,
}

/// Whether `GET /metrics` is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsEndpoint {
    /// With what the process counts.
    Open,
    /// With 404: `metrics.enable` is off, or `metrics.exporter` is not `prometheus`.
    Closed,
}

impl Api {
    /// Has the RegistryActor do something, and waits until this node's own reads show it.
    pub async fn write<M, T>(&self, message: M) -> Result<T, Error>
    where
        RegistryActor: Handler<Work<M>>,
        M: Message<Result = WriteReply<T>> + Send + 'static,
        T: Send + 'static,
    {
        let reply = self.ask_registry(message).await??;
        if let Some(revision) = reply.revision
            && tokio::time::timeout(SNAPSHOT_LIMIT, self.reader.wait_for(revision)).await.is_err()
        {
            // Committed all the same.
            metrics::SNAPSHOT_WAIT_EXPIRED.add(1);
        }
        Ok(reply.value)
    }

    /// 200 with a value as JSON. Refused if it is too large, or if too many answers wait to be taken.
    pub fn encoded(&self, load: Load, value: &impl Serialize) -> Result<Reply, Error> {
        let (body, space) = self.answers.encode(load, value)?;
        Ok(Reply::json(body).holding(space))
    }

    /// Asks the RegistryActor within a limit.
    pub async fn ask_registry<M>(&self, message: M) -> Result<M::Result, Error>
    where
        RegistryActor: Handler<Work<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        // A client must not wait for a place: it would learn only after the limit that the node is busy.
        ask_if_free(&self.registry, message, WRITE_LIMIT).await.map_err(refused)
    }

    /// Has the RegistryActor do something nobody waits for; it is left out when the actor is busy.
    pub fn tell_registry<M>(&self, message: M)
    where
        RegistryActor: Handler<Work<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if let Err(why) = tell(&self.registry, message) {
            log::debug!("left out: {why}");
        }
    }
}

/// Why an actor does not do what it was asked.
pub(super) fn refused(why: Refused) -> Error {
    match why {
        Refused::Full => {
            metrics::REFUSED_FOR_LOAD.add(1);
            Error::new(Code::Overloaded, "")
        }
        Refused::Late => Error::new(Code::Unavailable, "the store did not answer in time"),
        Refused::Gone => Error::new(Code::Unavailable, "the node is stopping"),
    }
}
