//! More writes at once than the mailbox of the registry actor holds, on an etcd that answers slowly.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::owners::Owners;
use super::proxy::names;
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::eventually::{Deadline, GENEROUS, eventually};
use crate::support::http::{Client, Connection};
use crate::support::proxy::Proxy;
use crate::support::registry::{Freshness, Instance, Registry};
use crate::support::scale::Scale;
use crate::support::stop::StopWhenDropped;
use crate::support::store::on_etcd;

/// Writes at once. The mailbox holds 4,096. The number is far larger because many writes are carried out while the rest is sent.
const WRITES: usize = 9_000;
/// Threads that send the writes.
const WRITERS: usize = 8;
/// Delay of each answer of etcd.
const DELAY: Duration = Duration::from_millis(500);
/// Refusals after which the test ends.
const ENOUGH: usize = 500;
/// The writers go on for at most so long.
const LIMIT: Duration = Duration::from_secs(120);
/// Bound on the peak memory of the node in a debug build, in kilobytes.
const MEMORY: usize = 400_000;

/// The answers to the writes of one writer.
#[derive(Debug, Default)]
struct WriteAnswers {
    written: Vec<String>,
    refused: Vec<String>,
    /// How often 500011 was answered, by its detail.
    unknown: BTreeMap<String, usize>,
}

/// Sends one write on each connection before it reads the first answer, again and again.
fn write_without_mercy(
    client: &Client,
    writer: usize,
    is_over: &AtomicBool,
    refusals: &AtomicUsize,
) -> WriteAnswers {
    let mut connections: Vec<Connection> =
        (0..WRITES / WRITERS).map(|_| client.clone().limited(GENEROUS).connect().unwrap()).collect();
    let mut outcomes = WriteAnswers::default();
    let mut round = 0;
    while !is_over.load(Ordering::Relaxed) {
        let ids = names(&format!("w{writer}-{round}-"), connections.len());
        for (connection, id) in connections.iter_mut().zip(&ids) {
            let service = json!({"serviceId": id, "serviceName": id, "version": "1.0.0"});
            let body = json!({ "service": service }).to_string();
            let head = format!(
                "POST /v4/default/registry/microservices HTTP/1.1\r\nHost: node\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            connection.send_bytes(format!("{head}{body}").as_bytes()).unwrap();
        }
        for (connection, id) in connections.iter_mut().zip(ids) {
            let answer = connection.read_response("POST").unwrap();
            match answer.status {
                200 => outcomes.written.push(id),
                503 => {
                    assert_eq!(answer.json()["errorCode"], "503001", "{}", answer.text());
                    let wait = answer.header("Retry-After").and_then(|seconds| seconds.parse::<u32>().ok());
                    assert!(wait.is_some_and(|seconds| seconds > 0), "{:?}", answer.headers);
                    refusals.fetch_add(1, Ordering::Relaxed);
                    outcomes.refused.push(id);
                }
                500 => {
                    assert_eq!(answer.json()["errorCode"], "500011", "{}", answer.text());
                    let why = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
                    *outcomes.unknown.entry(why).or_default() += 1;
                }
                other => panic!("{other}: {}", answer.text()),
            }
        }
        round += 1;
    }
    outcomes
}

/// This process needs a socket for each write.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = (WRITES + 1_000) as u64;
    assert!(
        limit.maximum.is_none_or(|most| most >= wanted),
        "a process here may open too few files: {limit:?}"
    );
    if limit.current.is_some_and(|now| now < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).unwrap();
    }
}

/// Injected: each answer of etcd is 0.5 s late, and 9,000 writes are sent at once, again and again. The limit of concurrent requests
/// is set so high that the mailbox is full first. A write that does not fit is refused with `Retry-After`, and is not carried out.
/// Finds, heartbeats and `/health` are answered, and the memory is bounded. When etcd is fast again, writes succeed.
#[test]
fn writes_beyond_a_full_mailbox_are_refused_and_nothing_else() {
    raise_file_limit();
    let etcd = Etcd::start();
    let proxy = Proxy::start(etcd.address()).unwrap();
    let settings = Settings::default()
        .yaml("server.request.maxConcurrent", json!(1_000_000))
        .yaml("quota.cap.service.limit", json!(1_000_000));
    let mut node = Daemon::start(on_etcd(settings, &[proxy.address()])).unwrap();
    let client = node.client();
    let registry = Registry::new(client.clone(), "default");
    let setup = registry.clone().patient();
    let service = setup.create_service("provider", "1.0.0").unwrap();
    let beating = names("beats", 10);
    for id in &beating {
        setup.register(&service, &Instance::named(id)).unwrap();
    }
    proxy.delay(DELAY);
    let owners = Owners::beat(node.client(), &service, &beating, Duration::from_millis(500));
    let (is_over, refusals) = (AtomicBool::new(false), AtomicUsize::new(0));
    let enough = Scale::of_this_run().choose(ENOUGH, 10 * ENOUGH);
    let begin = Instant::now();
    let (outcomes, looks, longest) = thread::scope(|scope| {
        let stop = StopWhenDropped(&is_over);
        let writing: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (client, is_over, refusals) = (&client, &is_over, &refusals);
                scope.spawn(move || write_without_mercy(client, writer, is_over, refusals))
            })
            .collect();
        let deadline = Deadline::after(LIMIT);
        let (mut looks, mut longest) = (0_usize, Duration::ZERO);
        while refusals.load(Ordering::Relaxed) < enough && !deadline.has_passed() {
            let begin = Instant::now();
            let health = client.get("/v4/default/registry/health").unwrap();
            assert_eq!(health.status, 200, "{}", health.text());
            let ready = client.get("/v4/default/registry/health/readiness").unwrap();
            assert_eq!(ready.status, 200, "{}", ready.text());
            assert_eq!(registry.find(None, "provider", Freshness::Cached).unwrap(), beating);
            longest = longest.max(begin.elapsed());
            looks += 1;
        }
        drop(stop);
        let outcomes: Vec<WriteAnswers> = writing.into_iter().map(|writer| writer.join().unwrap()).collect();
        (outcomes, looks, longest)
    });
    let took = begin.elapsed();
    let memory = node.process().peak_memory();

    proxy.delay(Duration::ZERO);
    let begin = Instant::now();
    eventually(GENEROUS, || registry.create_service("afterwards", "1.0.0"));
    let recovered = begin.elapsed();
    owners.stop().assert_all_taken();
    let there = registry.services(Freshness::Fresh).unwrap();
    let is_there = |id: &String| there.binary_search(id).is_ok();
    let (mut written, mut refused, mut unknown) = (0, 0, 0);
    for outcomes in &outcomes {
        assert_eq!(outcomes.written.iter().find(|id| !is_there(id)), None, "answered 200 and lost");
        assert_eq!(outcomes.refused.iter().find(|id| is_there(id)), None, "refused and carried out");
        written += outcomes.written.len();
        refused += outcomes.refused.len();
        unknown += outcomes.unknown.values().sum::<usize>();
    }
    assert!(refused >= enough, "{refused} of {} refused", written + refused + unknown);
    assert!(looks > 0 && memory < MEMORY, "{memory} kB resident");
    say!(
        "figure: full mailbox: {written} written, {refused} refused, {unknown} unknown in {took:?}; {looks} looks, \
         longest {longest:?}; {memory} kB resident at most; written again after {recovered:?}"
    );
}
