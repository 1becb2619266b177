//! The tests that need no parts inside a module: one binary, so that the daemon's crates are linked once.
//!
//! Most of them start the built daemon as a process of its own:
//!
//! - `attack`: hostile and careless requests, with the memory and CPU time they may cost.
//! - `contract`: what the API answers, recorded exchanges first.
//! - `fault`: killed processes, cut connections, a store that goes away.
//! - `property`: random operations against a naive model.
//!
//! Some call the library, and run in this process:
//!
//! - `config`: files and environment variables in, the configuration or messages out.
//! - `retire`: the retirement jobs with their actors, on an embedded store.
//! - `server`: the HTTP server on real sockets, with routes of its own and a clock that the test moves.
//!
//! And:
//!
//! - `tidy`: rules about the source itself.
//! - `support`: what the others start, send and wait with. It asserts nothing about the registry.
//!
//! The lints that are allowed here forbid what the daemon must not do and a test may: to panic, to print, and to read the
//! real clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests fail by panicking, and fault tests print the figures of a run"
)]

mod attack;
mod config;
mod contract;
mod fault;
mod property;
mod retire;
mod server;
mod support;
mod tidy;
