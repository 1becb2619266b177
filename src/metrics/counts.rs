//! The arithmetic of histograms: fixed buckets, quantiles, and what they were a minute ago.

use std::collections::VecDeque;
use std::time::Duration;

/// Buckets of a histogram, with the one that has no upper bound.
pub const BUCKETS: usize = 17;

/// The upper bounds of durations, in nanoseconds.
const TIME_BOUNDS: [u64; BUCKETS - 1] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
];

/// The upper bounds of sizes.
const SIZE_BOUNDS: [u64; BUCKETS - 1] =
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768];

/// What a histogram measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Nanoseconds, reported as seconds or, in the original's families, as microseconds.
    Time,
    Size,
}

impl Measured {
    pub fn bounds(self) -> &'static [u64; BUCKETS - 1] {
        match self {
            Self::Time => &TIME_BOUNDS,
            Self::Size => &SIZE_BOUNDS,
        }
    }

    /// The bucket of a value.
    pub fn bucket(self, value: u64) -> usize {
        self.bounds().partition_point(|bound| *bound < value)
    }

    /// A value in the unit of our families.
    pub fn reported(self, value: f64) -> f64 {
        match self {
            Self::Time => value / 1e9,
            Self::Size => value,
        }
    }
}

/// The nanoseconds of a duration.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a histogram has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not cumulative.
    pub buckets: [u64; BUCKETS],
    pub sum: u64,
}

impl Counts {
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(to, by)| *to += by);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What was counted after `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        let mut counts = *self;
        counts
            .buckets
            .iter_mut()
            .zip(earlier.buckets)
            .for_each(|(of, before)| *of = of.saturating_sub(before));
        counts.sum = counts.sum.wrapping_sub(earlier.sum);
        counts
    }

    /// The value below which this share of the values lies, as exactly as the buckets say: values of a bucket count as spread
    /// evenly over it, and values over the last bound as that bound. `NaN` without a value, as in the original.
    pub fn quantile(&self, measured: Measured, share: f64) -> f64 {
        let count = self.count();
        if count == 0 {
            return f64::NAN;
        }
        let rank = share * count as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bucket, bound) in self.buckets.iter().zip(measured.bounds()) {
            let (of_bucket, upper) = (*bucket as f64, *bound as f64);
            if of_bucket > 0.0 && below + of_bucket >= rank {
                return lower + (upper - lower) * ((rank - below) / of_bucket);
            }
            (below, lower) = (below + of_bucket, upper);
        }
        lower
    }
}

/// How often [`Window::tick`] is called.
pub const TICK: Duration = Duration::from_secs(10);

/// The ticks that a window keeps: a minute.
const KEPT: usize = 7;

/// What a histogram was in the last minute.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<(Duration, Counts)>);

impl Window {
    pub const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Keeps what the histogram is now.
    pub fn tick(&mut self, now: Duration, counts: Counts) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, counts));
    }

    /// What was counted in the last minute: 60 to 70 s. In the first minute of the process: everything.
    pub fn minute(&self, counts: &Counts) -> Counts {
        match self.0.front() {
            Some((_, before)) if self.0.len() == KEPT => counts.since(before),
            _ => *counts,
        }
    }

    /// How many values came each second, in the last 10 to 20 s. `since` is the last tick but one, for a histogram that had no value
    /// then.
    pub fn rate(&self, now: Duration, since: Duration, counts: &Counts) -> f64 {
        let before = self.0.iter().rev().nth(1);
        let (then, before) = before.map_or((since, 0), |(then, before)| (*then, before.count()));
        let seconds = now.saturating_sub(then).as_secs_f64();
        if seconds > 0.0 { counts.count().saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[u64]) -> Counts {
        let mut counts = Counts::default();
        for value in values {
            counts.sum += value;
            if let Some(bucket) = counts.buckets.get_mut(Measured::Time.bucket(*value)) {
                *bucket += 1;
            }
        }
        counts
    }

    #[test]
    fn a_value_at_a_bound_belongs_below_it() {
        let bucket = |value| Measured::Time.bucket(value);
        assert_eq!([bucket(0), bucket(50_000), bucket(50_001), bucket(u64::MAX)], [0, 0, 1, BUCKETS - 1]);
    }

    #[test]
    fn quantiles_are_spread_over_their_bucket() {
        let check = |values: &[u64], share: f64, expected: f64| {
            let found = counts(values).quantile(Measured::Time, share);
            assert!((found - expected).abs() < 1e-3, "{values:?} at {share}: {found}");
        };
        assert!(counts(&[]).quantile(Measured::Time, 0.5).is_nan());
        check(&[10], 0.5, 25_000.0);
        check(&[10, 20, 30, 60_000], 0.5, 50_000.0 * 2.0 / 3.0);
        check(&[10, 20, 30, 60_000], 0.99, 50_000.0 + 50_000.0 * 0.96);
        check(&[u64::MAX / 2], 0.5, 5e9);
    }

    #[test]
    fn a_window_forgets_what_is_older_than_a_minute() {
        let mut window = Window::new();
        let total = counts(&[1; 70]);
        for second in (10..=70).step_by(10) {
            // One value each second.
            assert_eq!(window.minute(&total).count(), 70);
            window.tick(Duration::from_secs(second), counts(&vec![1; usize::try_from(second).unwrap_or(0)]));
        }
        assert_eq!(window.minute(&total).count(), 60);
        let (now, since) = (Duration::from_secs(75), Duration::from_secs(60));
        assert_eq!(window.rate(now, since, &counts(&[1; 75])), 1.0);
        assert_eq!(Window::new().rate(now, since, &counts(&[1; 30])), 2.0);
        window.tick(Duration::from_secs(80), counts(&[1; 80]));
        assert_eq!(window.minute(&counts(&[1; 85])).count(), 65);
    }
}
