//! What waits for the recorder. Telling something takes a short lock and never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::note::Note;
use crate::metrics;

/// How many changes may wait. A step of the watch is taken as a whole, if fewer wait before it: its changes are in memory already. The
/// recorder is 10 ms behind, so this is for 2 million changes a second.
const MAX_WAITING: usize = 20_000;

/// The handle by which actors tell what happens. Clones share one queue.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<NoteQueue>);

#[derive(Debug, Default)]
struct NoteQueue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// How many writes were begun.
    begun: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    notes: Vec<Note>,
    /// How many changes `notes` hold.
    changes: usize,
    /// How many changes were dropped since the last [`Recorder::drain`].
    lost: usize,
    /// How many notes were told in all.
    told: u64,
}

/// What has waited.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) notes: Vec<Note>,
    /// How many changes are missing behind these notes.
    pub(super) lost: usize,
    /// How many notes were told in all, those that were dropped included.
    pub(super) told: u64,
    /// How many writes were begun.
    pub(super) begun: u64,
}

impl Recorder {
    /// Tells the recorder something. If too much waits, it is dropped, and the record gets a gap.
    pub fn note(&self, note: Note) {
        let weight = match &note {
            Note::Seen(step) => step.changes.len(),
            Note::Wrote(_) | Note::Pushed(_) | Note::Happened(_) => 1,
        };
        let mut waiting = self.0.waiting.lock();
        waiting.told += 1;
        if waiting.changes >= MAX_WAITING {
            waiting.lost += weight;
            metrics::EVENTS_DROPPED.add(weight);
            return;
        }
        waiting.changes += weight;
        waiting.notes.push(note);
        let is_first = waiting.notes.len() == 1;
        drop(waiting);
        if is_first {
            self.0.wake.notify_one();
        }
    }

    /// Begins a write that may cause a change. Exactly one [`Note::Wrote`] with this ticket must follow.
    pub fn begin(&self) -> u64 {
        self.0.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// How many writes have begun. Read before a change is told: a write that begins later is not its cause.
    pub fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Acquire)
    }

    /// Waits until something is told.
    pub async fn wait(&self) {
        self.0.wake.notified().await;
    }

    /// How many notes have been told.
    pub(super) fn told(&self) -> u64 {
        self.0.waiting.lock().told
    }

    pub(super) fn drain(&self) -> Drained {
        let begun = self.begun();
        let mut waiting = self.0.waiting.lock();
        let notes = std::mem::take(&mut waiting.notes);
        let lost = std::mem::take(&mut waiting.lost);
        waiting.changes = 0;
        Drained { notes, lost, told: waiting.told, begun }
    }
}
