//! What the daemon tells systemd, and what systemd thinks of the unit in `deploy/systemd`.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::net::free_address;

const UNIT: &str = "deploy/systemd/service-center.service";
const READINESS: &str = "/v4/default/registry/health/readiness";
const PING: &str = "WATCHDOG=1";

/// A service manager that listens.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(GENEROUS)).unwrap();
        Self { socket, folder }
    }

    /// What systemd sets for a service of `Type=notify` with `WatchdogSec`. The socket holds ten messages, so there is a ping a second only.
    fn settings(&self) -> Settings {
        let socket = self.folder.path().join("notify");
        Settings::default()
            .environment("NOTIFY_SOCKET", socket.to_str().unwrap())
            .environment("WATCHDOG_USEC", "4000000")
    }

    fn next(&self) -> String {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).expect("the daemon tells something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next that is no ping.
    fn next_state(&self) -> String {
        std::iter::repeat_with(|| self.next()).find(|message| message != PING).unwrap()
    }
}

#[test]
fn systemd_learns_when_the_daemon_serves_lives_reloads_and_stops() {
    let manager = Manager::listen();
    let mut daemon = Daemon::spawn(manager.settings()).unwrap();
    assert_eq!(manager.next(), "STATUS=waiting for the store");
    assert_eq!(manager.next(), "STATUS=listing the store");
    // Until then it says nothing else, and from then on it serves.
    assert_eq!(manager.next(), format!("READY=1\nSTATUS=listening on http://{}", daemon.address()));
    assert_eq!(daemon.client().get(READINESS).unwrap().status, 200);
    for _ in 0..4 {
        assert_eq!(manager.next(), PING);
    }
    daemon.process().signal(Signal::HUP);
    assert_eq!(manager.next_state(), "RELOADING=1");
    assert_eq!(manager.next_state(), "READY=1");
    eventually(GENEROUS, || daemon.process().log().contains("the log goes on here after SIGHUP"));
    daemon.process().signal(Signal::TERM);
    assert_eq!(manager.next_state(), "STOPPING=1\nSTATUS=finishing requests");
    assert_eq!(daemon.process().wait(GENEROUS).unwrap().code(), Some(0));
}

#[test]
fn a_daemon_that_waits_for_etcd_is_not_ready() {
    let manager = Manager::listen();
    let nobody = free_address().unwrap();
    let mut daemon = Daemon::spawn(manager.settings().conf("manager_cluster", &nobody.to_string())).unwrap();
    assert_eq!(manager.next(), "STATUS=waiting for the store");
    eventually(GENEROUS, || daemon.process().log().contains("etcd"));
    daemon.process().signal(Signal::HUP);
    eventually(GENEROUS, || daemon.process().log().contains("the log goes on here after SIGHUP"));
    daemon.process().signal(Signal::TERM);
    assert_eq!(manager.next(), "STOPPING=1\nSTATUS=finishing requests", "and nothing before");
    assert_eq!(daemon.process().wait(GENEROUS).unwrap().code(), Some(0));
}

/// Runs `systemd-analyze`. It must accept the unit. Returns what it prints.
#[track_caller]
fn analyzed(arguments: &[&str], unit: &Path) -> String {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).arg(unit).output().expect("systemd-analyze is there");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_confined() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join(UNIT);
    // It complains of a program that is not installed, so it gets the built one.
    let text = fs::read_to_string(&unit).unwrap();
    let installed = "ExecStart=/usr/bin/service-center ";
    assert!(text.contains(installed));
    let built = format!("ExecStart={} ", env!("CARGO_BIN_EXE_service-center"));
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("service-center.service");
    fs::write(&copy, text.replace(installed, &built)).unwrap();
    assert_eq!(analyzed(&["verify"], &copy), "", "it has no complaint");
    // 0 is a service that may do nothing, 100 one that may do everything.
    analyzed(&["security", "--offline=true", "--threshold=15"], &unit);
}

#[test]
fn the_unit_gives_a_stop_enough_time() {
    let unit = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(UNIT)).unwrap();
    let seconds = |key: &str| -> u64 {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_end_matches('s').parse().unwrap()
    };
    // The limits of `src/app/mod.rs`: unregister, drain, last heartbeats, last traces. Closing the store comes on top.
    assert!(seconds("TimeoutStopSec=") >= 2 * (3 + 4 + 3 + 2));
    assert!(seconds("WatchdogSec=") >= 20, "a turn may take three quarters of it");
}
