//! The rows, each with what it fills, what it does and what it is to reach. A file measures rows that share a daemon.

mod accounts;
mod digest;
mod held;
mod load;
mod metrics;
mod million;
mod recorder;
mod register;
mod rolling;
mod scale;
mod search;
mod storm;
mod tls;
mod traced;
mod views;
mod visible;
mod watchers;

use crate::node::{self, Kind};
use crate::options::Options;
use crate::table::{Judged, Line, Table};

/// Measures rows that share a daemon, and says what came of it; an error ends them.
type Measure = fn(&Options, Kind, &mut Table) -> Result<(), String>;

const GROUPS: [(&[&str], Measure); 17] = [
    (&load::ROWS, load::measure),
    (&accounts::ROWS, accounts::measure),
    (&tls::ROWS, tls::measure),
    (&metrics::ROWS, metrics::measure),
    (&traced::ROWS, traced::measure),
    (&register::ROWS, register::measure),
    (&recorder::ROWS, recorder::measure),
    (&held::ROWS, held::measure),
    (&digest::ROWS, digest::measure),
    (&visible::ROWS, visible::measure),
    (&watchers::ROWS, watchers::measure),
    (&storm::ROWS, storm::measure),
    (&million::ROWS, million::measure),
    (&rolling::ROWS, rolling::measure),
    (&views::ROWS, views::measure),
    (&search::ROWS, search::measure),
    (&scale::ROWS, scale::measure),
];

/// What rows are called when they are chosen.
pub fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|(rows, _)| rows.iter().copied())
}

/// Measures what is wanted, on one store after the other.
pub fn run(options: &Options) -> Table {
    let mut table = Table::new(setting(options), options.scale(Judged::ByTarget, Judged::Not));
    for &store in options.stores() {
        eprintln!("{}:", store.name());
        for (rows, measure) in GROUPS {
            if !options.wants_any(rows) {
                continue;
            }
            if let Err(why) = measure(options, store, &mut table) {
                table.push(Line::failed(&rows.join(", "), store, &why));
            }
        }
    }
    table
}

/// The machine, and how it was measured.
fn setting(options: &Options) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("", |(_, name)| name);
    let loads = read("/proc/loadavg");
    let load = loads.split(' ').next().unwrap_or_default().to_owned();
    let build =
        if cfg!(debug_assertions) { "a debug build, whose figures mean nothing" } else { "a release build" };
    let etcd =
        if options.stores().contains(&Kind::Etcd) { format!(" {}.", node::etcd()) } else { String::new() };
    format!(
        "{cores} cores ({}) shared with the load, load average {load} at the start, {build}; best of {} rounds of {} s.{etcd}",
        model.trim(),
        options.rounds,
        options.round.as_secs_f32()
    )
}
