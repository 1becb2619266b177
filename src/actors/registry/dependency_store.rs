//! Reads dependency rules from the store, and writes them under compares within the limits of the store.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::core::RegistryCore;
use crate::domain::dependency::{ALL_VERSIONS, Partners};
use crate::domain::event::{Revision, ServiceName};
use crate::domain::json;
use crate::domain::{ServiceKey, Tenant};
use crate::store::{Compare, Entry, Key, Op, StoreError, Txn, keys};

/// How many operations and how many compares one transaction has. The limit of the store is 128.
pub(super) const MAX_OPS: usize = 120;
/// How many bytes one transaction has, except a single larger rule. The limit of the store is 1.5 MiB.
pub(super) const MAX_BYTES: usize = 1_000_000;
/// How many rules are read at once. A rule may have a megabyte.
const READ_AT_ONCE: usize = 40;

/// A rule in the store.
#[derive(Clone, Debug, Default)]
pub(super) struct StoredRule {
    /// The revision of the last write. `None` if the rule does not exist.
    pub revision: Option<Revision>,
    pub partners: Vec<ServiceKey>,
    /// Its approximate size in the store.
    pub bytes: usize,
}

impl StoredRule {
    /// Compares that the rule is as it was read.
    pub fn compare(&self, key: &Key) -> Compare {
        let key = Key::clone(key);
        match self.revision {
            Some(mod_revision) => Compare::Unchanged { key, mod_revision },
            None => Compare::Absent(key),
        }
    }

    fn new(stored: Option<Entry>) -> Self {
        let Some(entry) = stored else { return Self::default() };
        // An unreadable rule has no partners, and the next write replaces it.
        let partners = json::decode::<Partners>(&entry.value).unwrap_or_default().keys;
        Self { revision: Some(entry.mod_revision), partners, bytes: entry.value.len() }
    }

    /// The write that sets these partners, with its compare. `None` if nothing changes.
    pub fn become_partners(&self, key: &Key, partners: &[ServiceKey]) -> Option<(Compare, Op)> {
        if self.partners == partners {
            return None;
        }
        let op = if partners.is_empty() {
            Op::Delete(Key::clone(key))
        } else {
            let value = Bytes::from(json::encode(&Partners { keys: partners.to_vec() }));
            Op::Put { key: Key::clone(key), value, lease: None }
        };
        Some((self.compare(key), op))
    }
}

fn name_of(key: &ServiceKey) -> ServiceName {
    ServiceName::new(Tenant::from(key.tenant.as_str()), &key.environment, &key.app_id, &key.service_name)
}

/// The key of the rule with the providers of a consumer.
pub(super) fn consumer_key(consumer: &ServiceKey) -> Key {
    keys::consumer_rule(&name_of(consumer), &consumer.version)
}

/// The key of the rule with the consumers of a provider.
pub(super) fn provider_key(provider: &ServiceKey) -> Key {
    keys::provider_rule(&name_of(provider), ALL_VERSIONS)
}

/// Reads rules. The result has the order of `rule_keys`.
pub(super) async fn read_rules(
    core: &RegistryCore,
    rule_keys: &[Key],
) -> Result<Vec<StoredRule>, StoreError> {
    let chunks = rule_keys.chunks(READ_AT_ONCE).map(|chunk| {
        let gets = chunk.iter().map(|key| Op::Get(Key::clone(key))).collect();
        core.try_read(gets)
    });
    let found = try_join_all(chunks).await?.into_iter().flatten();
    Ok(found.map(|mut entries| StoredRule::new(entries.pop())).collect())
}

/// Writes in as few transactions as the limits allow. Each one compares the fences, and the last one also does `last`. Returns
/// the revision of each write, in order. `None` if a compare failed.
pub(super) async fn write(
    core: &RegistryCore,
    writes: Vec<(Compare, Op)>,
    fences: &[Compare],
    last: &[Op],
) -> Result<Option<Vec<Revision>>, StoreError> {
    let mut revisions = Vec::with_capacity(writes.len());
    let room = MAX_OPS.saturating_sub(fences.len().max(last.len()));
    let mut writes = writes.into_iter().peekable();
    let mut is_first = true;
    while writes.peek().is_some() || (is_first && !(fences.is_empty() && last.is_empty())) {
        is_first = false;
        let mut txn = Txn { compares: fences.to_vec(), ..Txn::default() };
        let mut bytes = 0;
        while let Some((_, op)) = writes.peek() {
            let size = if let Op::Put { key, value, .. } = op { key.len() + value.len() } else { 0 };
            if !txn.then.is_empty() && (txn.then.len() >= room || bytes + size > MAX_BYTES) {
                break;
            }
            bytes += size;
            let Some((compare, op)) = writes.next() else { break };
            txn.compares.push(compare);
            txn.then.push(op);
        }
        let count = txn.then.len();
        if writes.peek().is_none() {
            txn.then.extend_from_slice(last);
        }
        let outcome = core.batcher.submit(txn).await?;
        if !outcome.succeeded {
            return Ok(None);
        }
        // One revision if only `last` was written. None if there were only compares.
        let count = count.max(usize::from(outcome.changed));
        revisions.extend(std::iter::repeat_n(outcome.revision, count));
    }
    Ok(Some(revisions))
}
