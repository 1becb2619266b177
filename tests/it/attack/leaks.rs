//! The other ways into and out of the process: the log, the files of the store, exports and imports.

use std::fs::{self, Permissions};
use std::io::{PipeWriter, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::{Value, json};

use super::comes_to_rest;
use crate::support::daemon::{Daemon, Finished, Installation, Settings};
use crate::support::etcd::Etcd;
use crate::support::etcd_keys::EtcdKeys;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::registry::{Freshness, Registry};
use crate::support::store::{Backing, Embedded, OwnEtcd, on_etcd};

/// Exit code when something outside the configuration is wrong (`EX_UNAVAILABLE`).
const UNAVAILABLE: Option<i32> = Some(69);

/// Clears a terminal, rings its bell, and reverses the direction of the text that follows.
const HOSTILE: &str = "\u{1b}[2J\u{7}\u{202e}";

fn stop(daemon: &mut Daemon) {
    assert_eq!(daemon.terminate(GENEROUS).unwrap().code(), Some(0));
}

/// Attack: escape sequences, a bell, bidirectional formatting and a forged line, in a configuration file (on each store) and in a key
/// that another client puts into etcd. The log shows them escaped, in both formats.
#[test]
fn nothing_in_the_log_moves_a_cursor_or_forges_a_line() {
    let etcd = Etcd::start();
    for format in ["text", "json"] {
        let settings =
            || Settings::default().conf("log_format", format).conf(&format!("server.hots{HOSTILE}"), "x");
        let embedded = Daemon::start(settings()).unwrap();
        let mut on_etcd = Daemon::start(on_etcd(settings(), &[etcd.address()])).unwrap();
        let forged = format!("/cse-sr/inst/files/{format}{HOSTILE}\n2026-01-01T00:00:00.000Z ERROR forged");
        EtcdKeys::of(&etcd).put(&forged, "x", 0);
        eventually(GENEROUS, || on_etcd.process().log().contains("skipped"));
        for mut daemon in [embedded, on_etcd] {
            let escaped = r"server.hots\u{1b}[2j\u{7}\u{202e}";
            let log = eventually(GENEROUS, || {
                let log = daemon.process().log();
                if log.to_lowercase().replace(r"\\", r"\").contains(escaped) { Ok(log) } else { Err(log) }
            });
            let unprintable = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{202a}'..='\u{202e}'));
            assert_eq!(log.chars().find(|c| unprintable(*c)), None, "{log:?}");
            let begins_well = |line: &str| match format {
                "json" => serde_json::from_str::<Value>(line).is_ok(),
                _ => line.contains(" service_center::"),
            };
            assert_eq!(log.lines().find(|line| !begins_well(line)), None, "{log}");
        }
    }
}

/// Writes into a pipe until it is full.
fn fill(pipe: &mut PipeWriter) {
    fcntl_setfl(&*pipe, OFlags::NONBLOCK).unwrap();
    while pipe.write(&[b'.'; 512]).is_ok() {}
    while pipe.write(b".").is_ok() {}
    fcntl_setfl(&*pipe, OFlags::empty()).unwrap();
}

/// The number of log lines that a daemon has dropped.
fn dropped(daemon: &Daemon) -> usize {
    daemon.metric("service_center_log_lines_dropped_total")
}

/// Attack: the standard output is a full pipe from the start, and nobody reads it, on each store. The daemon starts and serves. It keeps
/// 1 MiB of lines, drops and counts the others, and logs the number when somebody reads. It also stops while nobody reads.
#[test]
fn a_standard_output_that_nobody_reads_delays_nothing() {
    let etcd = OwnEtcd::start();
    for store in [&Embedded as &dyn Backing, &etcd] {
        let start = |settings: Settings| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            fill(&mut writer);
            let mut daemon = Daemon::spawn_onto(store.chosen_in(settings), writer.into()).unwrap();
            daemon.wait_ready().unwrap();
            (reader, daemon)
        };
        let (unread, mut daemon) = start(Settings::default());
        Registry::new(daemon.client(), "default").patient().create_service("orders", "1.0.0").unwrap();
        stop(&mut daemon);
        drop(unread);

        // At this level the HTTP library logs several lines for each connection.
        let (mut reader, mut daemon) = start(Settings::default().environment("RUST_LOG", "trace"));
        let registry = Registry::new(daemon.client(), "default").patient();
        registry.create_service("orders", "2.0.0").unwrap();
        let before = daemon.process().resident_memory();
        eventually(GENEROUS, || {
            (0..100).for_each(|_| drop(registry.services(Freshness::Cached).unwrap()));
            dropped(&daemon) > 2_000
        });
        let grown = daemon.process().resident_memory().saturating_sub(before);
        assert!(grown < 64 * 1024, "{grown} kB more for 1 MiB of lines");
        // The pipe is read from here on. The reader ends with the daemon.
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| String::from_utf8_lossy(&all).into_owned())
        });
        eventually(GENEROUS, || {
            registry.services(Freshness::Cached).unwrap();
            let before = dropped(&daemon);
            (0..10).for_each(|_| drop(registry.services(Freshness::Cached).unwrap()));
            dropped(&daemon) == before
        });
        stop(&mut daemon);
        let text = read.join().unwrap().unwrap();
        let told = text
            .lines()
            .filter_map(|line| line.split_once("log lines dropped because the output did not take them: "));
        let told: u64 = told.map(|(_, number)| number.parse::<u64>().unwrap()).sum();
        assert!(told > 2_000, "{told}");
        assert!(
            text.trim_end().ends_with("stopped") || text.contains(": stopped"),
            "the last line is written"
        );
    }
}

/// Attack: the standard output is a full pipe that does not block, as some supervisors leave it. The thread that writes the log
/// rests between its tries, so it uses next to no CPU time. When somebody reads the pipe, all lines are there.
#[test]
fn a_standard_output_that_does_not_block_costs_no_cpu_and_loses_nothing() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    fill(&mut writer);
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut stuck = Daemon::spawn_onto(Settings::default(), writer.into()).unwrap();
    stuck.wait_ready().unwrap();
    let registry = Registry::new(stuck.client(), "default");
    (0..100).for_each(|_| drop(registry.services(Freshness::Cached).unwrap()));
    comes_to_rest(&mut stuck);
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| String::from_utf8_lossy(&all).into_owned())
    });
    stop(&mut stuck);
    let text = read.join().unwrap().unwrap();
    let mut lines: Vec<&str> = text.trim_start_matches('.').lines().collect();
    // The only other line is of a busy machine.
    lines.retain(|line| {
        !(line.contains("Z WARN service_center::") && line.contains(": the embedded store stood still for "))
    });
    assert!(lines.iter().all(|line| line.contains("Z INFO service_center::")), "{lines:#?}");
    assert!(lines[0].contains(env!("CARGO_PKG_VERSION")), "{lines:#?}");
    assert!(lines.last().unwrap().ends_with(": stopped"), "{lines:#?}");
}

fn rights(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn give_rights(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The folder of the record of events.
    files.retain(|path| !path.is_dir());
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    files
}

/// Attack: another user of the machine reads new data, data of an earlier release, or an export.
#[test]
fn the_data_and_exports_are_closed_to_other_users() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    Registry::new(daemon.client(), "default").create_service("orders", "1.0.0").unwrap();
    let data = daemon.folder().join("data");
    let check = || {
        assert_eq!(rights(&data), 0o700);
        files_in(&data).iter().for_each(|file| assert_eq!(rights(file), 0o600, "{file:?}"));
    };
    check();
    stop(&mut daemon);
    let events = data.join("events");
    assert_eq!(rights(&events), 0o700);
    files_in(&events).iter().for_each(|file| assert_eq!(rights(file), 0o600, "{file:?}"));
    give_rights(&data, 0o755);
    files_in(&data).iter().for_each(|file| give_rights(file, 0o644));
    daemon.restart().unwrap();
    check();
    for told in ["data: the rights were 755 and are 700 now", "other users could read"] {
        eventually(GENEROUS, || daemon.process().log().contains(told));
    }
    stop(&mut daemon);
    let finished = daemon.installation().run(&["export", "--to", "out"]).unwrap();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(rights(&daemon.folder().join("out")), 0o600);
}

/// Attack: a folder in which every user may replace the files. The daemon refuses it with a message that says what to do, and leaves it
/// as it is.
#[test]
fn a_folder_that_everybody_may_write_into_is_refused() {
    let installation = Installation::new(Settings::default()).unwrap();
    let data = installation.folder().join("data");
    fs::create_dir(&data).unwrap();
    give_rights(&data, 0o1777);
    let finished = installation.run(&[]).unwrap();
    assert_eq!(finished.code, UNAVAILABLE, "{finished:?}");
    assert!(finished.output.contains("every user may replace the data in it (rights 1777)"), "{finished:?}");
    assert!(finished.output.contains("registry.embedded.dir"), "{finished:?}");
    assert_eq!((rights(&data), fs::read_dir(&data).unwrap().count()), (0o1777, 0));
}

/// Attack: each file of the store is replaced by a link to another file, and by a pipe. The daemon follows no link. Its start ends with a
/// message instead of waiting for the pipe, and the other file stays as it is.
#[test]
fn links_and_pipes_planted_among_the_data_are_refused() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    Registry::new(daemon.client(), "default").create_service("orders", "1.0.0").unwrap();
    stop(&mut daemon);
    let refuses = |file: &Path, word: &str| {
        let finished = daemon.installation().run(&[]).unwrap();
        assert_eq!(finished.code, UNAVAILABLE, "{file:?}: {finished:?}");
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(finished.output.contains(&format!("{name}: {word}")), "{file:?}: {finished:?}");
    };
    let elsewhere = daemon.folder().join("elsewhere");
    for file in files_in(&daemon.folder().join("data")) {
        let before = fs::read(&file).unwrap();
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        refuses(&file, "is a link");
        assert_eq!(fs::read(&elsewhere).unwrap(), before, "{file:?}");
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        refuses(&file, "is not a plain file");
        fs::rename(&elsewhere, &file).unwrap();
    }
    // The store would overwrite these files. It replaces the link, and the other file stays as it is.
    fs::write(&elsewhere, "precious").unwrap();
    for name in ["snapshot-00000000000000000001.unfinished", "log-00000000000000000002.unfinished"] {
        symlink(&elsewhere, daemon.folder().join("data").join(name)).unwrap();
    }
    daemon.restart().unwrap();
    Registry::new(daemon.client(), "default").create_service("orders", "2.0.0").unwrap();
    stop(&mut daemon);
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
}

/// Attack: another user has put a link at the path of an export.
#[test]
fn an_export_follows_no_link() {
    let installation = Installation::new(Settings::default()).unwrap();
    let target = installation.folder().join("target");
    symlink(&target, installation.folder().join("out")).unwrap();
    let finished = installation.run(&["export", "--to", "out"]).unwrap();
    assert_eq!(finished.code, UNAVAILABLE, "{finished:?}");
    assert!(finished.output.contains("out: File exists"), "{finished:?}");
    assert!(!target.exists());
}

const TENANT: &str = "default/default";
const HASH: &str = "63f4f9073f4cba5b0a8ff13a7c2e5208";

fn entry(key: &str, value: impl ToString) -> Value {
    json!({"key": format!("/cse-sr/{key}"), "value": value.to_string()})
}

fn leased(key: &str, value: impl ToString, lease: &str) -> Value {
    let mut entry = entry(key, value);
    entry["lease"] = json!(lease);
    entry["ttl"] = json!("120");
    entry
}

fn service(id: &str, name: &str) -> Value {
    json!({"serviceId": id, "appId": "default", "serviceName": name, "version": "1.0.0", "alias": "", "status": "UP"})
}

fn instance(id: &str) -> Value {
    json!({"instanceId": id, "serviceId": "s1", "hostName": "h", "endpoints": ["rest://10.0.0.7:80"], "status": "UP"})
}

fn partner(name: &str) -> Value {
    json!({"tenant": TENANT, "appId": "default", "serviceName": name, "version": "1.0.0"})
}

/// The entries of a registry that has one of everything. In the file they begin at line 2.
fn good() -> Vec<Value> {
    vec![
        leased(&format!("inst/files/{TENANT}/s1/i1"), instance("i1"), "7"),
        leased(&format!("inst/leases/{TENANT}/s1/i1"), "7", "7"),
        entry(&format!("ms/files/{TENANT}/s1"), service("s1", "orders")),
        entry(&format!("ms/files/{TENANT}/s2"), service("s2", "web")),
        entry(&format!("ms/indexes/{TENANT}//default/orders/1.0.0"), "s1"),
        entry(&format!("ms/indexes/{TENANT}//default/web/1.0.0"), "s2"),
        entry(&format!("ms/tags/{TENANT}/s1"), json!({"stage": "blue"})),
        entry(&format!("ms/schema-content/{TENANT}/{HASH}"), r#"{"swagger":"2.0"}"#),
        entry(&format!("ms/schema-ref/{TENANT}/s1/hello"), HASH),
        entry(&format!("ms/schema-sum/{TENANT}/s1/hello"), "abc"),
        entry(
            &format!("ms/dep-rules/{TENANT}/c//default/web/1.0.0"),
            json!({"Dependency": [partner("orders")]}),
        ),
        entry(
            &format!("ms/dep-rules/{TENANT}/p//default/orders/0.0.0+"),
            json!({"Dependency": [partner("web")]}),
        ),
        entry("domains/default", ""),
        entry(&format!("projects/{TENANT}"), ""),
    ]
}

fn file(entries: &[Value]) -> Vec<u8> {
    let header = json!({"format": 1}).to_string();
    let closing = json!({"entries": entries.len()}).to_string();
    let lines = [header].into_iter().chain(entries.iter().map(Value::to_string)).chain([closing]);
    lines.flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

fn import(into: &Installation, bytes: &[u8]) -> Finished {
    fs::write(into.folder().join("in"), bytes).unwrap();
    into.run(&["import", "--from", "in"]).unwrap()
}

/// Attack: files with one line that the API would refuse, or that does not fit the other lines. Each file is refused with the number of
/// that line, and nothing of it is written: afterwards the good file can be imported.
#[test]
fn an_import_takes_what_the_api_would_take_and_else_writes_nothing() {
    let added = |entry: Value| -> Vec<Value> { good().into_iter().chain([entry]).collect() };
    let changed = |at: usize, member: &str, value: &str| {
        let mut entries = good();
        entries[at][member] = json!(value);
        entries
    };
    let value = |at: usize, value: Value| changed(at, "value", &value.to_string());
    let with = |mut document: Value, member: &str, value: Value| {
        document[member] = value;
        document
    };
    let last = good().len() + 2;
    let named = |service_name: &str| partner(service_name);
    let of_tenant = |tenant: &str| with(partner("orders"), "tenant", json!(tenant));
    let request = |consumer: Value| json!({"consumer": consumer, "providers": [partner("orders")]});
    let queue = |consumer: Value| added(entry(&format!("ms/dep-queue/{TENANT}/s2/0"), request(consumer)));
    let attacks: Vec<(&str, Vec<Value>, usize, &str)> = vec![
        ("an unknown key", added(entry("rbac/secret", "{}")), last, "the registry has no key"),
        ("a lock", added(json!({"key": "/lock//dep-queue", "value": "x"})), last, "the registry has no key"),
        ("no key", added(json!({"value": "x"})), last, "the registry has no key"),
        (
            "a key too long",
            added(entry(&format!("ms/tags/{TENANT}/s1/x"), "{}")),
            last,
            "the registry has no key",
        ),
        ("the same key", added(good()[2].clone()), last, "occurs twice"),
        ("a tenant", added(entry("ms/tags/a b/default/s1", "{}")), last, "domain 'a b'"),
        ("a project", added(entry("projects/default/a\u{1b}b", "")), last, "project 'a"),
        ("a domain", added(entry("domains/a b", "")), last, "domain 'a b'"),
        ("no document", value(2, json!([])), 4, "expected an object"),
        ("another id", value(2, service("s9", "orders")), 4, "'serviceId' is 's9'"),
        ("a name", value(2, service("s1", "or ders")), 4, "MicroService.ServiceName"),
        (
            "a version",
            value(2, with(service("s1", "orders"), "version", json!("1.x"))),
            4,
            "MicroService.Version",
        ),
        ("a time", value(2, with(service("s1", "orders"), "timestamp", json!("now"))), 4, "Unix seconds"),
        (
            "a service that ends",
            {
                let mut entries = good();
                entries[2] = leased(&format!("ms/files/{TENANT}/s1"), service("s1", "orders"), "8");
                entries
            },
            4,
            "such an entry has no lease",
        ),
        ("an index of another", changed(4, "value", "s2"), 6, "has another name"),
        ("an index of nobody", changed(4, "value", "s3"), 6, "service 's3' is not in the file"),
        (
            "an alias",
            added(entry(&format!("ms/alias/{TENANT}//default/web/1.0.0"), "s1")),
            last,
            "another name",
        ),
        ("a tag", value(6, json!({"1st": "blue"})), 8, "AddServiceTagsRequest.Tags"),
        ("a tag of nobody", added(entry(&format!("ms/tags/{TENANT}/s3"), "{}")), last, "service 's3'"),
        ("a schema's text", changed(7, "value", "{}"), 10, "has another hash"),
        ("a hash", changed(8, "value", "../x"), 10, "not the hash"),
        ("a text that is missing", changed(8, "value", &HASH.replace('6', "0")), 10, "not in the file"),
        ("a summary", changed(9, "value", "a-b"), 11, "ModifySchemaRequest.Summary"),
        ("a partner", value(10, json!({"Dependency": [named("*")]})), 12, "Providers[0].ServiceName"),
        (
            "a partner's tenant",
            value(10, json!({"Dependency": [of_tenant("d")]})),
            12,
            "write domain/project",
        ),
        ("a consumer", value(11, json!({"Dependency": [named("")]})), 13, "Consumer.ServiceName"),
        (
            "a request of another tenant",
            queue(of_tenant("other/default")),
            last,
            "'tenant' is 'other/default'",
        ),
        ("a request", queue(named("w b")), last, "Consumer.ServiceName"),
        (
            "a status",
            value(0, with(instance("i1"), "status", json!("GONE"))),
            2,
            "MicroServiceInstance.Status",
        ),
        ("an endpoint", value(0, with(instance("i1"), "endpoints", json!([" "]))), 2, "Endpoints[0]"),
        ("another instance", value(0, instance("i2")), 2, "'instanceId' is 'i2'"),
        (
            "an instance of nobody",
            {
                let mut of_nobody = instance("i1");
                of_nobody["serviceId"] = json!("s3");
                added(leased(&format!("inst/files/{TENANT}/s3/i1"), of_nobody, "8"))
            },
            last,
            "service 's3'",
        ),
        (
            "a lease of nobody",
            added(leased(&format!("inst/leases/{TENANT}/s1/i2"), "8", "8")),
            last,
            "not in the file",
        ),
        (
            "a lease for two",
            added(leased(&format!("inst/files/{TENANT}/s1/i2"), instance("i2"), "7")),
            last,
            "lease 7",
        ),
        ("no lease", changed(0, "lease", ""), 2, "'ttl' is given without 'lease'"),
        (
            "an instance for ever",
            added(entry(&format!("inst/files/{TENANT}/s1/i2"), instance("i2"))),
            last,
            "'lease' is missing",
        ),
        ("a lease", changed(0, "lease", "-7"), 2, "'lease' is '-7'"),
        ("no time", changed(0, "ttl", "0"), 2, "'ttl' is '0'"),
        ("endless", changed(0, "ttl", "9000000001"), 2, "'ttl' is '9000000001'"),
        ("hex", changed(6, "hex", "7b7d"), 8, "both 'value' and 'hex'"),
        (
            "no text",
            added(json!({"key": format!("/cse-sr/ms/tags/{TENANT}/s2"), "hex": "ff"})),
            last,
            "not text",
        ),
        ("a large value", changed(7, "value", &"x".repeat(1_600_000)), 9, "a store takes"),
        ("a long line", changed(7, "value", &"x".repeat(11_000_000)), 9, "the line is longer than"),
    ];
    let broken: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no JSON", [&file(&good())[..15], b"}{\n"].concat(), "in:2:"),
        (
            "no UTF-8",
            b"{\"format\":1}\n{\"key\":\"\xc0\xaf\"}\n{\"entries\":1}\n".to_vec(),
            "in:2: the line is not valid UTF-8",
        ),
    ];
    let etcd = OwnEtcd::start();
    for store in [&Embedded as &dyn Backing, &etcd] {
        let target = Installation::new(store.chosen_in(Settings::default())).unwrap();
        let refuses = |what: &str, bytes: &[u8], words: &[&str]| {
            let finished = import(&target, bytes);
            assert_eq!(finished.code, UNAVAILABLE, "{what} on {}: {finished:?}", store.name());
            for word in words {
                assert!(
                    finished.output.contains(word),
                    "{what} on {}: no '{word}': {finished:?}",
                    store.name()
                );
            }
        };
        for (what, entries, line, word) in &attacks {
            refuses(
                what,
                &file(entries),
                &[&format!("in:{line}: "), word, "1 mistake(s), nothing was imported"],
            );
        }
        for (what, bytes, word) in &broken {
            refuses(what, bytes, &[word, "nothing was imported"]);
        }
        let mut many = good();
        many.iter_mut().for_each(|entry| entry["ttl"] = json!("x"));
        refuses("many", &file(&many), &["in:2: ", "in:15: ", "14 mistake(s)"]);
        let imported = import(&target, &file(&good()));
        assert_eq!(imported.code, Some(0), "{imported:?}");
        assert!(imported.output.contains("14 entries imported"), "{imported:?}");
    }
}

/// An import writes the checked documents. Members that the API does not know are not written.
#[test]
fn an_import_writes_documents_as_the_api_writes_them() {
    let target = Installation::new(Settings::default()).unwrap();
    let mut entries = good();
    let mut document = service("s1", "orders");
    document["unknown"] = json!("x");
    entries[2]["value"] = json!(format!("{{\"SERVICENAME\":\"other\",{}", &document.to_string()[1..]));
    let imported = import(&target, &file(&entries));
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let exported = target.run(&["export", "--to", "out"]).unwrap();
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let text = fs::read_to_string(target.folder().join("out")).unwrap();
    let line = text.lines().find(|line| line.contains("/ms/files/default/default/s1")).unwrap();
    assert!(line.contains("orders") && !line.contains("other") && !line.contains("unknown"), "{line}");
}

/// An export leaves out entries that this server does not know (a key of the original that nothing uses) and says so, so that the file can be imported.
/// It also names an entry that an import would refuse.
#[test]
fn an_export_says_what_it_leaves_out_and_what_no_import_takes() {
    let etcd = Etcd::start();
    let keys = EtcdKeys::of(&etcd);
    keys.put("/cse-sr/rbac/secret", "{}", 0);
    keys.put("/cse-sr/ms/tags/default/default/gone", "{}", 0);
    let installation = Installation::new(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let exported = installation.run(&["export", "--to", "out"]).unwrap();
    assert_eq!(exported.code, Some(0), "{exported:?}");
    for words in [
        "entries left out of the export, because no import takes them: 1; the first is '/cse-sr/rbac/secret'",
        "an import of this file will fail: out:2: '/cse-sr/ms/tags/default/default/gone': service 'gone' is not in the file",
    ] {
        assert!(exported.output.contains(words), "{exported:?}");
    }
}
