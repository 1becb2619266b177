//! How tests wait: they poll a condition until a deadline. No test sleeps for a guessed time.

use std::fmt::Display;
use std::panic::Location;
use std::thread;
use std::time::{Duration, Instant};

/// A limit that a correct daemon never reaches, also in a debug build on a busy machine.
pub const GENEROUS: Duration = Duration::from_secs(60);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The moment on the real clock at which a wait fails.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The moment `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// The remaining time; zero after the deadline.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// The result of an attempt. `Some`, `Ok` and `true` end the wait. Any other result is the reason to go on.
pub trait Attempt {
    /// The value of a successful attempt.
    type Value;

    /// The value, or why there is none yet.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl<T> Attempt for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing yet".to_owned())
    }
}

impl<T, E: Display> Attempt for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

impl Attempt for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("not yet".to_owned()) }
    }
}

/// Repeats an attempt until it succeeds. After `limit` it returns the reason of the last attempt. At least one attempt is made.
pub fn try_eventually<A: Attempt>(
    limit: Duration,
    mut attempt: impl FnMut() -> A,
) -> Result<A::Value, String> {
    let deadline = Deadline::after(limit);
    loop {
        match attempt().outcome() {
            Ok(value) => return Ok(value),
            Err(why) if deadline.has_passed() => return Err(format!("not within {limit:?}: {why}")),
            Err(_) => thread::sleep(PAUSE.min(deadline.remaining())),
        }
    }
}

/// As [`try_eventually`], but fails the test with the reason of the last attempt.
#[track_caller]
pub fn eventually<A: Attempt>(limit: Duration, attempt: impl FnMut() -> A) -> A::Value {
    match try_eventually(limit, attempt) {
        Ok(value) => value,
        Err(why) => panic!("{why}"),
    }
}

/// As [`eventually`], for a test that is a task. Other tasks of its thread go on meanwhile.
#[track_caller]
pub fn eventually_async<A: Attempt>(
    limit: Duration,
    mut attempt: impl AsyncFnMut() -> A,
) -> impl Future<Output = A::Value> {
    let place = Location::caller();
    async move {
        let deadline = Deadline::after(limit);
        loop {
            match attempt().await.outcome() {
                Ok(value) => return value,
                Err(why) if deadline.has_passed() => panic!("{place}: not within {limit:?}: {why}"),
                Err(_) => tokio::time::sleep(PAUSE.min(deadline.remaining())).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_until_one_succeeds() {
        let mut attempts = 0;
        let value = eventually(GENEROUS, || {
            attempts += 1;
            (attempts == 3).then_some("done")
        });
        assert_eq!((value, attempts), ("done", 3));
    }

    #[test]
    fn gives_up_with_the_last_reason() {
        let mut attempts = 0;
        let outcome = try_eventually(Duration::from_millis(50), || -> Result<(), String> {
            attempts += 1;
            Err(format!("attempt {attempts}"))
        });
        let why = outcome.unwrap_err();
        assert!(why.ends_with(&format!("attempt {attempts}")), "{why}");
    }

    #[test]
    fn attempts_once_even_without_time() {
        assert_eq!(try_eventually(Duration::ZERO, || true), Ok(()));
        assert!(try_eventually(Duration::ZERO, || false).is_err());
    }
}
