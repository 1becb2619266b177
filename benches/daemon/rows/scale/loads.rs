//! Finds, heartbeats and registrations, each alone, on 1, 2, 3 and 5 nodes: the CPU of the node that answers, of each further node, and of etcd.
//! Then all of them at once on three nodes, which the model has to predict.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::cluster::{Cluster, Idle, Loaded, Observed};
use crate::client::block_on;
use crate::compare::Drive as _;
use crate::fill::{LONG, Service, fill, instance_id};
use crate::node::Kind;
use crate::options::Options;
use crate::paced::{Pace, RaisedAtEnd, joined, send};
use crate::table::{Line, Table};
use crate::wrk::Load;

/// Numbers of nodes.
const NODES: [usize; 4] = [1, 2, 3, 5];
/// The number of nodes under all loads at once.
const MIXED: usize = 3;
/// Services that are found, and whose instances beat.
const HELD: usize = 2_000;
/// Instances of each of them.
const HELD_EACH: usize = 10;
/// Services in which instances register.
const GROWING: usize = 2_000;
/// Connections that find, and connections that beat.
const CONNECTIONS: usize = 10;
/// Connections that register as fast as they can.
const REGISTERING: usize = 64;
/// Clients that register at a pace, so that nearly each registration is a batch of its own.
const PACED: Pace = Pace { clients: 16, every: Duration::from_millis(50) };
/// The pause after the instances have registered, in which etcd writes what it has gathered and the nodes tidy up.
const SETTLE: Duration = Duration::from_secs(5);
/// The length of the measurement without a load.
const IDLE: Duration = Duration::from_secs(10);
/// The most that a write may cost a further node, in microseconds of CPU.
const MOST_FURTHER: f64 = 15.0;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Find,
    Beat,
    /// As fast as they are answered.
    Register,
    /// At a pace.
    RegisterPaced,
}

/// All loads on all numbers of nodes.
#[derive(Debug, Default)]
pub struct Sweep {
    pub loads: Vec<(usize, Sort, Observed)>,
    /// Finds at the first node, heartbeats at the second, registrations at the third.
    pub mixed: Vec<Observed>,
}

/// Measures them, each number of nodes on an etcd of its own.
pub fn measure(options: &Options, table: &mut Table) -> Result<Sweep, String> {
    let mut sweep = Sweep::default();
    for count in options.scale(NODES.as_slice(), &[1, MIXED]) {
        let mut run = Run::start(options, *count)?;
        let idle = run.idle()?;
        let shares: Vec<String> = idle.nodes.iter().map(|share| format!("{:.2}", share * 100.0)).collect();
        let row = format!("idle, {count} nodes, {} instances", run.held.len() * HELD_EACH);
        let figure = format!(
            "each node {} % of a core, etcd {:.2} %",
            shares.join(", "),
            idle.members.iter().sum::<f64>() * 100.0
        );
        table.push(Line::figure(&row, Kind::Etcd, figure));
        let from = sweep.loads.len();
        for _ in 0..options.rounds {
            for kind in [Sort::Find, Sort::Beat, Sort::Register, Sort::RegisterPaced] {
                let observed = run.alone(kind)?;
                sweep.loads.push((*count, kind, observed));
            }
            if *count == MIXED {
                sweep.mixed.push(run.mixed()?);
            }
        }
        let found = run.spread()?;
        let own: Vec<String> = (0..*count).map(|node| format!("{:.1}", found.own(node))).collect();
        let figure = format!("each node {} µs a find; etcd {:.2} µs a find", own.join(", "), found.etcd());
        table.push(Line::figure(&format!("finds at {count} nodes at once"), Kind::Etcd, figure));
        report(&sweep.loads[from..], *count, table);
    }
    Ok(sweep)
}

fn report(loads: &[(usize, Sort, Observed)], count: usize, table: &mut Table) {
    for (kind, name) in [
        (Sort::Find, "finds"),
        (Sort::Beat, "heartbeats"),
        (Sort::Register, "registrations, 64 connections,"),
        (Sort::RegisterPaced, "registrations, 320 a second,"),
    ] {
        let rounds: Vec<&Observed> =
            loads.iter().filter(|(_, of, _)| *of == kind).map(|(_, _, observed)| observed).collect();
        let row = format!("{name} at 1 of {count} nodes");
        let spread = |figure: &dyn Fn(&Observed) -> f64| Spread::of(rounds.iter().map(|round| figure(round)));
        let rate = spread(&|round| round.rate(round.total()));
        let mut words = vec![
            format!("{rate}/s"),
            format!("its CPU {} µs", spread(&|round| round.own(0))),
            format!("etcd {} µs", spread(&Observed::etcd)),
        ];
        let further = spread(&|round| round.further().unwrap_or_default());
        if count > 1 {
            words.push(format!("each further node {further} µs"));
        }
        match kind {
            Sort::Find => {}
            Sort::Beat => words.push(format!(
                "{} renewals a beat, etcd {} µs a renewal",
                spread(&|round| round.renewals / round.total()),
                spread(&|round| round.etcd * 1e6 / round.renewals)
            )),
            Sort::Register | Sort::RegisterPaced => {
                let last = count - 1;
                words.push(format!("{} in a batch", spread(&|round| round.total() / round.batches)));
                words.push(format!(
                    "{} in a snapshot",
                    spread(&|round| round.total() / round.publishes[last])
                ));
            }
        }
        let line = Line::figure(&row, Kind::Etcd, words.join("; "));
        table.push(match kind {
            Sort::Register | Sort::RegisterPaced if count > 1 => {
                line.target("≤ 15 µs a further node, median", further.median <= MOST_FURTHER)
            }
            Sort::Find | Sort::Beat if count > 1 => {
                line.target("0 µs a further node, median", further.median < 0.1)
            }
            _ => line,
        });
    }
}

/// The best and the worst of some rounds, and the one in their middle.
#[derive(Default)]
pub struct Spread {
    best: f64,
    median: f64,
    worst: f64,
}

impl Spread {
    pub fn of(rounds: impl Iterator<Item = f64>) -> Self {
        let mut rounds: Vec<f64> = rounds.collect();
        rounds.sort_unstable_by(f64::total_cmp);
        match rounds.as_slice() {
            [] => Self::default(),
            [best, .., worst] => Self { best: *best, median: rounds[rounds.len() / 2], worst: *worst },
            [only] => Self { best: *only, median: *only, worst: *only },
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = |value: f64| if value.abs() >= 100.0 { 0 } else { 1 + usize::from(value.abs() < 10.0) };
        let word = |value: f64| format!("{value:.*}", digits(value));
        let (best, worst) = (word(self.best), word(self.worst));
        if best == worst { f.write_str(&best) } else { write!(f, "{best}–{worst}") }
    }
}

/// A cluster with what it is filled with.
pub struct Run<'a> {
    options: &'a Options,
    pub cluster: Cluster,
    pub held: Vec<Service>,
    growing: Vec<Service>,
    /// Rounds so far: a part of what makes ids unique.
    rounds: usize,
    /// Paced registrations so far.
    paced: usize,
}

impl<'a> Run<'a> {
    fn start(options: &'a Options, count: usize) -> Result<Self, String> {
        Self::fill(options, Cluster::start(count)?)
    }

    pub fn fill(options: &'a Options, cluster: Cluster) -> Result<Self, String> {
        let address = cluster.nodes.first().ok_or("no node")?.address();
        let held = Service::create_many(address, "held", options.scale(HELD, 10))?;
        let growing = Service::create_many(address, "growing", options.scale(GROWING, 10))?;
        fill(address, &held, HELD_EACH, LONG)?;
        Ok(Self { options, cluster, held, growing, rounds: 0, paced: 0 })
    }

    /// Measures what the processes use without a load, which is then subtracted.
    pub fn idle(&mut self) -> Result<Idle, String> {
        let (pause, length) =
            self.options.scale((SETTLE, IDLE), (Duration::ZERO, Duration::from_millis(500)));
        self.cluster.idle(pause, length)
    }

    /// One kind of load at the first node, none at the others.
    pub fn alone(&mut self, kind: Sort) -> Result<Observed, String> {
        self.at(kind, 0)
    }

    /// One kind of load at a node, none at the others.
    pub fn at(&mut self, kind: Sort, node: usize) -> Result<Observed, String> {
        // A write takes longer than a read, so more time is needed for as many.
        let rounds = if matches!(kind, Sort::Find | Sort::Beat) { 1 } else { 2 };
        let load = self.load(kind, self.options.round * rounds)?;
        self.cluster.observe(|nodes| {
            let (answered, length) = load.run(nodes[node])?;
            let mut requests = vec![0; nodes.len()];
            requests[node] = answered;
            Ok(Loaded { requests, length })
        })
    }

    /// Finds at all nodes at once.
    fn spread(&mut self) -> Result<Observed, String> {
        let loads = vec![Sort::Find; self.cluster.nodes.len()];
        self.all_at_once(&loads)
    }

    /// Finds, heartbeats and registrations, each at a node of its own.
    fn mixed(&mut self) -> Result<Observed, String> {
        self.all_at_once(&[Sort::Find, Sort::Beat, Sort::Register])
    }

    fn all_at_once(&mut self, kinds: &[Sort]) -> Result<Observed, String> {
        let length = self.options.round * 2;
        let loads = kinds.iter().map(|kind| self.load(*kind, length)).collect::<Result<Vec<_>, _>>()?;
        self.cluster.observe(|nodes| {
            std::thread::scope(|scope| {
                let running: Vec<_> = loads
                    .iter()
                    .zip(nodes)
                    .map(|(load, address)| scope.spawn(move || load.run(*address)))
                    .collect();
                let each = running.into_iter().map(joined).collect::<Result<Vec<_>, _>>()?;
                let (requests, lengths): (Vec<u64>, Vec<Duration>) = each.into_iter().unzip();
                Ok(Loaded { requests, length: lengths.into_iter().max().unwrap_or_default() })
            })
        })
    }

    fn load(&mut self, kind: Sort, length: Duration) -> Result<Sending, String> {
        let requests = |method,
                        path: &dyn Fn(&Service, usize) -> String|
         -> Vec<(&str, String, Option<&str>)> {
            let each = 0..if method == "PUT" { HELD_EACH } else { 1 };
            each.flat_map(|number| self.held.iter().map(move |service| (method, path(service, number), None)))
                .collect()
        };
        Ok(match kind {
            Sort::Find => {
                let finds = requests("GET", &|service, _| service.find_path());
                Sending::Wrk(Load::replay(CONNECTIONS, &finds, None)?, length)
            }
            Sort::Beat => {
                let beats = requests("PUT", &|service, number| service.heartbeat_path(&instance_id(number)));
                Sending::Wrk(Load::replay(CONNECTIONS, &beats, None)?, length)
            }
            Sort::Register => {
                self.rounds += 1;
                let ids: Vec<&str> = self.growing.iter().map(|service| service.id.as_str()).collect();
                let word = format!("round-{:03}", self.rounds);
                Sending::Wrk(Load::register(REGISTERING, &ids, 1, &word)?, length)
            }
            Sort::RegisterPaced => {
                let from = self.paced;
                let turns = length.as_millis() / PACED.every.as_millis() + 100;
                self.paced += turns as usize * PACED.clients;
                Sending::Paced { services: self.growing.clone(), from, length }
            }
        })
    }
}

/// A load that can be sent.
enum Sending {
    Wrk(Load, Duration),
    Paced { services: Vec<Service>, from: usize, length: Duration },
}

impl Sending {
    /// The number of answers, and the time that they took.
    fn run(&self, address: SocketAddr) -> Result<(u64, Duration), String> {
        match self {
            Self::Wrk(load, length) => {
                let counted = load.run(address, *length)?;
                Ok((counted.requests, Duration::from_secs_f64(counted.requests as f64 / counted.rate)))
            }
            Self::Paced { services, from, length } => {
                let stop = AtomicBool::new(false);
                let register = |client: usize, turn: usize| {
                    let number = from + turn * PACED.clients + client;
                    let service = &services[number % services.len()];
                    service.register_request(&format!("paced-{number:026}"), number, LONG)
                };
                let sent = std::thread::scope(|scope| {
                    let sending = scope.spawn(|| block_on(send(address, PACED, &stop, register)));
                    let end = RaisedAtEnd(&stop);
                    std::thread::sleep(*length);
                    drop(end);
                    joined(sending)
                })?;
                Ok((sent.len() as u64, *length))
            }
        }
    }
}
