//! The folder of the embedded store under real daemons. One process uses it at a time. If it cannot be read, the daemon does not
//! start with an empty registry.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::daemon::{Daemon, Finished, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::Request;
use crate::support::registry::{Freshness, Instance, Registry};

/// Exit code when something outside the configuration is wrong (`EX_UNAVAILABLE`).
const UNAVAILABLE: Option<i32> = Some(69);
/// Offset of the format number in a file.
const FORMAT_OFFSET: usize = 8;

/// A daemon with a service that has 20 instances; its registry, and the id of the service.
fn filled() -> (Daemon, Registry, String) {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let registry = Registry::new(daemon.client(), "default");
    let service = registry.create_service("orders", "1.0.0").unwrap();
    for number in 0..20 {
        registry.register(&service, &Instance::named(&format!("i{number:02}"))).unwrap();
    }
    (daemon, registry, service)
}

/// The only file of the folder whose name has this prefix.
fn file(data: &Path, prefix: &str) -> PathBuf {
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(prefix);
    let mut found: Vec<PathBuf> =
        fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path()).filter(named).collect();
    assert_eq!(found.len(), 1, "{prefix}: {found:?}");
    found.remove(0)
}

/// Injected: a second process on the folder of a running daemon, as a daemon and as a command. It is refused with a message that
/// names the folder and the process that uses it. The first daemon goes on, and has everything after a restart.
#[test]
fn a_second_process_on_the_folder_is_refused() {
    let (mut daemon, registry, service) = filled();
    let holder = format!("(process {})", daemon.process().id());
    let installation = daemon.installation();
    for arguments in [&["--httpport=1"][..], &["export", "--to", "x"], &["import", "--from", "x"]] {
        let refused = installation.run(arguments).unwrap();
        assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
        let line = refused.output.lines().find(|line| line.contains("in use by another service-center"));
        let line = line.unwrap_or_else(|| panic!("{arguments:?}: {}", refused.output));
        assert!(line.contains("./data") && line.contains(&holder), "{line}");
        assert!(line.contains("stop it or choose another folder"), "what to do: {line}");
    }
    registry.register(&service, &Instance::named("later")).unwrap();
    daemon.kill9();
    daemon.restart().unwrap();
    assert_eq!(registry.list(&service, Freshness::Fresh).unwrap().len(), 21);
}

/// The output of a daemon that refuses to start with this damaged file. The file must stay as it is.
fn refusal(daemon: &Daemon, damaged: &Path, contents: &[u8]) -> Finished {
    fs::write(damaged, contents).unwrap();
    for arguments in [&["export", "--to", "x"][..], &[]] {
        let refused = daemon.installation().run(arguments).unwrap();
        assert_eq!(refused.code, UNAVAILABLE, "{arguments:?}: {refused:?}");
        let name = damaged.file_name().unwrap().to_string_lossy();
        assert!(refused.output.contains(&*name), "the file is named: {}", refused.output);
        assert!(!refused.output.contains("listening on"), "{}", refused.output);
        assert_eq!(fs::read(damaged).unwrap(), contents, "and left as it is");
        if arguments.is_empty() {
            return refused;
        }
    }
    unreachable!("the last run is the daemon's")
}

/// Injected: one byte in the middle of the log of a killed daemon is changed. Every start is refused with a message that names the
/// file, the place, and what to do. When the byte is restored, everything is there again.
#[test]
fn a_damaged_log_is_refused_and_never_an_empty_registry() {
    let (mut daemon, registry, service) = filled();
    daemon.kill9();
    let log = file(&daemon.folder().join("data"), "log-");
    let good = fs::read(&log).unwrap();
    for at in [good.len() / 4, good.len() / 2, good.len() / 2 + 1, good.len() * 3 / 4] {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        let refused = refusal(&daemon, &log, &damaged);
        assert!(refused.output.contains("damaged at byte"), "{}", refused.output);
        assert!(refused.output.contains("restore the folder from a copy"), "{}", refused.output);
    }
    fs::write(&log, &good).unwrap();
    daemon.restart().unwrap();
    assert_eq!(registry.list(&service, Freshness::Fresh).unwrap().len(), 20);
}

/// Injected: the log is removed, and the identity stays. The daemon does not take the folder for a new store.
#[test]
fn a_missing_log_is_no_new_registry() {
    let (mut daemon, ..) = filled();
    daemon.kill9();
    let log = file(&daemon.folder().join("data"), "log-");
    fs::remove_file(&log).unwrap();
    let refused = daemon.installation().run(&[]).unwrap();
    assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
    assert!(refused.output.contains("missing") && refused.output.contains("./data"), "{}", refused.output);
    assert!(!log.exists(), "nothing was begun in its place");
}

/// Injected: another format number in each file that has one.
#[test]
fn another_format_is_refused_with_what_to_do() {
    let (mut daemon, registry, service) = filled();
    daemon.kill9();
    for prefix in ["log-", "identity"] {
        let path = file(&daemon.folder().join("data"), prefix);
        let good = fs::read(&path).unwrap();
        let mut other = good.clone();
        other[FORMAT_OFFSET] += 1;
        let refused = refusal(&daemon, &path, &other);
        assert!(
            refused.output.contains("written in format 2, but this version knows format 1"),
            "{}",
            refused.output
        );
        assert!(refused.output.contains("start the version that wrote it"), "{}", refused.output);
        fs::write(&path, &good).unwrap();
    }
    daemon.restart().unwrap();
    assert_eq!(registry.list(&service, Freshness::Fresh).unwrap().len(), 20);
}

/// Injected: the log ends in the middle of a record, as after the death of the process. The daemon cuts the log before that record and
/// logs a warning. All earlier records are there.
#[test]
fn a_torn_end_is_cut_and_everything_before_is_there() {
    let (mut daemon, registry, service) = filled();
    daemon.kill9();
    let log = file(&daemon.folder().join("data"), "log-");
    let good = fs::read(&log).unwrap();
    for (round, tail) in (1..).zip([&good[good.len() / 2..good.len() / 2 + 100], &[0; 37][..]]) {
        fs::write(&log, [&good, tail].concat()).unwrap();
        daemon.restart().unwrap();
        let answer = daemon.client().send(&Request::new("GET", "/v4/default/registry/health")).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(registry.list(&service, Freshness::Fresh).unwrap().len(), 20);
        eventually(GENEROUS, || daemon.process().log().matches("cut a torn end at byte").count() == round);
        daemon.kill9();
    }
}
