//! What the API answers, seen by a client.
//!
//! - `golden`: the recorded exchanges.
//! - `cases`: the conformance cases that no recording shows; `tests/golden/cases.txt` says where each case is shown.

mod cases;

mod cluster;
mod daemon;
mod etcd_data;
mod etcd_layout;
mod golden;
mod transfer;
