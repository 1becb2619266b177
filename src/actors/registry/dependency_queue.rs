//! Applies queued dependency requests while this node holds the lock that all nodes share, Go nodes included.
//!
//! The last transaction also deletes the lock: so the store's last revision is one that every watch of the registry's
//! keys sees.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::core::RegistryCore;
use super::dependencies;
use crate::domain::Tenant;
use crate::domain::dependency::Dependency;
use crate::domain::json;
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, LeaseId, Op, Txn, keys};

/// TTL of the lock, seconds: what other nodes wait for if this one dies holding it.
const LOCK_TTL: i64 = 60;
/// How long it is held, so that it does not end under this node's hands.
const MAX_HOLD: Duration = Duration::from_secs(30);
/// How often a queue is looked at that another node works on, or that failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long nothing may happen before the queue is looked at all the same.
const IDLE: Duration = Duration::from_secs(5);
/// Requests applied under one hold of the lock.
const MAX_ENTRIES: usize = 2_000;
/// Requests read at once.
const READ_AT_ONCE: usize = 64;

/// Runs as long as the actor.
pub(super) async fn work(core: Rc<RegistryCore>, owner: String) {
    loop {
        let (revision, waiting) = {
            let snapshot = core.reader.load();
            (
                snapshot.revision,
                snapshot.dependency_queue.iter().take(MAX_ENTRIES).cloned().collect::<Vec<_>>(),
            )
        };
        if waiting.is_empty() {
            // Each publish wakes; nothing else fills the queue.
            let _ = tokio::time::timeout(IDLE, core.reader.wait_for(revision + 1)).await;
            continue;
        }
        match drain(&core, &owner, waiting).await {
            Ok(Drained::All(applied)) => {
                // Nothing was applied if the snapshot is behind: then the next one may know more.
                let next = applied.max(revision + 1);
                let _ = tokio::time::timeout(RETRY, core.reader.wait_for(next)).await;
            }
            Ok(Drained::HeldElsewhere) => tokio::time::sleep(RETRY).await,
            Err(error) => {
                log::warn!("dependency requests wait: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

enum Drained {
    /// What waited is applied, at this revision.
    All(i64),
    /// Another node holds the lock.
    HeldElsewhere,
}

async fn drain(core: &RegistryCore, owner: &str, waiting: Vec<Key>) -> Result<Drained, Error> {
    let lock: Key = keys::DEPENDENCY_LOCK.into();
    let value = Bytes::from(format!("{owner}-{}", core.clock.unix_millis()));
    let lease = core.leases.take(LOCK_TTL).await.map_err(|error| super::core::store_error(&error))?;
    let txn = Txn {
        compares: vec![Compare::Absent(Key::clone(&lock))],
        then: vec![Op::Put { key: Key::clone(&lock), value: value.clone(), lease: Some(lease) }],
        otherwise: Vec::new(),
    };
    let outcome = core.commit(txn).await;
    let drained = match outcome {
        Ok(outcome) if outcome.succeeded => match read(core, &waiting).await {
            Ok(entries) => {
                let fence = Compare::ValueIs { key: Key::clone(&lock), value };
                apply_all(core, &entries, &fence, &lock).await.map(Drained::All)
            }
            Err(error) => Err(error),
        },
        Ok(_) => Ok(Drained::HeldElsewhere),
        Err(error) => Err(error),
    };
    // Takes the lock along if anything above failed.
    core.leases.discard(vec![LeaseId(lease.0)]);
    drained
}

/// The requests that still wait, in the order they came. A few at a time: a long queue as one answer might be too large,
/// and then it would never get shorter.
async fn read(core: &RegistryCore, waiting: &[Key]) -> Result<Vec<Entry>, Error> {
    let mut entries: Vec<Entry> = Vec::with_capacity(waiting.len());
    for chunk in waiting.chunks(READ_AT_ONCE) {
        let ops = chunk.iter().map(|key| Op::Get(Key::clone(key))).collect();
        entries.extend(core.read(ops).await?.into_iter().flatten());
    }
    entries.sort_by_key(|entry| entry.mod_revision);
    Ok(entries)
}

async fn apply_all(
    core: &RegistryCore,
    entries: &[Entry],
    fence: &Compare,
    lock: &Key,
) -> Result<i64, Error> {
    let until = core.clock.monotonic() + MAX_HOLD;
    let mut revision = 0;
    let last = entries.len().saturating_sub(1);
    for (at, entry) in entries.iter().enumerate() {
        let unlocks = at == last || core.clock.monotonic() >= until;
        let request: Dependency = json::decode(&entry.value).unwrap_or_else(|error| {
            log::warn!("{} is dropped, it cannot be read: {error}", entry.key);
            Dependency::default()
        });
        let ops = closing_ops(entry, lock, unlocks);
        let applied = match apply_one(core, entry, &request, fence, &ops).await {
            // Refused as it is, and it would be again: nothing may wait behind it for ever.
            Err(error) if error.code == Code::Internal => {
                log::warn!("{} is dropped, the store does not take its rules: {error}", entry.key);
                close(core, entry, fence, &ops).await
            }
            applied => applied,
        };
        revision = applied?.unwrap_or(revision);
        if unlocks {
            break;
        }
    }
    Ok(revision)
}

/// Applies a request and closes it. With a clean-up the queue entry goes last: if this node dies before, another applies
/// it again, which changes nothing.
async fn apply_one(
    core: &RegistryCore,
    entry: &Entry,
    request: &Dependency,
    fence: &Compare,
    closing: &[Op],
) -> Result<Option<i64>, Error> {
    match tenant_of(&entry.key).filter(|_| request.replace) {
        Some(tenant) => {
            dependencies::apply(core, request, std::slice::from_ref(fence), &[]).await?;
            dependencies::clean_up(core, &tenant, std::slice::from_ref(fence)).await?;
            close(core, entry, fence, closing).await
        }
        None => dependencies::apply(core, request, &fences(entry, fence), closing).await,
    }
}

async fn close(
    core: &RegistryCore,
    entry: &Entry,
    fence: &Compare,
    closing: &[Op],
) -> Result<Option<i64>, Error> {
    dependencies::apply(core, &Dependency::default(), &fences(entry, fence), closing).await
}

/// The lock is ours, and the entry is the one that was read.
fn fences(entry: &Entry, fence: &Compare) -> [Compare; 2] {
    let unreplaced = Compare::Unchanged { key: Key::clone(&entry.key), mod_revision: entry.mod_revision };
    [fence.clone(), unreplaced]
}

fn closing_ops(entry: &Entry, lock: &Key, unlocks: bool) -> Vec<Op> {
    let mut ops = vec![Op::Delete(Key::clone(&entry.key))];
    if unlocks {
        ops.push(Op::Delete(Key::clone(lock)));
    }
    ops
}

/// `/cse-sr/ms/dep-queue/<domain>/<project>/<consumer>/<id>`.
fn tenant_of(key: &str) -> Option<Tenant> {
    let mut parts = key.strip_prefix(keys::DEPENDENCY_QUEUE)?.split('/');
    Some(Tenant::new(parts.next()?, parts.next()?))
}
