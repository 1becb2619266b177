//! The instances of a listing: nearly all of its entries. The threads that decode the pages prepare them. The builder only collects them,
//! and puts each instance into its place once, with its lease, when the listing ends.

use std::sync::Arc;

use super::digest;
use super::instances::InstanceEntry;
use super::lease_mark::LeaseMark;
use super::statuses::{InstanceStatus, StatusCounts};
use crate::domain::event::{InstanceRef, RegistryEvent, Revision};
use crate::domain::{InstanceId, ServiceId, Tenant};
use crate::packed::compact::Models;
use crate::packed::name::Sought;

/// A part of a listing.
#[derive(Debug)]
pub enum ListedPart {
    Instances(ListedInstances),
    /// A put of anything else.
    Event(RegistryEvent),
}

/// What a listing has of the instances of one service.
#[derive(Debug)]
pub struct ListedInstances {
    pub(super) tenant: Tenant,
    pub(super) service: ServiceId,
    /// In order of their ids. Nobody else has them.
    pub(super) entries: Vec<Arc<InstanceEntry>>,
    /// Leases that no entry has yet.
    pub(super) leases: Vec<(InstanceId, i64)>,
    pub(super) statuses: StatusCounts,
    /// The last revision at which one of the documents was written.
    pub(super) active_at: Revision,
    /// What the documents are compared with.
    pub(super) models: Models,
    /// The sum of the hashes of the documents and the leases.
    pub(super) digest: u64,
}

/// The parts of a page, from its events in the order of their keys.
pub fn parts(events: impl Iterator<Item = RegistryEvent>) -> Vec<ListedPart> {
    let mut parts = Vec::new();
    for event in events {
        let at = match &event {
            RegistryEvent::InstancePut(at, ..) | RegistryEvent::LeasePut(at, _) => at,
            _ => {
                parts.push(ListedPart::Event(event));
                continue;
            }
        };
        let listed = match parts.last_mut() {
            Some(ListedPart::Instances(last)) if last.is_of(at) => last,
            _ => {
                parts.push(ListedPart::Instances(ListedInstances::new(&at.tenant, &at.service)));
                let Some(ListedPart::Instances(last)) = parts.last_mut() else { continue };
                last
            }
        };
        listed.add(event);
    }
    parts
}

impl ListedInstances {
    fn new(tenant: &Tenant, service: &ServiceId) -> Self {
        Self {
            tenant: tenant.clone(),
            service: service.clone(),
            entries: Vec::new(),
            leases: Vec::new(),
            statuses: StatusCounts::default(),
            active_at: 0,
            models: Models::default(),
            digest: 0,
        }
    }

    fn is_of(&self, at: &InstanceRef) -> bool {
        self.tenant == at.tenant && self.service == at.service
    }

    fn add(&mut self, event: RegistryEvent) {
        let hash = match event {
            RegistryEvent::InstancePut(at, _, record) => {
                self.statuses.add(InstanceStatus::of_document(&record.json));
                self.active_at = self.active_at.max(record.mod_revision);
                self.entries.push(Arc::new(InstanceEntry::new(
                    &at.instance,
                    &record,
                    None,
                    &mut self.models,
                )));
                digest::instance(&at, record.mod_revision, &record.json)
            }
            RegistryEvent::LeasePut(at, lease) => {
                let hash = digest::lease(&at, lease);
                self.leases.push((at.instance, lease));
                hash
            }
            _ => return,
        };
        self.digest = self.digest.wrapping_add(hash);
    }

    /// Adds a later part of the same service, and gives its leases to the entries that are there.
    pub(super) fn append(&mut self, mut later: Self, mark: impl Fn(&InstanceId, i64) -> Arc<LeaseMark>) {
        if !later.entries.is_empty() {
            self.models = later.models;
        }
        self.entries.append(&mut later.entries);
        join(&mut self.entries, &mut later.leases, mark);
        self.leases.append(&mut later.leases);
        self.statuses += later.statuses;
        self.active_at = self.active_at.max(later.active_at);
        self.digest = self.digest.wrapping_add(later.digest);
    }

    /// All parts are there. What is left in `leases` is of instances that the listing lacks.
    pub(super) fn end(&mut self, mark: impl Fn(&InstanceId, i64) -> Arc<LeaseMark>) {
        join(&mut self.entries, &mut self.leases, mark);
    }
}

/// Gives entries their leases. Keeps the leases without an entry.
fn join(
    entries: &mut [Arc<InstanceEntry>],
    leases: &mut Vec<(InstanceId, i64)>,
    mark: impl Fn(&InstanceId, i64) -> Arc<LeaseMark>,
) {
    // Both are in order of the ids, so a lease is nearly always that of the next entry.
    let mut next = 0;
    leases.retain(|(id, lease)| {
        let sought = Sought::new(id.as_str());
        let order = |entry: &Arc<InstanceEntry>| entry.order(&sought);
        let is_next = entries.get(next).is_some_and(|entry| order(entry).is_eq());
        let found = if is_next { Ok(next) } else { entries.binary_search_by(order) };
        let Some(entry) = found.ok().and_then(|at| Arc::get_mut(entries.get_mut(at)?)) else { return true };
        entry.lease = Some(mark(id, *lease));
        next = found.map_or(0, |at| at + 1);
        false
    });
}
