//! Lists of 10,000 services with all options, one after another from several clients, while other clients find. A find waits for the slice
//! of a list that its worker is building, so the slowest finds show how long a worker is blocked.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::client::{block_on, once, request};
use crate::fill::{LONG, Service, fill};
use crate::latency::Latencies;
use crate::node::{Backing, Kind};
use crate::options::Options;
use crate::paced::{Pace, RaisedAtEnd, joined, send};
use crate::table::{Line, Table, milliseconds};

/// The rows measured here.
pub const ROWS: [&str; 1] = ["views"];

const SERVICES: usize = 10_000;
/// Clients that find, and the pause between two finds of a client.
const FINDS: Pace = Pace { clients: 8, every: Duration::from_millis(10) };
/// Clients that list. Each asks again as soon as it has its answer.
const LISTS: Pace = Pace { clients: 4, every: Duration::from_millis(1) };

/// Measures it on one daemon.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start(store);
    let node = backing.node()?;
    let address = node.address();
    let services = Service::create_many(address, "service", options.scale(SERVICES, 50))?;
    fill(address, &services, 1, LONG)?;
    let list = request("GET", "/v4/default/govern/microservices?options=all", None);
    let size = once(address, &list)?.body.len();
    let find = |client: usize, turn: usize| services[(client + turn * 7) % services.len()].find_request(None);
    let time = options.scale(Duration::from_secs(10), Duration::from_millis(300));
    let finds = |is_over: &AtomicBool| block_on(send(address, FINDS, is_over, find));
    let alone = {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let finders = scope.spawn(|| finds(&is_over));
            let end = RaisedAtEnd(&is_over);
            std::thread::sleep(time);
            drop(end);
            joined(finders)
        })?
    };
    let is_over = AtomicBool::new(false);
    let begin = Instant::now();
    let (found, listed) = std::thread::scope(|scope| {
        let finders = scope.spawn(|| finds(&is_over));
        let listers = scope.spawn(|| block_on(send(address, LISTS, &is_over, |_, _| list.clone())));
        let end = RaisedAtEnd(&is_over);
        std::thread::sleep(time);
        drop(end);
        Ok::<_, String>((joined(finders)?, joined(listers)?))
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    let took = |sent: Vec<crate::paced::Sent>| Latencies::new(sent.iter().map(|sent| sent.took).collect());
    let (alone, during) = (took(alone)?, took(found)?);
    let lists = listed.len() as f64;
    // Each client asks for the next list at once.
    let list_takes = Duration::from_secs_f64(seconds * LISTS.clients as f64 / lists.max(1.0));
    let figure = format!(
        "finds {}; without lists {}; a list of {:.1} MB takes {}, {:.1} lists/s",
        during.text(),
        alone.text(),
        size as f64 / 1e6,
        milliseconds(list_takes),
        lists / seconds,
    );
    let row =
        format!("lists of {} services with all options, {} clients find", services.len(), FINDS.clients);
    let met = during.percentile(99) <= Duration::from_millis(5);
    table.push(Line::figure(&row, store, figure).target("find p99 ≤ 5 ms", met));
    Ok(())
}
