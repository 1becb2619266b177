//! Faults: a killed process, a cut connection, a store that goes away. The tests check what is left afterwards.
//!
//! Each test uses loopback addresses of its own, is bounded, and ends the processes that it started by their ids.
//! [`crate::support::scale`] decides how long a run takes.

/// Prints the seed or the figures of a run, also where the output of tests is captured.
macro_rules! say {
    ($($what:tt)*) => {{
        use std::io::Write as _;
        std::io::stderr().write_all(format!("{}\n", format_args!($($what)*)).as_bytes()).ok();
    }};
}

mod actor;
mod agreement;
mod bad_input;
mod compaction;
mod crash;
mod data;
mod disk;
mod etcd_away;
mod etcd_faults;
mod etcd_restart;
mod expiry;
mod fuzz;
mod lost_events;
mod mailbox;
mod mass_expiry;
mod outage;
mod overload;
mod owners;
mod proxy;
mod soak;
mod watchers;
