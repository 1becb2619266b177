//! Whether a service or a schema exists.

use std::sync::Arc;

use super::fresh_read::{read_by_flags, require_service};
use crate::cache::snapshot::{Snapshot, name_path};
use crate::domain::ServiceKey;
use crate::domain::shape::Shaped as _;
use crate::domain::validate;
use crate::domain::validate::flag::ExistenceKind;
use crate::domain::validate::member;
use crate::domain::validate::schema::SchemaRequest;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::service::Existence;
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Parameter, Success};

pub const EXISTENCE: Operation = Operation::new(
    "services",
    "checkExistence",
    "Checks whether a service, given by its key, or a schema, given by its ids, exists.",
)
.with(&[
    Parameter::required("type", "`microservice` or `schema`.").one_of(ExistenceKind::NAMES),
    Parameter::query(
        "appId",
        "The application of the service. Required for `microservice`, ignored for `schema`.",
    )
    .like(member::APP_ID),
    Parameter::query(
        "serviceName",
        "The name or the alias. Required for `microservice`, ignored for `schema`.",
    )
    .like(member::FIND_NAME),
    Parameter::query("version", "The exact version. Required for `microservice`, ignored for `schema`.")
        .like(member::VERSION),
    Parameter::query("env", "The environment. Ignored for `schema`.").like(member::ENVIRONMENT),
    Parameter::query(
        "serviceId",
        "The id of the service. Required for `schema`, ignored for `microservice`.",
    )
    .like(member::SERVICE_ID),
    Parameter::query("schemaId", "The id of the schema. Required for `schema`, ignored for `microservice`.")
        .like(member::SCHEMA_ID),
    parameters::NO_CACHE,
])
.answers(Success::Summarized(dto::service::Existence::SHAPE))
.fails_with(&[
    Code::ServiceNotExists,
    Code::ServiceVersionNotExists,
    Code::SchemaNotExists,
    Code::Unavailable,
]);

/// `GET /existence`.
pub async fn existence(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    match ExistenceKind::parse(&call.query_text("type"))? {
        ExistenceKind::Microservice => service(&api, &call).await,
        ExistenceKind::Schema => schema(&api, &call).await,
    }
}

async fn service(api: &Api, call: &Call) -> Result<Reply, Error> {
    let key = ServiceKey {
        environment: call.query_text("env").into_owned(),
        app_id: call.query_text("appId").into_owned(),
        service_name: call.query_text("serviceName").into_owned(),
        version: call.query_text("version").into_owned(),
        ..ServiceKey::default()
    };
    validate::find::existence(&key)?;
    let path = name_path(&key.environment, &key.app_id, &key.service_name);
    let find = |snapshot: &Snapshot| {
        let view = snapshot.tenant(call.tenant());
        let node = view.and_then(|view| view.name(&path).or_else(|| view.alias(&path)));
        let missing = |code, what: &str| Error::new(code, format!("{path}/{} {what}", key.version));
        let node = node.ok_or_else(|| missing(Code::ServiceNotExists, "does not exist."))?;
        let id = node.version(&key.version);
        id.cloned().ok_or_else(|| missing(Code::ServiceVersionNotExists, "version mismatch."))
    };
    let id = read_by_flags(api, call, find).await?;
    Ok(Reply::encoded(&Existence { service_id: id.to_string(), ..Existence::default() }))
}

async fn schema(api: &Api, call: &Call) -> Result<Reply, Error> {
    let (service, schema) = (call.query_text("serviceId"), call.query_text("schemaId"));
    validate::schema::ids(SchemaRequest::Get, &service, &schema)?;
    read_by_flags(api, call, |snapshot| {
        require_service(snapshot, call.tenant(), &service, "service does not exist.").map(drop)
    })
    .await?;
    let (found, _) = super::schemas::read_one(api, call, &service, &schema).await?;
    let exists = Existence { service_id: service.into_owned(), schema_id: schema.into_owned() };
    Ok(Reply::encoded(&exists).schema_summary(&found.summary))
}
