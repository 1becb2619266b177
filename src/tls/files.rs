//! Reads files again after they were replaced, so that renewed certificates take effect without a restart.
//!
//! Files are compared by their contents, not by their times: a file may be replaced twice within the resolution of its time, or have an
//! old time (`cp -p`). The files are small, and are compared every few seconds.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::expiry::{Expiries, Expiry};
use super::{TlsError, pem};

/// How often the process compares its files.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A value that is made of files. Both functions read files, so they block.
pub trait Reload: Send + Sync {
    /// Reads the files again if they have changed since the last try.
    fn look(&self);

    /// Reads the files again in any case. If a file cannot be used, the old value stays in use.
    fn reload(&self) -> Result<(), ReloadError>;

    /// What metrics tell of the files. Reads no file.
    fn state(&self) -> FilesState;
}

/// What metrics tell of a set of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesState {
    /// The label of the set.
    pub label: &'static str,
    /// Whether the files could be used when they were last read. If not, older ones are in use.
    pub is_usable: bool,
    /// Of the certificates in use.
    pub expiries: Vec<Expiry>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} cannot be used, so the old ones stay in use: {why}")]
pub struct ReloadError {
    name: &'static str,
    /// Names the file.
    why: String,
}

/// How a value is made of files. The second argument collects the ends of the certificates that are read.
type LoadFiles<T> = dyn Fn(&mut Expiries) -> Result<T, TlsError> + Send + Sync;

/// A value made of some files, from the last time when the files could be used.
pub struct FileSet<T> {
    /// The set in the labels of metrics, such as `etcd`.
    label: &'static str,
    /// A plural for log lines, such as "the certificates for etcd".
    name: &'static str,
    paths: Vec<PathBuf>,
    load: Box<LoadFiles<T>>,
    current: ArcSwap<T>,
    expiries: Mutex<Vec<Expiry>>,
    is_usable: AtomicBool,
    /// The fingerprint of the files at the last try, whether or not they could be used.
    tried: Mutex<u64>,
}

impl<T> fmt::Debug for FileSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSet")
            .field("name", &self.name)
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

impl<T> FileSet<T> {
    /// Reads the files. `load` makes the value, and its error names the file. `paths` are all files that `load` reads.
    pub fn open(
        label: &'static str,
        name: &'static str,
        paths: Vec<PathBuf>,
        load: impl Fn(&mut Expiries) -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        // Before the files are read, so that the next look finds a change from now on.
        let tried = fingerprint(&paths);
        let mut expiries = Expiries::default();
        let current = ArcSwap::from_pointee(load(&mut expiries)?);
        Ok(Self {
            label,
            name,
            paths,
            load: Box::new(load),
            current,
            expiries: Mutex::new(expiries.into_list()),
            is_usable: AtomicBool::new(true),
            tried: Mutex::new(tried),
        })
    }

    /// Reads no file.
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    fn load(&self) -> Result<(), ReloadError> {
        let mut expiries = Expiries::default();
        let loaded = (self.load)(&mut expiries);
        self.is_usable.store(loaded.is_ok(), Ordering::Relaxed);
        let value = loaded.map_err(|why| ReloadError { name: self.name, why: why.to_string() })?;
        self.current.store(Arc::new(value));
        *self.expiries.lock() = expiries.into_list();
        Ok(())
    }
}

impl<T: Send + Sync> Reload for FileSet<T> {
    fn look(&self) {
        let mut tried = self.tried.lock();
        let now = fingerprint(&self.paths);
        if std::mem::replace(&mut *tried, now) == now {
            return;
        }
        match self.load() {
            Ok(()) => log::info!("{} have changed and are in use", self.name),
            // Logged once, because these files are not tried again.
            Err(error) => log::warn!("{error}"),
        }
    }

    fn reload(&self) -> Result<(), ReloadError> {
        let mut tried = self.tried.lock();
        *tried = fingerprint(&self.paths);
        self.load()
    }

    fn state(&self) -> FilesState {
        FilesState {
            label: self.label,
            is_usable: self.is_usable.load(Ordering::Relaxed),
            expiries: self.expiries.lock().clone(),
        }
    }
}

/// A hash of the contents. The contents are not kept, because they may be keys. A file that cannot be read has a fingerprint, too.
fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        match pem::read(path) {
            Ok(bytes) => bytes.hash(&mut hasher),
            Err(error) => error.to_string().hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The file sets of a process. Clones share them.
#[derive(Clone, Default)]
pub struct FileSets(Arc<Mutex<Vec<Arc<dyn Reload>>>>);

impl FileSets {
    pub fn add(&self, set: Arc<dyn Reload>) {
        self.0.lock().push(set);
    }

    /// Calls [`Reload::look`] on each.
    pub fn look(&self) {
        self.all().iter().for_each(|set| set.look());
    }

    /// Calls [`Reload::reload`] on each, and returns the errors.
    pub fn reload(&self) -> Vec<ReloadError> {
        self.all().iter().filter_map(|set| set.reload().err()).collect()
    }

    /// Calls [`Reload::state`] on each.
    pub fn states(&self) -> Vec<FilesState> {
        self.all().iter().map(|set| set.state()).collect()
    }

    fn all(&self) -> Vec<Arc<dyn Reload>> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Two numbers in two files, and how often they were read.
    fn numbers(folder: &Path) -> (FileSet<u32>, Arc<AtomicUsize>) {
        let paths = vec![folder.join("a"), folder.join("b")];
        let (reads, read_by) = (Arc::<AtomicUsize>::default(), paths.clone());
        let counted = Arc::clone(&reads);
        let load = move |_: &mut Expiries| {
            counted.fetch_add(1, Ordering::Relaxed);
            let number = |path: &PathBuf| {
                let text = String::from_utf8(pem::read(path)?).unwrap();
                let broken = |_| TlsError::Authority {
                    path: path.clone(),
                    error: rustls::Error::General("not a number".to_owned()),
                };
                text.trim().parse::<u32>().map_err(broken)
            };
            Ok(number(&read_by[0])? + number(&read_by[1])?)
        };
        (FileSet::open("numbers", "the numbers", paths, load).unwrap(), reads)
    }

    #[test]
    fn replaced_files_are_read_once_and_broken_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a", "1");
        write("b", "2");
        let (set, reads) = numbers(folder.path());
        let look = || {
            set.look();
            set.look();
            (*set.current(), reads.load(Ordering::Relaxed))
        };
        assert_eq!(look(), (3, 1));
        write("a", "5");
        assert_eq!(look(), (7, 2));
        write("b", "none");
        assert_eq!(look(), (7, 3), "tried once");
        assert!(!set.state().is_usable);
        assert!(set.reload().unwrap_err().to_string().contains("b: "));
        fs::remove_file(folder.path().join("b")).unwrap();
        assert_eq!(look(), (7, 5));
        write("b", "4");
        assert_eq!(look(), (9, 6));
        assert!(set.state().is_usable);
        assert_eq!((set.reload(), reads.load(Ordering::Relaxed)), (Ok(()), 7));
    }

    #[test]
    fn all_sets_are_reloaded_even_if_one_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let sets = FileSets::default();
        for folder in [&one, &two] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("a"), "1").unwrap();
            fs::write(folder.join("b"), "1").unwrap();
        }
        let (broken, whole) = (Arc::new(numbers(&one).0), Arc::new(numbers(&two).0));
        sets.add(broken.clone());
        sets.add(whole.clone());
        assert_eq!(sets.reload(), []);
        fs::write(one.join("a"), "none").unwrap();
        fs::write(two.join("a"), "2").unwrap();
        let errors = sets.reload();
        assert!(errors.len() == 1 && errors[0].to_string().contains("one/a"), "{errors:?}");
        assert_eq!((*broken.current(), *whole.current()), (2, 3));
    }
}
