//! What the API answers, seen by a client.
//!
//! - `golden`: the recorded exchanges.
//! - `cases`: the conformance cases that no recording shows; `tests/golden/cases.txt` says where each case is shown.
//! - `clients`: the requests of real clients, byte for byte, and the parts of the answers that they use.
//! - `held`: instances that are unregistered or released while their expiry is held back.
//! - `events`: the record of what happened, as a list and as a stream.
//! - `retirements`: the list of services that the retirement job deletes.
//! - `set_back`: an etcd that is restored from a backup.
//! - `overload`: which requests are refused when there are too many.
//! - `script`: `scripts/cluster.sh`.
//! - `package`: the archive that `make dist` builds.
//! - `systemd`: what the daemon tells systemd, and its unit.
//! - `recipe`: the commands of `docs/secured-cluster.md`.
//! - `metrics`: what `GET /metrics` answers, and where.
//! - `certificates`: the HTTPS port whose certificates are replaced.
//! - `logs`, `traces`: the access log, and what a collector of OpenTelemetry gets.
//! - `consumers`: consumers that came before their provider, and consumers of an instance that drains, on one node and on three.
//! - `cluster`, `daemon`, `transfer`: how the daemon is run, alone and beside others, and how data moves between stores.

mod accounts;
mod bodies;
mod cases;
mod certificates;
mod clients;
mod cluster;
mod consumers;
mod container;
mod convergence;
mod daemon;
mod described;
mod etcd_data;
mod etcd_layout;
mod events;
pub mod golden;
mod held;
mod logs;
mod metrics;
mod openapi;
mod overload;
mod package;
mod recipe;
mod retirements;
mod script;
mod set_back;
mod shared_address;
mod systemd;
mod traces;
mod transfer;
