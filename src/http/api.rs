//! The state that all handlers share: the snapshot, the addresses of the actors, and the configured rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Handler, Message};
use bytes::Bytes;
use serde::Serialize;

use crate::actors::account::AccountActor;
use crate::actors::beats::Beats;
use crate::actors::consumer::ConsumerActor;
use crate::actors::contact::Contact;
use crate::actors::freshness::Freshness;
use crate::actors::hub::HubActor;
use crate::actors::interests::Interests;
use crate::actors::mailbox::{Mailbox, Refused, Resident, Work, ask_if_free, tell};
use crate::actors::nodes::NodesActor;
use crate::actors::pollers::Pollers;
use crate::actors::registry::RegistryActor;
use crate::actors::registry::messages::{Committed, WriteReply};
use crate::actors::retire::RetireActor;
use crate::actors::scrub::ScrubActor;
use crate::actors::watch::WatchActor;
use crate::cache::SnapshotReader;
use crate::clock::{Clock, Monotonic, Stopwatch};
use crate::domain::dependency::CrossDomain;
use crate::domain::event::Revision;
use crate::domain::json::TextMap;
use crate::domain::quota::Quotas;
use crate::domain::shared::SharedServices;
use crate::domain::validate::size::SizeLimits;
use crate::error::{Code, Error};
use crate::http::accounts::AccountApi;
use crate::http::answer_memory::AnswerMemory;
use crate::http::event_streams::EventStreams;
use crate::http::node::ThisNode;
use crate::http::reply::Reply;
use crate::http::search_texts::SearchTexts;
use crate::http::slices::{self, Turns, Walk};
use crate::http::spec::Load;
use crate::metrics;
use crate::recorder::RecordReader;
use crate::tls::files::FileSets;
use crate::trace::{self, StepKind};

/// A write that takes longer is answered with an error: its outcome is unknown.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// The part of [`WRITE_LIMIT`] that is kept for bringing the answer from the actor to the request.
const ANSWER_TIME: Duration = Duration::from_millis(200);
/// How long a committed write waits until the snapshot of this node holds it, before it is answered.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(1);

/// The state that all handlers share. Clones share it too.
#[derive(Clone)]
pub struct Api {
    pub reader: SnapshotReader,
    pub registry: Mailbox<RegistryActor>,
    pub hub: Mailbox<HubActor>,
    pub watch: Mailbox<WatchActor>,
    pub retire: Mailbox<RetireActor>,
    pub scrub: Mailbox<ScrubActor>,
    pub nodes: Mailbox<NodesActor>,
    pub beats: Beats,
    pub freshness: Freshness,
    /// The providers that consumers look for in vain.
    pub interests: Interests,
    /// The consumers that find providers.
    pub pollers: Pollers,
    pub consumers: Mailbox<ConsumerActor>,
    /// Whether the store answers, and since when it does not.
    pub contact: Contact,
    /// Answers what happened.
    pub record: RecordReader,
    /// The memory limit of all answers together.
    pub answers: Arc<AnswerMemory>,
    pub node: Arc<ThisNode>,
    /// The OpenAPI document, as JSON.
    pub openapi: Bytes,
    pub clock: Clock,
    /// The certificates in use, for metrics.
    pub file_sets: FileSets,
    pub rules: ApiRules,
    /// Large answers are built one after another.
    pub turns: Turns,
    /// What searches keep.
    pub search_texts: SearchTexts,
    /// `None` while accounts are off.
    pub accounts: Option<AccountApi>,
    /// The streams of events that are open.
    pub streams: EventStreams,
}

/// The configuration that handlers need.
#[derive(Clone, Debug)]
pub struct ApiRules {
    pub quotas: Quotas,
    pub sizes: SizeLimits,
    pub shared: SharedServices,
    /// Whether a consumer may depend on a provider of another domain.
    pub cross_domain: CrossDomain,
    /// Properties that the registry adds to every instance.
    pub instance_properties: TextMap,
    /// How many services and instances, counted together, a batch find may name.
    pub max_batch: usize,
    pub schema_writes: SchemaWrites,
    pub console: ConsoleWrites,
    pub metrics: MetricsRules,
    pub clusters: Clusters,
    /// The time between two pings on a websocket whose pongs are heartbeats.
    pub heartbeat_ping: Duration,
}

/// The stores that the configuration names.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    /// The name of the cluster of this node.
    pub own: String,
    /// The addresses of each cluster, by name.
    pub addresses: BTreeMap<String, Vec<String>>,
}

/// Whether schemas may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaWrites {
    Enabled,
    /// `registry.schema.disable` is on.
    Disabled,
}

/// Whether the console offers to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleWrites {
    Offered,
    /// Only in a browser on the machine of the node.
    OfferedHere,
    Hidden,
}

#[derive(Clone, Debug)]
pub struct MetricsRules {
    pub endpoint: MetricsEndpoint,
    /// The address of this node, `10.12.0.1:30100`: the label `instance` of the original's families.
    pub instance: String,
    /// The release of the original server whose API this one speaks.
    pub api_version: String,
}

/// What `GET /metrics` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsEndpoint {
    Open,
    /// Only what the kernel counts of the process, because `metrics.enable` is off.
    ProcessOnly,
    /// The answer is 404, because `metrics.exporter` is not `prometheus`.
    Closed,
}

impl Api {
    /// What the routes of accounts need. They are served only while accounts are on.
    pub fn accounts(&self) -> Result<&AccountApi, Error> {
        self.accounts.as_ref().ok_or_else(|| Error::new(Code::Internal, "accounts are off"))
    }

    /// Sends a write to the RegistryActor, and waits until reads on this node show the result.
    pub async fn write<M, T>(&self, message: M) -> Result<T, Error>
    where
        RegistryActor: Handler<Work<M>>,
        M: Message<Result = WriteReply<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.write_to(&self.registry, message).await.map(|reply| reply.value)
    }

    /// As [`Self::write`]; also returns the revision at which snapshots show the result.
    pub async fn write_at<M, T>(&self, message: M) -> Result<(T, Option<Revision>), Error>
    where
        RegistryActor: Handler<Work<M>>,
        M: Message<Result = WriteReply<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.write_to(&self.registry, message).await.map(|reply| (reply.value, reply.revision))
    }

    /// When a write that is sent now is answered at the latest, with a little time left for the answer.
    pub fn answer_by(&self) -> Monotonic {
        self.clock.monotonic() + (WRITE_LIMIT - ANSWER_TIME)
    }

    /// As [`Self::write`], for a write of accounts or roles.
    pub async fn write_access<M, T>(&self, message: M) -> Result<T, Error>
    where
        AccountActor: Handler<Work<M>>,
        M: Message<Result = WriteReply<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.write_to(&self.accounts()?.actor, message).await.map(|reply| reply.value)
    }

    async fn write_to<A, M, T>(&self, actor: &Mailbox<A>, message: M) -> Result<Committed<T>, Error>
    where
        A: Resident + Handler<Work<M>>,
        M: Message<Result = WriteReply<T>> + Send + 'static,
        T: Send + 'static,
    {
        // A full mailbox is an error at once: a client that waited for a place would learn only after 5 s that the node is busy.
        let reply = ask_if_free(actor, message, WRITE_LIMIT).await.map_err(refused)??;
        if let Some(revision) = reply.revision {
            let began = Stopwatch::start();
            let mut step = trace::step("snapshot publish", StepKind::Internal);
            step.note("service_center.revision", revision);
            if tokio::time::timeout(SNAPSHOT_LIMIT, self.reader.wait_for(revision)).await.is_err() {
                // The write is committed, so the answer is a success.
                metrics::SNAPSHOT_WAIT_EXPIRED.add(1);
                step.fail(&"the snapshot did not hold the write in time");
            }
            metrics::WATCH_LAG_TIME.observe(began.elapsed());
        }
        Ok(reply)
    }

    /// 200 with a value as JSON. An error if the answer is too large, or if the answers that clients have not read yet take too
    /// much memory.
    pub fn encoded(&self, load: Load, value: &impl Serialize) -> Result<Reply, Error> {
        let (body, space) = self.answers.encode(load, value)?;
        Ok(Reply::json(body).holding(space))
    }

    /// 200 with the JSON document that a walk writes, built in slices. The errors are those of [`Self::encoded`].
    pub async fn built(&self, walk: &impl Walk) -> Result<Reply, Error> {
        slices::built(&self.answers, &self.turns, walk).await
    }

    /// Sends a message to the RegistryActor, and waits up to [`WRITE_LIMIT`] for the reply.
    pub async fn ask_registry<M>(&self, message: M) -> Result<M::Result, Error>
    where
        RegistryActor: Handler<Work<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        // A full mailbox is an error at once: a client that waited for a place would learn only after 5 s that the node is busy.
        ask_if_free(&self.registry, message, WRITE_LIMIT).await.map_err(refused)
    }

    /// Sends a message to the RegistryActor and does not wait. If the mailbox is full, the message is dropped.
    pub fn tell_registry<M>(&self, message: M)
    where
        RegistryActor: Handler<Work<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if let Err(why) = tell(&self.registry, message) {
            log::debug!("dropped a message to the RegistryActor: {why}");
        }
    }
}

/// The error for a client whose request an actor did not handle.
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
