//! `kill -9` again and again while clients write, on both stores.
//!
//! Each writer has a project of its own, so it knows from the answers what the project must hold. One write may be without an answer
//! when the daemon dies. That write may have happened or not. Nothing else may differ, and what was read after a restart must stay.
//! Some writes must be refused and change nothing. A long run has several daemons side by side, each with clients of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::HttpError;
use crate::support::registry::{CallError, Freshness, Instance, Registry};
use crate::support::scale::Scale;
use crate::support::seed;
use crate::support::stop::StopWhenDropped;
use crate::support::store::{Backing, Embedded, OwnEtcd};

const WRITERS: usize = 6;
/// Service ids of a writer, which uses an id again after a deletion.
const SERVICES: usize = 4;
const INSTANCES: usize = 8;
const STATUSES: [&str; 4] = ["UP", "DOWN", "STARTING", "OUTOFSERVICE"];
/// Instances with heartbeats, on leases of 15 s: longer than restarts on a busy machine, and shorter than the test.
const BEATEN: usize = 4;
/// The daemon is killed at most so long after each writer has its first answer. They need more time for some writes on etcd.
const LONGEST_LIFE_MS: u64 = 300;
const LONGEST_LIFE_ON_ETCD_MS: u64 = 900;
/// The daemon is killed at most so long after its start, while it still starts.
const LONGEST_START_MS: u64 = 60;
/// Pause between two heartbeats.
const BEAT_PAUSE: Duration = Duration::from_millis(50);

/// Services, their instances, and the status of each.
type Statuses = BTreeMap<String, BTreeMap<String, String>>;

/// A write of one client.
#[derive(Clone, Debug)]
enum Write {
    Create {
        service: String,
    },
    Delete {
        service: String,
    },
    Register {
        service: String,
        instance: String,
    },
    SetStatus {
        service: String,
        instance: String,
        status: &'static str,
    },
    Unregister {
        service: String,
        instance: String,
    },
    Beat {
        service: String,
        instance: String,
    },
    /// A second service with the name and version of an existing one. It must be refused.
    Again {
        service: String,
    },
}

impl Write {
    fn send(&self, registry: &Registry) -> Result<(), CallError> {
        match self {
            Self::Create { service } => registry.create_service_as(service, service, "1.0.0").map(drop),
            Self::Delete { service } => registry.delete_service(service),
            Self::Register { service, instance } => {
                // It gets no heartbeats, and leases go on in etcd while the daemon is down.
                let lasting = Instance::named(instance).with_health_check(600, 3);
                registry.register(service, &lasting).map(drop)
            }
            Self::SetStatus { service, instance, status } => registry.set_status(service, instance, status),
            Self::Unregister { service, instance } => registry.unregister(service, instance),
            Self::Beat { service, instance } => registry.heartbeat(service, instance),
            Self::Again { service } => {
                match registry.create_service_as(&format!("again-{service}"), service, "1.0.0") {
                    Ok(id) => Err(CallError::Unexpected(format!("{id} was created, {service} is there"))),
                    Err(CallError::Refused { status: 400, .. }) => Ok(()),
                    Err(other) => Err(other),
                }
            }
        }
    }

    fn apply(self, model: &mut Statuses) {
        match self {
            Self::Create { service } => drop(model.entry(service).or_default()),
            Self::Delete { service } => drop(model.remove(&service)),
            Self::Register { service, instance } => {
                model.entry(service).or_default().insert(instance, "UP".to_owned());
            }
            Self::SetStatus { service, instance, status } => {
                model.entry(service).or_default().insert(instance, status.to_owned());
            }
            Self::Unregister { service, instance } => {
                model.entry(service).or_default().remove(&instance);
            }
            Self::Beat { .. } | Self::Again { .. } => {}
        }
    }
}

/// A client, what its project must hold, and the write without an answer or with an unknown outcome.
struct Writer {
    registry: Registry,
    random: StdRng,
    model: Statuses,
    in_doubt: Option<Write>,
    acknowledged: usize,
    /// How often the store was late, as etcd is now and then on a busy machine.
    late: usize,
}

impl Writer {
    /// Writes until the daemon does not answer, or its store is late. Sets the flag with the first answer.
    fn run(&mut self, is_answered: &AtomicBool) {
        loop {
            let write = self.choose();
            match write.send(&self.registry) {
                Ok(()) => {
                    write.apply(&mut self.model);
                    self.acknowledged += 1;
                    is_answered.store(true, Ordering::Relaxed);
                }
                // The write was not sent.
                Err(CallError::NoAnswer(HttpError::Connect(_))) => return,
                Err(CallError::NoAnswer(_)) => {
                    self.in_doubt = Some(write);
                    return;
                }
                Err(CallError::Refused { status: 500..600, .. }) => {
                    self.in_doubt = Some(write);
                    self.late += 1;
                    is_answered.store(true, Ordering::Relaxed);
                    return;
                }
                Err(error) => panic!("{write:?}: {error}"),
            }
        }
    }

    /// Chooses a write that the state of the project allows.
    fn choose(&mut self) -> Write {
        let random = &mut self.random;
        let service = format!("s{}", random.random_range(0..SERVICES));
        let Some(instances) = self.model.get(&service) else { return Write::Create { service } };
        let instance = format!("i{}", random.random_range(0..INSTANCES));
        if !instances.contains_key(&instance) {
            return Write::Register { service, instance };
        }
        let status = STATUSES[random.random_range(0..STATUSES.len())];
        match random.random_range(0..20) {
            0 => Write::Delete { service },
            1..=6 => Write::Unregister { service, instance },
            7..=13 => Write::SetStatus { service, instance, status },
            14 => Write::Again { service },
            _ => Write::Beat { service, instance },
        }
    }

    /// Asserts that the project holds what the answers say, with or without the effect of the one write without an answer.
    fn check(&mut self, when: &str) {
        let seen = self.look().unwrap_or_else(|error| panic!("{when}: {error}"));
        let doubt = self.in_doubt.take();
        if seen == self.model {
            return;
        }
        let mut other = self.model.clone();
        if let Some(write) = doubt.clone() {
            write.apply(&mut other);
        }
        assert_eq!(seen, other, "{when}: seen, and what was answered (in doubt: {doubt:?})");
        self.model = seen;
    }

    fn look(&self) -> Result<Statuses, CallError> {
        let services = self.registry.services(Freshness::Fresh)?;
        services.into_iter().map(|service| Ok((service.clone(), self.registry.statuses(&service)?))).collect()
    }
}

/// Instances on short leases, whose owner sends heartbeats whenever the daemon answers.
struct ShortLeases {
    registry: Registry,
    service: String,
}

impl ShortLeases {
    fn start(registry: Registry) -> Self {
        let setup = registry.clone().patient();
        let service = setup.create_service("beaten", "1.0.0").unwrap();
        for number in 0..BEATEN {
            let instance = Instance::named(&format!("b{number}")).with_health_check(5, 2);
            setup.register(&service, &instance).unwrap();
        }
        Self { registry, service }
    }

    /// Sends heartbeats until it is told to stop; how many were answered.
    fn beat(&self, stop: &AtomicBool) -> usize {
        let mut answered = 0;
        while !stop.load(Ordering::Relaxed) {
            for number in 0..BEATEN {
                match self.registry.heartbeat(&self.service, &format!("b{number}")) {
                    Ok(()) => answered += 1,
                    Err(CallError::NoAnswer(_)) => {}
                    Err(error) => panic!("b{number} is lost although it beats: {error}"),
                }
            }
            thread::sleep(BEAT_PAUSE);
        }
        answered
    }

    fn check(&self, when: &str) {
        let seen = self.registry.list(&self.service, Freshness::Fresh).unwrap();
        let all: Vec<String> = (0..BEATEN).map(|number| format!("b{number}")).collect();
        assert_eq!(seen, all, "{when}: instances that beat");
    }
}

/// Waits for a random part of so many milliseconds, so that the next fault comes at a random moment.
fn wait_for_random_moment(random: &mut StdRng, most_ms: u64) {
    thread::sleep(Duration::from_millis(random.random_range(0..most_ms)));
}

/// The counts of a lane.
struct LaneCounts {
    kills: usize,
    acknowledged: usize,
    beats: usize,
}

/// Runs so many rounds in all. Each lane has a daemon, a store and clients of its own.
fn kill_in_lanes(
    name: &str,
    lanes: usize,
    rounds: usize,
    life_ms: u64,
    store: impl Fn() -> Box<dyn Backing> + Sync,
) {
    let seed = seed::of_this_run();
    say!("kill -9, {name} store, {rounds} rounds in {lanes} lanes: {}", seed::shown(seed));
    let begin = Instant::now();
    let done: Vec<LaneCounts> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes)
            .map(|lane| {
                let (store, seed) = (&store, seed.wrapping_add(lane as u64));
                scope.spawn(move || kill_again_and_again(&*store(), rounds / lanes, life_ms, seed))
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane without a failure")).collect()
    });
    say!(
        "figure: kill -9, {name} store: {} kills, {} writes answered, all there, and {} beats, in {:?}",
        done.iter().map(|lane| lane.kills).sum::<usize>(),
        done.iter().map(|lane| lane.acknowledged).sum::<usize>(),
        done.iter().map(|lane| lane.beats).sum::<usize>(),
        begin.elapsed()
    );
}

fn kill_again_and_again(store: &dyn Backing, rounds: usize, longest_life_ms: u64, seed: u64) -> LaneCounts {
    let mut random = StdRng::seed_from_u64(seed);
    let settings = Settings::default().yaml("registry.instance.minTimes", json!(1));
    let mut daemon = Daemon::start(store.chosen_in(settings)).unwrap();
    let client = daemon.client();
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            registry: Registry::new(client.clone(), &format!("w{number}")),
            random: StdRng::seed_from_u64(random.random()),
            model: Statuses::new(),
            in_doubt: None,
            acknowledged: 0,
            late: 0,
        })
        .collect();
    let owner = ShortLeases::start(Registry::new(client, "beaten"));
    let stop = AtomicBool::new(false);
    let (mut kills, mut beats) = (0, 0);
    thread::scope(|scope| {
        // An assertion that fails stops the owner as well, so that the scope ends.
        let _stop = StopWhenDropped(&stop);
        let beating = scope.spawn(|| owner.beat(&stop));
        for round in 0..rounds {
            let when = format!("{}, round {round}", seed::shown(seed));
            let answered = [const { AtomicBool::new(false) }; WRITERS];
            thread::scope(|scope| {
                for (writer, is_answered) in writers.iter_mut().zip(&answered) {
                    scope.spawn(|| writer.run(is_answered));
                }
                eventually(GENEROUS, || answered.iter().all(|answered| answered.load(Ordering::Relaxed)));
                wait_for_random_moment(&mut random, longest_life_ms);
                daemon.kill9();
                kills += 1;
            });
            while random.random_ratio(1, 4) {
                daemon.respawn().unwrap();
                wait_for_random_moment(&mut random, LONGEST_START_MS);
                daemon.kill9();
                kills += 1;
            }
            daemon.restart().unwrap_or_else(|error| panic!("{when}: {error}"));
            writers.iter_mut().for_each(|writer| writer.check(&when));
            owner.check(&when);
        }
        stop.store(true, Ordering::Relaxed);
        beats = beating.join().unwrap();
        assert!(beats > 0, "no beat was answered");
    });
    let health = daemon.client().get("/v4/default/registry/health").unwrap().json();
    assert_eq!(health["instances"].as_array().map(Vec::len), Some(1), "one node, one entry: {health}");
    for writer in &writers {
        let (done, late) = (writer.acknowledged, writer.late);
        assert!(
            late <= rounds / 2 && done + late >= rounds,
            "only {done} writes of a writer were done, {late} were late"
        );
        assert!(late == 0 || store.name() == "etcd", "the embedded store refused {late} writes");
    }
    assert_eq!(daemon.terminate(GENEROUS).unwrap().code(), Some(0));
    daemon.restart().unwrap();
    writers.iter_mut().for_each(|writer| writer.check("after a stop in order"));
    LaneCounts { kills, acknowledged: writers.iter().map(|writer| writer.acknowledged).sum(), beats }
}

/// Injected: `kill -9` under load and during the restart, 1,000 rounds in a long run.
#[test]
fn no_answered_write_is_lost_by_kill_9_on_the_embedded_store() {
    let (lanes, rounds) = Scale::of_this_run().choose((1, 20), (5, 1_000));
    kill_in_lanes("embedded", lanes, rounds, LONGEST_LIFE_MS, || Box::new(Embedded));
}

/// Injected: `kill -9` under load and during the restart, 200 rounds in a long run.
#[test]
fn no_answered_write_is_lost_by_kill_9_on_etcd() {
    let (lanes, rounds) = Scale::of_this_run().choose((1, 20), (2, 200));
    kill_in_lanes("etcd", lanes, rounds, LONGEST_LIFE_ON_ETCD_MS, || Box::new(OwnEtcd::start()));
}
