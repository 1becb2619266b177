//! ScrubActor: compares the snapshot of this node with the store, again and again and slowly, or at once if somebody asks. What differs is
//! repaired by the WatchActor.
//!
//! The actor has a thread of its own, because it measures what it costs by the CPU time of its thread.

mod compare;
pub mod messages;
mod pace;
mod shown;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Context, Handler, ResponseFuture};
use tokio::sync::{Mutex, Notify};

use self::messages::{Compare, CompareNow, ComparedPage, Difference, DifferenceKind, PlaceInReport};
use self::pace::ScrubPace;
use super::freshness::Freshness;
use super::mailbox::{Mailbox, Resident, Work, ask, run_until_end, tell};
use super::watch::WatchActor;
use super::watch::messages::{ListAgain, RepairKeys};
use crate::alarm::{Alarms, DiffersFrom};
use crate::cache::{Snapshot, SnapshotReader};
use crate::clock::Clock;
use crate::domain::event::Revision;
use crate::error::{Code, Error};
use crate::metrics::{self, Depth};
use crate::store::{Key, Store, StoreError};
use crate::trouble::Trouble;

pub const MAILBOX: usize = 16;
static DEPTH: Depth = Depth::new("ScrubActor");
/// How many differences the actor keeps for whoever asks.
pub const MOST_REPORTED: usize = 10_000;
/// If more keys differ, the WatchActor lists the store again. That is cheaper than to read the keys one by one.
const MOST_REPAIRED: usize = 1_000;
/// How many differences are logged one by one.
const MOST_LOGGED: usize = 5;
/// How long a repair may take.
const REPAIR_LIMIT: Duration = Duration::from_secs(30);
/// How often the snapshot is given the time to reach the revision of a store that answers. If the watch has brought nothing at all by then,
/// the WatchActor is asked to list the store again.
const MOST_WAITS: u32 = 2;
/// The pause after each of these times.
const WAIT: Duration = Duration::from_secs(1);
/// The pause before a comparison that failed begins again, if the period is longer.
const AGAIN: Duration = Duration::from_secs(30);

pub struct ScrubActor {
    core: Rc<ScrubCore>,
}

/// The parts that the actor uses.
pub struct ScrubParts {
    pub store: Arc<dyn Store>,
    pub reader: SnapshotReader,
    pub freshness: Freshness,
    pub watch: Mailbox<WatchActor>,
    pub alarms: Alarms,
    pub clock: Clock,
    /// The time between the beginnings of two comparisons. `None`: only when somebody asks.
    pub period: Option<Duration>,
}

pub struct ScrubCore {
    store: Arc<dyn Store>,
    reader: SnapshotReader,
    freshness: Freshness,
    watch: Mailbox<WatchActor>,
    alarms: Alarms,
    clock: Clock,
    period: Option<Duration>,
    /// Wakes the comparison in the background.
    asked: Notify,
    /// Makes a comparison in the background go on without rests, because somebody waits for its end.
    hurry: Rc<Notify>,
    /// One comparison runs at a time.
    turn: Mutex<()>,
    /// The number of the last comparison that has begun.
    begun: Cell<u64>,
    last: RefCell<Rc<Report>>,
    trouble: Trouble,
}

/// The last comparison.
#[derive(Default)]
struct Report {
    number: u64,
    revision: Revision,
    compared: usize,
    total: usize,
    repaired: usize,
    /// [`MOST_REPORTED`] at most.
    differences: Vec<Difference>,
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
enum ScrubError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store answers, and the snapshot does not hold what it has told.
    #[error("the snapshot of this node does not reach the revision of the store")]
    Behind,
}

impl ScrubActor {
    pub fn new(parts: ScrubParts) -> Self {
        let ScrubParts { store, reader, freshness, watch, alarms, clock, period } = parts;
        let core = ScrubCore {
            store,
            reader,
            freshness,
            watch,
            alarms,
            clock,
            period,
            asked: Notify::new(),
            hurry: Rc::default(),
            turn: Mutex::default(),
            begun: Cell::new(0),
            last: RefCell::default(),
            trouble: Trouble::default(),
        };
        Self { core: Rc::new(core) }
    }
}

impl Resident for ScrubActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for ScrubActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        run_until_end(ctx, scrub(Rc::clone(&self.core)));
    }
}

impl Handler<Work<CompareNow>> for ScrubActor {
    type Result = ();

    fn handle(&mut self, _: Work<CompareNow>, _: &mut Self::Context) {
        self.core.asked.notify_one();
        self.core.hurry.notify_one();
    }
}

impl Handler<Work<Compare>> for ScrubActor {
    type Result = ResponseFuture<Result<ComparedPage, Error>>;

    fn handle(&mut self, work: Work<Compare>, _: &mut Self::Context) -> Self::Result {
        let core = Rc::clone(&self.core);
        Box::pin(async move {
            let Work { message: Compare { after, limit }, place: _place, .. } = work;
            let known = Rc::clone(&core.last.borrow());
            let (report, from) = match after.filter(|after| after.comparison == known.number) {
                Some(PlaceInReport { index, .. }) => (known, index),
                None => {
                    core.hurry.notify_one();
                    (run(&core, ScrubPace::Fast).await.map_err(unavailable)?, 0)
                }
            };
            Ok(report.page(from, limit))
        })
    }
}

fn unavailable(error: ScrubError) -> Error {
    Error::new(Code::Unavailable, error.to_string())
}

impl Report {
    fn page(&self, from: usize, limit: usize) -> ComparedPage {
        let differences: Vec<Difference> = self.differences.iter().skip(from).take(limit).cloned().collect();
        let index = from + differences.len();
        ComparedPage {
            revision: self.revision,
            compared: self.compared,
            total: self.total,
            repaired: self.repaired,
            next: (index < self.differences.len())
                .then_some(PlaceInReport { comparison: self.number, index }),
            differences,
        }
    }
}

impl ScrubCore {
    /// The snapshot, when it holds everything that the store has told before.
    async fn current(&self) -> Result<Arc<Snapshot>, ScrubError> {
        let before = self.reader.load().revision;
        for _ in 0..MOST_WAITS {
            if self.freshness.try_catch_up().await.is_ok() {
                return Ok(self.reader.load_full());
            }
            self.store.revision().await?;
            tokio::time::sleep(WAIT).await;
        }
        // A watch that brings something is only late.
        if self.reader.load().revision == before {
            list_again(self);
        }
        Err(ScrubError::Behind)
    }
}

async fn scrub(core: Rc<ScrubCore>) {
    core.reader.wait_until_complete().await;
    let mut pause = core.period;
    loop {
        let pace = tokio::select! {
            biased;
            () = core.asked.notified() => ScrubPace::Fast,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => ScrubPace::slow(&core.hurry),
        };
        let began = core.clock.monotonic();
        let done = run(&core, pace).await;
        let took = core.clock.monotonic().saturating_sub(began);
        pause = core.period.map(|period| period.saturating_sub(took));
        match done {
            Ok(_) => {
                if core.trouble.is_over() {
                    log::info!("the comparison with the store works again");
                }
            }
            Err(error) => {
                pause = pause.map(|pause| pause.min(AGAIN));
                if core.trouble.fails(&error.to_string()) {
                    log::warn!("the snapshot could not be compared with the store, trying again: {error}");
                }
            }
        }
    }
}

/// Compares, repairs what differs, and keeps the report. Of those who wait for their turn, the first compares, and the others take its report:
/// it has begun after they asked.
async fn run(core: &ScrubCore, mut pace: ScrubPace) -> Result<Rc<Report>, ScrubError> {
    let before = core.begun.get();
    let _turn = core.turn.lock().await;
    let last = Rc::clone(&core.last.borrow());
    if last.number > before {
        return Ok(last);
    }
    let number = core.begun.get() + 1;
    core.begun.set(number);
    let compared = compare::compare(core, &mut pace).await?;
    metrics::COMPARISONS.add(1);
    metrics::LAST_COMPARED_AT.set(usize::try_from(core.clock.unix_seconds()).unwrap_or_default());
    let total = compared.differences.len();
    let repaired = if total > 0 { repair(core, &compared, &mut pace).await? } else { 0 };
    if total == 0 {
        clear(core);
    }
    let mut differences = compared.differences;
    differences.truncate(MOST_REPORTED);
    let report = Report {
        number,
        revision: compared.revision,
        compared: compared.entries,
        total,
        repaired,
        differences,
    };
    let report = Rc::new(report);
    core.last.replace(Rc::clone(&report));
    Ok(report)
}

fn list_again(core: &ScrubCore) {
    if let Err(refused) = tell(&core.watch, ListAgain) {
        log::warn!("the store is not listed again yet: {refused}");
    }
}

/// Has the differences repaired. Returns how many were.
async fn repair(
    core: &ScrubCore,
    compared: &compare::Compared,
    pace: &mut ScrubPace,
) -> Result<usize, ScrubError> {
    let differences = &compared.differences;
    metrics::SNAPSHOT_DIFFERENCES.add(differences.len());
    tell_operators(core, differences);
    if differences.len() > MOST_REPAIRED {
        list_again(core);
        return Ok(0);
    }
    let keys: Vec<Key> = differences.iter().map(|difference| Key::clone(&difference.key)).collect();
    let repaired = match ask(&core.watch, RepairKeys(keys), REPAIR_LIMIT).await {
        Ok(Ok(repaired)) => repaired,
        Ok(Err(error)) => {
            log::warn!("the snapshot was not repaired, trying again with the next comparison: {error}");
            0
        }
        Err(refused) => {
            log::warn!("the snapshot was not repaired, trying again with the next comparison: {refused}");
            0
        }
    };
    metrics::SNAPSHOT_REPAIRS.add(repaired);
    let mut is_right = true;
    for unit in &compared.units {
        is_right &= compare::examine(core, unit, pace).await?.0.is_empty();
    }
    if is_right {
        log::info!("the snapshot shows what the store holds again: {repaired} entries were repaired");
        clear(core);
    }
    Ok(repaired)
}

fn tell_operators(core: &ScrubCore, differences: &[Difference]) {
    for difference in differences.iter().take(MOST_LOGGED) {
        let Difference { key, kind, here, there, .. } = difference;
        let what = match kind {
            DifferenceKind::OnlyHere => "which the store does not have",
            DifferenceKind::Different => "in another form than the store",
            DifferenceKind::OnlyThere => "not at all, although the store has it",
        };
        log::error!(
            "this node shows \"{key}\" {what} (revision here {}, in the store {}); an event of the store was lost",
            shown_revision(*here),
            shown_revision(*there)
        );
    }
    let count = differences.len();
    core.alarms.raise_differs(DiffersFrom::Store, core.clock.monotonic(), || {
        let first = differences.first().map_or("", |difference| &*difference.key);
        format!("{count} entries of the snapshot were not those of the store, the first is {first}")
    });
}

fn shown_revision(revision: Option<Revision>) -> String {
    revision.map_or_else(|| "unknown".to_owned(), |revision| revision.to_string())
}

fn clear(core: &ScrubCore) {
    core.alarms.clear_differs(DiffersFrom::Store);
}
