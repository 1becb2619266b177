//! What a request pays for the metrics: the same requests to a daemon that counts them and to one that does not.

use super::load::{CONNECTIONS, FEW, OTHERS, OTHERS_EACH};
use crate::compare::in_turn;
use crate::fill::{LONG, Service, fill, instance_id};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::table::{Line, Table};
use crate::wrk::Load;

/// The rows measured here.
pub const ROWS: [&str; 2] = ["metrics-find-1", "metrics-heartbeat"];

/// Measures them on two daemons with the same content. What is counted is the same on both stores.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Etcd {
        return Ok(());
    }
    let backing = Backing::start(store);
    let mut counting = Filled::new(options, backing.node()?)?;
    let mut silent = Filled::new(options, backing.node_without_metrics()?)?;
    for (row, what, paths) in [
        (
            "metrics-find-1",
            "find 1 instance, what the metrics cost",
            Filled::find as fn(&Filled) -> Vec<String>,
        ),
        ("metrics-heartbeat", "heartbeat, what the metrics cost", Filled::beats),
    ] {
        if !options.wants(row) {
            continue;
        }
        let method = if row == "metrics-find-1" { "GET" } else { "PUT" };
        let load = |filled: &Filled| {
            let requests: Vec<(&str, String, Option<&str>)> =
                paths(filled).into_iter().map(|path| (method, path, None)).collect();
            Load::replay(CONNECTIONS, &requests, None)
        };
        let (with, without) = (load(&counting)?, load(&silent)?);
        let [with, without] = in_turn(options, [(&mut counting.node, &with), (&mut silent.node, &without)])?;
        let figure = format!(
            "{:.2} µs of CPU with, {:.2} without: {:+.2} µs (goal: at most 0.3)",
            with.cpu,
            without.cpu,
            with.cpu - without.cpu
        );
        table.push(Line::figure(what, store, figure));
    }
    Ok(())
}

/// A daemon, and what is found and beats on it.
struct Filled {
    node: Node,
    found: Service,
    others: Vec<Service>,
}

impl Filled {
    fn new(options: &Options, node: Node) -> Result<Self, String> {
        let address = node.address();
        let found = Service::create(address, "provider")?;
        fill(address, std::slice::from_ref(&found), 1, LONG)?;
        let others = Service::create_many(address, "other", options.scale(OTHERS, 5))?;
        fill(address, &others, options.scale(OTHERS_EACH, 4), LONG)?;
        Ok(Self { node, found, others })
    }

    fn find(&self) -> Vec<String> {
        vec![self.found.find_path()]
    }

    fn beats(&self) -> Vec<String> {
        let beats = self.others.iter().map(|service| service.heartbeat_path(&instance_id(0)));
        beats.take(FEW).collect()
    }
}
