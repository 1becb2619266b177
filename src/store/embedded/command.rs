//! What callers ask the committer for, and the answers that wait until the disk has what they say.

use tokio::sync::oneshot;

use super::super::port::{KeepAlive, Lease, LeaseId, Reason, Revision, StoreError, Txn, TxnOutcome};
use super::keyspace::{Items, Keyspace, Steps};
use super::lease::{LeaseTime, clamp_ttl};

/// One outcome for each transaction.
pub(super) type Outcomes = Vec<Result<TxnOutcome, StoreError>>;

/// A transaction, or why it is none.
pub(super) type Checked = Result<Txn, StoreError>;

/// What can be asked. A caller that no longer waits for its reply does not matter.
pub(super) enum Command {
    Batch { txns: Vec<Checked>, reply: oneshot::Sender<Outcomes> },
    Grant { ttl_seconds: i64, reply: oneshot::Sender<Result<Lease, StoreError>> },
    KeepAlive { leases: Vec<LeaseId>, reply: oneshot::Sender<Vec<KeepAlive>> },
    Revoke { lease: LeaseId, reply: oneshot::Sender<Result<bool, StoreError>> },
    List { reply: oneshot::Sender<(Items, Revision)> },
    Poke { reply: oneshot::Sender<()> },
    Close,
}

/// A command in the queue.
pub(super) struct Queued {
    pub command: Command,
    /// Permits it holds of the queue's.
    pub room: u32,
}

/// An answer, and what was asked in case it has to be asked again.
pub(super) enum Answer {
    Batch {
        txns: Vec<Checked>,
        outcomes: Outcomes,
        reply: oneshot::Sender<Outcomes>,
    },
    KeepAlive {
        leases: Vec<LeaseId>,
        answers: Vec<KeepAlive>,
        reply: oneshot::Sender<Vec<KeepAlive>>,
    },
    Revoke {
        lease: LeaseId,
        found: bool,
        reply: oneshot::Sender<Result<bool, StoreError>>,
    },
    List {
        reply: oneshot::Sender<(Items, Revision)>,
    },
    /// Was answered at once, or is elsewhere.
    None,
}

/// Why a group is refused.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub reason: Reason,
    pub message: String,
}

impl Refusal {
    fn to_error(&self) -> StoreError {
        StoreError::Aborted { reason: self.reason, message: self.message.clone() }
    }
}

/// Does a command in memory.
pub(super) fn do_command(
    command: Command,
    keyspace: &mut Keyspace,
    steps: &mut Steps,
    now: LeaseTime,
) -> Answer {
    match command {
        Command::Batch { txns, reply } => {
            let mut apply = |txn: &Checked| match txn {
                Ok(txn) => keyspace.apply(txn, steps),
                Err(error) => Err(error.clone()),
            };
            let outcomes = txns.iter().map(&mut apply).collect();
            Answer::Batch { txns, outcomes, reply }
        }
        Command::Grant { ttl_seconds, reply } => {
            let ttl_seconds = clamp_ttl(ttl_seconds);
            // In memory only: the disk learns of it with its first key, so a registration waits for one sync and not two.
            let id = keyspace.leases.grant(ttl_seconds, now);
            // At once, since it says nothing of the disk: its first key can then be in the very next group.
            let _ = reply.send(Ok(Lease { id, ttl_seconds }));
            Answer::None
        }
        Command::KeepAlive { leases, reply } => {
            let answers = renew(keyspace, &leases, now);
            if answers.contains(&KeepAlive::NotFound) {
                // The end of that lease may not be on disk yet.
                return Answer::KeepAlive { leases, answers, reply };
            }
            let _ = reply.send(answers);
            Answer::None
        }
        Command::Revoke { lease, reply } => {
            let found = keyspace.end_lease(lease, steps);
            Answer::Revoke { lease, found, reply }
        }
        Command::List { reply } => Answer::List { reply },
        Command::Poke { .. } | Command::Close => Answer::None,
    }
}

fn renew(keyspace: &mut Keyspace, leases: &[LeaseId], now: LeaseTime) -> Vec<KeepAlive> {
    let renew =
        |lease: &LeaseId| keyspace.leases.renew(*lease, now).map_or(KeepAlive::NotFound, KeepAlive::Renewed);
    leases.iter().map(renew).collect()
}

impl Answer {
    /// The group is durable.
    pub(super) fn send(self, keyspace: &Keyspace) {
        match self {
            Self::Batch { outcomes, reply, .. } => drop(reply.send(outcomes)),
            Self::KeepAlive { answers, reply, .. } => drop(reply.send(answers)),
            Self::Revoke { found, reply, .. } => drop(reply.send(Ok(found))),
            Self::List { reply } => drop(reply.send((keyspace.items.clone(), keyspace.revision))),
            Self::None => {}
        }
    }

    /// The group was undone: what only looked looks again, at the state without it; what would write is refused.
    pub(super) fn send_refused(self, keyspace: &mut Keyspace, now: LeaseTime, refusal: &Refusal) {
        match self {
            Self::Batch { txns, reply, .. } => {
                let again = |txn: Checked| {
                    let (mut steps, revision) = (Steps::new(), keyspace.revision);
                    let outcome = keyspace.apply(&txn?, &mut steps);
                    if steps.is_empty() {
                        return outcome;
                    }
                    keyspace.undo(&mut steps, revision, now);
                    Err(refusal.to_error())
                };
                let _ = reply.send(txns.into_iter().map(again).collect());
            }
            Self::KeepAlive { leases, reply, .. } => drop(reply.send(renew(keyspace, &leases, now))),
            Self::Revoke { lease, reply, .. } => {
                let there = keyspace.leases.ttl_seconds(lease).is_some();
                let _ = reply.send(if there { Err(refusal.to_error()) } else { Ok(false) });
            }
            Self::List { .. } | Self::None => self.send(keyspace),
        }
    }

    /// Nobody knows whether the group is durable.
    pub(super) fn send_unknown(self, message: &str) {
        let unknown = || StoreError::Unknown { message: message.to_owned() };
        match self {
            Self::Batch { outcomes, reply, .. } => {
                let outcomes =
                    outcomes.into_iter().map(|outcome| outcome.and_then(|_| Err(unknown()))).collect();
                let _ = reply.send(outcomes);
            }
            Self::Revoke { reply, .. } => drop(reply.send(Err(unknown()))),
            Self::KeepAlive { .. } | Self::List { .. } | Self::None => {}
        }
    }
}
