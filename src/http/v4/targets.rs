//! `GET /v4/{project}/prometheus/targets`: the instances of a tenant in the format of Prometheus' HTTP service discovery.

use std::borrow::Cow;
use std::sync::Arc;

use actix_http::header::HeaderValue;

use crate::cache::snapshot::{ServiceNode, Snapshot};
use crate::domain::json;
use crate::domain::shape::{Shape, Shaped as _};
use crate::domain::validate::find::{self as valid, TargetParameters};
use crate::domain::validate::member;
use crate::domain::{Instance, Service, Tenant};
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::target_group::{TargetGroup, target_groups};
use crate::http::reply::Reply;
use crate::http::slices::{Out, Pace, Walk, in_time};
use crate::http::spec::{Operation, Parameter, Success};
use crate::rbac::Grant;

pub const TARGETS: Operation = Operation::new(
    "node",
    "listPrometheusTargets",
    "Lists the instances of the tenant, whatever their status, for the HTTP service discovery of Prometheus. Each endpoint with a \
     host and a port is a target.",
)
.with(&[
    Parameter::query("serviceName", "Only instances of services with this name."),
    Parameter::query("appId", "Only instances of services of this application."),
    Parameter::query("env", "Only instances of services of this environment. Empty is an environment of its own.")
        .like(member::ENVIRONMENT),
    Parameter::query("status", "Only instances with this status: `UP`, `DOWN`, `STARTING`, `TESTING` or `OUTOFSERVICE`.")
        .like(member::INSTANCE_STATUS),
    Parameter::query(
        "property",
        "`name:value`: only instances with this property. It may be repeated, up to 16 times; an instance must have all of them.",
    )
    .matching(":"),
])
.answers(Success::Json(Shape::List(&TargetGroup::SHAPE)))
.for_own_pages();

/// Prometheus accepts no other content type.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Which instances are asked for. `None` stands for all.
#[derive(Debug, Default)]
struct TargetFilter {
    service_name: Option<String>,
    app_id: Option<String>,
    environment: Option<String>,
    status: Option<String>,
    /// Names and values. An instance must have all of them.
    properties: Vec<(String, String)>,
}

impl TargetFilter {
    /// 400001 for a value that no instance can have.
    fn of(call: &Call) -> Result<Self, Error> {
        let text = |name: &str| call.query(name).map(Cow::into_owned);
        let properties: Vec<String> = call.query_values("property").map(Cow::into_owned).collect();
        let (environment, status) = (text("env"), text("status"));
        let properties = valid::targets(&TargetParameters {
            environment: environment.as_deref(),
            status: status.as_deref(),
            properties: &properties,
        })?;
        Ok(Self { service_name: text("serviceName"), app_id: text("appId"), environment, status, properties })
    }

    fn has_service(&self, service: &Service) -> bool {
        is_asked(&self.service_name, &service.service_name)
            && is_asked(&self.app_id, &service.app_id)
            && is_asked(&self.environment, &service.environment)
    }

    fn has_instance(&self, instance: &Instance) -> bool {
        let has = |(name, value): &(String, String)| instance.properties.get(name) == Some(value);
        is_asked(&self.status, &instance.status) && self.properties.iter().all(has)
    }
}

fn is_asked(wanted: &Option<String>, value: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == value)
}

/// `GET /v4/{project}/prometheus/targets`. All targets come from one snapshot.
pub async fn targets(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let filter = TargetFilter::of(&call)?;
        let snapshot = api.reader.load_full();
        let walk =
            TargetWalk { snapshot: &snapshot, tenant: call.tenant(), filter: &filter, grant: call.grant() };
        let mut reply = api.built(&walk).await?;
        reply.content_type = Some(JSON);
        Ok(reply)
    })
    .await
}

/// Writes the targets as a JSON list.
struct TargetWalk<'a> {
    snapshot: &'a Snapshot,
    tenant: &'a Tenant,
    filter: &'a TargetFilter,
    grant: &'a Grant,
}

/// To decode an instance and to make its labels takes about as long as to write its JSON so many times.
const INSTANCE_COST: usize = 4;

impl Walk for TargetWalk<'_> {
    async fn write(&self, out: &mut impl Out, pace: &mut Pace) {
        let mut separator: &[u8] = b"";
        out.bytes(b"[");
        for (_, node) in self.snapshot.tenant(self.tenant).into_iter().flat_map(|view| view.nodes()) {
            pace.step(0).await;
            let Some(service) = self.shown(node) else { continue };
            let tags = node.tags.as_ref().map(|(tags, _)| &**tags);
            for entry in node.instances.iter() {
                pace.step(INSTANCE_COST.saturating_mul(entry.json_length())).await;
                // What another program wrote into the store may be no document.
                let Ok(instance) = json::decode::<Instance>(&entry.json()) else { continue };
                if !self.filter.has_instance(&instance) {
                    continue;
                }
                for group in target_groups(self.tenant, service, tags, &instance) {
                    out.bytes(std::mem::replace(&mut separator, b","));
                    out.value(&group);
                }
            }
        }
        out.bytes(b"]");
    }
}

impl<'a> TargetWalk<'a> {
    /// The service of a node, if it is asked for and the caller may see it.
    fn shown(&self, node: &'a ServiceNode) -> Option<&'a Service> {
        let service = &node.view.as_ref()?.record.document;
        let is_shown = self.filter.has_service(service)
            && self.grant.shows(&service.environment, &service.app_id, &service.service_name);
        is_shown.then_some(service)
    }
}

#[cfg(test)]
mod tests {
    use super::super::govern::tests::MadeUp;
    use super::*;
    use crate::http::slices::tests::walked;

    #[test]
    fn the_walk_stops_after_each_slice() {
        let mut registry = MadeUp::default();
        registry.service("s", "", "app", "s");
        for id in 0..1_000 {
            registry.instance("s", &format!("i{id}"));
        }
        let snapshot = registry.snapshot();
        let (tenant, grant) = (Tenant::default_tenant(), Grant::All);
        let walk = |filter: &TargetFilter| {
            walked(&TargetWalk { snapshot: &snapshot, tenant: &tenant, filter, grant: &grant })
        };
        // The instances have no endpoints.
        let (text, slices) = walk(&TargetFilter::default());
        assert_eq!(text, "[]");
        assert!(slices > 3, "{slices} slices");
        let other = TargetFilter { app_id: Some("other".to_owned()), ..TargetFilter::default() };
        assert_eq!(walk(&other), ("[]".to_owned(), 1));
    }
}
