//! Watchers over websocket: the memory of a watcher that only listens, and the time until all watchers learn that an instance has ended.

use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{BASE, once, request};
use crate::crowd::{Crowd, most_of_a_node, now};
use crate::fill::{LONG, Service, instance_id};
use crate::latency::Latencies;
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::support::eventually::try_eventually;
use crate::table::{Line, Table};

/// The rows measured here.
pub const ROWS: [&str; 3] = ["watch-1000", "watch-10000", "crowd"];

/// The limit for a dependency to be recorded.
const RECORD_LIMIT: Duration = Duration::from_secs(10);
/// The pause between the last connection and the measurement of memory.
const SETTLE: Duration = Duration::from_secs(2);

/// A row.
struct Watched {
    name: &'static str,
    watchers: usize,
    events: usize,
    /// The goals: the time until nearly all are told or, of the largest row, all; and kilobytes of memory for a watcher.
    most: Duration,
    most_kilobytes: u32,
}

const WATCHED: [Watched; 3] = [
    Watched {
        name: ROWS[0],
        watchers: 1_000,
        events: 20,
        most: Duration::from_millis(50),
        most_kilobytes: 8,
    },
    Watched {
        name: ROWS[1],
        watchers: 10_000,
        events: 10,
        most: Duration::from_millis(200),
        most_kilobytes: 8,
    },
    Watched {
        name: ROWS[2],
        watchers: 100_000,
        events: 5,
        most: Duration::from_millis(1_500),
        most_kilobytes: 4,
    },
];

/// Measures them, each number of watchers on daemons of its own.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    for row in WATCHED {
        if options.wants(row.name) {
            pushes(options, store, table, &row)?;
        }
    }
    Ok(())
}

fn pushes(options: &Options, store: Kind, table: &mut Table, row: &Watched) -> Result<(), String> {
    // A process may open few files. On etcd further nodes take further watchers.
    let most = most_of_a_node();
    let count = match store {
        Kind::Embedded => 1,
        Kind::Etcd => row.watchers.div_ceil(most),
    };
    let each = row.watchers.div_ceil(count).min(most);
    let bound = if each < row.watchers.div_ceil(count) {
        format!("; the limit on open files allows no more of {}", row.watchers)
    } else {
        String::new()
    };
    let each = options.scale(each, each / 100);
    let watchers = each * count;
    let backing = Backing::start(store);
    let mut nodes = backing.nodes(count)?;
    let addresses: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
    let (consumer, provider) = dependent(addresses[0])?;
    let before = total(&mut nodes, Node::resident)?;
    let mut crowd = Crowd::connect(&addresses, &consumer.id, each)?;
    std::thread::sleep(options.scale(SETTLE, Duration::ZERO));
    let memory = total(&mut nodes, Node::resident)?.saturating_sub(before) as f64 / watchers as f64;

    // Each instance is registered first, and all watchers see it. Only its end is measured.
    let events = options.scale(row.events, 2);
    for number in 0..events {
        once(addresses[0], &provider.register_request(&instance_id(number), number, LONG))?;
        crowd.told(Duration::ZERO)?;
    }
    let cpu = |nodes: &mut Vec<Node>| total(nodes, |node| Ok(node.cpu()?.as_micros() as u64));
    let (mut took, spent) = (Vec::new(), cpu(&mut nodes)?);
    for number in 0..events {
        let begin = now();
        once(addresses[0], &request("DELETE", &provider.instance_path(&instance_id(number)), None))?;
        took.extend(crowd.told(begin)?);
    }
    let pushed = (cpu(&mut nodes)? - spent) as f64 / took.len() as f64;
    let took = Latencies::new(took)?;
    let figure = format!(
        "{}; {:.1} kB a watcher; {pushed:.1} µs of CPU for a push; connected in {:.1} s, {} handshakes answered 503{}",
        took.text(),
        memory / 1024.0,
        crowd.connecting.as_secs_f64(),
        crowd.refused,
        bound,
    );
    let percent = if row.watchers > 10_000 { 100 } else { 99 };
    let (word, most) = (if percent == 100 { "max" } else { "p99" }, row.most.as_millis());
    let target = format!("{word} ≤ {most} ms, ≤ {} kB, no 503", row.most_kilobytes);
    let met = took.percentile(percent) <= row.most
        && memory <= f64::from(row.most_kilobytes) * 1024.0
        && crowd.refused == 0;
    let nodes = if count == 1 { String::new() } else { format!(" of {count} nodes") };
    let what = format!("unregister → pushed to {watchers} watchers{nodes}");
    table.push(Line::figure(&what, store, figure).target(&target, met));
    Ok(())
}

/// A consumer that depends on a provider.
pub(super) fn dependent(address: SocketAddr) -> Result<(Service, Service), String> {
    let consumer = Service::create(address, "consumer")?;
    let provider = Service::create(address, "provider")?;
    once(address, &provider.find_request(Some(&consumer.id)))?;
    // A dependency is recorded after the find is answered.
    try_eventually(RECORD_LIMIT, || {
        let providers =
            once(address, &request("GET", &format!("{BASE}/microservices/{}/providers", consumer.id), None))?;
        match memchr::memmem::find(&providers.body, provider.id.as_bytes()) {
            Some(_) => Ok(()),
            None => Err("the dependency is not recorded".to_owned()),
        }
    })?;
    Ok((consumer, provider))
}

fn total(nodes: &mut [Node], figure: impl Fn(&mut Node) -> Result<u64, String>) -> Result<u64, String> {
    nodes.iter_mut().map(figure).sum()
}
