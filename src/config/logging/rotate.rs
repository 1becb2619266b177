//! A log file that rotates. When it is full, `service-center.log` becomes `service-center.log.1`, the old `.1` becomes `.2`, and so
//! on. The oldest file is deleted if there are more than configured.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::sections::LogFile;
use super::queue::LogOutput;

/// Rights of a new log file. A program that collects logs is a member of the group. Other users must not see the names and addresses
/// in a registry. An existing file keeps its rights.
const FILE_MODE: u32 = 0o640;
/// Rights of a new folder for log files.
const FOLDER_MODE: u32 = 0o750;

#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotate_bytes: u64,
    backups: usize,
    file: File,
    bytes: u64,
}

impl RotatingFile {
    /// Opens the file for appending. Creates it and its folder if they do not exist. Follows a link: the operator chose the path, and
    /// containers link log files to `/dev/stdout`.
    pub fn open(settings: &LogFile) -> io::Result<Self> {
        let LogFile { path, rotate_bytes, backups } = settings.clone();
        let (file, bytes) = open_at_end(&path)?;
        Ok(Self { path, rotate_bytes, backups, file, bytes })
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = |number| numbered(&self.path, number);
        for number in (0..self.backups).rev() {
            match std::fs::rename(path(number), path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.backups == 0 {
            std::fs::remove_file(&self.path)?;
        }
        (self.file, self.bytes) = open_at_end(&self.path)?;
        Ok(())
    }
}

/// Opens the file for appending, and returns it with its length. Creates the file and its folder if they do not exist.
fn open_at_end(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(FILE_MODE).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

/// `path` for 0, otherwise `path.<number>`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

impl LogOutput for RotatingFile {
    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.bytes) = open_at_end(&self.path)?;
        Ok(())
    }
}

impl Write for RotatingFile {
    /// Writes one whole line, so that no line is split over two files.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes + length > self.rotate_bytes && self.rotate().is_err() {
            // Files in this folder cannot be renamed. A file that is too large is better than no log. The next try is after as many
            // bytes again.
            self.bytes = 0;
        }
        self.file.write_all(line)?;
        self.bytes += length;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn contents(folder: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    fn check(backups: usize, expected: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sc.log");
        std::fs::write(&path, "old-\n").unwrap();
        let mut file = RotatingFile::open(&LogFile { path, rotate_bytes: 10, backups }).unwrap();
        for line in ["aaa\n", "bbb\n", "a line longer than the file\n", "ccc\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        let expected: Vec<_> =
            expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(contents(folder.path()), expected);
    }

    #[test]
    fn rotates() {
        let last = "a line longer than the file\n";
        check(
            5,
            &[("sc.log", "ccc\n"), ("sc.log.1", last), ("sc.log.2", "bbb\n"), ("sc.log.3", "old-\naaa\n")],
        );
        check(1, &[("sc.log", "ccc\n"), ("sc.log.1", last)]);
        check(0, &[("sc.log", "ccc\n")]);
    }

    #[test]
    fn other_users_cannot_read_new_files_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/sc.log");
        let mut file =
            RotatingFile::open(&LogFile { path: path.clone(), rotate_bytes: 10, backups: 1 }).unwrap();
        let others = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o027;
        assert_eq!((others(&path), others(&folder.path().join("a/b"))), (0, 0));
        for _ in 0..2 {
            file.write_all(b"a long line\n").unwrap();
        }
        assert_eq!((others(&path), others(&numbered(&path, 1))), (0, 0));
        assert!(RotatingFile::open(&LogFile { path: path.join("x"), rotate_bytes: 10, backups: 1 }).is_err());
    }
}
