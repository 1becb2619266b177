//! Services: register, list, read and delete them; change their properties.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::fresh_read::{read_by_flags, require_service};
use super::instances;
use crate::actors::registry::messages::{
    Author, ChangeTags, RegisterService, ReplaceServiceProperties, TagChange, UnregisterService,
};
use crate::cache::ServiceView;
use crate::cache::snapshot::Snapshot;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::flag::Force;
use crate::domain::validate::{self, service::ServiceRequest};
use crate::domain::{Instance, ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::body;
use crate::http::dto::instance::check_registration;
use crate::http::dto::joined;
use crate::http::dto::service::{
    CreateService, DeleteServiceResult, DeleteServices, DeleteServicesResult, Existence, Properties,
    Registration,
};
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Parameter, Success};

pub const LIST: Operation =
    Operation::new("services", "listServices", "Lists the service versions of the tenant.")
        .with(&[parameters::WITH_SHARED, parameters::NO_CACHE])
        .answers(Success::Json(joined::SERVICES));

pub const CREATE: Operation = Operation::new(
    "services",
    "registerService",
    "Registers a service version, and its tags and instances if the body has some. If the service is known, it is not changed.",
)
.takes(dto::service::CreateService::SHAPE)
.demanding(validate::service::REGISTRATION)
.answers(Success::Json(joined::SERVICE_ID))
.makes(&[
    ("serviceId", "$response.body#/serviceId"),
    ("consumerId", "$response.body#/serviceId"),
    ("providerId", "$response.body#/serviceId"),
], &[])
.fails_with(&[Code::ServiceExists, Code::NotEnoughQuota, Code::Forbidden]);

pub const DELETE_MANY: Operation = Operation::new(
    "services",
    "unregisterServices",
    "Deletes many services. The answer has a result for each.",
)
.takes(dto::service::DeleteServices::SHAPE)
.demanding(validate::service::DELETION)
.answers(Success::Json(dto::service::DeleteServicesResult::SHAPE));

pub const GET: Operation = Operation::new("services", "readService", "Returns a service version.")
    .with(parameters::FRESH)
    .answers(Success::Json(joined::SERVICE))
    .fails_with(&[Code::ServiceNotExists]);

pub const DELETE: Operation = Operation::new(
    "services",
    "unregisterService",
    "Deletes a service with its tags, schemas and dependencies.",
)
.with(&[Parameter::query(
    "force",
    "`1` or `true`: the service is deleted even if it has instances or consumers.",
)
.one_of(&["", "true", "1", "false", "0"])])
.fails_with(&[Code::ServiceNotExists, Code::ServiceHasInstances, Code::ServiceHasConsumers, Code::Forbidden]);

pub const PUT_PROPERTIES: Operation = Operation::new(
    "services",
    "replaceServiceProperties",
    "Replaces the properties of a service. Other members of the body are ignored.",
)
.takes(dto::service::Properties::SHAPE)
.fails_with(&[Code::ServiceNotExists, Code::Forbidden]);

/// How many writes of one request run at the same time.
const AT_ONCE: usize = 64;

/// How many errors the answer lists.
const SHOWN_ERRORS: usize = 100;

pub(super) const NO_SERVICE: &str = "Service does not exist.";

/// `POST /microservices`: registers the service, then its tags and instances.
pub async fn create(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: CreateService = body(call.body())?;
    let Registration { service, tags, instances } =
        body.into_registration(api.rules.quotas.schemas, &api.rules.sizes)?;
    let tenant = call.tenant();
    let message = RegisterService { tenant: tenant.clone(), service, author: Author::Client };
    let id = api.write(message).await?;
    let mut errors = Vec::new();
    if !tags.is_empty() {
        let replaced = async {
            validate::tag::replace(id.as_str(), &tags, api.rules.quotas.tags)?;
            let change = TagChange::Replace(tags.clone());
            api.write(ChangeTags { tenant: tenant.clone(), service: id.clone(), change }).await
        };
        errors.extend(replaced.await.err());
    }
    let registered = instances.into_iter().map(|instance| register_with(&api, tenant, &id, instance));
    let registered: Vec<_> = stream::iter(registered).buffered(AT_ONCE).collect().await;
    errors.extend(registered.into_iter().filter_map(Result::err));
    if !errors.is_empty() {
        return Err(Error::invalid(listed(&errors)));
    }
    Ok(Reply::encoded(&Existence { service_id: id.to_string(), ..Existence::default() }))
}

/// Lists the first errors in one text. All errors of a body with many instances would be many times larger than the body.
fn listed(errors: &[Error]) -> String {
    let texts: Vec<String> = errors.iter().take(SHOWN_ERRORS).map(ToString::to_string).collect();
    let more = match errors.len().saturating_sub(SHOWN_ERRORS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("errMessages: [{}{more}]", texts.join(" "))
}

async fn register_with(
    api: &Api,
    tenant: &Tenant,
    service: &ServiceId,
    instance: Instance,
) -> Result<(), Error> {
    check_registration(service.as_str(), &instance, &api.rules.sizes)?;
    instances::write(api, tenant, service, instance).await.map(drop)
}

/// `GET /microservices`.
pub async fn list(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let with_shared = call.flag("withShared");
    if call.wants_current() {
        api.freshness.catch_up().await;
    }
    let snapshot = api.reader.load_full();
    let tenant = call.tenant();
    let shown = |service: &&Arc<ServiceView>| {
        let document = &service.record.document;
        let is_granted = call.grant().shows(&document.environment, &document.app_id, &document.service_name);
        is_granted
            && (with_shared || !api.rules.shared.contains(tenant, &document.app_id, &document.service_name))
    };
    let services = || snapshot.tenant(tenant).into_iter().flat_map(|view| view.services()).filter(shown);
    joined_reply(&api, "services", services)
}

/// `{"<member>":[…]}` with the stored documents of the services, `{}` if there are none. `services` is called twice: first to compute
/// the size.
pub(super) fn joined_reply<'a, I: Iterator<Item = &'a Arc<ServiceView>>>(
    api: &Api,
    member: &str,
    services: impl Fn() -> I,
) -> Result<Reply, Error> {
    let (head, tail) = (format!("{{\"{member}\":["), "]}");
    let documents: usize = services().map(|service| service.record.json.len() + 1).sum();
    if documents == 0 {
        return Ok(Reply::json("{}"));
    }
    let size = head.len() + documents - 1 + tail.len();
    let space = api.answers.space(Load::Memory, size)?;
    let mut body = Vec::with_capacity(size + 1);
    body.extend_from_slice(head.as_bytes());
    for service in services() {
        body.extend_from_slice(&service.record.json);
        body.push(b',');
    }
    body.pop();
    body.extend_from_slice(tail.as_bytes());
    Ok(Reply::json(body).holding(space))
}

/// `GET /microservices/{serviceId}`.
pub async fn get(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let id = call.param("serviceId");
    validate::service::id(ServiceRequest::Get, id)?;
    let find = |snapshot: &Snapshot| require_service(snapshot, call.tenant(), id, NO_SERVICE).cloned();
    let found = read_by_flags(&api, &call, find).await?;
    let json = &found.record.json;
    let mut body = Vec::with_capacity(json.len() + 16);
    body.extend_from_slice(b"{\"service\":");
    body.extend_from_slice(json);
    body.push(b'}');
    Ok(Reply::json(body))
}

/// `PUT /microservices/{serviceId}/properties`.
pub async fn put_properties(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: Properties = body(call.body())?;
    let id = call.param("serviceId");
    validate::service::id(ServiceRequest::PutProperties, id)?;
    let properties = body.into_properties(&api.rules.sizes)?;
    let (tenant, service) = (call.tenant().clone(), ServiceId::from(id));
    api.write(ReplaceServiceProperties { tenant, service, properties }).await?;
    Ok(Reply::empty())
}

/// `DELETE /microservices/{serviceId}`.
pub async fn delete(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let force = Force::parse(&call.query_text("force"))?;
    let id = call.param("serviceId");
    validate::service::id(ServiceRequest::Delete, id)?;
    let (tenant, service) = (call.tenant().clone(), ServiceId::from(id));
    api.write(UnregisterService { tenant, service, force }).await?;
    Ok(Reply::empty())
}

/// `DELETE /microservices`. Each deletion has its own result.
pub async fn delete_many(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: DeleteServices = body(call.body())?;
    let deletion = body.into_deletion()?;
    let deleted = deletion.service_ids.iter().map(|id| {
        let (tenant, service) = (call.tenant().clone(), ServiceId::from(id.as_str()));
        let api = Arc::clone(&api);
        let force = deletion.force;
        async move {
            let error = api.write(UnregisterService { tenant, service, force }).await.err();
            DeleteServiceResult {
                error: error.map(|e| e.to_string()).unwrap_or_default(),
                service_id: id.clone(),
            }
        }
    });
    let services = stream::iter(deleted).buffer_unordered(AT_ONCE).collect().await;
    api.encoded(Load::Store, &DeleteServicesResult { services })
}
