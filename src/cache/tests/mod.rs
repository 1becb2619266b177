//! Tests of the read model: a builder that takes events from the test, and a text with all that readers can see of a snapshot.

#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod builder;
mod difference;
mod explain;
mod find;
mod random;
mod search;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::builder::{InstanceChange, SnapshotBuilder};
use super::dependency::PartnerFilter;
use super::find::{FindQuery, ListQuery};
use super::instances::InstanceMap;
use super::snapshot::{FrameworkCounts, FrameworkName, Snapshot, TenantView};
use super::statuses::{InstanceStatus, StatusCounts};
use super::{Action, FindAnswer};
use crate::domain::dependency::Partners;
use crate::domain::event::{
    InstanceRecord, InstanceRef, PutKind, RegistryEvent, Revision, ServiceName, ServiceRecord,
};
use crate::domain::json::{self, TextMap};
use crate::domain::service::Framework;
use crate::domain::shared::SharedServices;
use crate::domain::{InstanceId, Service, ServiceId, ServiceKey, Tenant};

/// A builder, and the revision of the last event.
#[derive(Debug, Default)]
pub struct SnapshotWorld {
    pub builder: SnapshotBuilder,
    pub revision: Revision,
}

pub fn tenant() -> Tenant {
    Tenant::default_tenant()
}

pub fn shared() -> SharedServices {
    SharedServices::new([], "production")
}

pub fn name(environment: &str, app_id: &str, name: &str) -> ServiceName {
    ServiceName::new(tenant(), environment, app_id, name)
}

pub fn at(service: &str, instance: &str) -> InstanceRef {
    InstanceRef { tenant: tenant(), service: service.into(), instance: InstanceId::from(instance) }
}

pub fn tags(keys: &[&str]) -> TextMap {
    keys.iter().map(|key| ((*key).to_owned(), "x".to_owned())).collect()
}

/// The document of a service with this name and version.
pub fn document(id: &str, name: &ServiceName, version: &str) -> Service {
    Service {
        service_id: id.to_owned(),
        environment: name.environment.to_string(),
        app_id: name.app_id.to_string(),
        service_name: name.name.to_string(),
        version: version.to_owned(),
        framework: Some(Framework { name: "F".to_owned(), version: version.to_owned() }),
        ..Service::default()
    }
}

pub fn partner(tenant: &Tenant, name: &ServiceName, version: &str) -> ServiceKey {
    document("", name, version).key(tenant)
}

impl SnapshotWorld {
    pub fn apply(&mut self, event: RegistryEvent) {
        self.revision += 1;
        self.builder.apply(event);
    }

    /// A service document without an index key.
    pub fn put_document(&mut self, document: Service) {
        let id = ServiceId::from(document.service_id.as_str());
        let json = Bytes::from(json::encode(&document));
        let record = ServiceRecord { document, json, mod_revision: self.revision + 1 };
        self.apply(RegistryEvent::ServicePut(tenant(), id, Arc::new(record)));
    }

    /// A service document and its index key.
    pub fn put_service(&mut self, id: &str, name: &ServiceName, version: &str) {
        self.put_document(document(id, name, version));
        let revision = self.revision + 1;
        self.apply(RegistryEvent::IndexPut(name.clone(), version.into(), id.into(), revision));
    }

    pub fn put_instance(&mut self, service: &str, instance: &str) {
        let former = self.builder.current().instance(&tenant(), service, instance).is_some();
        let kind = if former { PutKind::Updated } else { PutKind::Created };
        let record = InstanceRecord {
            json: format!("{{\"instanceId\":\"{instance}\",\"timestamp\":\"{}\"}}", self.revision + 1).into(),
            mod_revision: self.revision + 1,
            compact: None,
        };
        self.apply(RegistryEvent::InstancePut(at(service, instance), kind, record));
    }

    pub fn delete_instance(&mut self, service: &str, instance: &str) {
        self.apply(RegistryEvent::InstanceDeleted(at(service, instance)));
    }

    pub fn put_tags(&mut self, service: &str, keys: &[&str]) {
        let revision = self.revision + 1;
        self.apply(RegistryEvent::TagsPut(tenant(), service.into(), Arc::new(tags(keys)), revision));
    }

    pub fn put_provider_rule(&mut self, provider: &ServiceName, consumers: &[ServiceKey]) {
        let partners = Arc::new(Partners { keys: consumers.to_vec() });
        let revision = self.revision + 1;
        self.apply(RegistryEvent::ProviderRulePut(provider.clone(), "0.0.0+".into(), partners, revision));
    }

    pub fn put_consumer_rule(&mut self, consumer: &ServiceName, version: &str, providers: &[ServiceKey]) {
        let partners = Arc::new(Partners { keys: providers.to_vec() });
        let revision = self.revision + 1;
        self.apply(RegistryEvent::ConsumerRulePut(consumer.clone(), version.into(), partners, revision));
    }

    pub fn publish(&mut self) -> (Arc<Snapshot>, Vec<InstanceChange>) {
        self.builder.publish(self.revision)
    }

    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.publish().0
    }

    /// The changes since the last publish, in short.
    pub fn changes(&mut self) -> Vec<(Action, String, bool)> {
        let (_, changes) = self.publish();
        changes.iter().map(|change| (change.action, in_short(&change.at), change.service.is_some())).collect()
    }
}

pub fn in_short(at: &InstanceRef) -> String {
    format!("{}/{}", at.service, at.instance)
}

/// Ids of the instances in an answer, in the order of its body.
pub fn ids(answer: &FindAnswer) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body()).unwrap();
    let instances = body["instances"].as_array().cloned().unwrap_or_default();
    assert_eq!(instances.len(), answer.count);
    instances.iter().map(|instance| instance["instanceId"].as_str().unwrap().to_owned()).collect()
}

/// All that a reader can see of a snapshot, except its revision. Snapshots with the same data give the same text. Asserts what
/// must be true of every snapshot: its counts are right, and its ready answers are the same as newly joined ones.
pub fn reads(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    let mut out = |line: String| writeln!(text, "{line}").unwrap();
    out(format!("queue {:?} ending {:?}", snapshot.dependency_queue, snapshot.ending_consumers));
    out(format!("domains {:?} projects {:?}", snapshot.domains, snapshot.projects));
    let mut total = 0;
    for (tenant, view) in snapshot.tenants() {
        out(format!("tenant {tenant}: {} services, {} instances", view.service_count, view.instance_count));
        assert_eq!(view.service_count, view.services().count(), "services of {tenant}");
        let held: usize = view.nodes().map(|(_, node)| node.instances.len()).sum();
        assert_eq!(view.instance_count, held, "instances of {tenant}");
        total += held;
        assert_eq!(view.frameworks, counted_frameworks(view), "frameworks of {tenant}");
        let schemas = view.nodes().map(|(_, node)| node.schema_refs.len()).sum();
        let tagged = view.nodes().filter(|(_, node)| node.tags.is_some()).count();
        assert_eq!((view.schema_count, view.tagged_count), (schemas, tagged), "schemas and tags of {tenant}");
        let mut lines = node_lines(view);
        lines.extend(name_lines(view));
        lines.extend(rule_lines(snapshot, tenant, view));
        lines.extend(answer_lines(snapshot, tenant, view));
        lines.sort();
        lines.into_iter().for_each(&mut out);
    }
    assert_eq!(snapshot.instance_count, total);
    text
}

fn counted_frameworks(view: &TenantView) -> OrdMap<Arc<FrameworkName>, FrameworkCounts> {
    let mut counted = OrdMap::<Arc<FrameworkName>, FrameworkCounts>::new();
    for (_, node) in view.nodes() {
        let Some(service) = &node.view else { continue };
        let counts = counted.entry(Arc::clone(&service.framework)).or_default();
        counts.services += 1;
        counts.instances += node.instances.len();
    }
    counted
}

fn node_lines(view: &TenantView) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, node) in view.nodes() {
        let document = node.view.as_ref().map(|view| {
            let record = &view.record;
            format!("{} @{} {}", view.versioned_path, record.mod_revision, view.allows_cross_app)
        });
        lines.push(format!("service {id}: {document:?}"));
        lines.push(format!("service {id} tags: {:?}", node.tags));
        lines.push(format!("service {id} overrides: {:?}", node.overrides));
        lines.push(format!("service {id} early leases: {:?}", node.early_leases));
        lines.push(format!("service {id} schemas: {:?} {:?}", node.schema_refs, node.schema_summaries));
        let mut statuses = StatusCounts::default();
        node.instances.iter().for_each(|entry| statuses.add(InstanceStatus::of_document(&entry.json())));
        assert_eq!(node.statuses, statuses, "statuses of the instances of {id}");
        for (instance, entry) in node.instances.entries() {
            let lease = entry.lease.as_ref().map(|mark| mark.lease());
            lines.push(format!("instance {id}/{instance}: {:?} {lease:?}", entry.record()));
        }
    }
    lines
}

fn name_lines(view: &TenantView) -> Vec<String> {
    let named = view.names.iter().map(|(path, node)| format!("name {path}: {:?}", node.versions()));
    let aliased = view.aliases.iter().map(|(path, node)| format!("alias {path}: {:?}", node.versions()));
    named.chain(aliased).collect()
}

fn rule_lines(snapshot: &Snapshot, tenant: &Tenant, view: &TenantView) -> Vec<String> {
    let rules =
        view.consumer_rules.iter().map(|(path, rule)| format!("consumer {path}: {:?}", rule.partners));
    let mut lines: Vec<String> = rules.collect();
    lines.extend(view.provider_rules.iter().map(|(path, rules)| format!("provider {path}: {rules:?}")));
    lines.extend(view.aliased_rules.iter().map(|(path, names)| format!("rules by alias {path}: {names:?}")));
    let nameless =
        view.provider_rules.keys().filter(|path| view.name(path).is_none()).collect::<BTreeSet<_>>();
    assert_eq!(view.nameless_rules.iter().collect::<BTreeSet<_>>(), nameless, "nameless rules of {tenant}");
    for service in view.services() {
        let ids = |found: Vec<Arc<super::ServiceView>>| -> Vec<String> {
            found.iter().map(|service| service.id.to_string()).collect()
        };
        let all = PartnerFilter::default();
        let providers = ids(snapshot.providers(tenant, service, all));
        let consumers = ids(snapshot.consumers(tenant, service, all));
        lines.push(format!("partners of {}: {providers:?} {consumers:?}", service.id));
    }
    lines
}

/// Finds of every name by every consumer, and lists of every service, with and without a tag.
fn answer_lines(snapshot: &Snapshot, tenant: &Tenant, view: &TenantView) -> Vec<String> {
    let mut lines = Vec::new();
    let mut consumers: Vec<&str> = view.services().map(|service| service.id.as_str()).collect();
    consumers.push("");
    let paths: Vec<&Arc<str>> = view.names.keys().chain(view.aliases.keys()).collect();
    for consumer in consumers {
        for tags in [&[][..], &["a"][..]] {
            for path in &paths {
                let mut parts = path.split('/');
                let (environment, app_id, name) =
                    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
                let query = FindQuery { tenant, target: tenant, environment, app_id, name, tags, consumer };
                let shared = shared();
                let found = snapshot.find(&query, &shared);
                let told = found.map(|found| {
                    assert_is_fresh(&found.answer, snapshot, tenant);
                    (told(&found.answer), found.dependency)
                });
                lines.push(format!("find {consumer} {tags:?} {path}: {told:?}"));
            }
            for (id, node) in view.nodes() {
                let query = ListQuery { tenant, provider: id.as_str(), tags, consumer };
                let listed = snapshot.list_instances(&query).map(|answer| {
                    let joined = FindAnswer::join(std::iter::once(&node.instances));
                    assert_eq!(told(&joined), told(&answer), "list of {id}");
                    told(&answer)
                });
                lines.push(format!("list {consumer} {tags:?} {id}: {listed:?}"));
            }
        }
    }
    lines
}

fn told(answer: &FindAnswer) -> (String, String, usize) {
    (answer.revision.to_string(), String::from_utf8_lossy(&answer.body()).into_owned(), answer.count)
}

/// Asserts that the snapshot holds every instance of an answer with the same document.
fn assert_is_fresh(answer: &FindAnswer, snapshot: &Snapshot, tenant: &Tenant) {
    let view = snapshot.tenant(tenant).unwrap();
    let known: Vec<Bytes> =
        view.nodes().flat_map(|(_, node)| node.instances.iter()).map(|e| e.json()).collect();
    let body: serde_json::Value = serde_json::from_slice(&answer.body()).unwrap();
    for shown in body["instances"].as_array().into_iter().flatten() {
        let is_known =
            known.iter().any(|json| serde_json::from_slice::<serde_json::Value>(json).unwrap() == *shown);
        assert!(is_known, "an answer shows what is not there: {shown}");
    }
}

/// What the answer with these services must be.
pub fn joined(snapshot: &Snapshot, services: &[&str]) -> (String, String, usize) {
    let view = snapshot.tenant(&tenant()).unwrap();
    let none = InstanceMap::default();
    let parts = services.iter().map(|id| view.node(id).map_or(&none, |node| &node.instances));
    told(&FindAnswer::join(parts))
}
