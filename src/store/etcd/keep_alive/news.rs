//! The messages that a lane gets from its tasks, which read its streams and judge leases.

use crate::store::etcd::wire::LeaseKeepAliveResponse;
use crate::store::port::LeaseId;

pub(super) enum News {
    Answered { stream: u64, answer: LeaseKeepAliveResponse },
    Broken { stream: u64, why: String, cause: Cause },
    Judged { lease: LeaseId, verdict: Verdict },
}

/// Why a stream broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Node,
    /// The node is well, and a new token is there.
    StaleToken,
}

/// The state of a lease that blocked its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// etcd renewed it to this TTL, seconds.
    Renewed(i64),
    /// It has time left, so it is renewed with the others again.
    Alive,
    /// Revoked.
    Gone,
    /// Expired but not yet revoked. A new leader would give it its full TTL again. One more verdict follows.
    Expired,
    /// Its state is unknown.
    NoAnswer(String),
}
