//! The store on etcd against real etcd processes: the suite every store passes, and what happens when etcd is slow,
//! away, full, restarted, compacted, or guarded by users and certificates.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and look at the real clock"
)]

#[expect(dead_code, reason = "shared with another binary, which uses the rest")]
#[path = "../it/support"]
mod support {
    pub mod etcd;
    pub mod eventually;
    pub mod net;
    pub mod process;
}

mod conformance;
