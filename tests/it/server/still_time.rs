//! The time of a server's worker. It stands still unless the test moves it, so a test of a time limit neither waits for it nor
//! depends on how busy the machine is.

use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::runtime::Handle;

/// More than a timer may be late, and less than any limit in these tests.
pub const MOMENT: Duration = Duration::from_millis(5);

/// Less than any limit in these tests.
const STEP: Duration = Duration::from_millis(250);

/// After this many turns a worker has looked at its sockets, and has run every task that one of them woke.
const TURNS: usize = 50;

/// The paused time of one worker.
pub struct StillTime {
    worker: Handle,
    _end: Sender<()>,
}

impl StillTime {
    /// Stops the time of the worker that calls this.
    pub(super) fn begin() -> Self {
        tokio::time::pause();
        // A worker that waits for a client is idle, and tokio then moves paused time to the next deadline, but not while a
        // blocking task runs. This task ends when the test drops the other end of the channel.
        let (end, ended) = channel::<()>();
        tokio::task::spawn_blocking(move || ended.recv());
        Self { worker: Handle::current(), _end: end }
    }

    /// Lets `time` pass at once. When this returns, the worker has run all tasks that are due.
    pub async fn pass(&self, time: Duration) {
        // The server first reads what the client has sent by now.
        self.settle().await;
        self.worker.spawn(tokio::time::advance(time)).await.unwrap();
        self.settle().await;
    }

    /// Lets time pass, step by step, until `future` is ready.
    pub async fn pass_until<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let passing = pin!(self.pass(STEP));
            match select(future.as_mut(), passing).await {
                Either::Left((value, _)) => return value,
                Either::Right(((), _)) => {}
            }
        }
    }

    async fn settle(&self) {
        let turns = async {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        };
        self.worker.spawn(turns).await.unwrap();
    }
}
