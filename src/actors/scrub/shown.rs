//! What a snapshot shows of a unit, key by key, with the hash of each entry.

use std::collections::BTreeMap;

use crate::cache::Snapshot;
use crate::cache::access::AccessKey;
use crate::cache::digest::{self, NameKind, Unit};
use crate::cache::snapshot::{InstancePart, NameNode, NamePath, ServiceNode};
use crate::domain::event::{InstanceRef, Revision};
use crate::domain::{ServiceId, Tenant};
use crate::store::{Key, keys};

/// An entry of the store, or what a snapshot shows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryFacts {
    pub hash: u64,
    /// The revision of the last write, if it is known.
    pub revision: Option<Revision>,
}

pub(super) type Entries = BTreeMap<Key, EntryFacts>;

/// All entries of a unit, except those parts of expired instances that are shown although the store has deleted them.
pub(super) fn entries(snapshot: &Snapshot, unit: &Unit) -> Entries {
    let mut shown = Shown(Entries::new());
    match unit {
        Unit::Service(tenant, id) => {
            if let Some(node) = snapshot.tenant(tenant).and_then(|view| view.node(id.as_str())) {
                shown.service(snapshot, tenant, id, node);
            }
        }
        Unit::Names => {
            for (tenant, view) in snapshot.tenants() {
                view.names().for_each(|(path, node)| shown.names(NameKind::Name, tenant, path, node));
                view.aliases().for_each(|(path, node)| shown.names(NameKind::Alias, tenant, path, node));
            }
        }
        Unit::Rules => {
            for (tenant, view) in snapshot.tenants() {
                for (path, rule) in view.all_consumer_rules() {
                    shown.add(keys::consumer_rule_at(tenant, path), rule.hash, Some(rule.mod_revision));
                }
                for (path, version, rule) in view.all_provider_rules() {
                    let key = keys::provider_rule_at(tenant, &format!("{path}/{version}"));
                    shown.add(key, rule.hash, Some(rule.mod_revision));
                }
            }
        }
        Unit::Tenants => {
            for domain in &snapshot.domains {
                shown.add(keys::domain(domain), digest::domain(domain), None);
            }
            for tenant in &snapshot.projects {
                shown.add(keys::project(tenant), digest::project(tenant), None);
            }
        }
        Unit::Access => {
            for (key, revision, hash) in snapshot.access.hashed() {
                let key = match key {
                    AccessKey::Account(name) => keys::account(name),
                    AccessKey::Role(name) => keys::role(name),
                    AccessKey::Lock(key) => keys::account_lock(key),
                };
                shown.add(key, hash, Some(revision).filter(|revision| *revision > 0));
            }
        }
    }
    shown.0
}

struct Shown(Entries);

impl Shown {
    fn add(&mut self, key: Key, hash: u64, revision: Option<Revision>) {
        self.0.insert(key, EntryFacts { hash, revision });
    }

    fn service(&mut self, snapshot: &Snapshot, tenant: &Tenant, id: &ServiceId, node: &ServiceNode) {
        let service = id.as_str();
        if let Some(view) = &node.view {
            let hash = digest::service(tenant, id, &view.record);
            self.add(keys::service(tenant, service), hash, Some(view.record.mod_revision));
        }
        if let Some((tags, revision)) = &node.tags {
            self.add(keys::tags(tenant, service), digest::tags(tenant, id, tags, *revision), Some(*revision));
        }
        for (schema, content) in &node.schema_refs {
            let hash = digest::schema(tenant, id, schema, content);
            self.add(keys::schema_ref(tenant, service, schema), hash, None);
        }
        for (schema, summary) in &node.schema_summaries {
            let hash = digest::summary(tenant, id, schema, &summary.text, summary.mod_revision);
            self.add(keys::schema_summary(tenant, service, schema), hash, Some(summary.mod_revision));
        }
        let at = |instance: crate::domain::InstanceId| InstanceRef {
            tenant: tenant.clone(),
            service: id.clone(),
            instance,
        };
        let is_held = |at: &InstanceRef, part| snapshot.held(at).is_some_and(|parts| parts.has(part));
        for (instance, entry) in node.instances.entries() {
            let at = at(instance);
            if !is_held(&at, InstancePart::Document) {
                let key = keys::instance(tenant, service, at.instance.as_str());
                self.add(
                    key,
                    digest::instance(&at, entry.mod_revision, &entry.json()),
                    Some(entry.mod_revision),
                );
            }
        }
        for (instance, lease) in node.leases() {
            let at = at(instance);
            if !is_held(&at, InstancePart::Lease) {
                self.add(keys::lease(tenant, service, at.instance.as_str()), digest::lease(&at, lease), None);
            }
        }
        for instance in node.overrides() {
            let at = at(instance.clone());
            if !is_held(&at, InstancePart::Override) {
                let key = keys::properties_override(tenant, service, instance.as_str());
                self.add(key, digest::properties_override(&at), None);
            }
        }
    }

    fn names(&mut self, kind: NameKind, tenant: &Tenant, path: &NamePath, node: &NameNode) {
        for named in node.versions() {
            let of = format!("{path}/{}", named.version);
            let key = match kind {
                NameKind::Name => keys::index_at(tenant, &of),
                NameKind::Alias => keys::alias_at(tenant, &of),
            };
            let hash = digest::name(kind, tenant, path, &named.version, &named.service, named.mod_revision);
            self.add(key, hash, Some(named.mod_revision));
        }
    }
}
