//! Instances: register and unregister them; change their status and their properties.

use std::sync::Arc;

use super::drains;
use crate::actors::registry::messages::{
    Author, ChangeInstance, ChangeStatusWhere, FormerLease, InstanceEdit, RegisterInstance,
    UnregisterInstance,
};
use crate::domain::shape::Shaped as _;
use crate::domain::validate::instance::{self as valid, InstanceRequest};
use crate::domain::validate::member;
use crate::domain::{Instance, InstanceId, ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::body;
use crate::http::dto::instance::{BulkStatus, InstanceRegistered, RegisterInstanceBody};
use crate::http::dto::service::Properties;
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Parameter, Success};

pub const PUT_STATUS_WHERE: Operation = Operation::new(
    "instances",
    "setStatusWhere",
    "Sets the status of all instances of the tenant that have the given properties.",
)
.takes(dto::instance::BulkStatus::SHAPE)
.demanding(valid::BULK_STATUS);

pub const REGISTER: Operation = Operation::new(
    "instances",
    "registerInstance",
    "Registers an instance. If the id is known, its lease is renewed, and a changed body replaces the stored one.",
)
.takes(dto::instance::RegisterInstanceBody::SHAPE)
.demanding(valid::REGISTRATION)
.answers(Success::Json(dto::instance::InstanceRegistered::SHAPE))
.makes(&[("instanceId", "$response.body#/instanceId")], &["serviceId"])
.fails_with(&[Code::ServiceNotExists, Code::NotEnoughQuota, Code::Forbidden]);

pub const UNREGISTER: Operation =
    Operation::new("instances", "unregisterInstance", "Removes an instance at once.")
        .with(&[drains::WAIT])
        .answers(Success::EmptyOr(dto::drain::Receipt::SHAPE))
        .fails_with(OF_AN_INSTANCE);

/// The errors of a request that changes one instance.
const OF_AN_INSTANCE: &[Code] = &[Code::ServiceNotExists, Code::InstanceNotExists, Code::Forbidden];

pub const PUT_PROPERTIES: Operation = Operation::new(
    "instances",
    "replaceInstanceProperties",
    "Replaces the properties of an instance. Other members of the body are ignored.",
)
.takes(dto::service::Properties::SHAPE)
.fails_with(OF_AN_INSTANCE);

pub const PUT_STATUS: Operation = Operation::new(
    "instances",
    "setInstanceStatus",
    "Sets the status of an instance. Finds return instances of every status.",
)
.with(&[Parameter::required("value", "`UP`, `DOWN`, `STARTING`, `TESTING` or `OUTOFSERVICE`.")
    .like(member::INSTANCE_STATUS)])
.fails_with(OF_AN_INSTANCE);

/// `POST /microservices/{serviceId}/instances`.
pub async fn register(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: RegisterInstanceBody = body(call.body())?;
    let id = call.param("serviceId");
    let instance = body.into_instance(id, &api.rules.sizes)?;
    let id = write(&api, call.tenant(), &ServiceId::from(id), instance).await?;
    Ok(Reply::encoded(&InstanceRegistered { instance_id: id.to_string() }))
}

pub(super) async fn write(
    api: &Api,
    tenant: &Tenant,
    service: &ServiceId,
    instance: Instance,
) -> Result<InstanceId, Error> {
    let (tenant, service, instance) = (tenant.clone(), service.clone(), Box::new(instance));
    api.write(RegisterInstance {
        tenant,
        service,
        instance,
        former_lease: FormerLease::Renewed,
        author: Author::Client,
        answer_by: Some(api.answer_by()),
    })
    .await
}

/// `DELETE /microservices/{serviceId}/instances/{instanceId}`.
pub async fn unregister(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (service, instance) = ids(&call, InstanceRequest::Unregister)?;
    let wait = drains::wait_of(&call)?;
    let (tenant, author) = (call.tenant().clone(), Author::Client);
    let goodbye = UnregisterInstance { tenant, service, instance, author, unless_below: None };
    match wait {
        Some(wait) => drains::with_receipt(&api, &call, drains::instance_of(&call), wait, goodbye).await,
        None => api.write(goodbye).await.map(|()| Reply::empty()),
    }
}

/// `PUT …/status?value=`.
pub async fn put_status(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let status = call.query_text("value").into_owned();
    let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
    valid::status(service, instance, &status)?;
    let (service, instance) = (ServiceId::from(service), InstanceId::from(instance));
    let change = InstanceEdit::Status(status);
    api.write(ChangeInstance { tenant: call.tenant().clone(), service, instance, change }).await?;
    Ok(Reply::empty())
}

/// `PUT …/properties`.
pub async fn put_properties(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: Properties = body(call.body())?;
    let (service, instance) = ids(&call, InstanceRequest::PutProperties)?;
    let change = InstanceEdit::Properties(body.into_properties(&api.rules.sizes)?);
    api.write(ChangeInstance { tenant: call.tenant().clone(), service, instance, change }).await?;
    Ok(Reply::empty())
}

/// `PUT /instances/status`.
pub async fn put_status_where(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let body: BulkStatus = body(call.body())?;
    let change = body.into_change()?;
    let tenant = call.tenant().clone();
    api.write(ChangeStatusWhere { tenant, properties: change.properties, status: change.status }).await?;
    Ok(Reply::empty())
}

fn ids(call: &Call, request: InstanceRequest) -> Result<(ServiceId, InstanceId), Error> {
    let (service, instance) = (call.param("serviceId"), call.param("instanceId"));
    valid::ids(request, service, instance)?;
    Ok((ServiceId::from(service), InstanceId::from(instance)))
}
