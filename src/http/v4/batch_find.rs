//! Batch find: one request finds instances of many services, and reads many instances. Each element has its own revision and its
//! own result.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::find::{note_interest, note_poller, target_of};
use super::fresh_read::{WantedFreshness, is_current};
use crate::actors::registry::messages::RecordDependency;
use crate::cache::find::{FindQuery, ListQuery, NewDependency};
use crate::cache::{FindAnswer, InstanceEntry};
use crate::domain::revision::find_revision;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::{self, flag::batch_action};
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::body;
use crate::http::dto::find::{BatchFind, BatchQuery, InstanceQuery, ServiceQuery};
use crate::http::dto::find_answer::{BatchFindAnswer, BatchFindResult, ReadyInstances};
use crate::http::dto::joined;
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Parameter, Success};

pub const BATCH_FIND: Operation = Operation::new(
    "discovery",
    "findMany",
    "Finds the instances of many services, and reads many instances, in one request.",
)
.with(&[
    Parameter::required("type", "Always `query`.").one_of(&["query"]),
    parameters::CONSUMER,
    parameters::NO_CACHE,
])
.takes(dto::find::BatchFind::SHAPE)
.demanding(validate::find::BATCH)
.answers(Success::Json(joined::BATCH_ANSWER));

/// `POST /instances/action?type=query`.
pub async fn batch_find(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    batch_action(&call.query_text("type"))?;
    let body: BatchFind = body(call.body())?;
    let query = body.into_query(call.consumer_id()?, api.rules.max_batch)?;
    if call.wants_current() {
        api.freshness.catch_up().await;
    }
    let mut read = BatchRead::now(&api, &call, &query)?;
    if read.may_be_stale && !call.wants_current() {
        api.freshness.catch_up().await;
        read = BatchRead::now(&api, &call, &query)?;
    }
    for dependency in read.dependencies {
        api.tell_registry(RecordDependency { tenant: call.tenant().clone(), dependency });
    }
    let outline = read.answer.outline();
    let space = api.answers.space(Load::Find, outline.size())?;
    Ok(Reply::json(outline.to_json()).holding(space))
}

/// The revision of an element, and its instances.
type FoundElement = (String, ElementInstances);

/// The instances of an element. Their JSON is copied only when the answer is written.
#[derive(Clone, Debug)]
enum ElementInstances {
    OfServices(Arc<FindAnswer>),
    One(Arc<InstanceEntry>),
}

impl ReadyInstances for ElementInstances {
    fn size(&self) -> usize {
        match self {
            Self::OfServices(answer) => answer.instances_size(),
            Self::One(entry) => entry.json_length(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::OfServices(answer) => answer.write_instances(out),
            Self::One(entry) => entry.append_json(out),
        }
    }
}

/// Looks up the elements; equal elements are looked up once. An error of an element is part of the answer, unless it is an
/// error of the server (5xx): then the whole request fails.
fn look_up<'q, Q, K: Eq + std::hash::Hash>(
    queries: &'q [Q],
    identity: impl Fn(&'q Q) -> (K, &'q str),
    mut look: impl FnMut(&'q Q) -> Result<FoundElement, Error>,
) -> Result<BatchFindResult<ElementInstances>, Error> {
    let mut known = HashMap::new();
    let mut part = BatchFindResult::default();
    for (index, query) in queries.iter().enumerate() {
        let (key, rev) = identity(query);
        let found = match known.entry((key, rev)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(look(query)),
        };
        match found {
            Ok((revision, _)) if *revision == *rev => part.add_not_modified(index),
            Ok((revision, instances)) => part.add_updated(index, revision.clone(), instances.clone()),
            Err(error) if error.code.status() >= 500 => return Err(error.clone()),
            Err(error) => part.add_failed(index, error.clone()),
        }
    }
    Ok(part)
}

/// The results of all elements, read from one snapshot.
struct BatchRead {
    answer: BatchFindAnswer<ElementInstances>,
    /// Whether a fresher snapshot may give another result for some element, see [`is_current`].
    may_be_stale: bool,
    /// Dependencies of the consumer on the providers that it found.
    dependencies: Vec<NewDependency>,
}

impl BatchRead {
    fn now(api: &Api, call: &Call, query: &BatchQuery) -> Result<Self, Error> {
        let snapshot = api.reader.load_full();
        let (target, consumer, tenant) = (target_of(call)?, call.consumer_id()?, call.tenant());
        let (mut may_be_stale, mut dependencies) = (false, Vec::new());
        let mut answer = BatchFindAnswer { services: None, instances: None };
        if !query.services.is_empty() {
            let look = |service: &ServiceQuery| {
                let find = FindQuery {
                    tenant,
                    target: &target,
                    environment: &service.key.environment,
                    app_id: &service.key.app_id,
                    name: &service.key.service_name,
                    tags: &[],
                    consumer,
                };
                let found = snapshot.find(&find, &api.rules.shared);
                note_interest(api, &snapshot, &find, &found);
                let wanted = WantedFreshness::unless_known(Cow::Borrowed(&service.revision));
                may_be_stale |= !is_current(&wanted, &found, |found, known| found.answer.covers(known));
                let found = found?;
                note_poller(api, call, &find, found.is_shared, snapshot.revision);
                dependencies.extend(found.dependency);
                Ok((
                    found.answer.revision.to_string(),
                    ElementInstances::OfServices(found.answer.into_owned()),
                ))
            };
            answer.services = Some(look_up(&query.services, ServiceQuery::identity, look)?);
        }
        if !query.instances.is_empty() {
            let look = |instance: &InstanceQuery| {
                let one = ListQuery { tenant, provider: &instance.key.service_id, tags: &[], consumer };
                let found = snapshot.find_instance(&one, &instance.key.instance_id);
                let found = found.map(|entry| (find_revision(entry.mod_revision, 1), entry));
                let wanted = WantedFreshness::unless_known(Cow::Borrowed(&instance.revision));
                may_be_stale |= !is_current(&wanted, &found, |(revision, _), known| revision == known);
                found.map(|(revision, entry)| (revision, ElementInstances::One(entry)))
            };
            answer.instances = Some(look_up(&query.instances, InstanceQuery::identity, look)?);
        }
        Ok(Self { answer, may_be_stale, dependencies })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn equal_elements_are_looked_up_once() {
        let looked = std::cell::RefCell::new(Vec::new());
        let look = |query: &(&'static str, &'static str)| {
            looked.borrow_mut().push(*query);
            match query.0 {
                "missing" => Err(Error::new(Code::ServiceNotExists, "")),
                name => Ok((
                    name.to_owned(),
                    ElementInstances::OfServices(Arc::new(FindAnswer::join(std::iter::empty()))),
                )),
            }
        };
        let queries =
            [("a", ""), ("missing", ""), ("a", ""), ("a", "a"), ("missing", ""), ("b", ""), ("a", "a")];
        let part = look_up(&queries, |(name, rev)| (*name, *rev), look).unwrap();
        let answer = BatchFindAnswer { services: Some(part), instances: None };
        let json = String::from_utf8(answer.outline().to_json()).unwrap();
        let updated = r#""notModified":[3,6],"updated":[{"index":0,"rev":"a"},{"index":2,"rev":"a"},{"index":5,"rev":"b"}]"#;
        assert!(json.contains(r#"{"indexes":[1,4],"#) && json.contains(updated), "{json}");
        assert_eq!(looked.into_inner(), [("a", ""), ("missing", ""), ("a", "a"), ("b", "")]);
    }
}
