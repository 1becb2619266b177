//! A model of what a cluster spends: linear in what happens a second. Its coefficients are fitted to the rows of single loads; the row with
//! all loads at once shows how well it predicts. benches/README.md says what the rows measure.

use super::cluster::Observed;
use super::held::Held;
use super::loads::{Sort, Sweep};
use super::push::Pushes;
use crate::node::Kind;
use crate::table::{Line, Table};

/// All coefficients, in microseconds of CPU, and in bytes.
#[derive(Clone, Debug)]
pub struct Model {
    /// The node: a find.
    find: f64,
    /// The node: a heartbeat with its renewal.
    beat: f64,
    /// The node: a registration that it takes, and a snapshot that it publishes meanwhile.
    own: [f64; 2],
    /// A node: a registration at another node, and a snapshot that it publishes.
    further: [f64; 2],
    /// etcd: a renewal.
    renewal: f64,
    /// etcd: a registration, a batch, and a registration for each further node.
    etcd: [f64; 3],
    held: Held,
    pushes: Pushes,
}

impl Model {
    /// Fits it to the loads that ran alone.
    pub fn fit(sweep: &Sweep, held: Held, pushes: Pushes) -> Result<Self, String> {
        let of = |sort: Sort| sweep.loads.iter().filter(move |(_, of, _)| *of == sort);
        let registrations = || of(Sort::Register).chain(of(Sort::RegisterPaced));
        let single = |sort: Sort, count: fn(&Observed) -> f64, spent: fn(&Observed) -> f64| {
            let samples = of(sort).map(|(_, _, observed)| ([count(observed)], spent(observed)));
            least_squares(samples.collect()).map(|[each]| each)
        };
        let own = registrations()
            .map(|(_, _, observed)| ([observed.total(), observed.publishes[0]], observed.nodes[0]));
        let further = registrations().flat_map(|(nodes, _, observed)| {
            (1..*nodes).map(|node| ([observed.total(), observed.publishes[node]], observed.nodes[node]))
        });
        let etcd = registrations().map(|(nodes, _, observed)| {
            let further = observed.total() * (*nodes - 1) as f64;
            ([observed.total(), observed.batches, further], observed.etcd)
        });
        Ok(Self {
            find: single(Sort::Find, Observed::total, |observed| observed.nodes[0])?,
            beat: single(Sort::Beat, Observed::total, |observed| observed.nodes[0])?,
            own: least_squares(own.collect())?,
            further: least_squares(further.collect())?,
            renewal: single(Sort::Beat, |observed| observed.renewals, |observed| observed.etcd)?,
            etcd: least_squares(etcd.collect())?,
            held,
            pushes,
        })
    }

    /// CPU of each node and of etcd, in seconds, under finds at the first node, beats at the second, and registrations at the third.
    fn predict(&self, seen: &Observed) -> ([f64; 3], f64) {
        let [finds, beats, registrations] = [0, 1, 2].map(|node| seen.requests[node] as f64);
        let further = |node: usize| self.further[0] * registrations + self.further[1] * seen.publishes[node];
        let nodes = [
            self.find * finds + further(0),
            self.beat * beats + further(1),
            self.own[0] * registrations + self.own[1] * seen.publishes[2],
        ];
        let etcd = self.renewal * seen.renewals
            + self.etcd[0] * registrations
            + self.etcd[1] * seen.batches
            + self.etcd[2] * registrations * 2.0;
        (nodes.map(|node| node / 1e6), etcd / 1e6)
    }
}

/// The coefficients that fit best, in microseconds: each sample has the counts and the seconds of CPU. A sample of a short run counts as much
/// as one of a long run, because its relative error counts.
fn least_squares<const N: usize>(samples: Vec<([f64; N], f64)>) -> Result<[f64; N], String> {
    let mut equations = [[0.0; N]; N];
    let mut right = [0.0; N];
    for (counts, seconds) in samples.iter().filter(|(_, seconds)| *seconds > 0.0) {
        let counts = counts.map(|count| count / seconds);
        for row in 0..N {
            for column in 0..N {
                equations[row][column] += counts[row] * counts[column];
            }
            right[row] += counts[row];
        }
    }
    solve(equations, right)
        .map(|each| each.map(|each| each * 1e6))
        .ok_or_else(|| "too few different samples".to_owned())
}

/// Solves linear equations by elimination.
fn solve<const N: usize>(mut equations: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    for step in 0..N {
        let best =
            (step..N).max_by(|a, b| equations[*a][step].abs().total_cmp(&equations[*b][step].abs()))?;
        equations.swap(step, best);
        right.swap(step, best);
        let pivot = equations[step];
        if pivot[step].abs() < f64::EPSILON {
            return None;
        }
        for row in (0..N).filter(|row| *row != step) {
            let factor = equations[row][step] / pivot[step];
            for column in 0..N {
                equations[row][column] -= factor * pivot[column];
            }
            right[row] -= factor * right[step];
        }
    }
    let mut solution = [0.0; N];
    for step in 0..N {
        solution[step] = right[step] / equations[step][step];
    }
    Some(solution)
}

/// How a registry is used.
struct Usage {
    /// Seconds between two heartbeats of an instance.
    beat_every: f64,
    /// Finds of an instance a second.
    finds: f64,
    /// Times a day that an instance registers and unregisters.
    restarts: f64,
    /// Watchers that are told of each event.
    told: f64,
    /// Registrations in a batch.
    batch: f64,
    /// The share of a core that may be used.
    load: f64,
}

const USAGE: Usage =
    Usage { beat_every: 30.0, finds: 5.0 / 30.0, restarts: 4.0, told: 50.0, batch: 4.0, load: 0.6 };

impl Model {
    /// Instances until the nodes are busy, and until etcd is.
    fn instances(&self, nodes: f64, node_cores: f64, etcd_cores: f64) -> (f64, f64) {
        let Usage { beat_every, finds, restarts, told, batch, load } = USAGE;
        let writes = restarts * 2.0 / 86_400.0;
        let own = (self.beat / beat_every
            + self.find * finds
            + self.pushes.push * told * writes
            + (self.own[0] + self.own[1] / batch) * writes)
            / nodes;
        let further = (self.further[0] + self.further[1] / batch) * writes * (nodes - 1.0) / nodes;
        let etcd = self.renewal / beat_every
            + (self.etcd[0] + self.etcd[1] / batch + self.etcd[2] * (nodes - 1.0)) * writes;
        (node_cores * load * 1e6 / (own + further), etcd_cores * load * 1e6 / etcd)
    }

    /// Registrations a second that keep the nodes, and etcd, busy. Each node applies all of them on one thread.
    fn registrations(&self, nodes: f64, node_cores: f64, etcd_cores: f64) -> (f64, f64) {
        let batch = 20.0;
        let applying = self.further[0] + self.further[1] / batch;
        let own = (self.own[0] + self.own[1] / batch) / nodes + applying * (nodes - 1.0) / nodes;
        let etcd = self.etcd[0] + self.etcd[1] / batch + self.etcd[2] * (nodes - 1.0);
        ((node_cores * 1e6 / own).min(1e6 / applying), etcd_cores * 1e6 / etcd)
    }
}

/// The coefficients, the prediction of the row that was not fitted, and what clusters can carry.
pub fn report(model: &Model, sweep: &Sweep, table: &mut Table) {
    let mut figure = |row: &str, figure: String| table.push(Line::figure(row, Kind::Etcd, figure));
    figure(
        "model, CPU of a node",
        format!(
            "{:.1} µs a find, {:.1} µs a heartbeat, {:.1} µs a registration + {:.1} µs a snapshot; registered elsewhere {:.1} µs + {:.1} µs a snapshot; {:.2} µs an event and watcher",
            model.find,
            model.beat,
            model.own[0],
            model.own[1],
            model.further[0],
            model.further[1],
            model.pushes.push
        ),
    );
    figure(
        "model, CPU of etcd",
        format!(
            "{:.1} µs a renewal, {:.1} µs a registration + {:.1} µs a batch + {:.1} µs for each further node; {:.1} µs an instance that a starting node lists (the node itself {:.1} µs)",
            model.renewal,
            model.etcd[0],
            model.etcd[1],
            model.etcd[2],
            model.held.etcd_listing,
            model.held.listing
        ),
    );
    figure(
        "model, memory",
        format!(
            "a node {:.0} MB + {:.0} B a service + {:.0} B an instance + {:.0} B a watcher; etcd {:.0} B an instance",
            model.held.empty / 1e6,
            model.held.service,
            model.held.instance,
            model.pushes.watcher,
            model.held.etcd_instance
        ),
    );
    for seen in &sweep.mixed {
        let (nodes, etcd) = model.predict(seen);
        let compared = |predicted: f64, measured: f64| {
            format!(
                "{predicted:.2} s, measured {measured:.2} s ({:+.0} %)",
                (predicted / measured - 1.0) * 100.0
            )
        };
        let names = ["finds", "beats", "registers"];
        let mut words: Vec<String> = (0..3)
            .map(|node| format!("the node that {} {}", names[node], compared(nodes[node], seen.nodes[node])))
            .collect();
        words.push(format!("etcd {}", compared(etcd, seen.etcd)));
        figure("model, all loads at once on 3 nodes: predicted", words.join("; "));
    }
    for (nodes, node_cores, etcd_cores) in [3.0, 5.0, 20.0]
        .into_iter()
        .flat_map(|nodes| [(nodes, 2.0, 4.0), (nodes, 2.0, 8.0), (nodes, 8.0, 4.0), (nodes, 8.0, 8.0)])
    {
        let (by_nodes, by_etcd) = model.instances(nodes, node_cores, etcd_cores);
        let (rate_nodes, rate_etcd) = model.registrations(nodes, node_cores, etcd_cores);
        figure(
            &format!("model, {nodes} nodes of {node_cores} cores, etcd of {etcd_cores}"),
            format!(
                "instances: nodes {:.2} million, etcd {:.2} million; registrations a second: nodes {rate_nodes:.0}, etcd {rate_etcd:.0}",
                by_nodes / 1e6,
                by_etcd / 1e6
            ),
        );
    }
}
