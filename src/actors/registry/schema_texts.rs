//! The texts of schemas as a resource: a service holds a limited number of bytes, and a text is deleted with its last
//! reference.
//!
//! Services share a text by its hash. A writer that adds a reference to an existing text does not write the text (Go nodes on
//! the same etcd don't either). So no compare on the text notices the new reference. The transaction that deletes a text
//! therefore compares all references of the tenant. If the reference comes first, the deletion is refused. If the deletion
//! comes first, the compare of the writer finds the text missing, and the writer writes it again.
//!
//! A write that takes references away is followed by the deletion of their texts, before it is answered. These are separate
//! transactions, because etcd evaluates all compares of a transaction before its writes, when the old reference is still there.
//! If the store does not answer, or the outcome of the write is unknown, the actor keeps the hash and tries again each second.
//! The RetireActor's job deletes what a crash leaves.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::core::{RegistryCore, store_error};
use crate::actors::single::commit_alone;
use crate::domain::event::Revision;
use crate::domain::{Tenant, quota};
use crate::error::Error;
use crate::store::{Compare, Entry, Key, Op, Txn, TxnOutcome, keys};

/// No text is longer: the store takes no larger transaction.
const MAX_TEXT: usize = 1_572_864;

/// The hashes in the references that a transaction has read.
pub(super) fn hashes(outcome: &TxnOutcome) -> BTreeSet<Arc<str>> {
    let hash = |entry: &Entry| std::str::from_utf8(&entry.value).ok().map(Arc::from);
    outcome.reads.iter().flatten().filter_map(hash).collect()
}

/// Deletes texts that a write has taken a reference from, except those that a schema refers to.
pub(super) async fn let_go(
    core: &RegistryCore,
    tenant: &Tenant,
    hashes: BTreeSet<Arc<str>>,
    written: Revision,
) {
    if hashes.is_empty() {
        return;
    }
    core.catch_up(written).await;
    let deadline = core.deadline();
    let mut hashes = hashes.into_iter();
    while let Some(hash) = hashes.next() {
        // A late request leaves the rest to [`sweep`], if there is room.
        let is_late = deadline.is_over() && core.texts.check_room().is_ok();
        if is_late || delete_unreferenced(core, tenant, &hash).await.is_err() {
            core.texts.leave(tenant, std::iter::once(hash).chain(hashes));
            return;
        }
    }
}

/// Tries again to delete the texts that were left.
pub(super) fn sweep(core: &Rc<RegistryCore>) {
    if core.texts.left.borrow().is_empty() || core.texts.sweeping.replace(true) {
        return;
    }
    let core = Rc::clone(core);
    actix::spawn(async move {
        loop {
            let first = core.texts.left.borrow_mut().pop_first();
            let Some((tenant, hash)) = first else { break };
            if let Err(error) = delete_unreferenced(&core, &tenant, &hash).await {
                log::debug!("the schema text {hash} of {tenant} is not deleted yet, trying again: {error}");
                core.texts.leave(&tenant, [hash]);
                break;
            }
        }
        core.texts.sweeping.set(false);
    });
}

/// Deletes a text, unless a schema of the tenant refers to it. Answers the revision if the text was there and is gone.
pub(super) async fn delete_unreferenced(
    core: &RegistryCore,
    tenant: &Tenant,
    hash: &Arc<str>,
) -> Result<Option<Revision>, Error> {
    let references = keys::schema_refs_of(tenant);
    // etcd looks through all references of the tenant, 1 ms for each 1,000: one deletion at a time.
    let _turn = core.turn(&references).await?;
    let mut deadline = core.deadline();
    loop {
        deadline.check()?;
        // The snapshot only says which of the two compares can hold. If the snapshot is old, neither does.
        let some = has_references(core, tenant);
        let prefix = Key::clone(&references);
        let unreferenced = if some {
            Compare::NoneBelowIs { prefix, value: Bytes::copy_from_slice(hash.as_bytes()) }
        } else {
            Compare::NoneBelow(prefix)
        };
        let then = vec![Op::Delete(keys::schema_content(tenant, hash))];
        let txn = Txn { compares: vec![unreferenced], then, otherwise: Vec::new() };
        // Not part of a batch of writes: the store may evaluate all compares of a batch before its writes, and would then miss
        // a reference that the same batch writes.
        let outcome = commit_alone(&core.store, txn).await.map_err(|error| store_error(&error))?;
        if outcome.succeeded {
            return Ok(outcome.changed.then_some(outcome.revision));
        }
        core.be_current().await?;
        if has_references(core, tenant) == some {
            return Ok(None);
        }
    }
}

fn has_references(core: &RegistryCore, tenant: &Tenant) -> bool {
    let snapshot = core.reader.load();
    let view = snapshot.tenant(tenant);
    view.is_some_and(|view| view.nodes().any(|(_, node)| !node.schema_refs.is_empty()))
}

/// 400100 if the texts that a service keeps and the new ones have too many bytes together. A service with too many bytes may
/// still replace a text by a text that is not longer. An old snapshot is no reason to refuse.
///
/// `replaces` tells for a schema id whether its text is replaced. The store is read only if the texts may be too many.
pub(super) async fn check_bytes(
    core: &RegistryCore,
    tenant: &Tenant,
    service: &str,
    new: usize,
    replaces: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let limit = core.rules.quotas.schema_bytes;
    let references = || references(core, tenant, service);
    let kept = references().iter().filter(|(schema, _)| !replaces(schema)).count();
    if kept.saturating_mul(MAX_TEXT).saturating_add(new) <= limit {
        return Ok(());
    }
    let mut is_current = false;
    loop {
        let (replaced, kept): (Vec<_>, Vec<_>) =
            references().into_iter().partition(|(schema, _)| replaces(schema));
        let kept = length(core, tenant, &kept).await?;
        if kept + new <= limit || new <= length(core, tenant, &replaced).await? {
            return Ok(());
        }
        if is_current {
            return Err(quota::too_many_bytes("SCHEMA", limit, kept, new));
        }
        core.be_current().await?;
        is_current = true;
    }
}

/// Schemas of a service and the hashes of their texts.
fn references(core: &RegistryCore, tenant: &Tenant, service: &str) -> Vec<(Arc<str>, Arc<str>)> {
    let snapshot = core.reader.load();
    let node = snapshot.tenant(tenant).and_then(|view| view.node(service));
    let owned = |(schema, hash): (&Arc<str>, &Arc<str>)| (Arc::clone(schema), Arc::clone(hash));
    node.map(|node| node.schema_refs.iter().map(owned).collect()).unwrap_or_default()
}

/// Bytes of texts together.
async fn length(
    core: &RegistryCore,
    tenant: &Tenant,
    references: &[(Arc<str>, Arc<str>)],
) -> Result<usize, Error> {
    let mut sum = 0;
    let mut unknown = Vec::new();
    for (_, hash) in references {
        let key = keys::schema_content(tenant, hash);
        match core.texts.lengths.borrow().get(&key) {
            Some(length) => sum += length,
            None => unknown.push(key),
        }
    }
    for chunk in unknown.chunks(TEXTS_AT_ONCE) {
        let ops = chunk.iter().map(|key| Op::Get(Key::clone(key))).collect();
        for (key, entries) in chunk.iter().zip(core.read_texts(ops).await?) {
            // A missing text counts as empty, and is read again the next time.
            if let Some(entry) = entries.first() {
                core.texts.note_length(Key::clone(key), entry.value.len());
                sum += entry.value.len();
            }
        }
    }
    Ok(sum)
}

/// How many texts are read at once. A text may have more than a megabyte, and the size of an answer of the store is limited.
pub(super) const TEXTS_AT_ONCE: usize = 4;

#[cfg(test)]
mod tests;
