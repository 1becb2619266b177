//! Dependencies: add and replace them; list the providers of a consumer and the consumers of a provider.

use std::sync::Arc;

use super::fresh_read::{read_by_flags, require_service};
use super::services::joined_reply;
use crate::actors::hub::HubActor;
use crate::actors::interests::NotedBy;
use crate::actors::registry::messages::{ChangeDependencies, Merge};
use crate::cache::ServiceView;
use crate::cache::dependency::PartnerFilter;
use crate::cache::find::Wanted;
use crate::cache::snapshot::{Snapshot, name_path};
use crate::domain::Tenant;
use crate::domain::dependency::Dependency;
use crate::domain::shape::Shaped as _;
use crate::domain::validate::dependency::{Asker, DependencyWrite};
use crate::domain::validate::{self, service::ServiceRequest};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::dto::body;
use crate::http::dto::dependency::Dependencies;
use crate::http::dto::joined;
use crate::http::parameters;
use crate::http::reply::Reply;
use crate::http::spec::{Operation, Success};

pub const ADD: Operation = Operation::new("dependencies", "addDependencies", "Adds providers to consumers.")
    .takes(dto::dependency::Dependencies::SHAPE)
    .demanding(validate::dependency::ADDITION)
    .answers(Success::Deprecated)
    .fails_with(ERRORS);

pub const REPLACE: Operation =
    Operation::new("dependencies", "replaceDependencies", "Replaces the providers of consumers.")
        .takes(dto::dependency::Dependencies::SHAPE)
        .demanding(validate::dependency::REPLACEMENT)
        .answers(Success::Deprecated)
        .fails_with(ERRORS);

/// The errors of both.
const ERRORS: &[Code] = &[Code::ServiceNotExists, Code::NotEnoughQuota, Code::Forbidden];

pub const PROVIDERS: Operation =
    Operation::new("dependencies", "listProviders", "Lists the services that a service depends on.")
        .with(parameters::PARTNERS)
        .answers(Success::Json(joined::PROVIDERS))
        .fails_with(&[Code::ServiceNotExists]);

pub const CONSUMERS: Operation =
    Operation::new("dependencies", "listConsumers", "Lists the services that depend on a service.")
        .with(parameters::PARTNERS)
        .answers(Success::Json(joined::CONSUMERS))
        .fails_with(&[Code::ServiceNotExists]);

/// `POST /dependencies`.
pub async fn add(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    change(&api, &call, DependencyWrite::Add, Merge::Add).await
}

/// `PUT /dependencies`.
pub async fn replace(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    change(&api, &call, DependencyWrite::Replace, Merge::Replace).await
}

async fn change(api: &Api, call: &Call, write: DependencyWrite, merge: Merge) -> Result<Reply, Error> {
    let body: Dependencies = body(call.body())?;
    let asker = Asker { tenant: call.tenant(), cross_domain: api.rules.cross_domain };
    let requests = body.into_dependencies(asker, write)?;
    let wanted = wanted(&api.reader.load(), call.tenant(), &requests);
    api.write(ChangeDependencies { tenant: call.tenant().clone(), requests, merge }).await?;
    let noted = wanted.into_iter().filter(|wanted| api.interests.note(wanted.clone(), NotedBy::ThisNode));
    HubActor::show_if_there(&api.hub, &api.reader, noted.collect());
    Ok(Reply::empty().deprecated())
}

/// The providers in these requests that do not exist. Their rules are not kept, see `actors/registry/dependency_cleanup.rs`.
fn wanted(snapshot: &Snapshot, tenant: &Tenant, requests: &[Dependency]) -> Vec<Wanted> {
    let mut all = Vec::new();
    for request in requests {
        let mut consumer = request.consumer.clone().unwrap_or_default();
        if consumer.tenant.is_empty() {
            tenant.as_str().clone_into(&mut consumer.tenant);
        }
        let Some(service) = snapshot.services_of(&consumer).first().copied() else { continue };
        let at = (Tenant::from(consumer.tenant.as_str()), service.id.clone());
        for key in &request.providers {
            let mut provider = key.clone();
            if provider.tenant.is_empty() {
                tenant.as_str().clone_into(&mut provider.tenant);
            }
            if provider.app_id.is_empty() {
                provider.app_id.clone_from(&consumer.app_id);
            }
            if snapshot.is_meant(&provider) {
                continue;
            }
            let path = name_path(&provider.environment, &provider.app_id, &provider.service_name).into();
            let tenant = Tenant::from(provider.tenant.as_str());
            all.push(Wanted { consumer: at.clone(), tenant, path });
        }
    }
    all
}

/// `GET /microservices/{consumerId}/providers`.
pub async fn providers(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    show(&api, &call, "consumerId", "providers", "Consumer does not exist", Snapshot::providers).await
}

/// `GET /microservices/{providerId}/consumers`.
pub async fn consumers(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    show(&api, &call, "providerId", "consumers", "Provider does not exist", Snapshot::consumers).await
}

async fn show(
    api: &Api,
    call: &Call,
    parameter: &str,
    member: &str,
    missing: &'static str,
    partners: impl Fn(&Snapshot, &Tenant, &ServiceView, PartnerFilter) -> Vec<Arc<ServiceView>>,
) -> Result<Reply, Error> {
    let id = call.param(parameter);
    validate::service::id(ServiceRequest::GetDependencies, id)?;
    let filter = PartnerFilter {
        same_tenant: call.query_text("sameDomain") == "1",
        not_self: call.query_text("noSelf") == "1",
    };
    let found = read_by_flags(api, call, |snapshot| {
        let service = require_service(snapshot, call.tenant(), id, missing)?;
        let mut partners = partners(snapshot, call.tenant(), service, filter);
        partners.retain(|partner| {
            let document = &partner.record.document;
            call.grant().shows(&document.environment, &document.app_id, &document.service_name)
        });
        Ok(partners)
    });
    let found = found.await?;
    joined_reply(api, member, || found.iter())
}
