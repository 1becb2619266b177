//! The marks of empty services in the store.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::stream::StreamExt;

use super::empty::{EmptyMark, EmptyMarks, EmptyService, LookRecord, StoredMark};
use super::{RetireCore, unavailable};
use crate::actors::single::commit_alone;
use crate::domain::{ServiceId, Tenant, json};
use crate::error::Error;
use crate::store::{Compare, Entry, Key, Op, Revision, Txn, keys};

/// How many marks one batch writes or removes.
const BATCH: usize = 100;

/// Reads all marks. If no node has looked until shortly before `now`, the time of all begins now, whether that is noted or not.
pub(super) async fn read(core: &RetireCore, now: i64) -> Result<EmptyMarks, Error> {
    let mut marks = HashMap::new();
    let mut pages = core.store.list(&[keys::EMPTY_SERVICES]);
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| unavailable(&error))?;
        // A mark that cannot be read counts as absent. Then the next run of the job writes it again.
        marks.extend(page.entries.iter().filter_map(|entry| {
            let at = keys::parse_empty_service(&entry.key)?;
            let mark = json::decode::<EmptyMark>(&entry.value).ok()?;
            Some((at, StoredMark { mark, put_at: entry.mod_revision }))
        }));
    }
    let looked_since = read_look(core).await?.1.looked(now).since;
    Ok(EmptyMarks { marks, looked_since })
}

async fn read_look(core: &RetireCore) -> Result<(Option<Entry>, LookRecord), Error> {
    let then = vec![Op::Get(keys::EMPTY_SERVICES_WATCHED.into())];
    let outcome = commit_alone(&core.store, Txn { then, ..Txn::default() }).await;
    let outcome = outcome.map_err(|error| unavailable(&error))?;
    let entry = outcome.reads.into_iter().flatten().next();
    let record = entry.as_ref().and_then(|entry| json::decode::<LookRecord>(&entry.value).ok());
    Ok((entry, record.unwrap_or_default()))
}

/// Notes that a node looks whether marked services are used.
pub(super) async fn note_look(core: &RetireCore, now: i64) -> Result<(), Error> {
    let (entry, record) = read_look(core).await?;
    let looked = record.clone().looked(now);
    if looked == record {
        return Ok(());
    }
    let key = Key::from(keys::EMPTY_SERVICES_WATCHED);
    let compare = match entry {
        Some(entry) => Compare::Unchanged { key: Key::clone(&key), mod_revision: entry.mod_revision },
        None => Compare::Absent(Key::clone(&key)),
    };
    let put = Op::Put { key, value: Bytes::from(json::encode(&looked)), lease: None };
    let txn = Txn { compares: vec![compare], then: vec![put], otherwise: Vec::new() };
    // If the compare fails, another node has just noted it.
    commit_alone(&core.store, txn).await.map(drop).map_err(|error| unavailable(&error))
}

/// Marks the services that have no mark that holds.
pub(super) async fn mark(core: &RetireCore, empty: &[EmptyService]) -> Result<(), Error> {
    let new: Vec<&EmptyService> = empty.iter().filter(|empty| empty.marked.is_none()).collect();
    let txn = |empty: &&EmptyService| {
        let value = EmptyMark { since: empty.since, revision: empty.seen_at };
        let key = keys::empty_service(&empty.tenant, empty.service.id.as_str());
        let put = Op::Put { key, value: Bytes::from(json::encode(&value)), lease: None };
        // A mark of a service that is deleted meanwhile would only be removed again.
        let service = keys::service(&empty.tenant, empty.service.id.as_str());
        Txn { compares: vec![Compare::Present(service)], then: vec![put], otherwise: Vec::new() }
    };
    for chunk in new.chunks(BATCH) {
        submit(core, chunk.iter().map(txn).collect()).await?;
    }
    Ok(())
}

/// Removes marks, unless they have changed since they were read.
pub(super) async fn remove(
    core: &RetireCore,
    ended: Vec<((Tenant, ServiceId), Revision)>,
) -> Result<(), Error> {
    let txn = |((tenant, service), put_at): &((Tenant, ServiceId), Revision)| {
        let key = keys::empty_service(tenant, service.as_str());
        let compare = Compare::Unchanged { key: Key::clone(&key), mod_revision: *put_at };
        Txn { compares: vec![compare], then: vec![Op::Delete(key)], otherwise: Vec::new() }
    };
    for chunk in ended.chunks(BATCH) {
        submit(core, chunk.iter().map(txn).collect()).await?;
    }
    Ok(())
}

async fn submit(core: &RetireCore, txns: Vec<Txn>) -> Result<(), Error> {
    let outcomes = core.store.batch(txns).await;
    let failed = outcomes.into_iter().find_map(Result::err);
    failed.map_or(Ok(()), |error| Err(unavailable(&error)))
}
