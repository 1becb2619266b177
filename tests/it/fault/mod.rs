//! What is left after a fault: a killed process, a cut connection, a store that goes away.
//!
//! Every test here runs against loopback addresses, is bounded, and ends what it started by process id.
//! How long and how wide they run is [`crate::support::scale`]'s to say.

mod actor;
mod agreement;
mod bad_input;
mod crash;
mod data;
mod etcd_away;
mod etcd_faults;
mod expiry;
mod mass_expiry;
mod overload;
mod owners;
mod proxy;
mod soak;
mod watchers;
