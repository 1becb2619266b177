//! Applies events to a working copy of the snapshot, and collects the changes that watchers are told. The cost of a publish
//! depends on the size of the change and not of the registry, because all maps are persistent.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap as StdHashMap};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::quality::RandomState;

use super::access::AccessView;
use super::digest::{self, NameKind};
use super::instances::InstanceEntry;
use super::lease_mark::LeaseMark;
use super::listing::{ListedInstances, ListedPart};
use super::snapshot::{
    ConsumerRule, FrameworkCounts, FrameworkName, HashMap, InstancePart, Listed, NameNode, NamePath,
    NamedVersion, ProviderRule, SchemaSummary, ServiceNode, ServiceView, Snapshot, TenantView, name_path,
};
use super::statuses::InstanceStatus;
use crate::domain::dependency::{self, CrossDomain, Partners};
use crate::domain::event::{
    InstanceRecord, InstanceRef, PutKind, RegistryEvent, Revision, ServiceName, ServiceRecord,
};
use crate::domain::{InstanceId, ServiceId, ServiceKey, Tenant};
use crate::metrics::requests::learn_domain;
use crate::packed::compact::Models;

/// What happened to an instance, as watchers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Create,
    Update,
    Delete,
}

/// A change of an instance, for watchers.
#[derive(Clone, Debug)]
pub struct InstanceChange {
    pub at: InstanceRef,
    /// The revision of the store at which it changed. For an expiry that was held back, the revision at which it was let go.
    pub revision: Revision,
    pub action: Action,
    /// Whether snapshots held the instance before. An instance that registers again while its expiry is held back was shown,
    /// and its action is `Create` all the same.
    pub was_shown: bool,
    /// The service of the instance. `None` if the service has no document: then nobody watches it.
    pub service: Option<Arc<ServiceView>>,
    /// The instance document. For a deleted instance the last one.
    pub json: Bytes,
    /// The document that snapshots held before. `None` for a deleted instance, and for one that was not shown.
    pub before: Option<Bytes>,
}

/// A name that services had and none has any more, although consumers depend on it. The rules of these consumers are dropped soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostProvider {
    pub tenant: Tenant,
    pub path: NamePath,
    pub consumers: Vec<ServiceKey>,
}

/// Makes the next snapshot from a working copy.
#[derive(Debug, Default)]
pub struct SnapshotBuilder {
    next: Snapshot,
    /// The revision of the event that is applied.
    revision: Revision,
    changes: Vec<InstanceChange>,
    lost: Vec<LostProvider>,
    /// The snapshot before the listing, while a listing is applied.
    former: Option<Snapshot>,
    /// The instances that were listed, until the listing ends.
    listed: StdHashMap<(Tenant, ServiceId), ListedInstances, RandomState>,
}

impl SnapshotBuilder {
    /// An empty working copy. With [`CrossDomain::Forbidden`] it leaves out partners from other domains, so that no reader of
    /// its snapshots sees them.
    pub fn new(cross_domain: CrossDomain) -> Self {
        Self { next: Snapshot { cross_domain, ..Snapshot::default() }, ..Self::default() }
    }

    /// An empty working copy for a listing with this number. The next [`Self::publish`] ends the listing and returns no changes; see
    /// [`difference`] for them. A lease that was known before keeps its mark, which gets the number. So a listing that fails uses up its
    /// number.
    pub fn listing_after(former: &Snapshot, listing: u32) -> Self {
        let cross_domain = former.cross_domain;
        let access = Arc::new(AccessView::listing_after(&former.access));
        let next = Snapshot { listing, cross_domain, access, ..Snapshot::default() };
        Self { next, former: Some(former.clone()), ..Self::default() }
    }

    /// The snapshot with all events applied so far, at this revision, and the changes since the last call.
    pub fn publish(&mut self, revision: Revision) -> (Arc<Snapshot>, Vec<InstanceChange>) {
        self.former = None;
        self.next.revision = self.next.revision.max(revision);
        (Arc::new(self.next.clone()), std::mem::take(&mut self.changes))
    }

    /// The providers lost since the last call.
    pub fn take_lost(&mut self) -> Vec<LostProvider> {
        std::mem::take(&mut self.lost)
    }

    /// The working copy.
    pub fn current(&self) -> &Snapshot {
        &self.next
    }

    /// The changes since the last [`Self::publish`].
    pub fn changes(&self) -> &[InstanceChange] {
        &self.changes
    }

    /// Says at which revision the next events happened.
    pub fn reach(&mut self, revision: Revision) {
        self.revision = revision;
    }

    pub fn apply(&mut self, event: RegistryEvent) {
        match event {
            RegistryEvent::ServicePut(tenant, id, record) => self.put_service(&tenant, id, record),
            RegistryEvent::ServiceDeleted(tenant, id) => self.delete_service(&tenant, &id),
            RegistryEvent::IndexPut(name, version, service, mod_revision) => {
                self.put_name(&name, NamedVersion { version, service, mod_revision }, Listed::Name)
            }
            RegistryEvent::IndexDeleted(name, version) => self.delete_name(&name, &version, Listed::Name),
            RegistryEvent::AliasPut(name, version, service, mod_revision) => {
                self.put_name(&name, NamedVersion { version, service, mod_revision }, Listed::Alias)
            }
            RegistryEvent::AliasDeleted(name, version) => self.delete_name(&name, &version, Listed::Alias),
            RegistryEvent::TagsPut(tenant, id, tags, revision) => {
                let mut former = None;
                self.with_node(&tenant, id.clone(), |node| {
                    let added = digest::tags(&tenant, &id, &tags, revision);
                    former = node.tags.replace((tags, revision));
                    let removed = former.as_ref().map(|(tags, of)| digest::tags(&tenant, &id, tags, *of));
                    node.recount(removed, Some(added));
                    node.active_at = node.active_at.max(revision);
                });
                self.with_known_tenant(&tenant, |view| view.tagged_count += usize::from(former.is_none()));
            }
            RegistryEvent::TagsDeleted(tenant, id) => {
                let mut former = None;
                self.with_known_node(&tenant, &id, |node| {
                    former = node.tags.take();
                    let removed = former.as_ref().map(|(tags, of)| digest::tags(&tenant, &id, tags, *of));
                    node.recount(removed, None);
                });
                self.with_known_tenant(&tenant, |view| view.tagged_count -= usize::from(former.is_some()));
            }
            RegistryEvent::SchemaRefPut(tenant, id, schema, hash, revision) => {
                let mut former = None;
                self.with_node(&tenant, id.clone(), |node| {
                    let added = digest::schema(&tenant, &id, &schema, &hash);
                    former = node.schema_refs.insert(Arc::clone(&schema), hash);
                    let removed = former.as_ref().map(|hash| digest::schema(&tenant, &id, &schema, hash));
                    node.recount(removed, Some(added));
                    node.active_at = node.active_at.max(revision);
                });
                self.with_known_tenant(&tenant, |view| view.schema_count += usize::from(former.is_none()));
            }
            RegistryEvent::SchemaRefDeleted(tenant, id, schema) => {
                let mut former = None;
                self.with_known_node(&tenant, &id, |node| {
                    former = node.schema_refs.remove(&schema);
                    let removed = former.as_ref().map(|hash| digest::schema(&tenant, &id, &schema, hash));
                    node.recount(removed, None);
                });
                self.with_known_tenant(&tenant, |view| view.schema_count -= usize::from(former.is_some()));
            }
            RegistryEvent::SchemaSummaryPut(tenant, id, schema, text, mod_revision) => {
                let summary = Arc::new(SchemaSummary { text, mod_revision });
                self.with_node(&tenant, id.clone(), |node| {
                    let hash = |of: &SchemaSummary| {
                        digest::summary(&tenant, &id, &schema, &of.text, of.mod_revision)
                    };
                    let added = hash(&summary);
                    let former = node.schema_summaries.insert(Arc::clone(&schema), summary);
                    node.recount(former.map(|of| hash(&of)), Some(added));
                });
            }
            RegistryEvent::SchemaSummaryDeleted(tenant, id, schema) => {
                self.with_known_node(&tenant, &id, |node| {
                    let former = node.schema_summaries.remove(&schema);
                    let removed =
                        former.map(|of| digest::summary(&tenant, &id, &schema, &of.text, of.mod_revision));
                    node.recount(removed, None);
                });
            }
            RegistryEvent::ConsumerRulePut(name, version, partners, revision) => {
                let hash =
                    digest::consumer_rule(&name.tenant, &versioned(&name, &version), &partners, revision);
                let rule = ConsumerRule::new(self.connected(&name.tenant, partners), revision, hash);
                self.put_consumer_rule(&name, &version, Arc::new(rule));
            }
            RegistryEvent::ConsumerRuleDeleted(name, version) => self.delete_consumer_rule(&name, &version),
            RegistryEvent::ProviderRulePut(name, version, partners, mod_revision) => {
                let path = path_of(&name);
                let hash = digest::provider_rule(&name.tenant, &path, &version, &partners, mod_revision);
                let partners = self.connected(&name.tenant, partners);
                let rule = Arc::new(ProviderRule { partners, mod_revision, hash });
                let mut former = None;
                self.with_tenant(&name.tenant, |tenant| {
                    if !tenant.names.contains_key(&path) {
                        tenant.nameless_rules.insert(Arc::clone(&path));
                    }
                    former = tenant.provider_rules.entry(path).or_default().insert(version, rule);
                });
                recount(&mut self.next.digests.rules, former.map(|rule| rule.hash), Some(hash));
            }
            RegistryEvent::ProviderRuleDeleted(name, version) => {
                let path = path_of(&name);
                let mut former = None;
                self.with_known_tenant(&name.tenant, |tenant| {
                    let Some(mut rules) = tenant.provider_rules.get(&path).cloned() else { return };
                    former = rules.remove(&version);
                    if rules.is_empty() {
                        tenant.provider_rules.remove(&path);
                        tenant.nameless_rules.remove(&path);
                    } else {
                        tenant.provider_rules.insert(path, rules);
                    }
                });
                recount(&mut self.next.digests.rules, former.map(|rule| rule.hash), None);
            }
            RegistryEvent::DependencyQueued(key, ended) => {
                self.next.dependency_queue.insert(key);
                self.next.ending_consumers.extend(ended);
            }
            RegistryEvent::DependencyTaken(key, ended) => {
                self.next.dependency_queue.remove(&key);
                if let Some(ended) = ended {
                    self.next.ending_consumers.remove(&ended);
                }
            }
            RegistryEvent::InstancePut(at, kind, record) => self.put_instance(at, kind, record),
            RegistryEvent::InstanceDeleted(at) => self.delete_instance(at),
            RegistryEvent::LeasePut(at, lease) => self.put_lease(&at, lease),
            RegistryEvent::LeaseDeleted(at) => self.delete_lease(&at),
            RegistryEvent::OverridePut(at) => {
                let was_held = self.let_go(&at, InstancePart::Override);
                self.with_node(&at.tenant, at.service.clone(), |node| {
                    let is_new = node.overrides.insert(at.instance.clone()).is_none();
                    node.recount(None, (is_new || was_held).then(|| digest::properties_override(&at)));
                });
            }
            RegistryEvent::OverrideDeleted(at) => {
                let was_held = self.let_go(&at, InstancePart::Override);
                self.with_known_node(&at.tenant, &at.service, |node| {
                    let was_there = node.overrides.remove(&at.instance).is_some();
                    node.recount((was_there && !was_held).then(|| digest::properties_override(&at)), None);
                });
            }
            // The watch handles these events: it knows which expired instances are still shown.
            RegistryEvent::LateGoodbye(..) | RegistryEvent::ExpiriesReleased(..) => {}
            RegistryEvent::DomainPut(domain) => {
                let hash = digest::domain(&domain);
                let former = self.next.domains.insert(domain);
                recount(&mut self.next.digests.tenants, former.map(|_| hash), Some(hash));
            }
            RegistryEvent::DomainDeleted(domain) => {
                let former = self.next.domains.remove(&domain);
                recount(&mut self.next.digests.tenants, former.map(|_| digest::domain(&domain)), None);
            }
            RegistryEvent::ProjectPut(tenant) => {
                let hash = digest::project(&tenant);
                let former = self.next.projects.insert(tenant);
                recount(&mut self.next.digests.tenants, former.map(|_| hash), Some(hash));
            }
            RegistryEvent::ProjectDeleted(tenant) => {
                let former = self.next.projects.remove(&tenant);
                recount(&mut self.next.digests.tenants, former.map(|_| digest::project(&tenant)), None);
            }
            RegistryEvent::AccountPut(..)
            | RegistryEvent::AccountDeleted(..)
            | RegistryEvent::RolePut(..)
            | RegistryEvent::RoleDeleted(..)
            | RegistryEvent::AccountLockPut(..)
            | RegistryEvent::AccountLockDeleted(..) => Arc::make_mut(&mut self.next.access).apply(event),
        }
    }

    /// Applies a part of a listing. Its instances show at the end of the listing.
    pub fn apply_listed(&mut self, part: ListedPart) {
        let part = match part {
            ListedPart::Event(event) => return self.apply(event),
            ListedPart::Instances(part) => part,
        };
        match self.listed.entry((part.tenant.clone(), part.service.clone())) {
            Entry::Vacant(place) => drop(place.insert(part)),
            Entry::Occupied(known) => {
                let mark = marks(self.former.as_ref(), self.next.listing, &part);
                known.into_mut().append(part, mark);
            }
        }
    }

    /// The instances that were listed, of one service after the other, for [`Self::show_listed`].
    pub fn take_listed(&mut self) -> impl Iterator<Item = ListedInstances> + use<> {
        std::mem::take(&mut self.listed).into_values()
    }

    /// Shows listed instances of a service. All pages are there.
    pub fn show_listed(&mut self, mut listed: ListedInstances) {
        let mark = marks(self.former.as_ref(), self.next.listing, &listed);
        listed.end(mark);
        let ListedInstances { tenant, service, entries, leases, statuses, active_at, models, digest } =
            listed;
        let count = entries.len();
        self.with_tenant(&tenant, |tenant| {
            let node = Arc::make_mut(tenant.services.entry(service).or_default());
            node.instances.extend_sorted(entries);
            node.early_leases.extend(leases);
            node.statuses += statuses;
            node.active_at = node.active_at.max(active_at);
            node.models = models;
            node.recount(None, Some(digest));
            let view = node.view.clone();
            tenant.instance_count += count;
            if let Some(service) = view {
                tenant.add_to_framework(&service.framework, 0, count);
            }
        });
        self.next.instance_count += count;
        recount(&mut self.next.digests.services, None, Some(digest));
    }

    fn put_service(&mut self, tenant: &Tenant, id: ServiceId, record: Arc<ServiceRecord>) {
        let revision = record.mod_revision;
        let added = digest::service(tenant, &id, &record);
        let view = Arc::new(ServiceView::new(tenant, id.clone(), record));
        learn_domain(tenant.domain());
        let (of, mut shift) = (tenant, 0);
        self.with_tenant(tenant, |tenant| {
            let node = Arc::make_mut(tenant.services.entry(id.clone()).or_default());
            node.active_at = node.active_at.max(revision);
            let (framework, instances) = (Arc::clone(&view.framework), node.instances.len());
            let former = node.view.replace(view);
            let removed = former.as_ref().map(|former| digest::service(of, &id, &former.record));
            shift = node.recount(removed, Some(added));
            tenant.service_count += usize::from(former.is_none());
            if let Some(former) = former {
                tenant.drop_from_framework(&former.framework, 1, instances);
            }
            tenant.add_to_framework(&framework, 1, instances);
        });
        self.next.digests.services = self.next.digests.services.wrapping_add(shift);
    }

    fn delete_service(&mut self, tenant: &Tenant, id: &ServiceId) {
        let (of, mut shift) = (tenant, 0);
        self.with_known_tenant(tenant, |tenant| {
            let Some(node) = tenant.services.get_mut(id) else { return };
            let node = Arc::make_mut(node);
            let instances = node.instances.len();
            if let Some(former) = node.view.take() {
                shift = node.recount(Some(digest::service(of, id, &former.record)), None);
                tenant.service_count = tenant.service_count.saturating_sub(1);
                tenant.drop_from_framework(&former.framework, 1, instances);
            }
            tenant.drop_if_unused(id);
        });
        self.next.digests.services = self.next.digests.services.wrapping_add(shift);
    }

    fn put_name(&mut self, name: &ServiceName, version: NamedVersion, listed: fn(Arc<str>) -> Listed) {
        let (path, id) = (path_of(name), version.service.clone());
        let kind = listed(Arc::clone(&path)).kind();
        let hash = |of: &NamedVersion| {
            let NamedVersion { version, service, mod_revision } = of;
            digest::name(kind, &name.tenant, &path, version, service, *mod_revision)
        };
        let (added, mut removed) = (hash(&version), None);
        self.with_tenant(&name.tenant, |tenant| {
            let way = listed(Arc::clone(&path));
            if matches!(way, Listed::Name(_)) {
                tenant.nameless_rules.remove(&path);
            }
            let node = Arc::make_mut(tenant.tree(&way).entry(Arc::clone(&path)).or_default());
            let former = node.versions.iter().position(|known| known.version == version.version);
            let former = former.map(|at| node.versions.remove(at));
            removed = former.as_ref().map(&hash);
            let former = former.map(|former| former.service);
            node.versions.push(version);
            node.versions.sort();
            node.answers.outdate();
            match former {
                // The same key was written again. A service has one entry in `listed` for each version.
                Some(former) if former == id => return,
                Some(former) => tenant.unlist(&former, &way),
                None => {}
            }
            let owner = Arc::make_mut(tenant.services.entry(id).or_default());
            owner.listed.push(way);
        });
        recount(&mut self.next.digests.names, removed, Some(added));
    }

    fn delete_name(&mut self, name: &ServiceName, version: &str, listed: fn(Arc<str>) -> Listed) {
        let path = path_of(name);
        let mut lost = None;
        let mut removed = None;
        self.with_known_tenant(&name.tenant, |tenant| {
            let way = listed(Arc::clone(&path));
            let tree = tenant.tree(&way);
            let Some(node) = tree.get_mut(&path) else { return };
            let node = Arc::make_mut(node);
            let Some(at) = node.versions.iter().position(|known| *known.version == *version) else { return };
            let NamedVersion { version, service: owner, mod_revision } = node.versions.remove(at);
            removed = Some(digest::name(way.kind(), &name.tenant, &path, &version, &owner, mod_revision));
            node.answers.outdate();
            if node.versions.is_empty() {
                tree.remove(&path);
                if matches!(way, Listed::Name(_)) && tenant.provider_rules.contains_key(&path) {
                    lost = Some(lost_provider(&name.tenant, &path, tenant));
                    tenant.nameless_rules.insert(path);
                }
            }
            tenant.unlist(&owner, &way);
        });
        if self.former.is_none() {
            self.lost.extend(lost);
        }
        recount(&mut self.next.digests.names, removed, None);
    }

    /// The partners without those that services of this tenant may not depend on.
    fn connected(&self, tenant: &Tenant, partners: Arc<Partners>) -> Arc<Partners> {
        let cross_domain = self.next.cross_domain;
        let connects = |key: &&ServiceKey| cross_domain.connects(tenant.as_str(), &key.tenant);
        if partners.keys.iter().all(|key| connects(&key)) {
            return partners;
        }
        Arc::new(Partners { keys: partners.keys.iter().filter(connects).cloned().collect() })
    }

    fn put_consumer_rule(&mut self, name: &ServiceName, version: &str, rule: Arc<ConsumerRule>) {
        let key = versioned(name, version);
        let mut former = None;
        self.with_tenant(&name.tenant, |tenant| {
            former = tenant.consumer_rules.insert(key, Arc::clone(&rule));
        });
        let removed = former.as_ref().map(|rule| rule.hash);
        recount(&mut self.next.digests.rules, removed, Some(rule.hash));
        self.move_aliases(former.as_deref(), Some(&rule));
    }

    fn delete_consumer_rule(&mut self, name: &ServiceName, version: &str) {
        let key = versioned(name, version);
        let mut former = None;
        self.with_known_tenant(&name.tenant, |tenant| former = tenant.consumer_rules.remove(&key));
        recount(&mut self.next.digests.rules, former.as_ref().map(|rule| rule.hash), None);
        self.move_aliases(former.as_deref(), None);
    }

    /// Updates `aliased_rules` after a consumer's rule has changed.
    fn move_aliases(&mut self, former: Option<&ConsumerRule>, current: Option<&ConsumerRule>) {
        let (former, current) = (aliased(former), aliased(current));
        for [tenant, environment, app_id, name, alias] in former.difference(&current) {
            let path = |name| name_path(environment, app_id, name);
            self.with_known_tenant(&Tenant::from(*tenant), |view| {
                view.uncount_alias(&path(alias), &path(name))
            });
        }
        for [tenant, environment, app_id, name, alias] in current.difference(&former) {
            let path = |name| NamePath::from(name_path(environment, app_id, name));
            self.with_tenant(&Tenant::from(*tenant), |view| {
                let names = view.aliased_rules.entry(path(alias)).or_default();
                *names.entry(path(name)).or_default() += 1;
            });
        }
    }

    fn put_instance(&mut self, at: InstanceRef, kind: PutKind, record: InstanceRecord) {
        let (json, revision) = (record.json.clone(), record.mod_revision);
        let mut is_new = false;
        let (mut service, mut before) = (None, None);
        let (listing, known) = (self.next.listing, self.former_mark(&at));
        let was_held = self.let_go(&at, InstancePart::Document);
        let mut shift = 0;
        self.with_tenant(&at.tenant, |tenant| {
            let node = Arc::make_mut(tenant.services.entry(at.service.clone()).or_default());
            node.active_at = node.active_at.max(record.mod_revision);
            let former = node.instances.find(at.instance.as_str());
            is_new = former.is_none();
            before = former.map(|former| former.json());
            if let Some(before) = &before {
                node.statuses.remove(InstanceStatus::of_document(before));
            }
            node.statuses.add(InstanceStatus::of_document(&record.json));
            let removed = former.zip(before.as_ref()).filter(|_| !was_held);
            let removed = removed.map(|(former, json)| digest::instance(&at, former.mod_revision, json));
            let added = digest::instance(&at, revision, &record.json);
            let lease = match former {
                Some(former) => former.lease.clone(),
                None => node.early_leases.remove(&at.instance).map(|lease| mark(lease, known, listing)),
            };
            let entry = InstanceEntry::new(&at.instance, &record, lease, &mut node.models);
            node.instances.insert(entry);
            shift = node.recount(removed, Some(added));
            node.outdate();
            service.clone_from(&node.view);
            tenant.instance_count += usize::from(is_new);
            if let Some(service) = service.as_ref().filter(|_| is_new) {
                tenant.add_to_framework(&service.framework, 0, 1);
            }
            tenant.drop_answers(&at.service);
        });
        self.next.instance_count += usize::from(is_new);
        self.next.digests.services = self.next.digests.services.wrapping_add(shift);
        // An instance that was not shown is new to watchers, even if its key was there with an unreadable value.
        let is_created = is_new || kind == PutKind::Created;
        let action = if is_created { Action::Create } else { Action::Update };
        self.note(InstanceChange { at, revision, action, was_shown: !is_new, service, json, before });
    }

    /// Collects a change. During a listing nothing is collected, because [`difference`] compares the whole snapshots.
    fn note(&mut self, change: InstanceChange) {
        if self.former.is_none() {
            self.changes.push(change);
        }
    }

    fn delete_instance(&mut self, at: InstanceRef) {
        let mut gone = None;
        let was_held = self.let_go(&at, InstancePart::Document);
        let mut shift = 0;
        self.with_known_tenant(&at.tenant, |tenant| {
            let Some(node) = tenant.services.get_mut(&at.service) else { return };
            if node.instances.find(at.instance.as_str()).is_none() {
                return;
            }
            let node = Arc::make_mut(node);
            let removed = node.instances.remove(at.instance.as_str());
            if node.instances.is_empty() {
                node.models = Models::default();
            }
            gone = removed.map(|entry| (node.view.clone(), entry.json(), entry));
            if let Some((_, json, _)) = &gone {
                node.statuses.remove(InstanceStatus::of_document(json));
            }
            let removed = gone.as_ref().filter(|_| !was_held);
            let removed = removed.map(|(_, json, entry)| digest::instance(&at, entry.mod_revision, json));
            shift = node.recount(removed, None);
            node.outdate();
            if let Some(mark) = gone.as_ref().and_then(|(.., entry)| entry.lease.as_ref()) {
                // The lease has its own key, which is still there.
                node.early_leases.insert(at.instance.clone(), mark.lease());
            }
            tenant.instance_count = tenant.instance_count.saturating_sub(1);
            if let Some((Some(service), ..)) = &gone {
                tenant.drop_from_framework(&service.framework, 0, 1);
            }
            tenant.drop_answers(&at.service);
            tenant.drop_if_unused(&at.service);
        });
        if let Some((service, json, _)) = gone {
            self.next.instance_count = self.next.instance_count.saturating_sub(1);
            self.next.digests.services = self.next.digests.services.wrapping_add(shift);
            let (action, revision) = (Action::Delete, self.revision);
            self.note(InstanceChange { at, revision, action, was_shown: true, service, json, before: None });
        }
    }

    fn former_mark(&self, at: &InstanceRef) -> Option<Arc<LeaseMark>> {
        let former = self.former.as_ref()?;
        former.instance(&at.tenant, at.service.as_str(), at.instance.as_str())?.lease.clone()
    }

    fn put_lease(&mut self, at: &InstanceRef, lease: i64) {
        let (listing, known) = (self.next.listing, self.former_mark(at));
        let was_held = self.let_go(at, InstancePart::Lease);
        self.with_node(&at.tenant, at.service.clone(), |node| {
            let former = node.lease_of(&at.instance).filter(|_| !was_held);
            node.recount(former.map(|lease| digest::lease(at, lease)), Some(digest::lease(at, lease)));
            match node.instances.find(at.instance.as_str()) {
                Some(entry) if entry.lease.as_ref().is_some_and(|mark| mark.lease() == lease) => {}
                Some(entry) => {
                    let lease = Some(mark(lease, known, listing));
                    let entry = entry.with_lease(lease);
                    node.instances.insert(entry);
                }
                None => drop(node.early_leases.insert(at.instance.clone(), lease)),
            };
        });
    }

    fn delete_lease(&mut self, at: &InstanceRef) {
        let was_held = self.let_go(at, InstancePart::Lease);
        self.with_known_node(&at.tenant, &at.service, |node| {
            let former = node.lease_of(&at.instance).filter(|_| !was_held);
            node.recount(former.map(|lease| digest::lease(at, lease)), None);
            node.early_leases.remove(&at.instance);
            if let Some(entry) =
                node.instances.find(at.instance.as_str()).filter(|entry| entry.lease.is_some())
            {
                let entry = entry.with_lease(None);
                node.instances.insert(entry);
            }
        });
    }

    /// The store has deleted the key of a part of an instance, and the snapshot goes on showing the part until the next event about
    /// it. Until then it does not count for the digest.
    pub fn hold(&mut self, at: &InstanceRef, part: InstancePart) {
        if self.next.held(at).is_some_and(|parts| parts.has(part)) {
            return;
        }
        let mut held = None;
        self.with_known_node(&at.tenant, &at.service, |node| {
            held = match part {
                InstancePart::Document => node
                    .instances
                    .find(at.instance.as_str())
                    .map(|entry| digest::instance(at, entry.mod_revision, &entry.json())),
                InstancePart::Lease => node.lease_of(&at.instance).map(|lease| digest::lease(at, lease)),
                InstancePart::Override => {
                    node.overrides.contains(&at.instance).then(|| digest::properties_override(at))
                }
            };
            node.recount(held, None);
        });
        if let Some(hash) = held {
            self.next.held.entry(at.clone()).or_default().replace(part, Some(hash));
            recount(&mut self.next.digests.held, None, Some(hash));
        }
    }

    /// Ends the hold of a part. Returns whether there was one: then the part does not count for the digest now.
    fn let_go(&mut self, at: &InstanceRef, part: InstancePart) -> bool {
        if self.next.held.is_empty() {
            return false;
        }
        let Some(parts) = self.next.held.get_mut(at) else { return false };
        let held = parts.replace(part, None);
        if parts.is_empty() {
            self.next.held.remove(at);
        }
        recount(&mut self.next.digests.held, held, None);
        held.is_some()
    }

    /// Changes a tenant's part, and adds the tenant if needed.
    fn with_tenant(&mut self, tenant: &Tenant, change: impl FnOnce(&mut TenantView)) {
        change(Arc::make_mut(self.next.tenants.entry(tenant.clone()).or_default()));
    }

    /// Changes a tenant's part if the tenant is there, and removes the tenant if nothing is left of it.
    fn with_known_tenant(&mut self, tenant: &Tenant, change: impl FnOnce(&mut TenantView)) {
        let Some(view) = self.next.tenants.get_mut(tenant) else { return };
        let view = Arc::make_mut(view);
        change(view);
        if view.is_empty() {
            self.next.tenants.remove(tenant);
        }
    }

    fn with_node(&mut self, tenant: &Tenant, id: ServiceId, change: impl FnOnce(&mut ServiceNode)) {
        let mut shift = 0;
        self.with_tenant(tenant, |tenant| {
            shift = changed(Arc::make_mut(tenant.services.entry(id).or_default()), change);
        });
        self.next.digests.services = self.next.digests.services.wrapping_add(shift);
    }

    fn with_known_node(&mut self, tenant: &Tenant, id: &ServiceId, change: impl FnOnce(&mut ServiceNode)) {
        let mut shift = 0;
        self.with_known_tenant(tenant, |tenant| {
            if let Some(node) = tenant.services.get_mut(id) {
                shift = changed(Arc::make_mut(node), change);
                tenant.drop_if_unused(id);
            }
        });
        self.next.digests.services = self.next.digests.services.wrapping_add(shift);
    }
}

/// Changes a node. Returns what that adds to its digest.
fn changed(node: &mut ServiceNode, change: impl FnOnce(&mut ServiceNode)) -> u64 {
    let before = node.digest;
    change(node);
    node.digest.wrapping_sub(before)
}

/// Replaces the hash of an entry in a sum. Returns what that adds to the sum.
fn recount(sum: &mut u64, removed: Option<u64>, added: Option<u64>) -> u64 {
    let shift = added.unwrap_or(0).wrapping_sub(removed.unwrap_or(0));
    *sum = sum.wrapping_add(shift);
    shift
}

impl ServiceNode {
    fn recount(&mut self, removed: Option<u64>, added: Option<u64>) -> u64 {
        recount(&mut self.digest, removed, added)
    }
}

impl Listed {
    fn kind(&self) -> NameKind {
        match self {
            Self::Name(_) => NameKind::Name,
            Self::Alias(_) => NameKind::Alias,
        }
    }
}

/// The mark of a lease. It is the one from before the listing if that is of the same lease.
fn mark(lease: i64, known: Option<Arc<LeaseMark>>, listing: u32) -> Arc<LeaseMark> {
    match known.filter(|mark| mark.lease() == lease) {
        Some(mark) => {
            mark.listed(listing);
            mark
        }
        None => Arc::new(LeaseMark::new(lease, listing)),
    }
}

/// Makes the marks of leases of a service.
fn marks<'f>(
    former: Option<&'f Snapshot>,
    listing: u32,
    of: &ListedInstances,
) -> impl Fn(&InstanceId, i64) -> Arc<LeaseMark> + use<'f> {
    let former = former.and_then(|former| former.tenant(&of.tenant)?.node(of.service.as_str()));
    move |id, lease| {
        let known = former.and_then(|node| node.instances.find(id.as_str())?.lease.clone());
        mark(lease, known, listing)
    }
}

/// The providers that a consumer's rule names with an alias: tenant, environment, application, name, alias.
fn aliased(rule: Option<&ConsumerRule>) -> HashSet<[&str; 5]> {
    let keys = rule.map(|rule| rule.partners.keys.as_slice()).unwrap_or_default();
    let keys = keys.iter().filter(|key| !key.alias.is_empty());
    keys.map(|key| {
        let [tenant, environment, app_id, name] = dependency::name(key);
        [tenant, environment, app_id, name, key.alias.as_str()]
    })
    .collect()
}

impl TenantView {
    fn add_to_framework(&mut self, name: &Arc<FrameworkName>, services: usize, instances: usize) {
        match self.frameworks.get_mut(&**name) {
            Some(counts) => {
                counts.services += services;
                counts.instances += instances;
            }
            None => {
                self.frameworks.insert(Arc::clone(name), FrameworkCounts { services, instances });
            }
        }
    }

    fn drop_from_framework(&mut self, name: &FrameworkName, services: usize, instances: usize) {
        let Some(counts) = self.frameworks.get_mut(name) else { return };
        counts.services = counts.services.saturating_sub(services);
        counts.instances = counts.instances.saturating_sub(instances);
        if *counts == FrameworkCounts::default() {
            self.frameworks.remove(name);
        }
    }

    fn uncount_alias(&mut self, alias: &str, name: &str) {
        let Some(mut names) = self.aliased_rules.get(alias).cloned() else { return };
        match names.get(name) {
            Some(count) if *count > 1 => drop(names.insert(name.into(), count - 1)),
            _ => drop(names.remove(name)),
        }
        if names.is_empty() {
            self.aliased_rules.remove(alias);
        } else {
            self.aliased_rules.insert(alias.into(), names);
        }
    }

    fn tree(&mut self, way: &Listed) -> &mut HashMap<Arc<str>, Arc<NameNode>> {
        match way {
            Listed::Name(_) => &mut self.names,
            Listed::Alias(_) => &mut self.aliases,
        }
    }

    fn unlist(&mut self, id: &ServiceId, way: &Listed) {
        if let Some(node) = self.services.get_mut(id) {
            let node = Arc::make_mut(node);
            if let Some(at) = node.listed.iter().position(|known| known == way) {
                node.listed.remove(at);
            }
            self.drop_if_unused(id);
        }
    }

    /// Drops the ready answers with instances of this service.
    fn drop_answers(&mut self, id: &ServiceId) {
        let ways = self.services.get(id).map(|node| node.listed.clone()).unwrap_or_default();
        for way in ways {
            let (Listed::Name(path) | Listed::Alias(path)) = &way;
            if let Some(node) = self.tree(&way).get_mut(path) {
                Arc::make_mut(node).answers.outdate();
            }
        }
    }

    /// Removes a service id of which the store holds nothing.
    fn drop_if_unused(&mut self, id: &ServiceId) {
        let unused = self.services.get(id).is_some_and(|node| {
            node.view.is_none()
                && node.tags.is_none()
                && node.schema_refs.is_empty()
                && node.schema_summaries.is_empty()
                && node.instances.is_empty()
                && node.listed.is_empty()
                && node.early_leases.is_empty()
                && node.overrides.is_empty()
        });
        if unused {
            self.services.remove(id);
        }
    }
}

impl ServiceView {
    fn new(tenant: &Tenant, id: ServiceId, record: Arc<ServiceRecord>) -> Self {
        let document = &record.document;
        let path = name_path(&document.environment, &document.app_id, &document.service_name);
        let versioned_path = format!("{path}/{}", document.version).into();
        let (allows_cross_app, is_registry) = (document.allows_cross_app(), document.is_registry(tenant));
        let framework = document.framework.as_ref().map(|framework| FrameworkName {
            name: framework.name.clone(),
            version: framework.version.clone(),
        });
        let framework = Arc::new(framework.unwrap_or_default());
        Self { id, path: path.into(), versioned_path, allows_cross_app, is_registry, framework, record }
    }
}

fn path_of(name: &ServiceName) -> Arc<str> {
    name_path(&name.environment, &name.app_id, &name.name).into()
}

fn versioned(name: &ServiceName, version: &str) -> Arc<str> {
    format!("{}/{version}", name_path(&name.environment, &name.app_id, &name.name)).into()
}

/// The changes between two snapshots, for watchers. Used after a listing, because events before it were missed.
pub fn difference(old: &Snapshot, new: &Snapshot) -> Vec<InstanceChange> {
    let mut changes = Vec::new();
    for (at, service, entry) in instances(new) {
        let former = old.instance(&at.tenant, at.service.as_str(), at.instance.as_str());
        let action = match former {
            None => Action::Create,
            // Compare the whole record: a store that was restored from a backup uses revisions a second time.
            Some(former) if !former.same_document(entry) => Action::Update,
            Some(_) => continue,
        };
        changes.push(InstanceChange {
            at,
            revision: entry.mod_revision,
            action,
            was_shown: former.is_some(),
            service,
            json: entry.json(),
            before: former.map(|former| former.json()),
        });
    }
    for (at, service, entry) in instances(old) {
        if new.instance(&at.tenant, at.service.as_str(), at.instance.as_str()).is_none() {
            let (json, revision) = (entry.json(), new.revision);
            let action = Action::Delete;
            changes.push(InstanceChange {
                at,
                revision,
                action,
                was_shown: true,
                service,
                json,
                before: None,
            });
        }
    }
    changes
}

/// The providers that were lost between two snapshots. Used after a listing.
pub fn lost_providers(old: &Snapshot, new: &Snapshot) -> Vec<LostProvider> {
    let of_tenant = |(tenant, view): (&Tenant, &Arc<TenantView>)| {
        let now = new.tenant(tenant);
        let is_lost =
            |path: &&NamePath| view.name(path).is_some() && now.is_none_or(|now| now.name(path).is_none());
        let lost = view.provider_rules.keys().filter(is_lost);
        lost.map(|path| lost_provider(tenant, path, view)).collect::<Vec<_>>()
    };
    old.tenants().flat_map(of_tenant).collect()
}

fn lost_provider(tenant: &Tenant, path: &NamePath, view: &TenantView) -> LostProvider {
    let consumers = view.provider_rules(path).flat_map(|(_, partners)| &partners.keys).cloned().collect();
    LostProvider { tenant: tenant.clone(), path: Arc::clone(path), consumers }
}

fn instances(
    snapshot: &Snapshot,
) -> impl Iterator<Item = (InstanceRef, Option<Arc<ServiceView>>, &Arc<InstanceEntry>)> {
    snapshot.tenants().flat_map(|(tenant, view)| {
        view.nodes().flat_map(move |(service, node)| {
            node.instances.entries().map(move |(instance, entry)| {
                let at = InstanceRef { tenant: tenant.clone(), service: service.clone(), instance };
                (at, node.view.clone(), entry)
            })
        })
    })
}
