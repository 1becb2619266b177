//! The schemas of a service. Their texts are read from the store, because the snapshot holds only ids and summaries.

use std::collections::HashSet;
use std::sync::Arc;

use super::fresh_read::{read_by_flags, require_service};
use super::services::NO_SERVICE;
use crate::actors::registry::messages::{
    DeleteSchema, PutSchema, ReadSchemas, ReplaceSchemas, SchemaSelection, SchemasWithTexts, TextSpace,
};
use crate::cache::Snapshot;
use crate::domain::ServiceId;
use crate::domain::schema::Schema;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::flag::WithSchema;
use crate::domain::validate::schema::{self as valid, SchemaRequest};
use crate::domain::validate::{self, service::ServiceRequest};
use crate::error::{Code, Error};
use crate::http::api::{Api, SchemaWrites};
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::body;
use crate::http::dto::schema::{SchemaBody, SchemaList, SchemaText, SchemasBody};
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Parameter, Success};

pub const LIST: Operation = Operation::new("schemas", "listSchemas", "Lists the schemas of a service.")
    .with(&[
        Parameter::query(
            "withSchema",
            "`1`: the answer has the texts too. `0`, blanks or nothing: it has not.",
        )
        .matching(WithSchema::ACCEPTED),
        parameters::NO_CACHE,
    ])
    .answers(Success::Json(dto::schema::SchemaList::SHAPE))
    .fails_with(&[Code::ServiceNotExists]);

pub const REPLACE: Operation =
    Operation::new("schemas", "replaceSchemas", "Replaces all schemas of a service.")
        .takes(dto::schema::SchemasBody::SHAPE)
        .demanding(valid::REPLACEMENT)
        .fails_with(&[Code::ServiceNotExists, Code::NotEnoughQuota, Code::Forbidden]);

pub const GET: Operation = Operation::new("schemas", "readSchema", "Returns the text of a schema.")
    .answers(Success::Summarized(dto::schema::SchemaText::SHAPE))
    .fails_with(&[Code::ServiceNotExists, Code::SchemaNotExists]);

pub const PUT: Operation = Operation::new("schemas", "putSchema", "Writes a schema.")
    .takes(dto::schema::SchemaBody::SHAPE)
    .demanding(valid::SCHEMA)
    .makes(&[("schemaId", "$request.path.schemaId")], &["serviceId"])
    .fails_with(&[Code::ServiceNotExists, Code::NotEnoughQuota, Code::Forbidden]);

pub const DELETE: Operation = Operation::new(
    "schemas",
    "deleteSchema",
    "Deletes a schema. Its id stays in the service's list of schemas.",
)
.fails_with(&[Code::ServiceNotExists, Code::SchemaNotExists, Code::Forbidden]);

/// 403001 if `registry.schema.disable` is on. Schemas can be deleted anyway.
fn check_writes(api: &Api) -> Result<(), Error> {
    match api.rules.schema_writes {
        SchemaWrites::Enabled => Ok(()),
        SchemaWrites::Disabled => Err(Error::new(Code::Forbidden, "schema modify is disabled")),
    }
}

/// `PUT …/schemas/{schemaId}`.
pub async fn put(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    check_writes(&api)?;
    let body: SchemaBody = body(call.body())?;
    let id = call.param("serviceId");
    let schema = body.into_schema(id, call.param("schemaId"))?;
    api.write(PutSchema { tenant: call.tenant().clone(), service: ServiceId::from(id), schema }).await?;
    Ok(Reply::empty())
}

/// `POST …/schemas`.
pub async fn replace(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    check_writes(&api)?;
    let body: SchemasBody = body(call.body())?;
    let id = call.param("serviceId");
    let schemas = body.into_schemas(id, api.rules.quotas.schemas)?;
    api.write(ReplaceSchemas { tenant: call.tenant().clone(), service: ServiceId::from(id), schemas })
        .await?;
    Ok(Reply::empty())
}

/// `DELETE …/schemas/{schemaId}`.
pub async fn delete(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (id, schema) = (call.param("serviceId"), call.param("schemaId"));
    valid::ids(SchemaRequest::Delete, id, schema)?;
    let (tenant, service, schema) = (call.tenant().clone(), ServiceId::from(id), schema.into());
    api.write(DeleteSchema { tenant, service, schema }).await?;
    Ok(Reply::empty())
}

/// `GET …/schemas/{schemaId}`. The body has the text, a header the summary.
pub async fn get(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let (id, schema) = (call.param("serviceId"), call.param("schemaId"));
    valid::ids(SchemaRequest::Get, id, schema)?;
    let (schema, _space) = read_one(&api, &call, id, schema).await?;
    let reply = api.encoded(Load::Store, &SchemaText { schema: schema.schema })?;
    Ok(reply.schema_summary(&schema.summary))
}

/// Reads a schema with its text from the store, and reserves the memory that it takes.
pub(super) async fn read_one(
    api: &Api,
    call: &Call,
    service: &str,
    schema: &str,
) -> Result<(Schema, Box<dyn TextSpace>), Error> {
    let SchemasWithTexts { schemas, space } =
        read(api, call, service, SchemaSelection::One(schema.into())).await?;
    let found = schemas.into_iter().next();
    let found = found.ok_or_else(|| Error::new(Code::SchemaNotExists, "schema ref not found."))?;
    Ok((found, space))
}

async fn read(
    api: &Api,
    call: &Call,
    service: &str,
    selection: SchemaSelection,
) -> Result<SchemasWithTexts, Error> {
    let (tenant, service) = (call.tenant().clone(), ServiceId::from(service));
    let space = Box::new(api.answers.empty(Load::Store));
    api.ask_registry(ReadSchemas { tenant, service, selection, space }).await?
}

/// `GET …/schemas`: the schemas in the service's list, and schemas that have a text although the list does not name them.
pub async fn list(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let texts = WithSchema::parse(&call.query_text("withSchema"))?;
    let id = call.param("serviceId");
    validate::service::id(ServiceRequest::ListSchemas, id)?;
    let find = |snapshot: &Snapshot| {
        let listed = require_service(snapshot, call.tenant(), id, NO_SERVICE)?.clone();
        let without_texts = (texts == WithSchema::LeftOut).then(|| without_texts(snapshot, &call, id));
        Ok((listed, without_texts))
    };
    let (view, without_texts) = read_by_flags(&api, &call, find).await?;
    let (mut known, space) = match without_texts {
        Some(known) => (known, None),
        None => {
            let SchemasWithTexts { schemas, space } = read(&api, &call, id, SchemaSelection::All).await?;
            (schemas, Some(space))
        }
    };
    let mut listed: HashSet<String> = known.iter().map(|schema| schema.schema_id.clone()).collect();
    for id in &view.record.document.schemas {
        if listed.insert(id.clone()) {
            known.push(Schema { schema_id: id.clone(), ..Schema::default() });
        }
    }
    let list = SchemaList { schemas: known };
    if space.is_none() {
        return api.encoded(Load::Store, &list);
    }
    // Encoding megabytes takes milliseconds. On another thread, so that other requests do not wait.
    let answers = Arc::clone(&api.answers);
    let encoded = tokio::task::spawn_blocking(move || {
        let _until_encoded = space;
        answers.encode(Load::Store, &list)
    });
    let (body, space) = encoded.await.map_err(|error| Error::new(Code::Internal, error.to_string()))??;
    Ok(Reply::json(body).holding(space))
}

/// The schemas that have a text or a summary, with what the snapshot has of them.
fn without_texts(snapshot: &Snapshot, call: &Call, service: &str) -> Vec<Schema> {
    let Some(node) = snapshot.tenant(call.tenant()).and_then(|tenant| tenant.node(service)) else {
        return Vec::new();
    };
    let mut ids: Vec<_> = node.schema_refs.keys().chain(node.schema_summaries.keys()).collect();
    ids.sort();
    ids.dedup();
    let summary = |id: &Arc<str>| {
        node.schema_summaries.get(id).map(|summary| summary.text.to_string()).unwrap_or_default()
    };
    ids.into_iter()
        .map(|id| Schema { schema_id: id.to_string(), summary: summary(id), schema: String::new() })
        .collect()
}
