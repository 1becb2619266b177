//! The instances of a service, each with its lease.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;
use equivalent::{Comparable, Equivalent};
use imbl::OrdSet;

use super::lease_mark::LeaseMark;
use crate::domain::event::{InstanceRecord, Revision};
use crate::domain::instance::HeartbeatPace;
use crate::domain::{Instance, InstanceId, json};
use crate::packed::compact::{Compact, Models};
use crate::packed::name::{Name, Sought};

/// The instances of a service, in order of their ids.
///
/// Inner nodes of the tree may keep a replaced or removed instance in memory until they are rebuilt: one instance for each leaf of 5 to
/// 16 instances.
#[derive(Clone, Debug, Default)]
pub struct InstanceMap(OrdSet<ById>);

/// An instance, found and ordered by its id.
#[derive(Clone, Debug)]
struct ById(Arc<InstanceEntry>);

/// An instance and its lease.
#[derive(Clone, Debug)]
pub struct InstanceEntry {
    id: Name,
    json: Compact,
    /// Revision of the last write of the document.
    pub mod_revision: Revision,
    /// `None` if the store holds no lease key for the instance.
    pub lease: Option<Arc<LeaseMark>>,
}

impl InstanceMap {
    pub fn iter(&self) -> impl Iterator<Item = &Arc<InstanceEntry>> {
        self.0.iter().map(|instance| &instance.0)
    }

    pub fn entries(&self) -> impl Iterator<Item = (InstanceId, &Arc<InstanceEntry>)> {
        self.iter().map(|entry| (entry.id(), entry))
    }

    pub fn find(&self, id: &str) -> Option<&Arc<InstanceEntry>> {
        self.0.get(&Sought::new(id)).map(|instance| &instance.0)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts an instance in the place of the one with the same id.
    pub(super) fn insert(&mut self, entry: InstanceEntry) {
        self.0.insert(ById(Arc::new(entry)));
    }

    /// `entries`: in order of their ids.
    pub(super) fn extend_sorted(&mut self, entries: Vec<Arc<InstanceEntry>>) {
        self.0.extend(entries.into_iter().map(ById));
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<InstanceEntry>> {
        self.0.remove(&Sought::new(id)).map(|instance| instance.0)
    }
}

impl InstanceEntry {
    /// `models`: what the documents of the service are compared with.
    pub fn new(
        id: &InstanceId,
        record: &InstanceRecord,
        lease: Option<Arc<LeaseMark>>,
        models: &mut Models,
    ) -> Self {
        let InstanceRecord { json, compact, mod_revision } = record;
        let json = compact.clone().unwrap_or_else(|| Compact::new(models, json));
        Self { id: Name::new(id.as_str()), json, mod_revision: *mod_revision, lease }
    }

    /// Compares the id.
    pub(super) fn order(&self, id: &Sought<'_>) -> Ordering {
        self.id.order(id)
    }

    pub(super) fn with_lease(&self, lease: Option<Arc<LeaseMark>>) -> Self {
        Self { lease, ..self.clone() }
    }

    /// Each call makes the id again.
    pub fn id(&self) -> InstanceId {
        InstanceId::from(self.id.to_string())
    }

    /// The document as JSON, in the form in which the API answers it. Each call makes it again.
    pub fn json(&self) -> Bytes {
        self.json.to_bytes()
    }

    /// Bytes of the JSON.
    pub fn json_length(&self) -> usize {
        self.json.length()
    }

    /// Appends the JSON.
    pub fn append_json(&self, out: &mut Vec<u8>) {
        self.json.append_to(out);
    }

    /// By the document's health check. Each call reads the document.
    pub fn pace(&self) -> HeartbeatPace {
        let document = json::decode::<Instance>(&self.json()).unwrap_or_default();
        HeartbeatPace::of(document.health_check.as_ref())
    }

    /// The record that the entry was made of.
    pub fn record(&self) -> InstanceRecord {
        let compact = Some(self.json.clone());
        InstanceRecord { json: self.json(), compact, mod_revision: self.mod_revision }
    }

    /// Whether both have the same document, written at the same revision.
    pub(super) fn same_document(&self, other: &Self) -> bool {
        self.json == other.json && self.mod_revision == other.mod_revision
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl Equivalent<ById> for Sought<'_> {
    fn equivalent(&self, instance: &ById) -> bool {
        instance.0.id.order(self).is_eq()
    }
}

impl Comparable<ById> for Sought<'_> {
    fn compare(&self, instance: &ById) -> Ordering {
        instance.0.id.order(self).reverse()
    }
}
