//! The commands `export` and `import`: all entries of the registry from a store to a file, and back into a store of either kind. For
//! backups, and to move from the embedded store to etcd.
//!
//! The file is text with one JSON object on each line: a header, the entries, and a closing line with the number of entries, which
//! shows whether the file is complete. An entry that is attached to a lease has the number and the TTL of the lease; an import
//! grants new leases. Somebody may have changed the file, so an import checks every line ([`check`]) before it writes the first
//! entry.

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

use self::check::{Exported, ImportItem, ImportValue, OldLease, Problems, is_exported};
use self::line::{ExportLine, FORMAT};
use crate::domain::instance::InstanceRules;
use crate::domain::{Instance, json};
use crate::store::keys::{self, Subject};
use crate::store::{Compare, Entry, Key, LeaseId, Op, Store, StoreError, Txn};

/// Rights of an export: like the store, no other user may read it.
const FILE_MODE: u32 = 0o600;
/// Most entries in one batch of an import.
const BATCH: usize = 100;
/// Most bytes of keys and values in one batch.
const BATCH_BYTES: usize = 900_000;

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("the store cannot be listed: {0}")]
    List(StoreError),
    #[error("the store holds {0} entries; an export can hold 2147483647 at most")]
    TooMany(usize),
    /// Each mistake was logged with its line.
    #[error("{}: {count} mistake(s), nothing was imported; correct or remove these lines, and correct the number of entries in the last line", path.display())]
    Mistakes { path: PathBuf, count: usize },
    #[error("the store is not empty: it holds '{0}'; nothing was imported; import into an empty store")]
    NotEmpty(Key),
    #[error("{why}; {written} of {all} entries were written; empty the store and import the file again")]
    Incomplete {
        /// Entries that were certainly written.
        written: usize,
        /// Entries in the file.
        all: usize,
        why: WriteError,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the store granted no lease: {0}")]
    Lease(StoreError),
    #[error("the store did not take an entry: {0}")]
    Entry(StoreError),
    /// A key exists that did not exist before the import.
    #[error("another process writes to the store")]
    Taken,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TransferError {
    move |error| TransferError::File { path: path.to_owned(), error }
}

/// Writes all entries to a new file. Returns the number of entries.
pub async fn export(
    store: &Arc<dyn Store>,
    path: &Path,
    report: &mut dyn FnMut(usize, Option<usize>),
) -> Result<usize, TransferError> {
    // `create_new` follows no link and overwrites nothing.
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let mut out = BufWriter::new(file.map_err(failed(path))?);
    line::write(&mut out, &ExportLine { format: FORMAT, ..ExportLine::default() }).map_err(failed(path))?;
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
        report(entries, None);
    }
    let count = i32::try_from(entries).map_err(|_| TransferError::TooMany(entries))?;
    line::write(&mut out, &ExportLine { entries: Some(count), ..ExportLine::default() })
        .map_err(failed(path))?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(failed(path))?;
    if let Some((count, first)) = left_out {
        log::warn!(
            "entries left out of the export, because no import takes them: {count}; the first is '{first}'"
        );
    }
    // Entries that the original server wrote may break our rules. Report that now, and not when the backup is needed.
    if let Err(problems) = read(path)? {
        report_mistakes(path, &problems, |text| log::warn!("an import of this file will fail: {text}"));
    }
    Ok(entries)
}

fn line_of(entry: &Entry, ttls: &mut HashMap<i64, i64>) -> ExportLine {
    let mut line = ExportLine { key: entry.key.to_string(), ..ExportLine::default() };
    match std::str::from_utf8(&entry.value) {
        Ok(text) => text.clone_into(&mut line.value),
        Err(_) => line.hex = hex::encode(&entry.value),
    }
    if let Some(lease) = entry.lease {
        // The list has documents before lease keys, so the TTL is known when a lease key comes. If a document cannot be read, its lease
        // gets the default TTL.
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

fn read(path: &Path) -> Result<Result<Vec<ImportItem>, Problems>, TransferError> {
    let mut file = BufReader::new(File::open(path).map_err(failed(path))?);
    check::read(&mut file).map_err(failed(path))
}

/// Reports the first mistakes in a file, and how many more there are.
fn report_mistakes(path: &Path, problems: &Problems, say: impl Fn(String)) {
    for (line, why) in &problems.named {
        match line {
            0 => say(format!("{}: {why}", path.display())),
            _ => say(format!("{}:{line}: {why}", path.display())),
        }
    }
    let more = problems.count - problems.named.len();
    if more > 0 {
        say(format!("{}: {more} more mistake(s)", path.display()));
    }
}

/// Reads a file into a store without entries of the registry. Returns the number of entries.
pub async fn import(
    store: &Arc<dyn Store>,
    path: &Path,
    report: &mut dyn FnMut(usize, Option<usize>),
) -> Result<usize, TransferError> {
    let items = read(path)?.map_err(|problems| {
        report_mistakes(path, &problems, |text| log::error!("{text}"));
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
    match write(store, items, &mut written, &mut |written| report(written, Some(all))).await {
        Ok(()) => Ok(all),
        Err(why) => Err(TransferError::Incomplete { written, all, why }),
    }
}

/// Writes the entries in batches. Counts the entries that are certainly written.
async fn write(
    store: &Arc<dyn Store>,
    items: Vec<ImportItem>,
    written: &mut usize,
    report: &mut dyn FnMut(usize),
) -> Result<(), WriteError> {
    let mut leases: HashMap<i64, LeaseId> = HashMap::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for item in items {
        let (value, lease) = match item.value {
            ImportValue::Plain(value) => (value, None),
            ImportValue::Leased(value, old) => (value, Some(new_lease(store, &mut leases, old).await?)),
            ImportValue::NumberOf(old) => {
                let lease = new_lease(store, &mut leases, old).await?;
                (Bytes::from(lease.to_string()), Some(lease))
            }
        };
        let size = item.key.len() + value.len();
        if batch.len() >= BATCH || bytes + size > BATCH_BYTES {
            *written += commit(store, std::mem::take(&mut batch)).await?;
            report(*written);
            bytes = 0;
        }
        bytes += size;
        let then = vec![Op::Put { key: Key::clone(&item.key), value, lease }];
        batch.push(Txn { compares: vec![Compare::Absent(item.key)], then, otherwise: Vec::new() });
    }
    *written += commit(store, batch).await?;
    report(*written);
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
