//! Heartbeats: one, many. A beat marks the lease of an instance in the snapshot and is answered; the LeaseActor renews.

use std::sync::Arc;

use crate::actors::beats::Taken;
use crate::actors::freshness::Behind;
use crate::actors::registry::messages::{ChangeInstance, InstanceChange};
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
use crate::http::dto::instance::{HeartbeatResult, Heartbeats, HeartbeatsResult};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};

pub const BEAT_MANY: Operation =
    Operation::new("instances", "beatMany", "Many heartbeats; the answer says of each what failed.")
        .takes(dto::instance::Heartbeats::SHAPE)
        .answers(Success::Json(dto::instance::HeartbeatsResult::SHAPE));

pub const BEAT: Operation = Operation::new(
    "instances",
    "beat",
    "A heartbeat: renews the instance's lease. 400017 means: register again.",
);

pub const BEAT_BY_POST: Operation = Operation::new("instances", "beatByPost", "The same.");

/// `PUT …/heartbeat`, and `POST`. Without a future, as long as the instance is held.
pub fn beat(api: &Arc<Api>, call: Call) -> Answer {
    let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
    if let Err(refused) = valid::ids(InstanceRequest::Heartbeat, service, instance) {
        return refused.into();
    }
    if take(api, call.tenant(), service, instance).is_ok() {
        return Reply::empty().into();
    }
    let api = Arc::clone(api);
    Answer::later(async move {
        let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
        take_exactly(&api, call.tenant(), service, instance).await.map(|()| Reply::empty())
    })
}

/// [`take`], with a second look for an instance that was registered on another node a moment ago. While the node cannot
/// know of those, one it does not hold is no reason to register again: 500011.
pub async fn take_exactly(api: &Api, tenant: &Tenant, service: &str, instance: &str) -> Result<(), Error> {
    if take(api, tenant, service, instance).is_ok() {
        return Ok(());
    }
    api.freshness.try_catch_up().await.map_err(unsure)?;
    take(api, tenant, service, instance)
}

/// `PUT /heartbeats`: many, each on its own.
pub async fn beat_many(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: Heartbeats = body(call.body())?;
    let keys = body.into_instances()?;
    let tenant = call.tenant();
    let try_all =
        || keys.iter().map(|key| take(&api, tenant, &key.service_id, &key.instance_id)).collect::<Vec<_>>();
    let mut taken = try_all();
    if taken.iter().any(Result::is_err) {
        let is_current = api.freshness.try_catch_up().await;
        taken = try_all();
        if let Err(behind) = is_current {
            taken = taken.into_iter().map(|taken| taken.map_err(|_| unsure(behind))).collect();
        }
    }
    let instances = keys.into_iter().zip(taken).map(|(key, taken)| HeartbeatResult {
        service_id: key.service_id,
        instance_id: key.instance_id,
        error: taken.err().map(|error| error.to_string()).unwrap_or_default(),
    });
    api.answers.encoded(Load::Memory, &HeartbeatsResult { instances: instances.collect() })
}

/// A refusal from an old snapshot would be taken for the truth.
fn unsure(behind: Behind) -> Error {
    Error::new(Code::Unavailable, behind.to_string())
}

/// Takes a beat for an instance the snapshot holds; 400017 if it holds none with a lease.
fn take(api: &Api, tenant: &Tenant, service: &str, instance: &str) -> Result<(), Error> {
    let snapshot = api.reader.load();
    let missing = || Error::new(Code::InstanceNotExists, "leaseId not exist, instance not exist");
    let entry = snapshot.instance(tenant, service, instance).ok_or_else(missing)?;
    let at = || InstanceRef {
        tenant: tenant.clone(),
        service: ServiceId::from(service),
        instance: InstanceId::from(instance),
    };
    if api.beats.take(at, entry) == Taken::NoLease {
        return Err(missing());
    }
    if !api.rules.instance_properties.is_empty() {
        add_configured(api, &snapshot, &at());
    }
    Ok(())
}

/// An instance registered before the configuration had a pair gets it with its next beat.
fn add_configured(api: &Api, snapshot: &Snapshot, at: &InstanceRef) {
    let entry = snapshot.instance(&at.tenant, at.service.as_str(), at.instance.as_str());
    let Some(mut document) = entry.and_then(|entry| json::decode::<Instance>(entry.json()).ok()) else {
        return;
    };
    if document.add_configured(&api.rules.instance_properties) {
        api.tell_registry(ChangeInstance {
            tenant: at.tenant.clone(),
            service: at.service.clone(),
            instance: at.instance.clone(),
            change: InstanceChange::AddConfigured,
        });
    }
}
