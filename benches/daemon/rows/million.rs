//! A million instances, each with a heartbeat every 30 s, while consumers find: whether the daemon keeps up, and at which rate of heartbeats
//! something gives way.

use std::process;
use std::time::{Duration, Instant};

use crate::fill::Service;
use crate::fleet::{BEATER_THREADS, Fleet};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::paced::joined;
use crate::steady::{EndedAtDrop, State, Tally};
use crate::table::{Line, Table};
use crate::usage;

/// The rows measured here.
pub const ROWS: [&str; 1] = ["million"];

const SERVICES: usize = 1_000;
const EACH: usize = 1_000;
/// Between two heartbeats of an instance, as SDKs send them.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// Finds a second, each of a service with all its instances.
const FINDS: u32 = 50;
/// The goal for a find meanwhile.
const MOST_FIND: Duration = Duration::from_millis(10);
/// Heartbeats in one request, in the last row.
const TOGETHER: usize = 100;

/// A phase: how often an instance sends a heartbeat in `BEAT_EVERY`, and how long it lasts.
struct Phase {
    times: f64,
    seconds: u64,
}

/// The goal itself is held for longer than a lease without heartbeats lasts. The others begin below it, so that a machine that misses it shows what it
/// holds, and end at the first that fails.
const PHASES: [Phase; 5] = [
    Phase { times: 0.3, seconds: 20 },
    Phase { times: 0.6, seconds: 20 },
    Phase { times: 1.0, seconds: 130 },
    Phase { times: 1.5, seconds: 30 },
    Phase { times: 2.1, seconds: 30 },
];
const SHORT: [Phase; 1] = [Phase { times: 1.0, seconds: 1 }];

/// Measures them on one daemon.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start(store);
    let mut node = backing.node()?;
    let nodes = [node.address()];
    let services = Service::create_many(nodes[0], "service", options.scale(SERVICES, 10))?;
    let fleet = Fleet::new(&nodes, &services, options.scale(EACH, 10));
    let beat_every = options.scale(BEAT_EVERY, BEAT_EVERY / 60);
    let (beats, finds) = (fleet.beats(), fleet.finds(FINDS));
    std::thread::scope(|scope| {
        let (end_beats, end_finds) = (EndedAtDrop(&beats.state), EndedAtDrop(&finds.state));
        let threads = [scope.spawn(|| beats.run(BEATER_THREADS)), scope.spawn(|| finds.run(1))];
        let run = Run { store, fleet: &fleet, beats: &beats.state, finds: &finds.state };
        run.register(&mut node, table)?;
        for phase in options.scale(PHASES.as_slice(), SHORT.as_slice()) {
            let length = Duration::from_secs(phase.seconds);
            if !run.phase(&mut node, table, beat_every.div_f64(phase.times), 1, length)? {
                break;
            }
        }
        let length = options.scale(Duration::from_secs(30), Duration::from_secs(1));
        run.phase(&mut node, table, beat_every, options.scale(TOGETHER, 10), length)?;
        drop((end_beats, end_finds));
        threads.into_iter().try_for_each(joined)?;
        let missing = fleet.missing(nodes[0])?;
        let figure = format!("{missing} of {} lost", fleet.count());
        let line = Line::figure("instances at the end, by finds", store, figure);
        table.push(line.target("0 lost", missing == 0));
        Ok(())
    })
}

struct Run<'a> {
    store: Kind,
    fleet: &'a Fleet<'a>,
    beats: &'a State,
    finds: &'a State,
}

/// What the processes have used so far.
struct Spent {
    at: Instant,
    node: Duration,
    etcd: Duration,
    load: Duration,
}

impl Spent {
    fn now(node: &mut Node) -> Result<Self, String> {
        let load = usage::cpu(process::id())?;
        Ok(Self { at: Instant::now(), node: node.cpu()?, etcd: node.etcd_cpu()?, load })
    }
}

impl Run<'_> {
    /// Registers all instances, whose heartbeats begin at once.
    fn register(&self, node: &mut Node, table: &mut Table) -> Result<(), String> {
        let before = Spent::now(node)?;
        self.fleet.register()?;
        let (beats, finds) = (self.beats.next_phase(), self.finds.next_phase());
        let rate = self.fleet.count() as f64 / before.at.elapsed().as_secs_f64();
        let found = finds.latencies().map_or_else(|_| "no finds".to_owned(), |took| took.text());
        let figure = format!(
            "{rate:.0}/s; {} beats, {}; finds {found}, {}; {}",
            beats.count(),
            beats.faults(),
            finds.faults(),
            self.used(node, &before)?
        );
        let row = format!("register {} instances, which beat from then on", self.fleet.count());
        table.push(Line::figure(&row, self.store, figure));
        Ok(())
    }

    /// One phase; whether it has reached its goal.
    fn phase(
        &self,
        node: &mut Node,
        table: &mut Table,
        every: Duration,
        together: usize,
        length: Duration,
    ) -> Result<bool, String> {
        self.fleet.beat_every(every, together);
        let before = Spent::now(node)?;
        self.beats.next_phase();
        self.finds.next_phase();
        std::thread::sleep(length);
        let seconds = before.at.elapsed().as_secs_f64();
        let (beats, finds): (Tally, Tally) = (self.beats.next_phase(), self.finds.next_phase());
        let wanted = self.fleet.count() as f64 / every.as_secs_f64();
        let reached = (beats.count() * together) as f64 / seconds;
        let (beaten, found) = (beats.latencies()?, finds.latencies()?);
        let figure = format!(
            "{reached:.0} beats/s, {}; {}; finds {}; {}; {}",
            beaten.text(),
            beats.faults(),
            found.text(),
            finds.faults(),
            self.used(node, &before)?,
        );
        let met = found.percentile(99) <= MOST_FIND
            && beats.is_faultless()
            && finds.is_faultless()
            && reached >= wanted * 0.98;
        let how = if together == 1 { String::new() } else { format!(", {together} in a request") };
        let row = format!("{} instances, {wanted:.0} beats/s{how}", self.fleet.count());
        let target = "find p99 ≤ 10 ms, no instance lost, nothing late";
        table.push(Line::figure(&row, self.store, figure).target(target, met));
        Ok(met)
    }

    /// CPU as a number of cores, and memory.
    fn used(&self, node: &mut Node, before: &Spent) -> Result<String, String> {
        let now = Spent::now(node)?;
        let seconds = (now.at - before.at).as_secs_f64();
        let cores = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() / seconds;
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let mut text = format!(
            "cores: daemon {:.2}, load {:.2}",
            cores(now.node, before.node),
            cores(now.load, before.load)
        );
        if self.store == Kind::Etcd {
            text.push_str(&format!(", etcd {:.2}", cores(now.etcd, before.etcd)));
        }
        text.push_str(&format!("; memory: daemon {:.2} GB", gigabytes(node.resident()?)));
        if self.store == Kind::Etcd {
            text.push_str(&format!(", etcd {:.2} GB", gigabytes(node.etcd_resident()?)));
        }
        Ok(text)
    }
}
