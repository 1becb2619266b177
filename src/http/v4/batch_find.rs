//! Batch find: many finds and gets in one request, each with its own revision and its own outcome.

use std::sync::Arc;

use bytes::Bytes;

use super::find::{Wanted, read, target_of};
use crate::actors::registry::messages::RecordDependency;
use crate::cache::find::{FindQuery, ListQuery};
use crate::cache::snapshot::Snapshot;
use crate::domain::revision::find_revision;
use crate::domain::validate::flag::batch_action;
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::body;
use crate::http::dto::find::{BatchFind, InstanceQuery, ServiceQuery};
use crate::http::dto::find_answer::{BatchFindAnswer, BatchFindResult};
use crate::http::reply::Reply;

/// `POST /instances/action?type=query`.
pub async fn batch_find(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    batch_action(&call.query_text("type"))?;
    let body: BatchFind = body(call.body())?;
    let query = body.into_query(&call.consumer_id())?;
    if call.wants_current() {
        api.freshness.catch_up().await;
    }
    let mut answer = BatchFindAnswer::default();
    if !query.services.is_empty() {
        let mut part = BatchFindResult::default();
        for (index, service) in query.services.iter().enumerate() {
            add(&mut part, index, &service.revision, find_service(&api, &call, service).await)?;
        }
        answer.services = Some(part);
    }
    if !query.instances.is_empty() {
        let mut part = BatchFindResult::default();
        for (index, instance) in query.instances.iter().enumerate() {
            add(&mut part, index, &instance.revision, find_instance(&api, &call, instance).await)?;
        }
        answer.instances = Some(part);
    }
    Ok(Reply::json(answer.to_json()))
}

type Found = (String, Vec<Bytes>);

/// Failures of the registry itself are those of the whole request.
fn add(
    part: &mut BatchFindResult,
    index: usize,
    known: &str,
    found: Result<Found, Error>,
) -> Result<(), Error> {
    match found {
        Ok((revision, _)) if revision == known => part.add_not_modified(index),
        Ok((revision, instances)) => part.add_updated(index, revision, instances),
        Err(error) if error.code.status() >= 500 => return Err(error),
        Err(error) => part.add_failed(index, error),
    }
    Ok(())
}

async fn find_service(api: &Api, call: &Call, query: &ServiceQuery) -> Result<Found, Error> {
    let (target, consumer) = (target_of(call), call.consumer_id());
    let find = FindQuery {
        tenant: call.tenant(),
        target: &target,
        environment: &query.key.environment,
        app_id: &query.key.app_id,
        name: &query.key.service_name,
        tags: &[],
        consumer: &consumer,
    };
    let wanted =
        if query.revision.is_empty() { Wanted::AsItIs } else { Wanted::Newer(query.revision.clone()) };
    let look = |snapshot: &Snapshot| snapshot.find(&find, &api.rules.shared);
    let found = read(api, &wanted, look, |found| &found.answer.revision).await?;
    if let Some(dependency) = found.dependency {
        api.tell_registry(RecordDependency { tenant: call.tenant().clone(), dependency });
    }
    // Joined already, which is as good as one by one.
    let instances = Some(found.answer.instances()).filter(|instances| !instances.is_empty());
    Ok((found.answer.revision.to_string(), instances.into_iter().collect()))
}

async fn find_instance(api: &Api, call: &Call, query: &InstanceQuery) -> Result<Found, Error> {
    let consumer = call.consumer_id();
    let one =
        ListQuery { tenant: call.tenant(), provider: &query.key.service_id, tags: &[], consumer: &consumer };
    let wanted =
        if query.revision.is_empty() { Wanted::AsItIs } else { Wanted::Newer(query.revision.clone()) };
    let look = |snapshot: &Snapshot| {
        let entry = snapshot.find_instance(&one, &query.key.instance_id)?;
        Ok((find_revision(entry.record.mod_revision, 1), entry))
    };
    let (revision, entry) = read(api, &wanted, look, |(revision, _)| revision).await?;
    Ok((revision, vec![entry.json().clone()]))
}
