//! Leases with their deadlines and their keys. Pure: time is an argument. It deletes no keys itself.
//!
//! A renewal only moves the deadline, so a heartbeat costs one lookup. Each lease is in one slot of the schedule: the slot of
//! its deadline at the time it was put there. When the slot is due, the lease has either expired, or it moves to the slot of
//! its current deadline. After a start all leases may become due together, so they are checked in parts.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::super::port::LeaseId;
use super::item::Item;
use crate::clock::{Clock, Monotonic};

/// The shortest and the longest TTL, seconds, as in etcd.
const TTL_SECONDS: std::ops::RangeInclusive<i64> = 2..=9_000_000_000;

/// The width of a slot of the schedule. A lease ends at most this late.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// A lease is checked at least this often, so that a revoked lease with a long TTL leaves the schedule.
const LONGEST_SLOT: Duration = Duration::from_secs(3600);

/// Milliseconds of a clock that stands still while the committer takes no renewals.
pub(super) type LeaseTime = u64;

/// Turns the clock into lease time.
#[derive(Debug)]
pub(super) struct LeaseClock {
    clock: Clock,
    last_look: Monotonic,
    stalled: Duration,
    late_tolerance: Duration,
}

impl LeaseClock {
    pub(super) fn new(clock: Clock, late_tolerance: Duration) -> Self {
        let last_look = clock.monotonic();
        Self { clock, last_look, stalled: Duration::ZERO, late_tolerance }
    }

    /// The time now. The committer calls this at least once in each [`TICK`]. If it did not, because the thread or the machine
    /// stood still, it took no renewals either. That time does not count, so all deadlines move by it.
    pub(super) fn look(&mut self) -> LeaseTime {
        let now = self.clock.monotonic();
        let late = now.saturating_sub(self.last_look).saturating_sub(TICK);
        self.last_look = now;
        if late > self.late_tolerance {
            log::warn!("the embedded store stood still for {late:?}, so all leases last that much longer");
            self.stalled += late;
        }
        millis(now.saturating_sub(self.stalled))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A lease that is alive.
#[derive(Debug)]
pub(super) struct Held {
    pub ttl_seconds: i64,
    deadline: LeaseTime,
    /// In key order. The end of the lease deletes them in this order.
    pub items: Attached,
}

/// The keys of a lease. Most leases have two keys, which need no allocation.
pub(super) type Attached = SmallVec<[Arc<Item>; 2]>;

/// All leases that are alive.
#[derive(Debug, Default)]
pub(super) struct Leases {
    held: HashMap<LeaseId, Held, RandomState>,
    schedule: BTreeMap<u64, Vec<LeaseId>>,
}

/// Gives out ids of leases, each once.
#[derive(Debug)]
pub(super) struct LeaseIds(AtomicI64);

/// So many ids from the first one on are free when a store is opened. At 100,000 grants a second they last 127 days, and then a lease
/// from before the start would have to be among the next ones.
const FREE_IDS: i64 = 1 << 40;

impl LeaseIds {
    /// The first id is random, so that the ids differ from all ids before a restart, also from those of leases that have ended.
    pub(super) fn new(held: &Leases) -> Self {
        let first = loop {
            let first = rand::random::<i64>() & (i64::MAX >> 1);
            let free = first..first + FREE_IDS;
            if first > 0 && !held.held.keys().any(|id| free.contains(&id.0)) {
                break first;
            }
        };
        Self(AtomicI64::new(first))
    }

    pub(super) fn take(&self) -> LeaseId {
        LeaseId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub(super) fn clamp_ttl(ttl_seconds: i64) -> i64 {
    ttl_seconds.clamp(*TTL_SECONDS.start(), *TTL_SECONDS.end())
}

fn deadline(now: LeaseTime, ttl_seconds: i64) -> LeaseTime {
    now.saturating_add(u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(1000))
}

/// What the files say about leases.
#[derive(Debug)]
pub(super) enum LeaseChange {
    /// A lease with its TTL, unless it is known.
    Named(LeaseId, i64),
    Attached(Arc<Item>),
    Detached(Arc<Item>),
}

/// The leases while the files are read. Another thread keeps them, because they and the tree of keys are larger than the caches of a
/// processor, so a thread with both would wait for memory twice.
#[derive(Debug)]
pub(super) struct LoadingLeases {
    to: SyncSender<Vec<LeaseChange>>,
    changes: Vec<LeaseChange>,
    keeper: JoinHandle<Leases>,
}

/// So many changes go to the other thread together, and so many such lists may wait for it.
const CHANGES_AT_ONCE: usize = 4_096;
const LISTS_AHEAD: usize = 4;

impl LoadingLeases {
    pub(super) fn start() -> io::Result<Self> {
        let (to, lists) = mpsc::sync_channel::<Vec<LeaseChange>>(LISTS_AHEAD);
        let keep = move || {
            let mut leases = Leases::default();
            lists.into_iter().flatten().for_each(|change| leases.load(change));
            leases
        };
        let keeper = std::thread::Builder::new().name("store-leases".to_owned()).spawn(keep)?;
        Ok(Self { to, changes: Vec::new(), keeper })
    }

    pub(super) fn push(&mut self, change: LeaseChange) {
        self.changes.push(change);
        if self.changes.len() >= CHANGES_AT_ONCE {
            self.send();
        }
    }

    fn send(&mut self) {
        // It fails if the other thread has panicked, which `end` passes on.
        let _ = self.to.send(std::mem::replace(&mut self.changes, Vec::with_capacity(CHANGES_AT_ONCE)));
    }

    /// All changes are there.
    pub(super) fn end(mut self) -> Leases {
        self.send();
        drop(self.to);
        self.keeper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Leases {
    fn load(&mut self, change: LeaseChange) {
        match change {
            LeaseChange::Named(lease, ttl_seconds) => self.restore(lease, ttl_seconds),
            LeaseChange::Attached(item) => self.attach(&item),
            LeaseChange::Detached(item) => self.detach(&item),
        }
    }

    /// Adds a lease with an id that was never used.
    pub(super) fn grant(&mut self, id: LeaseId, ttl_seconds: i64, now: LeaseTime) {
        let deadline = deadline(now, ttl_seconds);
        self.held.insert(id, Held { ttl_seconds, deadline, items: Attached::new() });
        schedule(&mut self.schedule, id, deadline, now);
    }

    /// Adds a lease from the disk unless it exists already. [`Leases::restart`] sets its deadline.
    fn restore(&mut self, id: LeaseId, ttl_seconds: i64) {
        self.held.entry(id).or_insert(Held { ttl_seconds, deadline: 0, items: Attached::new() });
    }

    /// After the files are read: gives leases with keys their full TTL, and removes leases without keys.
    pub(super) fn restart(&mut self, now: LeaseTime) {
        let slots = &mut self.schedule;
        slots.clear();
        self.held.retain(|id, held| {
            let has_keys = !held.items.is_empty();
            if has_keys {
                held.deadline = deadline(now, held.ttl_seconds);
                schedule(slots, *id, held.deadline, now);
            }
            has_keys
        });
    }

    /// Renews a lease to its full TTL and returns the TTL, seconds. `None`: the lease does not exist.
    pub(super) fn renew(&mut self, id: LeaseId, now: LeaseTime) -> Option<i64> {
        let held = self.held.get_mut(&id)?;
        held.deadline = deadline(now, held.ttl_seconds);
        Some(held.ttl_seconds)
    }

    pub(super) fn ttl_seconds(&self, id: LeaseId) -> Option<i64> {
        self.held.get(&id).map(|held| held.ttl_seconds)
    }

    /// Ids and TTLs of the leases that have keys.
    pub(super) fn with_keys(&self) -> Vec<(LeaseId, i64)> {
        let with_keys = self.held.iter().filter(|(_, held)| !held.items.is_empty());
        with_keys.map(|(id, held)| (*id, held.ttl_seconds)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    #[cfg(test)]
    pub(super) fn contents(&self) -> Vec<(LeaseId, Vec<String>)> {
        let keys = |held: &Held| held.items.iter().map(|item| item.key.to_string()).collect();
        self.held.iter().map(|(id, held)| (*id, keys(held))).collect()
    }

    /// Adds an item to its lease. Replaces an item with the same key.
    pub(super) fn attach(&mut self, item: &Arc<Item>) {
        let Some(held) = item.lease_id().and_then(|id| self.held.get_mut(&id)) else { return };
        match held.items.binary_search(item) {
            Ok(at) => {
                if let Some(former) = held.items.get_mut(at) {
                    *former = item.clone();
                }
            }
            Err(at) => held.items.insert(at, item.clone()),
        }
    }

    /// Removes an item from its lease.
    pub(super) fn detach(&mut self, item: &Arc<Item>) {
        let Some(held) = item.lease_id().and_then(|id| self.held.get_mut(&id)) else { return };
        if let Ok(at) = held.items.binary_search(item) {
            held.items.remove(at);
        }
    }

    /// Removes a lease that ends.
    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Held> {
        self.held.remove(&id)
    }

    /// Undoes [`Leases::remove`], because the end of the lease could not be written.
    pub(super) fn put_back(&mut self, id: LeaseId, held: Held) {
        self.held.insert(id, held);
    }

    /// Makes a lease due again in 1 s, because its end could not be written.
    pub(super) fn look_again(&mut self, id: LeaseId, now: LeaseTime) {
        schedule(&mut self.schedule, id, now.saturating_add(1000), now);
    }

    /// Expired leases. Checks at most `limit` leases. Returns each lease once: the caller ends it, or calls
    /// [`Leases::look_again`].
    pub(super) fn due(&mut self, now: LeaseTime, limit: usize) -> Vec<LeaseId> {
        let mut due = Vec::new();
        let mut looked_at = 0;
        while looked_at < limit {
            let Some(mut slot) = self.schedule.first_entry().filter(|slot| *slot.key() <= slot_of(now))
            else {
                break;
            };
            let mut moved = Vec::new();
            while looked_at < limit
                && let Some(id) = slot.get_mut().pop()
            {
                looked_at += 1;
                match self.held.get(&id) {
                    None => {}
                    Some(held) if held.deadline <= now => due.push(id),
                    Some(held) => moved.push((id, held.deadline)),
                }
            }
            if slot.get().is_empty() {
                slot.remove();
            }
            for (id, deadline) in moved {
                schedule(&mut self.schedule, id, deadline, now);
            }
        }
        if self.held.capacity() > 1024 && self.held.capacity() / 8 > self.held.len() {
            self.held.shrink_to(self.held.len() * 2);
        }
        due
    }

    /// Whether [`Leases::due`] has more leases to check at this time.
    pub(super) fn is_due(&self, now: LeaseTime) -> bool {
        self.schedule.first_key_value().is_some_and(|(slot, _)| *slot <= slot_of(now))
    }
}

/// The last slot that is due.
fn slot_of(now: LeaseTime) -> u64 {
    now / millis(TICK)
}

fn schedule(slots: &mut BTreeMap<u64, Vec<LeaseId>>, id: LeaseId, deadline: LeaseTime, now: LeaseTime) {
    let at = deadline.min(now.saturating_add(millis(LONGEST_SLOT)));
    // The first slot that is due after the deadline, but later than the slot that is being emptied.
    let slot = at.div_ceil(millis(TICK)).max(slot_of(now) + 1);
    slots.entry(slot).or_default().push(id);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::embedded::item::ItemValue;
    use crate::store::embedded::key::Folders;

    fn item(key: &str, lease: LeaseId) -> Arc<Item> {
        let lease = std::num::NonZeroI64::new(lease.0);
        let key = Folders::default().key(key);
        let value = ItemValue::new(b"", &key);
        Arc::new(Item::new(key, value, lease, (1, 1, 1)))
    }

    fn grant(leases: &mut Leases, ttl_seconds: i64) -> LeaseId {
        let id = LeaseId(i64::try_from(leases.len()).unwrap() + 1);
        leases.grant(id, ttl_seconds, 0);
        id
    }

    #[test]
    fn ids_are_those_of_no_lease() {
        let mut leases = Leases::default();
        let before = LeaseIds::new(&leases);
        let held: Vec<LeaseId> = (0..1_000).map(|_| before.take()).collect();
        held.iter().for_each(|id| leases.grant(*id, 5, 0));
        let after = LeaseIds::new(&leases);
        let mut ids: Vec<LeaseId> = held.into_iter().chain((0..1_000).map(|_| after.take())).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 2_000);
        assert!(ids.iter().all(|id| id.0 > 0));
    }

    #[test]
    fn a_lease_ends_at_its_deadline_and_not_before() {
        let mut leases = Leases::default();
        let id = grant(&mut leases, 10);
        assert!(leases.due(9_999, 100).is_empty());
        assert!(!leases.is_due(9_999));
        assert_eq!(leases.due(10_000, 100), [id]);
        assert!(leases.due(20_000, 100).is_empty(), "named once");
    }

    #[test]
    fn a_renewal_moves_the_deadline() {
        let mut leases = Leases::default();
        let id = grant(&mut leases, 10);
        for now in (0..100_000).step_by(3_000) {
            assert!(leases.due(now, 100).is_empty());
            assert_eq!(leases.renew(id, now), Some(10));
        }
        assert!(leases.due(108_999, 100).is_empty());
        assert_eq!(leases.due(109_250, 100), [id]);
    }

    #[test]
    fn long_leases_are_looked_at_and_kept() {
        let mut leases = Leases::default();
        let id = grant(&mut leases, 9_000_000_000);
        for hour in 1..100 {
            assert!(leases.due(hour * 3_600_000, 100).is_empty());
        }
        assert!(leases.remove(id).is_some());
        assert!(leases.due(200 * 3_600_000, 100).is_empty());
        assert!(leases.schedule.is_empty(), "a removed lease leaves the schedule");
    }

    #[test]
    fn no_more_than_the_limit_at_once() {
        let mut leases = Leases::default();
        let mut granted: Vec<LeaseId> = (0..250).map(|_| grant(&mut leases, 5)).collect();
        let mut ended = Vec::new();
        for expected in [100, 100, 50, 0] {
            let due = leases.due(5_000, 100);
            assert_eq!(due.len(), expected);
            ended.extend(due);
        }
        granted.sort();
        ended.sort();
        assert_eq!(ended, granted);
    }

    #[test]
    fn those_that_were_renewed_are_looked_at_in_parts_too() {
        let mut leases = Leases::default();
        let granted: Vec<LeaseId> = (0..250).map(|_| grant(&mut leases, 5)).collect();
        for id in granted {
            assert_eq!(leases.renew(id, 4_000), Some(5));
        }
        for is_left in [true, true, false] {
            assert!(leases.due(5_000, 100).is_empty());
            assert_eq!(leases.is_due(5_000), is_left);
        }
    }

    #[test]
    fn an_end_that_could_not_be_written_comes_up_again() {
        let mut leases = Leases::default();
        let id = grant(&mut leases, 5);
        assert_eq!(leases.due(5_000, 100), [id]);
        let held = leases.remove(id).unwrap();
        leases.put_back(id, held);
        leases.look_again(id, 5_000);
        assert!(leases.due(5_500, 100).is_empty());
        assert_eq!(leases.due(6_000, 100), [id]);
    }

    #[test]
    fn items_are_kept_in_key_order_one_a_key() {
        let mut leases = Leases::default();
        let id = grant(&mut leases, 5);
        for key in ["b", "a", "d", "c", "b", "e"] {
            leases.attach(&item(key, id));
        }
        leases.detach(&item("d", id));
        leases.detach(&item("nothing", id));
        leases.attach(&item("x", LeaseId(7)));
        let keys: Vec<String> = leases.held[&id].items.iter().map(|item| item.key.to_string()).collect();
        assert_eq!(keys, ["a", "b", "c", "e"]);
        assert_eq!(leases.with_keys(), [(id, 5)]);
    }

    #[test]
    fn after_a_restart_leases_with_keys_get_their_full_time() {
        let mut leases = Leases::default();
        leases.restore(LeaseId(1), 10);
        leases.restore(LeaseId(2), 10);
        leases.restore(LeaseId(1), 10);
        leases.attach(&item("a", LeaseId(1)));
        leases.restart(50_000);
        assert_eq!(leases.len(), 1);
        assert!(leases.due(59_999, 100).is_empty());
        assert_eq!(leases.due(60_000, 100), [LeaseId(1)]);
    }

    #[test]
    fn a_late_look_moves_all_deadlines() {
        let clock = Clock::manual(0);
        let mut time = LeaseClock::new(clock.clone(), Duration::from_secs(1));
        assert_eq!(time.look(), 0);
        clock.advance(Duration::from_millis(1_200));
        assert_eq!(time.look(), 1_200, "a little late is no stall");
        clock.advance(Duration::from_millis(60_250));
        assert_eq!(time.look(), 1_450, "a minute nobody looked did not pass");
        clock.advance(Duration::from_millis(250));
        assert_eq!(time.look(), 1_700);
    }
}
