//! Tags of a service.

use std::sync::Arc;

use super::fresh_read::{read_by_flags, require_service};
use super::services::NO_SERVICE;
use crate::actors::registry::messages::{ChangeTags, TagChange};
use crate::domain::ServiceId;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::{self, service::ServiceRequest};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::tag::{Tags, replacement};
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Parameter, Success};

pub const REPLACE: Operation = Operation::new("tags", "replaceTags", "Replaces all tags of a service.")
    .takes(dto::tag::Tags::SHAPE)
    .demanding(validate::tag::BODY)
    .fails_with(&[Code::ServiceNotExists, Code::Forbidden]);

pub const GET: Operation = Operation::new("tags", "readTags", "Returns the tags of a service.")
    .with(parameters::FRESH)
    .answers(Success::Json(dto::tag::Tags::SHAPE))
    .fails_with(&[Code::ServiceNotExists]);

pub const PUT: Operation =
    Operation::new("tags", "setTag", "Changes the value of a tag. The tag must exist.")
        .with(&[Parameter::required("value", "The new value.").like(validate::member::TAG)])
        .fails_with(&[Code::ServiceNotExists, Code::TagNotExists, Code::Forbidden]);

pub const DELETE: Operation =
    Operation::new("tags", "deleteTags", "Deletes tags. If one of them does not exist, none is deleted.")
        .with(&[Parameter::path(
            "key",
            "Names of tags, separated by commas. At most as many as a service may have.",
        )
        .like(validate::member::SOME_TAGS)])
        .fails_with(&[Code::ServiceNotExists, Code::TagNotExists, Code::Forbidden]);

/// `POST …/tags`.
pub async fn replace(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let id = call.param("serviceId");
    let tags = replacement(call.body(), id, api.rules.quotas.tags)?;
    change(&api, &call, TagChange::Replace(tags)).await
}

/// `GET …/tags`.
pub async fn get(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let id = call.param("serviceId");
    validate::service::id(ServiceRequest::GetTags, id)?;
    let tags = read_by_flags(&api, &call, |snapshot| {
        require_service(snapshot, call.tenant(), id, NO_SERVICE)?;
        let node = snapshot.tenant(call.tenant()).and_then(|view| view.node(id));
        Ok(node.and_then(|node| node.tags.as_ref()).map(|(tags, _)| (**tags).clone()))
    });
    let tags = tags.await?;
    api.encoded(Load::Memory, &Tags { tags: tags.unwrap_or_default() })
}

/// `PUT …/tags/{key}?value=`.
pub async fn put(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (id, key) = (call.param("serviceId"), call.param("key"));
    let value = call.query_text("value").into_owned();
    validate::tag::change(id, key, &value)?;
    let key = key.to_owned();
    change(&api, &call, TagChange::Set { key, value }).await
}

/// `DELETE …/tags/{key}`, with tag names separated by commas.
pub async fn delete(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (id, key) = (call.param("serviceId"), call.param("key"));
    let keys: Vec<String> = key.split(',').map(str::to_owned).collect();
    validate::tag::delete(id, &keys, api.rules.quotas.tags)?;
    change(&api, &call, TagChange::Remove(keys)).await
}

async fn change(api: &Api, call: &Call, change: TagChange) -> Result<Reply, Error> {
    let (tenant, service) = (call.tenant().clone(), ServiceId::from(call.param("serviceId")));
    api.write(ChangeTags { tenant, service, change }).await?;
    Ok(Reply::empty())
}
