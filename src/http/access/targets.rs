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
    let look = LookUp { snapshot, tenant: call.tenant(), consumer: call.consumer_id()? };
    let granted = match target {
        Target::Listed => decide(&[]),
        // An empty name is the label of no service, so only a role without labels allows it.
        Target::All => decide(&[Labels { environment: "", app_id: "", service_name: "" }]),
        Target::Service(parameter) => decide(&[labels(look.service(call.param(parameter))?)]),
        Target::Query => {
            let (environment, app_id) = (call.query_text("env"), call.query_text("appId"));
            let (name, id) = (call.query_text("serviceName"), call.query_text("serviceId"));
            let mut all = Vec::new();
            if !id.is_empty() {
                all.push(labels(look.service(&id)?));
            }
            if id.is_empty() || !name.is_empty() {
                look.named(&environment, &app_id, &name, &mut all)?;
            }
            decide(&all)
        }
        Target::NewService => {
            let service = dto::body::<CreateService>(call.body()).map_err(unreadable)?.service;
            let mut service = service.ok_or_else(|| unreadable(Error::invalid("the body has no service")))?;
            service.apply_defaults();
            let (environment, app_id) = (&*service.environment, &*service.app_id);
            decide(&[Labels { environment, app_id, service_name: &service.service_name }])
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

struct LookUp<'r> {
    snapshot: &'r Snapshot,
    tenant: &'r Tenant,
    /// The consumer's service id, or empty.
    consumer: &'r str,
}

impl<'r> LookUp<'r> {
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
                Some(node.versions().iter().filter_map(|(_, id)| view.service(id.as_str())))
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
    let document = &service.record.document;
    Labels {
        environment: &document.environment,
        app_id: &document.app_id,
        service_name: &document.service_name,
    }
}

/// 401201: what a request is about cannot be found out.
fn unknown(detail: &str) -> Denied {
    Denied::stale(Error::new(Code::Unauthorized, detail.to_owned()))
}

fn unreadable(error: Error) -> Denied {
    Error::new(Code::Unauthorized, error.detail).into()
}
