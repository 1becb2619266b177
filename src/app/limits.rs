//! The process' limit on open files, raised to what is allowed: each client and each watcher holds one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most connections, whatever the process may open.
const MOST_CONNECTIONS: u64 = 65_536;
/// Files that are no client's: the store's, the logs', and those of clients that are just being refused.
const OWN_FILES: u64 = 128;

/// How many connections a process may take that may have so many files open. Connections beyond the limit that are asked what
/// they want come on top: one for sixteen.
pub fn connections(files: Option<u64>) -> usize {
    let most = files.map_or(MOST_CONNECTIONS, |files| files.saturating_sub(OWN_FILES) / 17 * 16);
    usize::try_from(most.clamp(16, MOST_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// Raises the soft limit to the hard one and returns what is in force; `None` is unlimited.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            log::warn!("the limit on open files stays as it is: {error}");
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_some_files_to_the_process() {
        for (files, expected) in
            [(None, 65_536), (Some(1_000_000), 65_536), (Some(1024), 832), (Some(4096), 3728), (Some(64), 16)]
        {
            assert_eq!(connections(files), expected, "{files:?}");
        }
    }
}
