//! RecorderActor: makes the record of events of what the other actors tell, logs and counts the instances that are gone, and has the
//! record written to the disk.
//!
//! It takes what has gathered for [`GATHER`] at once. Files are written on a thread for blocking work, so that a slow disk delays no event.

mod departures;
mod file;
pub mod messages;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};

use self::departures::Departures;
use self::file::RecordFile;
use self::messages::FlushRecord;
use super::mailbox::{Resident, Work, run_until_end};
use crate::clock::Clock;
use crate::metrics::Depth;
use crate::recorder::{Recorder, Recording};

pub const MAILBOX: usize = 4;
static DEPTH: Depth = Depth::new("RecorderActor");
/// How long notes gather before they are taken. So a busy registry wakes this actor a hundred times a second at most.
const GATHER: Duration = Duration::from_millis(10);
/// How often it is looked whether watches have been told, and whether there is something to write.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub struct RecorderActor {
    core: Rc<RecorderCore>,
}

/// Where the record is kept on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFolder {
    pub path: PathBuf,
    pub max_bytes: u64,
}

struct RecorderCore {
    recorder: Recorder,
    clock: Clock,
    parts: RefCell<RecorderParts>,
}

struct RecorderParts {
    /// `None` while the former record is read.
    recording: Option<Recording>,
    departures: Departures,
    file: RecordFile,
}

impl RecorderActor {
    /// `folder`: `None` if the record is kept in memory only.
    pub fn new(recording: Recording, folder: Option<RecordFolder>, clock: Clock) -> Self {
        let recorder = recording.recorder().clone();
        // Without a record in memory there is nothing to write either.
        let folder = folder.filter(|folder| recording.most_events() > 0 && folder.max_bytes > 0);
        let (departures, file) = (Departures::default(), RecordFile::new(folder));
        let parts = RecorderParts { recording: Some(recording), departures, file };
        Self { core: Rc::new(RecorderCore { recorder, clock, parts: RefCell::new(parts) }) }
    }
}

impl Resident for RecorderActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for RecorderActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, work(Rc::clone(&self.core)));
    }
}

impl Handler<Work<FlushRecord>> for RecorderActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, flush: Work<FlushRecord>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let _place = flush.place;
            core.take();
            let saving = core.parts.borrow_mut().file.save_all();
            saving.await;
        })
    }
}

async fn work(core: Rc<RecorderCore>) {
    core.resume().await;
    loop {
        let due = core.due();
        let is_told = match due {
            None => {
                core.recorder.wait().await;
                true
            }
            Some(left) => tokio::time::timeout(left, core.recorder.wait()).await.is_ok(),
        };
        if is_told {
            tokio::time::sleep(GATHER).await;
        }
        core.take();
    }
}

impl RecorderCore {
    /// Takes over the record of the former process.
    async fn resume(&self) {
        let (recording, opening) = {
            let mut parts = self.parts.borrow_mut();
            let Some(recording) = parts.recording.take() else { return };
            (recording, parts.file.opening())
        };
        let recording = match opening {
            None => recording,
            Some(open) => {
                let opened = tokio::task::spawn_blocking(move || open.read(recording)).await;
                match opened {
                    Ok((recording, opened)) => {
                        self.parts.borrow_mut().file.opened(opened);
                        recording
                    }
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        // The runtime ends.
                        Err(_) => return,
                    },
                }
            }
        };
        self.parts.borrow_mut().recording = Some(recording);
    }

    fn take(&self) {
        let (now, time) = (self.clock.monotonic(), self.clock.unix_timestamp());
        let mut parts = self.parts.borrow_mut();
        let RecorderParts { recording: Some(recording), departures, file } = &mut *parts else { return };
        let recorded = recording.take(now, time);
        recorded.events.iter().for_each(|event| departures.see(event, now));
        departures.tell(now);
        file.keep(&recorded);
        file.save(now);
    }

    /// When [`Self::take`] must run although nothing is told. `None`: never.
    fn due(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        let parts = self.parts.borrow();
        let recording = parts.recording.as_ref()?;
        let has_work =
            recording.has_open_deliveries() || parts.file.has_unsaved() || parts.departures.is_untold();
        let look = has_work.then_some(LOOK_EVERY);
        recording.due().map(|due| due.saturating_sub(now)).into_iter().chain(look).min()
    }
}
