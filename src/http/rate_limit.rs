//! A limit of requests per key and unit of time. A key is whatever is counted: the address of a client, the name of an account.
//! [`RateLimit`] knows no request and reads no clock.
//!
//! The algorithm is the generic cell rate algorithm (GCRA): for each key the table keeps one time, at which the key has its whole
//! allowance again. A request moves this time by `unit / requests`. A request that would move it beyond one unit from now is
//! over the limit. So a key may send all its requests of a unit at once, and then one in each `unit / requests`.
//!
//! The table has a fixed size, 1 MiB. A key whose time is over needs no entry. When a group of entries is full, a new key
//! replaces the key that has the most of its allowance: that key begins anew with all of it. So a crowd of keys never leads to
//! a refusal of others, and a key that is over its limit keeps its entry. The hash of a key is keyed with random numbers, so
//! nobody can choose whose entry to replace.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

use super::reply::Reply;
use crate::clock::Monotonic;
use crate::config::RateConfig;
use crate::error::{Code, Error};
use crate::metrics;

/// Parts of the table that are locked one by one.
const SHARDS: usize = 64;
/// Groups of entries in a shard. A key has its place in one group.
const GROUPS: usize = 128;
/// Entries in a group: two cache lines.
const ENTRIES: usize = 8;

/// For how long a key must wait before its next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Whole seconds, rounded up, at least 1: the value of the header `Retry-After`.
    pub fn seconds(self) -> u64 {
        self.0.as_secs().saturating_add(u64::from(self.0.subsec_nanos() > 0)).max(1)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct RateEntry {
    /// The hash of the key.
    key: u64,
    /// When the key has its whole allowance again, in nanoseconds. An entry whose time is over is free.
    whole_at: u64,
}

type Group = [RateEntry; ENTRIES];

/// Has cache lines of its own: threads that lock neighbours would slow each other down.
#[derive(Debug)]
#[repr(align(128))]
struct Shard(Mutex<Box<[Group]>>);

/// The limit, and the keys that have used some of it.
#[derive(Debug)]
pub struct RateLimit {
    /// Nanoseconds.
    unit: u64,
    /// What one request costs, in nanoseconds.
    cost: u64,
    hasher: RandomState,
    shards: Box<[Shard]>,
}

impl RateLimit {
    /// At most `requests` of one key per `unit`; 0 is taken for 1.
    pub fn new(requests: u32, unit: Duration) -> Self {
        let unit = nanoseconds(unit);
        let groups = || vec![Group::default(); GROUPS].into_boxed_slice();
        Self {
            unit,
            cost: (unit / u64::from(requests.max(1))).max(1),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Shard(Mutex::new(groups()))).collect(),
        }
    }

    /// Counts a request of a key. A request that is over the limit costs the key nothing.
    pub fn admit(&self, key: impl Hash, now: Monotonic) -> Result<(), RetryAfter> {
        let (key, now) = (self.hasher.hash_one(key), nanoseconds(now));
        let (shard, group) = place(key);
        let Some(shard) = self.shards.get(shard) else { return Ok(()) };
        let mut groups = shard.0.lock();
        let Some(group) = groups.get_mut(group) else { return Ok(()) };
        // Its own entry, or the one whose time is over first.
        let found =
            group.iter_mut().min_by_key(|entry| if entry.key == key { 0 } else { entry.whole_at.max(1) });
        let Some(entry) = found else { return Ok(()) };
        let whole_at = if entry.key == key { entry.whole_at.max(now) } else { now };
        let next = whole_at.saturating_add(self.cost);
        let latest = now.saturating_add(self.unit);
        if next > latest {
            return Err(RetryAfter(Duration::from_nanos(next - latest)));
        }
        *entry = RateEntry { key, whole_at: next };
        Ok(())
    }
}

/// A limit from the configuration, and the answer to who is over it.
#[derive(Debug)]
pub struct ConfiguredRate {
    limit: RateLimit,
    config: RateConfig,
    /// The key of the configuration.
    key: &'static str,
}

impl ConfiguredRate {
    pub fn new(config: RateConfig, key: &'static str) -> Self {
        let RateConfig { requests, unit } = config;
        Self { limit: RateLimit::new(requests, unit), config, key }
    }

    /// Counts a request. The answer 429 if it is over the limit; `name` says whose limit.
    pub fn refusal(&self, who: impl Hash, now: Monotonic, name: impl FnOnce() -> String) -> Option<Reply> {
        let wait = self.limit.admit(who, now).err()?.seconds();
        metrics::REFUSED_FOR_RATE.add(1);
        let (requests, name, key) = (self.config.requests, name(), self.key);
        let unit = match self.config.unit.as_millis() {
            1 => "millisecond",
            60_000 => "minute",
            3_600_000 => "hour",
            _ => "second",
        };
        let detail = format!(
            "{name} has sent more than {requests} requests per {unit} ({key}), try again in {wait} s"
        );
        Some(Reply::error(&Error::new(Code::TooManyRequests, detail)).retry_after(wait))
    }
}

/// The shard and the group of a key. They use different bits of the hash.
fn place(key: u64) -> (usize, usize) {
    const { assert!(SHARDS.is_power_of_two() && GROUPS.is_power_of_two()) }
    let bits = |shift: u32, count: usize| usize::try_from(key >> shift).unwrap_or_default() & (count - 1);
    (bits(0, SHARDS), bits(32, GROUPS))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn admitted(limit: &RateLimit, key: impl Hash + Copy, now: Duration, tries: usize) -> usize {
        (0..tries).filter(|_| limit.admit(key, now).is_ok()).count()
    }

    #[test]
    fn a_key_has_its_requests_at_once_and_then_one_by_one() {
        let limit = RateLimit::new(10, SECOND);
        assert_eq!(admitted(&limit, "a", Duration::ZERO, 100), 10);
        assert_eq!(limit.admit("a", Duration::ZERO), Err(RetryAfter(Duration::from_millis(100))));
        assert_eq!(admitted(&limit, "a", Duration::from_millis(99), 100), 0);
        assert_eq!(admitted(&limit, "a", Duration::from_millis(100), 100), 1);
        assert_eq!(admitted(&limit, "a", Duration::from_millis(350), 100), 2);
        assert_eq!(admitted(&limit, "a", Duration::from_secs(9), 100), 10);
    }

    #[test]
    fn keys_do_not_count_for_each_other() {
        let limit = RateLimit::new(1, Duration::from_secs(3600));
        for key in 0..100 {
            assert_eq!(admitted(&limit, key, SECOND, 2), 1, "{key}");
        }
        let account = ("account", "alice");
        assert_eq!(admitted(&limit, account, SECOND, 2), 1);
        assert_eq!(limit.admit(account, SECOND).err().map(RetryAfter::seconds), Some(3600));
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        for (nanoseconds, seconds) in [(0, 1), (1, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
            assert_eq!(RetryAfter(Duration::from_nanos(nanoseconds)).seconds(), seconds);
        }
    }

    #[test]
    fn more_requests_than_nanoseconds_are_no_division_by_zero() {
        let limit = RateLimit::new(u32::MAX, Duration::from_nanos(10));
        assert_eq!(admitted(&limit, "a", SECOND, 100), 10);
        assert_eq!(admitted(&RateLimit::new(0, SECOND), "a", SECOND, 100), 1);
    }

    /// A million keys fit into the table, in the sense that each is admitted; the one that has used its limit stays refused.
    #[test]
    fn a_crowd_neither_fills_the_table_nor_frees_who_is_over_the_limit() {
        let limit = RateLimit::new(10, SECOND);
        assert_eq!(admitted(&limit, "greedy", Duration::ZERO, 10), 10);
        for key in 0..1_000_000 {
            assert!(limit.admit(key, Duration::ZERO).is_ok());
        }
        assert!(limit.admit("greedy", Duration::ZERO).is_err());
        let entries: usize = limit
            .shards
            .iter()
            .map(|shard| shard.0.lock().iter().map(|group| group.len()).sum::<usize>())
            .sum();
        assert_eq!(entries * size_of::<RateEntry>(), 1 << 20);
    }
}
