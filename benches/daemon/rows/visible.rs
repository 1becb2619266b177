//! The time until a find on one node shows a write on another node: two daemons on one etcd, quiet, and while other clients register.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Connection, block_on, instances_in, request};
use crate::fill::{LONG, Service, instance_id};
use crate::latency::Latencies;
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::paced::{Pace, RaisedAtEnd, joined, send};
use crate::table::{Line, Table};

/// The rows measured here.
pub const ROWS: [&str; 2] = ["visible", "visible-busy"];

/// The number of measured registrations.
const LOOKED_FOR: usize = 300;
/// Registrations a second of other clients.
const OTHERS: u32 = 500;
/// Connections of the other clients.
const OTHERS_CONNECTIONS: u32 = 8;
/// A write that takes longer counts as lost.
const SEEN_LIMIT: Duration = Duration::from_secs(10);

/// Measures them on two daemons. The embedded store has one node only.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if store == Kind::Embedded {
        return Ok(());
    }
    let backing = Backing::start(store);
    let (writer, reader) = (backing.node()?, backing.node()?);
    let service = Service::create(writer.address(), "seen")?;
    let others = Service::create_many(writer.address(), "others", options.scale(100, 5))?;
    let count = options.scale(LOOKED_FOR, 5);
    if options.wants("visible") {
        let seen = block_on(look(&writer, &reader, &service, count))?;
        push(table, "written on one node → found on the other, quiet", store, seen)?;
    }
    if options.wants("visible-busy") {
        let stop = AtomicBool::new(false);
        let pace = Pace {
            clients: OTHERS_CONNECTIONS as usize,
            every: Duration::from_secs(1) * OTHERS_CONNECTIONS / OTHERS,
        };
        let register = |client: usize, turn: usize| {
            let number = turn * pace.clients + client;
            others[number % others.len()].register_request(&instance_id(number), number, LONG)
        };
        let (seen, sent) = std::thread::scope(|scope| {
            let busy = scope.spawn(|| block_on(send(writer.address(), pace, &stop, register)));
            let seen = {
                let _end = RaisedAtEnd(&stop);
                block_on(look(&writer, &reader, &service, count))
            };
            Ok::<_, String>((seen?, joined(busy)?))
        })?;
        let (first, last) = (sent.iter().map(|sent| sent.at).min(), sent.iter().map(|sent| sent.at).max());
        let length = last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first);
        let rate = sent.len() as f64 / length.max(Duration::from_millis(1)).as_secs_f64();
        let row = format!("written on one node → found on the other, others register {rate:.0}/s");
        push(table, &row, store, seen)?;
    }
    Ok(())
}

/// The times until registrations appeared and unregistered instances disappeared.
struct SeenTimes {
    found: Vec<Duration>,
    gone: Vec<Duration>,
}

fn push(table: &mut Table, row: &str, store: Kind, seen: SeenTimes) -> Result<(), String> {
    let (found, gone) = (Latencies::new(seen.found)?, Latencies::new(seen.gone)?);
    let p99 = found.percentile(99);
    let figure = format!("{}; unregistered → gone {}", found.text(), gone.text());
    table.push(Line::figure(row, store, figure).target("p99 ≤ 20 ms", p99 <= Duration::from_millis(20)));
    Ok(())
}

/// Registers an instance on one node, and polls the other node without a pause until it shows the instance. Then it does the same with the
/// unregistration.
async fn look(writer: &Node, reader: &Node, service: &Service, count: usize) -> Result<SeenTimes, String> {
    let open = async |node: &Node| Connection::open(node.address()).await.map_err(|error| error.to_string());
    let (mut write, mut read) = (open(writer).await?, open(reader).await?);
    let mut seen = SeenTimes { found: Vec::new(), gone: Vec::new() };
    for number in 0..count {
        let id = instance_id(number);
        let register = service.register_request(&id, number, LONG);
        seen.found.push(until(&mut write, &register, &mut read, service, 1).await?);
        let unregister = request("DELETE", &service.instance_path(&id), None);
        seen.gone.push(until(&mut write, &unregister, &mut read, service, 0).await?);
    }
    Ok(seen)
}

/// The time from the start of `change` until a find on the other node has so many instances.
async fn until(
    write: &mut Connection,
    change: &[u8],
    read: &mut Connection,
    service: &Service,
    instances: usize,
) -> Result<Duration, String> {
    let (begin, done) = (Instant::now(), AtomicBool::new(false));
    let written = async {
        let answer = write.succeed(change).await;
        done.store(true, Ordering::Relaxed);
        answer
    };
    let found = async {
        let find = service.find_request(None);
        while begin.elapsed() < SEEN_LIMIT {
            if instances_in(&read.succeed(&find).await?) == instances {
                return Ok(begin.elapsed());
            }
        }
        let answered = if done.load(Ordering::Relaxed) { "answered" } else { "not answered" };
        Err(format!("the write was {answered} and not seen on the other node within {SEEN_LIMIT:?}"))
    };
    let (_, took) = futures_util::future::try_join(written, found).await?;
    Ok(took)
}
