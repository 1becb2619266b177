//! Routes for operators: the alarms of the node, the stores it knows, and what it retires next.

use std::sync::Arc;
use std::time::Duration;

use crate::actors::mailbox::ask;
use crate::actors::retire::messages::{
    ListRetirements, PlannedRetirement, PlannedRetirements, RetirementReason,
};
use crate::alarm::AlarmKind;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::rule::Shown;
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::{Answer, Call};
use crate::http::dto::admin::{AlarmList, ClusterList};
use crate::http::reply::Reply;
use crate::http::slices::{ListMember, Members, Out, Pace, Walk, in_time};
use crate::http::spec::{Load, Operation, Parameter, Success};
use crate::json_object;
use crate::rbac::Grant;

pub const CLUSTERS: Operation =
    Operation::new("node", "listClusters", "Lists the stores that this node knows.")
        .answers(Success::Json(ClusterList::SHAPE));

pub const ALARMS: Operation = Operation::new("node", "listAlarms", "Lists the alarms of this node.")
    .answers(Success::Json(AlarmList::SHAPE));

pub const FORGET_ALARMS: Operation = Operation::new(
    "node",
    "forgetAlarms",
    "Empties the list of alarms of this node, or takes one off it. What is still wrong comes back.",
)
.with(&[Parameter::query("id", "Only the alarm with this id.").one_of(&[
    "BackendConnectionRefuse",
    "InternalError",
    "DigestDiffers",
])]);

pub const RETIREMENTS: Operation = Operation::new(
    "node",
    "listRetirements",
    "Lists the services that the retirement job deletes next. Deletes nothing.",
)
.answers(Success::Json(Retirements::SHAPE))
.fails_with(&[Code::Unavailable])
.for_own_pages();

/// How long a request waits for the RetireActor, which reads from the store.
const RETIREMENTS_LIMIT: Duration = Duration::from_secs(5);

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
pub async fn retirements(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let planned = ask(&api.retire, ListRetirements, RETIREMENTS_LIMIT).await.map_err(refused)??;
        api.built(&RetirementWalk { planned: &planned, grant: call.grant() }).await
    })
    .await
}

/// The bytes of a [`Retirement`], about.
const BYTES: usize = 256;

/// Writes a [`Retirements`]. A role with labels sees the services with these labels.
struct RetirementWalk<'a> {
    planned: &'a PlannedRetirements,
    grant: &'a Grant,
}

impl Walk for RetirementWalk<'_> {
    async fn write(&self, out: &mut impl Out, pace: &mut Pace) {
        let mut members = Members::default();
        out.bytes(b"{");
        if let Some(next_run) = self.planned.next_run {
            members.name(out, "nextRun");
            out.value(&next_run);
        }
        let mut list = ListMember::new("retirements");
        for planned in &self.planned.retirements {
            pace.step(BYTES).await;
            let document = &planned.service.record.document;
            if self.grant.shows(&document.environment, &document.app_id, &document.service_name) {
                list.element(out, &mut members);
                out.value(&Retirement::from(planned));
            }
        }
        list.end(out);
        out.bytes(b"}");
    }
}

impl From<&PlannedRetirement> for Retirement {
    fn from(planned: &PlannedRetirement) -> Self {
        let PlannedRetirement { tenant, service, reason, due } = planned;
        let document = &service.record.document;
        let (reason, empty_since) = match reason {
            RetirementReason::OldVersion => ("oldVersion", None),
            RetirementReason::Empty { since } => ("empty", *since),
        };
        Self {
            tenant: tenant.to_string(),
            service_id: service.id.to_string(),
            environment: document.environment.clone(),
            app_id: document.app_id.clone(),
            service_name: document.service_name.clone(),
            version: document.version.clone(),
            reason: reason.to_owned(),
            empty_since: empty_since.unwrap_or_default(),
            due: *due,
        }
    }
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
pub fn forget_alarms(api: &Arc<Api>, call: Call) -> Answer {
    let alarms = api.contact.alarms(&api.clock);
    let id = call.query_text("id");
    if id.is_empty() {
        alarms.forget_all();
    } else if let Some(kind) = AlarmKind::named(&id) {
        alarms.forget(kind);
    } else {
        let known: Vec<&str> = AlarmKind::ALL.into_iter().map(AlarmKind::id).collect();
        let shown = Shown::new(&*id);
        return Error::invalid(format!("the parameter 'id' is '{shown}'; give one of {}", known.join(", ")))
            .into();
    }
    Reply::empty().into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cache::Snapshot;
    use crate::domain::Tenant;
    use crate::domain::json::TextMap;
    use crate::http::slices::tests::walked;
    use crate::http::v4::govern::tests::{MadeUp, fewest, many};

    fn labelled(app_id: &str) -> Grant {
        Grant::Labelled(Arc::from([TextMap::from([("appId".to_owned(), app_id.to_owned())])]))
    }

    fn all_planned(snapshot: &Snapshot) -> PlannedRetirements {
        let tenant = Tenant::default_tenant();
        let services = snapshot.tenant(&tenant).unwrap().services();
        let planned = services.map(|service| PlannedRetirement {
            tenant: tenant.clone(),
            service: Arc::clone(service),
            reason: RetirementReason::Empty { since: Some(7) },
            due: 8,
        });
        PlannedRetirements { next_run: Some(9), retirements: planned.collect() }
    }

    #[test]
    fn a_role_with_labels_sees_only_what_belongs_to_them() {
        let mut made_up = MadeUp::default();
        made_up.service("s", "testing", "app", "n");
        let snapshot = made_up.snapshot();
        let planned = all_planned(&snapshot);
        let shown = |grant: &Grant| -> Value {
            serde_json::from_str(&walked(&RetirementWalk { planned: &planned, grant }).0).unwrap()
        };
        let service = json!({"tenant": "default/default", "serviceId": "s", "environment": "testing", "appId": "app",
            "serviceName": "n", "version": "1.0.0", "reason": "empty", "emptySince": 7, "due": 8});
        let expected = json!({"nextRun": 9, "retirements": [service]});
        assert_eq!(shown(&Grant::All), expected);
        assert_eq!(shown(&labelled("app")), expected);
        assert_eq!(shown(&labelled("other")), json!({"nextRun": 9}));
    }

    #[test]
    fn the_list_of_retirements_stops_after_each_slice() {
        const SERVICES: usize = 10_000;
        let planned = all_planned(&many(SERVICES));
        let (text, slices) = walked(&RetirementWalk { planned: &planned, grant: &Grant::All });
        let fewest = fewest(SERVICES, text.len());
        assert!(slices >= fewest && fewest > 10, "{slices} slices, {fewest} at least");
    }
}
