//! 100,000 instances that are held: what they cost in memory, what they cost when nothing happens, and how long a restart
//! takes to have them all again.

use std::time::{Duration, Instant};

use crate::client::{Connection, block_on, once};
use crate::fill::{LONG, Service, fill};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::table::{Line, Table};

/// The rows measured here.
pub const ROWS: [&str; 3] = ["memory", "idle", "restart"];

const SERVICES: usize = 100;
const EACH: usize = 1_000;
/// How long the daemon is left alone before it is called idle: what the fill left to do is done then.
const SETTLE: Duration = Duration::from_secs(5);
/// How long idling is looked at.
const IDLE: Duration = Duration::from_secs(20);
/// A restarted daemon that takes longer has failed.
const RESTART_LIMIT: Duration = Duration::from_secs(60);

/// Measures them on one daemon.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start(store);
    let mut node = backing.node()?;
    let services = Service::create_many(node.address(), "held", options.scale(SERVICES, 5))?;
    let each = options.scale(EACH, 10);
    fill(node.address(), &services, each, LONG)?;
    find_all(&node, &services, each)?;
    if options.wants("memory") {
        memory(store, table, &mut node, &services, each)?;
    }
    if options.wants("idle") {
        std::thread::sleep(options.scale(SETTLE, Duration::from_millis(200)));
        idle(options, store, table, &mut node, services.len() * each)?;
    }
    if options.wants("restart") {
        restart(options, store, table, &mut node, &services, each)?;
        find_all(&node, &services, each)?;
        let after = node.resident()? as f64 / 1e6;
        table.push(Line::figure(
            "memory after that restart, all found once",
            store,
            format!("{after:.0} MB"),
        ));
    }
    Ok(())
}

fn memory(
    store: Kind,
    table: &mut Table,
    node: &mut Node,
    services: &[Service],
    each: usize,
) -> Result<(), String> {
    let held = services.len() * each;
    let row = format!("memory, {held} instances, all found once");
    let megabytes = node.resident()? as f64 / 1e6;
    table
        .push(Line::figure(&row, store, format!("{megabytes:.0} MB")).target("≤ 110 MB", megabytes <= 110.0));
    // Bodies that are asked for again are kept.
    for _ in 0..2 {
        find_all(node, services, each)?;
    }
    let megabytes = node.resident()? as f64 / 1e6;
    table.push(Line::figure("memory, all found three times", store, format!("{megabytes:.0} MB")));
    Ok(())
}

fn idle(
    options: &Options,
    store: Kind,
    table: &mut Table,
    node: &mut Node,
    held: usize,
) -> Result<(), String> {
    let length = options.scale(IDLE, Duration::from_secs(1));
    let (begin, before) = (Instant::now(), node.cpu()?);
    std::thread::sleep(length);
    let share = (node.cpu()?.saturating_sub(before)).as_secs_f64() / begin.elapsed().as_secs_f64();
    let line = Line::figure(
        &format!("idle, {held} instances held"),
        store,
        format!("{:.2} % of a core", share * 100.0),
    );
    table.push(line.target("≤ 1 % of a core", share <= 0.01));
    Ok(())
}

/// SIGKILL, and the time from the new process' start until a find has all instances of a service. It is the best of the
/// rounds.
fn restart(
    options: &Options,
    store: Kind,
    table: &mut Table,
    node: &mut Node,
    services: &[Service],
    each: usize,
) -> Result<(), String> {
    let asked = services.last().ok_or("no service")?;
    let mut best = Duration::MAX;
    let mut cpu = Duration::ZERO;
    for _ in 0..options.rounds {
        node.kill();
        let begin = Instant::now();
        node.respawn()?;
        block_on(complete_find(node, asked, each, begin))?;
        if begin.elapsed() < best {
            (best, cpu) = (begin.elapsed(), node.cpu()?);
        }
        find_all(node, services, each)?;
    }
    let most = match store {
        Kind::Embedded => 0.6,
        Kind::Etcd => 1.2,
    };
    let figure = format!("{:.2} s, {:.2} s of CPU", best.as_secs_f64(), cpu.as_secs_f64());
    let line =
        Line::figure(&format!("restart after a kill, {} instances", services.len() * each), store, figure);
    table.push(line.target(&format!("≤ {most} s"), best.as_secs_f64() <= most));
    Ok(())
}

async fn complete_find(node: &Node, service: &Service, each: usize, begin: Instant) -> Result<(), String> {
    let request = service.find_request(None);
    let mut last = "no connection".to_owned();
    while begin.elapsed() < RESTART_LIMIT {
        // A daemon that has not listed its store yet refuses connections.
        if let Ok(mut connection) = Connection::open(node.address()).await {
            let answer = connection.call(&request).await?;
            if answer.status == 200 && answer.instances() == each {
                return Ok(());
            }
            last = format!("{} with {} instances", answer.status, answer.instances());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err(format!("no complete find within {RESTART_LIMIT:?}: {last}"))
}

/// Every service is found with all its instances.
fn find_all(node: &Node, services: &[Service], each: usize) -> Result<(), String> {
    for service in services {
        let found = once(node.address(), &service.find_request(None))?.instances();
        if found != each {
            return Err(format!("{} has {found} instances, not {each}", service.name));
        }
    }
    Ok(())
}
