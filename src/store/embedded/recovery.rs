//! Opens a folder: reads the state from its files, or says what is wrong with them. It never opens an empty registry in place
//! of a damaged one. It cuts only a torn end of the last segment, because no caller got a reply for that group.

use std::io;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, ScopedJoinHandle};

use super::disk::Disk;
use super::format::{
    BadHeader, FORMAT, FileHeader, FileKind, HEADER, StoreId, read_block, read_group, read_header,
};
use super::keyspace::{Keyspace, ReadBlock};
use super::lease::LoadingLeases;
use super::log::{Frames, Log, NextFrame, UNFINISHED, create_file, number_in, segment_name};
use super::snapshot::{remove_superfluous, snapshot_name};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{folder}: in use by another service-center{}; stop it or choose another folder", holder(*.pid))]
    Locked { folder: PathBuf, pid: Option<u32> },
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{path}: written in format {found}, but this version knows format {FORMAT}; start the version that wrote it, or \
         move the folder away and let the instances register again"
    )]
    Format { path: PathBuf, found: u32 },
    #[error(
        "{path}: damaged at byte {offset}: expected {expected}; restore the folder from a copy, or move it away and let \
         the instances register again"
    )]
    Damaged { path: PathBuf, offset: u64, expected: String },
    #[error(
        "{path}: missing: {why}; restore the folder from a copy, or move it away and let the instances register again"
    )]
    Missing { path: PathBuf, why: String },
    /// The folder has files of two stores.
    #[error("{path}: belongs to another store than the rest of the folder; move it away")]
    Foreign { path: PathBuf },
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

const IDENTITY: &str = "identity";

pub(super) struct Recovered {
    pub keyspace: Keyspace,
    pub log: Log,
    pub store: StoreId,
    /// Length of the newest snapshot, bytes.
    pub snapshot_length: u64,
}

/// Reads a folder, or creates a new store in an empty folder.
pub(super) fn recover(disk: &Arc<dyn Disk>) -> Result<Recovered, OpenError> {
    let files = StoreFiles { disk: &**disk };
    // The names may not be durable: the process that created them may have ended before its sync.
    disk.sync_folder().map_err(|error| files.io("", error))?;
    let names = disk.list().map_err(|error| files.io("", error))?;
    for name in names.iter().filter(|name| is_unfinished(name)) {
        disk.remove(name).map_err(|error| files.io(name, error))?;
    }
    let numbers = |prefix: &str| {
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_in(name, prefix)).collect();
        numbers.sort_unstable();
        numbers
    };
    let (segments, snapshots) = (numbers("log-"), numbers("snapshot-"));
    let identity = names.iter().any(|name| name == IDENTITY);
    if segments.is_empty() && (identity || !snapshots.is_empty()) {
        return Err(
            files.missing(&segment_name(1), "the folder held a store, but no log is there".to_owned())
        );
    }
    let Some(newest_segment) = segments.last() else { return create(disk, &files) };
    let store = if identity {
        files.header(IDENTITY, FileKind::Identity)?.store
    } else {
        // The machine stopped while the store was created, or only logs and snapshots were copied.
        let name = segment_name(*newest_segment);
        let store = files.header(&name, FileKind::Log)?.store;
        files.create_identity(store)?;
        store
    };

    let mut keyspace = Keyspace::new();
    let mut leases = LoadingLeases::start().map_err(|error| files.io("", no_thread(error)))?;
    let mut snapshot_length = 0;
    let snapshot = snapshots.last().copied();
    if let Some(last_group) = snapshot {
        snapshot_length = files.load_snapshot(last_group, store, &mut keyspace, &mut leases)?;
    }
    let log = replay(disk, &files, store, &segments, snapshot, (&mut keyspace, &mut leases))?;
    keyspace.leases = leases.end();
    if let Some(last_group) = snapshot {
        // The machine may have stopped before the snapshot had removed them.
        remove_superfluous(&**disk, last_group).map_err(|error| files.io("", error))?;
    }
    Ok(Recovered { keyspace, log, store, snapshot_length })
}

/// Whether a store gives this name to a file that is not whole.
fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED).is_some_and(|whole| {
        whole == IDENTITY || ["log-", "snapshot-"].iter().any(|prefix| number_in(whole, prefix).is_some())
    })
}

fn create(disk: &Arc<dyn Disk>, files: &StoreFiles<'_>) -> Result<Recovered, OpenError> {
    let store: StoreId = rand::random();
    // The log comes first, so that a folder with an identity but without a log is known to be damaged.
    let log =
        Log::create(disk.clone(), store, 1).map_err(|error| files.io(&segment_name(1), error.into()))?;
    files.create_identity(store)?;
    log::info!("{}: created a new store", files.path("").display());
    Ok(Recovered { keyspace: Keyspace::new(), log, store, snapshot_length: 0 })
}

fn replay(
    disk: &Arc<dyn Disk>,
    files: &StoreFiles<'_>,
    store: StoreId,
    segments: &[u64],
    snapshot: Option<u64>,
    (keyspace, leases): (&mut Keyspace, &mut LoadingLeases),
) -> Result<Log, OpenError> {
    // A snapshot starts a new segment, which stays until the next snapshot is done. So the segment after the newest snapshot
    // exists, and the segments before it are not needed.
    let mut next = snapshot.map_or(1, |last_group| last_group + 1);
    let needed =
        segments.iter().position(|first| *first >= next).and_then(|at| segments.get(at..)).unwrap_or(&[]);
    if needed.first() != Some(&next) {
        return Err(match (snapshot, needed.first()) {
            (None, Some(first)) => files.missing(
                &snapshot_name(first - 1),
                format!("the log starts at group {first}, and there is no snapshot of the groups before it"),
            ),
            _ => {
                files.missing(&segment_name(next), format!("the newest snapshot ends at group {}", next - 1))
            }
        });
    }
    let (mut total, mut end, mut last) = (0, HEADER as u64, None);
    for (at, first) in needed.iter().enumerate() {
        let name = segment_name(*first);
        if *first != next {
            return Err(files.missing(
                &segment_name(next),
                format!("the log ends at group {} and goes on at group {first} in {name}", next - 1),
            ));
        }
        let header = files.header(&name, FileKind::Log)?;
        if header.store != store {
            return Err(OpenError::Foreign { path: files.path(&name) });
        }
        if header.number != *first {
            return Err(files.damaged(&name, 0, format!("a log that starts at group {first}")));
        }
        let mut frames =
            Frames::new(&**disk, &name, FileKind::Log, store).map_err(|error| files.io(&name, error))?;
        let folders = keyspace.folders.clone();
        let read = |payload: &[u8]| read_group(payload, &folders);
        let apply = |group, _| keyspace.replay(group, leases);
        let whole = files.read_frames(&name, "group", &mut frames, next, read, apply)?;
        next = whole.next;
        last = whole.last;
        end = frames.offset();
        if whole.is_cut && at + 1 < needed.len() {
            return Err(files.damaged(&name, end, format!("group {next}")));
        }
        if whole.is_cut {
            files.cut_torn_end(&name, &frames, next)?;
        }
        total += end;
    }
    let name = segment_name(needed.last().copied().unwrap_or(1));
    Log::resume(disk.clone(), store, name.clone(), last, end, total, next)
        .map_err(|error| files.io(&name, error))
}

/// A thread reads the payloads of so many bytes of frames.
const READ_BY_A_THREAD: usize = 1 << 20;
/// More threads would be of no use: one thread applies what they read.
const MOST_READERS: usize = 8;

/// Waits for a thread.
fn ended<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// What was read of a file.
struct WholeFrames {
    /// The number of the frame after them.
    next: u64,
    /// The place of the last one.
    last: Option<Range<u64>>,
    /// Whether the bytes after them are not a whole frame.
    is_cut: bool,
}

/// The file is sound, but the system has no thread left.
fn no_thread(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("could not start a thread to read it: {error}"))
}

/// Reads files. Its errors name the file.
struct StoreFiles<'a> {
    disk: &'a dyn Disk,
}

impl StoreFiles<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }

    fn io(&self, name: &str, error: io::Error) -> OpenError {
        OpenError::Io { path: self.path(name), error }
    }

    fn damaged(&self, name: &str, offset: u64, expected: String) -> OpenError {
        OpenError::Damaged { path: self.path(name), offset, expected }
    }

    fn missing(&self, name: &str, why: String) -> OpenError {
        OpenError::Missing { path: self.path(name), why }
    }

    fn header(&self, name: &str, kind: FileKind) -> Result<FileHeader, OpenError> {
        let bytes = self.disk.read(name, 0, HEADER).map_err(|error| self.io(name, error))?;
        read_header(kind, &bytes).map_err(|bad| match bad {
            BadHeader::Format(found) => OpenError::Format { path: self.path(name), found },
            BadHeader::Damaged => self.damaged(name, 0, "the header of a file of this kind".to_owned()),
        })
    }

    fn create_identity(&self, store: StoreId) -> Result<(), OpenError> {
        create_file(self.disk, IDENTITY, FileKind::Identity, FileHeader { store, number: 0 })
            .map(drop)
            .map_err(|error| self.io(IDENTITY, error.into()))
    }

    fn load_snapshot(
        &self,
        last_group: u64,
        store: StoreId,
        keyspace: &mut Keyspace,
        leases: &mut LoadingLeases,
    ) -> Result<u64, OpenError> {
        let name = snapshot_name(last_group);
        let header = self.header(&name, FileKind::Snapshot)?;
        if header.store != store {
            return Err(OpenError::Foreign { path: self.path(&name) });
        }
        if header.number != last_group {
            return Err(self.damaged(&name, 0, format!("a snapshot of the groups up to {last_group}")));
        }
        let mut frames = Frames::new(self.disk, &name, FileKind::Snapshot, store)
            .map_err(|error| self.io(&name, error))?;
        let folders = keyspace.folders.clone();
        let mut length = None;
        let whole = self.read_frames(
            &name,
            "block",
            &mut frames,
            0,
            |payload| read_block(payload, &folders),
            |block, end| {
                if length.is_some() {
                    return Err("the end");
                }
                length = matches!(block, ReadBlock::End { .. }).then_some(end);
                keyspace.restore(block, leases)
            },
        )?;
        length.ok_or_else(|| self.damaged(&name, frames.offset(), format!("block {}", whole.next)))
    }

    /// Reads the frames of a file, from this number on, up to the end of the file or a frame that is not whole. One thread reads the
    /// file, others read the payloads, and this one applies them in order. `apply` gets the place where the frame ends.
    fn read_frames<T: Send>(
        &self,
        name: &str,
        kind: &str,
        frames: &mut Frames<'_>,
        first: u64,
        read: impl Fn(&[u8]) -> Result<T, &'static str> + Sync,
        mut apply: impl FnMut(T, u64) -> Result<(), &'static str>,
    ) -> Result<WholeFrames, OpenError> {
        let at_once = thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        let mut whole = WholeFrames { next: first, last: None, is_cut: false };
        thread::scope(|scope| {
            let (to, readers) = mpsc::sync_channel(at_once - 1);
            let read = &read;
            let read_file = move || -> io::Result<bool> {
                let (mut number, mut is_cut) = (first, None);
                while is_cut.is_none() {
                    let (mut some, mut bytes) = (Vec::new(), 0);
                    while is_cut.is_none() && bytes < READ_BY_A_THREAD {
                        let offset = frames.offset();
                        match frames.next(number)? {
                            NextFrame::Payload(payload) => {
                                bytes += payload.len();
                                let payload = payload.to_vec();
                                some.push((number, offset..frames.offset(), payload));
                                number += 1;
                            }
                            NextFrame::End => is_cut = Some(false),
                            NextFrame::Bad => is_cut = Some(true),
                        }
                    }
                    let read_some = move || {
                        let one = |(number, place, payload): (u64, Range<u64>, Vec<u8>)| {
                            (number, place, read(&payload))
                        };
                        some.into_iter().map(one).collect::<Vec<_>>()
                    };
                    let reader = thread::Builder::new().name("store-reader".to_owned());
                    if to.send(reader.spawn_scoped(scope, read_some).map_err(no_thread)?).is_err() {
                        // What was read before could not be applied.
                        break;
                    }
                }
                Ok(is_cut == Some(true))
            };
            let file = thread::Builder::new().name("store-file".to_owned()).spawn_scoped(scope, read_file);
            let file = file.map_err(|error| self.io(name, no_thread(error)))?;
            for reader in readers {
                for (number, place, content) in ended(reader) {
                    content.and_then(|content| apply(content, place.end)).map_err(|expected| {
                        self.damaged(name, place.start, format!("{expected} in {kind} {number}"))
                    })?;
                    (whole.next, whole.last) = (number + 1, Some(place));
                }
            }
            whole.is_cut = ended(file).map_err(|error| self.io(name, error))?;
            Ok(whole)
        })
    }

    fn cut_torn_end(&self, name: &str, frames: &Frames<'_>, next: u64) -> Result<(), OpenError> {
        let offset = frames.offset();
        let behind = frames.anything_valid_behind(next).map_err(|error| self.io(name, error))?;
        if let Some(behind) = behind {
            let expected =
                format!("group {next} (a later group is whole at byte {behind}, so this is not a torn end)");
            return Err(self.damaged(name, offset, expected));
        }
        log::warn!(
            "{}: cut a torn end at byte {offset}: group {next} was not fully written when the machine or the process \
             stopped, so no caller got a reply for it",
            self.path(name).display()
        );
        let cut = || {
            let mut file = self.disk.append(name)?;
            file.truncate(offset)?;
            file.sync()
        };
        cut().map_err(|error| self.io(name, error))
    }
}
