//! What a lane is told by the tasks it starts: those that read its streams, and those that judge a lease.

use crate::store::etcd::wire::LeaseKeepAliveResponse;
use crate::store::port::LeaseId;

pub(super) enum News {
    Answered { stream: u64, answer: LeaseKeepAliveResponse },
    Broken { stream: u64, why: String },
    Judged { lease: LeaseId, verdict: Verdict },
}

/// What is known of a lease that held up its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its own renewal was answered.
    Renewed(i64),
    /// It has time left: it goes back among the others.
    Alive,
    /// Revoked.
    Gone,
    /// Past its time, not yet revoked. Not the end: a new leader would give it its time again. One more verdict follows.
    Expired,
    /// Nothing is known.
    NoAnswer(String),
}
