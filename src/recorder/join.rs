//! Finds the write of this node that caused a change.
//!
//! A write has a ticket from its begin to its end. A change that the watch brings can only come from writes that had begun by then. So
//! as soon as all of them have ended, and none of them has written this key at this revision, another node made the change.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::Cause;
use super::note::{Purpose, Write};
use crate::domain::event::Revision;

/// How many writes of unknown outcome are remembered.
const MAX_DOUBTFUL: usize = 256;
/// How many writes are remembered until the watch shows their changes. The oldest are forgotten.
pub(super) const MAX_KNOWN: usize = 50_000;
/// How many tickets may be open. If there are more, the oldest ones count as ended.
const MAX_OPEN: usize = 100_000;

#[derive(Debug, Default)]
pub(super) struct Causes {
    /// In the order of the revisions.
    known: VecDeque<KnownWrite>,
    /// Writes before this revision are not known any more.
    forgotten: Revision,
    /// Keys that may have been written, at any revision. The oldest comes first.
    doubtful: VecDeque<(Arc<str>, Cause, Purpose)>,
    /// All writes up to this ticket have ended.
    ended: u64,
    /// Whether each write after `ended` has ended.
    later: VecDeque<bool>,
    /// What the writes up to this ticket have done is not known for sure.
    unsure: u64,
}

#[derive(Debug)]
struct KnownWrite {
    revision: Revision,
    key: Arc<str>,
    cause: Cause,
    purpose: Purpose,
}

/// What is known of the cause of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Known(Cause, Purpose),
    /// A write that may be the cause has not ended.
    NotYet,
    /// No write of this node.
    OtherNode,
    /// Perhaps a write of this node.
    Unsure,
}

impl Causes {
    pub(super) fn wrote(&mut self, write: Write) {
        let Write { ticket, keys, revision, purpose, cause } = write;
        for key in keys {
            match revision {
                Some(revision) => {
                    let known = KnownWrite { revision, key, cause: cause.clone(), purpose };
                    // Nearly always at the end.
                    let is_last = self.known.back().is_none_or(|last| last.revision <= revision);
                    let place = if is_last {
                        self.known.len()
                    } else {
                        self.known.partition_point(|other| other.revision <= revision)
                    };
                    self.known.insert(place, known);
                    if self.known.len() > MAX_KNOWN
                        && let Some(oldest) = self.known.pop_front()
                    {
                        self.forgotten = self.forgotten.max(oldest.revision + 1);
                    }
                }
                None => {
                    if self.doubtful.len() >= MAX_DOUBTFUL {
                        self.doubtful.pop_front();
                    }
                    self.doubtful.push_back((key, cause.clone(), purpose));
                }
            }
        }
        self.end(ticket);
    }

    fn end(&mut self, ticket: u64) {
        let Some(place) = ticket.checked_sub(self.ended + 1).and_then(|place| usize::try_from(place).ok())
        else {
            return;
        };
        if place >= MAX_OPEN {
            self.give_up(ticket - MAX_OPEN as u64 / 2);
            return self.end(ticket);
        }
        if place >= self.later.len() {
            self.later.resize(place + 1, false);
        }
        if let Some(has_ended) = self.later.get_mut(place) {
            *has_ended = true;
        }
        self.advance();
    }

    fn advance(&mut self) {
        while self.later.front() == Some(&true) {
            self.later.pop_front();
            self.ended += 1;
        }
    }

    /// Waits no more for the writes up to this ticket. Whether they are the cause of a change is not known then.
    pub(super) fn give_up(&mut self, ticket: u64) {
        while self.ended < ticket {
            self.later.pop_front();
            self.ended += 1;
        }
        self.unsure = self.unsure.max(ticket);
        self.advance();
    }

    /// The cause of a change that was seen when so many writes had begun.
    pub(super) fn find(&mut self, revision: Revision, key: Option<&Arc<str>>, begun: u64) -> Found {
        match key.and_then(|key| self.write(revision, key)) {
            Some(write) => Found::Known(write.cause.clone(), write.purpose),
            None if begun > self.ended => Found::NotYet,
            None => match self.take_doubtful(key) {
                Some(found) => found,
                None if self.unsure > 0 && begun <= self.unsure => Found::Unsure,
                // A repair shows a change late.
                None if revision < self.forgotten => Found::Unsure,
                None => Found::OtherNode,
            },
        }
    }

    fn write(&self, revision: Revision, key: &str) -> Option<&KnownWrite> {
        let first = self.known.partition_point(|write| write.revision < revision);
        let of_revision = self.known.iter().skip(first).take_while(|write| write.revision == revision);
        // Keys differ at their ends.
        let end = |key: &str| key.as_bytes().last_chunk::<8>().copied();
        let sought = end(key);
        of_revision.into_iter().find(|write| end(&write.key) == sought && *write.key == *key)
    }

    /// The write of unknown outcome that seems to have written this key after all.
    fn take_doubtful(&mut self, key: Option<&Arc<str>>) -> Option<Found> {
        let place = self.doubtful.iter().rposition(|(doubtful, ..)| Some(doubtful) == key)?;
        let (_, cause, purpose) = self.doubtful.remove(place)?;
        Some(Found::Known(cause, purpose))
    }

    /// Drops what was written before this revision, because all changes before it have found their causes.
    pub(super) fn forget_before(&mut self, revision: Revision) {
        self.forgotten = self.forgotten.max(revision);
        while self.known.front().is_some_and(|first| first.revision < revision) {
            self.known.pop_front();
        }
    }
}
