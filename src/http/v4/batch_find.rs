//! Batch find: many finds and gets in one request, each with its own revision and its own outcome.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::find::{Wanted, is_good, target_of};
use crate::actors::registry::messages::RecordDependency;
use crate::cache::find::{FindQuery, ListQuery};
use crate::cache::snapshot::Snapshot;
use crate::cache::{FindAnswer, InstanceEntry};
use crate::domain::revision::find_revision;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::flag::batch_action;
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::body;
use crate::http::dto::find::{BatchFind, InstanceQuery, ServiceQuery};
use crate::http::dto::find_answer::{BatchFindAnswer, BatchFindResult, ReadyInstances};
use crate::http::dto::joined;
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Parameter, Success};

pub const BATCH_FIND: Operation = Operation::new(
    "discovery",
    "findMany",
    "Many finds and gets at once, each with its own revision and its own outcome.",
)
.with(&[Parameter::required("type", "`query`."), parameters::CONSUMER, parameters::NO_CACHE])
.takes(dto::find::BatchFind::SHAPE)
.answers(Success::Json(joined::BATCH_ANSWER));

/// `POST /instances/action?type=query`.
pub async fn batch_find(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    batch_action(&call.query_text("type"))?;
    let body: BatchFind = body(call.body())?;
    let query = body.into_query(call.consumer_id()?, api.rules.max_batch)?;
    let mut view = View { api: &api, call: &call, has_caught_up: false };
    if call.wants_current() {
        view.catch_up().await;
    }
    let mut answer = BatchFindAnswer { services: None, instances: None };
    if !query.services.is_empty() {
        let look = async |service| view.find_service(service).await;
        answer.services = Some(look_up(&query.services, ServiceQuery::identity, look).await?);
    }
    if !query.instances.is_empty() {
        let look = async |instance| view.find_instance(instance).await;
        answer.instances = Some(look_up(&query.instances, InstanceQuery::identity, look).await?);
    }
    let outline = answer.outline();
    let space = api.answers.space(Load::Find, outline.size())?;
    Ok(Reply::json(outline.to_json()).holding(space))
}

/// What was found for an element: a revision, and what is written only into the answer.
type Found = (String, Instances);

/// The instances of an element, as the snapshot holds them.
#[derive(Clone, Debug)]
enum Instances {
    OfServices(Arc<FindAnswer>),
    One(Arc<InstanceEntry>),
}

impl ReadyInstances for Instances {
    fn size(&self) -> usize {
        match self {
            Self::OfServices(answer) => answer.instances_size(),
            Self::One(entry) => entry.json().len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::OfServices(answer) => answer.write_instances(out),
            Self::One(entry) => out.extend_from_slice(entry.json()),
        }
    }
}

/// Looks up each element, and equal ones once. Failures of the registry itself are those of the whole request.
async fn look_up<'q, Q, K: Eq + std::hash::Hash>(
    queries: &'q [Q],
    identity: impl Fn(&'q Q) -> (K, &'q str),
    mut look: impl AsyncFnMut(&'q Q) -> Result<Found, Error>,
) -> Result<BatchFindResult<Instances>, Error> {
    let mut known = HashMap::new();
    let mut part = BatchFindResult::default();
    for (index, query) in queries.iter().enumerate() {
        let (key, rev) = identity(query);
        let found = match known.entry((key, rev)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(look(query).await),
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

/// What the elements are looked up in. It catches up at most once: however many are unknown here, they wait as one.
struct View<'a> {
    api: &'a Api,
    call: &'a Call,
    has_caught_up: bool,
}

impl View<'_> {
    async fn catch_up(&mut self) {
        self.api.freshness.catch_up().await;
        self.has_caught_up = true;
    }

    async fn read<T>(
        &mut self,
        known: &str,
        look: impl Fn(&Snapshot) -> Result<T, Error>,
        covers: impl Fn(&T, &str) -> bool,
    ) -> Result<T, Error> {
        let found = look(&self.api.reader.load());
        if self.has_caught_up || is_good(&Wanted::newer(Cow::Borrowed(known)), &found, covers) {
            return found;
        }
        self.catch_up().await;
        look(&self.api.reader.load())
    }

    async fn find_service(&mut self, query: &ServiceQuery) -> Result<Found, Error> {
        let (api, call) = (self.api, self.call);
        let (target, consumer) = (target_of(call)?, call.consumer_id()?);
        let find = FindQuery {
            tenant: call.tenant(),
            target: &target,
            environment: &query.key.environment,
            app_id: &query.key.app_id,
            name: &query.key.service_name,
            tags: &[],
            consumer,
        };
        let look = |snapshot: &Snapshot| snapshot.find(&find, &api.rules.shared);
        let found = self.read(&query.revision, look, |found, known| found.answer.covers(known)).await?;
        if let Some(dependency) = found.dependency {
            api.tell_registry(RecordDependency { tenant: call.tenant().clone(), dependency });
        }
        Ok((found.answer.revision.to_string(), Instances::OfServices(found.answer)))
    }

    async fn find_instance(&mut self, query: &InstanceQuery) -> Result<Found, Error> {
        let (tenant, consumer) = (self.call.tenant(), self.call.consumer_id()?);
        let one = ListQuery { tenant, provider: &query.key.service_id, tags: &[], consumer };
        let look = |snapshot: &Snapshot| {
            let entry = snapshot.find_instance(&one, &query.key.instance_id)?;
            Ok((find_revision(entry.record.mod_revision, 1), entry))
        };
        let covers = |(revision, _): &(String, _), known: &str| revision == known;
        let (revision, entry) = self.read(&query.revision, look, covers).await?;
        Ok((revision, Instances::One(entry)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::error::Code;

    #[test]
    fn equal_elements_are_looked_up_once() {
        let looked = std::cell::RefCell::new(Vec::new());
        let look = async |query: &(&'static str, &'static str)| {
            looked.borrow_mut().push(*query);
            match query.0 {
                "missing" => Err(Error::new(Code::ServiceNotExists, "")),
                name => Ok((
                    name.to_owned(),
                    Instances::OfServices(Arc::new(FindAnswer::join(std::iter::empty()))),
                )),
            }
        };
        let queries =
            [("a", ""), ("missing", ""), ("a", ""), ("a", "a"), ("missing", ""), ("b", ""), ("a", "a")];
        let part = look_up(&queries, |(name, rev)| (*name, *rev), look).now_or_never().unwrap().unwrap();
        let answer = BatchFindAnswer { services: Some(part), instances: None };
        let json = String::from_utf8(answer.outline().to_json()).unwrap();
        let updated = r#""notModified":[3,6],"updated":[{"index":0,"rev":"a"},{"index":2,"rev":"a"},{"index":5,"rev":"b"}]"#;
        assert!(json.contains(r#"{"indexes":[1,4],"#) && json.contains(updated), "{json}");
        assert_eq!(looked.into_inner(), [("a", ""), ("missing", ""), ("a", "a"), ("b", "")]);
    }
}
