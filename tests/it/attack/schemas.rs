//! Schema texts that pile up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Response};
use crate::support::store::{Backing, Embedded, OwnEtcd};

const BASE: &str = "/v4/default/registry/microservices";

/// A large text, below the store's limit of 1.5 MiB.
const LARGE: usize = 1_300_000;

/// What the embedded store may hold of texts that are gone, in memory (its history) and in its log: 32 MiB each.
const KEPT: usize = 32 << 20;

fn on_both_stores(settings: &Settings, check: impl Fn(Daemon, &dyn Backing)) {
    check(Daemon::start(Embedded.chosen_in(settings.clone())).unwrap(), &Embedded);
    let etcd = OwnEtcd::start();
    check(Daemon::start(etcd.chosen_in(settings.clone())).unwrap(), &etcd);
}

fn service(client: &Client, name: &str) -> String {
    let body = json!({"service": {"serviceName": name}});
    let answer = client.post(BASE, &body).unwrap();
    answer.json()["serviceId"].as_str().unwrap().to_owned()
}

fn put(client: &Client, service: &str, schema: &str, text: &str) -> Response {
    client
        .put(&format!("{BASE}/{service}/schemas/{schema}"), &json!({"schema": text, "summary": "s"}))
        .unwrap()
}

fn replace(client: &Client, service: &str, schemas: &[(&str, &str)]) -> Response {
    let schemas: Vec<Value> =
        schemas.iter().map(|(id, text)| json!({"schemaId": id, "schema": text, "summary": "s"})).collect();
    client.post(&format!("{BASE}/{service}/schemas"), &json!({ "schemas": schemas })).unwrap()
}

/// What became of a request: the error code of its body, else its status.
fn code(response: &Response) -> String {
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    body["errorCode"].as_str().map_or_else(|| response.status.to_string(), str::to_owned)
}

/// A text of this length that no other number gives.
fn text(number: usize, length: usize) -> String {
    format!("{number:010}{}", "x".repeat(length - 10))
}

/// What the registry keeps, by an export; the daemon is stopped for it, and started again.
fn entries(daemon: &mut Daemon) -> Vec<(String, String)> {
    assert!(daemon.terminate(GENEROUS).unwrap().success());
    let file = daemon.folder().join("export");
    let finished = daemon.installation().run(&["export", "--to", file.to_str().unwrap()]).unwrap();
    assert_eq!(finished.code, Some(0), "{}", finished.output);
    let exported = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    daemon.restart().unwrap();
    let lines = exported.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |entry: &Value, member: &str| entry[member].as_str().map(str::to_owned);
    lines.filter_map(|entry| Some((text(&entry, "key")?, text(&entry, "value")?))).collect()
}

/// Hashes that references name, and hashes of stored texts.
fn hashes(daemon: &mut Daemon) -> (BTreeSet<String>, BTreeSet<String>) {
    let entries = entries(daemon);
    let below = |tree: &str| {
        let tree = format!("/cse-sr/ms/{tree}/");
        entries.iter().filter(move |(key, _)| key.starts_with(&tree))
    };
    let named = below("schema-ref").map(|(_, hash)| hash.clone()).collect();
    let stored = below("schema-content").map(|(key, _)| key.rsplit('/').next().unwrap().to_owned()).collect();
    (named, stored)
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> usize {
    let Ok(files) = fs::read_dir(folder) else { return 0 };
    // One that is gone by now has no size.
    let files = files.flatten().filter_map(|file| file.metadata().ok());
    files.map(|file| usize::try_from(file.len()).unwrap()).sum()
}

/// A schema of 1.3 MB replaced again and again, by both routes: one text is kept. The memory and the folder hold no more than
/// the history and the log may, however often it is replaced.
#[test]
fn replaced_texts_do_not_stay() {
    on_both_stores(&Settings::default(), |mut daemon, _| {
        let client = daemon.client();
        let id = service(&client, "s");
        assert_eq!(code(&put(&client, &id, "large", &text(0, LARGE))), "200");
        let before = daemon.process().resident_memory() << 10;
        for round in 1..=100 {
            let text = text(round, LARGE);
            let answer = match round % 2 {
                0 => put(&client, &id, "large", &text),
                _ => replace(&client, &id, &[("large", &text)]),
            };
            assert_eq!(code(&answer), "200", "round {round}");
        }
        // The log, the next one while a snapshot is written, and two snapshots of one text.
        let folder = daemon.folder().join("data");
        eventually(GENEROUS, || {
            let size = size(&folder);
            if size < 2 * KEPT { Ok(()) } else { Err(format!("{size} bytes of files")) }
        });
        // Ten texts on their way through the process, and half as much again for what the allocator keeps.
        let most = (KEPT + 10 * LARGE) * 3 / 2;
        let grown = (daemon.process().resident_memory() << 10).saturating_sub(before);
        assert!(grown < most, "{grown} bytes more in memory, at most {most}");
        let (named, stored) = hashes(&mut daemon);
        assert_eq!((named.len(), &named), (1, &stored));
    });
}

/// Schemas that are deleted, by themselves or with their service, take their texts along; a text that another service refers
/// to stays.
#[test]
fn deleted_schemas_and_services_leave_no_text() {
    on_both_stores(&Settings::default(), |mut daemon, _| {
        let client = daemon.client();
        let (one, two) = (service(&client, "one"), service(&client, "two"));
        for id in [&one, &two] {
            for schema in ["a", "b", "c"] {
                assert_eq!(code(&put(&client, id, schema, "shared")), "200");
            }
            assert_eq!(code(&put(&client, id, "own", id)), "200");
        }
        assert_eq!(code(&client.delete(&format!("{BASE}/{one}/schemas/a")).unwrap()), "200");
        assert_eq!(code(&client.delete(&format!("{BASE}/{one}/schemas/own")).unwrap()), "200");
        let (named, stored) = hashes(&mut daemon);
        assert_eq!((named.len(), &named), (4, &stored));
        assert_eq!(code(&replace(&client, &one, &[("d", "new")])), "200");
        assert_eq!(code(&client.delete(&format!("{BASE}/{two}?force=true")).unwrap()), "200");
        let (named, stored) = hashes(&mut daemon);
        assert_eq!((named.len(), &named), (1, &stored));
        assert_eq!(code(&client.delete(&format!("{BASE}/{one}")).unwrap()), "200");
        assert_eq!(hashes(&mut daemon), (BTreeSet::new(), BTreeSet::new()));
    });
}

/// Many clients give services the same texts and take them away, all at once: each reference has its text, and each text a
/// reference.
#[test]
fn texts_that_come_and_go_at_once_are_neither_lost_nor_left() {
    on_both_stores(&Settings::default(), |mut daemon, _| {
        let client = daemon.client();
        let ids: Vec<String> = (0..3).map(|at| service(&client, &format!("s{at}"))).collect();
        thread::scope(|scope| {
            for number in 0..6_usize {
                let (client, ids) = (&client, &ids);
                scope.spawn(move || {
                    for round in 0..25 {
                        let id = &ids[(number + round) % 3];
                        let text = text(round % 2, 100);
                        let answer = match (number + round) % 5 {
                            0 => client.delete(&format!("{BASE}/{id}/schemas/s")).unwrap(),
                            1 => replace(client, id, &[("s", &text), ("t", "t")]),
                            _ => put(client, id, "s", &text),
                        };
                        // 400016: another one has deleted it.
                        assert!(["200", "400016"].contains(&code(&answer).as_str()), "{}", answer.text());
                        let read = client.get(&format!("{BASE}/{id}/schemas/s?noCache=1")).unwrap();
                        assert!(
                            read.status == 200 || read.text().contains("ref not found"),
                            "{}",
                            read.text()
                        );
                    }
                });
            }
        });
        let (named, stored) = hashes(&mut daemon);
        assert_eq!(named, stored);
    });
}

/// A service holds 64 MiB of texts; what it has can still be replaced by something that is not longer.
#[test]
fn a_service_has_a_quota_of_bytes() {
    let settings = Settings::default().conf("quota.cap.schema.bytes", &(5 * LARGE).to_string());
    on_both_stores(&settings, |mut daemon, _| {
        let client = daemon.client();
        let id = service(&client, "s");
        for number in 0..5 {
            assert_eq!(code(&put(&client, &id, &format!("s{number}"), &text(number, LARGE))), "200");
        }
        let refused = put(&client, &id, "one-more", "x");
        assert_eq!(code(&refused), "400100");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&(5 * LARGE).to_string()), "{detail}");
        // Also by a node that has yet to learn how long the texts are.
        daemon.restart().unwrap();
        assert_eq!(code(&put(&client, &id, "one-more", "x")), "400100");
        assert_eq!(code(&put(&client, &id, "s0", &text(9, LARGE + 1))), "400100");
        assert_eq!(code(&put(&client, &id, "s0", &text(9, LARGE))), "200");
        assert_eq!(code(&put(&client, &id, "s1", &text(9, LARGE - 10))), "200");
        assert_eq!(code(&put(&client, &id, "one-more", &text(9, 10))), "200");
        // The other route; another service has its own.
        let small = text(1, LARGE / 3);
        let many: Vec<String> = (0..4).map(|at| format!("m{at}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|id| (id.as_str(), small.as_str())).collect();
        assert_eq!(code(&replace(&client, &service(&client, "other"), &many)), "200");
        let (named, stored) = hashes(&mut daemon);
        assert_eq!((named.len(), &named), (10, &stored));
    });
    let settings = Settings::default().conf("quota.cap.schema.bytes", "100");
    let daemon = Daemon::start(settings).unwrap();
    let client = daemon.client();
    let id = service(&client, "s");
    let refused = replace(&client, &id, &[("a", &text(0, 60)), ("b", &text(0, 60))]);
    assert_eq!(code(&refused), "400100");
    assert_eq!(code(&replace(&client, &id, &[("a", &text(0, 60)), ("b", &text(0, 40))])), "200");
}
