//! Dependency rules as the store holds them: read exactly, written under compares within the store's limits.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::core::RegistryCore;
use crate::domain::dependency::{ALL_VERSIONS, Partners};
use crate::domain::event::{Revision, ServiceName};
use crate::domain::json;
use crate::domain::{ServiceKey, Tenant};
use crate::store::{Compare, Entry, Key, Op, StoreError, Txn, keys};

/// Operations of one transaction, and compares, below the store's limit of 128.
pub(super) const MAX_OPS: usize = 120;
/// Bytes of one transaction, below the store's limit of 1.5 MiB; a single larger rule goes alone.
pub(super) const MAX_BYTES: usize = 1_000_000;
/// Rules read at once: each may have a megabyte.
const READ_AT_ONCE: usize = 40;

/// A rule as stored.
#[derive(Clone, Debug, Default)]
pub(super) struct StoredRule {
    /// Of the last write; `None` if there is none.
    pub revision: Option<Revision>,
    /// The partners in it.
    pub partners: Vec<ServiceKey>,
    /// About its size in the store.
    pub bytes: usize,
}

impl StoredRule {
    /// That it is as it was read.
    pub fn compare(&self, key: &Key) -> Compare {
        let key = Key::clone(key);
        match self.revision {
            Some(mod_revision) => Compare::Unchanged { key, mod_revision },
            None => Compare::Absent(key),
        }
    }

    fn new(stored: Option<Entry>) -> Self {
        let Some(entry) = stored else { return Self::default() };
        // What cannot be read holds nobody; it is written anew.
        let partners = json::decode::<Partners>(&entry.value).unwrap_or_default().keys;
        Self { revision: Some(entry.mod_revision), partners, bytes: entry.value.len() }
    }

    /// The write that leaves these partners, with its compare; `None` if they are what is there.
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

/// Where the providers of a consumer stand.
pub(super) fn consumer_key(consumer: &ServiceKey) -> Key {
    keys::consumer_rule(&name_of(consumer), &consumer.version)
}

/// Where the consumers of a provider stand.
pub(super) fn provider_key(provider: &ServiceKey) -> Key {
    keys::provider_rule(&name_of(provider), ALL_VERSIONS)
}

/// Reads rules, in the order of their keys.
pub(super) async fn read_rules(core: &RegistryCore, rule_keys: &[Key]) -> Result<Vec<StoredRule>, StoreError> {
    let chunks = rule_keys.chunks(READ_AT_ONCE).map(|chunk| {
        let gets = chunk.iter().map(|key| Op::Get(Key::clone(key))).collect();
        core.try_read(gets)
    });
    let found = try_join_all(chunks).await?.into_iter().flatten();
    Ok(found.map(|mut entries| StoredRule::new(entries.pop())).collect())
}

/// Writes in as few transactions as the limits allow, each under the fences, `last` with the last one; `None` if a compare
/// failed, else the revision of each write, in order.
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
        // One where only what goes with the last was written; none where there are only compares.
        let count = count.max(usize::from(outcome.changed));
        revisions.extend(std::iter::repeat_n(outcome.revision, count));
    }
    Ok(Some(revisions))
}
