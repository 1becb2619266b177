//! The tests that see the daemon from outside: one binary, so that the daemon's crates are linked once.
//!
//! - `attack`: hostile and careless requests, with the memory and CPU time they may cost.
//! - `contract`: what the API answers, recorded exchanges first.
//! - `fault`: killed processes, cut connections, a store that goes away.
//! - `property`: random operations against a naive model.
//! - `tidy`: rules about the source itself.
//! - `support`: what the others start, send and wait with. It asserts nothing about the registry.
//!
//! The lints allowed here forbid what a daemon must not do and a test may: to panic, and to look at the real clock.

#![allow(clippy::print_stdout, reason = "fault tests print the figures of a run")]

#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]
mod attack;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]
mod contract;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]
mod fault;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]
mod property;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]
mod support;
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking"
)]
mod tidy;
