//! Finding instances: by name, of a service, one.

use std::sync::Arc;

use super::look::{Wanted, is_good, look};
use crate::actors::registry::messages::RecordDependency;
use crate::cache::FindAnswer;
use crate::cache::find::{FindQuery, FoundInstances, ListQuery};
use crate::cache::snapshot::Snapshot;
use crate::domain::Tenant;
use crate::domain::revision::find_revision;
use crate::domain::validate::find::{self as valid, FindParameters, ListParameters};
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::{Answer, Call, X_DOMAIN_NAME};
use crate::http::dto::joined;
use crate::http::parameters;
use crate::http::reply::{Gzip, Reply};
use crate::http::spec::{Load, Operation, Parameter, Success, Surface};

pub const FIND: Operation =
    Operation::new("discovery", "findInstances", "Instances of all versions of a service, whatever their status. With a consumer, it depends on the service \
             from then on, and its watches are told of changes.").with(&[
                Parameter::required("appId", "The provider's application."), Parameter::required("serviceName", "Its name or alias."),
                Parameter::query("env", "Its environment; with a consumer, the consumer's counts."),
                Parameter::query("version", "Taken and ignored: all versions are answered."),
                parameters::TAGS, parameters::REV, parameters::CONSUMER, parameters::NO_CACHE, parameters::CACHE_ONLY,
            ])
            .answers(Success::Found(joined::INSTANCES));

pub const LIST: Operation = Operation::new("discovery", "listInstances", "Instances of one service version.")
    .with(parameters::OF_A_SERVICE)
    .answers(Success::Found(joined::INSTANCES));

pub const INSTANCE: Operation = Operation::new("discovery", "readInstance", "One instance.")
    .with(parameters::OF_A_SERVICE)
    .answers(Success::Found(joined::INSTANCE));

/// Bodies below this are compressed for each answer: that costs less than keeping them twice.
const COMPRESS_AT_ONCE: usize = 16 * 1024;

/// What one look in the snapshot led to.
enum Looked {
    /// The answer.
    Sure(Result<Reply, Error>),
    /// The answer, unless another node knows better.
    Unsure(Result<Reply, Error>),
}

/// `GET /instances`: instances of all versions of a provider. Nearly always the first look is the answer; it is given without a
/// future, whose making costs more than the look.
pub fn find(api: &Arc<Api>, call: Call) -> Answer {
    match find_now(api, &call).unwrap_or_else(|refused| Looked::Sure(Err(refused))) {
        Looked::Sure(answer) => answer.into(),
        Looked::Unsure(_) => {
            let api = Arc::clone(api);
            Answer::later(async move {
                api.freshness.catch_up().await;
                let (Looked::Sure(answer) | Looked::Unsure(answer)) = find_now(&api, &call)?;
                answer
            })
        }
    }
}

fn find_now(api: &Api, call: &Call) -> Result<Looked, Error> {
    let target = target_of(call)?;
    let (app_id, name) = (call.query_text("appId"), call.query_text("serviceName"));
    let (environment, tags) = (call.query_text("env"), call.query_text("tags"));
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
    let wanted = Wanted::of(call);
    let found = api.reader.load().find(&find, &api.rules.shared);
    let is_sure = !matches!(wanted, Wanted::Fresh)
        && is_good(&wanted, &found, |found, known| found.answer.covers(known));
    let answer = found.and_then(|FoundInstances { answer, dependency }| {
        if let Some(dependency) = dependency {
            api.tell_registry(RecordDependency { tenant: call.tenant().clone(), dependency });
        }
        if wanted.is_known(&answer.revision) {
            Ok(Reply::not_modified(&answer.revision))
        } else {
            found_reply(api, call, &answer)
        }
    });
    Ok(if is_sure { Looked::Sure(answer) } else { Looked::Unsure(answer) })
}

/// Where shared services are looked for: on v4 the caller's own tenant; on v3 a caller has its tenant from one header
/// and its target from another.
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
    let freshness = Wanted::of(&call);
    let find = |snapshot: &Snapshot| snapshot.list_instances(&list);
    let answer = look(&api, &freshness, find, |answer, known| answer.covers(known)).await?;
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
    let freshness = Wanted::of(&call);
    let find = |snapshot: &Snapshot| {
        let entry = snapshot.find_instance(&one, instance)?;
        Ok((find_revision(entry.record.mod_revision, 1), entry))
    };
    let (revision, entry) = look(&api, &freshness, find, |(revision, _), known| revision == known).await?;
    if freshness.is_known(&revision) {
        return Ok(Reply::not_modified(&revision));
    }
    let json = entry.json();
    let mut body = Vec::with_capacity(json.len() + 16);
    body.extend_from_slice(b"{\"instance\":");
    body.extend_from_slice(json);
    body.push(b'}');
    Ok(Reply::json(body).revision(&revision))
}

/// A ready body. Large ones are compressed once they have stood for a while, and then kept compressed.
pub fn found_reply(api: &Api, call: &Call, answer: &Arc<FindAnswer>) -> Result<Reply, Error> {
    // One that is kept is counted when it is sent, once however many send it.
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
