//! The append log: writes groups at its end and reads them back. It owns the open segment and does not know what the groups
//! mean.
//!
//! [`Log::append`] returns after a group is written and synced. Only then the committer replies. It writes one group at a time,
//! so a crash can tear only the last group.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, is_out_of_space};
use super::format::{FRAME_HEADER, FileHeader, FileKind, HEADER, Seal, StoreId, header};

#[derive(Debug)]
pub(super) enum AppendError {
    /// The group is certainly not in the log. The next group may succeed.
    Refused(io::Error),
    /// It is unknown what the disk holds. The process must end.
    Fatal { doing: &'static str, error: io::Error },
}

impl From<AppendError> for io::Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Refused(error) | AppendError::Fatal { error, .. } => error,
        }
    }
}

/// The log, open for writing.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    store: StoreId,
    seal: Seal,
    file: Box<dyn DiskFile>,
    name: String,
    /// Bytes of the whole groups in the open segment, with its header.
    length: u64,
    /// Bytes of all segments, including the open one.
    total: u64,
    /// The number of the next group.
    next: u64,
}

/// The name of the segment whose first group has this number.
pub(super) fn segment_name(first: u64) -> String {
    format!("log-{first:020}")
}

/// The number in the name of a segment or a snapshot.
pub(super) fn number_in(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// The end of a file's name until the file is whole.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Creates a file with a header. The file gets its name after the header is durable, so no reader sees a torn file.
pub(super) fn create_file(
    disk: &dyn Disk,
    name: &str,
    kind: FileKind,
    contents: FileHeader,
) -> Result<Box<dyn DiskFile>, AppendError> {
    let unfinished = format!("{name}{UNFINISHED}");
    let begin = || {
        let mut file = disk.create(&unfinished)?;
        file.write_all(&header(kind, contents))?;
        file.sync()?;
        Ok(file)
    };
    // If this fails, it is unknown whether the file exists.
    let give_name = || {
        disk.rename(&unfinished, name)
            .and_then(|()| disk.sync_folder())
            .map_err(|error| AppendError::Fatal { doing: "give a new file its name", error })
    };
    let created = begin().map_err(AppendError::Refused).and_then(|file| give_name().map(|()| file));
    created.inspect_err(|_| {
        // The next try may have another name. If this fails, the next start removes the file.
        let _ = disk.remove(&unfinished);
    })
}

impl Log {
    /// Starts a new segment: the first segment of a log, or the next one.
    pub(super) fn create(disk: Arc<dyn Disk>, store: StoreId, first: u64) -> Result<Self, AppendError> {
        let name = segment_name(first);
        let file = create_file(&*disk, &name, FileKind::Log, FileHeader { store, number: first })?;
        let seal = Seal::new(FileKind::Log, store);
        let length = HEADER as u64;
        Ok(Self { disk, store, seal, file, name, length, total: length, next: first })
    }

    /// Opens the last segment, which was read up to `length`. `last` is the place of its last group, and `next` the number of
    /// the next group.
    ///
    /// Writes the last group again. It may not be durable: the process that wrote it may have ended before the sync, or the
    /// sync may have failed, after which the kernel takes the bytes for written. The store now shows the group, so it must be
    /// on the disk.
    pub(super) fn resume(
        disk: Arc<dyn Disk>,
        store: StoreId,
        name: String,
        last: Option<Range<u64>>,
        length: u64,
        total: u64,
        next: u64,
    ) -> io::Result<Self> {
        let last = last.unwrap_or(0..HEADER as u64);
        let frame =
            disk.read(&name, last.start, usize::try_from(last.end - last.start).unwrap_or(usize::MAX))?;
        let mut file = disk.append(&name)?;
        match disk.rewrite(&name, last.start, &frame) {
            // Some file systems need space to overwrite. A store on a full disk must still open for reads.
            Err(error) if is_out_of_space(&error) => file.sync()?,
            written => written?,
        }
        Ok(Self { disk, store, seal: Seal::new(FileKind::Log, store), file, name, length, total, next })
    }

    /// Bytes of all segments.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Whether the open segment has no group yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.length == HEADER as u64
    }

    /// The number of the last group.
    pub(super) fn last_group(&self) -> u64 {
        self.next - 1
    }

    /// Writes a frame that [`Seal::start`] began, and makes it durable.
    pub(super) fn append(&mut self, frame: &mut [u8]) -> Result<(), AppendError> {
        if self.seal.finish(frame, self.next).is_none() {
            return Err(AppendError::Refused(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a group over 4 GiB",
            )));
        }
        if let Err(refused) = self.file.write_all(frame) {
            // Part of the group may be in the file. The next group must follow the last whole group.
            self.file.truncate(self.length).and_then(|()| self.file.sync()).map_err(|error| {
                AppendError::Fatal { doing: "cut off a group that was not fully written", error }
            })?;
            return Err(AppendError::Refused(refused));
        }
        // After a failed sync the kernel may drop the pages, and the next sync may succeed without them.
        self.file.sync().map_err(|error| AppendError::Fatal { doing: "sync", error })?;
        self.length += frame.len() as u64;
        self.total += frame.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// Starts the next segment. The earlier segments stay until a snapshot holds their groups.
    pub(super) fn rotate(&mut self) -> Result<(), AppendError> {
        let next = Self::create(self.disk.clone(), self.store, self.next)?;
        let total = self.total + next.length;
        *self = Self { total, ..next };
        Ok(())
    }

    /// Call this after the earlier segments are removed.
    pub(super) fn shrink_to_open_segment(&mut self) {
        self.total = self.length;
    }

    /// The path of the open segment, for messages.
    pub(super) fn path(&self) -> String {
        self.disk.path(&self.name).display().to_string()
    }
}

/// Reads the frames of a file one after another. Holds little more than one frame in memory.
pub(super) struct Frames<'a> {
    disk: &'a dyn Disk,
    name: &'a str,
    seal: Seal,
    /// The file's length.
    length: u64,
    /// Where the next frame starts in the file.
    offset: u64,
    buffer: Vec<u8>,
    /// Where the next frame starts in the buffer.
    start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextFrame<'a> {
    Payload(&'a [u8]),
    End,
    /// The bytes are not a whole frame with the expected number.
    Bad,
}

const READ_AT_ONCE: usize = 1 << 20;

impl<'a> Frames<'a> {
    pub(super) fn new(disk: &'a dyn Disk, name: &'a str, kind: FileKind, store: StoreId) -> io::Result<Self> {
        let length = disk.length(name)?;
        let seal = Seal::new(kind, store);
        Ok(Self { disk, name, seal, length, offset: HEADER as u64, buffer: Vec::new(), start: 0 })
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn next(&mut self, number: u64) -> io::Result<NextFrame<'_>> {
        if self.offset >= self.length {
            return Ok(NextFrame::End);
        }
        self.fill(FRAME_HEADER)?;
        let payload = self.unread().first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let whole = FRAME_HEADER + payload;
        if whole as u64 > self.length - self.offset {
            return Ok(NextFrame::Bad);
        }
        self.fill(whole)?;
        if self.seal.check(self.unread(), number, 0) != Some(whole) {
            return Ok(NextFrame::Bad);
        }
        self.offset += whole as u64;
        self.start += whole;
        let frame = self.buffer.get(self.start - payload..self.start).unwrap_or_default();
        Ok(NextFrame::Payload(frame))
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.unread().len() < wanted {
            // What is left of the buffer is read once more, which is cheaper than to move it.
            self.buffer = self.disk.read(self.name, self.offset, wanted.max(READ_AT_ONCE))?;
            self.start = 0;
        }
        Ok(())
    }

    /// Where a whole frame with this number or a later one starts after the bad frame. If there is such a frame, the file is
    /// damaged and not only torn.
    pub(super) fn anything_valid_behind(&self, number: u64) -> io::Result<Option<u64>> {
        // A frame with a number far above is there by chance.
        const ABOVE: u64 = 1 << 32;
        let rest = usize::try_from(self.length - self.offset).unwrap_or(usize::MAX);
        let rest = self.disk.read(self.name, self.offset, rest)?;
        let found = (1..rest.len()).find(|at| {
            let from = rest.get(*at..).unwrap_or_default();
            self.seal.check(from, number, ABOVE).is_some()
        });
        Ok(found.map(|at| self.offset + at as u64))
    }
}
