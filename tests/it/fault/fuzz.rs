//! Random damage to everything that a node reads: bodies, queries, paths, stored keys and values, configuration files. No input
//! makes a parser panic.
//!
//! The tests call the parsers without a socket, so a million inputs take seconds. `bad_input` sends the same damage over sockets.
//! The inputs start from the files in `corpus/`.

use std::fs;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use service_center::cache::SnapshotBuilder;
use service_center::config::{Cron, Inputs, Sources};
use service_center::domain::dependency::CrossDomain;
use service_center::domain::json;
use service_center::domain::validate::dependency::{Asker, DependencyWrite};
use service_center::domain::validate::find::{FindParameters, find, tag_keys};
use service_center::domain::validate::size::SizeLimits;
use service_center::domain::{Instance, Service, Tenant, version};
use service_center::http::dto;
use service_center::http::escape::{decode_query, route_path};
use service_center::http::query::{all_values, first_values};
use service_center::store::codec::{Decoded, decode, decode_put};
use service_center::store::{Entry, Event};
use tempfile::TempDir;

use super::bad_input::{damage, seed};
use crate::support::scale::Scale;

const TARGETS: &str = include_str!("corpus/targets.txt");
const BODIES: &str = include_str!("corpus/bodies.txt");
const STORED: &str = include_str!("corpus/stored.txt");
const CONF: &str = include_str!("corpus/conf.txt");
const YAML: &str = include_str!("corpus/conf.yaml");
/// Threads that try inputs. Each has a seed of its own.
const LANES: u64 = 2;
/// Stored entries that are applied to one snapshot.
const PER_SNAPSHOT: usize = 500;

/// The counts of a lane.
#[derive(Debug, Default)]
struct Tried {
    inputs: usize,
    /// Inputs that a parser accepted.
    taken: usize,
    /// Stored keys and values that were skipped because they are not the registry's.
    foreign: usize,
}

impl Tried {
    /// Calls a parser with an input. If the parser panics, the test fails and shows the input.
    fn hand<T>(&mut self, seed: u64, input: &[u8], read: impl FnOnce(&[u8]) -> T) -> T {
        self.inputs += 1;
        catch_unwind(AssertUnwindSafe(|| read(input))).unwrap_or_else(|_| {
            panic!("seed {seed}, input {}: {:?}", self.inputs, String::from_utf8_lossy(input))
        })
    }
}

fn line<'a>(random: &mut StdRng, lines: &[&'a str]) -> &'a str {
    lines[random.random_range(0..lines.len())]
}

fn damaged(random: &mut StdRng, lines: &[&str]) -> Vec<u8> {
    let line = line(random, lines);
    damage(random, line)
}

/// Kinds of bodies.
const BODY_KINDS: usize = 10;

/// Reads bytes as a body of one kind; whether they are one.
fn read_as_body(kind: usize, bytes: &[u8]) -> bool {
    let read = match kind {
        0 => dto::body::<dto::service::CreateService>(bytes)
            .and_then(|body| body.into_registration(100, &SizeLimits::default()))
            .map(drop),
        1 => dto::body::<dto::instance::RegisterInstanceBody>(bytes)
            .and_then(|body| body.into_instance("s", &SizeLimits::default()))
            .map(|instance| assert!(!json::encode(&instance).is_empty())),
        2 => dto::body::<dto::instance::Heartbeats>(bytes).and_then(|body| body.into_instances()).map(drop),
        3 => dto::body::<dto::instance::BulkStatus>(bytes).and_then(|body| body.into_change()).map(drop),
        4 => dto::body::<dto::find::BatchFind>(bytes).and_then(|body| body.into_query("c", 100)).map(drop),
        5 => {
            let asker = Asker { tenant: &Tenant::default_tenant(), cross_domain: CrossDomain::Forbidden };
            dto::body::<dto::dependency::Dependencies>(bytes)
                .and_then(|body| body.into_dependencies(asker, DependencyWrite::Replace))
                .map(drop)
        }
        6 => {
            dto::body::<dto::schema::SchemaBody>(bytes).and_then(|body| body.into_schema("s", "x")).map(drop)
        }
        7 => dto::body::<dto::schema::SchemasBody>(bytes)
            .and_then(|body| body.into_schemas("s", 100))
            .map(drop),
        8 => dto::body::<dto::service::DeleteServices>(bytes).and_then(|body| body.into_deletion()).map(drop),
        _ => dto::tag::replacement(bytes, "s", 100).map(drop),
    };
    read.is_ok()
}

/// Reads bytes as a path with a query; whether the query asks for something that can be found.
fn read_as_target(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (path, raw) = text.split_once('?').unwrap_or((&text, ""));
    // A refusal is as good as a result.
    if let Ok(routed) = route_path(path)
        && let Some(routed) = routed.strip_prefix('/')
        && let Some((inner, _)) = routed.rsplit_once('/')
    {
        assert!(
            inner.split('/').all(|segment| !matches!(segment, "" | "." | "..")),
            "{path:?} is {routed:?}"
        );
    }
    let _ = black_box(decode_query(raw));
    black_box(all_values(raw, "property").count());
    let names = ["env", "appId", "serviceName", "tags", "version"];
    let [environment, app_id, service_name, tags, number] =
        first_values(raw, names).map(Option::unwrap_or_default);
    black_box(tag_keys(&tags).count());
    black_box(version::parse(&number));
    let parameters = FindParameters {
        consumer_id: "c",
        environment: &environment,
        app_id: &app_id,
        service_name: &service_name,
        tags: &tags,
    };
    find(&parameters).is_ok()
}

/// Applies stored entries to snapshots, one after another.
struct Stored {
    builder: SnapshotBuilder,
    revision: i64,
}

impl Stored {
    fn take(&mut self, tried: &mut Tried, seed: u64, key: &[u8], value: Vec<u8>) {
        self.revision += 1;
        // The store returns no key that is invalid UTF-8.
        let key = String::from_utf8_lossy(key);
        let entry = Entry {
            key: (&*key).into(),
            value: Bytes::from(value),
            compact: None,
            create_revision: self.revision,
            mod_revision: self.revision,
            version: 1,
            lease: None,
        };
        let input = [key.as_bytes(), b" ", &entry.value].concat();
        let revision = self.revision;
        let builder = &mut self.builder;
        let decoded = tried.hand(seed, &input, |_| {
            let decoded = decode_put(&entry);
            if let Decoded::Event(event) | Decoded::Unreadable(_, event) = &decoded {
                builder.apply(event.clone());
            }
            if revision % 3 == 0 {
                let gone = Event::Delete { key: entry.key.clone(), revision };
                if let Decoded::Event(event) = decode(&gone) {
                    builder.apply(event);
                }
            }
            if revision % PER_SNAPSHOT as i64 == 0 {
                black_box(builder.publish(revision));
            }
            decoded
        });
        match decoded {
            Decoded::Event(_) => tried.taken += 1,
            Decoded::Foreign(why) | Decoded::Unreadable(why, _) => {
                assert!(!why.is_empty());
                tried.foreign += 1;
            }
            Decoded::Unread => {}
        }
    }
}

/// Reads bytes as `app.conf` and `app.yaml`. The result is a configuration, or mistakes with a text.
fn read_as_configuration(folder: &TempDir, conf: &[u8], yaml: &[u8]) -> bool {
    fs::write(folder.path().join("app.conf"), conf).unwrap();
    fs::write(folder.path().join("app.yaml"), yaml).unwrap();
    let inputs = Inputs {
        working_dir: folder.path().to_owned(),
        conf_dir: Some(folder.path().to_owned()),
        cores: 2,
        ..Inputs::default()
    };
    match Sources::gather(&inputs).load().config {
        Ok(_) => true,
        Err(mistakes) => {
            assert!(!mistakes.to_string().is_empty());
            false
        }
    }
}

fn run(seed: u64, rounds: usize) -> Tried {
    let mut random = StdRng::seed_from_u64(seed);
    let [bodies, targets, stored] = [BODIES, TARGETS, STORED].map(|text| text.lines().collect::<Vec<_>>());
    let crons: Vec<&str> = vec!["0 1 * * *", "*/5 1-3,7 1 JAN-MAR ?", "@daily", "59 23 31 12 7"];
    let folder = tempfile::tempdir().unwrap();
    let mut held = Stored { builder: SnapshotBuilder::default(), revision: 0 };
    let mut tried = Tried::default();
    for round in 0..rounds {
        let body = damaged(&mut random, &bodies);
        let kind = random.random_range(0..BODY_KINDS);
        tried.taken += usize::from(tried.hand(seed, &body, |body| read_as_body(kind, body)));
        let (_, target) = line(&mut random, &targets).split_once(' ').expect("a method and a target");
        let target = damage(&mut random, target);
        tried.taken += usize::from(tried.hand(seed, &target, read_as_target));
        let (key, value) = line(&mut random, &stored).split_once(' ').expect("a key and a value");
        // A quarter of the keys is damaged, and each value.
        let key = if random.random_ratio(1, 4) { damage(&mut random, key) } else { key.into() };
        let value = damage(&mut random, value);
        tried.hand(seed, &value, |value| {
            black_box((json::decode::<Instance>(value).is_ok(), json::decode::<Service>(value).is_ok()));
        });
        held.take(&mut tried, seed, &key, value);
        let cron = damaged(&mut random, &crons);
        tried.hand(seed, &cron, |cron| black_box(Cron::parse(&String::from_utf8_lossy(cron)).is_ok()));
        if round % 50 == 0 {
            let (conf, yaml) = (damage(&mut random, CONF), damage(&mut random, YAML));
            let input = [&conf, &b"\n---\n"[..], &yaml].concat();
            let good = tried.hand(seed, &input, |_| read_as_configuration(&folder, &conf, &yaml));
            tried.taken += usize::from(good);
        }
    }
    tried
}

/// Injected: damaged bodies, targets, stored entries and configuration files, over a million of them in a long run.
#[test]
fn damaged_input_is_read_or_refused_and_never_panics() {
    let rounds = Scale::of_this_run().choose(4_000, 110_000);
    let seed = seed();
    let begin = Instant::now();
    let tried: Vec<Tried> = thread::scope(|scope| {
        let lanes: Vec<_> =
            (0..LANES).map(|lane| scope.spawn(move || run(seed.wrapping_add(lane), rounds))).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane without a panic")).collect()
    });
    let sum = |of: fn(&Tried) -> usize| tried.iter().map(of).sum::<usize>();
    let (inputs, taken, foreign) = (sum(|t| t.inputs), sum(|t| t.taken), sum(|t| t.foreign));
    say!(
        "figure: fuzz: {inputs} inputs, {taken} understood, {foreign} foreign ones passed over, in {:?}",
        begin.elapsed()
    );
    assert!(taken > 0 && foreign > 0, "some inputs are accepted and some are skipped: {tried:?}");
}
