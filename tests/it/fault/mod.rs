//! What is left after a fault: a killed process, a cut connection, a store that goes away.
//!
//! Every test here runs against loopback addresses, is bounded, and ends what it started by process id.
//! How long and how wide they run is [`crate::support::scale`]'s to say.

/// Says what a run was like, also where the output of tests is captured: its seed, its figures.
macro_rules! say {
    ($($what:tt)*) => {{
        use std::io::Write as _;
        std::io::stderr().write_all(format!("{}\n", format_args!($($what)*)).as_bytes()).ok();
    }};
}

mod actor;
mod agreement;
mod bad_input;
mod crash;
mod data;
mod disk;
mod etcd_away;
mod etcd_faults;
mod etcd_restart;
mod expiry;
mod fuzz;
mod mailbox;
mod mass_expiry;
mod outage;
mod overload;
mod owners;
mod proxy;
mod soak;
mod watchers;
