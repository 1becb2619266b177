//! Attacks on a running daemon: hostile and careless requests, with bounds on the memory and the CPU time that they cost.
//!
//! A bound follows from the configured limits, not from the speed of the machine. Each file holds one class of attacks.
//! `docs/security.md` lists them.

mod answers;
mod browsers;
mod connections;
mod dependencies;
mod ids;
mod leaks;
mod nodes;
mod objects;
mod paths;
mod rates;
mod schemas;
mod secrets;
mod wire;
mod withdrawn;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::store::{Backing, Embedded, OwnEtcd};

/// Runs a check with a daemon on each store.
fn on_both_stores(settings: &Settings, check: impl Fn(Daemon, &dyn Backing)) {
    check(Daemon::start(Embedded.chosen_in(settings.clone())).unwrap(), &Embedded);
    let etcd = OwnEtcd::start();
    check(Daemon::start(etcd.chosen_in(settings.clone())).unwrap(), &etcd);
}

/// The keys and values of the registry, by an export. The daemon is stopped for it.
fn exported(daemon: &mut Daemon) -> Vec<(String, String)> {
    assert!(daemon.terminate(GENEROUS).unwrap().success());
    let file = daemon.folder().join("export");
    let finished = daemon.installation().run(&["export", "--to", file.to_str().unwrap()]).unwrap();
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    let exported = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let lines = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |entry: &Value, member: &str| entry[member].as_str().map(str::to_owned);
    lines
        .filter_map(|entry| Some((text(&entry, "key")?, text(&entry, "value").unwrap_or_default())))
        .collect()
}

/// Bytes of all files in a folder. A file that is gone by now has none.
fn size(folder: &Path) -> usize {
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    let files = files.flatten().filter_map(|file| file.metadata().ok());
    files.map(|file| usize::try_from(file.len()).unwrap()).sum()
}

/// Waits until the daemon has nothing left to do: it uses next to no CPU time for 25 looks in a row. A task that wakes itself uses
/// all the CPU time it gets, which is many times as much. What a node does by the clock stays below the bound.
fn comes_to_rest(daemon: &mut Daemon) {
    const LOOKS: usize = 25;
    const NEXT_TO_NONE: Duration = Duration::from_millis(40);
    let (mut looks, mut since) = (0, daemon.process().cpu_time());
    eventually(GENEROUS, || {
        let used = daemon.process().cpu_time();
        (looks, since) = if used - since > NEXT_TO_NONE { (0, used) } else { (looks + 1, since) };
        if looks == LOOKS {
            Ok(())
        } else {
            Err(format!("the daemon still works: {used:?} of CPU time so far"))
        }
    });
}
