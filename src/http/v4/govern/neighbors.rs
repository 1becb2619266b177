//! `GET /v4/{project}/govern/services/{serviceId}/neighbours`: consumers and providers of a service by the dependency rules.

use std::sync::Arc;

use super::search::{by_status, one_of};
use crate::cache::ServiceView;
use crate::cache::dependency::{PartnerFilter, PartnerSet};
use crate::cache::search::{Order, PageFrame, Top};
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

/// The sides of the list: the consumers come before the providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
enum Side {
    Consumers,
    Providers,
}

const SIDES: [(&str, Side); 2] = [("consumers", Side::Consumers), ("providers", Side::Providers)];

/// A partner of a service, and its tenant.
#[derive(Clone, Copy)]
pub(super) struct Partner<'s> {
    pub tenant: &'s str,
    pub service: &'s ServiceView,
}

/// `GET /v4/{project}/govern/services/{serviceId}/neighbours`.
pub async fn neighbors(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let page = PageQuery::of(&call)?;
        let after = page.after::<Place<String>>()?;
        let side = one_of(&call, "side", &SIDES)?.map(|(_, side)| side);
        let snapshot = api.reader.load_full();
        let of = Partners::of(&snapshot, &call)?;
        let turn = api.turns.take().await?;
        let after = after.as_ref().map(Place::borrowed);
        let frame = PageFrame { order: Order::Ascending, after, most: page.limit + 1 };
        let (mut top, mut pace) = (Top::new(frame), Pace::default());
        let [consumer_count, provider_count] = [
            of.list(Side::Consumers, side, &mut top, &mut pace).await,
            of.list(Side::Providers, side, &mut top, &mut pace).await,
        ];
        drop(turn);
        let listed = |of: Side, count: usize| if side.is_none_or(|side| side == of) { count } else { 0 };
        let total = listed(Side::Consumers, consumer_count) + listed(Side::Providers, provider_count);
        let page = page.page(snapshot.revision, total, top.into_sorted(), |(place, _)| *place);
        let facts = |side: Side| {
            let partners = page.items.iter().filter(|(place, _)| place.0 == side);
            partners.map(|(_, partner)| service_facts(&snapshot, of.tenant, *partner)).collect()
        };
        let own = Partner { tenant: of.tenant.as_str(), service: of.service };
        let answer = Neighbors {
            revision: page.revision,
            total: Some(long(page.total)),
            service: Some(service_facts(&snapshot, of.tenant, own)),
            consumer_count: Some(long(consumer_count)),
            provider_count: Some(long(provider_count)),
            consumers: facts(Side::Consumers),
            providers: facts(Side::Providers),
            next: page.next.unwrap_or_default(),
        };
        api.encoded(Load::View, &answer)
    })
    .await
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
    /// Of the service in the path.
    pub fn of(snapshot: &'s Snapshot, call: &'s Call) -> Result<Self, Error> {
        let (tenant, id) = (call.tenant(), call.param("serviceId"));
        validate::service::id(ServiceRequest::Get, id)?;
        let service = require_service(snapshot, tenant, id, NO_SERVICE)?;
        Ok(Self { snapshot, tenant, service, grant: call.grant() })
    }

    /// Visits the consumers that rules mean, each once.
    pub async fn consumers(&self, pace: &mut Pace, visit: impl FnMut(Partner<'s>)) {
        self.visit(self.snapshot.consumer_keys(self.tenant, self.service), pace, visit).await;
    }

    async fn visit(
        &self,
        keys: impl IntoIterator<Item = &'s ServiceKey>,
        pace: &mut Pace,
        mut visit: impl FnMut(Partner<'s>),
    ) {
        let mut set = PartnerSet::new(self.snapshot, self.tenant, self.service, PartnerFilter::default());
        for key in keys {
            pace.step(0).await;
            for partner in set.add(key) {
                pace.step(0).await;
                let of = &partner.record.document;
                if self.grant.shows(&of.environment, &of.app_id, &of.service_name) {
                    visit(Partner { tenant: &key.tenant, service: partner });
                }
            }
        }
    }

    /// Takes the partners of one side into the list, unless only the other side is wanted. Returns how many there are.
    async fn list(
        &self,
        side: Side,
        wanted: Option<Side>,
        top: &mut Top<Place<&'s str>, Partner<'s>>,
        pace: &mut Pace,
    ) -> usize {
        let mut count = 0;
        let take = |partner| {
            count += 1;
            let place = Place::of(side, partner);
            if wanted.is_none_or(|wanted| wanted == side) && top.wants(&place) {
                top.push(place, partner);
            }
        };
        match side {
            Side::Consumers => self.consumers(pace, take).await,
            Side::Providers => {
                let keys = self.snapshot.provider_keys(self.tenant, self.service);
                self.visit(keys, pace, take).await;
            }
        }
        count
    }
}

/// Where a partner is in the list: side, name, application, environment, version, tenant and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
struct Place<T>(Side, [T; 3], Option<[u16; 4]>, [T; 3]);

impl<'s> Place<&'s str> {
    fn of(side: Side, Partner { tenant, service }: Partner<'s>) -> Self {
        let of = &service.record.document;
        Self(
            side,
            [&of.service_name, &of.app_id, &of.environment],
            version::parse(&of.version),
            [&of.version, tenant, service.id.as_str()],
        )
    }
}

impl Place<String> {
    fn borrowed(&self) -> Place<&str> {
        let Self(side, names, number, rest) = self;
        Place(*side, names.each_ref().map(String::as_str), *number, rest.each_ref().map(String::as_str))
    }
}

/// `own` is the tenant of the request.
pub(super) fn service_facts(
    snapshot: &Snapshot,
    own: &Tenant,
    Partner { tenant, service }: Partner<'_>,
) -> ServiceFacts {
    let of = &service.record.document;
    let node = snapshot.tenant(&Tenant::from(tenant)).and_then(|view| view.node(service.id.as_str()));
    ServiceFacts {
        tenant: if tenant == own.as_str() { String::new() } else { tenant.to_owned() },
        service_id: service.id.to_string(),
        environment: of.environment.clone(),
        app_id: of.app_id.clone(),
        service_name: of.service_name.clone(),
        version: of.version.clone(),
        instances: node.map(|node| by_status(&node.statuses)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MadeUp, fewest};
    use super::*;
    use crate::http::slices::tests::slices;

    /// One key of a rule means all versions of a name.
    #[test]
    fn a_list_of_partners_stops_after_each_slice_and_keeps_one_page() {
        let mut made_up = MadeUp::default();
        made_up.service("own", "", "app", "own");
        for number in 0..5_000 {
            made_up.version(&format!("s{number}"), "app", "other", &format!("1.0.{number}"));
        }
        made_up.depends(&["own"], "other");
        let (snapshot, tenant) = (made_up.snapshot(), Tenant::default_tenant());
        let service = snapshot.service(&tenant, "own").unwrap_or_else(|| panic!("no service"));
        let of = Partners { snapshot: &snapshot, tenant: &tenant, service, grant: &Grant::All };
        let mut top = Top::new(PageFrame { order: Order::Ascending, after: None, most: 3 });
        let slices = slices(async {
            assert_eq!(of.list(Side::Providers, None, &mut top, &mut Pace::default()).await, 5_000);
        });
        assert!(slices >= fewest(5_000, 0) && slices > 5, "{slices} slices");
        let page = top.into_sorted();
        let ids: Vec<&str> = page.iter().map(|(_, partner)| partner.service.id.as_str()).collect();
        assert_eq!(ids, ["s0", "s1", "s2"]);
    }
}
