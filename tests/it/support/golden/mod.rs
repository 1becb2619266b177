//! Recorded exchanges with the reference server, and their replay.
//!
//! A scenario is a JSON file under `tests/golden`. Its steps run in order against a running server, and each answer must match. Every name in
//! a scenario has the suffix `${run}`, which is random in each run, so that scenarios do not disturb each other.

pub mod holes;
pub mod matching;
pub mod not_yet;
pub mod pattern;
pub mod profile;
pub mod replay;
pub mod run;
pub mod scenario;
mod step;
