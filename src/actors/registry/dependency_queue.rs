//! Applies queued dependency requests while this node holds the lock that all nodes share, Go nodes included.
//!
//! The last transaction also deletes the lock. So the last revision of the store belongs to a key that every watch of the
//! registry sees.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::core::RegistryCore;
use super::dependency_cleanup::{clean_up, leave_out_unknown};
use super::dependency_rules::{DependencyRequest, RuleWriter};
use super::failure::DependencyFailure;
use crate::clock::Monotonic;
use crate::domain::Tenant;
use crate::domain::dependency::Dependency;
use crate::domain::json;
use crate::error::{Code, Error};
use crate::store::{Compare, Entry, Key, LeaseId, Op, StoreError, Txn, keys};
use crate::trouble::Trouble;

/// The TTL of the lock in seconds. If this node dies while it holds the lock, other nodes wait this long.
const LOCK_TTL: i64 = 60;
/// How long this node holds the lock at most, so that the lock does not expire meanwhile.
const MAX_HOLD: Duration = Duration::from_secs(30);
/// The pause before the queue is tried again when another node holds the lock, or after a failure.
const RETRY: Duration = Duration::from_millis(500);
/// How long the task waits for a snapshot with requests before it checks the queue anyway.
const IDLE: Duration = Duration::from_secs(5);
/// How many requests are applied under one hold of the lock.
const MAX_ENTRIES: usize = 2_000;
/// About how many bytes of requests are applied under one hold of the lock. A request may have a megabyte.
const MAX_BYTES: usize = 32 << 20;
/// How many requests are read at once. A long queue could be too large for one answer of the store, and would then never get
/// shorter.
const READ_AT_ONCE: usize = 16;
/// How many reads are on their way at once.
const READS: usize = 4;

/// Runs as long as the actor.
pub(super) async fn work(core: Rc<RegistryCore>, owner: String) {
    let trouble = Trouble::default();
    loop {
        let (revision, waiting) = {
            let snapshot = core.reader.load();
            (
                snapshot.revision,
                snapshot.dependency_queue.iter().take(MAX_ENTRIES).cloned().collect::<Vec<_>>(),
            )
        };
        if waiting.is_empty() {
            let _ = tokio::time::timeout(IDLE, core.reader.wait_for_queue()).await;
            continue;
        }
        let drained = drain(&core, &owner, waiting).await;
        if drained.is_ok() && trouble.is_over() {
            log::info!("dependency requests are applied again");
        }
        match drained {
            Ok(Drained::All(applied)) => {
                // If nothing was applied, the snapshot is old, and the next one may show more.
                let next = applied.max(revision + 1);
                let _ = tokio::time::timeout(RETRY, core.reader.wait_for(next)).await;
            }
            Ok(Drained::HeldElsewhere) => tokio::time::sleep(RETRY).await,
            Err(error) => {
                if trouble.fails(&error.to_string()) {
                    log::warn!(
                        "queued dependency requests cannot be applied, trying again until they can: {error}"
                    );
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

enum Drained {
    /// All requests are applied, at this revision.
    All(i64),
    /// Another node holds the lock.
    HeldElsewhere,
}

async fn drain(core: &RegistryCore, owner: &str, waiting: Vec<Key>) -> Result<Drained, DependencyFailure> {
    let lock: Key = keys::DEPENDENCY_LOCK.into();
    let value = Bytes::from(format!("{owner}-{}", core.clock.unix_millis()));
    let lease = core.leases.take(LOCK_TTL).await?;
    let txn = Txn {
        compares: vec![Compare::Absent(Key::clone(&lock))],
        then: vec![Op::Put { key: Key::clone(&lock), value: value.clone(), lease: Some(lease) }],
        otherwise: Vec::new(),
    };
    let outcome = core.batcher.submit(txn).await;
    let drained = match outcome {
        Ok(outcome) if outcome.succeeded => match read(core, &waiting).await {
            Ok(entries) => {
                let fence = Compare::ValueIs { key: Key::clone(&lock), value };
                apply_all(core, &entries, &fence, &lock).await.map(Drained::All)
            }
            Err(error) => Err(error.into()),
        },
        Ok(_) => Ok(Drained::HeldElsewhere),
        Err(error) => Err(error.into()),
    };
    // Revoking the lease also removes the lock, if anything above failed.
    core.leases.discard(vec![LeaseId(lease.0)]);
    drained
}

/// Reads the requests that still wait, in the order they came, up to [`MAX_BYTES`]. Reads all requests of a consumer or none,
/// because their order matters. The next hold of the lock applies the others.
async fn read(core: &RegistryCore, waiting: &[Key]) -> Result<Vec<Entry>, StoreError> {
    let chunks = waiting.chunks(READ_AT_ONCE).map(|chunk| {
        let gets = chunk.iter().map(|key| Op::Get(Key::clone(key))).collect();
        core.try_read(gets)
    });
    let mut answers = stream::iter(chunks).buffered(READS);
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    while let Some(found) = answers.next().await {
        for entry in found?.into_iter().flatten() {
            let is_next_consumer =
                entries.last().is_some_and(|last| consumer_of(&last.key) != consumer_of(&entry.key));
            if bytes > MAX_BYTES && is_next_consumer {
                return Ok(in_order(entries));
            }
            bytes += entry.value.len();
            entries.push(entry);
        }
    }
    Ok(in_order(entries))
}

fn in_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_key(|entry| entry.mod_revision);
    entries
}

/// `/cse-sr/ms/dep-queue/<domain>/<project>/<consumer>`.
fn consumer_of(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(consumer, _)| consumer)
}

/// Applies requests in their order, many at once. The tenants of replacing requests are cleaned up once at the end, as in the
/// original server.
///
/// From the first replacing request on, the queue entries are deleted only after the clean-up. If this node dies before,
/// another node applies all these requests again, with the same result. That includes later requests that only add: they must
/// be applied after the replacing request.
async fn apply_all(
    core: &RegistryCore,
    entries: &[Entry],
    fence: &Compare,
    lock: &Key,
) -> Result<i64, DependencyFailure> {
    let until = core.clock.monotonic() + MAX_HOLD;
    let unlock = [Op::Delete(Key::clone(lock))];
    let mut decoded: Vec<Dependency> = entries.iter().map(decode).collect();
    // The snapshot must not be older than any request, because an older one may lack a provider that a request names.
    let youngest = entries.iter().map(|entry| entry.mod_revision).max();
    core.catch_up_with(youngest).await;
    let snapshot = core.reader.load_full();
    if youngest.is_some_and(|youngest| snapshot.revision < youngest) {
        let error = Error::new(Code::Unavailable, "the snapshot is older than the dependency requests");
        return Err(DependencyFailure::Later(error));
    }
    confine(core, &mut decoded, entries);
    for (request, entry) in decoded.iter_mut().zip(entries) {
        if let Some(tenant) = tenant_of(&entry.key) {
            leave_out_unknown(&snapshot, &tenant, request);
        }
    }
    drop(snapshot);
    let first_replacing = decoded.iter().position(|request| request.replace).unwrap_or(entries.len());
    let mut requests: Vec<DependencyRequest> = decoded
        .into_iter()
        .zip(entries)
        .map(|(dependency, entry)| DependencyRequest { dependency, entry: Some(entry.clone()) })
        .collect();
    let replacing = requests.split_off(first_replacing);
    let tenants: BTreeSet<Tenant> = replacing
        .iter()
        .filter(|request| request.dependency.replace)
        .filter_map(|request| tenant_of(&request.entry.as_ref()?.key))
        .collect();
    let mut rules = RuleWriter::new(core, Some(fence.clone()));
    let is_last = replacing.is_empty();
    let last = if is_last { &unlock[..] } else { &[] };
    let mut revision = apply_closing(core, &mut rules, &requests, fence, last, until).await?;
    if is_last || core.clock.monotonic() >= until {
        return Ok(revision);
    }
    let (unclosed, closing): (Vec<DependencyRequest>, Vec<DependencyRequest>) = replacing
        .into_iter()
        .map(|DependencyRequest { dependency, entry }| {
            let close = DependencyRequest { dependency: Dependency::default(), entry };
            (DependencyRequest { dependency, entry: None }, close)
        })
        .unzip();
    let applied = rules.apply(&unclosed, &[], Some(until)).await;
    let count = applied.len();
    for (outcome, close) in applied.into_iter().zip(&closing) {
        match outcome {
            Ok(applied) => revision = revision.max(applied.unwrap_or_default()),
            Err(failure) if failure.is_final() => {
                if let Some(entry) = &close.entry {
                    log::warn!("{}", dropped(&entry.key, &failure));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    for tenant in tenants {
        let fences = std::slice::from_ref(fence);
        let cleaned = clean_up(core, &tenant, fences, Some(revision).filter(|at| *at > 0)).await?;
        revision = revision.max(cleaned.unwrap_or_default());
    }
    rules.forget();
    let closing = closing.get(..count).unwrap_or_default();
    let closed = apply_closing(core, &mut rules, closing, fence, &unlock, until + MAX_HOLD / 2).await?;
    Ok(revision.max(closed))
}

/// Applies requests and deletes their queue entries. A request that would fail again, because of the store or the quota, is
/// dropped, so that nothing waits behind it forever.
async fn apply_closing(
    core: &RegistryCore,
    rules: &mut RuleWriter<'_>,
    requests: &[DependencyRequest],
    fence: &Compare,
    last: &[Op],
    until: Monotonic,
) -> Result<i64, DependencyFailure> {
    let mut revision = 0;
    let outcomes = rules.apply(requests, last, Some(until)).await;
    let count = requests.len();
    for (at, (outcome, request)) in outcomes.into_iter().zip(requests).enumerate() {
        let applied = match (outcome, &request.entry) {
            (Err(failure), Some(entry)) if failure.is_final() => {
                log::warn!("{}", dropped(&entry.key, &failure));
                let mut then = vec![Op::Delete(Key::clone(&entry.key))];
                then.extend(last.iter().filter(|_| at + 1 == count).cloned());
                let mod_revision = entry.mod_revision;
                let unreplaced = Compare::Unchanged { key: Key::clone(&entry.key), mod_revision };
                let compares = vec![fence.clone(), unreplaced];
                let outcome = core.batcher.submit(Txn { compares, then, otherwise: Vec::new() }).await?;
                outcome.succeeded.then_some(outcome.revision)
            }
            (outcome, _) => outcome?,
        };
        revision = revision.max(applied.unwrap_or_default());
    }
    Ok(revision)
}

fn dropped(key: &Key, why: &DependencyFailure) -> String {
    format!("the dependency request \"{key}\" is dropped: {why}")
}

/// Removes from requests what their tenants may not name. A node of the original server queues whatever a client sends.
fn confine(core: &RegistryCore, requests: &mut [Dependency], entries: &[Entry]) {
    let cross_domain = core.rules.cross_domain;
    let mut first = None;
    let mut count = 0;
    for (request, entry) in requests.iter_mut().zip(entries) {
        let removed = match tenant_of(&entry.key) {
            Some(tenant) => request.confine(&tenant, cross_domain),
            None => usize::from(std::mem::take(request).consumer.is_some()),
        };
        if removed > 0 {
            first = first.or(Some(&entry.key));
            count += removed;
        }
    }
    if let Some(first) = first {
        // One line for all requests.
        log::warn!(
            "{count} services in queued dependency requests are ignored, because they are in another domain or no valid keys, \
             first in \"{first}\"; set registry.dependency.crossDomain to let services depend on other domains"
        );
    }
}

fn decode(entry: &Entry) -> Dependency {
    json::decode(&entry.value).unwrap_or_else(|error| {
        log::warn!("the dependency request \"{}\" is dropped, because it cannot be read: {error}", entry.key);
        Dependency::default()
    })
}

/// `/cse-sr/ms/dep-queue/<domain>/<project>/<consumer>/<id>`.
fn tenant_of(key: &str) -> Option<Tenant> {
    let mut parts = key.strip_prefix(keys::DEPENDENCY_QUEUE)?.split('/');
    Some(Tenant::new(parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests;
