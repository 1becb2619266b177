//! Snapshot files: the whole state as of one group, so that the log before it can go. Written beside the committer from
//! a clone of the state; whole or not there.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::super::port::{LeaseId, Revision};
use super::disk::{Disk, DiskFile};
use super::format::{
    FRAME_HEADER, Header, ItemsEncoder, Kind, Seal, StoreId, encode_end, encode_leases, header,
};
use super::keyspace::{Items, Keyspace};
use super::log::{AppendError, Log, UNFINISHED, number_in};
use super::stats::Counters;
use crate::trouble::Trouble;

/// Decides when a snapshot is made, and has it made on a thread of its own.
pub(super) struct Snapshots {
    store: StoreId,
    /// Not before the log has so many bytes.
    least_log_bytes: u64,
    /// The length of the last one: a log as long as that is worth a new one.
    length: u64,
    /// The last try failed: not before the log is this long.
    not_below: u64,
    trouble: Trouble,
    running: Option<JoinHandle<io::Result<u64>>>,
}

/// After a failed try the log grows by so much before the next.
const RETRY_AFTER: u64 = 16 << 20;

impl Snapshots {
    pub(super) fn new(store: StoreId, least_log_bytes: u64, length: u64) -> Self {
        Self { store, least_log_bytes, length, not_below: 0, trouble: Trouble::default(), running: None }
    }

    /// Called after each group. The error is fatal.
    pub(super) fn maintain(
        &mut self,
        disk: &Arc<dyn Disk>,
        log: &mut Log,
        keyspace: &mut Keyspace,
        counters: &Counters,
    ) -> Result<(), String> {
        match &self.running {
            Some(running) if running.is_finished() => self.finish(log, counters),
            Some(_) => return Ok(()),
            None => {}
        }
        let long = log.total() > self.least_log_bytes.max(self.length).max(self.not_below);
        // Without a group since the last one, a new segment would take the open one's name.
        if !long || log.is_fresh() {
            return Ok(());
        }
        match log.rotate() {
            Ok(()) => {}
            Err(AppendError::Refused(error)) => {
                self.failed(log, &error);
                return Ok(());
            }
            Err(AppendError::Fatal { doing, error }) => {
                return Err(format!("{}: could not {doing}: {error}", log.path()));
            }
        }
        keyspace.rebuild();
        let contents = Contents {
            store: self.store,
            last_group: log.last_group(),
            revision: keyspace.revision,
            items: keyspace.items.clone(),
            leases: keyspace.leases.with_keys(),
        };
        let disk = disk.clone();
        let write = move || write(&disk, &contents);
        match std::thread::Builder::new().name("store-snapshot".to_owned()).spawn(write) {
            Ok(running) => self.running = Some(running),
            Err(error) => self.failed(log, &error),
        }
        Ok(())
    }

    /// Waits for a running one.
    pub(super) fn finish(&mut self, log: &mut Log, counters: &Counters) {
        let Some(running) = self.running.take() else { return };
        match running.join() {
            Ok(Ok(length)) => {
                self.length = length;
                self.not_below = 0;
                self.trouble.is_over();
                log.shrink_to_open_segment();
                counters.note_snapshot_length(length);
                counters.note_snapshot_written();
                log::info!("{}: snapshot of {length} bytes written", log.path());
            }
            Ok(Err(error)) => self.failed(log, &error),
            Err(_) => self.failed(log, &io::Error::other("the writing thread panicked")),
        }
    }

    fn failed(&mut self, log: &Log, error: &io::Error) {
        self.not_below = log.total() + RETRY_AFTER;
        if self.trouble.fails(&error.to_string()) {
            log::warn!(
                "{}: the log goes on growing, since no snapshot could be written: {error}",
                log.path()
            );
        }
    }
}

/// The name of the snapshot that holds everything up to a group.
pub(super) fn snapshot_name(last_group: u64) -> String {
    format!("snapshot-{last_group:020}")
}

/// What a snapshot is made of.
struct Contents {
    store: StoreId,
    last_group: u64,
    revision: Revision,
    items: Items,
    leases: Vec<(LeaseId, i64)>,
}

/// Bytes of a block; also how much is written at once.
const BLOCK: usize = 256 << 10;

/// Writes a snapshot, then removes what it makes superfluous: segments of groups it holds, and older snapshots.
/// Answers its length in bytes.
fn write(disk: &Arc<dyn Disk>, contents: &Contents) -> io::Result<u64> {
    let name = snapshot_name(contents.last_group);
    let unfinished = format!("{name}{UNFINISHED}");
    let length = write_blocks(disk.create(&unfinished)?, contents).inspect_err(|_| {
        // Gives the space back. What stays is removed when the store is opened.
        let _ = disk.remove(&unfinished);
    })?;
    disk.rename(&unfinished, &name)?;
    disk.sync_folder()?;
    remove_superfluous(&**disk, contents.last_group)?;
    Ok(length)
}

fn write_blocks(mut file: Box<dyn DiskFile>, contents: &Contents) -> io::Result<u64> {
    let seal = Seal::new(Kind::Snapshot, contents.store);
    let start = header(Kind::Snapshot, Header { store: contents.store, number: contents.last_group });
    file.write_all(&start)?;
    let mut length = start.len() as u64;
    let mut number = 0;
    let mut finish = |block: &mut Vec<u8>| {
        let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, "a block over 4 GiB");
        seal.finish(block, number).ok_or_else(too_long)?;
        file.write_all(block)?;
        number += 1;
        length += block.len() as u64;
        Seal::start(block);
        Ok::<(), io::Error>(())
    };
    let mut block = Vec::with_capacity(BLOCK + (64 << 10));
    Seal::start(&mut block);
    for leases in contents.leases.chunks(BLOCK / 16) {
        encode_leases(&mut block, leases);
        finish(&mut block)?;
    }
    let mut encoder: Option<ItemsEncoder> = None;
    for item in &contents.items {
        encoder.get_or_insert_with(|| ItemsEncoder::start(&mut block)).push(&mut block, item);
        if block.len() >= BLOCK {
            finish(&mut block)?;
            encoder = None;
        }
    }
    if block.len() > FRAME_HEADER {
        finish(&mut block)?;
    }
    encode_end(&mut block, contents.revision, contents.items.len());
    finish(&mut block)?;
    file.sync()?;
    Ok(length)
}

/// Removes segments that start before a snapshot ends, and older snapshots. The segment after the snapshot was started
/// when the snapshot was begun, so the earlier ones hold nothing later.
pub(super) fn remove_superfluous(disk: &dyn Disk, last_group: u64) -> io::Result<()> {
    let superfluous = |name: &String| {
        number_in(name, "log-").is_some_and(|first| first <= last_group)
            || number_in(name, "snapshot-").is_some_and(|last| last < last_group)
    };
    let names: Vec<String> = disk.list()?.into_iter().filter(superfluous).collect();
    for name in &names {
        disk.remove(name)?;
    }
    if names.is_empty() { Ok(()) } else { disk.sync_folder() }
}
