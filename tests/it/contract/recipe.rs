//! `docs/secured-cluster.md`, and the first section of `docs/operations.md`, followed to the letter: the tests take each command and each
//! file from the documents.
//!
//! | block | what the test does |
//! | --- | --- |
//! | `sh` | runs the commands in the reader's terminal; one that fails ends the test |
//! | `text` | compares what the block before it printed; `…` stands for any text |
//! | `sh root` | skips it: it installs packages |
//! | `sh in=FOLDER` | runs the command in a terminal of its own, in this folder, until the test ends |
//! | `ini file=PATH`, `yaml file=PATH` | writes the file |
//!
//! The addresses of the document become loopback addresses of the test.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::support::eventually::GENEROUS;
use crate::support::net::loopback;
use crate::support::process::Process;

const SECURED: &str = include_str!("../../../docs/secured-cluster.md");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");
/// The machines of the documents.
const ADDRESSES: [&str; 3] = ["10.12.0.1", "10.12.0.2", "10.12.0.4"];
/// Printed after each block, with its exit code. A block that fails ends the shell.
const END: &str = "-- the end of a block --";

/// The limit for one line of output. The commands of some blocks print theirs together, after some hundred requests.
const LINE: Duration = GENEROUS.saturating_mul(5);

/// A block of code: the words after the fence, and its lines.
struct Block {
    kind: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        blocks.push(Block { kind: kind.to_owned(), text: text.join("\n") });
    }
    blocks
}

/// The document with loopback addresses.
fn on_loopback(document: &str) -> String {
    ADDRESSES.iter().fold(document.to_owned(), |text, address| text.replace(address, &loopback().to_string()))
}

/// `PATH` with the built daemon, and with the folders where etcd may be.
fn path() -> String {
    let daemon = Path::new(env!("CARGO_BIN_EXE_service-center")).parent().unwrap().display();
    let local = Path::new(env!("CARGO_MANIFEST_DIR")).join(".local/bin");
    let (given, home) = (env::var("PATH").unwrap_or_default(), env::var("HOME").unwrap_or_default());
    format!("{daemon}:{given}:{}:{home}/.local/bin:/usr/local/bin:/usr/bin", local.display())
}

/// bash, without anything of this environment but `PATH`.
fn bash(folder: &Path) -> Command {
    let mut command = Command::new("bash");
    command.current_dir(folder).env_clear().env("PATH", path()).env("HOME", folder);
    command
}

/// The terminal in which the reader types.
struct Terminal<'f> {
    shell: Child,
    lines: Receiver<String>,
    folder: &'f Path,
}

impl<'f> Terminal<'f> {
    fn open(folder: &'f Path) -> Self {
        let errors = fs::File::create(folder.join("errors.log")).unwrap();
        let mut command = bash(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut shell = command.spawn().expect("bash starts");
        let output = BufReader::new(shell.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut terminal = Self { shell, lines, folder };
        terminal.run("set -e");
        terminal
    }

    /// What the commands print. Fails if one of them fails, or if a line takes too long.
    fn run(&mut self, commands: &str) -> String {
        writeln!(self.shell.stdin.as_ref().unwrap(), "{commands}\necho\necho '{END}'").unwrap();
        let mut output = String::new();
        loop {
            match self.lines.recv_timeout(LINE) {
                Ok(line) if line == END => return output.trim().to_owned(),
                Ok(line) => writeln!(output, "{line}").unwrap(),
                Err(why) => {
                    let errors = fs::read_to_string(self.folder.join("errors.log")).unwrap_or_default();
                    panic!("{why} in\n{commands}\nafter\n{output}\n{errors}");
                }
            }
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.shell.kill().expect("a child of ours can be killed");
        self.shell.wait().expect("a child of ours can be waited for");
    }
}

/// Whether a text is as the document shows it, where `…` stands for any text.
fn is_as_shown(text: &str, shown: &str) -> bool {
    let parts: Vec<&str> = shown.split('…').collect();
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    if parts.len() == 1 {
        return rest.is_empty();
    }
    for part in &parts[1..parts.len() - 1] {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// A document that is followed.
struct Followed<'f> {
    terminal: Terminal<'f>,
    /// The terminals of their own.
    others: Vec<Process>,
    /// How many outputs were compared with those in the document.
    compared: usize,
}

/// Does what the document says, in this folder.
fn follow<'f>(document: &str, folder: &'f Path) -> Followed<'f> {
    let mut followed = Followed { terminal: Terminal::open(folder), others: Vec::new(), compared: 0 };
    let mut printed = None;
    for Block { kind, text } in blocks(&on_loopback(document)) {
        match kind.split_once(' ').unwrap_or((&kind, "")) {
            ("sh", "") => printed = Some(followed.terminal.run(&text)),
            ("text", "") => {
                let printed = printed.take().expect("commands stand before what they print");
                assert!(is_as_shown(&printed, &text), "printed:\n{printed}\nshown:\n{text}");
                followed.compared += 1;
            }
            ("sh", "root") => {}
            ("sh", place) => {
                let folder = folder.join(place.strip_prefix("in=").expect("a folder"));
                let mut command = bash(&folder);
                command.arg("-c").arg(format!("exec {text}"));
                followed
                    .others
                    .push(Process::spawn(place, &mut command, &folder.join("output.log")).unwrap());
            }
            ("ini" | "yaml", file) => {
                let file = file.strip_prefix("file=").expect("a file");
                fs::write(folder.join(file), format!("{text}\n")).unwrap();
            }
            _ => panic!("the test does not know blocks of the kind {kind:?}"),
        }
    }
    followed
}

#[test]
fn the_recipe_of_a_secured_cluster_works_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let mut followed = follow(SECURED, folder.path());
    assert_eq!(
        (followed.others.len(), followed.compared),
        (3, 9),
        "processes, and outputs that the document shows"
    );
    // What the reader was told about secrets holds for what was logged meanwhile.
    let secrets = followed.terminal.run("printf '%s\\n' $ETCD_ROOT_PASSWORD $ETCD_PASSWORD $ROOT_PASSWORD $ORDERS_PASSWORD; cut -d' ' -f3 ./*.header");
    for process in &followed.others {
        for secret in secrets.lines() {
            assert!(!process.log().contains(secret), "{secret} was logged");
        }
    }
}

/// An archive of the form that `make dist` builds, with a link to the built daemon.
fn archive(folder: &Path) {
    let name = concat!("service-center-", env!("CARGO_PKG_VERSION"), "-linux-amd64");
    let content = tempfile::tempdir().unwrap();
    let top = content.path().join(name);
    fs::create_dir_all(top.join("conf")).unwrap();
    fs::create_dir(top.join("deploy")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_service-center"), top.join("service-center")).unwrap();
    std::os::unix::fs::symlink("service-center", top.join("scctl")).unwrap();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(project.join("conf/app.conf"), top.join("conf/app.conf")).unwrap();
    for folder in ["prometheus", "grafana"] {
        let link = top.join("deploy").join(folder);
        std::os::unix::fs::symlink(project.join("deploy").join(folder), link).unwrap();
    }
    let file = folder.join(format!("{name}.tar.gz"));
    let status = Command::new("tar").arg("-czf").arg(file).arg("-C").arg(content.path()).arg(name).status();
    assert!(status.unwrap().success());
}

#[test]
fn the_way_from_the_archive_to_a_monitored_cluster_works_as_it_stands() {
    let heading = "## From the archive to a monitored cluster";
    let section = OPERATIONS.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    archive(folder.path());
    let mut followed = follow(section, folder.path());
    assert_eq!(
        (followed.others.len(), followed.compared),
        (4, 8),
        "processes, and outputs that the document shows"
    );
    for node in followed.others.iter_mut().filter(|other| other.log().contains("listening on")) {
        assert_eq!(node.terminate(GENEROUS).unwrap().code(), Some(0), "{}", node.log());
    }
}

#[test]
fn what_is_shown_is_compared() {
    for (text, shown, is_same) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("abc", "…", true),
        ("abc", "a…c", true),
        ("abc", "a…b", false),
        ("{\"id\":\"17\",\"x\":1}", "{\"id\":\"…\",\"x\":…}", true),
        ("{\"id\":\"17\"}", "{\"id\":\"…\",\"x\":…}", false),
    ] {
        assert_eq!(is_as_shown(text, shown), is_same, "{text} {shown}");
    }
}
