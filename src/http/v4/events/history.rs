//! The life of one instance.

use std::sync::Arc;

use serde::Serialize;

use super::{COMPLETE_SINCE, COMPLETE_SINCE_SEQ, Complete, page};
use crate::domain::shape::{Shape, Shaped as _};
use crate::domain::validate::member;
use crate::domain::{InstanceId, ServiceId};
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::event::{EventInstance, RecordedEvent};
use crate::http::dto::joined;
use crate::http::paging;
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Success};
use crate::recorder::{InstanceFacts, Query, Shown};

pub const HISTORY: Operation = Operation::new(
    "node",
    "readHistory",
    "Lists all events of one instance that the record of this node has, also if the instance is gone. The oldest event comes first.",
)
.with(&[paging::LIMIT, paging::AFTER])
.answers(Success::Json(PAGE))
.for_own_pages();

const PAGE: Shape = joined::object(
    "History",
    "The life of an instance.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("The events.", Shape::List(&RecordedEvent::SHAPE)),
        paging::NEXT,
        COMPLETE_SINCE,
        COMPLETE_SINCE_SEQ,
        joined::member(
            "current",
            "The instance as the node shows it now. Left out if it does not show the instance.",
            EventInstance::SHAPE,
        ),
    ],
);

/// The members of a [`PAGE`] besides those of each page.
#[derive(Serialize)]
struct Rest {
    #[serde(flatten)]
    complete: Complete,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<EventInstance>,
}

/// `GET /v4/{project}/admin/instances/{serviceId}/{instanceId}/history`.
pub async fn history(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
    member::SERVICE_ID.check("serviceId", service)?;
    member::INSTANCE_ID.check("instanceId", instance)?;
    let (service, instance) = (ServiceId::from(service), InstanceId::from(instance));
    let query = Query::history(call.tenant().clone(), service.clone(), instance.clone());
    // The snapshot is not older than the record.
    page(&api, &call, query, |complete| Rest { complete, current: current(&api, &call, &service, instance) })
        .await
}

/// The instance as the node shows it now.
fn current(api: &Api, call: &Call, service: &ServiceId, instance: InstanceId) -> Option<EventInstance> {
    let snapshot = api.reader.load_full();
    let document = snapshot.service(call.tenant(), service.as_str()).map(|view| &view.record.document);
    let is_permitted = document.is_none_or(|document| {
        call.grant().shows(&document.environment, &document.app_id, &document.service_name)
    });
    let entry =
        snapshot.instance(call.tenant(), service.as_str(), instance.as_str()).filter(|_| is_permitted)?;
    let shown = Shown::of_document(&entry.json());
    Some(EventInstance::from(&InstanceFacts { id: instance, shown }))
}
