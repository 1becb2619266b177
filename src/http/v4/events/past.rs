//! The instances of a service as this node showed them at an earlier time.

use std::sync::Arc;

use serde::Serialize;

use super::{ask, is_shown};
use crate::cache::Snapshot;
use crate::domain::shape::{Shape, Shaped as _};
use crate::domain::time::rfc3339;
use crate::domain::validate::member;
use crate::domain::{ServiceId, Tenant};
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::event::EventInstance;
use crate::http::dto::joined;
use crate::http::paging::{self, PageQuery};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Need, Operation, Parameter, ParameterPlace, Success};
use crate::http::times;
use crate::rbac::Grant;
use crate::recorder::{InstanceFacts, KnownSince, Order, Query, RecordReader, Shown};

pub const PAST: Operation = Operation::new(
    "node",
    "readPast",
    "Lists the instances of a service as this node showed them at an earlier time, or says since when that is known.",
)
.with(&[
    AT,
    Parameter::required("serviceId", "The service. It may be gone.").like(member::SERVICE_ID),
    paging::LIMIT,
    paging::AFTER,
])
.answers(Success::Json(PAGE))
.for_own_pages();

const AT: Parameter = Parameter {
    place: ParameterPlace::Query,
    need: Need::Required,
    ..times::parameter("at", "The time: as RFC 3339, or a duration before now such as `15m`.")
};

const PAGE: Shape = joined::object(
    "Past",
    "The instances of a service at a time.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("The instances, in the order of their ids.", Shape::List(&EventInstance::SHAPE)),
        paging::NEXT,
        joined::member("at", "The time that the answer shows.", Shape::Text),
        joined::member(
            "known",
            "Whether the instances at that time are known. If not, there are no items.",
            Shape::Flag,
        ),
        joined::member(
            "knownSince",
            "Since when the instances are known. Only if they are not known at the time asked for.",
            Shape::Text,
        ),
    ],
);

/// The members of a [`PAGE`] besides those of each page.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rest {
    at: String,
    known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_since: Option<String>,
}

/// `GET /v4/{project}/admin/snapshot`.
pub async fn past(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let now = times::now(&api.clock);
    let at = times::read("at", &call.query_text("at"), now)?.min(now);
    let id = call.query_text("serviceId");
    member::SERVICE_ID.check("query serviceId", &id)?;
    let service = ServiceId::from(&*id);
    let page = PageQuery::of(&call)?;
    let after: Option<String> = page.after()?;
    // The record looks back from a snapshot that it has caught up with.
    let snapshot = api.reader.load_full();
    if !api.record.caught_up().await {
        return Err(crate::http::server::refusal(Load::View));
    }
    let (tenant, grant) = (call.tenant().clone(), call.grant().clone());
    let found = ask(&api, move |record| {
        let found = record.at(at, &tenant, &service, current(&snapshot, &tenant, &service));
        let is_permitted = may_see(record, &grant, &snapshot, &tenant, &service);
        found.map(|instances| if is_permitted { instances } else { Vec::new() })
    });
    let (instances, known_since) = match found.await? {
        Ok(instances) => (instances, None),
        Err(KnownSince(since)) => (Vec::new(), Some(rfc3339(since))),
    };
    let total = instances.len();
    let rest =
        instances.iter().filter(|facts| after.as_deref().is_none_or(|after| facts.id.as_str() > after));
    let page = page
        .page(api.record.revision(), total, rest.map(EventInstance::from), |last| last.instance_id.clone());
    let rest = Rest { at: rfc3339(at), known: known_since.is_none(), known_since };
    api.encoded(Load::View, &page.with(rest))
}

fn current(snapshot: &Snapshot, tenant: &Tenant, service: &ServiceId) -> Vec<InstanceFacts> {
    let node = snapshot.tenant(tenant).and_then(|view| view.node(service.as_str()));
    let instances = node.into_iter().flat_map(|node| node.instances.entries());
    instances.map(|(id, entry)| InstanceFacts { id, shown: Shown::of_document(&entry.json()) }).collect()
}

/// Whether the caller sees the service. If it is gone, the record says what it was.
fn may_see(
    record: &RecordReader,
    grant: &Grant,
    snapshot: &Snapshot,
    tenant: &Tenant,
    service: &ServiceId,
) -> bool {
    if let Some(view) = snapshot.service(tenant, service.as_str()) {
        let document = &view.record.document;
        return grant.shows(&document.environment, &document.app_id, &document.service_name);
    }
    let last = Query {
        tenant: Some(tenant.clone()),
        service: Some(service.clone()),
        order: Order::NewestFirst,
        limit: 1,
        ..Query::default()
    };
    let found = record.page(&last, |_| true);
    found.events.first().is_none_or(|event| is_shown(grant, event.service.as_deref()))
}
