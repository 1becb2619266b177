//! Reads and heartbeats under load: what a request costs the server beside the floor.

use std::rc::Rc;

use crate::client::{Connection, block_on, request};
use crate::compare::compare;
use crate::fill::{LONG, Service, fill, instance_id};
use crate::floor::{Floor, Reads};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::support::http::Response;
use crate::table::{Line, Table};
use crate::wrk::Load;

/// The rows measured here.
pub const ROWS: [&str; 6] = ["find-1", "find-304", "find-100", "find-1000", "heartbeat", "heartbeat-each"];

/// Connections of wrk.
pub(super) const CONNECTIONS: usize = 10;
/// Services beside those that are found, so that the snapshot is no toy.
pub(super) const OTHERS: usize = 100;
/// Instances of each of them. They are the ones that beat.
pub(super) const OTHERS_EACH: usize = 200;
/// So few that they beat more often than renewals are sent: nearly all beats find their lease marked already. With all of
/// them, nearly every beat makes a renewal, which is what happens outside a benchmark.
pub(super) const FEW: usize = 100;

/// Measures them on one daemon.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start(store);
    let mut node = backing.node()?;
    let address = node.address();
    let consumer = Service::create(address, "consumer")?;
    let mut found = Vec::new();
    for count in [1, 100, 1000] {
        let service = Service::create(address, &format!("provider-{count}"))?;
        fill(address, std::slice::from_ref(&service), options.scale(count, count.min(10)), LONG)?;
        found.push(service);
    }
    let others = Service::create_many(address, "other", options.scale(OTHERS, 5))?;
    fill(address, &others, options.scale(OTHERS_EACH, 4), LONG)?;
    let [one, hundred, thousand] = found.as_slice() else { return Err("three services".to_owned()) };

    let row =
        |name: &str, what: &str, times: f64, node: &mut Node, table: &mut Table, paths: &[(&str, String)]| {
            if !options.wants(name) {
                return Ok(());
            }
            let consumer = Some(consumer.id.as_str());
            let requests: Vec<(&str, String, Option<&str>)> =
                paths.iter().map(|(method, path)| (*method, path.clone(), consumer)).collect();
            let (method, path, _) = requests.first().ok_or("no request")?;
            let answer = answer(node, &request(method, path, consumer))?;
            let floor = Floor::start(&answer, Reads::Head)?;
            let load = Rc::new(Load::replay(CONNECTIONS, &requests, None)?);
            let measured = compare(options, node, &floor, |_| Ok(Rc::clone(&load)))?;
            let note = format!("{} B", answer.body.len());
            table.push(Line::load(what, store, &measured).within(times).note(note));
            Ok::<(), String>(())
        };
    let find = |service: &Service| [("GET", service.find_path())];
    row("find-1", "find 1 instance", 1.2, &mut node, table, &find(one))?;
    let seen = answer(&node, &one.find_request(Some(&consumer.id)))?;
    let revision = seen.header("X-Resource-Revision").ok_or("a find without a revision")?;
    let known = [("GET", format!("{}&rev={revision}", one.find_path()))];
    row("find-304", "find 1, unchanged (304)", 1.2, &mut node, table, &known)?;
    row("find-100", "find 100 instances", 1.15, &mut node, table, &find(hundred))?;
    row("find-1000", "find 1,000 instances", 1.25, &mut node, table, &find(thousand))?;
    let beats: Vec<(&str, String)> = (0..options.scale(OTHERS_EACH, 4))
        .flat_map(|number| {
            others.iter().map(move |service| ("PUT", service.heartbeat_path(&instance_id(number))))
        })
        .collect();
    let few = &beats[..FEW.min(beats.len())];
    row("heartbeat", &format!("heartbeat, {} instances", few.len()), 1.2, &mut node, table, few)?;
    row("heartbeat-each", &format!("heartbeat, {} instances", beats.len()), 1.2, &mut node, table, &beats)
}

pub(super) fn answer(node: &Node, request: &[u8]) -> Result<Response, String> {
    block_on(async {
        let mut connection = Connection::open(node.address()).await?;
        let answer = connection.call(request).await?;
        match answer.status {
            200 | 304 => Ok(answer),
            status => Err(format!("{status}: {}", answer.text())),
        }
    })
}
