//! The one thread that changes the store. It takes all commands that wait, does them in memory, writes what they did as
//! one group, syncs, and only then lets anybody see it. It also ends leases and starts snapshots.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot, watch};

use super::super::port::{Reason, Revision};
use super::command::{Answer, Command, Queued, Refusal, do_command};
use super::disk::Disk;
use super::format::encode_group;
use super::history::{History, Published};
use super::keyspace::{Keyspace, Step, Steps};
use super::lease::{LeaseClock, LeaseTime, TICK};
use super::log::{AppendError, Log};
use super::snapshot::Snapshots;
use super::stats::Counters;
use crate::trouble::Trouble;

/// No more is put into one group, so that the first of it does not wait for ever.
const GROUP_STEPS: usize = 8_192;
const GROUP_ANSWERS: usize = 8_192;

/// Leases ended in one group, so that writers get their turn while a hundred thousand expire.
const EXPIRIES: usize = 1_000;

/// A buffer that one large group has grown beyond this is given back.
const FRAME_KEPT: usize = 8 << 20;
const STEPS_KEPT: usize = 4 * GROUP_STEPS;

/// What a fatal error is told to; see [`super::Options::on_fatal`].
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
    pub counters: Arc<Counters>,
    pub snapshots: Snapshots,
    pub on_fatal: OnFatal,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Go,
    Close,
}

/// What is done and answered together; the vectors keep their room from round to round.
#[derive(Default)]
struct Group {
    revision_before: Revision,
    steps: Steps,
    answers: Vec<Answer>,
    /// Answered when no lease is due any more.
    pokes: Vec<oneshot::Sender<()>>,
    frame: Vec<u8>,
    /// Room in the queue to be given back.
    room: usize,
    /// The last group could not be written.
    trouble: Trouble,
}

impl Committer {
    /// Works until told to close, or until all who could tell are gone.
    pub(super) fn run(mut self) {
        let mut group = Group::default();
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
                self.snapshots.maintain(&self.disk, &mut self.log, &mut self.keyspace, &self.counters)
            {
                (self.on_fatal)(&message);
                break;
            }
        }
        self.snapshots.finish(&mut self.log, &self.counters);
        // What still waits was not begun; its callers learn so when their reply is dropped with the queue. The disk, and
        // with it the folder's lock, is let go before `published` tells that the store is closed.
        self.permits.close();
        let Self { disk, log, inbox, published, .. } = self;
        drop((log, disk, inbox));
        drop(published);
    }

    /// Does a command and all that wait behind it.
    fn take(&mut self, first: Queued, now: LeaseTime, group: &mut Group) -> Turn {
        let mut next = first;
        loop {
            group.room += next.room as usize;
            match next.command {
                Command::Close => return Turn::Close,
                Command::Poke { reply } => group.pokes.push(reply),
                command => match do_command(command, &mut self.keyspace, &mut group.steps, now) {
                    Answer::None => {}
                    answer => group.answers.push(answer),
                },
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

    /// Makes the group durable, then visible, then answers; or undoes it. The error is fatal.
    fn commit(&mut self, now: LeaseTime, group: &mut Group) -> Result<(), String> {
        let written = if group.steps.iter().any(|step| matches!(step, Step::Key { .. })) {
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

    fn write(&mut self, group: &mut Group) -> Result<(), AppendError> {
        Log::start(&mut group.frame);
        // A lease that ended in this very group takes its keys with it: its TTL does not matter any more.
        let ttl = |lease| self.keyspace.leases.ttl_seconds(lease).unwrap_or(0);
        encode_group(&mut group.frame, group.revision_before, &group.steps, ttl);
        self.log.append(&mut group.frame)
    }

    fn publish(&mut self, group: &mut Group) {
        let wrote = self.keyspace.revision > group.revision_before;
        if wrote && group.trouble.is_over() {
            log::info!("{}: writing works again", self.log.path());
        }
        self.counters.note(&self.keyspace, &self.log);
        if !wrote {
            group.steps.clear();
            return;
        }
        self.counters.note_group();
        let registry_revision = self.history.push(&mut group.steps);
        let revision = self.keyspace.revision;
        self.published.send_modify(|published| {
            published.revision = revision;
            published.registry_revision = registry_revision.unwrap_or(published.registry_revision);
        });
    }

    /// The group could not be written: as if it had never been asked for.
    fn refuse(&mut self, error: &io::Error, now: LeaseTime, group: &mut Group) {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::NoSpace,
            _ => Reason::Refused,
        };
        let refusal = Refusal { reason, message: format!("{}: could not write: {error}", self.log.path()) };
        if group.trouble.fails(&refusal.message) {
            log::error!("{}; writes are refused until it works again", refusal.message);
        }
        self.counters.note_refusal();
        self.keyspace.undo(&mut group.steps, group.revision_before, now);
        for answer in group.answers.drain(..) {
            answer.send_refused(&mut self.keyspace, now, &refusal);
        }
    }
}
