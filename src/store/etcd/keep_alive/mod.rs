//! Renewals: eight lanes. The hash of a lease chooses its lane, so a lease that blocks its lane does not affect the others.
//! Through a follower one stream carries 8,000 renewals a second, and eight streams three times as many.

mod judge;
mod lane;
mod news;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::nodes::Nodes;
use crate::store::port::{KeepAlive, LeaseId};
use lane::{Lane, Renewals};

const LANES: usize = 8;
/// The most calls that wait at a lane.
const CALLS_WAITING: usize = 1_024;
/// The leases that a lane takes at once, so that it serves several callers in turn.
const LEASES_AT_ONCE: usize = 1_024;
/// The limit of a call. Only a very long list of leases that etcd keeps answering takes this long, because a lane gives up after
/// 2 s without an answer.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The index of the lease in the call, and its answer.
type RenewalAnswer = (usize, KeepAlive);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes(Vec<mpsc::Sender<Renewals>>);

impl Lanes {
    /// Starts the lanes on the current runtime.
    pub fn start(nodes: &Nodes) -> Self {
        let lane = |_| {
            let (sender, calls) = mpsc::channel(CALLS_WAITING);
            tokio::spawn(Lane::new(nodes.clone()).run(calls));
            sender
        };
        Self((0..LANES).map(lane).collect())
    }

    /// Renews leases. Returns one answer for each, in the same order.
    pub async fn renew(self, leases: Vec<LeaseId>) -> Vec<KeepAlive> {
        let deadline = Instant::now() + CALL_LIMIT;
        let count = leases.len();
        let mut answers = vec![KeepAlive::Unanswered("no answer within the limit".to_owned()); count];
        // There is room for all answers, so that no lane waits for this caller.
        let (reply, mut replies) = mpsc::channel::<RenewalAnswer>(count.max(1));
        let mut shares: Vec<Vec<(usize, LeaseId)>> = self.0.iter().map(|_| Vec::new()).collect();
        for (index, lease) in leases.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(lane_of(lease)) {
                share.push((index, lease));
            }
        }
        let hand_out = async {
            for (lane, share) in self.0.iter().zip(&shares) {
                for part in share.chunks(LEASES_AT_ONCE) {
                    // If the lane has ended, its leases stay unanswered.
                    drop(lane.send(Renewals { leases: part.to_vec(), reply: reply.clone() }).await);
                }
            }
        };
        drop(timeout_at(deadline, hand_out).await);
        drop(reply);
        while let Ok(Some((index, answer))) = timeout_at(deadline, replies.recv()).await {
            if let Some(slot) = answers.get_mut(index) {
                *slot = answer;
            }
        }
        answers
    }
}

/// A hash of a lease's id. etcd's ids count up in steps, so their low bits alone would fill the lanes unevenly.
fn spread(lease: LeaseId) -> usize {
    let mixed = (lease.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 40).unwrap_or(0)
}

fn lane_of(lease: LeaseId) -> usize {
    spread(lease) % LANES
}

/// The stream of a lease in its lane.
fn stream_of(lease: LeaseId, streams: usize) -> usize {
    (spread(lease) / LANES) % streams.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_spread_over_lanes_and_streams() {
        // As etcd makes them: member and time in the high bits, a counter in the low bits, mostly even.
        for step in [1, 2, 4, 256] {
            let leases = || (0..8_000).map(|n| LeaseId(0x20e5_9a1b_3c4d_0000 + n * step));
            let mut lanes = [0; LANES];
            let mut streams = [0; 4];
            for lease in leases() {
                lanes[lane_of(lease)] += 1;
                if lane_of(lease) == 3 {
                    streams[stream_of(lease, 4)] += 1;
                }
            }
            assert!(lanes.iter().all(|count| (700..1_300).contains(count)), "step {step}: {lanes:?}");
            assert!(streams.iter().all(|count| (150..400).contains(count)), "step {step}: {streams:?}");
        }
    }
}
