//! `GET /v4/{project}/govern/services/{serviceId}/neighbours`: consumers and providers of a service by the dependency rules.

use std::sync::Arc;

use super::search::{by_status, one_of};
use crate::cache::ServiceView;
use crate::cache::dependency::{PartnerFilter, PartnerSet};
use crate::cache::snapshot::Snapshot;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::{self, service::ServiceRequest};
use crate::domain::{ServiceKey, Tenant, version};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::explain::Neighbors;
use crate::http::dto::search::ServiceFacts;
use crate::http::paging::{AFTER, LIMIT, PageQuery};
use crate::http::reply::Reply;
use crate::http::slices::{Pace, in_time};
use crate::http::spec::{Load, Operation, Parameter, Success};
use crate::http::v4::fresh_read::require_service;
use crate::http::v4::services::NO_SERVICE;
use crate::rbac::Grant;

pub const NEIGHBORS: Operation = Operation::new(
    "govern",
    "listNeighbors",
    "Lists the consumers and the providers of a service by the dependency rules, in all versions, with the numbers of their instances.",
)
.with(&[
    Parameter::query(
        "side",
        "`consumers` or `providers`: the list has only those. `total` and `after` are then about this list.",
    )
    .one_of(&["consumers", "providers"]),
    LIMIT,
    AFTER,
])
.answers(Success::Json(Neighbors::SHAPE))
.fails_with(&[Code::ServiceNotExists])
.for_own_pages();

/// Whom the list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListedSides {
    Both,
    Consumers,
    Providers,
}

const SIDES: [(&str, ListedSides); 2] =
    [("consumers", ListedSides::Consumers), ("providers", ListedSides::Providers)];

/// Partners of a service: the tenant and the service.
pub(super) type Partner<'s> = (Tenant, &'s Arc<ServiceView>);

/// `GET /v4/{project}/govern/services/{serviceId}/neighbours`.
pub async fn neighbors(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let page = PageQuery::of(&call)?;
        let after = page.after::<Place>()?;
        let side = one_of(&call, "side", &SIDES)?.map_or(ListedSides::Both, |(_, side)| side);
        let id = call.param("serviceId");
        validate::service::id(ServiceRequest::Get, id)?;
        let snapshot = api.reader.load_full();
        let (tenant, grant) = (call.tenant(), call.grant());
        let service = require_service(&snapshot, tenant, id, NO_SERVICE)?;
        let turn = api.turns.take().await?;
        let mut pace = Pace::default();
        let of = Partners { snapshot: &snapshot, tenant, service, grant };
        let consumers = of.meant_by(snapshot.consumer_keys(tenant, service), &mut pace).await;
        let providers = of.meant_by(snapshot.provider_keys(tenant, service), &mut pace).await;
        drop(turn);
        let (consumer_count, provider_count) = (long(consumers.len()), long(providers.len()));
        let (consumers, providers) = match side {
            ListedSides::Both => (consumers, providers),
            ListedSides::Consumers => (consumers, Vec::new()),
            ListedSides::Providers => (Vec::new(), providers),
        };
        let total = consumers.len() + providers.len();
        let all = sorted(false, consumers).into_iter().chain(sorted(true, providers));
        let rest = all.filter(|(place, _)| after.as_ref().is_none_or(|after| place > after));
        let page = page.page(snapshot.revision, total, rest, |(place, _)| place.clone());
        let facts = |wants_providers: bool| {
            let partners = page.items.iter().filter(|(place, _)| place.is_provider() == wants_providers);
            partners.map(|(_, partner)| service_facts(&snapshot, tenant, partner)).collect()
        };
        let answer = Neighbors {
            revision: page.revision,
            total: Some(long(page.total)),
            service: Some(service_facts(&snapshot, tenant, &(tenant.clone(), service))),
            consumer_count: Some(consumer_count),
            provider_count: Some(provider_count),
            consumers: facts(false),
            providers: facts(true),
            next: page.next.unwrap_or_default(),
        };
        api.encoded(Load::View, &answer)
    })
    .await
}

/// The partners with their places, sorted.
fn sorted(is_provider: bool, partners: Vec<Partner<'_>>) -> Vec<(Place, Partner<'_>)> {
    let placed = partners.into_iter().map(|partner| (Place::of(is_provider, &partner), partner));
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by(|(one, _), (other, _)| one.cmp(other));
    placed
}

fn long(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Finds the partners of a service that the caller may see.
pub(super) struct Partners<'s> {
    pub snapshot: &'s Snapshot,
    pub tenant: &'s Tenant,
    pub service: &'s ServiceView,
    pub grant: &'s Grant,
}

impl<'s> Partners<'s> {
    /// The partners that keys of rules mean, each once.
    pub async fn meant_by<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k ServiceKey>,
        pace: &mut Pace,
    ) -> Vec<Partner<'s>> {
        let mut set = PartnerSet::new(self.snapshot, self.tenant, self.service, PartnerFilter::default());
        let mut partners = Vec::new();
        for key in keys {
            pace.step(0).await;
            for partner in set.add(key) {
                let of = &partner.record.document;
                if self.grant.shows(&of.environment, &of.app_id, &of.service_name) {
                    partners.push((Tenant::from(key.tenant.as_str()), partner));
                }
            }
        }
        partners
    }
}

/// Where a partner is in the list: 0 for a consumer and 1 for a provider, name, application, environment, version, tenant and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
struct Place(u8, [String; 3], Option<[u16; 4]>, [String; 3]);

impl Place {
    fn of(is_provider: bool, (tenant, service): &Partner<'_>) -> Self {
        let of = &service.record.document;
        Self(
            u8::from(is_provider),
            [of.service_name.clone(), of.app_id.clone(), of.environment.clone()],
            version::parse(&of.version),
            [of.version.clone(), tenant.to_string(), service.id.to_string()],
        )
    }

    fn is_provider(&self) -> bool {
        self.0 == 1
    }
}

/// `own` is the tenant of the request.
pub(super) fn service_facts(
    snapshot: &Snapshot,
    own: &Tenant,
    (tenant, service): &Partner<'_>,
) -> ServiceFacts {
    let of = &service.record.document;
    let node = snapshot.tenant(tenant).and_then(|view| view.node(service.id.as_str()));
    ServiceFacts {
        tenant: if tenant == own { String::new() } else { tenant.to_string() },
        service_id: service.id.to_string(),
        environment: of.environment.clone(),
        app_id: of.app_id.clone(),
        service_name: of.service_name.clone(),
        version: of.version.clone(),
        instances: node.map(|node| by_status(&node.statuses)).unwrap_or_default(),
    }
}
