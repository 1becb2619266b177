//! The append log: writing groups at its end, reading them back. It owns the open segment; it knows nothing of what the
//! groups mean.
//!
//! A group is answered only after [`Log::append`] has returned: written and synced. There is never more than one group on
//! its way, so after a crash only the last one can be torn.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::format::{FRAME_HEADER, HEADER, Header, Kind, Seal, StoreId, header};

/// What became of a group that was not written.
#[derive(Debug)]
pub(super) enum AppendError {
    /// It is surely not in the log; the next one may work.
    Refused(io::Error),
    /// Nobody knows what is on the disk: the process must end.
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
    /// Bytes of the open segment that are good.
    length: u64,
    /// Bytes of all segments, the open one included.
    total: u64,
    next: u64,
}

/// The name of the segment that starts with a group.
pub(super) fn segment_name(first: u64) -> String {
    format!("log-{first:020}")
}

/// The number in a name made by [`segment_name`] and the like.
pub(super) fn number_in(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// What names end with while a file is not yet whole.
pub(super) const UNFINISHED: &str = ".unfinished";

/// Creates a file that consists of a header so far; it has its name only once that is durable, so a torn one is never seen.
pub(super) fn create_file(
    disk: &dyn Disk,
    name: &str,
    kind: Kind,
    contents: Header,
) -> Result<Box<dyn DiskFile>, AppendError> {
    let unfinished = format!("{name}{UNFINISHED}");
    let begin = || {
        let mut file = disk.create(&unfinished)?;
        file.write_all(&header(kind, contents))?;
        file.sync()?;
        Ok(file)
    };
    let file = begin().map_err(AppendError::Refused)?;
    // If this fails nobody knows whether the file is there.
    disk.rename(&unfinished, name)
        .and_then(|()| disk.sync_folder())
        .map_err(|error| AppendError::Fatal { doing: "give a new file its name", error })?;
    Ok(file)
}

impl Log {
    /// Starts a new segment, the first of a new log or the next of one.
    pub(super) fn create(disk: Arc<dyn Disk>, store: StoreId, first: u64) -> Result<Self, AppendError> {
        let name = segment_name(first);
        let file = create_file(&*disk, &name, Kind::Log, Header { store, number: first })?;
        let seal = Seal::new(Kind::Log, store);
        let length = HEADER as u64;
        Ok(Self { disk, store, seal, file, name, length, total: length, next: first })
    }

    /// Goes on with the last segment, which was read up to `length`; `next` is the number of the group to come.
    ///
    /// The last group is written once more. Who wrote it may have ended before it was durable; or failed to sync it, and
    /// then the kernel takes it for written. Now it is shown, so it must be on the disk.
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
            // Some file systems need room for it. Reads must go on with a full disk.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => file.sync()?,
            written => written?,
        }
        Ok(Self { disk, store, seal: Seal::new(Kind::Log, store), file, name, length, total, next })
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

    /// Starts a frame for [`Log::append`].
    pub(super) fn start(frame: &mut Vec<u8>) {
        Seal::start(frame);
    }

    /// Writes a frame and makes it durable.
    pub(super) fn append(&mut self, frame: &mut [u8]) -> Result<(), AppendError> {
        if self.seal.finish(frame, self.next).is_none() {
            return Err(AppendError::Refused(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a group over 4 GiB",
            )));
        }
        if let Err(refused) = self.file.write_all(frame) {
            // Some of it may be there, and later groups must follow the last good one.
            self.file.truncate(self.length).and_then(|()| self.file.sync()).map_err(|error| {
                AppendError::Fatal { doing: "cut off a group that was not fully written", error }
            })?;
            return Err(AppendError::Refused(refused));
        }
        // After a failed sync the kernel may have dropped the pages and report success next time.
        self.file.sync().map_err(|error| AppendError::Fatal { doing: "sync", error })?;
        self.length += frame.len() as u64;
        self.total += frame.len() as u64;
        self.next += 1;
        Ok(())
    }

    /// Starts the next segment. The former ones stay, for whoever makes a snapshot of what they hold to remove.
    pub(super) fn rotate(&mut self) -> Result<(), AppendError> {
        let next = Self::create(self.disk.clone(), self.store, self.next)?;
        let total = self.total + next.length;
        *self = Self { total, ..next };
        Ok(())
    }

    /// Notes that former segments are gone.
    pub(super) fn shrink_to_open_segment(&mut self) {
        self.total = self.length;
    }

    /// The path of the open segment, for messages.
    pub(super) fn path(&self) -> String {
        self.disk.path(&self.name).display().to_string()
    }
}

/// Reads the frames of a file one after another, holding little more than one of them.
pub(super) struct Frames<'a> {
    disk: &'a dyn Disk,
    name: &'a str,
    seal: Seal,
    /// The file's length.
    length: u64,
    /// Where the frame to come starts.
    offset: u64,
    buffer: Vec<u8>,
    /// Where it starts in the buffer.
    start: usize,
}

/// What comes next in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    Payload(&'a [u8]),
    End,
    /// What is there is no whole frame of the number expected.
    Bad,
}

const READ_AT_ONCE: usize = 1 << 20;

impl<'a> Frames<'a> {
    /// Starts behind the header.
    pub(super) fn new(disk: &'a dyn Disk, name: &'a str, kind: Kind, store: StoreId) -> io::Result<Self> {
        let length = disk.length(name)?;
        let seal = Seal::new(kind, store);
        Ok(Self { disk, name, seal, length, offset: HEADER as u64, buffer: Vec::new(), start: 0 })
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The frame of this number.
    pub(super) fn next(&mut self, number: u64) -> io::Result<Next<'_>> {
        if self.offset >= self.length {
            return Ok(Next::End);
        }
        self.fill(FRAME_HEADER)?;
        let payload = self.unread().first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
        let whole = FRAME_HEADER + payload;
        if whole as u64 > self.length - self.offset {
            return Ok(Next::Bad);
        }
        self.fill(whole)?;
        if self.seal.check(self.unread(), number, 0) != Some(whole) {
            return Ok(Next::Bad);
        }
        self.offset += whole as u64;
        self.start += whole;
        let frame = self.buffer.get(self.start - payload..self.start).unwrap_or_default();
        Ok(Next::Payload(frame))
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.unread().len() < wanted {
            self.buffer.drain(..self.start);
            self.start = 0;
            let from = self.offset + self.buffer.len() as u64;
            let missing = (wanted - self.buffer.len()).max(READ_AT_ONCE);
            self.buffer.extend(self.disk.read(self.name, from, missing)?);
        }
        Ok(())
    }

    /// Whether a whole frame of this number or a later one starts anywhere behind the bad one: then it is not torn, and
    /// what was once on the disk is damaged.
    pub(super) fn anything_valid_behind(&self, number: u64) -> io::Result<Option<u64>> {
        // A number far above is chance.
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
