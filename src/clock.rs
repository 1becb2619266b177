//! The time of the registry: when leases end, when instances expire, which timestamps clients see. Code that needs this time
//! gets a [`Clock`] as an argument, so that a test can move it.
//!
//! A clock has two readings. The wall clock gives Unix time, and is used only for timestamps. The monotonic clock is used for
//! deadlines, because it does not jump when somebody sets the date.
//!
//! A [`Stopwatch`] measures for metrics. Nothing else depends on it.
//!
//! # Code that uses tokio's time instead
//!
//! Three folders read `tokio::time::Instant`, because they arm timers of sockets and connections, and tokio's timers know no
//! other clock. Their tests pause and advance tokio's time. No value that these folders read reaches the registry's data.
//!
//! | folder | used for |
//! | --- | --- |
//! | `src/http/server` | time limits of a connection: headers, body, writing, idle; how long a request took; the rate of a client address |
//! | `src/http/ws` | pings of a websocket, and the time until a silent peer is disconnected |
//! | `src/store/etcd` | time limits of calls, and waits before etcd is tried again |
//!
//! `tests/it/tidy/homes.rs` rejects an `Instant` anywhere else, `clippy.toml` rejects the standard library's clocks. Waiting
//! for a fixed time (`tokio::time::sleep`, `timeout`, `interval`) is allowed everywhere: it reads no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source of wall time and of monotonic time. Cheap to clone; clones share one time.
#[derive(Clone, Debug)]
pub struct Clock(TimeSource);

#[derive(Clone, Debug)]
enum TimeSource {
    System(std::time::Instant),
    Manual(Arc<ManualTime>),
}

#[derive(Debug, Default)]
struct ManualTime {
    unix_millis: AtomicU64,
    monotonic_millis: AtomicU64,
}

/// Time since the clock was made; never goes back.
pub type Monotonic = Duration;

impl Clock {
    /// The clocks of the machine.
    #[expect(clippy::disallowed_methods, reason = "this module alone reads the machine's clocks")]
    pub fn system() -> Self {
        Self(TimeSource::System(std::time::Instant::now()))
    }

    /// A clock for tests: it stands still until [`Clock::advance`] or [`Clock::jump`] moves it.
    pub fn manual(unix_seconds: u64) -> Self {
        let time = ManualTime::default();
        time.unix_millis.store(unix_seconds * 1000, Ordering::SeqCst);
        Self(TimeSource::Manual(Arc::new(time)))
    }

    pub fn unix_seconds(&self) -> u64 {
        self.unix_millis() / 1000
    }

    /// As [`Self::unix_seconds`], in the type that tokens and locks have.
    pub fn unix_time(&self) -> i64 {
        i64::try_from(self.unix_seconds()).unwrap_or(i64::MAX)
    }

    /// 0 if the machine's date is before 1970.
    #[expect(clippy::disallowed_methods, reason = "this module alone reads the machine's clocks")]
    pub fn unix_millis(&self) -> u64 {
        match &self.0 {
            TimeSource::System(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            TimeSource::Manual(time) => time.unix_millis.load(Ordering::SeqCst),
        }
    }

    /// As [`Self::unix_millis`], in the type in which the record of events keeps times.
    pub fn unix_timestamp(&self) -> i64 {
        i64::try_from(self.unix_millis()).unwrap_or(i64::MAX)
    }

    pub fn monotonic(&self) -> Monotonic {
        match &self.0 {
            TimeSource::System(start) => start.elapsed(),
            TimeSource::Manual(time) => Duration::from_millis(time.monotonic_millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves both readings of a manual clock forward. Does nothing to the machine's clocks.
    pub fn advance(&self, by: Duration) {
        if let TimeSource::Manual(time) = &self.0 {
            let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            time.unix_millis.fetch_add(millis, Ordering::SeqCst);
            time.monotonic_millis.fetch_add(millis, Ordering::SeqCst);
        }
    }

    /// Sets the wall clock of a manual clock, as an operator or NTP would, and leaves its monotonic time as it is. Does nothing
    /// to the machine's clocks.
    pub fn jump(&self, unix_seconds: u64) {
        if let TimeSource::Manual(time) = &self.0 {
            time.unix_millis.store(unix_seconds * 1000, Ordering::SeqCst);
        }
    }
}

/// The CPU time that this thread has used. For work that may take only a share of a core; nothing else depends on it.
pub fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Measures how long something takes, for metrics. Nothing is decided by it, so a test need not move it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this module alone reads the machine's clocks")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        Self::start().since(self)
    }

    /// The time from an earlier start to this one.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }
}
