//! What a process has used: CPU time and memory, as the kernel counts them.

use std::fs;
use std::time::Duration;

/// Length of a tick of `/proc/PID/stat`: Linux shows 100 a second on every architecture it runs on today.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process so far, all its threads.
pub fn cpu(pid: u32) -> Result<Duration, String> {
    let text =
        fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| format!("process {pid}: {error}"))?;
    // The name, in parentheses, may hold anything.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>();
    ticks.map(|ticks| TICK * ticks).map_err(|error| format!("/proc/{pid}/stat: {error}"))
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map(|count| count * 1024).ok_or_else(|| format!("{path}: no VmRSS"))
}
