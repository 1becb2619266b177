//! A test double: a disk in memory that fails on demand: no space, failing syncs, held syncs, power cuts. It models what a file
//! system guarantees: bytes are durable after a sync of the file, names after a sync of the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile};

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk(Arc<(Mutex<DiskState>, Condvar)>);

#[derive(Debug, Default)]
struct DiskState {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    files: BTreeMap<u64, FileState>,
    next_file: u64,
    fault: DiskFault,
    /// The bytes left of [`DiskFault::NoSpaceAfter`].
    space: Option<usize>,
    syncs: u64,
    syncs_held: u64,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    bytes: Vec<u8>,
    /// The bytes that a power cut always leaves.
    durable: usize,
    /// The bytes that a sync failed to write. The kernel takes them for written from then on, and no later sync writes them.
    lost: Range<usize>,
}

/// What fails from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing fails, and all held syncs go on.
    #[default]
    None,
    /// The disk is full after this many more bytes. A write stores what fits, then fails.
    NoSpaceAfter(usize),
    /// Writes fail with an I/O error, storing half.
    Writes,
    /// Syncs fail with an I/O error.
    Syncs,
    /// Writes and truncations fail with an I/O error.
    WritesAndTruncations,
    /// Syncs wait until another fault is set.
    HoldSyncs,
    /// Bytes of a file cannot be overwritten.
    Rewrites(io::ErrorKind),
    /// No file can get a name that starts so.
    RenamesTo(&'static str),
    /// This file cannot be removed.
    RemovalOf(&'static str),
    /// Syncs of the folder fail with an I/O error.
    FolderSyncs,
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(state: DiskState) -> Self {
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.0.0.lock()
    }

    /// Replaces the current fault.
    pub fn fail(&self, fault: DiskFault) {
        let mut state = self.state();
        state.space = if let DiskFault::NoSpaceAfter(bytes) = fault { Some(bytes) } else { None };
        state.fault = fault;
        self.0.1.notify_all();
    }

    /// Number of finished syncs of files.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Number of syncs that wait because of [`DiskFault::HoldSyncs`].
    pub fn syncs_held(&self) -> u64 {
        self.state().syncs_held
    }

    /// The disk after a power cut now: durable names and bytes, and the first `kept` bytes of each file that are not durable.
    pub fn after_power_cut(&self, kept: usize) -> Self {
        let state = self.state();
        let named = |(_, id): (&String, &u64)| {
            let contents = state.files.get(id)?;
            let left = contents.durable.saturating_add(kept).min(contents.bytes.len());
            let mut bytes = contents.bytes.get(..left).unwrap_or_default().to_vec();
            bytes
                .iter_mut()
                .enumerate()
                .filter(|(at, _)| contents.lost.contains(at))
                .for_each(|(_, byte)| *byte = 0);
            Some((*id, FileState { bytes, durable: left, lost: 0..0 }))
        };
        let names = state.durable_names.clone();
        let files = names.iter().filter_map(named).collect();
        let next_file = state.next_file;
        Self::with(DiskState {
            durable_names: names.clone(),
            names,
            files,
            next_file,
            ..DiskState::default()
        })
    }

    /// The disk after the process is killed now: unchanged, and nothing more is durable than before.
    pub fn after_kill(&self) -> Self {
        let state = self.state();
        Self::with(DiskState {
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            files: state.files.clone(),
            next_file: state.next_file,
            ..DiskState::default()
        })
    }

    /// A copy of the disk. All of it is durable.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        let state = self.state();
        for (name, id) in &state.names {
            copy.set_contents(
                name,
                state.files.get(id).map(|contents| contents.bytes.clone()).unwrap_or_default(),
            );
        }
        copy
    }

    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let contents = state.files.get(state.names.get(name)?)?;
        Some(contents.bytes.clone())
    }

    /// Creates or replaces a file and makes it durable.
    pub fn set_contents(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let id = state.new_file();
        state.files.insert(id, FileState { durable: bytes.len(), bytes, lost: 0..0 });
        state.names.insert(name.to_owned(), id);
        state.durable_names.insert(name.to_owned(), id);
    }
}

impl DiskState {
    fn new_file(&mut self) -> u64 {
        self.next_file += 1;
        self.files.insert(self.next_file, FileState::default());
        self.next_file
    }

    fn find(&self, name: &str) -> io::Result<u64> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn contents(&mut self, id: u64) -> io::Result<&mut FileState> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Fails if this is the current fault.
    fn check(&self, fault: DiskFault) -> io::Result<()> {
        if self.fault == fault { Err(io_error()) } else { Ok(()) }
    }
}

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Disk for FaultyDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        let mut state = self.state();
        let id = state.find(name)?;
        Ok(state.contents(id)?.bytes.len() as u64)
    }

    fn read(&self, name: &str, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let id = state.find(name)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(state.contents(id)?.bytes.iter().skip(offset).take(limit).copied().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        if state.space == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let id = state.new_file();
        state.names.insert(name.to_owned(), id);
        Ok(Box::new(FaultyFile { disk: self.clone(), id }))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile { disk: self.clone(), id: self.state().find(name)? }))
    }

    fn rewrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let id = {
            let mut state = self.state();
            let id = state.find(name)?;
            if let DiskFault::Rewrites(kind) = state.fault {
                return Err(kind.into());
            }
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let contents = state.contents(id)?;
            let to = from.saturating_add(bytes.len());
            contents.bytes.get_mut(from..to).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(bytes);
            if from <= contents.lost.start && contents.lost.end <= to {
                contents.lost = 0..0;
            }
            id
        };
        FaultyFile { disk: self.clone(), id }.sync()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let id = state.find(from)?;
        if let DiskFault::RenamesTo(start) = state.fault
            && to.starts_with(start)
        {
            return Err(io_error());
        }
        state.names.remove(from);
        state.names.insert(to.to_owned(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.find(name)?;
        if let DiskFault::RemovalOf(kept) = state.fault
            && kept == name
        {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        state.names.remove(name);
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.check(DiskFault::FolderSyncs)?;
        state.durable_names = state.names.clone();
        // Files without a name are gone.
        let named: BTreeSet<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| named.contains(id));
        Ok(())
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    id: u64,
}

impl DiskFile for FaultyFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let fails = matches!(state.fault, DiskFault::Writes | DiskFault::WritesAndTruncations);
        let room = match (state.space, fails) {
            (_, true) => bytes.len() / 2,
            (Some(space), _) => space.min(bytes.len()),
            (None, _) => bytes.len(),
        };
        if let Some(space) = &mut state.space {
            *space -= room.min(*space);
        }
        let failed = if fails { io_error() } else { io::ErrorKind::StorageFull.into() };
        let (stored, lost) = bytes.split_at(room);
        state.contents(self.id)?.bytes.extend_from_slice(stored);
        if lost.is_empty() { Ok(()) } else { Err(failed) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.syncs_held += 1;
        while state.fault == DiskFault::HoldSyncs {
            self.disk.0.1.wait(&mut state);
        }
        state.syncs_held -= 1;
        if state.fault == DiskFault::Syncs {
            let contents = state.contents(self.id)?;
            contents.lost = contents.durable..contents.bytes.len();
            return Err(io_error());
        }
        state.syncs += 1;
        let contents = state.contents(self.id)?;
        contents.durable = contents.bytes.len();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.check(DiskFault::WritesAndTruncations)?;
        let contents = state.contents(self.id)?;
        contents.bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        contents.durable = contents.durable.min(contents.bytes.len());
        Ok(())
    }
}
