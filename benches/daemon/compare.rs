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
}

impl Best {
    fn one(counted: Counted, cpu: Duration) -> Self {
        let cpu = cpu.as_secs_f64() * 1e6 / counted.requests as f64;
        Self { rate: counted.rate, p50: counted.p50, p99: counted.p99, cpu }
    }

    fn of(one: Option<Self>, other: Self) -> Self {
        one.map_or(other, |one| Self {
            rate: one.rate.max(other.rate),
            p50: one.p50.min(other.p50),
            p99: one.p99.min(other.p99),
            cpu: one.cpu.min(other.cpu),
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
        let one = measured(&load, floor.address(), options.round, || floor.cpu())?;
        beneath = Some(Best::of(beneath, one));
        let address = node.address();
        let one = measured(&load, address, options.round, || node.cpu())?;
        ours = Some(Best::of(ours, one));
    }
    ours.zip(beneath).map(|(ours, floor)| Comparison { ours, floor }).ok_or_else(|| "no round".to_owned())
}

fn measured(
    load: &Load,
    address: SocketAddr,
    length: Duration,
    mut cpu: impl FnMut() -> Result<Duration, String>,
) -> Result<Best, String> {
    let before = cpu()?;
    let counted = load.run(address, length)?;
    Ok(Best::one(counted, cpu()?.saturating_sub(before)))
}
