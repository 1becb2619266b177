//! `export` and `import`: everything the registry keeps in a store, to a file and back, into the same kind of store or the
//! other. For backups, restores and the way from the embedded store to etcd.
//!
//! The file is text, a JSON object a line: a header, an entry a line, a closing line with the number of entries, so that a
//! file that was cut is noticed. Keys that hang on a lease carry its number and TTL; an import grants new leases.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::StreamExt;

use crate::domain::instance::InstanceRules;
use crate::domain::{Instance, json};
use crate::json_object;
use crate::store::keys::{self, Subject};
use crate::store::{Compare, Entry, Key, LeaseId, Op, Store, Txn};

/// Form of the file; another one is refused.
const FORMAT: i32 = 1;
/// Entries written by one batch of an import.
const BATCH: usize = 100;
/// Bytes after which a batch is full.
const BATCH_BYTES: usize = 900_000;

json_object! {
    /// A line: the header has `format`, the closing line `entries`, all between `key`.
    pub struct Line {
        /// Form of the file.
        "format" => format: i32,
        /// Number of entries.
        "entries" => entries: Option<i32>,
        /// The key.
        "key" => key: String,
        /// The value, if it is text.
        "value" => value: String,
        /// The value in hex, if it is none.
        "hex" => hex: String,
        /// Number of the lease it hangs on, as text.
        "lease" => lease: String,
        /// TTL of that lease, seconds, as text.
        "ttl" => ttl: String,
    }
}

/// Writes everything to a file, which must not exist. Returns the number of entries.
pub async fn export(store: &Arc<dyn Store>, path: &Path) -> Result<usize, String> {
    let fail = |error: io::Error| format!("{}: {error}", path.display());
    let file = File::create_new(path).map_err(fail)?;
    let mut out = BufWriter::new(file);
    write_line(&mut out, &Line { format: FORMAT, ..Line::default() }).map_err(fail)?;
    let mut pages = store.list(&[keys::ROOT]);
    let mut entries = 0;
    let mut ttls: HashMap<i64, i64> = HashMap::new();
    while let Some(page) = pages.next().await {
        for entry in page.map_err(|error| format!("the store cannot be listed: {error}"))?.entries {
            write_line(&mut out, &line_of(&entry, &mut ttls)).map_err(fail)?;
            entries += 1;
        }
    }
    let count = i32::try_from(entries).map_err(|_| "too many entries".to_owned())?;
    write_line(&mut out, &Line { entries: Some(count), ..Line::default() }).map_err(fail)?;
    out.flush().and_then(|()| out.get_ref().sync_all()).map_err(fail)?;
    Ok(entries)
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    out.write_all(&json::encode(line))?;
    out.write_all(b"\n")
}

fn line_of(entry: &Entry, ttls: &mut HashMap<i64, i64>) -> Line {
    let mut line = Line { key: entry.key.to_string(), ..Line::default() };
    match std::str::from_utf8(&entry.value) {
        Ok(text) => text.clone_into(&mut line.value),
        Err(_) => line.hex = crate::domain::service::hex(&entry.value),
    }
    if let Some(lease) = entry.lease {
        // Documents come before lease keys, so the TTL is known by then.
        if matches!(keys::parse(&entry.key), Subject::Instance(_)) {
            let document: Instance = json::decode(&entry.value).unwrap_or_default();
            ttls.insert(lease.0, document.ttl_seconds(&InstanceRules::default()));
        }
        let ttl = ttls.get(&lease.0).copied().unwrap_or_else(|| Instance::default().health_ttl_seconds());
        line.lease = lease.to_string();
        line.ttl = ttl.to_string();
    }
    line
}

/// Reads a file into a store that holds nothing of the registry. Returns the number of entries.
pub async fn import(store: &Arc<dyn Store>, path: &Path) -> Result<usize, String> {
    let lines = read(path)?;
    let mut pages = store.list(&[keys::ROOT]);
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| format!("the store cannot be listed: {error}"))?;
        if let Some(entry) = page.entries.first() {
            return Err(format!("the store is not empty, it holds {}; nothing was imported", entry.key));
        }
    }
    let mut leases: HashMap<String, LeaseId> = HashMap::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (number, line) in &lines {
        let lease =
            if line.lease.is_empty() { None } else { Some(new_lease(store, &mut leases, line).await?) };
        let value =
            value_of(line, lease).ok_or_else(|| format!("{}:{number}: 'hex' is no hex", path.display()))?;
        bytes += line.key.len() + value.len();
        let key = Key::from(line.key.as_str());
        let then = vec![Op::Put { key: Key::clone(&key), value, lease }];
        batch.push(Txn { compares: vec![Compare::Absent(key)], then, otherwise: Vec::new() });
        if batch.len() >= BATCH || bytes >= BATCH_BYTES {
            commit(store, std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
    }
    commit(store, batch).await?;
    Ok(lines.len())
}

async fn new_lease(
    store: &Arc<dyn Store>,
    leases: &mut HashMap<String, LeaseId>,
    line: &Line,
) -> Result<LeaseId, String> {
    if let Some(lease) = leases.get(&line.lease) {
        return Ok(*lease);
    }
    let ttl = line.ttl.parse().map_err(|error| format!("{}: 'ttl' is '{}': {error}", line.key, line.ttl))?;
    let granted = store.grant(ttl).await.map_err(|error| format!("{}: no lease: {error}", line.key))?;
    leases.insert(line.lease.clone(), granted.id);
    Ok(granted.id)
}

fn value_of(line: &Line, lease: Option<LeaseId>) -> Option<Bytes> {
    if let (Subject::Lease(_), Some(lease)) = (keys::parse(&line.key), lease) {
        return Some(Bytes::from(lease.to_string()));
    }
    if line.hex.is_empty() {
        return Some(Bytes::from(line.value.clone()));
    }
    let digits = line.hex.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    digits.collect::<Option<Vec<u8>>>().map(Bytes::from)
}

async fn commit(store: &Arc<dyn Store>, batch: Vec<Txn>) -> Result<(), String> {
    if batch.is_empty() {
        return Ok(());
    }
    for outcome in store.batch(batch).await {
        let outcome =
            outcome.map_err(|error| format!("the store refused, the import is not complete: {error}"))?;
        if !outcome.succeeded {
            return Err("somebody else writes to the store, the import is not complete".to_owned());
        }
    }
    Ok(())
}

/// Reads and checks the whole file before anything is written.
fn read(path: &Path) -> Result<Vec<(usize, Line)>, String> {
    let fail = |error: io::Error| format!("{}: {error}", path.display());
    let file = BufReader::new(File::open(path).map_err(fail)?);
    let mut lines = Vec::new();
    let mut closing = None;
    for (at, text) in file.lines().enumerate() {
        let number = at + 1;
        let place = || format!("{}:{number}", path.display());
        let line: Line =
            json::decode(text.map_err(fail)?.as_bytes()).map_err(|error| format!("{}: {error}", place()))?;
        if closing.is_some() {
            return Err(format!("{}: something follows the closing line", place()));
        }
        match (number, line.entries) {
            (1, _) if line.format != FORMAT => {
                let found = line.format;
                return Err(format!("{}: 'format' is {found}, this version reads {FORMAT}", place()));
            }
            (1, _) => {}
            (_, Some(entries)) => closing = usize::try_from(entries).ok(),
            _ if !line.key.starts_with(keys::ROOT) => {
                return Err(format!("{}: 'key' is '{}', which is none of the registry's", place(), line.key));
            }
            _ => lines.push((number, line)),
        }
    }
    match closing {
        Some(entries) if entries == lines.len() => Ok(lines),
        Some(entries) => {
            Err(format!("{}: {entries} entries are announced, {} are there", path.display(), lines.len()))
        }
        None => Err(format!("{}: the closing line is missing, the file was cut", path.display())),
    }
}
