//! A load at a steady rate, whether or not the servers keep up: heartbeats of many instances, and polling consumers. A request is due by the
//! clock and not by the answer to its predecessor, so a slow server makes requests late and not rare.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::client::block_on;
use crate::latency::Latencies;
use crate::paced::joined;
use crate::roaming::Roaming;

/// A request that is answered so long after it was due is late.
const LATE: Duration = Duration::from_secs(1);
/// The longest sleep of a client, so that it soon sees a new pace or the end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Reasons that are kept.
const MOST_REASONS: usize = 3;

/// The load.
pub struct Steady<'a, P, R, J> {
    pub nodes: &'a [SocketAddr],
    /// Clients, with a kept connection each. They begin on all nodes in turn.
    pub clients: usize,
    /// The time between two requests of all clients together.
    pub pace: P,
    /// Writes the next request; its number.
    pub request: R,
    /// Whether this is the right answer to the request of that number.
    pub judge: J,
    pub state: State,
}

/// What changes while the load runs.
#[derive(Default)]
pub struct State {
    /// Raised when the pace changes: what is overdue then is forgotten.
    phase: AtomicUsize,
    end: AtomicBool,
    tally: Mutex<Tally>,
}

/// What came of the requests of a phase.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The times from when a request was due to its answer, in microseconds. A request that waits for the answer to its predecessor
    /// is sent later than it is due, and this wait counts.
    took: Vec<u32>,
    /// Answers that came more than a second after the request was due.
    pub late: usize,
    /// Answers that were not right.
    pub wrong: usize,
    /// Requests that no node has answered.
    pub refused: usize,
    /// How often a client took the next node.
    pub moves: usize,
    /// Some reasons of wrong and missing answers.
    pub why: Vec<String>,
}

impl Tally {
    /// Requests that were answered.
    pub fn count(&self) -> usize {
        self.took.len()
    }

    /// The time of each answer from when its request was due.
    pub fn latencies(&self) -> Result<Latencies, String> {
        Latencies::new(self.took.iter().map(|micros| Duration::from_micros(u64::from(*micros))).collect())
    }

    /// Whether each request was answered rightly, in time, and at once.
    pub fn is_faultless(&self) -> bool {
        [self.late, self.wrong, self.refused, self.moves] == [0; 4]
    }

    /// How many requests went wrong in which way, for the table.
    pub fn faults(&self) -> String {
        let Self { late, wrong, refused, moves, .. } = self;
        format!("{late} late, {wrong} wrong, {refused} unanswered, {moves} sent again{}", self.reasons())
    }

    /// What went wrong, for the table; empty if nothing did.
    pub fn reasons(&self) -> String {
        if self.why.is_empty() { String::new() } else { format!(" ({})", self.why.join("; ")) }
    }

    fn because(&mut self, why: String) {
        if self.why.len() < MOST_REASONS {
            self.why.push(why);
        }
    }
}

impl State {
    /// Begins another phase; what came of the last one.
    pub fn next_phase(&self) -> Tally {
        self.phase.fetch_add(1, Ordering::Relaxed);
        std::mem::take(&mut *self.tally())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a load when dropped, also when the experiment fails.
pub struct EndedAtDrop<'a>(pub &'a State);

impl Drop for EndedAtDrop<'_> {
    fn drop(&mut self) {
        self.0.end.store(true, Ordering::Relaxed);
    }
}

impl<P, R, J> Steady<'_, P, R, J>
where
    P: Fn() -> Duration + Sync,
    R: Fn(&mut Vec<u8>) -> usize + Sync,
    J: Fn(usize, u16, &[u8]) -> bool + Sync,
{
    /// Runs until the end, in so many threads.
    pub fn run(&self, threads: usize) -> Result<(), String> {
        std::thread::scope(|scope| {
            let thread = |thread: usize| {
                let clients = (thread..self.clients).step_by(threads);
                scope.spawn(move || {
                    block_on(join_all(clients.map(|number| self.client(number))));
                    Ok(())
                })
            };
            let all: Vec<_> = (0..threads).map(thread).collect();
            all.into_iter().try_for_each(joined)
        })
    }

    async fn client(&self, number: usize) {
        let mut client = Roaming::new(self.nodes, number);
        let mut request = Vec::new();
        // The next request is due so many paces after that moment. At the begin of a phase the clients take turns.
        let (mut phase, mut after, mut paces) = (usize::MAX, Instant::now(), number);
        loop {
            // The pace may change meanwhile.
            let due = loop {
                if self.state.end.load(Ordering::Relaxed) {
                    return;
                }
                let current = self.state.phase.load(Ordering::Relaxed);
                if phase != current {
                    (phase, after, paces) = (current, Instant::now(), number);
                }
                let due = after + (self.pace)().mul_f64(paces as f64);
                let wait = due.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    break due;
                }
                sleep(wait.min(LOOK_EVERY)).await;
            };
            request.clear();
            let asked = (self.request)(&mut request);
            let moves = client.moves;
            let answer = client.call(&request).await;
            let took = due.elapsed();
            // Judged before the lock is taken: a large body takes a while.
            let wrong = match &answer {
                Ok((status, body)) if !(self.judge)(asked, *status, body) => Some(short(*status, body)),
                _ => None,
            };
            let failure = answer.err();
            let mut tally = self.state.tally();
            match failure {
                Some(why) => {
                    tally.refused += 1;
                    tally.because(why);
                }
                None => tally.took.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)),
            }
            if let Some(why) = wrong {
                tally.wrong += 1;
                tally.because(why);
            }
            tally.late += usize::from(took > LATE);
            tally.moves += client.moves - moves;
            drop(tally);
            (after, paces) = (due, self.clients);
        }
    }
}

/// The begin of an answer, as a reason.
fn short(status: u16, body: &[u8]) -> String {
    format!("{status} {}", String::from_utf8_lossy(&body[..body.len().min(80)]))
}
