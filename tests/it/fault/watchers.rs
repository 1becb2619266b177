//! Watchers of one provider: many that read, some that disconnect at random, one that never reads, and one behind a slow link.
//!
//! A watcher that reads gets every change. A slow watcher gets the latest state of each instance, and its connection is kept. The
//! memory of the node stays bounded.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::proxy::names;
use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::proxy::Proxy;
use crate::support::registry::{Instance, Registry, next_event};
use crate::support::scale::Scale;
use crate::support::seed;
use crate::support::ws::WebSocket;

/// Threads that read for the watchers.
const READERS: usize = 8;
/// Threads that change instances.
const WRITERS: usize = 8;
/// Bound on the memory of a node with a thousand watchers and some megabytes of changes. A debug build needs less.
const MEMORY_BOUND_KB: usize = 400 * 1024;
/// Bytes a second that the slow link carries.
const SLOW: u32 = 20_000;

struct WatcherScene {
    node: Daemon,
    registry: Registry,
    provider: String,
    target: String,
}

impl WatcherScene {
    fn new() -> Self {
        let node = Daemon::start(Settings::default()).unwrap();
        let registry = Registry::new(node.client(), "default");
        let provider = registry.create_service("provider", "1.0.0").unwrap();
        let consumer = registry.create_service("consumer", "1.0.0").unwrap();
        registry.depend(&consumer, "provider", &provider);
        let target = registry.watch_target(&consumer);
        Self { node, registry, provider, target }
    }

    fn watch(&self) -> WebSocket {
        WebSocket::open(self.node.address(), &self.target, &[]).unwrap()
    }

    fn register(&self, ids: &[String]) {
        for id in ids {
            // They get no heartbeats, and a long run takes minutes.
            let lasting = Instance::named(id).with_health_check(600, 3);
            self.registry.register(&self.provider, &lasting).unwrap();
        }
    }

    fn put_properties(&self, id: &str, round: u32) {
        let properties = json!({"properties": {"round": round.to_string(), "weight": "x".repeat(2500)}});
        let target =
            format!("/v4/default/registry/microservices/{}/instances/{id}/properties", self.provider);
        let response = self.node.client().put(&target, &properties).unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }

    fn change_all(&self, ids: &[String], round: u32) {
        thread::scope(|scope| {
            for ids in ids.chunks(ids.len().div_ceil(WRITERS)) {
                scope.spawn(move || ids.iter().for_each(|id| self.put_properties(id, round)));
            }
        });
    }

    fn watchers(&self) -> usize {
        self.node.metric("service_center_watchers")
    }

    /// Resident memory of the node, in kilobytes.
    fn memory(&mut self) -> usize {
        self.node.process().resident_memory()
    }
}

/// Asserts that the next events of each watcher are one `action` for each of `ids`, in any order.
fn all_get(watchers: &mut [WebSocket], action: &str, ids: &[String]) {
    let part = watchers.len().div_ceil(READERS);
    thread::scope(|scope| {
        for watchers in watchers.chunks_mut(part) {
            scope.spawn(move || {
                for watch in watchers {
                    let mut seen: Vec<(String, String)> =
                        ids.iter().map(|_| next_event(watch, GENEROUS).expect("an event")).collect();
                    seen.sort();
                    let mut wanted: Vec<(String, String)> =
                        ids.iter().map(|id| (action.to_owned(), id.clone())).collect();
                    wanted.sort();
                    assert_eq!(seen, wanted);
                }
            });
        }
    });
}

/// Injected: a third of many watchers leave at random while changes are pushed, with a close frame or without one, and one watcher
/// never reads. The others get every change, and the node forgets the watchers that left.
#[test]
fn watchers_that_go_at_random_take_nothing_from_the_others() {
    let (count, rounds) = Scale::of_this_run().choose((200, 1), (1_000, 10));
    let seed = seed::of_this_run();
    say!("watchers: {}", seed::shown(seed));
    let mut random = StdRng::seed_from_u64(seed);
    let mut scene = WatcherScene::new();
    let mut watchers: Vec<WebSocket> = (0..count).map(|_| scene.watch()).collect();
    let link = Proxy::start_narrow(scene.node.address()).unwrap();
    let _never_reads = WebSocket::open(link.address(), &scene.target, &[]).unwrap();
    link.stall();
    eventually(GENEROUS, || scene.watchers() == count + 1);
    let (first, second) = (names("first", 30), names("second", 30));
    scene.register(&first);
    all_get(&mut watchers, "CREATE", &first);

    let mut leavers: Vec<WebSocket> = Vec::new();
    for _ in 0..count / 3 {
        leavers.push(watchers.swap_remove(random.random_range(0..watchers.len())));
    }
    let begin = Instant::now();
    thread::scope(|scope| {
        let writing = scope.spawn(|| scene.register(&second));
        for mut watch in leavers {
            if random.random() {
                watch.close(1000, "enough").ok();
            } else {
                watch.cut();
            }
        }
        writing.join().unwrap();
    });
    all_get(&mut watchers, "CREATE", &second);
    let took = begin.elapsed();
    for round in 1..=rounds {
        scene.change_all(&second, round);
        all_get(&mut watchers, "UPDATE", &second);
    }
    for id in &first {
        scene.registry.unregister(&scene.provider, id).unwrap();
    }
    all_get(&mut watchers, "DELETE", &first);
    // The watcher that never reads is kept.
    eventually(GENEROUS, || scene.watchers() == watchers.len() + 1);
    let memory = scene.memory();
    assert!(memory < MEMORY_BOUND_KB, "{memory} kB");
    say!("figure: watchers: {count}, 30 changes at all the rest after {took:?}, {memory} kB resident");
}

/// The events that a slow watcher got.
struct SlowReading {
    /// The last round of each instance.
    latest: BTreeMap<String, u32>,
    events: usize,
}

/// Reads until each instance has its last round.
fn read_to_the_end(watch: &mut WebSocket, count: usize, last: u32) -> SlowReading {
    let mut slow = SlowReading { latest: BTreeMap::new(), events: 0 };
    while slow.latest.len() < count || slow.latest.values().any(|round| *round < last) {
        let event: Value = watch.expect_json(GENEROUS).expect("the connection lives, and an event comes");
        let instance = &event["instance"];
        let round = instance["properties"]["round"].as_str().map_or(0, |round| round.parse().unwrap());
        let id = instance["instanceId"].as_str().unwrap().to_owned();
        let before = slow.latest.insert(id.clone(), round);
        assert!(before.is_none_or(|before| before <= round), "{id} goes back in time");
        slow.events += 1;
    }
    slow
}

/// Injected: of four watchers one never reads and one is behind a slow link, while all instances change again and again. The changes
/// are more than the kernel's buffers hold. The two watchers that read get every change in order. The two slow ones get the latest
/// state of each instance when they read, and every change from then on.
#[test]
fn a_watcher_that_is_slow_gets_the_latest_state_and_delays_nobody() {
    let (count, rounds) = (100, Scale::of_this_run().choose(25, 100));
    let mut scene = WatcherScene::new();
    let ids = names("i", count);
    let mut first = [scene.watch()];
    eventually(GENEROUS, || scene.watchers() == 1);
    scene.register(&ids);
    // A registration may be answered before it is pushed. A watcher that comes between the two gets it as well.
    all_get(&mut first, "CREATE", &ids);
    let [first] = first;
    let mut good = [first, scene.watch()];
    let links = [0, 1].map(|_| Proxy::start_narrow(scene.node.address()).unwrap());
    let mut slow = links.each_ref().map(|link| WebSocket::open(link.address(), &scene.target, &[]).unwrap());
    links[0].stall();
    links[1].limit(Some(SLOW));
    eventually(GENEROUS, || scene.watchers() == 4);
    let begin = Instant::now();
    for round in 1..=rounds {
        scene.change_all(&ids, round);
        all_get(&mut good, "UPDATE", &ids);
    }
    let took = begin.elapsed();
    let memory = scene.memory();
    assert!(memory < MEMORY_BOUND_KB, "{memory} kB");
    links[0].heal();
    links[1].limit(None);
    let made = count * usize::try_from(rounds).unwrap();
    thread::scope(|scope| {
        for (what, watch) in ["never reads", "slow link"].into_iter().zip(&mut slow) {
            scope.spawn(move || {
                let seen = read_to_the_end(watch, count, rounds);
                assert!(seen.events < made, "{what}: {} of {made} events: it was not slow", seen.events);
                assert!(seen.latest.values().all(|round| *round == rounds));
                say!("figure: {what}: {} of {made} events", seen.events);
            });
        }
    });
    say!("figure: slow watchers: {made} changes in {took:?}, {memory} kB resident");
    scene.registry.unregister(&scene.provider, &ids[0]).unwrap();
    all_get(&mut good, "DELETE", &ids[..1]);
    all_get(&mut slow, "DELETE", &ids[..1]);
}
