//! The memory of each node, and what the start of a further node costs etcd.

use std::time::{Duration, Instant};

use super::cluster::Cluster;
use crate::fill::{LONG, Service, fill};
use crate::node::Kind;
use crate::options::Options;
use crate::table::{Line, Table};

const SERVICES: usize = 10_000;
const EACH: usize = 10;
/// The pause before memory is read, in which a node finishes what it has begun.
const SETTLE: Duration = Duration::from_secs(3);

/// Bytes, and microseconds of CPU.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Memory of a node that holds nothing.
    pub empty: f64,
    /// Memory of a service in a further node.
    pub service: f64,
    /// Memory of an instance in a further node.
    pub instance: f64,
    /// Memory of an instance in etcd.
    pub etcd_instance: f64,
    /// CPU of etcd for the listing, for each instance.
    pub etcd_listing: f64,
    /// CPU of the starting node, for each instance.
    pub listing: f64,
}

/// Measures it on two nodes; one of them only follows, and is killed and started again at the end.
pub fn measure(options: &Options, table: &mut Table) -> Result<Held, String> {
    let mut cluster = Cluster::start(2)?;
    let address = cluster.nodes[0].address();
    let settle = options.scale(SETTLE, Duration::from_millis(200));
    let empty = cluster.nodes[1].resident()? as f64;
    let services = Service::create_many(address, "held", options.scale(SERVICES, 20))?;
    std::thread::sleep(settle);
    let with_services = cluster.nodes[1].resident()? as f64;
    let etcd_before = cluster.backing.etcd_resident()? as f64;
    let etcd_cpu_before = cluster.backing.members_cpu()?[0];
    fill(address, &services, EACH, LONG)?;
    std::thread::sleep(settle);
    let count = (services.len() * EACH) as f64;
    let (first, further) = (cluster.nodes[0].resident()? as f64, cluster.nodes[1].resident()? as f64);
    let etcd = cluster.backing.etcd_resident()? as f64;
    let filling = cluster.backing.members_cpu()?[0] - etcd_cpu_before;
    let row = format!("memory, {} services, {count:.0} instances", services.len());
    let figure = format!(
        "the node that registered {:.0} MB, the further node {:.0} MB ({:.0} MB with nothing, {:.0} MB with the services), etcd {:.0} MB",
        first / 1e6,
        further / 1e6,
        empty / 1e6,
        with_services / 1e6,
        etcd / 1e6
    );
    table.push(Line::figure(&row, Kind::Etcd, figure));

    let mut best: Option<(f64, f64, f64)> = None;
    for _ in 0..options.rounds {
        cluster.nodes[1].kill();
        let before = cluster.backing.members_cpu()?[0];
        let begin = Instant::now();
        cluster.nodes[1].respawn()?;
        cluster.nodes[1].wait_ready()?;
        let took = begin.elapsed().as_secs_f64();
        let own = cluster.nodes[1].cpu()?.as_secs_f64();
        let spent = (cluster.backing.members_cpu()?[0] - before).as_secs_f64();
        best = Some(best.map_or((took, own, spent), |(a, b, c)| (a.min(took), b.min(own), c.min(spent))));
    }
    let (took, own, spent) = best.ok_or("no round")?;
    let figure = format!(
        "{took:.2} s; CPU: etcd {spent:.2} s, the node {own:.2} s; registering all took {:.1} s of etcd's CPU",
        filling.as_secs_f64()
    );
    let row = format!("start of a further node, {count:.0} instances");
    table.push(Line::figure(&row, Kind::Etcd, figure));
    Ok(Held {
        empty,
        service: (with_services - empty) / services.len() as f64,
        instance: (further - with_services) / count,
        etcd_instance: (etcd - etcd_before) / count,
        etcd_listing: spent * 1e6 / count,
        listing: own * 1e6 / count,
    })
}
