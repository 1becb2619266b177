//! Turns etcd's key-values into the port's entries. Skips keys that are invalid UTF-8, logs each of them once, and counts them.
//! Only another program can have written them, and they must not stop the registry.

use std::collections::HashSet;

use bytes::Bytes;
use etcd_client::KeyValue;
use parking_lot::Mutex;

use crate::metrics;
use crate::store::port::{Entry, Key, LeaseId};

/// At most this many skipped keys are logged. Further keys are only counted.
const LOGGED: usize = 1_000;

/// The skipped keys that were logged.
#[derive(Debug, Default)]
pub(super) struct Skipped(Mutex<HashSet<Vec<u8>>>);

impl Skipped {
    /// The key, if it is valid UTF-8.
    pub fn key(&self, key: &[u8]) -> Option<Key> {
        if let Ok(key) = std::str::from_utf8(key) {
            return Some(Key::from(key));
        }
        metrics::FOREIGN_VALUES.add(1);
        let mut logged = self.0.lock();
        if logged.len() < LOGGED && logged.insert(key.to_vec()) {
            log::warn!("skipped etcd key \"{}\", because it is invalid UTF-8", key.escape_ascii());
        }
        None
    }
}

/// The lease of a key. etcd uses 0 for no lease.
pub(super) fn lease(id: i64) -> Option<LeaseId> {
    (id != 0).then_some(LeaseId(id))
}

/// An entry that owns its bytes; `None` if the key is invalid UTF-8.
pub(super) fn entry(pair: KeyValue, skipped: &Skipped) -> Option<Entry> {
    let (create_revision, mod_revision, version) =
        (pair.create_revision(), pair.mod_revision(), pair.version());
    let lease = lease(pair.lease());
    let (key, value) = pair.into_key_value();
    let key = skipped.key(&key)?;
    Some(Entry {
        key,
        value: Bytes::from(value),
        compact: None,
        create_revision,
        mod_revision,
        version,
        lease,
    })
}

/// The end of the range of all keys that start with a prefix.
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // In etcd this means the end of all keys.
    vec![0]
}

/// The start of the range of all keys that start with a prefix. etcd does not accept an empty key.
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
        let (skipped, before) = (Skipped::default(), metrics::FOREIGN_VALUES.value());
        assert_eq!(skipped.key("/ü".as_bytes()).as_deref(), Some("/ü"));
        assert_eq!(skipped.key(b"/\xff"), None);
        assert_eq!(skipped.key(b"/\xff"), None);
        assert_eq!(skipped.0.lock().len(), 1, "logged once");
        assert!(metrics::FOREIGN_VALUES.value() >= before + 2, "other tests may count as well");
    }
}
