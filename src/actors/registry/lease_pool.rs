//! Leases granted ahead, for stores where a grant costs a round trip. A registration then takes one round trip instead of two.
//!
//! The time of a lease runs from its grant. So a lease is used only while it is young, and revoked when it is old. For each
//! TTL, as many leases are kept as are taken in an eighth of a second. The pool is filled in bursts, because many grants that are
//! sent together cost this node and the store less: they share packets, wake-ups, and syncs of the store's log. For stores where a
//! grant costs nothing there is no pool.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::store_step::store_step;
use crate::clock::{Clock, Monotonic};
use crate::store::{GrantCost, LeaseId, Reason, Store, StoreError};
use crate::trace;

/// The oldest age at which a pooled lease is used, unless a tenth of its TTL is less.
const MAX_AGE: Duration = Duration::from_secs(2);
/// How many leases must be taken within a second before leases are granted ahead.
const WORTH_POOLING: usize = 20;
/// The leases that are kept are enough for this part of a second. What is left when a storm ends is revoked, and from version 3.5 on
/// etcd syncs its database for each revocation. Leases that are being granted count, so if a grant takes longer than this part, some
/// registrations wait for a grant of their own.
const KEPT_PART: usize = 8;
/// How many leases are kept for one TTL.
const MAX_KEPT: usize = 8_000;
/// How many leases are granted together. More would delay the transactions that come after them.
const BURST: usize = 128;
/// How many grants are on their way at once for one TTL.
const MAX_GRANTING: usize = 2 * BURST;
/// How many TTLs have a pool, so that a client that keeps sending new TTLs takes no more memory.
const MAX_TTLS: usize = 64;
/// How many leases wait to be revoked because the store did not answer. The oldest ones are left to expire.
const MAX_DOOMED: usize = 100_000;

/// Hands out leases. Lives on one thread. Clones share the pools.
#[derive(Clone)]
pub struct LeasePool {
    store: Arc<dyn Store>,
    clock: Clock,
    pools: Rc<RefCell<HashMap<i64, TtlPool>>>,
    doomed: Rc<RefCell<VecDeque<LeaseId>>>,
}

#[derive(Default)]
struct TtlPool {
    ready: VecDeque<(LeaseId, Monotonic)>,
    granting: usize,
    /// The start of the current second, the takes in it, and the takes in the second before.
    window: Monotonic,
    takes: usize,
    last_takes: usize,
}

impl LeasePool {
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, pools: Rc::default(), doomed: Rc::default() }
    }

    /// A lease with this TTL that is young enough to be used now.
    pub async fn take(&self, ttl_seconds: i64) -> Result<LeaseId, StoreError> {
        if self.store.grant_cost() == GrantCost::RoundTrip
            && let Some(lease) = self.take_ready(ttl_seconds)
        {
            return Ok(lease);
        }
        let mut step = store_step(&*self.store, trace::traced().as_ref(), "grant", 1);
        let lease = self.store.grant(ttl_seconds).await.inspect_err(|error| step.fail(error))?;
        Ok(lease.id)
    }

    fn take_ready(&self, ttl_seconds: i64) -> Option<LeaseId> {
        let now = self.clock.monotonic();
        let mut pools = self.pools.borrow_mut();
        if pools.len() >= MAX_TTLS && !pools.contains_key(&ttl_seconds) {
            pools.retain(|_, pool| pool.granting > 0 || !pool.ready.is_empty());
            if pools.len() >= MAX_TTLS {
                return None;
            }
        }
        let pool = pools.entry(ttl_seconds).or_default();
        pool.count_take(now);
        let old = pool.take_old(now, max_age(ttl_seconds));
        let found = pool.ready.pop_front().map(|(lease, _)| lease);
        let missing = pool.missing();
        pool.granting += missing;
        drop(pools);
        if missing > 0 {
            actix::spawn(self.clone().refill(ttl_seconds, missing));
        }
        self.discard(old);
        found
    }

    async fn refill(self, ttl_seconds: i64, count: usize) {
        // The age counts from before the grants were sent, because the store starts the TTL somewhere in between.
        let granted = self.clock.monotonic();
        let leases = self.store.grants(ttl_seconds, count).await.unwrap_or_default();
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(ttl_seconds).or_default();
        pool.granting = pool.granting.saturating_sub(count);
        pool.ready.extend(leases.into_iter().map(|lease| (lease.id, granted)));
    }

    /// Revokes old leases, also in pools that are no longer used, and leases that could not be revoked before. Runs once a
    /// second.
    pub fn sweep(&self) {
        let now = self.clock.monotonic();
        let mut old = Vec::new();
        self.pools.borrow_mut().retain(|ttl, pool| {
            old.extend(pool.take_old(now, max_age(*ttl)));
            pool.roll(now);
            pool.granting > 0 || !pool.ready.is_empty() || pool.takes + pool.last_takes > 0
        });
        old.extend(self.doomed.borrow_mut().drain(..));
        self.discard(old);
    }

    /// Revokes leases, and with them whatever a transaction with an unknown outcome has written on them. While the store is
    /// away, [`LeasePool::sweep`] tries again.
    pub fn discard(&self, leases: Vec<LeaseId>) {
        if leases.is_empty() {
            return;
        }
        let this = self.clone();
        actix::spawn(async move {
            let mut leases = leases.into_iter();
            while let Some(lease) = leases.next() {
                match this.store.revoke(lease).await {
                    Ok(_) => {}
                    Err(error) if is_away(&error) => {
                        log::debug!("lease {lease} is not revoked yet: {error}");
                        // The others would fail too.
                        this.doom(std::iter::once(lease).chain(leases));
                        return;
                    }
                    Err(error) => log::debug!("lease {lease} is not revoked and expires: {error}"),
                }
            }
        });
    }

    fn doom(&self, leases: impl Iterator<Item = LeaseId>) {
        let mut doomed = self.doomed.borrow_mut();
        doomed.extend(leases);
        let too_many = doomed.len().saturating_sub(MAX_DOOMED);
        doomed.drain(..too_many);
    }
}

impl TtlPool {
    fn count_take(&mut self, now: Monotonic) {
        self.roll(now);
        self.takes += 1;
    }

    fn roll(&mut self, now: Monotonic) {
        let passed = now.saturating_sub(self.window);
        if passed >= Duration::from_secs(1) {
            self.last_takes = if passed < Duration::from_secs(2) { self.takes } else { 0 };
            self.takes = 0;
            self.window = now;
        }
    }

    fn wanted(&self) -> usize {
        let rate = self.last_takes.max(self.takes);
        if rate < WORTH_POOLING { 0 } else { (rate / KEPT_PART).min(MAX_KEPT) }
    }

    /// How many leases to ask for now: a burst, or a quarter of what a small pool keeps, or nothing.
    fn missing(&self) -> usize {
        let wanted = self.wanted();
        let missing = wanted.saturating_sub(self.ready.len() + self.granting);
        if missing < BURST.min(wanted / 4).max(1) {
            return 0;
        }
        missing.min(BURST).min(MAX_GRANTING.saturating_sub(self.granting))
    }

    fn take_old(&mut self, now: Monotonic, max_age: Duration) -> Vec<LeaseId> {
        let is_old = |granted: Monotonic| now.saturating_sub(granted) >= max_age;
        let young = self.ready.iter().position(|(_, granted)| !is_old(*granted)).unwrap_or(self.ready.len());
        self.ready.drain(..young).map(|(lease, _)| lease).collect()
    }
}

fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unknown { .. } | StoreError::Aborted { reason: Reason::Unavailable, .. })
}

fn max_age(ttl_seconds: i64) -> Duration {
    let tenth = Duration::from_millis(u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(100));
    MAX_AGE.min(tenth)
}

#[cfg(test)]
mod tests;
