//! Leases granted ahead, where a grant costs a consensus round: a registration then pays one round instead of two.
//!
//! A lease ages from its grant, so one is used only while young; what grows old is revoked. How many are kept follows
//! the rate of the last second, a TTL at a time. Where grants are free there is no pool.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Monotonic};
use crate::store::{GrantCost, LeaseId, Store, StoreError};

/// Oldest age at which a pooled lease is used, unless a tenth of its TTL is less.
const MAX_AGE: Duration = Duration::from_secs(2);
/// Takes within a second from which on granting ahead pays.
const WORTH_POOLING: usize = 20;
/// Most leases kept for one TTL.
const MAX_KEPT: usize = 8_000;
/// Grants on their way at once for one TTL.
const MAX_GRANTING: usize = 64;
/// TTLs that keep a pool; a client that sends ever new ones must not grow it.
const MAX_TTLS: usize = 64;

/// Hands out leases. Lives on one thread; clones share one pool.
#[derive(Clone)]
pub struct LeasePool {
    store: Arc<dyn Store>,
    clock: Clock,
    pools: Rc<RefCell<HashMap<i64, Pool>>>,
}

#[derive(Default)]
struct Pool {
    ready: VecDeque<(LeaseId, Monotonic)>,
    granting: usize,
    /// Start of the current second, takes in it, takes in the one before.
    window: Monotonic,
    takes: usize,
    last_takes: usize,
}

impl LeasePool {
    /// A pool in front of a store.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, pools: Rc::default() }
    }

    /// A lease of this TTL, young enough to be used now.
    pub async fn take(&self, ttl_seconds: i64) -> Result<LeaseId, StoreError> {
        if self.store.grant_cost() == GrantCost::RoundTrip
            && let Some(lease) = self.take_ready(ttl_seconds)
        {
            return Ok(lease);
        }
        self.store.grant(ttl_seconds).await.map(|lease| lease.id)
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
        let missing = pool.wanted().saturating_sub(pool.ready.len() + pool.granting);
        let missing = missing.min(MAX_GRANTING.saturating_sub(pool.granting));
        pool.granting += missing;
        drop(pools);
        for _ in 0..missing {
            let this = self.clone();
            actix::spawn(async move { this.refill(ttl_seconds).await });
        }
        self.discard(old);
        found
    }

    async fn refill(self, ttl_seconds: i64) {
        // Ages from before it was sent: the store starts counting somewhere in between.
        let granted = self.clock.monotonic();
        let lease = self.store.grant(ttl_seconds).await;
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(ttl_seconds).or_default();
        pool.granting = pool.granting.saturating_sub(1);
        if let Ok(lease) = lease {
            pool.ready.push_back((lease.id, granted));
        }
    }

    /// Revokes what has grown old, also in pools nobody takes from any more. Called once a second.
    pub fn sweep(&self) {
        let now = self.clock.monotonic();
        let mut old = Vec::new();
        self.pools.borrow_mut().retain(|ttl, pool| {
            old.extend(pool.take_old(now, max_age(*ttl)));
            pool.roll(now);
            pool.granting > 0 || !pool.ready.is_empty() || pool.takes + pool.last_takes > 0
        });
        self.discard(old);
    }

    /// Ends leases that carry nothing. One that cannot be revoked ends with its TTL.
    pub fn discard(&self, leases: Vec<LeaseId>) {
        if leases.is_empty() {
            return;
        }
        let store = Arc::clone(&self.store);
        actix::spawn(async move {
            for lease in leases {
                if let Err(error) = store.revoke(lease).await {
                    log::debug!("lease {lease} was not revoked and ends by itself: {error}");
                }
            }
        });
    }
}

impl Pool {
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
        if rate < WORTH_POOLING { 0 } else { rate.min(MAX_KEPT) }
    }

    fn take_old(&mut self, now: Monotonic, max_age: Duration) -> Vec<LeaseId> {
        let is_old = |granted: Monotonic| now.saturating_sub(granted) >= max_age;
        let young = self.ready.iter().position(|(_, granted)| !is_old(*granted)).unwrap_or(self.ready.len());
        self.ready.drain(..young).map(|(lease, _)| lease).collect()
    }
}

fn max_age(ttl_seconds: i64) -> Duration {
    let tenth = Duration::from_millis(u64::try_from(ttl_seconds).unwrap_or(0).saturating_mul(100));
    MAX_AGE.min(tenth)
}
