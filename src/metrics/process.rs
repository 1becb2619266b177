//! What the kernel counts of this process, from `/proc`. On other systems these families are missing.

use std::fs;
use std::time::Duration;

use parking_lot::Mutex;

use super::page::Page;
use super::{
    PROCESS_CPU, PROCESS_CPU_USAGE, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START,
    PROCESS_VIRTUAL, PROCESS_VIRTUAL_MAX,
};

/// The CPU time at the last two ticks, with the time of each tick.
static CPU: Mutex<[(Duration, f64); 2]> = Mutex::new([(Duration::ZERO, 0.0); 2]);

/// The fields of `/proc/self/stat` that are reported.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    /// Since the start of the machine.
    started_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    /// `proc(5)` numbers the fields from 1. The name, which is field 2, may hold blanks and parentheses.
    fn parse(text: &str, ticks: f64, page: f64) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            started_seconds: field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
        })
    }

    fn read() -> Option<Self> {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?, ticks, rustix::param::page_size() as f64)
    }
}

/// The start of the machine in Unix time.
fn machine_started() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The kernel gives the number as the size of the folder since Linux 6.2. Before, the files are counted.
fn open_files() -> Option<f64> {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).ok()?.len();
    Some(if size > 0 { size as f64 } else { fs::read_dir(folder).ok()?.count() as f64 })
}

pub(super) fn tick(now: Duration) {
    if let Some(stat) = Stat::read() {
        let mut cpu = CPU.lock();
        *cpu = [cpu[1], (now, stat.cpu_seconds)];
    }
}

/// The families that are there even if nothing else is counted.
pub(super) fn collect(page: &mut Page) {
    use rustix::process::{Resource, getrlimit};
    let Some(stat) = Stat::read() else { return };
    page.value(&PROCESS_CPU, &[], stat.cpu_seconds);
    page.value(&PROCESS_RESIDENT, &[], stat.resident_bytes);
    page.value(&PROCESS_VIRTUAL, &[], stat.virtual_bytes);
    if let Some(started) = machine_started() {
        page.value(&PROCESS_START, &[], started + stat.started_seconds);
    }
    if let Some(files) = open_files() {
        page.value(&PROCESS_OPEN_FDS, &[], files);
    }
    // -1 stands for no limit, as in Go's library.
    let limit = |resource| getrlimit(resource).current.map_or(-1.0, |limit| limit as f64);
    page.value(&PROCESS_MAX_FDS, &[], limit(Resource::Nofile));
    page.value(&PROCESS_VIRTUAL_MAX, &[], limit(Resource::As));
    let (then, before) = CPU.lock()[0];
    let passed = page.now.saturating_sub(then).as_secs_f64();
    if passed > 0.0 {
        page.value(&PROCESS_CPU_USAGE, &[], (stat.cpu_seconds - before).max(0.0) / passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_may_hold_anything() {
        let numbers: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let text = format!("17 (a) b (c)) S {}", numbers.join(" "));
        let expected = Stat {
            cpu_seconds: (14.0 + 15.0) / 100.0,
            started_seconds: 0.22,
            virtual_bytes: 23.0,
            resident_bytes: 24.0 * 4096.0,
        };
        assert_eq!(Stat::parse(&text, 100.0, 4096.0), Some(expected));
        assert_eq!(Stat::parse("17 (a) S 1 2", 100.0, 4096.0), None);
    }
}
