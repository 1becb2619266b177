//! A daemon with 100,000 instances: its memory, the time of a scrape of its metrics, its CPU time while idle, and the time until a restarted daemon
//! has all instances. On the embedded store, memory and restart with a million as well.

use std::time::{Duration, Instant};

use crate::client::{Connection, block_on, instances_in, once, request};
use crate::fill::{LONG, Service, fill};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::table::{Line, Table, milliseconds};

/// The rows measured here.
pub const ROWS: [&str; 6] = ["memory", "scrape", "idle", "restart", "memory-million", "restart-million"];

const SERVICES: usize = 100;
const MANY_SERVICES: usize = 1_000;
const EACH: usize = 1_000;
/// The pause before the daemon counts as idle. It has finished the work of the registrations by then.
const SETTLE: Duration = Duration::from_secs(5);
/// The length of the measurement while idle.
const IDLE: Duration = Duration::from_secs(20);
/// The time of a scrape that is the goal.
const MOST_SCRAPE: Duration = Duration::from_millis(20);
/// The limit of a restart.
const RESTART_LIMIT: Duration = Duration::from_secs(60);

/// Measures them, each number of instances on a daemon of its own.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    if options.wants_any(&["memory", "scrape", "idle", "restart"]) {
        let mut filled = Filled::start(options, store, SERVICES)?;
        if options.wants("memory") {
            filled.memory(90.0, table)?;
            // The daemon keeps the bodies of repeated finds.
            for _ in 0..2 {
                filled.find_all()?;
            }
            let figure = format!("{:.0} MB", filled.megabytes()?);
            table.push(Line::figure("memory, all found three times", store, figure));
        }
        if options.wants("scrape") {
            let row = format!("scrape of the metrics, {} instances", filled.count());
            let (median, worst, size) = filled.scrape(options.scale(50, 3))?;
            let figure = format!("{}, at most {}, {size} B", milliseconds(median), milliseconds(worst));
            table.push(Line::figure(&row, store, figure).target("< 20 ms", median < MOST_SCRAPE));
        }
        if options.wants("idle") {
            std::thread::sleep(options.scale(SETTLE, Duration::from_millis(200)));
            let share = filled.idle(options.scale(IDLE, Duration::from_secs(1)))?;
            let row = format!("idle, {} instances held", filled.count());
            let line = Line::figure(&row, store, format!("{:.2} % of a core", share * 100.0));
            table.push(line.target("≤ 1 % of a core", share <= 0.01));
        }
        if options.wants("restart") {
            filled.restarts(if store == Kind::Etcd { 1.2 } else { 0.45 }, options, table)?;
        }
    }
    if store == Kind::Embedded && options.wants_any(&["memory-million", "restart-million"]) {
        let mut filled = Filled::start(options, store, MANY_SERVICES)?;
        if options.wants("memory-million") {
            filled.memory(850.0, table)?;
        }
        if options.wants("restart-million") {
            filled.restarts(4.0, options, table)?;
        }
    }
    Ok(())
}

/// A daemon, and the services that it holds.
struct Filled {
    store: Kind,
    /// Ends when it is dropped.
    _backing: Backing,
    node: Node,
    services: Vec<Service>,
    each: usize,
}

impl Filled {
    /// Starts a daemon, registers instances, and finds all of them once.
    fn start(options: &Options, store: Kind, services: usize) -> Result<Self, String> {
        let backing = Backing::start(store);
        let node = backing.node()?;
        let services = Service::create_many(node.address(), "held", options.scale(services, 5))?;
        let each = options.scale(EACH, 10);
        fill(node.address(), &services, each, LONG)?;
        let filled = Self { store, _backing: backing, node, services, each };
        filled.find_all()?;
        Ok(filled)
    }

    fn memory(&mut self, most: f64, table: &mut Table) -> Result<(), String> {
        let row = format!("memory, {} instances, all found once", self.count());
        let megabytes = self.megabytes()?;
        let line = Line::figure(&row, self.store, format!("{megabytes:.0} MB"));
        table.push(line.target(&format!("≤ {most} MB"), megabytes <= most));
        Ok(())
    }

    fn restarts(&mut self, most: f64, options: &Options, table: &mut Table) -> Result<(), String> {
        let (best, cpu) = self.restart(options.rounds)?;
        let row = format!("restart after a kill, {} instances", self.count());
        let figure = format!("{:.2} s, {:.2} s of CPU", best.as_secs_f64(), cpu.as_secs_f64());
        let line = Line::figure(&row, self.store, figure);
        table.push(line.target(&format!("≤ {most} s"), best.as_secs_f64() <= most));
        let row = format!("memory after that restart, {} instances, all found once", self.count());
        let figure = format!("{:.0} MB", self.megabytes()?);
        table.push(Line::figure(&row, self.store, figure));
        Ok(())
    }

    fn count(&self) -> usize {
        self.services.len() * self.each
    }

    fn megabytes(&mut self) -> Result<f64, String> {
        Ok(self.node.resident()? as f64 / 1e6)
    }

    /// Asserts that each service is found with all its instances.
    fn find_all(&self) -> Result<(), String> {
        for service in &self.services {
            let found = instances_in(&once(self.node.address(), &service.find_request(None))?);
            if found != self.each {
                return Err(format!("{} has {found} instances, not {}", service.name, self.each));
            }
        }
        Ok(())
    }

    /// The median and the longest time of some scrapes, and the size of the last answer.
    fn scrape(&self, times: usize) -> Result<(Duration, Duration, usize), String> {
        block_on(async {
            let mut connection = Connection::open(self.node.address()).await?;
            let (mut taken, mut size) = (Vec::new(), 0);
            for _ in 0..times {
                let begin = Instant::now();
                let answer = connection.call(&request("GET", "/metrics", None)).await?;
                taken.push(begin.elapsed());
                if answer.status != 200 {
                    return Err(format!("a scrape is answered {}", answer.status));
                }
                size = answer.body.len();
            }
            taken.sort();
            let worst = *taken.last().ok_or("no scrape")?;
            Ok((*taken.get(taken.len() / 2).ok_or("no scrape")?, worst, size))
        })
    }

    /// The share of a core that the daemon uses without requests.
    fn idle(&mut self, length: Duration) -> Result<f64, String> {
        let (begin, before) = (Instant::now(), self.node.cpu()?);
        std::thread::sleep(length);
        let used = self.node.cpu()?.saturating_sub(before);
        Ok(used.as_secs_f64() / begin.elapsed().as_secs_f64())
    }

    /// Kills the daemon; the time from the start of the new process until a find has all instances of a service, and its CPU time. The best
    /// of the rounds counts.
    fn restart(&mut self, rounds: usize) -> Result<(Duration, Duration), String> {
        let mut best = (Duration::MAX, Duration::ZERO);
        for _ in 0..rounds {
            self.node.kill();
            let begin = Instant::now();
            self.node.respawn()?;
            block_on(self.complete_find(begin))?;
            let took = begin.elapsed();
            if took < best.0 {
                best = (took, self.node.cpu()?);
            }
            self.find_all()?;
        }
        Ok(best)
    }

    async fn complete_find(&self, begin: Instant) -> Result<(), String> {
        let request = self.services.last().ok_or("no service")?.find_request(None);
        let mut last = "no connection".to_owned();
        while begin.elapsed() < RESTART_LIMIT {
            // The daemon refuses connections until it has read its store.
            if let Ok(mut connection) = Connection::open(self.node.address()).await {
                let answer = connection.call(&request).await?;
                if answer.status == 200 && instances_in(&answer) == self.each {
                    return Ok(());
                }
                last = format!("{} with {} instances", answer.status, instances_in(&answer));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("no complete find within {RESTART_LIMIT:?}: {last}"))
    }
}
