//! `export` and `import`: from a store to a file to another store, with real daemons on both.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::daemon::{Daemon, Finished, Installation, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::GENEROUS;
use crate::support::http::{Request, Response};
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::store::on_etcd;

/// Exit code when something outside the configuration is wrong (`EX_UNAVAILABLE`).
const UNAVAILABLE: Option<i32> = Some(69);

/// A file for an export, in a folder that is removed when this is dropped.
struct ExportFile {
    _folder: TempDir,
    path: PathBuf,
}

impl ExportFile {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.export");
        Self { _folder: folder, path }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn export(from: &Installation, to: &ExportFile) -> Finished {
    from.run(&["export", "--to", to.text()]).unwrap()
}

fn import(into: &Installation, from: &ExportFile) -> Finished {
    into.run(&["import", "--from", from.text()]).unwrap()
}

fn send(daemon: &Daemon, request: &Request) -> Response {
    let response = daemon.client().send(request).unwrap();
    assert_eq!(response.status, 200, "{}: {}", request.target, response.text());
    response
}

/// Fills a registry with one of everything: services, instances with given ids, replaced statuses and properties, tags, a schema, a
/// dependency, and another tenant.
struct Filled {
    provider: String,
    consumer: String,
}

const BASE: &str = "/v4/default/registry";

fn fill(daemon: &Daemon) -> Filled {
    let registry = Registry::new(daemon.client(), "default");
    let provider = registry.create_service("orders", "1.0.0").unwrap();
    let consumer = registry.create_service("web", "1.0.0").unwrap();
    for id in ["one", "two"] {
        registry.register(&provider, &Instance::named(id)).unwrap();
    }
    registry.set_status(&provider, "two", "DOWN").unwrap();
    let properties = json!({"properties": {"weight": "0"}});
    let target = format!("{BASE}/microservices/{provider}/instances/one/properties");
    send(daemon, &Request::new("PUT", &target).json(&properties));
    let tags = json!({"tags": {"stage": "blue", "zone": "z-1"}});
    send(daemon, &Request::new("POST", &format!("{BASE}/microservices/{provider}/tags")).json(&tags));
    let schema = json!({"schema": "swagger: \"2.0\"\n# line two\n", "summary": "s"});
    send(
        daemon,
        &Request::new("PUT", &format!("{BASE}/microservices/{provider}/schemas/hello")).json(&schema),
    );
    registry.depend(&consumer, "orders", &provider);
    let elsewhere = Registry::new(daemon.client(), "elsewhere");
    elsewhere.create_service_as("own-id", "orders", "2.0.0").unwrap();
    Filled { provider, consumer }
}

/// The answers that show a client everything that [`fill`] has written.
fn seen(daemon: &Daemon, filled: &Filled) -> BTreeMap<String, Value> {
    let Filled { provider, consumer } = filled;
    let targets = [
        format!("{BASE}/microservices?noCache=1"),
        format!("{BASE}/microservices/{provider}/tags?noCache=1"),
        format!("{BASE}/microservices/{provider}/schemas?withSchema=1&noCache=1"),
        format!("{BASE}/microservices/{consumer}/providers?noCache=1"),
        format!("{BASE}/microservices/{provider}/consumers?noCache=1"),
        "/v4/elsewhere/registry/microservices?noCache=1".to_owned(),
        format!("{BASE}/microservices/{provider}/instances?noCache=1"),
    ];
    let ask = |target: &String| {
        let request = Request::new("GET", target).header("X-ConsumerId", consumer);
        (target.clone(), sorted(send(daemon, &request).json()))
    };
    targets.iter().map(ask).collect()
}

/// Sorts the lists in an answer, because the registry promises no order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, sorted(value))).collect(),
        other => other,
    }
}

fn stop(daemon: &mut Daemon) {
    assert_eq!(daemon.terminate(GENEROUS).unwrap().code(), Some(0));
}

/// The key and value of each entry, without lease numbers, which are new after an import.
fn entries(file: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(file).unwrap();
    let mut entries = BTreeMap::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let Some(key) = line["key"].as_str().map(str::to_owned) else { continue };
        if line["lease"].is_string() {
            line["lease"] = json!("some lease");
        }
        if key.contains("/inst/leases/") {
            line["value"] = json!("some lease");
        }
        entries.insert(key, line);
    }
    entries
}

/// Embedded → file → embedded → file: clients get the same answers, and the two files hold the same entries.
#[test]
fn a_registry_goes_through_a_file_into_another_folder() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let filled = fill(&daemon);
    let before = seen(&daemon, &filled);
    stop(&mut daemon);
    let (first, second) = (ExportFile::new(), ExportFile::new());
    let exported = export(daemon.installation(), &first);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    assert!(exported.output.contains("entries exported"), "{exported:?}");

    let other = Installation::new(Settings::default()).unwrap();
    let imported = import(&other, &first);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(imported.output.contains("entries imported"), "{imported:?}");
    assert_eq!(export(&other, &second).code, Some(0));
    assert_eq!(entries(&first.path), entries(&second.path));
    let mut daemon = Daemon::start_in(other).unwrap();
    assert_eq!(seen(&daemon, &filled), before);
    stop(&mut daemon);
}

/// Embedded → file → etcd: clients get the same answers, and the instances live on. They accept heartbeats, and each has a lease with the
/// TTL of its health check.
#[test]
fn a_registry_goes_from_the_embedded_store_to_etcd() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let filled = fill(&daemon);
    let before = seen(&daemon, &filled);
    stop(&mut daemon);
    let file = ExportFile::new();
    assert_eq!(export(daemon.installation(), &file).code, Some(0));

    let etcd = Etcd::start();
    let on_etcd = Installation::new(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let imported = import(&on_etcd, &file);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let mut daemon = Daemon::start_in(on_etcd).unwrap();
    assert_eq!(seen(&daemon, &filled), before);
    let registry = Registry::new(daemon.client(), "default");
    for id in ["one", "two"] {
        registry.heartbeat(&filled.provider, id).unwrap();
        let key = format!("/cse-sr/inst/leases/default/default/{}/{id}", filled.provider);
        let lease: i64 = etcd.ctl(&["get", "--print-value-only", &key]).trim().parse().unwrap();
        let left = etcd.ctl(&["lease", "timetolive", &format!("{lease:x}")]);
        assert!(left.contains("granted with TTL(120s)"), "{left}");
    }
    registry.unregister(&filled.provider, "one").unwrap();
    registry.register(&filled.provider, &Instance::named("three")).unwrap();
    assert_eq!(registry.list(&filled.provider, Freshness::Fresh).unwrap(), ["three", "two"]);
    stop(&mut daemon);
}

#[test]
fn an_export_overwrites_nothing_and_needs_the_folder_for_itself() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let file = ExportFile::new();
    let refused = export(daemon.installation(), &file);
    assert_eq!(refused.code, UNAVAILABLE, "the daemon has the folder: {refused:?}");
    assert!(refused.output.contains("in use by another service-center"), "{refused:?}");
    assert!(!file.path.exists());
    stop(&mut daemon);
    fs::write(&file.path, "precious").unwrap();
    let refused = export(daemon.installation(), &file);
    assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
    assert!(refused.output.contains(file.text()) && refused.output.contains("exists"), "{refused:?}");
    assert_eq!(fs::read_to_string(&file.path).unwrap(), "precious");
}

/// Injected: files that end too early, at a line's end or inside a line, and files that are no export. Nothing of them is imported.
#[test]
fn a_file_that_is_not_whole_is_refused() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    fill(&daemon);
    stop(&mut daemon);
    let file = ExportFile::new();
    assert_eq!(export(daemon.installation(), &file).code, Some(0));
    let whole = fs::read_to_string(&file.path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let (last, all_but_last) = lines.split_last().unwrap();
    let (first, rest) = lines.split_first().unwrap();
    let without_one = [&all_but_last[..all_but_last.len() - 1], &[*last]].concat();
    let another_format = first.replace("\"format\":1", "\"format\":2");
    for (text, word) in [
        (all_but_last.join("\n"), "the closing line is missing"),
        (whole[..whole.len() / 2].to_owned(), file.text()),
        (without_one.join("\n"), "the closing line says"),
        (format!("{whole}{}\n", lines[1]), "there is text after the closing line"),
        ([&[another_format.as_str()], rest].concat().join("\n"), "'format' is 2"),
        (String::new(), "the closing line is missing"),
        ("no export\n".to_owned(), file.text()),
    ] {
        fs::write(&file.path, &text).unwrap();
        let target = Installation::new(Settings::default()).unwrap();
        let refused = import(&target, &file);
        assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
        assert!(refused.output.contains(word) && refused.output.contains(file.text()), "{word}: {refused:?}");
        let daemon = Daemon::start_in(target).unwrap();
        let services = Registry::new(daemon.client(), "default").services(Freshness::Fresh).unwrap();
        assert!(services.is_empty(), "{services:?}");
    }
}

/// An import into a registry that already has a service is refused, on each store. The registry stays as it is.
#[test]
fn a_registry_that_is_not_empty_is_not_imported_into() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    fill(&daemon);
    stop(&mut daemon);
    let file = ExportFile::new();
    assert_eq!(export(daemon.installation(), &file).code, Some(0));
    let etcd = Etcd::start();
    for settings in [Settings::default(), on_etcd(Settings::default(), &[etcd.address()])] {
        let mut target = Daemon::start(settings).unwrap();
        let service = Registry::new(target.client(), "default").create_service("old", "1.0.0").unwrap();
        stop(&mut target);
        let refused = import(target.installation(), &file);
        assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
        assert!(refused.output.contains("the store is not empty"), "{refused:?}");
        target.restart().unwrap();
        let services = Registry::new(target.client(), "default").services(Freshness::Fresh).unwrap();
        assert_eq!(services, [service]);
    }
}
