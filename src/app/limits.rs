//! The limit on open files of the process. Each connection needs a file, so the limit is raised as far as the system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit of connections if the process may open more files.
const MAX_CONNECTIONS: u64 = 65_536;
/// Files for other uses than connections: the store, the log, and clients that are being rejected.
const OWN_FILES: u64 = 128;

/// How many connections a process may take that may open this many files. For every 16 connections, one more file is reserved: the
/// server reads the request of some connections over the limit, so that it can reject them with an answer.
pub fn connections(files: Option<u64>) -> usize {
    let most = files.map_or(MAX_CONNECTIONS, |files| files.saturating_sub(OWN_FILES) / 17 * 16);
    usize::try_from(most.clamp(16, MAX_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// Raises the soft limit to the hard limit. Returns the limit that applies then; `None` is no limit.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            log::warn!("the limit on open files cannot be raised: {error}");
            limit.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_reserved() {
        for (files, expected) in
            [(None, 65_536), (Some(1_000_000), 65_536), (Some(1024), 832), (Some(4096), 3728), (Some(64), 16)]
        {
            assert_eq!(connections(files), expected, "{files:?}");
        }
    }
}
