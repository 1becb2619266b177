//! The callers' side of the queue: waits for room, sends a command and waits for its reply, each within a time limit. It also
//! checks what needs no state, to save the committer's time.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError, oneshot, watch};

use super::super::port::{Key, Lease, Op, Reason, Revision, StoreError, Txn, TxnResult};
use super::command::{Command, Queued};
use super::history::{History, Published, REGISTRY};
use super::lease::{LeaseIds, clamp_ttl};
use super::limits;
use super::stats::SharedStats;

/// Room in the queue, in KiB of requests.
pub(super) const QUEUE_ROOM: u32 = 64 << 10;

/// The longest wait of a close, for example for a snapshot that is being written.
const CLOSE_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Caller {
    pub queue: mpsc::Sender<Queued>,
    /// Bounds the queue; closed when the store is.
    pub permits: Arc<Semaphore>,
    pub published: watch::Receiver<Published>,
    pub history: Arc<History>,
    pub lease_ids: LeaseIds,
    pub stats: SharedStats,
    pub queue_wait: Duration,
    pub answer_wait: Duration,
}

/// Why a command has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The command was not started.
    Full,
    /// The command was not started, or it only read.
    Closed,
    /// The command may have been done.
    Late,
}

impl Unanswered {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Full => "the store is busy: no room in its queue",
            Self::Closed => "the store is closed",
            Self::Late => "the store did not answer in time",
        }
    }

    pub(super) fn to_error(self) -> StoreError {
        let message = self.message().to_owned();
        match self {
            Self::Full | Self::Closed => StoreError::Aborted { reason: Reason::Unavailable, message },
            Self::Late => StoreError::Unknown { message },
        }
    }
}

impl Caller {
    pub(super) async fn ask<T>(
        &self,
        bytes: usize,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.tell(bytes, command(reply)).await?;
        match tokio::time::timeout(self.answer_wait, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Closed),
            Err(_) => Err(Unanswered::Late),
        }
    }

    /// Queues a command that has no reply.
    async fn tell(&self, bytes: usize, command: Command) -> Result<(), Unanswered> {
        let room = u32::try_from(bytes / 1024).unwrap_or(QUEUE_ROOM).saturating_add(1).min(QUEUE_ROOM);
        let permit = match self.permits.try_acquire_many(room) {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(Unanswered::Closed),
            Err(TryAcquireError::NoPermits) => {
                let room = self.permits.acquire_many(room);
                match tokio::time::timeout(self.queue_wait, room).await {
                    Ok(Ok(permit)) => permit,
                    Ok(Err(_)) => return Err(Unanswered::Closed),
                    Err(_) => return Err(Unanswered::Full),
                }
            }
        };
        self.queue.send(Queued { command, room }).map_err(|_| Unanswered::Closed)?;
        // The committer returns the permits.
        permit.forget();
        Ok(())
    }

    pub(super) async fn grant(&self, ttl_seconds: i64) -> Result<Lease, StoreError> {
        let (id, ttl_seconds) = (self.lease_ids.take(), clamp_ttl(ttl_seconds));
        self.tell(1, Command::Grant { lease: id, ttl_seconds }).await.map_err(Unanswered::to_error)?;
        Ok(Lease { id, ttl_seconds })
    }

    pub(super) fn published(&self) -> Result<Published, StoreError> {
        match self.published.has_changed() {
            Ok(_) if !self.permits.is_closed() => Ok(*self.published.borrow()),
            _ => Err(Unanswered::Closed.to_error()),
        }
    }

    pub(super) async fn batch(&self, txns: Vec<Txn>) -> Vec<TxnResult> {
        let asked = txns.len();
        let mut bytes = 0;
        let check = |txn: Txn| {
            bytes += limits::check(&txn)?;
            Ok(txn)
        };
        let txns: Vec<_> = txns.into_iter().map(check).collect();
        if asked == 0 {
            return Vec::new();
        }
        match self.ask(bytes, |reply| Command::Batch { txns, reply }).await {
            Ok(outcomes) => outcomes,
            Err(unanswered) => vec![Err(unanswered.to_error()); asked],
        }
    }

    async fn single(&self, op: Op) -> Result<Revision, StoreError> {
        let txn = Txn { then: vec![op], ..Txn::default() };
        match self.batch(vec![txn]).await.pop() {
            Some(outcome) => outcome.map(|outcome| outcome.revision),
            None => Err(Unanswered::Closed.to_error()),
        }
    }

    pub(super) async fn bookmark(&self) -> Result<Revision, StoreError> {
        let published = self.published()?;
        if published.revision == published.registry_revision {
            return Ok(published.revision);
        }
        // The last write was outside the registry's prefix, so the registry's watch would never reach its revision.
        let bookmarks = format!("{REGISTRY}bookmarks/");
        let key = Key::from(format!("{bookmarks}{:016x}", rand::random::<u64>()));
        let put = self.single(Op::Put { key, value: bytes::Bytes::new(), lease: None }).await?;
        // If the deletion fails, the next bookmark deletes this one. Its revision does not count: another caller may have deleted
        // the key already, so that there is no event.
        let _ = self.single(Op::DeletePrefix(bookmarks.into())).await;
        Ok(put)
    }

    pub(super) async fn close(&self) {
        // Refuses new commands. The committer does the commands in the queue first.
        self.permits.close();
        let _ = self.queue.send(Queued { command: Command::Close, room: 0 });
        let mut published = self.published.clone();
        let closed = async { while published.changed().await.is_ok() {} };
        if tokio::time::timeout(CLOSE_WAIT, closed).await.is_err() {
            log::warn!("the embedded store did not close within {CLOSE_WAIT:?}");
        }
    }
}
