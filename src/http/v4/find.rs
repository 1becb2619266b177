//! Finds: the instances of a provider by name, the instances of a service version, one instance.

use std::sync::Arc;

use super::fresh_read::{WantedFreshness, is_current, read};
use crate::actors::hub::HubActor;
use crate::actors::interests::NotedBy;
use crate::actors::pollers::PollerFind;
use crate::actors::registry::messages::RecordDependency;
use crate::cache::FindAnswer;
use crate::cache::find::{FindQuery, FoundInstances, ListQuery};
use crate::cache::snapshot::Snapshot;
use crate::domain::Tenant;
use crate::domain::event::Revision;
use crate::domain::revision::find_revision;
use crate::domain::validate::find::{self as valid, FindParameters, ListParameters};
use crate::domain::validate::member;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::{Answer, Call, X_DOMAIN_NAME};
use crate::http::dto::joined;
use crate::http::parameters;
use crate::http::reply::{Gzip, Reply};
use crate::http::spec::{Load, Operation, Parameter, Success, Surface};

pub const FIND: Operation =
    Operation::new("discovery", "findInstances", "Finds the instances of all versions of a service, whatever their status. If the request names a consumer, \
             the consumer depends on the service from then on, and its watches get the changes.").with(&[
                Parameter::required("appId", "The application of the provider.").like(member::APP_ID),
                Parameter::required("serviceName", "The name or the alias of the provider.").like(member::FIND_NAME),
                Parameter::query("env", "The environment of the provider. Ignored if the request names a consumer: then it is the environment of the consumer.")
                    .like(member::ENVIRONMENT),
                Parameter::query("version", "Ignored: the answer has all versions."),
                parameters::TAGS, parameters::REV, parameters::CONSUMER, parameters::NO_CACHE, parameters::CACHE_ONLY,
            ])
            .answers(Success::Found(joined::INSTANCES))
            .fails_with(&[Code::ServiceNotExists]);

pub const LIST: Operation =
    Operation::new("discovery", "listInstances", "Lists the instances of a service version.")
        .with(parameters::OF_A_SERVICE)
        .answers(Success::Found(joined::INSTANCES))
        .fails_with(&[Code::ServiceNotExists]);

pub const INSTANCE: Operation = Operation::new("discovery", "readInstance", "Returns one instance.")
    .with(parameters::OF_A_SERVICE)
    .answers(Success::Found(joined::INSTANCE))
    .fails_with(&[Code::ServiceNotExists, Code::InstanceNotExists]);

/// Smaller bodies, in bytes, are compressed for each answer: that costs less than keeping the compressed body.
const COMPRESS_AT_ONCE: usize = 16 * 1024;

/// The result of reading the current snapshot.
enum FindResult {
    Current(Result<Reply, Error>),
    /// A fresher snapshot may give another result.
    MayBeStale(Result<Reply, Error>),
}

/// `GET /instances`. Nearly always the current snapshot has the answer. Then the handler returns it without a future, because
/// a future costs more than the find.
pub fn find(api: &Arc<Api>, call: Call) -> Answer {
    match find_now(api, &call).unwrap_or_else(|error| FindResult::Current(Err(error))) {
        FindResult::Current(answer) => answer.into(),
        FindResult::MayBeStale(_) => {
            let api = Arc::clone(api);
            Answer::later(async move {
                api.freshness.catch_up().await;
                let (FindResult::Current(answer) | FindResult::MayBeStale(answer)) = find_now(&api, &call)?;
                answer
            })
        }
    }
}

fn find_now(api: &Api, call: &Call) -> Result<FindResult, Error> {
    let target = target_of(call)?;
    let names = ["appId", "serviceName", "env", "tags", "noCache", "cacheOnly", "rev"];
    let [app_id, name, environment, tags, freshness @ ..] = call.queries(names);
    let [app_id, name, environment, tags] = [app_id, name, environment, tags].map(Option::unwrap_or_default);
    let consumer = call.consumer_id()?;
    valid::find(&FindParameters {
        consumer_id: consumer,
        environment: &environment,
        app_id: &app_id,
        service_name: &name,
        tags: &tags,
    })?;
    let tags: Vec<&str> = valid::tag_keys(&tags).collect();
    let find = FindQuery {
        tenant: call.tenant(),
        target: &target,
        environment: &environment,
        app_id: &app_id,
        name: &name,
        tags: &tags,
        consumer,
    };
    let wanted = WantedFreshness::from_values(freshness);
    let snapshot = api.reader.load();
    let found = snapshot.find(&find, &api.rules.shared);
    let is_current = !matches!(wanted, WantedFreshness::Current)
        && is_current(&wanted, &found, |found, known| found.answer.covers(known));
    note_interest(api, &snapshot, &find, &found);
    let answer = found.and_then(|FoundInstances { answer, dependency, is_shared, .. }| {
        note_poller(api, call, &find, is_shared, snapshot.revision);
        if let Some(dependency) = dependency {
            api.tell_registry(RecordDependency { tenant: call.tenant().clone(), dependency });
        }
        if wanted.is_known(&answer.revision) {
            Ok(Reply::not_modified(&answer.revision))
        } else {
            found_reply(api, call, &answer)
        }
    });
    Ok(if is_current { FindResult::Current(answer) } else { FindResult::MayBeStale(answer) })
}

/// Notes that a consumer looks for a provider, if a find shows it nothing. Its watches are then told when the provider appears.
pub fn note_interest(
    api: &Api,
    snapshot: &Snapshot,
    query: &FindQuery<'_>,
    found: &Result<FoundInstances<'_>, Error>,
) {
    let shows_none = match found {
        Ok(found) => found.shows_none,
        Err(error) => error.code == Code::ServiceNotExists,
    };
    if shows_none
        && let Some(wanted) = snapshot.wanted(query, &api.rules.shared)
        && api.interests.note(wanted.clone(), NotedBy::ThisNode)
    {
        // The provider may have appeared since the snapshot was loaded.
        HubActor::show_if_there(&api.hub, &api.reader, vec![wanted]);
    }
}

/// Notes that a consumer has been answered, so that a drain knows whom to wait for.
pub fn note_poller(api: &Api, call: &Call, query: &FindQuery<'_>, is_shared: bool, revision: Revision) {
    let &FindQuery { tenant, target, consumer, app_id, name, .. } = query;
    let target = if is_shared { target } else { tenant };
    let client = call.head().peer_addr.map(|client| client.ip());
    api.pollers.found(&PollerFind { tenant, consumer, client, target, app_id, name, revision });
}

/// The tenant in which a find looks for shared services. In the API v4 it is the tenant of the caller. In the API v3 it comes from
/// another header than the tenant of the caller.
pub fn target_of(call: &Call) -> Result<Tenant, Error> {
    if call.surface() != Surface::V3 {
        return Ok(call.tenant().clone());
    }
    Ok(match call.header(&X_DOMAIN_NAME)? {
        "" => call.tenant().clone(),
        domain => Tenant::new(domain, "default"),
    })
}

/// `GET /microservices/{serviceId}/instances`.
pub async fn list(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let tags = call.query_text("tags");
    let (consumer, service) = (call.consumer_id()?, call.param("serviceId"));
    valid::list(&ListParameters { consumer_id: consumer, service_id: service, tags: &tags })?;
    let tags: Vec<&str> = valid::tag_keys(&tags).collect();
    let list = ListQuery { tenant: call.tenant(), provider: service, tags: &tags, consumer };
    let freshness = WantedFreshness::of(&call);
    let find = |snapshot: &Snapshot| snapshot.list_instances(&list);
    let answer = read(&api, &freshness, find, |answer, known| answer.covers(known)).await?;
    if freshness.is_known(&answer.revision) {
        return Ok(Reply::not_modified(&answer.revision));
    }
    found_reply(&api, &call, &answer)
}

/// `GET /microservices/{serviceId}/instances/{instanceId}`.
pub async fn instance(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let tags = call.query_text("tags");
    let (consumer, service, instance) =
        (call.consumer_id()?, call.param("serviceId"), call.param("instanceId"));
    valid::instance(&ListParameters { consumer_id: consumer, service_id: service, tags: &tags }, instance)?;
    let tags: Vec<&str> = valid::tag_keys(&tags).collect();
    let one = ListQuery { tenant: call.tenant(), provider: service, tags: &tags, consumer };
    let freshness = WantedFreshness::of(&call);
    let find = |snapshot: &Snapshot| {
        let entry = snapshot.find_instance(&one, instance)?;
        Ok((find_revision(entry.mod_revision, 1), entry))
    };
    let (revision, entry) = read(&api, &freshness, find, |(revision, _), known| revision == known).await?;
    if freshness.is_known(&revision) {
        return Ok(Reply::not_modified(&revision));
    }
    let mut body = Vec::with_capacity(entry.json_length() + 16);
    body.extend_from_slice(b"{\"instance\":");
    entry.append_json(&mut body);
    body.push(b'}');
    Ok(Reply::json(body).revision(&revision))
}

/// The reply with the body of a find. A large body that has not changed for a while is compressed once, and the compressed body
/// is kept for the next answers.
pub fn found_reply(api: &Api, call: &Call, answer: &Arc<FindAnswer>) -> Result<Reply, Error> {
    // A kept body is counted when it is sent, and once for all answers that send it.
    let _until_sent = match answer.is_kept() {
        true => api.answers.check(answer.size()).map(|()| None),
        false => api.answers.space(Load::Find, answer.size()),
    }?;
    let reply = Reply::json(answer.body()).revision(&answer.revision);
    if answer.size() < COMPRESS_AT_ONCE || !call.accepts_gzip() {
        return Ok(reply);
    }
    if let Some(gzip) = answer.gzip() {
        return Ok(reply.gzip(Gzip::Ready(gzip)));
    }
    if answer.has_settled(api.clock.monotonic()) {
        let answer = Arc::clone(answer);
        let keep = Box::new(move |gzip| answer.keep_gzip(gzip));
        return Ok(reply.gzip(Gzip::CompressAndKeep(keep)));
    }
    Ok(reply.gzip(Gzip::Never))
}
