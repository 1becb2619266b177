//! The only thread that changes the store. It takes all waiting commands, does them in memory, writes their changes to the log
//! as one group, and syncs. Only then it publishes the changes and replies. It also ends leases and starts snapshots.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};

use super::super::port::{Reason, Revision};
use super::command::{Command, PendingReply, Queued, Refusal, do_command};
use super::disk::{Disk, is_out_of_space};
use super::format::{Seal, encode_group};
use super::history::{History, Published};
use super::keyspace::{Keyspace, KeyspaceStep, Steps};
use super::lease::{LeaseClock, LeaseTime, TICK};
use super::log::{AppendError, Log};
use super::snapshot::Snapshots;
use super::stats::SharedStats;
use crate::trouble::Trouble;

/// Limits of one group, so that its first command does not wait too long.
const GROUP_STEPS: usize = 8_192;
const GROUP_ANSWERS: usize = 8_192;

/// Leases that end in one group. The limit lets writers in while a hundred thousand leases expire.
const EXPIRIES: usize = 1_000;

/// A buffer that has grown beyond this is freed after the group.
const FRAME_KEPT: usize = 8 << 20;
const STEPS_KEPT: usize = 4 * GROUP_STEPS;

/// See [`super::Options::on_fatal`].
pub(super) type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

pub(super) struct Committer {
    pub disk: Arc<dyn Disk>,
    pub keyspace: Keyspace,
    pub log: Log,
    pub time: LeaseClock,
    pub inbox: Receiver<Queued>,
    pub permits: Arc<Semaphore>,
    pub history: Arc<History>,
    pub published: watch::Sender<Published>,
    pub stats: SharedStats,
    pub snapshots: Snapshots,
    pub on_fatal: OnFatal,
}

/// Whether the committer takes more commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Go,
    Close,
}

/// The commands that are written together. The vectors keep their capacity for the next group.
#[derive(Default)]
struct CommitGroup {
    revision_before: Revision,
    steps: Steps,
    answers: Vec<PendingReply>,
    /// Replied to when no lease is due.
    pokes: Vec<oneshot::Sender<()>>,
    frame: Vec<u8>,
    /// Permits of the queue to return.
    room: usize,
    /// Groups that could not be written.
    trouble: Trouble,
}

impl Committer {
    /// Runs until [`Command::Close`] comes or all senders are dropped.
    pub(super) fn run(mut self) {
        let mut group = CommitGroup::default();
        let mut wait = Duration::ZERO;
        let mut turn = Turn::Go;
        while turn == Turn::Go {
            group.revision_before = self.keyspace.revision;
            let first = match self.inbox.recv_timeout(wait) {
                Ok(queued) => Some(queued),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let now = self.time.look();
            if let Some(first) = first {
                turn = self.take(first, now, &mut group);
            }
            for lease in self.keyspace.leases.due(now, EXPIRIES) {
                self.keyspace.end_lease(lease, &mut group.steps);
            }
            if let Err(message) = self.commit(now, &mut group) {
                (self.on_fatal)(&message);
                break;
            }
            wait = if self.keyspace.leases.is_due(now) { Duration::ZERO } else { TICK };
            if wait == TICK {
                for reply in group.pokes.drain(..) {
                    let _ = reply.send(());
                }
            }
            if let Err(message) =
                self.snapshots.maintain(&self.disk, &mut self.log, &mut self.keyspace, &self.stats)
            {
                (self.on_fatal)(&message);
                break;
            }
        }
        self.snapshots.finish(&mut self.log, &self.stats);
        // The commands left in the queue were not started. Dropping the queue drops their replies, which tells their callers.
        // The disk, with the folder's lock, is dropped before `published`, whose end says that the store is closed.
        self.permits.close();
        let Self { disk, log, inbox, published, .. } = self;
        drop((log, disk, inbox));
        drop(published);
    }

    /// Does a command and all commands that wait behind it.
    fn take(&mut self, first: Queued, now: LeaseTime, group: &mut CommitGroup) -> Turn {
        let mut next = first;
        loop {
            group.room += next.room as usize;
            match next.command {
                Command::Close => return Turn::Close,
                Command::Poke { reply } => group.pokes.push(reply),
                command => {
                    group.answers.extend(do_command(command, &mut self.keyspace, &mut group.steps, now));
                }
            }
            if group.steps.len() >= GROUP_STEPS || group.answers.len() >= GROUP_ANSWERS {
                return Turn::Go;
            }
            next = match self.inbox.try_recv() {
                Ok(queued) => queued,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Turn::Go,
            };
        }
    }

    /// Makes the group durable, publishes it and replies; or undoes it. An error is fatal.
    fn commit(&mut self, now: LeaseTime, group: &mut CommitGroup) -> Result<(), String> {
        let written = if group.steps.iter().any(|step| matches!(step, KeyspaceStep::Key { .. })) {
            self.write(group)
        } else {
            Ok(())
        };
        match written {
            Ok(()) => {
                self.publish(group);
                for answer in group.answers.drain(..) {
                    answer.send(&self.keyspace);
                }
            }
            Err(AppendError::Refused(error)) => self.refuse(&error, now, group),
            Err(AppendError::Fatal { doing, error }) => {
                let message = format!("{}: could not {doing}: {error}", self.log.path());
                for answer in group.answers.drain(..) {
                    answer.send_unknown(&message);
                }
                return Err(message);
            }
        }
        self.permits.add_permits(std::mem::take(&mut group.room));
        if group.frame.capacity() > FRAME_KEPT {
            group.frame = Vec::new();
        }
        if group.steps.capacity() > STEPS_KEPT {
            group.steps = Vec::new();
        }
        Ok(())
    }

    fn write(&mut self, group: &mut CommitGroup) -> Result<(), AppendError> {
        Seal::start(&mut group.frame);
        // If a lease ended in this group, its keys end with it, so its TTL does not matter.
        let ttl = |lease| self.keyspace.leases.ttl_seconds(lease).unwrap_or(0);
        encode_group(&mut group.frame, group.revision_before, &group.steps, ttl);
        self.log.append(&mut group.frame)
    }

    fn publish(&mut self, group: &mut CommitGroup) {
        let wrote = self.keyspace.revision > group.revision_before;
        if wrote && group.trouble.is_over() {
            log::info!("{}: writing works again", self.log.path());
        }
        self.stats.lock().note(&self.keyspace, &self.log, wrote);
        if !wrote {
            group.steps.clear();
            return;
        }
        let registry_revision = self.history.push(&mut group.steps);
        let revision = self.keyspace.revision;
        self.published.send_modify(|published| {
            published.revision = revision;
            published.registry_revision = registry_revision.unwrap_or(published.registry_revision);
        });
    }

    /// Undoes a group that could not be written, and refuses its commands.
    fn refuse(&mut self, error: &io::Error, now: LeaseTime, group: &mut CommitGroup) {
        let reason = if is_out_of_space(error) { Reason::NoSpace } else { Reason::Refused };
        let refusal = Refusal { reason, message: format!("{}: could not write: {error}", self.log.path()) };
        if group.trouble.fails(&refusal.message) {
            log::error!("{}; writes are refused until writing works again", refusal.message);
        }
        self.stats.lock().groups_refused += 1;
        self.keyspace.undo(&mut group.steps, group.revision_before, now);
        for answer in group.answers.drain(..) {
            answer.send_refused(&mut self.keyspace, now, &refusal);
        }
    }
}
