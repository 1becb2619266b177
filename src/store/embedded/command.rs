//! The commands of the committer, and the replies that wait until the disk has what they say.

use tokio::sync::oneshot;

use super::super::port::{KeepAlive, LeaseId, Reason, Revision, StoreError, Txn, TxnResult};
use super::keyspace::{Items, Keyspace, Steps};
use super::lease::LeaseTime;

/// A transaction, or the error of its check.
pub(super) type CheckedTxn = Result<Txn, StoreError>;

/// A command is done even if the caller no longer waits for its reply. Nobody waits for a grant: commands are done in order, so the lease
/// is there for the caller's next command.
pub(super) enum Command {
    Batch { txns: Vec<CheckedTxn>, reply: oneshot::Sender<Vec<TxnResult>> },
    Grant { lease: LeaseId, ttl_seconds: i64 },
    KeepAlive { leases: Vec<LeaseId>, reply: oneshot::Sender<Vec<KeepAlive>> },
    Revoke { lease: LeaseId, reply: oneshot::Sender<Result<bool, StoreError>> },
    List { reply: oneshot::Sender<(Items, Revision)> },
    Poke { reply: oneshot::Sender<()> },
    Close,
}

/// A command in the queue.
pub(super) struct Queued {
    pub command: Command,
    /// Permits of the queue that the command holds.
    pub room: u32,
}

/// A reply with the command's arguments, because the committer may have to do the command again.
pub(super) enum PendingReply {
    Batch { txns: Vec<CheckedTxn>, outcomes: Vec<TxnResult>, reply: oneshot::Sender<Vec<TxnResult>> },
    KeepAlive { leases: Vec<LeaseId>, answers: Vec<KeepAlive>, reply: oneshot::Sender<Vec<KeepAlive>> },
    Revoke { lease: LeaseId, found: bool, reply: oneshot::Sender<Result<bool, StoreError>> },
    List { reply: oneshot::Sender<(Items, Revision)> },
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

/// Does a command in memory. `None`: the command has its reply already, or needs none.
pub(super) fn do_command(
    command: Command,
    keyspace: &mut Keyspace,
    steps: &mut Steps,
    now: LeaseTime,
) -> Option<PendingReply> {
    Some(match command {
        Command::Batch { txns, reply } => {
            let mut apply = |txn: &CheckedTxn| match txn {
                Ok(txn) => keyspace.apply(txn, steps),
                Err(error) => Err(error.clone()),
            };
            let outcomes = txns.iter().map(&mut apply).collect();
            PendingReply::Batch { txns, outcomes, reply }
        }
        Command::Grant { lease, ttl_seconds } => {
            // Only in memory. The log names a lease with its first key, so a registration waits for one sync and not two.
            keyspace.leases.grant(lease, ttl_seconds, now);
            return None;
        }
        Command::KeepAlive { leases, reply } => {
            let answers = renew(keyspace, &leases, now);
            if answers.contains(&KeepAlive::NotFound) {
                // The end of the lease may not be on disk yet.
                return Some(PendingReply::KeepAlive { leases, answers, reply });
            }
            let _ = reply.send(answers);
            return None;
        }
        Command::Revoke { lease, reply } => {
            let found = keyspace.end_lease(lease, steps);
            PendingReply::Revoke { lease, found, reply }
        }
        Command::List { reply } => PendingReply::List { reply },
        Command::Poke { .. } | Command::Close => return None,
    })
}

fn renew(keyspace: &mut Keyspace, leases: &[LeaseId], now: LeaseTime) -> Vec<KeepAlive> {
    let renew =
        |lease: &LeaseId| keyspace.leases.renew(*lease, now).map_or(KeepAlive::NotFound, KeepAlive::Renewed);
    leases.iter().map(renew).collect()
}

impl PendingReply {
    /// Replies after the group is durable.
    pub(super) fn send(self, keyspace: &Keyspace) {
        match self {
            Self::Batch { outcomes, reply, .. } => drop(reply.send(outcomes)),
            Self::KeepAlive { answers, reply, .. } => drop(reply.send(answers)),
            Self::Revoke { found, reply, .. } => drop(reply.send(Ok(found))),
            Self::List { reply } => drop(reply.send((keyspace.items.clone(), keyspace.revision))),
        }
    }

    /// Replies after the group was undone. Commands that only read are done again. Commands that write are refused.
    pub(super) fn send_refused(self, keyspace: &mut Keyspace, now: LeaseTime, refusal: &Refusal) {
        match self {
            Self::Batch { txns, reply, .. } => {
                let again = |txn: CheckedTxn| {
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
            Self::List { .. } => self.send(keyspace),
        }
    }

    /// Replies when it is unknown whether the group is durable.
    pub(super) fn send_unknown(self, message: &str) {
        let unknown = || StoreError::Unknown { message: message.to_owned() };
        match self {
            Self::Batch { outcomes, reply, .. } => {
                let outcomes =
                    outcomes.into_iter().map(|outcome| outcome.and_then(|_| Err(unknown()))).collect();
                let _ = reply.send(outcomes);
            }
            Self::Revoke { reply, .. } => drop(reply.send(Err(unknown()))),
            Self::KeepAlive { .. } | Self::List { .. } => {}
        }
    }
}
