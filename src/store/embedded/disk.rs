//! The seam to the file system: the few things the store does with files, and the real ones. It knows nothing of what is
//! in them. [`super::faulty_disk`] is the one that fails on demand.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// A folder of files, used by one store at a time.
pub trait Disk: Send + Sync + 'static {
    /// The path of a file, for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A file's length in bytes.
    fn length(&self, name: &str) -> io::Result<u64>;
    /// Up to `limit` bytes from `offset` on; fewer only at the end of the file.
    fn read(&self, name: &str, offset: u64, limit: usize) -> io::Result<Vec<u8>>;
    /// A new, empty file in place of any of that name, to be written from its start.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, to be written at its end.
    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Writes over bytes of a file, and makes all of the file durable.
    fn rewrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Renames, in place of any file of the new name. Open files stay open.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file open for writing at its end.
pub trait DiskFile: Send {
    /// Appends all of it. After an error some of it may be there.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to a length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

const LOCK: &str = "lock";

/// A folder of the file system, locked against other processes as long as this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder could not be had.
#[derive(Debug)]
pub(super) enum FolderError {
    /// Another store has it; its process id if that is known.
    Locked(Option<u32>),
    Io(io::Error),
}

impl From<io::Error> for FolderError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Folder {
    /// Makes the folder if it is not there, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, FolderError> {
        let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.is_dir();
        let new = path.ancestors().take_while(|folder| !is_there(folder)).count();
        fs::create_dir_all(path)?;
        let whole = path.canonicalize()?;
        for parent in whole.ancestors().skip(1).take(new) {
            sync_folder(parent)?;
        }
        if new == 0
            && let Some(parent) = whole.parent()
        {
            // Whoever made the folder may have ended before it did this. Not every user may read what it lies in.
            let _ = sync_folder(parent);
        }
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join(LOCK))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let read = Read::take(&lock, 32).read_to_string(&mut holder);
                return Err(FolderError::Locked(read.ok().and_then(|_| holder.trim().parse().ok())));
            }
            Err(error) => return Err(FolderError::Io(error.into())),
        }
        // Only said to the next one who comes: not worth failing for.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

impl Disk for Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names =
            fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect()
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn read(&self, name: &str, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(name))?;
        file.seek(SeekFrom::Start(offset))?;
        let rest = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = Vec::with_capacity(usize::try_from(rest).unwrap_or(limit).min(limit));
        file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // Removed first: a file left by a crash may be shared with a backup made by hard links.
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(self.path(name))?))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(self.path(name))?))
    }

    fn rewrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(self.path(name))?;
        file.seek(SeekFrom::Start(offset))?;
        Write::write_all(&mut file, bytes)?;
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        sync_folder(&self.path)
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl DiskFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
