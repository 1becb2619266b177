//! The file operations of the store, as a trait and for the file system. Tests use `faulty_disk`, which fails on demand. This
//! file does not know what the files hold.
//!
//! Only this process's user may read the stored data: the folder has the rights 700, each file 600. Another user may have had
//! access before and may have placed files there. So the store follows no link, and opens only plain files that belong to
//! this process's user or to the folder's owner. The folder itself may be a link, because the operator chooses its path.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

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
    /// Creates an empty file for writing. Replaces a file of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file to write at its end.
    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Overwrites bytes of a file and makes the whole file durable.
    fn rewrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Renames a file. Replaces a file of the new name. Open files stay open.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file open for writing at its end.
pub trait DiskFile: Send {
    /// Appends all bytes. After an error some of them may be in the file.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the written bytes durable.
    fn sync(&mut self) -> io::Result<()>;
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

const LOCK: &str = "lock";
/// The folder of a journal, in the folder of a store.
pub const EVENTS: &str = "events";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The rights of group and others.
const OF_OTHERS: u32 = 0o077;
/// Everybody may write.
const OPEN_TO_ALL: u32 = 0o002;
/// The mark of a folder that many users share, such as `/tmp`. Its rights must not change.
const STICKY: u32 = 0o1000;
/// Opens no link, and does not wait for the other end of a pipe.
const PLAIN: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

/// A folder of the file system, locked against other processes as long as this value lives.
#[derive(Debug)]
pub(super) struct DiskFolder {
    folder: OwnedFolder,
    _lock: File,
}

#[derive(Debug)]
struct OwnedFolder {
    path: PathBuf,
    owner: u32,
}

/// Why a folder could not be opened.
#[derive(Debug)]
pub(super) enum FolderError {
    /// Another store has the folder. Its process id, if known.
    Locked(Option<u32>),
    /// The folder, or a file in it.
    Io(PathBuf, io::Error),
}

impl DiskFolder {
    /// Creates the folder if it does not exist, closes it to other users and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, FolderError> {
        let failed = |error| FolderError::Io(path.to_owned(), error);
        make(path).map_err(failed)?;
        let owner = fs::metadata(path).map_err(failed)?.uid();
        let folder = OwnedFolder { path: path.to_owned(), owner };
        folder.close_to_others().map_err(failed)?;
        let failed = |error| FolderError::Io(path.join(LOCK), error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut lock = folder.open(LOCK, &mut options).map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let read = Read::take(&lock, 32).read_to_string(&mut holder);
                return Err(FolderError::Locked(read.ok().and_then(|_| holder.trim().parse().ok())));
            }
            Err(error) => return Err(failed(error.into())),
        }
        // The process id is only for the error message of another process, so a failure does not matter.
        let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        folder.close_files_to_others().map_err(|error| FolderError::Io(path.to_owned(), error))?;
        Ok(Self { folder, _lock: lock })
    }
}

/// Creates the folder if it does not exist, and makes its name durable.
fn make(path: &Path) -> io::Result<()> {
    let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.is_dir();
    let new = path.ancestors().take_while(|folder| !is_there(folder)).count();
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
    let whole = path.canonicalize()?;
    for parent in whole.ancestors().skip(1).take(new) {
        sync_folder(parent)?;
    }
    if new == 0
        && let Some(parent) = whole.parent()
    {
        // The process that created the folder may have ended before the sync. An error does not matter, because not every
        // user may read the parent folder.
        let _ = sync_folder(parent);
    }
    Ok(())
}

impl OwnedFolder {
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names =
            fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
        names.collect()
    }

    /// Gives the folder the rights 700 and logs that. A folder that belongs to another user or holds other files keeps its
    /// rights; it is refused if everybody may write into it.
    fn close_to_others(&self) -> io::Result<()> {
        let found = fs::metadata(&self.path)?;
        let (path, mode) = (self.path.display(), found.mode() & 0o7777);
        if mode & OF_OTHERS == 0 {
            return Ok(());
        }
        let stranger = self.names()?.into_iter().find(|name| !is_of_a_store(name));
        if stranger.is_none() && mode & STICKY == 0 {
            match fs::set_permissions(&self.path, Permissions::from_mode(FOLDER_MODE)) {
                Ok(()) => {
                    log::warn!(
                        "{path}: the rights were {mode:o} and are {FOLDER_MODE:o} now, because the folder holds the data"
                    );
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(error),
            }
        }
        let why = match stranger {
            Some(name) => format!("it holds other files, such as \"{name}\""),
            None => format!("it belongs to user {}", found.uid()),
        };
        if mode & OPEN_TO_ALL != 0 {
            let advice = "set registry.embedded.dir to a folder that only the store uses, such as a new folder in this one";
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("every user may replace the data in it (rights {mode:o}), and {why}; {advice}"),
            ));
        }
        log::warn!(
            "{path}: the rights stay {mode:o}, because {why}; other users cannot read the store's files"
        );
        Ok(())
    }

    /// Gives the files the rights 600. Leaves out links and files of other users, which [`OwnedFolder::open`] refuses.
    fn close_files_to_others(&self) -> io::Result<()> {
        let own = rustix::process::geteuid().as_raw();
        let mut closed = 0;
        for name in self.names()?.iter().filter(|name| is_of_a_store(name)) {
            let found = fs::symlink_metadata(self.file(name))?;
            if found.is_file() && found.uid() == own && found.mode() & OF_OTHERS != 0 {
                let file = self.open(name, OpenOptions::new().read(true))?;
                file.set_permissions(Permissions::from_mode(FILE_MODE))?;
                closed += 1;
            }
        }
        if closed > 0 {
            log::warn!(
                "{}: other users could read {closed} files; their rights are {FILE_MODE:o} now",
                self.path.display()
            );
        }
        Ok(())
    }

    /// Opens a plain file of the folder. Refuses a link, a pipe and a file of another user.
    fn open(&self, name: &str, options: &mut OpenOptions) -> io::Result<File> {
        let file = options.custom_flags(PLAIN).open(self.file(name)).map_err(|error| {
            let is_link = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
            if is_link {
                refused("is a link, and the store follows no links; replace it with the file")
            } else {
                error
            }
        })?;
        self.judge(&file.metadata()?)?;
        Ok(file)
    }

    fn judge(&self, found: &Metadata) -> io::Result<()> {
        if !found.is_file() {
            return Err(refused("is not a plain file; move it away"));
        }
        let own = rustix::process::geteuid().as_raw();
        if ![own, self.owner].contains(&found.uid()) {
            return Err(refused(&format!(
                "belongs to user {}, not to this process's user ({own}) or the folder's owner; if you trust the file, give it to \
                 the folder's owner",
                found.uid()
            )));
        }
        Ok(())
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Whether a store or a file system creates files of this name.
fn is_of_a_store(name: &str) -> bool {
    [LOCK, "identity", "identity.unfinished", "lost+found", EVENTS].contains(&name)
        || name.starts_with("log-")
        || name.starts_with("events-")
        || name.starts_with("snapshot-")
}

impl Disk for DiskFolder {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(self.folder.open(name, OpenOptions::new().read(true))?.metadata()?.len())
    }

    fn read(&self, name: &str, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut file = self.folder.open(name, OpenOptions::new().read(true))?;
        file.seek(SeekFrom::Start(offset))?;
        let rest = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = Vec::with_capacity(usize::try_from(rest).unwrap_or(limit).min(limit));
        file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // A file left by a crash may be a hard link that a backup shares, so it is removed and not overwritten.
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file =
            self.folder.open(name, OpenOptions::new().append(true).create_new(true).mode(FILE_MODE))?;
        Ok(Box::new(file))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.folder.open(name, OpenOptions::new().append(true))?))
    }

    fn rewrite(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.folder.open(name, OpenOptions::new().write(true))?;
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
        sync_folder(&self.folder.path)
    }
}

/// Whether the disk, or what this process's user may take of it, is full.
pub(super) fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
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
