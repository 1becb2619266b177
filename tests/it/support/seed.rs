//! Where the random numbers of a run come from.

/// The environment variable that repeats a run: the seed that the run printed.
const VARIABLE: &str = "SC_SEED";

/// The seed of this run: the one that is asked for, or a new one.
///
/// # Panics
/// If what is asked for is no number.
pub fn of_this_run() -> u64 {
    match std::env::var(VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{VARIABLE}={text:?}: {error}")),
        Err(_) => rand::random(),
    }
}

/// What to set in order to repeat a run.
pub fn shown(seed: u64) -> String {
    format!("{VARIABLE}={seed}")
}
