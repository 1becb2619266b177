//! The expired instances that this node still shows: their list, and their release.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::actors::mailbox::{Refused, ask};
use crate::actors::registry::messages::ReleaseExpiries;
use crate::actors::watch::messages::{HeldInstance, HeldInstances, ListHeld};
use crate::domain::event::InstanceRef;
use crate::domain::shape::{Shape, Shaped as _};
use crate::domain::time::rfc3339;
use crate::domain::validate::member;
use crate::domain::{ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::dto::joined;
use crate::http::paging::{self, PageQuery};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Parameter, Success};
use crate::http::times;
use crate::json_object;
use crate::rbac::Grant;

pub const LIST: Operation = Operation::new(
    "node",
    "listExpiries",
    "Lists the expired instances of all tenants that this node still shows.",
)
.with(&[
    Parameter::query("serviceId", "Only the instances of this service.").like(member::SERVICE_ID),
    paging::LIMIT,
    paging::AFTER,
])
.answers(Success::Json(PAGE))
.fails_with(&[Code::Overloaded, Code::Unavailable])
.for_own_pages();

pub const RELEASE: Operation = Operation::new(
    "node",
    "releaseExpiries",
    "Removes the expired instances of a service that nodes still show, on every node.",
)
.with(&[Parameter::required("serviceId", "The service.").like(member::SERVICE_ID)])
.answers(Success::Json(RELEASED))
.fails_with(&[Code::ServiceNotExists])
.for_own_pages();

/// How long a request waits for the WatchActor.
const LIMIT: Duration = Duration::from_secs(2);

const PAGE: Shape = joined::object(
    "ExpiryPage",
    "The expired instances that a node still shows.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("One for each instance.", Shape::List(&ExpiredInstance::SHAPE)),
        paging::NEXT,
    ],
);

json_object! {
    /// An expired instance that the node still shows.
    pub struct ExpiredInstance {
        /// The tenant, as `domain/project`.
        "tenant" => tenant: String,
        /// The id of the service.
        "serviceId" => service_id: String,
        /// The environment of the service. Left out if it is empty.
        "environment" => environment: String,
        /// The application of the service.
        "appId" => app_id: String,
        /// The name of the service.
        "serviceName" => service_name: String,
        /// The version of the service.
        "version" => version: String,
        /// The id of the instance.
        "instanceId" => instance_id: String,
        /// Why the node still shows the instance: `window` (each expiry waits 2 s), `preservation` (80 % or more of all instances
        /// expired at once), `share` (more than the configured share expired within a heartbeat interval), `service` (more than
        /// the configured share of the instances of the service expired within a heartbeat interval).
        "rule" => rule: String,
        /// When the instance expired.
        "since" => since: String,
        /// When the node removes the instance at the latest.
        "until" => until: String,
        /// How long ago the instance expired, in seconds. Left out if it is 0.
        "heldSeconds" => held: i32,
        /// In how many seconds the node removes the instance at the latest. Left out if it is 0.
        "releasedInSeconds" => released_in: i32,
    }
}

/// See [`Released`].
const RELEASED: Shape = joined::object(
    "ReleasedExpiries",
    "How many instances were removed.",
    &[joined::member(
        "released",
        "How many expired instances of the service this node showed before. Other nodes may have shown a few more or less.",
        Shape::Long,
    )],
);

#[derive(Serialize)]
struct Released {
    released: usize,
}

/// Where a page ends: tenant, service and instance.
#[derive(Serialize, Deserialize)]
struct Cursor(String, String, String);

/// `GET /v4/{project}/admin/expiries`.
pub async fn list(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let page = PageQuery::of(&call)?;
    let after = page.after::<Cursor>()?.map(|Cursor(tenant, service, instance)| InstanceRef {
        tenant: Tenant::from(tenant.as_str()),
        service: service.into(),
        instance: instance.into(),
    });
    let service = call.query("serviceId").map(|id| service_id(&id)).transpose()?;
    let asked = ListHeld {
        service: service.map(|id| (call.tenant().clone(), id)),
        grant: call.grant().clone(),
        after,
        // One more shows that another page follows.
        limit: page.limit + 1,
    };
    let HeldInstances { revision, total, instances } = held(&api, asked).await?;
    let now = times::now(&api.clock);
    let items = instances.iter().map(|held| ExpiredInstance::of(held, now));
    let page = page.page(revision, total, items, |last| {
        Cursor(last.tenant.clone(), last.service_id.clone(), last.instance_id.clone())
    });
    api.encoded(Load::Always, &page)
}

/// `DELETE /v4/{project}/admin/expiries?serviceId=`.
pub async fn release(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let service = service_id(&call.query_text("serviceId"))?;
    let tenant = call.tenant().clone();
    let of_service = Some((tenant.clone(), service.clone()));
    let asked = ListHeld { service: of_service, grant: Grant::All, after: None, limit: 0 };
    let released = held(&api, asked).await?.total;
    api.write(ReleaseExpiries { tenant, service }).await?;
    api.encoded(Load::Store, &Released { released })
}

fn service_id(text: &str) -> Result<ServiceId, Error> {
    member::SERVICE_ID.check("query serviceId", text)?;
    Ok(text.into())
}

async fn held(api: &Api, asked: ListHeld) -> Result<HeldInstances, Error> {
    ask(&api.watch, asked, LIMIT).await.map_err(|why| match why {
        // This request does not need the store, so a late reply means that the actor is busy.
        Refused::Late => refused(Refused::Full),
        why => refused(why),
    })
}

impl ExpiredInstance {
    fn of(held: &HeldInstance, now: i64) -> Self {
        let HeldInstance { at, service, rule, held_for, released_in } = held;
        let millis = |time: &Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let seconds = |time: &Duration| i32::try_from(time.as_secs()).unwrap_or(i32::MAX);
        let document = service.as_ref().map(|service| &service.record.document);
        let named =
            |of: fn(&crate::domain::Service) -> &String| document.map(of).cloned().unwrap_or_default();
        Self {
            tenant: at.tenant.to_string(),
            service_id: at.service.to_string(),
            environment: named(|service| &service.environment),
            app_id: named(|service| &service.app_id),
            service_name: named(|service| &service.service_name),
            version: named(|service| &service.version),
            instance_id: at.instance.to_string(),
            rule: rule.name().to_owned(),
            since: rfc3339(now.saturating_sub(millis(held_for))),
            until: rfc3339(now.saturating_add(millis(released_in))),
            held: seconds(held_for),
            released_in: seconds(released_in),
        }
    }
}
