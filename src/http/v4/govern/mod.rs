//! The views for portals: services with what belongs to them, their relations, and numbers. Each answer is made of one snapshot.

mod details;
pub mod explain;
pub mod neighbors;
mod relations;
pub mod search;
mod statistics;
pub mod watchers;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use self::details::{Details, Form, Parts, SchemaTexts};
use self::relations::Relations;
use super::fresh_read::{read_by_flags, require_service};
use super::services::NO_SERVICE;
use crate::cache::ServiceView;
use crate::cache::dependency::PartnerFilter;
use crate::cache::snapshot::{Snapshot, TenantView, path_parts};
use crate::domain::shape::Shaped as _;
use crate::domain::shared::SharedServices;
use crate::domain::validate::flag::CountOnly;
use crate::domain::validate::member::ENVIRONMENT;
use crate::domain::validate::{self, service::ServiceRequest};
use crate::domain::{ServiceId, Tenant};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::govern::{self as dto, Apps, Statistics, StatisticsAnswer};
use crate::http::parameters::{NO_CACHE, WITH_SHARED};
use crate::http::reply::Reply;
use crate::http::slices::{ListMember, Members, Out, Pace, Walk, in_time};
use crate::http::spec::{Load, Operation, Parameter, Success};
use crate::rbac::Grant;

const APP_ID: Parameter = Parameter::query("appId", "Only services of this application.");
const SERVICE_NAME: Parameter = Parameter::query("serviceName", "Only services with this name.");

pub const LIST: Operation =
    Operation::new("govern", "listServiceDetails", "Lists services with what belongs to them.")
        .with(&[
            Parameter::query(
                "options",
                "What the answer contains besides the services, separated by commas: `tags`, `instances`, `schemas`, `dependencies`, \
                 `statistics`, or `all`. With `statistics` alone the answer has no services. Other words are ignored.",
            ),
            APP_ID,
            SERVICE_NAME,
            Parameter::query("env", "Only services of this environment."),
            Parameter::query("property", "Only services with this property, `name:value`. It may be given several times."),
            Parameter::query("countOnly", "`1`: the number of instances instead of the instances.").one_of(CountOnly::ACCEPTED),
            WITH_SHARED,
            NO_CACHE,
        ])
        .answers(Success::Json(dto::SERVICE_DETAILS));

pub const DETAIL: Operation =
    Operation::new("govern", "readServiceDetail", "Returns a service with all that belongs to it.")
        .with(&[NO_CACHE])
        .answers(Success::Json(dto::SERVICE_DETAIL))
        .fails_with(&[Code::ServiceNotExists]);

pub const RELATIONS: Operation =
    Operation::new("govern", "listRelations", "Lists which services depend on which.")
        .with(&[WITH_SHARED, NO_CACHE])
        .answers(Success::Json(dto::RELATIONS));

pub const APPS: Operation = Operation::new("govern", "listApps", "Lists the applications of an environment.")
    .with(&[
        Parameter::query("env", "The environment. Without it: the empty one.").like(ENVIRONMENT),
        WITH_SHARED,
        NO_CACHE,
    ])
    .answers(Success::Json(Apps::SHAPE));

pub const STATISTICS: Operation =
    Operation::new("govern", "readStatistics", "Counts services, instances and applications.")
        .with(&[WITH_SHARED, NO_CACHE])
        .answers(Success::Json(StatisticsAnswer::SHAPE));

/// What a caller sees of a tenant in one snapshot.
struct Scene<'a> {
    snapshot: &'a Snapshot,
    tenant: &'a Tenant,
    grant: &'a Grant,
    /// The shared services that are left out. `None` if the caller wants them.
    left_out: Option<&'a SharedServices>,
}

impl<'a> Scene<'a> {
    fn of(api: &'a Api, call: &'a Call, snapshot: &'a Snapshot) -> Self {
        let left_out = (!call.flag("withShared")).then_some(&api.rules.shared);
        Self { snapshot, tenant: call.tenant(), grant: call.grant(), left_out }
    }

    fn view(&self) -> Option<&'a TenantView> {
        self.snapshot.tenant(self.tenant).map(Arc::as_ref)
    }

    /// All services of the tenant, also those that the caller does not see.
    fn services(&self) -> impl Iterator<Item = &'a Arc<ServiceView>> + use<'a> {
        self.view().into_iter().flat_map(TenantView::services)
    }

    fn shows(&self, environment: &str, app_id: &str, name: &str) -> bool {
        let is_left_out = self.left_out.is_some_and(|shared| shared.contains(self.tenant, app_id, name));
        !is_left_out && self.grant.shows(environment, app_id, name)
    }

    fn shows_service(&self, service: &ServiceView) -> bool {
        let document = &service.record.document;
        self.shows(&document.environment, &document.app_id, &document.service_name)
    }
}

/// The current snapshot; with the flag `noCache` one that holds all writes committed before the request.
async fn snapshot(api: &Api, call: &Call) -> Arc<Snapshot> {
    if call.wants_current() {
        api.freshness.catch_up().await;
    }
    api.reader.load_full()
}

/// `GET /govern/microservices`.
pub async fn list(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let query = ListQuery::of(&call)?;
        let snapshot = snapshot(&api, &call).await;
        let scene = Scene::of(&api, &call, &snapshot);
        let statistics = match query.wants_statistics {
            true => Some(counted(&api, &scene).await?),
            false => None,
        };
        let texts = match query.parts.schemas && query.wants_list {
            true => SchemaTexts::read(&api, scene.tenant, &with_schemas(&api, &scene, &query).await?).await?,
            false => SchemaTexts::default(),
        };
        let form = Form::InList { kept: &api.rules.instance_properties, count_only: query.count_only };
        // Only the tenant's own services, without the service itself.
        let filter = PartnerFilter { same_tenant: true, not_self: true };
        let details =
            Details { snapshot: &snapshot, tenant: scene.tenant, grant: scene.grant, filter, form, texts };
        api.built(&List { scene, query, statistics, details }).await
    })
    .await
}

/// The services of a list that have schemas, as far as the snapshot knows.
async fn with_schemas(api: &Api, scene: &Scene<'_>, query: &ListQuery<'_>) -> Result<Vec<ServiceId>, Error> {
    let _turn = api.turns.take().await?;
    let (mut found, mut pace) = (Vec::new(), Pace::default());
    for service in scene.services() {
        pace.step(0).await;
        if scene.shows_service(service)
            && query.selects(service)
            && details::has_schemas(scene.snapshot, scene.tenant, service)
        {
            found.push(service.id.clone());
        }
    }
    Ok(found)
}

async fn counted(api: &Api, scene: &Scene<'_>) -> Result<Statistics, Error> {
    let _turn = api.turns.take().await?;
    Ok(statistics::count(scene, &mut Pace::default()).await)
}

/// What a list is asked for.
struct ListQuery<'a> {
    wants_list: bool,
    wants_statistics: bool,
    parts: Parts,
    count_only: CountOnly,
    environment: Cow<'a, str>,
    app_id: Cow<'a, str>,
    service_name: Cow<'a, str>,
    /// Properties that a service must have.
    properties: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> ListQuery<'a> {
    fn of(call: &'a Call) -> Result<Self, Error> {
        let options = call.query_text("options");
        let options: HashSet<&str> = options.split(',').collect();
        let has = |option| options.contains(option) || options.contains("all");
        let parts = Parts {
            tags: has("tags"),
            instances: has("instances"),
            schemas: has("schemas"),
            dependencies: has("dependencies"),
        };
        Ok(Self {
            wants_list: !(options.len() == 1 && options.contains("statistics")),
            wants_statistics: has("statistics"),
            parts,
            count_only: CountOnly::parse(&call.query_text("countOnly"))?,
            environment: call.query_text("env"),
            app_id: call.query_text("appId"),
            service_name: call.query_text("serviceName"),
            properties: call.query_values("property").map(property).collect(),
        })
    }

    fn selects(&self, service: &ServiceView) -> bool {
        let document = &service.record.document;
        let is_wanted = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        is_wanted(&self.environment, &document.environment)
            && is_wanted(&self.app_id, &document.app_id)
            && is_wanted(&self.service_name, &document.service_name)
            && self
                .properties
                .iter()
                .all(|(name, value)| document.properties.get(&**name).is_some_and(|has| has == value))
    }
}

/// Name and value of a property. Without a colon the value is empty.
fn property(text: Cow<'_, str>) -> (Cow<'_, str>, Cow<'_, str>) {
    match text {
        Cow::Borrowed(text) => {
            let (name, value) = text.split_once(':').unwrap_or((text, ""));
            (name.into(), value.into())
        }
        Cow::Owned(text) => {
            let (name, value) = text.split_once(':').unwrap_or((&text, ""));
            (name.to_owned().into(), value.to_owned().into())
        }
    }
}

/// `{"allServicesDetail":[…],"statistics":{…}}`.
struct List<'a> {
    scene: Scene<'a>,
    query: ListQuery<'a>,
    statistics: Option<Statistics>,
    details: Details<'a>,
}

impl Walk for List<'_> {
    async fn write(&self, out: &mut impl Out, pace: &mut Pace) {
        out.bytes(b"{");
        let mut members = Members::default();
        let mut list = ListMember::new("allServicesDetail");
        let services = self.query.wants_list.then(|| self.scene.services());
        for service in services.into_iter().flatten() {
            pace.step(0).await;
            if self.scene.shows_service(service) && self.query.selects(service) {
                list.element(out, &mut members);
                self.details.write(out, pace, service, self.query.parts).await;
            }
        }
        list.end(out);
        if let Some(statistics) = &self.statistics {
            members.name(out, "statistics");
            out.value(statistics);
        }
        out.bytes(b"}");
    }
}

/// `GET /govern/microservices/{serviceId}`.
pub async fn detail(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let id = call.param("serviceId");
        validate::service::id(ServiceRequest::Get, id)?;
        let find = |snapshot: &Snapshot| require_service(snapshot, call.tenant(), id, NO_SERVICE).map(drop);
        read_by_flags(&api, &call, find).await?;
        // It may have been deleted since.
        let snapshot = api.reader.load_full();
        let service = require_service(&snapshot, call.tenant(), id, NO_SERVICE)?;
        let has_schemas = details::has_schemas(&snapshot, call.tenant(), service);
        let ids = has_schemas.then(|| service.id.clone());
        let texts = SchemaTexts::read(&api, call.tenant(), ids.as_slice()).await?;
        let details = Details {
            snapshot: &snapshot,
            tenant: call.tenant(),
            grant: call.grant(),
            filter: PartnerFilter::default(),
            form: Form::Alone,
            texts,
        };
        api.built(&Detail { service, details }).await
    })
    .await
}

/// `{"service":{…}}`.
struct Detail<'a> {
    service: &'a ServiceView,
    details: Details<'a>,
}

impl Walk for Detail<'_> {
    async fn write(&self, out: &mut impl Out, pace: &mut Pace) {
        out.bytes(b"{\"service\":");
        self.details.write(out, pace, self.service, Parts::ALL).await;
        out.bytes(b"}");
    }
}

/// `GET /govern/relations`.
pub async fn relations(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let snapshot = snapshot(&api, &call).await;
        api.built(&Relations(Scene::of(&api, &call, &snapshot))).await
    })
    .await
}

/// `GET /govern/apps`.
pub async fn apps(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let environment = call.query_text("env");
        validate::find::apps(&environment)?;
        let snapshot = snapshot(&api, &call).await;
        let scene = Scene::of(&api, &call, &snapshot);
        let turn = api.turns.take().await?;
        let (mut apps, mut pace) = (BTreeSet::new(), Pace::default());
        for (path, _) in scene.view().into_iter().flat_map(TenantView::names) {
            pace.step(0).await;
            let Some([of, app_id, name]) = path_parts(path) else { continue };
            if of == environment && scene.shows(of, app_id, name) {
                apps.insert(app_id);
            }
        }
        drop(turn);
        api.encoded(Load::View, &Apps { app_ids: apps.into_iter().map(str::to_owned).collect() })
    })
    .await
}

/// `GET /govern/statistics`.
pub async fn statistics(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let snapshot = snapshot(&api, &call).await;
        let statistics = counted(&api, &Scene::of(&api, &call, &snapshot)).await?;
        api.encoded(Load::View, &StatisticsAnswer { statistics: Some(statistics) })
    })
    .await
}

#[cfg(test)]
pub(super) mod tests;
