//! Heartbeats, one or many in a request. A heartbeat marks the lease of an instance in the snapshot, and is answered. The
//! LeaseActor renews the marked leases soon after.

use std::sync::Arc;

use crate::actors::beats::BeatTaken;
use crate::actors::registry::messages::{ChangeInstance, InstanceEdit};
use crate::cache::snapshot::Snapshot;
use crate::domain::event::InstanceRef;
use crate::domain::json;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::instance::{self as valid, InstanceRequest};
use crate::domain::{Instance, InstanceId, ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::{Answer, Call};
use crate::http::dto;
use crate::http::dto::body;
use crate::http::dto::instance::{HeartbeatResult, Heartbeats, HeartbeatsResult, InstanceKey};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};

pub const BEAT_MANY: Operation = Operation::new(
    "instances",
    "beatMany",
    "Sends the heartbeats of many instances. The answer has a result for each.",
)
.takes(dto::instance::Heartbeats::SHAPE)
.demanding(valid::HEARTBEATS)
.answers(Success::Json(dto::instance::HeartbeatsResult::SHAPE))
.uncounted()
.unlogged();

pub const BEAT: Operation = Operation::new(
    "instances",
    "beat",
    "Sends a heartbeat, which renews the lease of the instance. 400017 means that the instance must register again.",
)
.fails_with(BEAT_ERRORS)
.uncounted()
        .unlogged();

const BEAT_ERRORS: &[Code] = &[Code::InstanceNotExists, Code::Forbidden, Code::Unavailable];

pub const BEAT_BY_POST: Operation =
    Operation::new("instances", "beatByPost", "Sends a heartbeat, like `PUT`.")
        .fails_with(BEAT_ERRORS)
        .uncounted()
        .unlogged();

pub(super) const NODES_BEAT: &str =
    "only the nodes themselves send heartbeats for instances of the registry's own service";

/// `PUT …/heartbeat` and `POST …/heartbeat`. If the snapshot holds the instance, the handler answers without a future.
pub fn beat(api: &Arc<Api>, call: Call) -> Answer {
    let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
    if let Err(refused) = valid::ids(InstanceRequest::Heartbeat, service, instance) {
        return refused.into();
    }
    match take(api, call.tenant(), service, instance) {
        Ok(()) => return Reply::empty().into(),
        Err(refused) if refused.code == Code::Forbidden => return refused.into(),
        Err(_) => {}
    }
    let api = Arc::clone(api);
    Answer::later(async move {
        let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
        take_exactly(&api, call.tenant(), service, instance).await.map(|()| Reply::empty())
    })
}

/// [`take`]; if the instance is missing, again with a current snapshot, because another node may just have registered it. If the
/// node cannot get a current snapshot, the error is 500011: 400017 would make the client register again without need.
pub async fn take_exactly(api: &Api, tenant: &Tenant, service: &str, instance: &str) -> Result<(), Error> {
    match take(api, tenant, service, instance) {
        Err(missing) if is_missing(&missing) => {}
        taken => return taken,
    }
    api.freshness.try_catch_up().await?;
    take(api, tenant, service, instance)
}

/// `PUT /heartbeats`. Each heartbeat has its own result.
pub async fn beat_many(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: Heartbeats = body(call.body())?;
    let keys = body.into_instances()?;
    let tenant = call.tenant();
    let take_one = |key: &InstanceKey| {
        valid::ids(InstanceRequest::Heartbeat, &key.service_id, &key.instance_id)?;
        take(&api, tenant, &key.service_id, &key.instance_id)
    };
    let mut taken: Vec<_> = keys.iter().map(take_one).collect();
    if taken.iter().any(|taken| taken.as_ref().is_err_and(is_missing)) {
        let is_current = api.freshness.try_catch_up().await;
        taken = keys.iter().map(take_one).collect();
        if let Err(behind) = is_current {
            let known = |error| if is_missing(&error) { behind.into() } else { error };
            taken = taken.into_iter().map(|taken| taken.map_err(known)).collect();
        }
    }
    let instances = keys.into_iter().zip(taken).map(|(key, taken)| HeartbeatResult {
        service_id: key.service_id,
        instance_id: key.instance_id,
        error: taken.err().map(|error| error.to_string()).unwrap_or_default(),
    });
    api.encoded(Load::Memory, &HeartbeatsResult { instances: instances.collect() })
}

/// Whether another node may hold the instance.
fn is_missing(error: &Error) -> bool {
    error.code == Code::InstanceNotExists
}

/// Marks the lease of an instance in the snapshot. 400017 if the snapshot does not hold the instance, or if the instance has no
/// lease. 403001 for an instance of the registry's own service: with heartbeats from others, a dead node would stay listed.
fn take(api: &Api, tenant: &Tenant, service: &str, instance: &str) -> Result<(), Error> {
    let snapshot = api.reader.load();
    let missing = || Error::new(Code::InstanceNotExists, "leaseId not exist, instance not exist");
    let node = snapshot.tenant(tenant).and_then(|view| view.node(service)).ok_or_else(missing)?;
    if node.view.as_ref().is_some_and(|service| service.is_registry) {
        return Err(Error::new(Code::Forbidden, NODES_BEAT));
    }
    let entry = node.instances.find(instance).ok_or_else(missing)?;
    let at = || InstanceRef {
        tenant: tenant.clone(),
        service: ServiceId::from(service),
        instance: InstanceId::from(instance),
    };
    if api.beats.take(at, entry) == BeatTaken::NoLease {
        return Err(missing());
    }
    if !api.rules.instance_properties.is_empty() {
        add_configured(api, &snapshot, &at());
    }
    Ok(())
}

/// Adds configured properties that an instance does not have, because it was registered before they were configured.
fn add_configured(api: &Api, snapshot: &Snapshot, at: &InstanceRef) {
    let entry = snapshot.instance(&at.tenant, at.service.as_str(), at.instance.as_str());
    let Some(mut document) = entry.and_then(|entry| json::decode::<Instance>(&entry.json()).ok()) else {
        return;
    };
    if document.add_configured(&api.rules.instance_properties) {
        api.tell_registry(ChangeInstance {
            tenant: at.tenant.clone(),
            service: at.service.clone(),
            instance: at.instance.clone(),
            change: InstanceEdit::AddConfigured,
        });
    }
}
