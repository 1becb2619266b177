//! `GET /v4/{project}/govern/services` and `…/govern/instances`: searches, sorted and paged by the server.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::Scene;
use crate::cache::search::instances::{FirstKey, SERVICES_AT_ONCE, VersionPlace, load};
use crate::cache::search::text::{KeptTexts, ServiceTexts};
use crate::cache::search::{
    FoundInstance, FoundService, InstanceConditions, InstancePlace, InstanceSearch, InstanceSort, Needle,
    Order, PageFrame, ServiceConditions, ServicePlace, ServiceSearch, ServiceSort, ServiceState,
};
use crate::cache::snapshot::{ServiceNode, TenantView, path_parts};
use crate::cache::statuses::{InstanceStatus, StatusCounts};
use crate::clock::Monotonic;
use crate::domain::event::Revision;
use crate::domain::time::rfc3339;
use crate::domain::validate::rule::Shown;
use crate::domain::{Instance, json, version};
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::search::{
    self as dto, Counts, InstanceCounts, InstanceSummary, ServiceCounts, ServiceSummary, VersionSummary,
};
use crate::http::paging::{AFTER, LIMIT, PageQuery};
use crate::http::parameters::WITH_SHARED;
use crate::http::reply::Reply;
use crate::http::slices::{Pace, in_time};
use crate::http::spec::{Load, Operation, Parameter, Success};

const ENVIRONMENT: Parameter =
    Parameter::query("env", "Only services of this environment. Empty is an environment of its own.");
const APP_ID: Parameter = Parameter::query("appId", "Only services of this application.");
const ORDER: Parameter =
    Parameter::query("order", "`asc`, the default, or `desc`.").one_of(&["", "asc", "desc"]);

pub const SERVICES: Operation = Operation::new(
    "govern",
    "searchServices",
    "Searches services. An item is a name in an application and an environment, with all its versions.",
)
.with(&[
    Parameter::query(
        "search",
        "Part of the name, the alias, the application or the id of a version. Upper and lower case are alike.",
    ),
    ENVIRONMENT,
    APP_ID,
    Parameter::query("status", "Only services of this state; see `state` of the items.")
        .one_of(&["", "empty", "noneUp", "someDown", "allUp"]),
    Parameter::query(
        "sort",
        "`name`, the default; `instances`: the number of instances; `changed`: the revision of the last change. Services that are \
         equal in this are sorted by name, application and environment.",
    )
    .one_of(&["", "name", "instances", "changed"]),
    ORDER,
    WITH_SHARED,
    LIMIT,
    AFTER,
])
.answers(Success::Json(dto::SERVICES))
.for_own_pages();

pub const INSTANCES: Operation =
    Operation::new("govern", "searchInstances", "Searches instances of all services.")
        .with(&[
            Parameter::query(
                "search",
                "Part of the name of the service, or of the id, the host name or an endpoint of the instance. Upper and lower case are \
                 alike, also in `host` and `endpoint`.",
            ),
            Parameter::query("host", "Part of the host name."),
            Parameter::query("endpoint", "Part of an endpoint."),
            Parameter::query("port", "The port of an endpoint, from 1 to 65535.")
                .matching(PORT),
            Parameter::query(
                "property",
                "`name=value`: only instances with this property; `name`: only those with a property of this name. It may be repeated, up \
                 to 16 times; an instance must have all of them.",
            )
            .matching("^(?:[^=]|$)"),
            Parameter::query("status", "Only instances with this status.")
                .one_of(&["", "UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"]),
            ENVIRONMENT,
            APP_ID,
            Parameter::query("serviceName", "Only instances of services with this name."),
            Parameter::query("serviceId", "Only instances of the service with this id."),
            Parameter::query(
                "sort",
                "`service`, the default: name, application, environment, version and id of the service, then the id of the instance; \
                 `host`: the host name, by its bytes; `status`; `changed`: the revision of the last write of the instance. Instances that \
                 are equal in this are sorted as by `service`.",
            )
            .one_of(&["", "service", "host", "status", "changed"]),
            ORDER,
            WITH_SHARED,
            LIMIT,
            AFTER,
        ])
        .answers(Success::Json(dto::INSTANCES))
        .for_own_pages();

/// A port, or nothing.
const PORT: &str =
    "^(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])?$";

/// Most properties that a search may name.
const MOST_PROPERTIES: usize = 16;
/// How many instances a search looks at before it may pause.
const INSTANCES_AT_ONCE: usize = 256;
/// To look at the texts of an instance takes about as long as to write so many bytes.
const INSTANCE_COST: usize = 24;
/// The same for making its texts.
const TEXTS_COST: usize = 256;

/// To look at the revision of an instance takes about as long as to write so many bytes.
const REVISION_COST: usize = 24;

/// `GET /v4/{project}/govern/services`.
pub async fn services(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let page = PageQuery::of(&call)?;
        let by = Sorting::of(&call, &SERVICE_SORTS)?;
        let cursor = page.after::<ServiceCursor>()?;
        let conditions = service_conditions(&call)?;
        let snapshot = api.reader.load_full();
        let scene = Scene::of(&api, &call, &snapshot);
        let no_tenant = TenantView::default();
        let view = scene.view().unwrap_or(&no_tenant);
        let after = cursor.as_ref().map(|cursor| cursor.place(&by)).transpose()?;
        let frame = PageFrame { order: by.order, after, most: page.limit + 1 };
        let turn = api.turns.take().await?;
        let mut search = ServiceSearch::new(view, &conditions, by.sort, frame);
        look_at_services(&scene, &mut search, &mut Pace::default()).await;
        drop(turn);
        let more =
            ServiceCounts { counts: by_state(&search.states), instance_counts: by_status(&search.statuses) };
        let (total, found) = (search.total, search.into_page());
        let places: Vec<_> = found.iter().map(|(place, _)| *place).collect();
        let changed = change_times(&api, view, &found, &mut Pace::default()).await;
        let items =
            found.iter().zip(changed).map(|((_, found), changed)| service_summary(view, found, changed));
        let last = page.limit.checked_sub(1).and_then(|last| places.get(last));
        let answer =
            page.page(snapshot.revision, total, items, |_| last.map(|last| ServiceCursor::new(&by, last)));
        api.encoded(Load::View, &answer.with(more))
    })
    .await
}

async fn look_at_services<'s>(scene: &Scene<'s>, search: &mut ServiceSearch<'s>, pace: &mut Pace) {
    for (path, node) in scene.view().into_iter().flat_map(TenantView::names) {
        pace.step(0).await;
        let Some([environment, app_id, name]) = path_parts(path) else { continue };
        if scene.shows(environment, app_id, name) {
            search.look(path, node);
        }
    }
}

/// `GET /v4/{project}/govern/instances`.
pub async fn instances(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let page = PageQuery::of(&call)?;
        let by = Sorting::of(&call, &INSTANCE_SORTS)?;
        let cursor = page.after::<InstanceCursor>()?;
        let conditions = instance_conditions(&call)?;
        let snapshot = api.reader.load_full();
        let scene = Scene::of(&api, &call, &snapshot);
        let after = cursor.as_ref().map(|cursor| cursor.place(&by)).transpose()?;
        let frame = PageFrame { order: by.order, after, most: page.limit + 1 };
        let turn = api.turns.take().await?;
        let kept = api.search_texts.begin(&api.reader);
        let mut search = InstanceSearch::new(&conditions, by.sort, frame);
        look_at_instances(&scene, &mut search, kept, &mut Pace::default()).await;
        drop(turn);
        let more = InstanceCounts { counts: by_status(&search.statuses) };
        let (total, found) = (search.total, search.into_page());
        let now = api.clock.monotonic();
        let last = page.limit.checked_sub(1).and_then(|last| found.get(last));
        let items = found.iter().map(|(_, found)| instance_summary(found, now));
        let answer = page
            .page(snapshot.revision, total, items, |_| last.map(|(last, _)| InstanceCursor::new(&by, last)));
        api.encoded(Load::View, &answer.with(more))
    })
    .await
}

async fn look_at_instances<'s>(
    scene: &Scene<'s>,
    search: &mut InstanceSearch<'s>,
    kept: &KeptTexts,
    pace: &mut Pace,
) {
    let mut nodes = scene.view().into_iter().flat_map(TenantView::nodes).map(|(_, node)| &**node);
    loop {
        let some: SmallVec<[&ServiceNode; SERVICES_AT_ONCE]> =
            nodes.by_ref().take(SERVICES_AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        for (node, texts) in some.iter().zip(load(&some)) {
            pace.step(0).await;
            let Some(service) = node.view.as_deref().filter(|service| scene.shows_service(service)) else {
                continue;
            };
            let Some(of) = search.enter(service, node) else { continue };
            let texts = match texts {
                Some(texts) => texts,
                None => node.texts.keep(texts_of(node, pace).await, kept),
            };
            for from in (0..texts.len()).step_by(INSTANCES_AT_ONCE) {
                let instances = from..texts.len().min(from + INSTANCES_AT_ONCE);
                pace.step(instances.len() * INSTANCE_COST).await;
                search.look(&of, &texts, instances);
            }
        }
    }
}

/// Makes the texts of a service's instances.
async fn texts_of(node: &ServiceNode, pace: &mut Pace) -> ServiceTexts {
    const AT_ONCE: usize = 32;
    let mut texts = ServiceTexts::default();
    let mut entries = node.instances.iter();
    loop {
        let some: SmallVec<[_; AT_ONCE]> = entries.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            return texts;
        }
        let bytes: usize = some.iter().map(|entry| entry.json_length()).sum();
        pace.step(bytes.max(some.len() * TEXTS_COST)).await;
        texts.add(&some, node.instances.len());
    }
}

fn long(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Numbers of instances by status, without those that are 0.
pub(super) fn by_status(counts: &StatusCounts) -> Counts {
    counts.iter().map(|(status, count)| (status.name().to_owned(), long(count))).collect()
}

/// Numbers of services by state, without those that are 0.
fn by_state(counts: &[usize; ServiceState::ALL.len()]) -> Counts {
    let counts = ServiceState::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0);
    counts.map(|(state, count)| (state.name().to_owned(), long(*count))).collect()
}

/// When each of these services was last changed: Unix time, milliseconds. `None` if nothing tells.
async fn change_times(
    api: &Api,
    view: &TenantView,
    found: &[(ServicePlace<'_>, FoundService<'_>)],
    pace: &mut Pace,
) -> Vec<Option<i64>> {
    let mut times = Vec::with_capacity(found.len());
    for (_, found) in found {
        times.push(document_time(view, found, pace).await);
    }
    // Tags and schemas have no time, and an instance that has gone has no document.
    let untold = found.iter().zip(&times).filter(|(_, time)| time.is_none());
    let untold: BTreeSet<Revision> = untold.map(|((_, found), _)| found.changed).collect();
    if !untold.is_empty() {
        let recorded = api.record.times_of(&untold);
        let changed = found.iter().map(|(_, found)| found.changed);
        for (time, changed) in times.iter_mut().zip(changed) {
            *time = time.or_else(|| recorded.get(&changed).copied());
        }
    }
    times
}

/// The time in the document whose write was the last change of a service.
async fn document_time(view: &TenantView, found: &FoundService<'_>, pace: &mut Pace) -> Option<i64> {
    let mut nodes = found.versions.iter().filter_map(|known| view.node(known.service.as_str()));
    let node = nodes.find(|node| node.active_at == found.changed)?;
    let service = node.view.as_deref().map(|service| &service.record);
    if let Some(record) = service.filter(|record| record.mod_revision == found.changed) {
        return unix_millis(&record.document.mod_timestamp);
    }
    let mut entries = node.instances.iter();
    loop {
        pace.step(INSTANCES_AT_ONCE * REVISION_COST).await;
        let mut some = entries.by_ref().take(INSTANCES_AT_ONCE).peekable();
        some.peek()?;
        let written = some.find(|entry| entry.mod_revision == found.changed);
        if let Some(entry) = written {
            let instance = json::decode::<Instance>(&entry.json()).ok()?;
            return unix_millis(&instance.mod_timestamp);
        }
    }
}

fn service_summary(view: &TenantView, found: &FoundService<'_>, changed: Option<i64>) -> ServiceSummary {
    let mut versions: Vec<_> = found.versions.iter().collect();
    versions.sort_by_key(|known| (version::parse(&known.version), &known.version));
    let versions = versions.into_iter().map(|known| {
        let node = view.node(known.service.as_str());
        let service = node.and_then(|node| node.view.as_deref());
        let registered = service.and_then(|service| unix_millis(&service.record.document.timestamp));
        VersionSummary {
            service_id: known.service.to_string(),
            version: known.version.to_string(),
            instances: node.map(|node| by_status(&node.statuses)).unwrap_or_default(),
            registered: registered.map(rfc3339).unwrap_or_default(),
        }
    });
    ServiceSummary {
        environment: found.environment.to_owned(),
        app_id: found.app_id.to_owned(),
        service_name: found.name.to_owned(),
        versions: versions.collect(),
        state: found.state.name().to_owned(),
        instances: by_status(&found.statuses),
        last_change_revision: found.changed,
        last_change: changed.map(rfc3339).unwrap_or_default(),
    }
}

pub(super) fn instance_summary(found: &FoundInstance<'_>, now: Monotonic) -> InstanceSummary {
    // What a snapshot holds was encoded from an instance.
    let instance = json::decode::<Instance>(&found.entry.json()).unwrap_or_default();
    let document = &found.service.record.document;
    let ttl_seconds = instance.health_ttl_seconds();
    let time = |seconds: &str| unix_millis(seconds).map(rfc3339).unwrap_or_default();
    InstanceSummary {
        service_id: found.service.id.to_string(),
        service_name: document.service_name.clone(),
        app_id: document.app_id.clone(),
        environment: document.environment.clone(),
        version: document.version.clone(),
        instance_id: instance.instance_id,
        host_name: instance.host_name,
        endpoints: instance.endpoints,
        status: instance.status,
        ttl_seconds,
        last_heartbeat_age: heartbeat_age(found, now),
        registered: time(&instance.timestamp),
        last_change_revision: found.entry.mod_revision,
        last_change: time(&instance.mod_timestamp),
    }
}

/// From the seconds in a document. `None` if it does not tell.
fn unix_millis(seconds: &str) -> Option<i64> {
    seconds.parse::<i64>().ok()?.checked_mul(1_000)
}

/// Seconds since the last heartbeat that this node has had.
fn heartbeat_age(found: &FoundInstance<'_>, now: Monotonic) -> Option<i64> {
    let last = found.entry.lease.as_ref()?.last_beat()?;
    i64::try_from(now.saturating_sub(last).as_secs()).ok()
}

/// What a list is sorted by.
struct Sorting<S> {
    sort: S,
    order: Order,
    /// The name of both, for cursors.
    name: String,
}

const SERVICE_SORTS: [(&str, ServiceSort); 3] =
    [("name", ServiceSort::Name), ("instances", ServiceSort::Instances), ("changed", ServiceSort::Changed)];
const INSTANCE_SORTS: [(&str, InstanceSort); 4] = [
    ("service", InstanceSort::Service),
    ("host", InstanceSort::Host),
    ("status", InstanceSort::Status),
    ("changed", InstanceSort::Changed),
];

impl<S: Copy> Sorting<S> {
    /// From the parameters `sort` and `order`. The first of `sorts` is the default.
    fn of<const N: usize>(call: &Call, sorts: &[(&'static str, S); N]) -> Result<Self, Error> {
        const ORDERS: [(&str, Order); 2] = [("asc", Order::Ascending), ("desc", Order::Descending)];
        let (sort_name, sort) = one_of(call, "sort", sorts)?.unwrap_or(sorts[0]);
        let (order_name, order) = one_of(call, "order", &ORDERS)?.unwrap_or(ORDERS[0]);
        Ok(Self { sort, order, name: format!("{sort_name} {order_name}") })
    }

    /// 400001 unless a cursor is of a list that is sorted like this.
    fn check(&self, cursor: &str) -> Result<(), Error> {
        if cursor == self.name {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the parameter 'after' continues a list that is sorted by '{}', not by '{}'; leave 'sort' and 'order' as they were",
            Shown::new(cursor),
            self.name
        )))
    }
}

/// A parameter with few values. `None` if it is missing or empty; 400001 for another value.
pub(super) fn one_of<T: Copy>(
    call: &Call,
    name: &str,
    values: &[(&'static str, T)],
) -> Result<Option<(&'static str, T)>, Error> {
    let text = call.query_text(name);
    if text.is_empty() {
        return Ok(None);
    }
    let found = values.iter().copied().find(|(known, _)| *known == text);
    found.map(Some).ok_or_else(|| {
        let known: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
        let shown = Shown::new(text);
        Error::invalid(format!("the parameter '{name}' is '{shown}'; give one of {}", known.join(", ")))
    })
}

/// A condition. An empty one counts as missing.
fn text(call: &Call, name: &str) -> Option<String> {
    call.query(name).filter(|text| !text.is_empty()).map(|text| text.into_owned())
}

fn needle(call: &Call, name: &str) -> Option<Needle> {
    Needle::new(&call.query_text(name))
}

fn service_conditions(call: &Call) -> Result<ServiceConditions, Error> {
    let states = ServiceState::ALL.map(|state| (state.name(), state));
    Ok(ServiceConditions {
        search: needle(call, "search"),
        environment: call.query("env").map(|text| text.into_owned()),
        app_id: text(call, "appId"),
        state: one_of(call, "status", &states)?.map(|(_, state)| state),
    })
}

fn instance_conditions(call: &Call) -> Result<InstanceConditions, Error> {
    let properties: Vec<_> = call.query_values("property").collect();
    if properties.len() > MOST_PROPERTIES {
        let named = properties.len();
        let detail = format!("the query names {named} properties, at most {MOST_PROPERTIES} are allowed");
        return Err(Error::invalid(detail));
    }
    let property = |text: &str| match text.split_once('=') {
        Some(("", _)) => Err(Error::invalid(format!(
            "the property '{}' in the query has no name; give name=value",
            Shown::new(text)
        ))),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((text.to_owned(), None)),
    };
    let port = text(call, "port").map(|text| {
        let is_number = text.starts_with(|c: char| matches!(c, '1'..='9'));
        let port = text.parse::<u16>().ok().filter(|_| is_number);
        port.ok_or_else(|| {
            let shown = Shown::new(&text);
            Error::invalid(format!("the parameter 'port' is '{shown}'; give a number from 1 to 65535"))
        })
    });
    let statuses = InstanceStatus::STORED.map(|status| (status.name(), status));
    Ok(InstanceConditions {
        environment: call.query("env").map(|text| text.into_owned()),
        app_id: text(call, "appId"),
        service_name: text(call, "serviceName"),
        service_id: text(call, "serviceId"),
        search: needle(call, "search"),
        host: needle(call, "host"),
        endpoint: needle(call, "endpoint"),
        port: port.transpose()?,
        properties: properties
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| property(text))
            .collect::<Result<_, _>>()?,
        status: one_of(call, "status", &statuses)?.map(|(_, status)| status),
    })
}

/// Sorting, number, name, application and environment of the last service of a page.
#[derive(Debug, Serialize, Deserialize)]
struct ServiceCursor(String, i64, String, String, String);

impl ServiceCursor {
    fn new(by: &Sorting<ServiceSort>, last: &ServicePlace<'_>) -> Self {
        let ServicePlace { number, name, app_id, environment } = *last;
        Self(by.name.clone(), number, name.to_owned(), app_id.to_owned(), environment.to_owned())
    }

    fn place(&self, by: &Sorting<ServiceSort>) -> Result<ServicePlace<'_>, Error> {
        by.check(&self.0)?;
        let Self(_, number, name, app_id, environment) = self;
        Ok(ServicePlace { number: *number, name, app_id, environment })
    }
}

/// Sorting, what it is sorted by, the parts of the service, and the id of the last instance of a page.
#[derive(Debug, Serialize, Deserialize)]
struct InstanceCursor(String, CursorKey, [String; 5], String);

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum CursorKey {
    Number(i64),
    Text(String),
    None,
}

impl InstanceCursor {
    fn new(by: &Sorting<InstanceSort>, last: &InstancePlace<'_>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let key = match &last.first {
            FirstKey::None => CursorKey::None,
            FirstKey::Number(number) => CursorKey::Number(*number),
            FirstKey::Text(first) => CursorKey::Text(text(first)),
        };
        Self(by.name.clone(), key, last.service.parts().map(str::to_owned), text(&last.instance))
    }

    fn place(&self, by: &Sorting<InstanceSort>) -> Result<InstancePlace<'_>, Error> {
        by.check(&self.0)?;
        let Self(_, key, [name, app_id, environment, version, id], instance) = self;
        let first = match key {
            CursorKey::None => FirstKey::None,
            CursorKey::Number(number) => FirstKey::Number(*number),
            CursorKey::Text(text) => FirstKey::Text(text.as_bytes().into()),
        };
        Ok(InstancePlace {
            first,
            service: VersionPlace::new(name, app_id, environment, version, id),
            instance: instance.as_bytes().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MadeUp, fewest, many};
    use super::*;
    use crate::cache::Snapshot;
    use crate::domain::Tenant;
    use crate::http::slices::SLICE;
    use crate::http::slices::tests::slices;
    use crate::rbac::Grant;

    /// Searches for everything, for instances twice. Returns the numbers of services, instances and slices.
    fn searched(snapshot: &Snapshot, grant: &Grant) -> [usize; 5] {
        let tenant = Tenant::default_tenant();
        let scene = Scene { snapshot, tenant: &tenant, grant, left_out: None };
        let Some(view) = scene.view() else { panic!("no tenant") };
        let conditions = ServiceConditions::default();
        let frame = PageFrame { order: Order::Ascending, after: None, most: 10 };
        let mut services = ServiceSearch::new(view, &conditions, ServiceSort::Name, frame);
        let of_services = slices(async {
            look_at_services(&scene, &mut services, &mut Pace::default()).await;
        });
        // Each instance is looked at: all ids begin so.
        let conditions = InstanceConditions { search: Needle::new("i"), ..InstanceConditions::default() };
        let frame = PageFrame { order: Order::Ascending, after: None, most: 10 };
        let kept = KeptTexts::default();
        let [first, second] = [(); 2].map(|()| {
            let mut instances = InstanceSearch::new(&conditions, InstanceSort::Service, frame.clone());
            let slices = slices(async {
                look_at_instances(&scene, &mut instances, &kept, &mut Pace::default()).await;
            });
            (instances.total, slices)
        });
        assert_eq!(first.0, second.0, "the texts that are kept say the same");
        [services.total, first.0, of_services, first.1, second.1]
    }

    #[test]
    fn a_search_stops_after_each_slice() {
        let [services, instances, of_services, first, second] = searched(&many(10_000), &Grant::All);
        assert_eq!((services, instances), (10_000, 10_000));
        assert!(of_services >= fewest(10_000, 0), "{of_services} slices");
        assert!(first >= fewest(30_000, 0) && second >= fewest(20_000, 0), "{first} and {second} slices");
        // One service with many instances.
        let mut registry = MadeUp::default();
        registry.service("s", "", "app", "s");
        (0..50_000).for_each(|number| registry.instance("s", &format!("i{number}")));
        let [services, instances, _, first, second] = searched(&registry.snapshot(), &Grant::All);
        assert_eq!((services, instances), (1, 50_000));
        assert!(first >= 50_000 * TEXTS_COST / (2 * SLICE), "{first} slices");
        assert!(second >= 50_000 * INSTANCE_COST / (2 * SLICE), "{second} slices");
    }

    #[test]
    fn services_that_the_caller_does_not_see_take_their_time_too() {
        let nothing = Grant::Labelled([].into());
        let [services, instances, of_services, of_instances, _] = searched(&many(10_000), &nothing);
        assert_eq!((services, instances), (0, 0));
        assert!(of_services.min(of_instances) >= fewest(10_000, 0));
    }
}
