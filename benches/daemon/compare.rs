//! Rounds of wrk against the daemon and the floor in turn, and the best of each: a disturbance of the machine then spoils a
//! round of both, not all rounds of one.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::floor::Floor;
use crate::node::Node;
use crate::options::Options;
use crate::wrk::{Counted, Load};

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
        let one = measured(&load, floor.address(), options.round, || Ok([floor.cpu()?, Duration::ZERO]))?;
        beneath = Some(Best::of(beneath, one));
        let address = node.address();
        let one = measured(&load, address, options.round, || Ok([node.cpu()?, node.etcd_cpu()?]))?;
        ours = Some(Best::of(ours, one));
    }
    ours.zip(beneath).map(|(ours, floor)| Comparison { ours, floor }).ok_or_else(|| "no round".to_owned())
}

fn measured(
    load: &Load,
    address: SocketAddr,
    length: Duration,
    mut spent: impl FnMut() -> Result<[Duration; 2], String>,
) -> Result<Best, String> {
    let [cpu, etcd] = spent()?;
    let counted = load.run(address, length)?;
    let [cpu_after, etcd_after] = spent()?;
    Ok(Best::one(counted, [cpu_after.saturating_sub(cpu), etcd_after.saturating_sub(etcd)]))
}
