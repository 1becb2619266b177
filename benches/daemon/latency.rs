//! Latencies, sorted, and what is read from them.

use std::time::Duration;

use crate::table::milliseconds;

/// Some latencies, at least one.
#[derive(Clone, Debug)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Those of an experiment; none is an error.
    pub fn new(mut all: Vec<Duration>) -> Result<Self, String> {
        all.sort_unstable();
        if all.is_empty() { Err("nothing was measured".to_owned()) } else { Ok(Self(all)) }
    }

    /// The latency that so many percent do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len());
        self.0[rank - 1]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// p50, p99, the longest and how many there are.
    pub fn text(&self) -> String {
        let [p50, p99, longest] = [50, 99, 100].map(|percent| milliseconds(self.percentile(percent)));
        format!("p50 {p50}, p99 {p99}, max {longest} of {}", self.0.len())
    }
}
