//! A key with its value as the store holds it: one allocation that the keyspace, the leases and the watch's history share.

use std::cmp::Ordering;
use std::num::NonZeroI64;
use std::sync::Arc;

use bytes::Bytes;
use equivalent::{Comparable, Equivalent};

use super::super::port::{Entry, Key, LeaseId, Revision};
use super::key::KeyText;

/// A value. A short value needs no allocation of its own. An instance's lease key, for example, holds 19 digits.
#[derive(Clone, Debug)]
pub(super) enum ItemValue {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Bytes),
}

const SHORT: usize = 22;

impl ItemValue {
    /// Copies the bytes, so that the value keeps no larger buffer in memory.
    pub(super) fn new(value: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..value.len()), u8::try_from(value.len())) {
            (Some(space), Ok(length)) => {
                space.copy_from_slice(value);
                Self::Short { length, bytes }
            }
            _ => Self::Long(Bytes::copy_from_slice(value)),
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Self::Long(bytes) => bytes,
        }
    }

    fn to_bytes(&self) -> Bytes {
        match self {
            Self::Short { .. } => Bytes::copy_from_slice(self.as_slice()),
            Self::Long(bytes) => bytes.clone(),
        }
    }
}

/// An entry of the store. A put makes a new item and never changes one. Ordered by key alone.
#[derive(Debug)]
pub(super) struct Item {
    pub key: KeyText,
    pub value: ItemValue,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    pub version: i64,
    /// A lease's id. Half the size of an `Option<LeaseId>`.
    pub lease: Option<NonZeroI64>,
}

impl Item {
    pub(super) fn lease_id(&self) -> Option<LeaseId> {
        self.lease.map(|lease| LeaseId(lease.get()))
    }

    /// The port's form. Allocates the key's text.
    pub(super) fn to_entry(&self) -> Entry {
        self.to_entry_named(self.key.to_key())
    }

    /// The port's form, with the key's text that the caller has already.
    pub(super) fn to_entry_named(&self, key: Key) -> Entry {
        Entry {
            key,
            value: self.value.to_bytes(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease_id(),
        }
    }

    /// About the bytes it takes in memory, for the limit of the history.
    pub(super) fn weight(&self) -> usize {
        128 + match &self.value {
            ItemValue::Short { .. } => 0,
            ItemValue::Long(bytes) => bytes.len(),
        }
    }
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

/// Finds an item by its key's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByText<'a>(pub &'a str);

impl Equivalent<Arc<Item>> for ByText<'_> {
    fn equivalent(&self, item: &Arc<Item>) -> bool {
        item.key.order_text(self.0).is_eq()
    }
}

impl Comparable<Arc<Item>> for ByText<'_> {
    fn compare(&self, item: &Arc<Item>) -> Ordering {
        item.key.order_text(self.0).reverse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_bytes() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 255, 256, 300, 70_000] {
            let bytes = vec![0xa5; length];
            let value = ItemValue::new(&bytes);
            assert_eq!(value.as_slice(), bytes);
            assert_eq!(value.to_bytes(), bytes);
            assert_eq!(matches!(value, ItemValue::Short { .. }), length <= SHORT);
        }
    }

    #[test]
    fn an_item_with_its_counters_takes_112_bytes() {
        assert_eq!(size_of::<Item>(), 96, "an Arc adds 16");
    }
}
