//! Rounds of load against the daemon and the floor in turn, and the best of each: a disturbance of the machine then spoils a
//! round of both, not all rounds of one.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::floor::Floor;
use crate::node::Node;
use crate::options::Options;
use crate::wrk::Load;

/// The best of some rounds, each figure on its own.
#[derive(Clone, Copy, Debug)]
pub struct Best {
    /// Answers a second.
    pub rate: f64,
    /// Median latency.
    pub p50: Duration,
    /// The latency that one in a hundred exceeds.
    pub p99: Duration,
    /// CPU time of the server, all its threads, divided by the answers, in microseconds.
    pub cpu: f64,
    /// The same of the etcd behind it; 0 where there is none.
    pub etcd: f64,
}

impl Best {
    fn one(counted: Counted, [cpu, etcd]: [Duration; 2]) -> Self {
        let each = |spent: Duration| spent.as_secs_f64() * 1e6 / counted.requests as f64;
        Self { rate: counted.rate, p50: counted.p50, p99: counted.p99, cpu: each(cpu), etcd: each(etcd) }
    }

    fn of(one: Option<Self>, other: Self) -> Self {
        one.map_or(other, |one| Self {
            rate: one.rate.max(other.rate),
            p50: one.p50.min(other.p50),
            p99: one.p99.min(other.p99),
            cpu: one.cpu.min(other.cpu),
            etcd: one.etcd.min(other.etcd),
        })
    }
}

/// What came of the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// The daemon.
    pub ours: Best,
    /// The floor.
    pub floor: Best,
}

/// What was counted in a round.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Answers a second.
    pub rate: f64,
    /// Answers.
    pub requests: u64,
    /// Median latency.
    pub p50: Duration,
    /// The latency that one in a hundred exceeds.
    pub p99: Duration,
}

/// Something that puts load on a server.
pub trait Drive {
    /// Does so for so long. An answer that is an error, or none at all, is an error.
    fn run(&self, address: SocketAddr, length: Duration) -> Result<Counted, String>;
}

/// A server that can be measured beside others.
pub trait Server {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// CPU time that it has used, and that of the etcd behind it.
    fn spent(&mut self) -> Result<[Duration; 2], String>;
}

impl Server for Node {
    fn address(&self) -> SocketAddr {
        Node::address(self)
    }

    fn spent(&mut self) -> Result<[Duration; 2], String> {
        Ok([self.cpu()?, self.etcd_cpu()?])
    }
}

impl Server for &Floor {
    fn address(&self) -> SocketAddr {
        Floor::address(self)
    }

    fn spent(&mut self) -> Result<[Duration; 2], String> {
        Ok([self.cpu()?, Duration::ZERO])
    }
}

/// Measures each server under its load in turn, in each round. The best of each, in the same order.
pub fn in_turn<const N: usize>(
    options: &Options,
    mut servers: [(&mut dyn Server, &dyn Drive); N],
) -> Result<[Best; N], String> {
    let mut best = [None; N];
    for _ in 0..options.rounds {
        for ((server, load), best) in servers.iter_mut().zip(&mut best) {
            *best = Some(Best::of(*best, measured(*load, *server, options.round)?));
        }
    }
    let best: Option<Vec<Best>> = best.into_iter().collect();
    best.and_then(|best| best.try_into().ok()).ok_or_else(|| "no round".to_owned())
}

/// Floor, daemon, floor, daemon, … `load` makes the load of a round: the same one each time, or a new one.
pub fn compare(
    options: &Options,
    node: &mut Node,
    floor: &Floor,
    mut load: impl FnMut(usize) -> Result<Rc<Load>, String>,
) -> Result<Comparison, String> {
    let (mut ours, mut beneath) = (None, None);
    for round in 0..options.rounds {
        let load = load(round)?;
        beneath = Some(Best::of(beneath, measured(&*load, &mut &*floor, options.round)?));
        ours = Some(Best::of(ours, measured(&*load, node, options.round)?));
    }
    ours.zip(beneath).map(|(ours, floor)| Comparison { ours, floor }).ok_or_else(|| "no round".to_owned())
}

/// Two daemons in turn, each under a new load in each round.
pub fn pair(
    options: &Options,
    mut nodes: [&mut Node; 2],
    load: impl Fn(usize, &Node) -> Result<Load, String>,
) -> Result<[Best; 2], String> {
    let mut best = [None; 2];
    for round in 0..options.rounds {
        for (node, best) in nodes.iter_mut().zip(&mut best) {
            let load = load(round, node)?;
            *best = Some(Best::of(*best, measured(&load, &mut **node, options.round)?));
        }
    }
    let [Some(one), Some(other)] = best else { return Err("no round".to_owned()) };
    Ok([one, other])
}

fn measured(load: &dyn Drive, server: &mut dyn Server, length: Duration) -> Result<Best, String> {
    let [cpu, etcd] = server.spent()?;
    let counted = load.run(server.address(), length)?;
    let [cpu_after, etcd_after] = server.spent()?;
    Ok(Best::one(counted, [cpu_after.saturating_sub(cpu), etcd_after.saturating_sub(etcd)]))
}
