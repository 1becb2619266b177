//! Drains: an instance is taken out of service, and the answer says which consumers have learned of it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Handler, Message};

use crate::actors::cluster::{address, registered};
use crate::actors::consumer::ConsumerActor;
use crate::actors::consumer::messages::{
    DrainId, DrainReceipt, DrainWritten, EndDrain, MissingConsumer, StartDrain,
};
use crate::actors::mailbox::{Mailbox, Work, ask_if_free, tell};
use crate::actors::registry::RegistryActor;
use crate::actors::registry::messages::{ChangeInstance, InstanceEdit, WriteReply};
use crate::cache::Snapshot;
use crate::config::parse_duration;
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::shape::Shaped as _;
use crate::domain::time::rfc3339;
use crate::domain::validate::instance as valid;
use crate::domain::{InstanceId, ServiceId};
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::dto::drain::{Missing, MissingService, Receipt};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Parameter, Success};
use crate::rbac::{Grant, Resource, Verb};

pub const DRAIN: Operation = Operation::new(
    "instances",
    "drainInstance",
    "Sets the status of an instance to `OUTOFSERVICE`, and answers when every consumer known to use the service has been sent the \
     change or has asked again, or when the time is over.",
)
.with(&[WAIT_FOR_DRAIN])
.answers(Success::Json(Receipt::SHAPE))
.fails_with(&[Code::ServiceNotExists, Code::InstanceNotExists, Code::Forbidden]);

const WAIT_FOR_DRAIN: Parameter = Parameter::query(
    "wait",
    "How long the answer waits at most, such as `30s` or `1m30s`: up to `5m`. By default `30s`.",
)
.matching(DURATION);

/// The parameter of the deletion of an instance.
pub const WAIT: Parameter = Parameter::query(
    "wait",
    "How long the answer waits at most until the consumers have learned of it, such as `30s`: up to `5m`. The answer then has a \
     receipt. Without this parameter the answer comes at once, and has no body.",
)
.matching(DURATION);

/// A duration in Go's syntax.
const DURATION: &str = r"^\+?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+)$";

/// The longest wait. Kubernetes and clients give up before.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const USUAL_WAIT: Duration = Duration::from_secs(30);
/// How long the ConsumerActor may take to begin. It writes one key.
const START_LIMIT: Duration = Duration::from_secs(5);

/// `POST …/instances/{instanceId}/drain?wait=`.
pub async fn drain(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    const STATUS: &str = "OUTOFSERVICE";
    let wait = wait_of(&call)?.unwrap_or(USUAL_WAIT);
    let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
    valid::status(service, instance, STATUS)?;
    let at = instance_of(&call);
    let (tenant, service, instance) = (at.tenant.clone(), at.service.clone(), at.instance.clone());
    let change = InstanceEdit::Status(STATUS.to_owned());
    with_receipt(&api, &call, at, wait, ChangeInstance { tenant, service, instance, change }).await
}

/// The value of `wait`. 400001 for anything but a duration up to [`LONGEST_WAIT`].
pub fn wait_of(call: &Call) -> Result<Option<Duration>, Error> {
    let Some(text) = call.query("wait") else { return Ok(None) };
    match parse_duration(&text) {
        Ok(wait) if wait <= LONGEST_WAIT => Ok(Some(wait)),
        Ok(_) => Err(Error::invalid("wait: a drain waits for 5m at most")),
        Err(wrong) => Err(Error::invalid(format!("wait: {wrong}"))),
    }
}

/// The instance in the path.
pub fn instance_of(call: &Call) -> InstanceRef {
    InstanceRef {
        tenant: call.tenant().clone(),
        service: ServiceId::from(call.param("serviceId")),
        instance: InstanceId::from(call.param("instanceId")),
    }
}

/// Writes a change of an instance, and waits until its consumers have learned of it.
pub async fn with_receipt<M>(
    api: &Api,
    call: &Call,
    at: InstanceRef,
    wait: Duration,
    change: M,
) -> Result<Reply, Error>
where
    RegistryActor: Handler<Work<M>>,
    M: Message<Result = WriteReply<()>> + Send + 'static,
{
    // Counting begins before the change, so that no find after it is missed.
    let started = ask_if_free(&api.consumers, StartDrain(at), START_LIMIT).await.map_err(refused)??;
    let mut receipts = started.receipt;
    let drain = RunningDrain { consumers: api.consumers.clone(), id: started.id };
    let ((), revision) = api.write_at(change).await?;
    tell(&api.consumers, DrainWritten { id: drain.id, revision: revision.unwrap_or_default() })
        .map_err(refused)?;
    let is_complete = |receipt: &DrainReceipt| receipt.is_complete();
    let waited = tokio::time::timeout(wait, receipts.wait_for(is_complete)).await;
    drop(waited);
    let receipt = receipts.borrow().clone();
    drop(drain);
    api.encoded(Load::Store, &answer(api, call, &receipt, revision))
}

/// Ends a drain when its answer is made, or when its request is dropped. HTTP/2 drops the request of a client that has gone. HTTP/1.1
/// does not, on purpose: the status is written by then, and the drain goes on until the consumers know or its wait is over.
struct RunningDrain {
    consumers: Mailbox<ConsumerActor>,
    id: DrainId,
}

impl Drop for RunningDrain {
    fn drop(&mut self) {
        // If the mailbox is full, the drain ends all the same, because nobody reads its receipt any more.
        let _ = tell(&self.consumers, EndDrain(self.id));
    }
}

fn answer(api: &Api, call: &Call, receipt: &DrainReceipt, revision: Option<Revision>) -> Receipt {
    let snapshot = api.reader.load();
    let uncounted = uncounted(&snapshot, &receipt.nodes);
    let number = |count: usize| i64::try_from(count).ok();
    // The right to change an instance is none to read its consumers.
    let readable = match call.caller() {
        Some(caller) => caller.decide(Verb::Get, Resource::Service, &[]).ok(),
        None => Some(Grant::All),
    };
    let named = receipt.missing.iter().filter(|missing| is_shown(&snapshot, readable.as_ref(), missing));
    Receipt {
        revision,
        seen: number(receipt.seen),
        of: number(receipt.of),
        complete: Some(receipt.is_complete() && uncounted.is_empty()),
        missing: Some(named.map(|missing| shown(&snapshot, missing)).collect()),
        silent: Some(receipt.silent.clone()),
        uncounted: Some(uncounted),
    }
}

/// Whether a caller who may read this sees a consumer. A consumer that is gone has no labels.
fn is_shown(snapshot: &Snapshot, readable: Option<&Grant>, missing: &MissingConsumer) -> bool {
    let consumer = snapshot.service(&missing.tenant, missing.consumer.as_str());
    readable.is_some_and(|grant| {
        *grant == Grant::All
            || consumer.is_some_and(|consumer| {
                let of = &consumer.record.document;
                grant.shows(&of.environment, &of.app_id, &of.service_name)
            })
    })
}

fn shown(snapshot: &Snapshot, missing: &MissingConsumer) -> Missing {
    let mut consumer = MissingService {
        tenant: missing.tenant.to_string(),
        service_id: missing.consumer.to_string(),
        ..MissingService::default()
    };
    if let Some(service) = snapshot.service(&missing.tenant, missing.consumer.as_str()) {
        let document = &service.record.document;
        consumer.environment.clone_from(&document.environment);
        consumer.app_id.clone_from(&document.app_id);
        consumer.service_name.clone_from(&document.service_name);
        consumer.version.clone_from(&document.version);
    }
    Missing {
        consumer: Some(consumer),
        client: missing.client.map(|client| client.to_string()).unwrap_or_default(),
        node: missing.node.clone(),
        last: missing.last.map(rfc3339).unwrap_or_default(),
    }
}

/// The addresses of registered nodes that take no part: those of the original server, and those whose lease has ended, because they
/// are dead or cut off from the store.
fn uncounted(snapshot: &Snapshot, counted: &[String]) -> Vec<String> {
    let counted: HashSet<&str> = counted.iter().map(String::as_str).collect();
    let endpoints = registered(snapshot).into_iter().flat_map(|node| node.document.endpoints);
    let addresses = endpoints.map(|endpoint| address(&endpoint).to_owned());
    let mut others: Vec<String> = addresses.filter(|address| !counted.contains(address.as_str())).collect();
    others.sort();
    others.dedup();
    others
}
