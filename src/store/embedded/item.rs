//! A key with its value as the store holds it: one allocation that the keyspace, the leases and the watch's history share.

use std::cmp::Ordering;
use std::num::NonZeroI64;
use std::sync::Arc;

use bytes::Bytes;
use equivalent::{Comparable, Equivalent};

use super::super::port::{Entry, Key, LeaseId, Revision};
use super::key::KeyText;
use crate::packed::compact::Compact;

/// A value. An instance's lease key, for example, holds a number, which needs no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ItemValue {
    /// Its decimal text is the value.
    Number(i64),
    /// A value that resembles others of its folder, such as an instance's document, shares what they have in common.
    Bytes(Compact),
}

/// The longest text of an `i64`.
const LONGEST_NUMBER: usize = 20;

impl ItemValue {
    /// Copies the bytes, so that the value keeps no larger buffer in memory.
    pub(super) fn new(value: &[u8], key: &KeyText) -> Self {
        number(value).map_or_else(|| Self::Bytes(key.compact(value)), Self::Number)
    }

    pub(super) fn bytes(&self) -> Bytes {
        match self {
            Self::Number(number) => number.to_string().into(),
            Self::Bytes(compact) => compact.to_bytes(),
        }
    }

    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Bytes(compact) => compact.append_to(out),
        }
    }

    pub(super) fn length(&self) -> usize {
        match self {
            Self::Number(number) => number.to_string().len(),
            Self::Bytes(compact) => compact.length(),
        }
    }
}

/// The number whose text this is.
fn number(value: &[u8]) -> Option<i64> {
    if value.len() > LONGEST_NUMBER || !value.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) {
        return None;
    }
    let number: i64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    // Not so: a leading zero.
    (number.to_string().as_bytes() == value).then_some(number)
}

/// An entry of the store. A put makes a new item and never changes one. Ordered by key alone.
#[derive(Debug)]
pub(super) struct Item {
    pub key: KeyText,
    pub value: ItemValue,
    puts: Puts,
}

/// The puts of a key since it was created.
#[derive(Debug)]
enum Puts {
    /// Most keys are put once.
    One {
        revision: NonZeroI64,
        lease: Option<NonZeroI64>,
    },
    More(Box<MorePuts>),
}

#[derive(Debug)]
struct MorePuts {
    create_revision: Revision,
    mod_revision: Revision,
    version: i64,
    lease: Option<NonZeroI64>,
}

impl Item {
    pub(super) fn new(
        key: KeyText,
        value: ItemValue,
        lease: Option<NonZeroI64>,
        (create_revision, mod_revision, version): (Revision, Revision, i64),
    ) -> Self {
        let is_first = version == 1 && create_revision == mod_revision;
        let puts = match NonZeroI64::new(mod_revision).filter(|_| is_first) {
            Some(revision) => Puts::One { revision, lease },
            None => Puts::More(Box::new(MorePuts { create_revision, mod_revision, version, lease })),
        };
        Self { key, value, puts }
    }

    pub(super) fn create_revision(&self) -> Revision {
        match &self.puts {
            Puts::One { revision, .. } => revision.get(),
            Puts::More(more) => more.create_revision,
        }
    }

    pub(super) fn mod_revision(&self) -> Revision {
        match &self.puts {
            Puts::One { revision, .. } => revision.get(),
            Puts::More(more) => more.mod_revision,
        }
    }

    /// Number of puts since the key was created.
    pub(super) fn version(&self) -> i64 {
        match &self.puts {
            Puts::One { .. } => 1,
            Puts::More(more) => more.version,
        }
    }

    /// A lease's id. Half the size of an `Option<LeaseId>`.
    pub(super) fn lease(&self) -> Option<NonZeroI64> {
        match &self.puts {
            Puts::One { lease, .. } => *lease,
            Puts::More(more) => more.lease,
        }
    }

    pub(super) fn lease_id(&self) -> Option<LeaseId> {
        self.lease().map(|lease| LeaseId(lease.get()))
    }

    /// The port's form. Allocates the key's text.
    pub(super) fn to_entry(&self) -> Entry {
        self.to_entry_named(self.key.to_key())
    }

    /// The port's form, with the key's text that the caller has already.
    pub(super) fn to_entry_named(&self, key: Key) -> Entry {
        Entry {
            key,
            value: self.value.bytes(),
            compact: match &self.value {
                ItemValue::Bytes(compact) => Some(compact.clone()),
                ItemValue::Number(_) => None,
            },
            create_revision: self.create_revision(),
            mod_revision: self.mod_revision(),
            version: self.version(),
            lease: self.lease_id(),
        }
    }

    /// About the bytes it takes in memory, for the limit of the history.
    pub(super) fn weight(&self) -> usize {
        128 + self.value.length()
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

impl Equivalent<Arc<Item>> for KeyText {
    fn equivalent(&self, item: &Arc<Item>) -> bool {
        *self == item.key
    }
}

impl Comparable<Arc<Item>> for KeyText {
    fn compare(&self, item: &Arc<Item>) -> Ordering {
        self.cmp(&item.key)
    }
}

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
    use crate::store::embedded::key::Folders;

    #[test]
    fn values_keep_their_bytes() {
        let key = Folders::default().key("/a/b");
        for length in [0, 1, 22, 63, 64, 255, 256, 300, 4_096, 4_097, 70_000] {
            let bytes = vec![0xa5; length];
            let value = ItemValue::new(&bytes, &key);
            assert_eq!((&*value.bytes(), value.length()), (&*bytes, length));
        }
    }

    #[test]
    fn numbers_take_no_allocation() {
        let key = Folders::default().key("/a/b");
        for text in ["0", "-1", "7587861234567890123", "9223372036854775807", "-9223372036854775808"] {
            let value = ItemValue::new(text.as_bytes(), &key);
            assert_eq!((&*value.bytes(), value.length()), (text.as_bytes(), text.len()));
            assert!(matches!(value, ItemValue::Number(_)), "{text}");
        }
        for text in ["", "-", "-0", "00", "01", "+1", "1-", "9223372036854775808", "1 "] {
            let value = ItemValue::new(text.as_bytes(), &key);
            assert_eq!(value.bytes(), text.as_bytes());
            assert!(matches!(value, ItemValue::Bytes(_)), "{text}");
        }
    }

    #[test]
    fn an_item_takes_80_bytes() {
        assert_eq!(size_of::<Item>(), 64, "an Arc adds 16");
    }
}
