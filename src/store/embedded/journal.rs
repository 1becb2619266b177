//! A journal: frames in segments, bounded by size. The oldest segment goes when there is no room for the next one. It may lose its end,
//! or more if the disk fails. Nothing depends on it but what it records, so it is not synced with each frame.

use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile, DiskFolder, FolderError};
use super::format::{FileHeader, FileKind, HEADER, Seal, StoreId, read_header};
use super::log::{AppendError, Frames, NextFrame, UNFINISHED, create_file, number_in};

/// The journal has this many segments, the open one included.
const SEGMENTS: u64 = 8;
/// At most so many segments: each start of a process makes one.
const MAX_SEGMENTS: usize = 100;
const PREFIX: &str = "events-";
/// All journals have this id: what a journal holds may come from any store.
const ID: StoreId = [0; 16];

/// A journal, open for writing. Each process begins a segment of its own.
pub struct Journal {
    disk: Box<dyn Disk>,
    max_bytes: u64,
    /// The number of the first frame and the length of each segment but the open one.
    closed: Vec<(u64, u64)>,
    open: Option<OpenSegment>,
    /// The number of the next frame.
    next: u64,
    seal: Seal,
    frame: Vec<u8>,
}

struct OpenSegment {
    file: Box<dyn DiskFile>,
    first: u64,
    length: u64,
}

impl Journal {
    /// Opens the journal in a folder, which is created if it does not exist. Only one process may use it.
    pub fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        let disk = DiskFolder::open(folder).map_err(|error| match error {
            FolderError::Locked(pid) => {
                let holder = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
                io::Error::other(format!("{}: in use by another service-center{holder}", folder.display()))
            }
            FolderError::Io(path, error) => {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            }
        })?;
        Self::on(Box::new(disk), max_bytes)
    }

    /// As [`Self::open`], on a disk of any kind.
    pub fn on(disk: Box<dyn Disk>, max_bytes: u64) -> io::Result<Self> {
        let names = disk.list()?;
        for name in names.iter().filter(|name| name.starts_with(PREFIX) && name.ends_with(UNFINISHED)) {
            disk.remove(name)?;
        }
        let mut closed = Vec::new();
        for first in names.iter().filter_map(|name| number_in(name, PREFIX)) {
            closed.push((first, disk.length(&segment(first))?));
        }
        closed.sort_unstable();
        let next = closed.last().map_or(1, |(first, _)| first + 1);
        let (seal, frame) = (Seal::new(FileKind::Events, ID), Vec::new());
        Ok(Self { disk, max_bytes, closed, open: None, next, seal, frame })
    }

    /// Reads what earlier processes have written, oldest first, from the newest segments that hold at least `bytes`. A segment is read up
    /// to its first damaged frame. Returns how many segments were damaged or torn.
    pub fn read(&mut self, bytes: u64, mut each: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut sum = 0;
        let newest_first = self.closed.iter().rev();
        let needed = newest_first.take_while(|(_, length)| {
            let is_needed = sum < bytes;
            sum += length;
            is_needed
        });
        let from = self.closed.len() - needed.count();
        let mut damaged = 0;
        let needed: Vec<u64> = self.closed.iter().skip(from).map(|(first, _)| *first).collect();
        for first in needed {
            let name = segment(first);
            let header = read_header(FileKind::Events, &self.disk.read(&name, 0, HEADER)?);
            if !header.is_ok_and(|header| header.number == first) {
                damaged += 1;
                continue;
            }
            let mut frames = Frames::new(&*self.disk, &name, FileKind::Events, ID)?;
            let mut number = first;
            loop {
                match frames.next(number)? {
                    NextFrame::Payload(payload) => each(payload),
                    NextFrame::End => break,
                    NextFrame::Bad => {
                        damaged += 1;
                        break;
                    }
                }
                number += 1;
            }
            self.next = self.next.max(number + 1);
        }
        Ok(damaged)
    }

    /// Appends a frame. After an error the journal goes on with a new segment.
    pub fn append(&mut self, payload: &[u8]) -> io::Result<()> {
        let most = self.max_bytes / SEGMENTS;
        if self.open.as_ref().is_some_and(|open| open.length > most) {
            self.close_segment();
        }
        let mut frame = std::mem::take(&mut self.frame);
        Seal::start(&mut frame);
        frame.extend_from_slice(payload);
        let written = match self.seal.finish(&mut frame, self.next) {
            Some(()) => self.write(&frame),
            None => Err(io::Error::new(io::ErrorKind::FileTooLarge, "a frame over 4 GiB")),
        };
        // The memory of one large frame is not kept.
        frame.shrink_to(64 << 10);
        self.frame = frame;
        if written.is_err() {
            self.close_segment();
        }
        self.next += 1;
        written
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.make_room()?;
                let contents = FileHeader { store: ID, number: self.next };
                let length = HEADER as u64;
                let file = create_file(&*self.disk, &segment(self.next), FileKind::Events, contents)
                    .inspect_err(|error| {
                        // If the file exists, it counts.
                        if matches!(error, AppendError::Fatal { .. })
                            && self.disk.length(&segment(self.next)).is_ok()
                        {
                            self.closed.push((self.next, length));
                        }
                    })?;
                self.open.insert(OpenSegment { file, first: self.next, length })
            }
        };
        // A part of the frame may stay in the file: then the segment ends there for a reader.
        let written = open.file.write_all(frame);
        open.length += frame.len() as u64;
        written
    }

    /// Removes the oldest segments, so that there is room for one more.
    fn make_room(&mut self) -> io::Result<()> {
        let room = self.max_bytes - self.max_bytes / SEGMENTS;
        let mut bytes: u64 = self.closed.iter().map(|(_, length)| length).sum();
        let mut gone = 0;
        let mut outcome = Ok(());
        for (first, length) in &self.closed {
            if self.closed.len() - gone < MAX_SEGMENTS && bytes <= room {
                break;
            }
            match self.disk.remove(&segment(*first)) {
                // `NotFound`: somebody else has removed it.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    outcome = Err(error);
                    break;
                }
                _ => {}
            }
            bytes -= length;
            gone += 1;
        }
        self.closed.drain(..gone);
        outcome
    }

    fn close_segment(&mut self) {
        if let Some(open) = self.open.take() {
            self.closed.push((open.first, open.length));
        }
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |open| open.file.sync())
    }

    /// The bytes of all segments.
    pub fn bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|(_, length)| length).sum();
        closed + self.open.as_ref().map_or(0, |open| open.length)
    }
}

fn segment(first: u64) -> String {
    format!("{PREFIX}{first:020}")
}

#[cfg(all(test, feature = "test-doubles"))]
mod tests;
