//! The seed of the random numbers of a run.

/// The environment variable that repeats a run. Its value is the seed that the run has printed.
const VARIABLE: &str = "SC_SEED";

/// The seed of this run, from the environment variable, or a new one.
///
/// # Panics
/// If the variable is not a number.
pub fn of_this_run() -> u64 {
    match std::env::var(VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{VARIABLE}={text:?}: {error}")),
        Err(_) => rand::random(),
    }
}

/// The variable and value that repeat a run.
pub fn shown(seed: u64) -> String {
    format!("{VARIABLE}={seed}")
}
