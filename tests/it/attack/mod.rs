//! Attacks on a running daemon: hostile and careless requests, each with the memory and the CPU time that the process may use
//! for it. The bound follows from the configured limits, never from the speed of the machine.
//!
//! `docs/security.md` lists what is tested here. Each file holds one class of attacks.

mod answers;
mod browsers;
mod connections;
mod dependencies;
mod ids;
mod leaks;
mod nodes;
mod objects;
mod paths;
mod rates;
mod schemas;
mod wire;
mod withdrawn;

use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::eventually::{GENEROUS, eventually};

/// Waits until the daemon has nothing left to do: it uses next to no CPU time for 25 looks in a row. A task that wakes itself uses
/// all the CPU time it gets, which is many times as much. What a node does by the clock stays below the bound.
fn comes_to_rest(daemon: &mut Daemon) {
    const LOOKS: usize = 25;
    const NEXT_TO_NONE: Duration = Duration::from_millis(40);
    let (mut looks, mut since) = (0, daemon.process().cpu_time());
    eventually(GENEROUS, || {
        let used = daemon.process().cpu_time();
        (looks, since) = if used - since > NEXT_TO_NONE { (0, used) } else { (looks + 1, since) };
        if looks == LOOKS { Ok(()) } else { Err(format!("the daemon still works: {used:?} of CPU time so far")) }
    });
}
