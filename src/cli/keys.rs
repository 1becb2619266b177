//! `keys`: makes the pair of RSA keys that accounts need, so that a machine without `openssl` can have one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::terminal::Terminal;
use crate::app::EXIT_UNAVAILABLE;
use crate::rbac::key_pair::{self, GENERATED_BITS, GeneratedPair};

const PRIVATE: &str = "private.key";
const PUBLIC: &str = "public.key";

/// Makes a pair and writes it to the folder. Returns the exit code.
pub(super) fn create(folder: &Path, terminal: &mut Terminal<'_>) -> u8 {
    let (private, public) = (folder.join(PRIVATE), folder.join(PUBLIC));
    // Making keys takes seconds. `write` also overwrites nothing, if a file appears meanwhile.
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            terminal.complain(&exists(path));
            return EXIT_UNAVAILABLE;
        }
    }
    let pair = match key_pair::generate(GENERATED_BITS) {
        Ok(pair) => pair,
        Err(error) => {
            terminal.complain(&error.to_string());
            return EXIT_UNAVAILABLE;
        }
    };
    match write(&pair, folder) {
        Ok(()) => {
            terminal.say(&format!("{}: signs tokens; keep it secret", private.display()));
            terminal.say(&format!("{}: verifies tokens", public.display()));
            terminal.say(
                "every node needs both files: copy them, and set rbac.privateKeyFile and rbac.publicKeyFile to their paths",
            );
            0
        }
        Err(error) => {
            terminal.complain(&error);
            EXIT_UNAVAILABLE
        }
    }
}

fn exists(path: &Path) -> String {
    format!(
        "{}: the file exists; nothing is overwritten: name another folder, or move the file away",
        path.display()
    )
}

/// Writes both files, or none.
fn write(pair: &GeneratedPair, folder: &Path) -> Result<(), String> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (private, public) = (folder.join(PRIVATE), folder.join(PUBLIC));
    write_new(&private, &pair.private)?;
    write_new(&public, &pair.public).inspect_err(|_| remove(&private))
}

/// Writes a file that only its owner may read. Overwrites nothing.
pub(super) fn write_new(path: &PathBuf, text: &str) -> Result<(), String> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => format!("{}: {error}", path.display()),
    })?;
    fill(file, text).map_err(|error| {
        remove(path);
        format!("{}: {error}", path.display())
    })
}

fn fill(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Removes a file that this run has made. If it cannot be removed, the error that is reported anyway matters more.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;
    use crate::rbac::KeyPair;

    fn run(folder: &Path) -> (u8, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = create(folder, &mut Terminal::new(&mut out, &mut err));
        out.append(&mut err);
        (code, String::from_utf8(out).unwrap())
    }

    fn pair() -> GeneratedPair {
        GeneratedPair { private: "private".to_owned(), public: "public".to_owned() }
    }

    /// One run with keys of the real size.
    #[test]
    fn made_keys_can_be_used() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/b");
        let (code, said) = run(&folder);
        assert_eq!(code, 0, "{said}");
        let (private, public) = (folder.join(PRIVATE), folder.join(PUBLIC));
        assert!(
            said.contains(&private.display().to_string()) && said.contains(&public.display().to_string())
        );
        let text = fs::read_to_string(&private).unwrap();
        assert!(
            text.starts_with("-----BEGIN RSA PRIVATE KEY-----\n")
                && text.ends_with("-----END RSA PRIVATE KEY-----\n")
        );
        assert!(fs::read_to_string(&public).unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));
        KeyPair::load(&private, &public).unwrap();
        #[cfg(unix)]
        for path in [private, public] {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        for name in [PRIVATE, PUBLIC] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), "old").unwrap();
            let (code, said) = run(folder.path());
            assert_eq!(code, EXIT_UNAVAILABLE);
            assert!(said.contains(name) && said.contains("nothing is overwritten"), "{said}");
            assert!(write(&pair(), folder.path()).unwrap_err().contains("nothing is overwritten"));
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "old");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no half of a pair is left");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(write(&pair(), &file.join("keys")).unwrap_err().contains("file"));
    }
}
