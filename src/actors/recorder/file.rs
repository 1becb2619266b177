//! The record on the disk. Encoded events gather here, and a thread for blocking work appends them to the journal. A disk that is full or
//! slow costs events on the disk; it is logged once, and nothing else depends on it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt as _;
use tokio::task::JoinHandle;

use super::RecordFolder;
use crate::clock::Monotonic;
use crate::recorder::{Recorded, Recording, codec};
use crate::store::embedded::journal::Journal;
use crate::trouble::Trouble;

/// How long events gather before they are written.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// They are written at once when they have so many bytes.
const SAVE_AT: usize = 64 << 10;
/// How many bytes may wait for a slow disk. What comes then is not on the disk.
const MAX_UNSAVED: usize = 4 << 20;

pub(super) struct RecordFile {
    state: FileState,
    /// Encoded, and not handed to the disk yet.
    unsaved: Vec<u8>,
    save_by: Monotonic,
    /// The last revision that is in `unsaved` or before it.
    revision: i64,
    /// Logs once that events cannot be written.
    trouble: Arc<Trouble>,
}

enum FileState {
    /// The record is kept in memory only.
    None,
    Unopened(RecordFolder),
    Idle(Box<Journal>),
    Saving(JoinHandle<(Box<Journal>, io::Result<()>)>),
}

/// Opens the journal and reads the record of former processes.
pub(super) struct Opening(RecordFolder);

/// `None`: the journal cannot be used.
pub(super) type Opened = Option<Box<Journal>>;

impl Opening {
    pub(super) fn read(self, mut recording: Recording) -> (Recording, Opened) {
        let RecordFolder { path, max_bytes } = self.0;
        let opened = Journal::open(&path, max_bytes).and_then(|mut journal| {
            // An event takes more bytes on the disk, because memory has what it differs in from others. What is too much is dropped.
            let needed = u64::try_from(recording.most_bytes()).unwrap_or(u64::MAX).saturating_mul(4);
            let damaged = journal.read(needed, |payload| {
                recording.resume(codec::decode(payload).map_while(|record| record))
            })?;
            if damaged > 0 {
                log::info!(
                    "{}: the end of {damaged} files of the record of events cannot be read",
                    path.display()
                );
            }
            Ok(journal)
        });
        let opened = opened.inspect_err(|error| {
            log::warn!(
                "the record of events is kept in memory only, because its files cannot be opened: {error}"
            );
        });
        (recording, opened.ok().map(Box::new))
    }
}

impl RecordFile {
    pub(super) fn new(folder: Option<RecordFolder>) -> Self {
        let state = folder.map_or(FileState::None, FileState::Unopened);
        Self { state, unsaved: Vec::new(), save_by: Monotonic::ZERO, revision: 0, trouble: Arc::default() }
    }

    /// `None` if the record is kept in memory only.
    pub(super) fn opening(&self) -> Option<Opening> {
        match &self.state {
            FileState::Unopened(folder) => Some(Opening(folder.clone())),
            _ => None,
        }
    }

    pub(super) fn opened(&mut self, opened: Opened) {
        self.state = opened.map_or(FileState::None, FileState::Idle);
    }

    /// Encodes what is new.
    pub(super) fn keep(&mut self, recorded: &Recorded) {
        if matches!(self.state, FileState::None) {
            return;
        }
        let Recorded { events, told, revision } = recorded;
        if self.unsaved.len() >= MAX_UNSAVED {
            if !events.is_empty() {
                report(&self.trouble, &io::Error::other("the disk is too slow"));
            }
            return;
        }
        events.iter().for_each(|event| codec::encode_event(&mut self.unsaved, event));
        told.iter().for_each(|(seq, told)| codec::encode_told(&mut self.unsaved, *seq, told));
        if *revision > self.revision {
            codec::encode_revision(&mut self.unsaved, *revision);
            self.revision = *revision;
        }
    }

    /// Whether [`Self::save`] has something to do.
    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty() || matches!(self.state, FileState::Saving(_))
    }

    /// Hands what is due to the disk, unless the disk is still busy.
    pub(super) fn save(&mut self, now: Monotonic) {
        self.state = match std::mem::replace(&mut self.state, FileState::None) {
            FileState::Saving(mut saving) => match (&mut saving).now_or_never() {
                None => FileState::Saving(saving),
                Some(Ok((journal, written))) => {
                    note(&self.trouble, &written);
                    FileState::Idle(journal)
                }
                // The task panicked or the runtime ends.
                Some(Err(error)) => {
                    log::error!("the record of events is not written to the disk any more: {error}");
                    FileState::None
                }
            },
            state => state,
        };
        let is_due = self.unsaved.len() >= SAVE_AT || now >= self.save_by;
        if self.unsaved.is_empty() || !is_due {
            return;
        }
        self.state = match std::mem::replace(&mut self.state, FileState::None) {
            FileState::Idle(mut journal) => {
                self.save_by = now + SAVE_EVERY;
                let payload = std::mem::take(&mut self.unsaved);
                FileState::Saving(tokio::task::spawn_blocking(move || {
                    let written = journal.append(&payload);
                    (journal, written)
                }))
            }
            state => state,
        };
    }

    /// Writes all that is there, makes it durable and closes the journal.
    pub(super) fn save_all(&mut self) -> impl Future<Output = ()> + use<> {
        let (state, payload) =
            (std::mem::replace(&mut self.state, FileState::None), std::mem::take(&mut self.unsaved));
        let trouble = Arc::clone(&self.trouble);
        async move {
            let journal = match state {
                FileState::Idle(journal) => Some(journal),
                FileState::Saving(saving) => saving.await.ok().map(|(journal, written)| {
                    note(&trouble, &written);
                    journal
                }),
                FileState::None | FileState::Unopened(_) => None,
            };
            let Some(mut journal) = journal else { return };
            let write = move || {
                let appended = if payload.is_empty() { Ok(()) } else { journal.append(&payload) };
                appended.and_then(|()| journal.sync())
            };
            if let Ok(written) = tokio::task::spawn_blocking(write).await {
                note(&trouble, &written);
            }
        }
    }
}

fn note(trouble: &Trouble, written: &io::Result<()>) {
    match written {
        Err(error) => report(trouble, error),
        Ok(()) => {
            if trouble.is_over() {
                log::info!(
                    "the record of events is written to the disk again; what came meanwhile is missing there"
                );
            }
        }
    }
}

fn report(trouble: &Trouble, error: &io::Error) {
    if trouble.fails(&error.to_string()) {
        log::warn!("events are not written to the disk, they are kept in memory only: {error}");
    }
}
