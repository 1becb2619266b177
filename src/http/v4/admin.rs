//! Routes for operators: what the node holds back, its alarms, and the stores it knows.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::mailbox::{Refused, ask};
use crate::actors::retire::messages::{ListRetirements, PlannedRetirement, RetirementReason};
use crate::actors::watch::messages::ListHeld;
use crate::domain::shape::Shaped as _;
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::{Answer, Call};
use crate::http::dto::admin::{AlarmList, ClusterList};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};
use crate::json_object;

pub const EXPIRIES: Operation =
    Operation::new("node", "listExpiries", "Lists the expired instances that this node still shows.")
        .answers(Success::Json(ExpiredInstances::SHAPE))
        .fails_with(&[Code::Overloaded, Code::Unavailable])
        .for_own_pages();

pub const CLUSTERS: Operation =
    Operation::new("node", "listClusters", "Lists the stores that this node knows.")
        .answers(Success::Json(ClusterList::SHAPE));

pub const ALARMS: Operation = Operation::new("node", "listAlarms", "Lists the alarms of this node.")
    .answers(Success::Json(AlarmList::SHAPE));

pub const FORGET_ALARMS: Operation = Operation::new(
    "node",
    "forgetAlarms",
    "Empties the list of alarms of this node. What is still wrong comes back.",
);
pub const RETIREMENTS: Operation = Operation::new(
    "node",
    "listRetirements",
    "Lists the services that the retirement job deletes next. Deletes nothing.",
)
.answers(Success::Json(Retirements::SHAPE))
.for_own_pages();

/// How long a request waits for the WatchActor.
const LIMIT: Duration = Duration::from_secs(2);
/// How long a request waits for the RetireActor, which reads from the store.
const RETIREMENTS_LIMIT: Duration = Duration::from_secs(5);

json_object! {
    /// The expired instances that a node still shows.
    pub struct ExpiredInstances {
        /// One entry for each instance.
        "expiries" => expiries: Vec<ExpiredInstance>,
    }
}

json_object! {
    /// An expired instance that the node still shows.
    pub struct ExpiredInstance {
        /// The tenant, as `domain/project`.
        "tenant" => tenant: String,
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The id of the instance.
        "instanceId" => instance_id: String,
        /// Why the node still shows the instance: `window` (each expiry waits 2 s), `preservation` (80 % or more of all instances
        /// expired at once), `share` (more than the configured share expired within a heartbeat interval).
        "rule" => rule: String,
        /// How long ago the instance expired, in seconds.
        "heldSeconds" => held: i32,
        /// In how many seconds the node removes the instance at the latest.
        "releasedInSeconds" => released_in: i32,
    }
}

json_object! {
    /// What the retirement job deletes next.
    pub struct Retirements {
        /// When the job runs next, in seconds since 1970. Absent if the job is off.
        "nextRun" => next_run: i64,
        /// One entry for each service.
        "retirements" => retirements: Vec<Retirement>,
    }
}

json_object! {
    /// A service that the retirement job deletes.
    pub struct Retirement {
        /// The tenant, as `domain/project`.
        "tenant" => tenant: String,
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The environment of the service.
        "environment" => environment: String,
        /// The application of the service.
        "appId" => app_id: String,
        /// The name of the service.
        "serviceName" => service_name: String,
        /// The version of the service.
        "version" => version: String,
        /// `oldVersion`: the service has no instances, and `registry.service.retire.reserve` newer versions exist. `empty`: the
        /// service has no instances and no consumers, and does not change.
        "reason" => reason: String,
        /// Since when the service counts as empty, in seconds since 1970. Absent until a run of the job has seen that it is empty.
        "emptySince" => empty_since: i64,
        /// The first run after this time deletes the service, unless it is used before. In seconds since 1970.
        "due" => due: i64,
    }
}

/// `GET /v4/{project}/admin/retirements`.
pub async fn retirements(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    let planned = ask(&api.retire, ListRetirements, RETIREMENTS_LIMIT).await.map_err(refused)??;
    let retirements = planned.retirements.into_iter().map(|planned| {
        let PlannedRetirement { tenant, service, reason, due } = planned;
        let document = &service.record.document;
        let (reason, empty_since) = match reason {
            RetirementReason::OldVersion => ("oldVersion", None),
            RetirementReason::Empty { since } => ("empty", since),
        };
        Retirement {
            tenant: tenant.to_string(),
            service_id: service.id.to_string(),
            environment: document.environment.clone(),
            app_id: document.app_id.clone(),
            service_name: document.service_name.clone(),
            version: document.version.clone(),
            reason: reason.to_owned(),
            empty_since: empty_since.unwrap_or_default(),
            due,
        }
    });
    let (next_run, retirements) = (planned.next_run.unwrap_or_default(), retirements.collect());
    api.encoded(Load::Store, &Retirements { next_run, retirements })
}

/// `GET /v4/{project}/admin/expiries`.
pub async fn expiries(api: Arc<Api>, _: Call) -> Result<Reply, Error> {
    let held = ask(&api.watch, ListHeld, LIMIT).await.map_err(|why| match why {
        // This request does not need the store, so a late reply means that the actor is busy.
        Refused::Late => refused(Refused::Full),
        why => refused(why),
    })?;
    let seconds = |seconds| i32::try_from(seconds).unwrap_or(i32::MAX);
    let expiries = held.into_iter().map(|held| ExpiredInstance {
        tenant: held.at.tenant.to_string(),
        service_id: held.at.service.to_string(),
        instance_id: held.at.instance.to_string(),
        rule: held.rule.to_owned(),
        held: seconds(held.held_seconds),
        released_in: seconds(held.released_in_seconds),
    });
    api.encoded(Load::Memory, &ExpiredInstances { expiries: expiries.collect() })
}

/// `GET /v4/{project}/admin/clusters`.
pub fn clusters(api: &Arc<Api>, _: Call) -> Answer {
    api.encoded(Load::Always, &ClusterList { clusters: api.rules.clusters.addresses.clone() }).into()
}

/// `GET /v4/{project}/admin/alarms`.
pub fn alarms(api: &Arc<Api>, _: Call) -> Answer {
    let alarms = api.contact.alarms(&api.clock).list(api.clock.monotonic());
    api.encoded(Load::Always, &AlarmList { alarms: alarms.into_iter().map(Into::into).collect() }).into()
}

/// `DELETE /v4/{project}/admin/alarms`.
pub fn forget_alarms(api: &Arc<Api>, _: Call) -> Answer {
    api.contact.alarms(&api.clock).forget();
    Reply::empty().into()
}
