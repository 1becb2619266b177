//! Recorded exchanges and their replay: what the reference server answered, request by request.
//!
//! A scenario is a JSON file under `tests/golden`; its steps run in order against a running server, and each answer must
//! match. Every name a scenario creates carries `${run}`, a fresh random suffix, so scenarios do not disturb each other.

pub mod holes;
pub mod matching;
pub mod not_yet;
pub mod pattern;
pub mod profile;
pub mod replay;
pub mod run;
pub mod scenario;
mod step;
