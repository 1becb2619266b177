//! Clients that send at a given pace, each on a connection of its own: heartbeats, polling consumers, others' registrations.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::time::{interval_at, timeout};

use crate::client::{ANSWER_LIMIT, Connection};

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When it was sent, or when it was due if the client still waited for the answer to its predecessor.
    pub at: Instant,
    /// How long its answer took from then on.
    pub took: Duration,
}

/// How many clients, and how often each sends.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Clients, with a connection each.
    pub clients: usize,
    /// Between two requests of one client. They begin spread over this time. A late answer is made up for: the next
    /// requests follow at once until the client is in step again.
    pub every: Duration,
}

/// Sends until `stop`; `request` makes the request of a client's turn. An answer other than 200 ends it.
pub async fn send(
    address: SocketAddr,
    pace: Pace,
    stop: &AtomicBool,
    request: impl Fn(usize, usize) -> Vec<u8>,
) -> Result<Vec<Sent>, String> {
    let request = &request;
    let begin = tokio::time::Instant::now();
    let client = async |number: usize| {
        let mut connection = Connection::open(address).await?;
        let offset = pace.every.mul_f64(number as f64 / pace.clients as f64);
        let mut ticks = interval_at(begin + offset, pace.every);
        let (mut sent, mut answered) = (Vec::new(), begin.into_std());
        for turn in 0.. {
            let due = loop {
                // A second is the longest a stop waits for a client that rests.
                let tick = timeout(Duration::from_secs(1), ticks.tick()).await;
                if stop.load(Ordering::Relaxed) {
                    return Ok(sent);
                }
                if let Ok(due) = tick {
                    break due.into_std();
                }
            };
            let at = if answered > due { due } else { Instant::now() };
            connection.succeed(&request(number, turn)).await?;
            answered = Instant::now();
            sent.push(Sent { at, took: at.elapsed() });
        }
        Ok::<_, String>(sent)
    };
    let all = try_join_all((0..pace.clients).map(client)).await?;
    Ok(all.into_iter().flatten().collect())
}

/// Raises a flag when dropped: whoever waits for it is let go, also when the experiment fails.
pub struct RaisedAtEnd<'a>(pub &'a AtomicBool);

impl Drop for RaisedAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a thread of an experiment came to; its panic is an error.
pub fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    thread.join().unwrap_or_else(|_| Err(format!("a thread panicked (answers may take {ANSWER_LIMIT:?})")))
}
