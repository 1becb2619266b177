//! `export` and `import`: everything the registry keeps in a store, to a file and back, into the same kind of store or the
//! other. For backups, restores and the way from the embedded store to etcd.
//!
//! The file is text, a JSON object a line: a header, an entry a line, a closing line with the number of entries, so that a
//! file that was cut is noticed. Keys that hang on a lease carry its number and TTL; an import grants new leases. Someone may
//! have changed the file, so an import checks every line ([`check`]) before it writes the first entry.

mod check;
mod line;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::StreamExt;

use self::check::{Exported, Item, OldLease, Problems, Value, is_exported};
use self::line::{FORMAT, Line};
use crate::domain::instance::InstanceRules;
use crate::domain::{Instance, json};
use crate::store::keys::{self, Subject};
use crate::store::{Compare, Entry, Key, LeaseId, Op, Store, StoreError, Txn};

/// Rights of an export: it holds all that the store holds, and is closed to other users as the store is.
const FILE_MODE: u32 = 0o600;
/// Entries written by one batch of an import.
const BATCH: usize = 100;
/// Bytes after which a batch is full.
const BATCH_BYTES: usize = 900_000;

/// Why an export or an import was not done.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The file cannot be made, read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The store does not say what it holds.
    #[error("the store cannot be listed: {0}")]
    List(StoreError),
    /// More entries than the closing line can say.
    #[error("the store holds {0} entries, an export holds 2147483647 at most")]
    TooMany(usize),
    /// What is wrong was logged, line by line.
    #[error("{}: {count} mistake(s), nothing was imported; correct or remove the lines, and correct the number in the last one", path.display())]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The store holds something.
    #[error("the store is not empty, it holds {0}; nothing was imported")]
    NotEmpty(Key),
    /// The store failed in between.
    #[error("{why}; {written} of {all} entries were written: empty the store, and import the file again")]
    Incomplete {
        /// Entries written for sure.
        written: usize,
        /// Entries of the file.
        all: usize,
        /// What happened.
        why: WriteError,
    },
}

/// Why the store did not take an entry.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It grants no lease.
    #[error("the store grants no lease: {0}")]
    Lease(StoreError),
    /// It refused, or did not answer.
    #[error("the store did not take an entry: {0}")]
    Entry(StoreError),
    /// The key is there by now.
    #[error("somebody else writes to the store")]
    Taken,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TransferError {
    move |error| TransferError::File { path: path.to_owned(), error }
}

/// Writes everything to a file, which must not exist. Returns the number of entries.
pub async fn export(store: &Arc<dyn Store>, path: &Path) -> Result<usize, TransferError> {
    // A new file: no link is followed, and nothing is overwritten.
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let mut out = BufWriter::new(file.map_err(failed(path))?);
    line::write(&mut out, &Line { format: FORMAT, ..Line::default() }).map_err(failed(path))?;
    let mut pages = store.list(&[keys::ROOT]);
    let mut entries = 0;
    let mut ttls: HashMap<i64, i64> = HashMap::new();
    let mut left_out: Option<(usize, Key)> = None;
    while let Some(page) = pages.next().await {
        for entry in page.map_err(TransferError::List)?.entries {
            match is_exported(&entry.key) {
                Exported::Yes => {
                    line::write(&mut out, &line_of(&entry, &mut ttls)).map_err(failed(path))?;
                    entries += 1;
                }
                Exported::Passing => {}
                Exported::Unknown => left_out.get_or_insert((0, entry.key)).0 += 1,
            }
        }
    }
    let count = i32::try_from(entries).map_err(|_| TransferError::TooMany(entries))?;
    line::write(&mut out, &Line { entries: Some(count), ..Line::default() }).map_err(failed(path))?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(failed(path))?;
    if let Some((count, first)) = left_out {
        log::warn!(
            "entries left out of the export, since no import takes them: {count}, the first is '{first}'"
        );
    }
    // Entries of the original server may break our rules. The operator must learn that now, not when the backup is needed.
    if let Err(problems) = read(path)? {
        report(path, &problems, |text| log::warn!("an import of this file will refuse {text}"));
    }
    Ok(entries)
}

fn line_of(entry: &Entry, ttls: &mut HashMap<i64, i64>) -> Line {
    let mut line = Line { key: entry.key.to_string(), ..Line::default() };
    match std::str::from_utf8(&entry.value) {
        Ok(text) => text.clone_into(&mut line.value),
        Err(_) => line.hex = hex::encode(&entry.value),
    }
    if let Some(lease) = entry.lease {
        // Documents come before lease keys, so the TTL is known by then. A document that cannot be read says nothing about it.
        if matches!(keys::parse(&entry.key), Subject::Instance(_))
            && let Ok(document) = json::decode::<Instance>(&entry.value)
        {
            ttls.insert(lease.0, document.ttl_seconds(&InstanceRules::default()));
        }
        let ttl = ttls.get(&lease.0).copied().unwrap_or_else(|| Instance::default().health_ttl_seconds());
        line.lease = lease.to_string();
        line.ttl = ttl.to_string();
    }
    line
}

fn read(path: &Path) -> Result<Result<Vec<Item>, Problems>, TransferError> {
    let mut file = BufReader::new(File::open(path).map_err(failed(path))?);
    check::read(&mut file).map_err(failed(path))
}

/// Says what is wrong with a file: the first mistakes, and how many more there are.
fn report(path: &Path, problems: &Problems, say: impl Fn(String)) {
    for (line, why) in &problems.named {
        match line {
            0 => say(format!("{}: {why}", path.display())),
            _ => say(format!("{}:{line}: {why}", path.display())),
        }
    }
    let more = problems.count - problems.named.len();
    if more > 0 {
        say(format!("{}: {more} more mistakes", path.display()));
    }
}

/// Reads a file into a store that holds nothing of the registry. Returns the number of entries.
pub async fn import(store: &Arc<dyn Store>, path: &Path) -> Result<usize, TransferError> {
    let items = read(path)?.map_err(|problems| {
        report(path, &problems, |text| log::error!("{text}"));
        TransferError::Mistakes { path: path.to_owned(), count: problems.count }
    })?;
    let mut pages = store.list(&[keys::ROOT]);
    while let Some(page) = pages.next().await {
        if let Some(entry) = page.map_err(TransferError::List)?.entries.into_iter().next() {
            return Err(TransferError::NotEmpty(entry.key));
        }
    }
    let all = items.len();
    let mut written = 0;
    match write(store, items, &mut written).await {
        Ok(()) => Ok(all),
        Err(why) => Err(TransferError::Incomplete { written, all, why }),
    }
}

/// Writes the entries in batches, and counts those that are surely written.
async fn write(store: &Arc<dyn Store>, items: Vec<Item>, written: &mut usize) -> Result<(), WriteError> {
    let mut leases: HashMap<i64, LeaseId> = HashMap::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for item in items {
        let (value, lease) = match item.value {
            Value::Plain(value) => (value, None),
            Value::Leased(value, old) => (value, Some(new_lease(store, &mut leases, old).await?)),
            Value::NumberOf(old) => {
                let lease = new_lease(store, &mut leases, old).await?;
                (Bytes::from(lease.to_string()), Some(lease))
            }
        };
        let size = item.key.len() + value.len();
        if batch.len() >= BATCH || bytes + size > BATCH_BYTES {
            *written += commit(store, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
        bytes += size;
        let then = vec![Op::Put { key: Key::clone(&item.key), value, lease }];
        batch.push(Txn { compares: vec![Compare::Absent(item.key)], then, otherwise: Vec::new() });
    }
    *written += commit(store, batch).await?;
    Ok(())
}

async fn new_lease(
    store: &Arc<dyn Store>,
    leases: &mut HashMap<i64, LeaseId>,
    old: OldLease,
) -> Result<LeaseId, WriteError> {
    if let Some(lease) = leases.get(&old.number) {
        return Ok(*lease);
    }
    let granted = store.grant(old.ttl_seconds).await.map_err(WriteError::Lease)?;
    leases.insert(old.number, granted.id);
    Ok(granted.id)
}

async fn commit(store: &Arc<dyn Store>, batch: Vec<Txn>) -> Result<usize, WriteError> {
    if batch.is_empty() {
        return Ok(0);
    }
    let outcomes = store.batch(batch).await;
    let written = outcomes.len();
    for outcome in outcomes {
        if !outcome.map_err(WriteError::Entry)?.succeeded {
            return Err(WriteError::Taken);
        }
    }
    Ok(written)
}
