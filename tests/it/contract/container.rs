//! What a container relies on: `check-health`, which takes the place of curl in an image without one, and the variables of the
//! original's image.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::daemon::{Daemon, Installation, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};

/// The exit code and the output of `check-health` in the folder of a daemon.
fn check(installation: &Installation) -> (Option<i32>, String) {
    let finished = installation.run(&["check-health"]).unwrap();
    (finished.code, finished.output)
}

#[track_caller]
fn assert_says(installation: &Installation, code: i32, words: &str) {
    // A daemon that serves may be too slow for one check.
    let limit = if code == 0 { GENEROUS } else { Duration::ZERO };
    eventually(limit, || {
        let (found, output) = check(installation);
        let is_right = found == Some(code) && output.contains(words);
        if is_right { Ok(()) } else { Err(format!("{code} and {words:?}, not {found:?}: {output}")) }
    });
}

/// Injected: no daemon, and a daemon that is stopped and keeps its port open.
#[test]
fn check_health_says_whether_the_daemon_serves() {
    let installation = Installation::new(Settings::default()).unwrap();
    assert_says(&installation, 1, "does not answer: ");
    let mut daemon = Daemon::start_in(installation).unwrap();
    assert_says(daemon.installation(), 0, &format!("http://{} serves", daemon.address()));
    daemon.process().freeze();
    assert_says(daemon.installation(), 1, "does not answer: ");
    daemon.process().signal(Signal::CONT);
    assert_says(daemon.installation(), 0, " serves");
    let wrong = Installation::new(Settings::default().conf("registry.kind", "mongo")).unwrap();
    assert_says(&wrong, 64, "MongoDB is not supported");
}

/// Injected: another certificate in the file than the one that the daemon uses, and then no file. A restart would not help: the daemon would
/// not start. With `ssl.verifyClient` the daemon rejects the check, which
/// has no certificate; that it does so shows that it lives.
#[test]
fn check_health_does_not_depend_on_the_files_of_certificates() {
    for verify_client in ["0", "1"] {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let made = rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
        write("server.cer", &made.cert.pem());
        write("trust.cer", &made.cert.pem());
        write("server_key.pem", &made.signing_key.serialize_pem());
        let settings = Settings::default()
            .conf("ssl_mode", "1")
            .conf("ssl_verify_client", verify_client)
            .conf("ssl.dir", &folder.path().display().to_string());
        let mut daemon = Daemon::spawn(settings).unwrap();
        eventually(GENEROUS, || {
            assert_eq!(daemon.process().exit_status(), None);
            daemon.process().log().contains("listening on https://")
        });
        let words = if verify_client == "1" { "clients need a certificate" } else { " serves" };
        assert_says(daemon.installation(), 0, words);
        // The daemon keeps its old certificate, because this one does not belong to its key.
        let other = rcgen::generate_simple_self_signed(["node.test".to_owned()]).unwrap();
        write("server.cer", &other.cert.pem());
        assert_says(daemon.installation(), 0, words);
        std::fs::remove_file(folder.path().join("server.cer")).unwrap();
        assert_says(daemon.installation(), 0, words);
        daemon.process().freeze();
        assert_says(daemon.installation(), 1, "does not answer: ");
        daemon.process().signal(Signal::CONT);
    }
}

/// The container of the original sets these variables. A mounted `app.yaml` as the original ships it names another store.
#[test]
fn the_variables_of_the_original_image_are_honored() {
    let etcd = Etcd::start();
    let settings = Settings::default()
        .yaml("registry.kind", json!("embeded_etcd"))
        .yaml("log.file", json!("./service-center.log"))
        .environment("BACKEND_ADDRESS", &etcd.address().to_string())
        .environment("LOG_FILE", "")
        .environment("LOG_LEVEL", "DEBUG")
        .environment("gov_kie_endpoint", "http://kie:30110");
    let mut daemon = Daemon::start(settings).unwrap();
    assert!(!daemon.folder().join("data").exists(), "the store is etcd");
    assert!(!daemon.folder().join("service-center.log").exists(), "the log goes to standard output");
    eventually(GENEROUS, || {
        let log = daemon.process().log();
        if log.contains("listening on") { Ok(()) } else { Err(log) }
    });
    assert!(
        etcd.ctl(&["get", "--prefix", "--keys-only", "/cse-sr/inst/files/"]).contains("/default/default/")
    );
}
