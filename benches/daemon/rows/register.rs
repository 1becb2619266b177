//! Registrations under load: the cost of one, and whether it grows with the size of the registry or of the service.

use std::cell::Cell;
use std::rc::Rc;

use crate::client::once;
use crate::compare::{Best, Comparison, compare};
use crate::fill::{LONG, Service, fill};
use crate::floor::{Floor, Reads};
use crate::node::{Backing, Kind, Node};
use crate::options::Options;
use crate::table::{Line, Table};
use crate::wrk::Load;

/// The rows measured here.
pub const ROWS: [&str; 1] = ["register"];

/// Connections of wrk.
const CONNECTIONS: usize = 64;
/// Registrations a second for which a round has services. A faster round uses the same services again.
const MOST_A_SECOND: usize = 40_000;
/// Instances that are registered in a small service before the next service.
const SMALL: usize = 10;
/// Instances of a large service before the rounds begin.
const LARGE: usize = 10_000;
/// Large services that grow during the rounds.
const LARGE_SERVICES: usize = 4;
/// Instances of a service that does not change.
const HELD_EACH: usize = 1_000;

/// Instances that are held while others register, after the rounds with none.
const HELD: [usize; 3] = [100_000, 500_000, 1_000_000];
/// The most CPU time of the daemon for a registration, in microseconds.
const MOST_CPU: f64 = 60.0;
/// The most CPU time of etcd for it.
const MOST_ETCD: f64 = 120.0;

/// The target of a store: registrations a second.
fn goal(store: Kind) -> f64 {
    match store {
        Kind::Embedded => 20_000.0,
        Kind::Etcd => 7_000.0,
    }
}

/// Measures them on one daemon that grows.
pub fn measure(options: &Options, store: Kind, table: &mut Table) -> Result<(), String> {
    let backing = Backing::start(store);
    let mut node = backing.node()?;
    let address = node.address();
    let probe = Service::create(address, "probe")?;
    let answer = once(address, &probe.register_request("probe-00000000000000000000000000", 1, LONG))?;
    let floor = Floor::start(&answer, Reads::Body)?;
    let run = RegisterRun { options, store, floor, rounds: Cell::new(0) };

    let first = run.small(&mut node)?;
    run.push(table, "register, nothing held, services of 10", &first, None);
    let (mut held, mut large) = (0_usize, Vec::new());
    for &goal in options.scale(HELD.as_slice(), &HELD[..1]) {
        let goal = options.scale(goal, goal / 1_000);
        let (large_each, held_each) = (options.scale(LARGE, 10), options.scale(HELD_EACH, 10));
        if large.is_empty() {
            large = Service::create_many(address, "large", LARGE_SERVICES)?;
            fill(address, &large, large_each, LONG)?;
            held = large.len() * large_each;
        }
        let more =
            Service::create_many(address, &format!("held-{goal}"), goal.saturating_sub(held) / held_each)?;
        fill(address, &more, held_each, LONG)?;
        held = goal;
        let small = run.small(&mut node)?;
        run.push(table, &format!("register, {held} held, services of 10"), &small, Some(&first.ours));
        let grown = run.large(&mut node, &large)?;
        run.push(table, &format!("register, {held} held, services of 10,000"), &grown, Some(&first.ours));
    }
    Ok(())
}

struct RegisterRun<'a> {
    options: &'a Options,
    store: Kind,
    floor: Floor,
    /// Rounds so far, over all lines: part of what makes ids unique.
    rounds: Cell<usize>,
}

impl RegisterRun<'_> {
    /// A word that no other round uses.
    fn word(&self) -> String {
        self.rounds.set(self.rounds.get() + 1);
        format!("round-{:03}", self.rounds.get())
    }

    /// Registers in new services in each round.
    fn small(&self, node: &mut Node) -> Result<Comparison, String> {
        let most = self.options.scale(MOST_A_SECOND * self.options.round.as_secs() as usize / SMALL, 50);
        let address = node.address();
        compare(self.options, node, &self.floor, |_| {
            let word = self.word();
            let services = Service::create_many(address, &word, most)?;
            let ids: Vec<&str> = services.iter().map(|service| service.id.as_str()).collect();
            Load::register(CONNECTIONS, &ids, SMALL, &word).map(Rc::new)
        })
    }

    /// Registers in the same services in each round, one instance in each in turn.
    fn large(&self, node: &mut Node, services: &[Service]) -> Result<Comparison, String> {
        let ids: Vec<&str> = services.iter().map(|service| service.id.as_str()).collect();
        compare(self.options, node, &self.floor, |_| {
            Load::register(CONNECTIONS, &ids, 1, &self.word()).map(Rc::new)
        })
    }

    fn push(&self, table: &mut Table, row: &str, measured: &Comparison, first: Option<&Best>) {
        let rate = goal(self.store);
        let ours = &measured.ours;
        let line = Line::load(row, self.store, measured);
        let mut target = format!("≥ {rate:.0}/s, ≤ {MOST_CPU:.0} µs");
        let mut met = ours.rate >= rate && ours.cpu <= MOST_CPU;
        let mut notes = Vec::new();
        if let Some(first) = first {
            // A faster daemon is fine.
            let share = ours.rate / first.rate;
            target.push_str(", ≥ 80 % of the empty registry's rate");
            met &= share >= 0.8;
            notes.push(format!("{:.0} % of the rate with nothing held", share * 100.0));
        }
        if self.store == Kind::Etcd {
            // wrk uses the same cores.
            notes.push(format!("etcd's own CPU {:.0} µs", ours.etcd));
            target.push_str(&format!(", etcd ≤ {MOST_ETCD:.0} µs"));
            met &= ours.etcd <= MOST_ETCD;
        }
        table.push(line.note(notes.join("; ")).target(&target, met));
    }
}
