//! Heartbeats: one, many. A beat marks the lease of an instance in the snapshot and is answered; the LeaseActor renews.

use std::sync::Arc;

use crate::actors::beats::BeatTaken;
use crate::actors::freshness::Behind;
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

/// What a client is told that beats for an instance of the registry's own.
pub(super) const NODES_BEAT: &str = "only a node of the registry beats for the registry's own instances";

/// `PUT …/heartbeat`, and `POST`. Without a future, as long as the instance is held.
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

/// [`take`], with a second look for an instance that was registered on another node a moment ago. While the node cannot
/// know of those, one it does not hold is no reason to register again: 500011.
pub async fn take_exactly(api: &Api, tenant: &Tenant, service: &str, instance: &str) -> Result<(), Error> {
    match take(api, tenant, service, instance) {
        Err(missing) if is_missing(&missing) => {}
        taken => return taken,
    }
    api.freshness.try_catch_up().await.map_err(unsure)?;
    take(api, tenant, service, instance)
}

/// `PUT /heartbeats`: many, each on its own.
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
            let known = |error| if is_missing(&error) { unsure(behind) } else { error };
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

/// Whether another node may know better.
fn is_missing(error: &Error) -> bool {
    error.code == Code::InstanceNotExists
}

/// A refusal from an old snapshot would be taken for the truth.
fn unsure(behind: Behind) -> Error {
    Error::new(Code::Unavailable, behind.to_string())
}

/// Takes a beat for an instance the snapshot holds; 400017 if it holds none with a lease. 403001 for an instance of the
/// registry's own: a node beats for itself, and with somebody else's beats a node that has died would stay on the list.
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
            change: InstanceEdit::AddConfigured,
        });
    }
}
