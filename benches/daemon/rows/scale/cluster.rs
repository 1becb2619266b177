//! Nodes on one etcd, and what each process spends while a load runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::node::{Backing, Node};

/// The pause after a load, in which the other nodes finish the work that it has caused.
const SETTLE: Duration = Duration::from_millis(300);

/// Nodes on one etcd.
pub struct Cluster {
    pub backing: Backing,
    pub nodes: Vec<Node>,
    /// CPU that each process uses without a load.
    idle: Option<Idle>,
}

/// CPU that a process uses without a load, in seconds of CPU a second.
#[derive(Clone, Debug)]
pub struct Idle {
    pub nodes: Vec<f64>,
    /// The members of the etcd.
    pub members: Vec<f64>,
}

/// What happened during a load, without what an idle process uses.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Requests that each node has answered.
    pub requests: Vec<u64>,
    /// CPU of each node in seconds.
    pub nodes: Vec<f64>,
    /// CPU of the etcd, all its members, in seconds.
    pub etcd: f64,
    /// CPU of each member of the etcd in seconds.
    pub members: Vec<f64>,
    /// Snapshots that each node has published because of events.
    pub publishes: Vec<f64>,
    /// Batches of transactions that the nodes have sent.
    pub batches: f64,
    /// Leases that etcd has renewed.
    pub renewals: f64,
    /// How long the load was on, without the start of its generator.
    seconds: f64,
}

/// What a load has done.
pub struct Loaded {
    /// Requests that each node has answered.
    pub requests: Vec<u64>,
    /// How long it was on.
    pub length: Duration,
}

/// What the counters of a cluster say at a moment.
struct Reading {
    at: Instant,
    nodes: Vec<Duration>,
    members: Vec<Duration>,
}

impl Cluster {
    /// Starts nodes, each after the other.
    pub fn start(count: usize) -> Result<Self, String> {
        let backing = Backing::start_members(1);
        let nodes = backing.nodes(count)?;
        Ok(Self { backing, nodes, idle: None })
    }

    /// Nodes on an etcd of several members.
    pub fn of(backing: Backing, nodes: Vec<Node>) -> Self {
        Self { backing, nodes, idle: None }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Node::address).collect()
    }

    /// Measures what the processes use without a load, after `pause`. It is subtracted from what they use later.
    pub fn idle(&mut self, pause: Duration, length: Duration) -> Result<Idle, String> {
        std::thread::sleep(pause);
        let before = self.read()?;
        std::thread::sleep(length);
        let after = self.read()?;
        let seconds = (after.at - before.at).as_secs_f64();
        let each = |before: &[Duration], after: &[Duration]| {
            spent(before, after).iter().map(|spent| spent / seconds).collect::<Vec<f64>>()
        };
        let idle =
            Idle { nodes: each(&before.nodes, &after.nodes), members: each(&before.members, &after.members) };
        self.idle = Some(idle.clone());
        Ok(idle)
    }

    /// Runs a load.
    pub fn observe(
        &mut self,
        load: impl FnOnce(&[SocketAddr]) -> Result<Loaded, String>,
    ) -> Result<Observed, String> {
        let counts_before = self.counts()?;
        let before = self.read()?;
        let Loaded { requests, length } = load(&self.addresses())?;
        std::thread::sleep(SETTLE);
        let after = self.read()?;
        let counts_after = self.counts()?;
        let seconds = (after.at - before.at).as_secs_f64();
        let idle = self.idle.as_ref().ok_or("the idle processes were not measured")?;
        let without = |spent: Vec<f64>, idle: &[f64]| -> Vec<f64> {
            spent.iter().zip(idle).map(|(spent, idle)| spent - idle * seconds).collect()
        };
        let nodes = without(spent(&before.nodes, &after.nodes), &idle.nodes);
        let members = without(spent(&before.members, &after.members), &idle.members);
        let gone = |number: usize| -> Vec<f64> {
            let pairs = counts_before.iter().zip(&counts_after);
            pairs.map(|(before, after)| after[number] - before[number]).collect()
        };
        Ok(Observed {
            requests,
            nodes,
            etcd: members.iter().sum(),
            members,
            publishes: gone(0),
            batches: gone(1).iter().sum(),
            renewals: gone(2).iter().sum(),
            seconds: length.as_secs_f64(),
        })
    }

    fn read(&mut self) -> Result<Reading, String> {
        let nodes = self.nodes.iter_mut().map(Node::cpu).collect::<Result<_, _>>()?;
        Ok(Reading { at: Instant::now(), nodes, members: self.backing.members_cpu()? })
    }

    /// Of each node: snapshots published, batches sent, leases renewed.
    fn counts(&self) -> Result<Vec<[f64; 3]>, String> {
        let of = |node: &Node| {
            Ok([
                node.metric("service_center_snapshot_publish_duration_seconds_count")?,
                node.metric("service_center_store_batch_transactions_count")?,
                node.metric("service_center_lease_renewals_total")?,
            ])
        };
        self.nodes.iter().map(of).collect()
    }
}

impl Observed {
    /// All requests.
    pub fn total(&self) -> f64 {
        self.requests.iter().sum::<u64>() as f64
    }

    /// How often a second something happened that was counted during the load.
    pub fn rate(&self, count: f64) -> f64 {
        count / self.seconds
    }

    /// CPU of a node in microseconds for each of its requests.
    pub fn own(&self, node: usize) -> f64 {
        self.nodes[node] * 1e6 / self.requests[node].max(1) as f64
    }

    /// CPU of each node that got no request, on average, in microseconds for each request elsewhere.
    pub fn further(&self) -> Option<f64> {
        let further: Vec<f64> = self
            .requests
            .iter()
            .zip(&self.nodes)
            .filter(|(requests, _)| **requests == 0)
            .map(|(_, cpu)| *cpu)
            .collect();
        let mean = further.iter().sum::<f64>() / further.len() as f64;
        (!further.is_empty()).then(|| mean * 1e6 / self.total())
    }

    /// CPU of the etcd in microseconds for each request.
    pub fn etcd(&self) -> f64 {
        self.etcd * 1e6 / self.total()
    }
}

fn spent(before: &[Duration], after: &[Duration]) -> Vec<f64> {
    before.iter().zip(after).map(|(before, after)| after.saturating_sub(*before).as_secs_f64()).collect()
}
