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
use crate::error::Error;
use crate::store::{Compare, Entry, Key, LeaseId, Op, Txn, keys};

/// TTL of the lock, seconds: what other nodes wait for if this one dies holding it.
const LOCK_TTL: i64 = 60;
/// How often a queue is looked at that another node works on, or that failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long nothing may happen before the queue is looked at all the same.
const IDLE: Duration = Duration::from_secs(5);

/// Runs as long as the actor.
pub(super) async fn work(core: Rc<RegistryCore>, owner: String) {
    loop {
        let (revision, waiting) = {
            let snapshot = core.reader.load();
            (snapshot.revision, snapshot.dependency_queue.len())
        };
        if waiting == 0 {
            // Each publish wakes; nothing else fills the queue.
            let _ = tokio::time::timeout(IDLE, core.reader.wait_for(revision + 1)).await;
            continue;
        }
        match drain(&core, &owner).await {
            Ok(Drained::All(applied)) => {
                let _ = tokio::time::timeout(RETRY, core.reader.wait_for(applied)).await;
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
    /// Everything that waited is applied, at this revision.
    All(i64),
    /// Another node holds the lock.
    HeldElsewhere,
}

async fn drain(core: &RegistryCore, owner: &str) -> Result<Drained, Error> {
    let lock: Key = keys::DEPENDENCY_LOCK.into();
    let value = Bytes::from(format!("{owner}-{}", core.clock.unix_millis()));
    let lease = core.leases.take(LOCK_TTL).await.map_err(|error| super::core::store_error(&error))?;
    let txn = Txn {
        compares: vec![Compare::Absent(Key::clone(&lock))],
        then: vec![
            Op::Put { key: Key::clone(&lock), value: value.clone(), lease: Some(lease) },
            Op::GetPrefix(keys::DEPENDENCY_QUEUE.into()),
        ],
        otherwise: Vec::new(),
    };
    let outcome = core.commit(txn).await;
    let drained = match outcome {
        Ok(outcome) if outcome.succeeded => {
            let mut entries: Vec<Entry> = outcome.reads.into_iter().flatten().collect();
            entries.sort_by_key(|entry| entry.mod_revision);
            apply_all(core, &entries, &Compare::ValueIs { key: Key::clone(&lock), value }, &lock)
                .await
                .map(Drained::All)
        }
        Ok(_) => Ok(Drained::HeldElsewhere),
        Err(error) => Err(error),
    };
    // Takes the lock along if anything above failed.
    core.leases.discard(vec![LeaseId(lease.0)]);
    drained
}

async fn apply_all(
    core: &RegistryCore,
    entries: &[Entry],
    fence: &Compare,
    lock: &Key,
) -> Result<i64, Error> {
    let mut revision = 0;
    let last = entries.len().saturating_sub(1);
    for (at, entry) in entries.iter().enumerate() {
        let request: Dependency = json::decode(&entry.value).unwrap_or_else(|error| {
            log::warn!("{} is dropped, it cannot be read: {error}", entry.key);
            Dependency::default()
        });
        let unreplaced = Compare::Unchanged { key: Key::clone(&entry.key), mod_revision: entry.mod_revision };
        let cleans_up = request.replace;
        if cleans_up && let Some(tenant) = tenant_of(&entry.key) {
            // The queue entry goes last: if this node dies before, another applies it again, which changes nothing.
            dependencies::apply(core, &request, std::slice::from_ref(fence), &[]).await?;
            dependencies::clean_up(core, &tenant, std::slice::from_ref(fence)).await?;
            let done = Dependency::default();
            let ops = closing_ops(entry, lock, at == last);
            revision = dependencies::apply(core, &done, &[fence.clone(), unreplaced], &ops)
                .await?
                .unwrap_or(revision);
        } else {
            let ops = closing_ops(entry, lock, at == last);
            revision = dependencies::apply(core, &request, &[fence.clone(), unreplaced], &ops)
                .await?
                .unwrap_or(revision);
        }
    }
    Ok(revision)
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
