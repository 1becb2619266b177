//! A service with what belongs to it.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use crate::actors::registry::messages::{ReadSchemas, SchemaSelection, SchemasWithTexts, TextSpace};
use crate::cache::ServiceView;
use crate::cache::dependency::{PartnerFilter, PartnerSet};
use crate::cache::snapshot::{ServiceNode, Snapshot};
use crate::domain::json::TextMap;
use crate::domain::schema::Schema;
use crate::domain::validate::flag::CountOnly;
use crate::domain::{ServiceId, ServiceKey, Tenant};
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::dto::cut::{instance_with_properties, service_without_schemas};
use crate::http::dto::govern::{InstanceNumbers, Statistics};
use crate::http::slices::{ListMember, Members, Out, Pace};
use crate::http::spec::Load;
use crate::rbac::Grant;

/// How many services of a list have their schemas read at the same time. Writes wait in the same mailbox.
const SERVICES_AT_ONCE: usize = 8;

/// What is shown of a service besides its document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub tags: bool,
    pub instances: bool,
    pub schemas: bool,
    pub dependencies: bool,
}

impl Parts {
    pub(super) const ALL: Self = Self { tags: true, instances: true, schemas: true, dependencies: true };
}

/// Where a service is shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'a> {
    /// Without its list of schemas. Of the properties of its instances only those that the configuration names are shown.
    InList { kept: &'a TextMap, count_only: CountOnly },
    /// Whole, and with all its versions.
    Alone,
}

/// Writes services of one snapshot.
pub(super) struct Details<'a> {
    pub snapshot: &'a Snapshot,
    pub tenant: &'a Tenant,
    pub grant: &'a Grant,
    /// Which partners are left out.
    pub filter: PartnerFilter,
    pub form: Form<'a>,
    pub texts: SchemaTexts,
}

impl Details<'_> {
    pub(super) async fn write(
        &self,
        out: &mut impl Out,
        pace: &mut Pace,
        service: &ServiceView,
        parts: Parts,
    ) {
        let json = &service.record.json;
        let node = node(self.snapshot, self.tenant, service);
        let mut members = Members::default();
        out.bytes(b"{");
        pace.step(json.len()).await;
        members.name(out, "microService");
        match self.form {
            Form::InList { .. } if !service.record.document.schemas.is_empty() => {
                service_without_schemas(out, json);
            }
            Form::InList { .. } | Form::Alone => out.bytes(json),
        }
        let is_counted = matches!(self.form, Form::InList { count_only: CountOnly::Yes, .. });
        if let Some(node) = node
            && parts.instances
            && !is_counted
        {
            self.instances(out, pace, &mut members, node).await;
        }
        if parts.schemas {
            let mut list = ListMember::new("schemaInfos");
            for schema in self.texts.of(&service.id) {
                pace.step(schema.schema.len()).await;
                list.element(out, &mut members);
                out.value(schema);
            }
            list.end(out);
        }
        if parts.dependencies {
            let providers = self.snapshot.provider_keys(self.tenant, service);
            self.partners(out, pace, &mut members, ("providers", service), providers).await;
            let consumers = self.snapshot.consumer_keys(self.tenant, service);
            self.partners(out, pace, &mut members, ("consumers", service), consumers).await;
        }
        if let Some((tags, _)) = node.and_then(|node| node.tags.as_ref())
            && parts.tags
            && !tags.is_empty()
        {
            members.name(out, "tags");
            out.value(&**tags);
        }
        if matches!(self.form, Form::Alone) {
            self.versions(out, pace, &mut members, service).await;
        }
        if is_counted {
            let count = node.map_or(0, |node| i64::try_from(node.instances.len()).unwrap_or(i64::MAX));
            let instances = parts.instances.then(|| InstanceNumbers { count, ..InstanceNumbers::default() });
            members.name(out, "statics");
            out.value(&Statistics { instances, ..Statistics::default() });
        }
        out.bytes(b"}");
    }

    async fn instances(
        &self,
        out: &mut impl Out,
        pace: &mut Pace,
        members: &mut Members,
        node: &ServiceNode,
    ) {
        let mut list = ListMember::new("instances");
        for instance in node.instances.iter() {
            pace.step(instance.json_length()).await;
            list.element(out, members);
            match self.form {
                Form::InList { kept, .. } => instance_with_properties(out, &instance.json(), kept),
                Form::Alone => out.bytes(&instance.json()),
            }
        }
        list.end(out);
    }

    async fn partners<'k>(
        &self,
        out: &mut impl Out,
        pace: &mut Pace,
        members: &mut Members,
        (name, of): (&'static str, &ServiceView),
        keys: impl IntoIterator<Item = &'k ServiceKey>,
    ) {
        let mut list = ListMember::new(name);
        let mut partners = PartnerSet::new(self.snapshot, self.tenant, of, self.filter);
        for key in keys {
            pace.step(0).await;
            for partner in partners.add(key) {
                let (document, json) = (&partner.record.document, &partner.record.json);
                pace.step(json.len()).await;
                if self.grant.shows(&document.environment, &document.app_id, &document.service_name) {
                    list.element(out, members);
                    out.bytes(json);
                }
            }
        }
        list.end(out);
    }

    async fn versions(
        &self,
        out: &mut impl Out,
        pace: &mut Pace,
        members: &mut Members,
        service: &ServiceView,
    ) {
        let named = self.snapshot.tenant(self.tenant).and_then(|view| view.name(&service.path));
        let mut list = ListMember::new("microServiceVersions");
        for named in named.iter().flat_map(|node| node.versions()) {
            pace.step(0).await;
            list.element(out, members);
            out.value(&&*named.version);
        }
        list.end(out);
    }
}

fn node<'s>(snapshot: &'s Snapshot, tenant: &Tenant, service: &ServiceView) -> Option<&'s Arc<ServiceNode>> {
    snapshot.tenant(tenant)?.node(service.id.as_str())
}

/// Whether the store may hold schemas of a service.
pub(super) fn has_schemas(snapshot: &Snapshot, tenant: &Tenant, service: &ServiceView) -> bool {
    // The texts of old releases are not in the snapshot, but their services list them.
    !service.record.document.schemas.is_empty()
        || node(snapshot, tenant, service).is_some_and(|node| !node.schema_refs.is_empty())
}

/// The schemas of services, with their texts, and the memory that they take. The snapshot does not hold the texts.
#[derive(Default)]
pub(super) struct SchemaTexts {
    by_service: HashMap<ServiceId, Vec<Schema>>,
    _spaces: Vec<Box<dyn TextSpace>>,
}

impl SchemaTexts {
    /// Reads the schemas of some services from the store. If one cannot be read, the whole answer is an error, as on the original
    /// server.
    pub(super) async fn read(api: &Api, tenant: &Tenant, services: &[ServiceId]) -> Result<Self, Error> {
        let read = services.iter().map(|service| async move {
            let (tenant, id, selection) = (tenant.clone(), service.clone(), SchemaSelection::All);
            let space = Box::new(api.answers.empty(Load::View));
            let read = api.ask_registry(ReadSchemas { tenant, service: id, selection, space }).await;
            read.flatten().map(|read| (service, read)).map_err(whole)
        });
        let mut read = stream::iter(read).buffer_unordered(SERVICES_AT_ONCE);
        let (mut texts, mut bytes) = (Self::default(), 0_usize);
        while let Some(read) = read.next().await {
            let (service, SchemasWithTexts { schemas, space }) = read?;
            let of_service: usize = schemas.iter().map(|schema| schema.schema.len()).sum();
            bytes = bytes.saturating_add(of_service);
            api.answers.check(bytes)?;
            if !schemas.is_empty() {
                texts.by_service.insert(service.clone(), schemas);
                texts._spaces.push(space);
            }
        }
        Ok(texts)
    }

    fn of(&self, service: &ServiceId) -> &[Schema] {
        self.by_service.get(service).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The error of an answer of which a part failed. What the caller can change stays.
fn whole(error: Error) -> Error {
    match error.code {
        Code::InvalidParameters | Code::Overloaded | Code::TooManyRequests => error,
        _ => Error::new(Code::Internal, error.to_string()),
    }
}
