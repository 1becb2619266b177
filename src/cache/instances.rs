//! The instances of a service, each with its lease.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::lease_mark::LeaseMark;
use crate::domain::InstanceId;
use crate::domain::event::InstanceRecord;

/// The instances of a service, in order of their ids.
#[derive(Clone, Debug, Default)]
pub struct InstanceMap(pub(super) OrdMap<InstanceId, Arc<InstanceEntry>>);

/// An instance and its lease.
#[derive(Clone, Debug)]
pub struct InstanceEntry {
    pub record: InstanceRecord,
    /// `None` if the store holds no lease key for the instance.
    pub lease: Option<Arc<LeaseMark>>,
}

impl InstanceMap {
    pub fn iter(&self) -> impl Iterator<Item = &Arc<InstanceEntry>> {
        self.0.values()
    }

    pub fn entries(&self) -> impl Iterator<Item = (&InstanceId, &Arc<InstanceEntry>)> {
        self.0.iter()
    }

    pub fn find(&self, id: &str) -> Option<&Arc<InstanceEntry>> {
        self.0.get(id)
    }

    /// An instance with its id in the map.
    pub fn entry(&self, id: &str) -> Option<(&InstanceId, &Arc<InstanceEntry>)> {
        self.0.get_key_value(id)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl InstanceEntry {
    /// The document as JSON, in the form in which the API answers it.
    pub fn json(&self) -> &Bytes {
        &self.record.json
    }
}
