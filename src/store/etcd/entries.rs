//! From etcd's key-values to the port's entries. Keys that are no text are left out, said once each, and counted: they
//! can only come from elsewhere and must not stop the registry.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use etcd_client::KeyValue;

use crate::metrics;
use crate::store::port::{Entry, Key, LeaseId};

/// Keys said once are remembered up to this number; beyond it they are only counted.
const REMEMBERED: usize = 1_000;

/// The keys left out so far.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    count: AtomicU64,
    said: Mutex<HashSet<Vec<u8>>>,
}

impl Skipped {
    /// How often a key was left out, over all listings, reads and watches.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The key, if it is text.
    pub fn key(&self, key: &[u8]) -> Option<Key> {
        match std::str::from_utf8(key) {
            Ok(key) => Some(Key::from(key)),
            Err(_) => {
                self.skip(key);
                None
            }
        }
    }

    fn skip(&self, key: &[u8]) {
        self.count.fetch_add(1, Ordering::Relaxed);
        metrics::FOREIGN_VALUES.add(1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < REMEMBERED && said.insert(key.to_vec()) {
            log::warn!("etcd key \"{}\" is not UTF-8: it is left out", key.escape_ascii());
        }
    }
}

/// The lease of a key; etcd says 0 for none.
pub(super) fn lease(id: i64) -> Option<LeaseId> {
    (id != 0).then_some(LeaseId(id))
}

/// An entry that owns its bytes; none if the key is not text.
pub(super) fn entry(pair: KeyValue, skipped: &Skipped) -> Option<Entry> {
    let (create_revision, mod_revision, version) =
        (pair.create_revision(), pair.mod_revision(), pair.version());
    let lease = lease(pair.lease());
    let (key, value) = pair.into_key_value();
    let key = skipped.key(&key)?;
    Some(Entry { key, value: Bytes::from(value), create_revision, mod_revision, version, lease })
}

/// The end of the range of all keys that start with a text.
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // etcd's word for "to the end of all keys".
    vec![0]
}

/// The start of that range: etcd takes no empty key.
pub(super) fn prefix_start(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_no_key_starts_with_it() {
        assert_eq!(prefix_end(b"/cse-sr/"), b"/cse-sr0");
        assert_eq!(prefix_end(b"a\xff\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
        assert_eq!(prefix_start(""), b"\0");
    }

    #[test]
    fn a_key_that_is_no_text_is_counted_each_time() {
        let skipped = Skipped::default();
        assert_eq!(skipped.key("/ü".as_bytes()).as_deref(), Some("/ü"));
        assert_eq!(skipped.key(b"/\xff"), None);
        assert_eq!(skipped.key(b"/\xff"), None);
        assert_eq!(skipped.count(), 2);
    }
}
