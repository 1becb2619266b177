//! Which services a request is about, and the labels that roles are compared with: the environment, the application and the name of
//! each of them.
//!
//! The labels are those of what the handler will act on, not what the request claims: a find by an alias is about the service that
//! has the alias, and the environment of a find with a consumer is the consumer's.

use std::sync::Arc;

use super::Denied;
use crate::cache::ServiceView;
use crate::cache::snapshot::{Snapshot, name_path};
use crate::domain::Tenant;
use crate::error::{Code, Error};
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::find::BatchFind;
use crate::http::dto::instance::Heartbeats;
use crate::http::dto::service::{CreateService, DeleteServices};
use crate::http::spec::Target;
use crate::rbac::{Grant, Labels};

/// Calls `decide` with the labels of all services that a request is about; with none for a list. 401201 if they cannot be found out: a
/// service does not exist, or the body cannot be read.
pub(super) fn decide(
    snapshot: &Snapshot,
    call: &Call,
    target: Target,
    decide: impl FnOnce(&[Labels<'_>]) -> Result<Grant, Error>,
) -> Result<Grant, Denied> {
    let look = TargetLookUp { snapshot, tenant: call.tenant(), consumer: call.consumer_id()? };
    let granted = match target {
        Target::Listed => decide(&[]),
        // No labels stand for all services, because an empty environment is the label of many.
        Target::All => decide(&[]).and_then(|grant| match grant {
            Grant::All => Ok(grant),
            Grant::Labelled(_) => {
                let detail =
                    "this changes services of any labels, and the role allows it only for some labels";
                Err(Error::new(Code::NoPermission, detail))
            }
        }),
        Target::Service(parameter) => decide(&[labels(look.service(call.param(parameter))?)]),
        Target::Query | Target::Existence => {
            let (environment, app_id) = (call.query_text("env"), call.query_text("appId"));
            let (name, id) = (call.query_text("serviceName"), call.query_text("serviceId"));
            let mut all = Vec::new();
            if !id.is_empty() {
                all.push(labels(look.service(&id)?));
            }
            if id.is_empty() || !name.is_empty() {
                // A check of existence does not look at the consumer.
                let consumer = if target == Target::Query { look.consumer } else { "" };
                TargetLookUp { consumer, ..look }.named(&environment, &app_id, &name, &mut all)?;
            }
            decide(&all)
        }
        Target::NewService => {
            let service = dto::body::<CreateService>(call.body()).map_err(unreadable)?.service;
            let mut service = service.ok_or_else(|| unreadable(Error::invalid("the body has no service")))?;
            service.apply_defaults();
            decide(&[Labels::of(&service)])
        }
        Target::ServiceIds => {
            let body = dto::body::<DeleteServices>(call.body()).map_err(unreadable)?;
            let services = body.service_ids.iter().map(|id| look.service(id).map(labels));
            decide(&services.collect::<Result<Vec<_>, _>>()?)
        }
        Target::BatchFind => {
            let body = dto::body::<BatchFind>(call.body()).map_err(unreadable)?;
            let mut all = Vec::new();
            for element in body.services.iter().flatten().filter_map(|element| element.service.as_ref()) {
                look.named(&element.environment, &element.app_id, &element.service_name, &mut all)?;
            }
            for element in body.instances.iter().flatten().filter_map(|element| element.instance.as_ref()) {
                all.push(labels(look.service(&element.service_id)?));
            }
            decide(&all)
        }
        Target::Heartbeats => {
            let body = dto::body::<Heartbeats>(call.body()).map_err(unreadable)?;
            let keys = body.instances.iter().flatten();
            let services = keys.map(|key| look.service(&key.service_id).map(labels));
            decide(&services.collect::<Result<Vec<_>, _>>()?)
        }
    };
    granted.map_err(Denied::from)
}

struct TargetLookUp<'r> {
    snapshot: &'r Snapshot,
    tenant: &'r Tenant,
    /// The consumer's service id, or empty.
    consumer: &'r str,
}

impl<'r> TargetLookUp<'r> {
    fn service(&self, id: &str) -> Result<&'r ServiceView, Denied> {
        let service = self.snapshot.service(self.tenant, id).map(Arc::as_ref);
        service.ok_or_else(|| unknown(&format!("the service '{id}' does not exist")))
    }

    /// Adds the labels of a service that is named in a request, and those of all services that have this name as an alias.
    fn named<'a>(
        &self,
        environment: &'a str,
        app_id: &'a str,
        name: &'a str,
        all: &mut Vec<Labels<'a>>,
    ) -> Result<(), Denied>
    where
        'r: 'a,
    {
        let mut environments = vec![environment];
        if !self.consumer.is_empty() {
            // The request may also name an environment. It does not count, and must be allowed all the same.
            let consumer = &self.service(self.consumer)?.record.document.environment;
            environments.retain(|named| !named.is_empty() && *named != *consumer);
            environments.push(consumer);
        }
        let view = self.snapshot.tenant(self.tenant);
        for environment in environments {
            let path = name_path(environment, app_id, name);
            let by_alias = view.filter(|view| view.name(&path).is_none()).and_then(|view| {
                let node = view.alias(&path)?;
                Some(node.versions().iter().filter_map(|known| view.service(known.service.as_str())))
            });
            let before = all.len();
            all.extend(by_alias.into_iter().flatten().map(|service| labels(service)));
            if all.len() == before {
                all.push(Labels { environment, app_id, service_name: name });
            }
        }
        Ok(())
    }
}

fn labels(service: &ServiceView) -> Labels<'_> {
    Labels::of(&service.record.document)
}

/// 401201: what a request is about cannot be found out.
fn unknown(detail: &str) -> Denied {
    Denied::stale(Error::new(Code::Unauthorized, detail.to_owned()))
}

fn unreadable(error: Error) -> Denied {
    Error::new(Code::Unauthorized, error.detail).into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use actix_web::test::TestRequest;
    use bytes::Bytes;

    use super::*;
    use crate::cache::SnapshotBuilder;
    use crate::domain::Service;
    use crate::domain::event::{RegistryEvent, ServiceName, ServiceRecord};
    use crate::http::call::Matched;
    use crate::http::spec::Surface;
    use crate::metrics::requests::RouteNumber;

    /// Three services; the second has the alias `nick`, and the third is its next version, without the alias.
    fn snapshot() -> Snapshot {
        let mut builder = SnapshotBuilder::default();
        let tenant = Tenant::default_tenant();
        for (id, environment, name, version, alias) in [
            ("own", "production", "own", "1.0.0", ""),
            ("foreign", "", "foreign", "1.0.0", "nick"),
            ("next", "", "foreign", "2.0.0", ""),
        ] {
            let document = Service {
                service_id: id.to_owned(),
                environment: environment.to_owned(),
                app_id: "shop".to_owned(),
                service_name: name.to_owned(),
                version: version.to_owned(),
                alias: alias.to_owned(),
                ..Service::default()
            };
            let record = Arc::new(ServiceRecord { document, json: Bytes::new(), mod_revision: 1 });
            builder.apply(RegistryEvent::ServicePut(tenant.clone(), id.into(), record));
            let named = |name| ServiceName::new(tenant.clone(), environment, "shop", name);
            builder.apply(RegistryEvent::IndexPut(named(name), version.into(), id.into(), 1));
            if !alias.is_empty() {
                builder.apply(RegistryEvent::AliasPut(named(alias), version.into(), id.into(), 1));
            }
        }
        builder.current().clone()
    }

    fn call(id: &str, query: &str, consumer: &str, body: &str) -> Call {
        let request = TestRequest::with_uri(&format!("/x?{query}")).insert_header(("x-consumerid", consumer));
        let mut values = <[std::ops::Range<u16>; 4]>::default();
        values[0] = 0..u16::try_from(id.len()).unwrap();
        let (surface, decoded) = (Surface::V4, Some(id.into()));
        let matched = Matched { surface, names: &["serviceId"], values, decoded, number: RouteNumber::NONE };
        let body = Bytes::from(body.to_owned());
        Call::new(request.to_http_request(), matched, Tenant::default_tenant(), body)
    }

    /// What the request is about: each service as `environment/app/name`.
    fn about(target: Target, call: &Call) -> Result<Vec<String>, Code> {
        let mut about = Vec::new();
        let see = |labels: &[Labels<'_>]| {
            let shown = |of: &Labels<'_>| format!("{}/{}/{}", of.environment, of.app_id, of.service_name);
            about = labels.iter().map(shown).collect();
            Ok(Grant::All)
        };
        let decided = decide(&snapshot(), call, target, see);
        decided.map(|_| about).map_err(|denied| denied.error.code)
    }

    const UNAUTHORIZED: Result<Vec<String>, Code> = Err(Code::Unauthorized);

    fn services(services: &[&str]) -> Result<Vec<String>, Code> {
        Ok(services.iter().map(|service| (*service).to_owned()).collect())
    }

    #[test]
    fn a_path_names_a_service_that_exists() {
        let of = |id| about(Target::Service("serviceId"), &call(id, "", "", ""));
        assert_eq!(of("own"), services(&["production/shop/own"]));
        assert_eq!(of("foreign"), services(&["/shop/foreign"]));
        assert_eq!(of("unknown"), UNAUTHORIZED);
        assert_eq!(of(""), UNAUTHORIZED);
    }

    #[test]
    fn a_find_is_about_the_service_with_the_name_or_the_alias() {
        let check = |query, consumer, expected| {
            assert_eq!(about(Target::Query, &call("", query, consumer, "")), expected, "{query} {consumer}");
        };
        check("appId=shop&serviceName=foreign", "", services(&["/shop/foreign"]));
        check("appId=shop&serviceName=nick", "", services(&["/shop/foreign"]));
        check("env=production&appId=shop&serviceName=nick", "", services(&["production/shop/nick"]));
        // A consumer gives the environment. An environment that is named must be allowed, too.
        check("appId=shop&serviceName=foreign", "own", services(&["production/shop/foreign"]));
        check("env=&appId=shop&serviceName=nick", "own", services(&["production/shop/nick"]));
        check("appId=shop&serviceName=nick", "next", services(&["/shop/foreign"]));
        let both = services(&["x/shop/foreign", "production/shop/foreign"]);
        check("env=x&appId=shop&serviceName=foreign", "own", both);
        check("env=production&appId=shop&serviceName=own", "own", services(&["production/shop/own"]));
        check("appId=shop&serviceName=own", "unknown", UNAUTHORIZED);
        check("serviceId=own", "", services(&["production/shop/own"]));
        check(
            "serviceId=own&appId=shop&serviceName=foreign",
            "",
            services(&["production/shop/own", "/shop/foreign"]),
        );
        check("serviceId=unknown", "", UNAUTHORIZED);
        check("", "", services(&["//"]));
    }

    #[test]
    fn a_check_of_existence_does_not_look_at_the_consumer() {
        for consumer in ["", "own", "unknown"] {
            let call = call("", "appId=shop&serviceName=nick", consumer, "");
            assert_eq!(about(Target::Existence, &call), services(&["/shop/foreign"]), "{consumer}");
        }
    }

    #[test]
    fn a_body_names_all_services() {
        let check = |target, body, expected| {
            assert_eq!(about(target, &call("", "", "", body)), expected, "{body}");
        };
        let deletion = r#"{"serviceIds":["own","foreign","own"]}"#;
        check(
            Target::ServiceIds,
            deletion,
            services(&["production/shop/own", "/shop/foreign", "production/shop/own"]),
        );
        check(Target::ServiceIds, r#"{"serviceIds":["own","unknown"]}"#, UNAUTHORIZED);
        let beats = r#"{"Instances":[{"serviceId":"own","instanceId":"i"},{"serviceId":"foreign"}]}"#;
        check(Target::Heartbeats, beats, services(&["production/shop/own", "/shop/foreign"]));
        check(Target::Heartbeats, r#"{"Instances":[{"serviceId":"unknown"}]}"#, UNAUTHORIZED);
        let find = r#"{"services":[{"service":{"appId":"shop","serviceName":"nick"}},null],
            "instances":[null,{"instance":{"serviceId":"own","instanceId":"i"}}]}"#;
        check(Target::BatchFind, find, services(&["/shop/foreign", "production/shop/own"]));
        check(Target::BatchFind, r#"{"instances":[{"instance":{"serviceId":"unknown"}}]}"#, UNAUTHORIZED);
        let new = r#"{"service":{"serviceName":"new","environment":"testing"}}"#;
        check(Target::NewService, new, services(&["testing/default/new"]));
        check(Target::NewService, "{}", UNAUTHORIZED);
        for target in [Target::ServiceIds, Target::Heartbeats, Target::BatchFind, Target::NewService] {
            for body in ["", "[", "null x", r#"{"service":1,"serviceIds":1,"Instances":1,"services":1}"#] {
                check(target, body, UNAUTHORIZED);
            }
        }
    }

    /// Also a role whose labels are empty does not cover all services.
    #[test]
    fn a_change_of_everything_needs_a_role_without_labels() {
        let labelled = || Grant::Labelled(vec![[("environment".to_owned(), String::new())].into()].into());
        let decided = |grant| decide(&snapshot(), &call("", "", "", ""), Target::All, |_| Ok(grant));
        assert_eq!(decided(Grant::All).unwrap(), Grant::All);
        assert_eq!(decided(labelled()).unwrap_err().error.code, Code::NoPermission);
        let list = decide(&snapshot(), &call("", "", "", ""), Target::Listed, |_| Ok(labelled()));
        assert_eq!(list.unwrap(), labelled());
    }
}
