//! Searches among 10,000 services and 100,000 instances, one request after another: by name, by host, by what all instances have, sorted in
//! several ways, and the explanation of a find that finds nothing.

use std::time::{Duration, Instant};

use crate::client::{Connection, block_on, request};
use crate::fill::{LONG, Service, fill};
use crate::latency::Latencies;
use crate::node::{Backing, Kind};
use crate::options::Options;
use crate::table::{Line, Table};

/// The rows measured here.
pub const ROWS: [&str; 1] = ["search"];

const SERVICES: usize = 10_000;
const EACH: usize = 10;
/// How often each request is sent.
const TIMES: usize = 300;
/// The goal of each request.
const GOAL: Duration = Duration::from_millis(10);

/// What is asked, and the path below `govern`.
const REQUESTS: [(&str, &str); 14] = [
    ("services by name", "services?limit=100"),
    ("services with part of a name", "services?search=RVICE-77&limit=100"),
    ("services with the most instances", "services?sort=instances&order=desc"),
    ("instances by service", "instances?limit=200"),
    ("instances that are DOWN", "instances?status=DOWN"),
    ("one instance by its host", "instances?search=HOST-0054321"),
    ("one instance by its address", "instances?endpoint=10.0.212.49:"),
    ("instances with a part that all have", "instances?search=rest"),
    ("instances with a port that all have", "instances?port=8080"),
    ("instances with a property that none has", "instances?property=zone=east"),
    ("instances by host name", "instances?sort=host&order=desc"),
    ("instances by status", "instances?sort=status&order=desc"),
    ("instances by their last change", "instances?sort=changed&order=desc"),
    ("explanation of a name that nothing has", "explain?appId=default&serviceName=service-none"),
];

/// Measures it on one daemon.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start(store);
    let node = backing.node()?;
    let address = node.address();
    let services = Service::create_many(address, "service", options.scale(SERVICES, 50))?;
    fill(address, &services, EACH, LONG)?;
    let instances = services.len() * EACH;
    for (what, path) in REQUESTS {
        let request = request("GET", &format!("/v4/default/govern/{path}"), None);
        let taken = block_on(async {
            let mut connection = Connection::open(address).await?;
            let mut taken = Vec::new();
            for _ in 0..options.scale(TIMES, 3) {
                let begin = Instant::now();
                connection.succeed(&request).await?;
                taken.push(begin.elapsed());
            }
            Latencies::new(taken)
        })?;
        let row = format!("search in {instances} instances: {what}");
        let met = taken.percentile(99) <= GOAL;
        table.push(Line::figure(&row, store, taken.text()).target("p99 ≤ 10 ms", met));
    }
    Ok(())
}
