//! The instances of a service, each with the lease it hangs on.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::lease_mark::LeaseMark;
use crate::domain::InstanceId;
use crate::domain::event::InstanceRecord;

/// The instances of a service, by id.
#[derive(Clone, Debug, Default)]
pub struct Instances(pub(super) OrdMap<InstanceId, Arc<InstanceEntry>>);

/// An instance with what it hangs on.
#[derive(Clone, Debug)]
pub struct InstanceEntry {
    /// The document as stored.
    pub record: InstanceRecord,
    /// Its lease; `None` if it has no lease key.
    pub lease: Option<Arc<LeaseMark>>,
}

impl Instances {
    /// All, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<InstanceEntry>> {
        self.0.values()
    }

    /// All with their ids.
    pub fn entries(&self) -> impl Iterator<Item = (&InstanceId, &Arc<InstanceEntry>)> {
        self.0.iter()
    }

    /// One by id.
    pub fn find(&self, id: &str) -> Option<&Arc<InstanceEntry>> {
        self.0.get(id)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl InstanceEntry {
    /// The document as JSON.
    pub fn json(&self) -> &Bytes {
        &self.record.json
    }
}
