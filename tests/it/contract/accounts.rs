//! The start with accounts: keys, built-in roles, the account `root`. What is in the store is read by an export, or from etcd.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use service_center::rbac::key_pair::{GeneratedPair, generate};
use service_center::rbac::password;

use crate::support::daemon::{Daemon, Finished, Installation, Settings};
use crate::support::etcd::Etcd;
use crate::support::store::on_etcd;

/// The configuration is wrong (`EX_USAGE`).
const USAGE: Option<i32> = Some(64);
const PASSWORD: &str = "Golden#Pwd1";
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Two pairs of keys. The size is the smallest that is allowed, because making keys takes time.
fn keys() -> &'static [GeneratedPair; 2] {
    static KEYS: OnceLock<[GeneratedPair; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [(); 2].map(|()| generate(2048).unwrap()))
}

fn with_accounts(password: &str) -> Settings {
    let settings = Settings::default().yaml("rbac.enable", json!(true));
    if password.is_empty() { settings } else { settings.environment("SC_INIT_ROOT_PASSWORD", password) }
}

/// A folder with these keys.
fn installed(settings: Settings, private: &str, public: &str) -> Installation {
    Installation::new(settings.file("private.key", private).file("public.key", public)).unwrap()
}

fn good(settings: Settings) -> Installation {
    let pair = &keys()[0];
    installed(settings, &pair.private, &pair.public)
}

/// What an export holds, by key, and its text.
fn exported(installation: &Installation, name: &str) -> (BTreeMap<String, String>, String) {
    let path = installation.folder().join(name);
    let done = installation.run(&["export", "--to", path.to_str().unwrap()]).unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!done.output.contains("left out") && !done.output.contains("will fail"), "{done:?}");
    (entries(&path), fs::read_to_string(&path).unwrap())
}

fn entries(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |line: &Value, member: &str| line[member].as_str().unwrap_or_default().to_owned();
    let entries = lines.filter(|line| line["key"].is_string());
    entries.map(|line| (text(&line, "key"), text(&line, "value"))).collect()
}

fn about_accounts(entries: &BTreeMap<String, String>) -> Vec<&str> {
    let trees = ["/cse-sr/accounts/", "/cse-sr/roles/", "/cse-sr/idx-role-account/", "/cse-sr/role-migrated"];
    entries.keys().map(String::as_str).filter(|key| trees.iter().any(|tree| key.starts_with(tree))).collect()
}

fn stop(daemon: &mut Daemon) {
    assert!(daemon.terminate(STOP_LIMIT).unwrap().success());
}

const WRITTEN: [&str; 5] = [
    "/cse-sr/accounts/root",
    "/cse-sr/idx-role-account/admin/root",
    "/cse-sr/role-migrated",
    "/cse-sr/roles/admin",
    "/cse-sr/roles/developer",
];

#[test]
fn the_first_start_writes_roles_and_root_and_later_starts_nothing() {
    let mut daemon = Daemon::start_in(good(with_accounts(PASSWORD))).unwrap();
    stop(&mut daemon);
    let (first, text) = exported(daemon.installation(), "first");
    assert_eq!(about_accounts(&first), WRITTEN);
    let root: Value = serde_json::from_str(&first["/cse-sr/accounts/root"]).unwrap();
    assert_eq!((&root["roles"], &root["status"]), (&json!(["admin"]), &json!("active")));
    assert!(password::verify(root["password"].as_str(), PASSWORD));
    assert!(!text.contains(PASSWORD) && !daemon.process().log().contains(PASSWORD));

    // Another password changes nothing, not even one that is too weak.
    let folder = daemon.folder();
    let other =
        good(with_accounts("weak").conf("registry_embedded_dir", folder.join("data").to_str().unwrap()));
    let mut later = Daemon::start_in(other).unwrap();
    stop(&mut later);
    let (second, _) = exported(later.installation(), "second");
    for key in WRITTEN {
        assert_eq!(first[key], second[key], "{key}");
    }

    // Accounts and roles go through a file into an empty store.
    let restored = Installation::new(Settings::default()).unwrap();
    let file = daemon.folder().join("first");
    let imported = restored.run(&["import", "--from", file.to_str().unwrap()]).unwrap();
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert_eq!(exported(&restored, "third").0, first);
}

#[test]
fn an_import_takes_only_accounts_and_roles_that_the_api_would_write() {
    let mut daemon = Daemon::start_in(good(with_accounts(PASSWORD))).unwrap();
    stop(&mut daemon);
    let (written, text) = exported(daemon.installation(), "export");
    let hash = serde_json::from_str::<Value>(&written["/cse-sr/accounts/root"]).unwrap()["password"].clone();
    for (from, to, part) in [
        (hash.as_str().unwrap(), "Plain#Text1", "'password' is not the hash of a password"),
        (r#"\"roles\":[\"admin\"]"#, r#"\"roles\":[\"other\"]"#, "role 'other' is not in the file"),
        (r#"\"roles\":[\"admin\"]"#, r#"\"roles\":[]"#, "Account.Roles"),
        (r#"\"status\":\"active\""#, r#"\"status\":\"x\""#, "Account.Status"),
        (r#"\"name\":\"developer\""#, r#"\"name\":\"a b\""#, "'name' is 'a b'"),
        ("/cse-sr/roles/developer", "/cse-sr/roles/a/b", "no key of this form"),
        ("idx-role-account/admin/root", "idx-role-account/developer/root", "no account of this name"),
        (r#""value":"true""#, r#""value":"false""#, "'value' is 'false'"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let empty = Installation::new(Settings::default()).unwrap();
        let file = empty.folder().join("changed");
        fs::write(&file, changed).unwrap();
        let refused = empty.run(&["import", "--from", file.to_str().unwrap()]).unwrap();
        assert_eq!(refused.code, Some(69), "{refused:?}");
        assert!(refused.output.contains(part), "{part}: {refused:?}");
        assert!(!refused.output.contains("Plain#Text1"), "{refused:?}");
    }
}

#[test]
fn without_root_and_without_its_password_there_is_a_warning() {
    let mut daemon = Daemon::start_in(good(with_accounts(""))).unwrap();
    stop(&mut daemon);
    let log = daemon.process().log();
    assert!(log.contains("there is no account \"root\"") && log.contains("SC_INIT_ROOT_PASSWORD"), "{log}");
    let (written, _) = exported(daemon.installation(), "export");
    assert_eq!(about_accounts(&written), WRITTEN[2..]);
}

fn refused(installation: &Installation, parts: &[&str]) {
    let Finished { code, output } = installation.run(&[]).unwrap();
    assert_eq!(code, USAGE, "{output}");
    let line = output.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line.is_some(), "one line has {parts:?}: {output}");
    assert!(!output.contains("listening on"), "{output}");
    for secret in ["PRIVATE KEY-", "weak-Root", "MII"] {
        assert!(!output.contains(secret), "{output}");
    }
}

#[test]
fn mistakes_in_keys_and_password_stop_the_start() {
    let [pair, other] = keys();
    let settings = || with_accounts(PASSWORD);
    refused(&Installation::new(settings()).unwrap(), &["private.key", "service-center keys"]);
    refused(&installed(settings(), "no key", &pair.public), &["private.key", "PEM"]);
    refused(&installed(settings(), &pair.private, &other.public), &["public.key is not the public key of"]);
    let missing = good(settings());
    fs::remove_file(missing.folder().join("public.key")).unwrap();
    refused(&missing, &["public.key"]);
    for weak in ["weak-Root", "root"] {
        refused(&good(with_accounts(weak)), &["SC_INIT_ROOT_PASSWORD", "8 to 32 bytes"]);
    }
}

#[test]
fn nodes_that_start_at_once_write_one_root() {
    let etcd = Etcd::start();
    let mut nodes: Vec<Daemon> = (0..3)
        .map(|_| {
            let settings = on_etcd(with_accounts(PASSWORD), &[etcd.address()]);
            let installation = good(settings);
            std::thread::spawn(move || Daemon::start_in(installation).unwrap())
        })
        .collect::<Vec<_>>()
        .into_iter()
        .map(|node| node.join().unwrap())
        .collect();
    let keys = etcd.ctl(&["get", "--prefix", "--keys-only", "/cse-sr/"]);
    let found: Vec<&str> = keys.lines().filter(|key| WRITTEN.contains(key)).collect();
    assert_eq!(found, WRITTEN);
    let root = etcd.ctl(&["get", "--write-out=json", "/cse-sr/accounts/root"]);
    assert!(root.contains("\"version\":1"), "it was written once: {root}");
    assert_eq!(etcd.ctl(&["get", "--print-value-only", "/cse-sr/idx-role-account/admin/root"]).trim(), "");
    nodes.iter_mut().for_each(stop);
}
