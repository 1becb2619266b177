//! What the API answers, seen by a client.
//!
//! - `golden`: the recorded exchanges.
//! - `cases`: the conformance cases that no recording shows; `tests/golden/cases.txt` says where each case is shown.
//! - `clients`: the requests of real clients, byte for byte, and what those clients look at in the answers.
//! - `held`: instances whose expiry is held, unregistered.
//! - `set_back`: an etcd that is restored from a backup.
//! - `overload`: what is refused when there is too much to do.
//! - `script`: `scripts/cluster.sh`.
//! - `cluster`, `daemon`, `transfer`: how the daemon is run, alone and beside others, and how data moves between stores.

mod cases;
mod clients;
mod cluster;
mod daemon;
mod etcd_data;
mod etcd_layout;
mod golden;
mod held;
mod openapi;
mod overload;
mod script;
mod set_back;
mod shared_address;
mod transfer;
