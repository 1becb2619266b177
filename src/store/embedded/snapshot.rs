//! Snapshot files: the whole state after one group, so that the log up to that group can be removed. A thread of its own writes
//! a clone of the state. A snapshot gets its name when it is whole.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::super::port::{LeaseId, Revision};
use super::disk::{Disk, DiskFile};
use super::format::{
    FRAME_HEADER, FileHeader, FileKind, ItemsEncoder, Seal, StoreId, encode_end, encode_leases, header,
};
use super::keyspace::{Items, Keyspace};
use super::log::{AppendError, Log, UNFINISHED, number_in};
use super::stats::SharedStats;
use crate::trouble::Trouble;

/// Decides when to make a snapshot, and starts the thread that writes it. A snapshot starts when the log is longer than each
/// of the three lengths, bytes.
pub(super) struct Snapshots {
    store: StoreId,
    least_log_bytes: u64,
    /// The length of the last snapshot.
    length: u64,
    /// Set after a failed try.
    not_below: u64,
    trouble: Trouble,
    running: Option<JoinHandle<io::Result<u64>>>,
}

/// After a failed try the log grows by this much before the next try, bytes.
const RETRY_AFTER: u64 = 16 << 20;

impl Snapshots {
    pub(super) fn new(store: StoreId, least_log_bytes: u64, length: u64) -> Self {
        Self { store, least_log_bytes, length, not_below: 0, trouble: Trouble::default(), running: None }
    }

    /// The committer calls this after each group. An error is fatal.
    pub(super) fn maintain(
        &mut self,
        disk: &Arc<dyn Disk>,
        log: &mut Log,
        keyspace: &mut Keyspace,
        stats: &SharedStats,
    ) -> Result<(), String> {
        match &self.running {
            Some(running) if running.is_finished() => self.finish(log, stats),
            Some(_) => return Ok(()),
            None => {}
        }
        let long = log.total() > self.least_log_bytes.max(self.length).max(self.not_below);
        // If the open segment has no group, a new segment would have the same name.
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
        let contents = SnapshotContents {
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

    /// Waits for a running snapshot.
    pub(super) fn finish(&mut self, log: &mut Log, stats: &SharedStats) {
        let Some(running) = self.running.take() else { return };
        match running.join() {
            Ok(Ok(length)) => {
                self.length = length;
                self.not_below = 0;
                self.trouble.is_over();
                log.shrink_to_open_segment();
                let mut stats = stats.lock();
                stats.snapshot_bytes = length;
                stats.snapshots += 1;
                log::info!("{}: wrote a snapshot of {length} bytes", log.path());
            }
            Ok(Err(error)) => self.failed(log, &error),
            Err(_) => self.failed(log, &io::Error::other("the writing thread panicked")),
        }
    }

    fn failed(&mut self, log: &Log, error: &io::Error) {
        self.not_below = log.total() + RETRY_AFTER;
        if self.trouble.fails(&error.to_string()) {
            log::warn!("{}: could not write a snapshot, so the log keeps growing: {error}", log.path());
        }
    }
}

/// The name of the snapshot that holds all groups up to this one.
pub(super) fn snapshot_name(last_group: u64) -> String {
    format!("snapshot-{last_group:020}")
}

struct SnapshotContents {
    store: StoreId,
    last_group: u64,
    revision: Revision,
    items: Items,
    leases: Vec<(LeaseId, i64)>,
}

/// Bytes of a block, and of one write.
const BLOCK: usize = 256 << 10;

/// Writes a snapshot, then removes the segments of the groups it holds, and older snapshots. Returns its length in bytes.
fn write(disk: &Arc<dyn Disk>, contents: &SnapshotContents) -> io::Result<u64> {
    let name = snapshot_name(contents.last_group);
    let unfinished = format!("{name}{UNFINISHED}");
    let write = || {
        let length = write_blocks(disk.create(&unfinished)?, contents)?;
        disk.rename(&unfinished, &name)?;
        Ok(length)
    };
    let length = write().inspect_err(|_: &io::Error| {
        // Frees the space. If this fails, the next start removes the file.
        let _ = disk.remove(&unfinished);
    })?;
    disk.sync_folder()?;
    remove_superfluous(&**disk, contents.last_group)?;
    Ok(length)
}

fn write_blocks(mut file: Box<dyn DiskFile>, contents: &SnapshotContents) -> io::Result<u64> {
    let seal = Seal::new(FileKind::Snapshot, contents.store);
    let start = header(FileKind::Snapshot, FileHeader { store: contents.store, number: contents.last_group });
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

/// Removes segments that start before the end of a snapshot, and older snapshots. A new segment was started with the snapshot,
/// so the earlier segments hold no later groups. A file that cannot be removed stays: it takes space and does no other harm.
pub(super) fn remove_superfluous(disk: &dyn Disk, last_group: u64) -> io::Result<()> {
    let superfluous = |name: &String| {
        number_in(name, "log-").is_some_and(|first| first <= last_group)
            || number_in(name, "snapshot-").is_some_and(|last| last < last_group)
    };
    let names: Vec<String> = disk.list()?.into_iter().filter(superfluous).collect();
    for name in &names {
        if let Err(error) = disk.remove(name) {
            log::warn!(
                "{}: could not remove the file, which the store does not need any more: {error}; remove it by hand",
                disk.path(name).display()
            );
        }
    }
    if names.is_empty() { Ok(()) } else { disk.sync_folder() }
}
