//! The one home of what time it is. Everything that needs "now" is handed a [`Clock`], so a test can move it.
//!
//! How long something may be waited for is another matter: such limits (of calls to etcd, of sockets, of mailboxes) are
//! `tokio`'s, measured by the clock of the runtime that waits (`tokio::time::Instant`), which a test can pause.
//!
//! Two readings: the wall clock (Unix seconds, only for the timestamps clients see) and a monotonic one (for deadlines;
//! it never jumps when somebody sets the date).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source of wall time and of monotonic time. Cheap to clone; clones share one time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
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
    /// The machine's clocks.
    #[expect(clippy::disallowed_methods, reason = "this module is their one home")]
    pub fn system() -> Self {
        Self(Source::System(std::time::Instant::now()))
    }

    /// A clock that stands still until [`Clock::advance`] or [`Clock::jump`] moves it. For tests.
    pub fn manual(unix_seconds: u64) -> Self {
        let time = ManualTime::default();
        time.unix_millis.store(unix_seconds * 1000, Ordering::SeqCst);
        Self(Source::Manual(Arc::new(time)))
    }

    /// Unix time in seconds.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_millis() / 1000
    }

    /// Unix time in milliseconds.
    #[expect(clippy::disallowed_methods, reason = "this module is their one home")]
    pub fn unix_millis(&self) -> u64 {
        match &self.0 {
            Source::System(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Source::Manual(time) => time.unix_millis.load(Ordering::SeqCst),
        }
    }

    /// Monotonic time.
    pub fn monotonic(&self) -> Monotonic {
        match &self.0 {
            Source::System(start) => start.elapsed(),
            Source::Manual(time) => Duration::from_millis(time.monotonic_millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves both readings of a manual clock forward; does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            time.unix_millis.fetch_add(millis, Ordering::SeqCst);
            time.monotonic_millis.fetch_add(millis, Ordering::SeqCst);
        }
    }

    /// Sets the wall clock of a manual clock, as an operator or NTP would; monotonic time is not touched.
    pub fn jump(&self, unix_seconds: u64) {
        if let Source::Manual(time) = &self.0 {
            time.unix_millis.store(unix_seconds * 1000, Ordering::SeqCst);
        }
    }
}
