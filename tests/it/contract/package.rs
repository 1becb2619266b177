//! The archive of `make dist`, here with the program under test: it is packed twice with the same bytes, and works as `docs/cluster.md` says.
//! `make dist-test` does the same with the release build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::eventually::GENEROUS;
use crate::support::process::Process;
use crate::support::script::ClusterScript;

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name))
}

/// Runs a script to its end. It must succeed.
#[track_caller]
fn succeeds(name: &str, command: &mut Command, folder: &Path) {
    let mut process = Process::spawn(name, command, &folder.join("output.log")).unwrap();
    let status = process.wait(5 * GENEROUS).unwrap();
    assert!(status.success(), "{name}: {status}\n{}", process.log());
}

/// Packs the program under test into this folder; the path of the archive.
fn packed(folder: &Path) -> PathBuf {
    let dist = folder.join("dist");
    let mut dist_sh = script("dist.sh");
    dist_sh
        .arg("archive")
        .env("SERVICE_CENTER", env!("CARGO_BIN_EXE_service-center"))
        .env("DIST_DIR", &dist)
        .env("SOURCE_DATE_EPOCH", "1795824000");
    succeeds("dist.sh", &mut dist_sh, folder);
    dist.join(concat!("service-center-", env!("CARGO_PKG_VERSION"), "-linux-amd64.tar.gz"))
}

#[test]
fn the_archive_leads_to_a_cluster() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [archive, again] = [&folders[0], &folders[1]].map(|folder| packed(folder.path()));
    assert!(fs::read(&archive).unwrap() == fs::read(again).unwrap(), "two runs make different archives");
    let mut dist_test = script("dist-test.sh");
    dist_test.arg(&archive).env("DIST_NET", ClusterScript::new(4).net());
    succeeds("dist-test.sh", &mut dist_test, folders[0].path());
}
