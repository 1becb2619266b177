//! The tests that use only public parts of the daemon. They are one binary, so that the daemon's crates are linked once.
//!
//! Most tests start the built daemon as a process:
//!
//! - `a_minute`: jobs that run each minute.
//! - `access`: who may do what, with attacks on accounts, tokens and logins.
//! - `attack`: hostile and careless requests, with bounds on the memory and CPU time that they cost.
//! - `cli`: `service-center ctl` and `scctl`, with its exit codes and outputs.
//! - `console`: what is served of the web console, and its files.
//! - `contract`: the answers of the API, with recorded exchanges first.
//! - `fault`: killed processes, cut connections, a store that goes away.
//! - `monitoring`: a real Prometheus that scrapes the daemon, the Grafana board and the alerts.
//! - `property`: random operations against a naive model.
//! - `troubleshooting`: the commands of `docs/troubleshooting.md`, on a cluster with the faults that they explain.
//!
//! Some tests call the library in this process:
//!
//! - `config`: configuration files and environment variables, and the configuration or messages that result.
//! - `record`: the record of events with the actors that feed it.
//! - `retire`: the retirement jobs with their actors.
//! - `server`: the HTTP server on real sockets, with routes and a clock of the test.
//!
//! Two modules are of another kind:
//!
//! - `tidy`: rules about the source itself.
//! - `support`: helpers that start processes, send requests and wait. It asserts nothing about the registry.
//!
//! A test may panic, print, and read the real clock. The lints that forbid this to the daemon are allowed here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests fail by panicking, and fault tests print the figures of a run"
)]

mod a_minute;
mod access;
mod attack;
mod cli;
mod config;
mod console;
mod contract;
mod fault;
mod monitoring;
mod property;
mod record;
mod retire;
mod server;
mod support;
mod tidy;
mod troubleshooting;
