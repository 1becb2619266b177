//! Finds that are traced: what spans cost beside a daemon without traces.

use super::load::{CONNECTIONS, answer};
use crate::client::once;
use crate::compare::{Comparison, Drive, Server, in_turn};
use crate::fill::{LONG, Service, fill};
use crate::floor::{Floor, Reads};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::support::collector::Collector;
use crate::table::{Line, Table};
use crate::wrk::Load;

/// The rows measured here.
pub const ROWS: [&str; 2] = ["find-1-traced-1", "find-1-traced-100"];

/// How much CPU time an unsampled request may need more, in microseconds.
const MOST_MORE: f64 = 1.0;

/// Measures them on daemons with the same content, whose spans go to a collector in this process. The store does not matter.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Etcd {
        return Ok(());
    }
    let backing = Backing::start(store);
    let collector = Collector::anywhere();
    let mut plain = Filled::new(backing.node()?)?;
    for (row, what, rate) in [
        ("find-1-traced-1", "find 1 instance, 1 % of the requests traced", 0.01),
        ("find-1-traced-100", "find 1 instance, all requests traced", 1.0),
    ] {
        if !options.wants(row) {
            continue;
        }
        let mut traced = Filled::new(backing.node_traced(&collector.endpoint(), rate)?)?;
        let (with, without) = (traced.load()?, plain.load()?);
        let floor = Floor::start(
            &answer(&plain.node, &plain.provider.find_request(Some(&plain.consumer.id)))?,
            Reads::Head,
        )?;
        let servers: [(&mut dyn Server, &dyn Drive); 3] =
            [(&mut &floor, &without), (&mut plain.node, &without), (&mut traced.node, &with)];
        let [floor, plain, ours] = in_turn(options, servers)?;
        let more = ours.cpu - plain.cpu;
        let line = Line::load(what, Kind::Embedded, &Comparison { ours, floor });
        let line = line.note(format!("without traces {:.1} µs, so {more:+.1} µs", plain.cpu));
        table.push(if rate < 1.0 {
            line.target(&format!("≤ {MOST_MORE} µs more than without traces"), more <= MOST_MORE)
        } else {
            line
        });
    }
    Ok(())
}

/// A daemon with a consumer and a provider of one instance.
struct Filled {
    node: Node,
    consumer: Service,
    provider: Service,
}

impl Filled {
    fn new(node: Node) -> Result<Self, String> {
        let address = node.address();
        let consumer = Service::create(address, "consumer")?;
        let provider = Service::create(address, "provider")?;
        fill(address, std::slice::from_ref(&provider), 1, LONG)?;
        // The first find writes a dependency.
        once(address, &provider.find_request(Some(&consumer.id)))?;
        Ok(Self { node, consumer, provider })
    }

    fn load(&self) -> Result<Load, String> {
        Load::replay(
            CONNECTIONS,
            &[("GET", self.provider.find_path(), Some(self.consumer.id.as_str()))],
            None,
        )
    }
}
