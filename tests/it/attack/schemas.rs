//! Schema texts that accumulate.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use super::{exported, on_both_stores, size};
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Response};
use crate::support::registry::{code, patiently};

const BASE: &str = "/v4/default/registry/microservices";

/// A large text, below the store's limit of 1.5 MiB.
const LARGE: usize = 1_300_000;

/// Bytes of replaced texts that the embedded store may keep, in memory (its history) and in its log: 32 MiB each.
const KEPT: usize = 32 << 20;

fn service(client: &Client, name: &str) -> String {
    let body = json!({"service": {"serviceName": name}});
    let answer = patiently(|| client.post(BASE, &body)).unwrap();
    answer.json()["serviceId"].as_str().unwrap().to_owned()
}

fn put(client: &Client, service: &str, schema: &str, text: &str) -> Response {
    let body = json!({"schema": text, "summary": "s"});
    patiently(|| client.put(&format!("{BASE}/{service}/schemas/{schema}"), &body)).unwrap()
}

fn replace(client: &Client, service: &str, schemas: &[(&str, &str)]) -> Response {
    let schemas: Vec<Value> =
        schemas.iter().map(|(id, text)| json!({"schemaId": id, "schema": text, "summary": "s"})).collect();
    let body = json!({ "schemas": schemas });
    patiently(|| client.post(&format!("{BASE}/{service}/schemas"), &body)).unwrap()
}

/// A text of this length, different for each number.
fn text(number: usize, length: usize) -> String {
    format!("{number:010}{}", "x".repeat(length - 10))
}

/// The hashes in references, and the hashes of the stored texts.
fn hashes(daemon: &mut Daemon) -> (BTreeSet<String>, BTreeSet<String>) {
    let entries = exported(daemon);
    daemon.restart().unwrap();
    let below = |tree: &str| {
        let tree = format!("/cse-sr/ms/{tree}/");
        entries.iter().filter(move |(key, _)| key.starts_with(&tree))
    };
    let named = below("schema-ref").map(|(_, hash)| hash.clone()).collect();
    let stored = below("schema-content").map(|(key, _)| key.rsplit('/').next().unwrap().to_owned()).collect();
    (named, stored)
}

/// A schema of 1.3 MB is replaced again and again, by both routes. The registry keeps one text. The memory and the folder stay within
/// the bounds of the history and the log.
#[test]
fn replaced_texts_do_not_stay() {
    on_both_stores(&Settings::default(), |mut daemon, _| {
        let client = daemon.client();
        let id = service(&client, "s");
        assert_eq!(code(&put(&client, &id, "large", &text(0, LARGE))), "200");
        let before = daemon.process().resident_memory() << 10;
        for round in 1..=70 {
            let text = text(round, LARGE);
            let answer = match round % 2 {
                0 => put(&client, &id, "large", &text),
                _ => replace(&client, &id, &[("large", &text)]),
            };
            assert_eq!(code(&answer), "200", "round {round}");
        }
        // The log, the next log while a snapshot is written, and two snapshots with one text each.
        let folder = daemon.folder().join("data");
        eventually(GENEROUS, || {
            let size = size(&folder);
            if size < 2 * KEPT { Ok(()) } else { Err(format!("{size} bytes of files")) }
        });
        // Ten texts in work, and half as much again for what the allocator keeps.
        let most = (KEPT + 10 * LARGE) * 3 / 2;
        let grown = (daemon.process().resident_memory() << 10).saturating_sub(before);
        assert!(grown < most, "{grown} bytes more in memory, at most {most}");
        let (named, stored) = hashes(&mut daemon);
        assert_eq!((named.len(), &named), (1, &stored));
    });
}

/// When a schema is deleted, by itself or with its service, its text is deleted as well, unless another service refers to it.
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

/// Many clients write and delete the same texts of several services at once. On a busy machine they interrupt each other until a write
/// gives up, and then its client tries again. Afterwards each reference has its text, and each text has
/// a reference.
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
                            0 => patiently(|| client.delete(&format!("{BASE}/{id}/schemas/s"))).unwrap(),
                            1 => replace(client, id, &[("s", &text), ("t", "t")]),
                            _ => put(client, id, "s", &text),
                        };
                        // 400016: another client has deleted it.
                        assert!(["200", "400016"].contains(&code(&answer).as_str()), "{}", answer.text());
                        let read =
                            patiently(|| client.get(&format!("{BASE}/{id}/schemas/s?noCache=1"))).unwrap();
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

/// A service holds a limited number of bytes of texts. At the limit a text can be replaced by one that is not longer.
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
        // A node that has just started does not know the lengths of the texts yet.
        daemon.restart().unwrap();
        assert_eq!(code(&put(&client, &id, "one-more", "x")), "400100");
        assert_eq!(code(&put(&client, &id, "s0", &text(9, LARGE + 1))), "400100");
        assert_eq!(code(&put(&client, &id, "s0", &text(9, LARGE))), "200");
        assert_eq!(code(&put(&client, &id, "s1", &text(9, LARGE - 10))), "200");
        assert_eq!(code(&put(&client, &id, "one-more", &text(9, 10))), "200");
        // By the other route. Another service has a quota of its own.
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
