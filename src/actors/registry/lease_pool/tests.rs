//! When leases are granted ahead, how old they may get, and what happens to leases that nobody takes.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::tests::{eventually, store};
use crate::store::faulty::{Fault, FaultyStore, StoreCall};

struct PoolScene {
    store: FaultyStore,
    clock: Clock,
    pool: LeasePool,
}

impl PoolScene {
    fn set(cost: GrantCost) -> Self {
        let (store, clock) = (store().costing(cost), Clock::manual(1_700_000_000));
        clock.advance(Duration::from_secs(100));
        let pool = LeasePool::new(Arc::new(store.clone()), clock.clone());
        Self { store, clock, pool }
    }

    async fn take(&self, ttl_seconds: i64, count: usize) -> Vec<LeaseId> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.pool.take(ttl_seconds).await.unwrap());
        }
        taken
    }

    fn ready(&self, ttl_seconds: i64) -> usize {
        self.pool.pools.borrow().get(&ttl_seconds).map_or(0, |pool| pool.ready.len())
    }

    fn granting(&self) -> usize {
        self.pool.pools.borrow().values().map(|pool| pool.granting).sum()
    }

    /// Takes enough leases to make a pool, and waits until it is filled.
    async fn fill(&self, ttl_seconds: i64, takes: usize) -> usize {
        self.take(ttl_seconds, takes).await;
        eventually("grants", || self.granting() == 0).await;
        self.ready(ttl_seconds)
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

#[actix::test]
async fn where_grants_are_free_there_is_no_pool() {
    let scene = PoolScene::set(GrantCost::Free);
    scene.take(120, 100).await;
    assert_eq!((scene.store.begun(StoreCall::Grant), scene.ready(120)), (100, 0));
}

#[actix::test]
async fn few_takes_are_not_worth_a_pool() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    for _ in 0..5 {
        scene.take(120, WORTH_POOLING - 1).await;
        scene.pass(1000);
    }
    assert_eq!(scene.store.begun(StoreCall::Grant), 5 * (WORTH_POOLING - 1));
}

#[actix::test]
async fn as_many_are_kept_as_a_part_of_a_second_takes() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    let ready = scene.fill(120, 50).await;
    assert!((1..=50 / KEPT_PART).contains(&ready), "{ready}");
    let begun = scene.store.begun(StoreCall::Grant);
    let mut taken = scene.take(120, ready).await;
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), ready, "none is handed out twice");
    eventually("grants", || scene.granting() == 0).await;
    assert!(scene.store.begun(StoreCall::Grant) > begun, "what is taken is granted anew");
    // Another TTL has another pool.
    assert_eq!(scene.ready(60), 0);
}

#[actix::test]
async fn leases_are_granted_in_bursts() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    scene.fill(120, 40 * BURST).await;
    let begun = scene.store.begun(StoreCall::Grant);
    let takes = 8 * BURST;
    for _ in 0..takes {
        scene.take(120, 1).await;
        eventually("grants", || scene.granting() == 0).await;
    }
    // The pool also grows with the takes of the second.
    let calls = scene.store.begun(StoreCall::Grant) - begun;
    assert!((1..=takes / BURST * 2).contains(&calls), "{calls} calls");
}

#[actix::test]
async fn only_young_ones_are_used() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    let ready = scene.fill(120, 40).await;
    scene.pass(1999);
    let begun = scene.store.begun(StoreCall::Grant);
    scene.store.shut(StoreCall::Grant);
    scene.take(120, 1).await;
    scene.pass(1);
    scene.store.open(StoreCall::Grant);
    scene.take(120, 1).await;
    eventually("revocations", || scene.store.begun(StoreCall::Revoke) == ready - 1).await;
    assert!(scene.store.begun(StoreCall::Grant) > begun);
}

#[actix::test]
async fn a_tenth_of_a_short_ttl_is_the_limit() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    let ready = scene.fill(5, 40).await;
    scene.pass(499);
    scene.pool.sweep();
    assert_eq!(scene.ready(5), ready);
    scene.pass(1);
    scene.pool.sweep();
    assert_eq!(scene.ready(5), 0);
    eventually("revocations", || scene.store.begun(StoreCall::Revoke) == ready).await;
}

#[actix::test]
async fn a_lease_ages_from_before_its_grant_was_sent() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    scene.take(120, WORTH_POOLING - 1).await;
    scene.store.shut(StoreCall::Grant);
    let last = actix::spawn({
        let pool = scene.pool.clone();
        async move { pool.take(120).await }
    });
    eventually("a refill", || scene.granting() > 0 && scene.store.begun(StoreCall::Grant) > WORTH_POOLING)
        .await;
    scene.pass(2000);
    scene.store.open(StoreCall::Grant);
    last.await.unwrap().unwrap();
    eventually("grants", || scene.granting() == 0).await;
    assert!(scene.ready(120) > 0);
    scene.pool.sweep();
    assert_eq!(scene.ready(120), 0, "they were two seconds on their way");
}

#[actix::test]
async fn idle_pools_go() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    scene.fill(120, 40).await;
    for _ in 0..5 {
        scene.pass(1000);
        scene.pool.sweep();
    }
    assert!(scene.pool.pools.borrow().is_empty());
}

#[actix::test]
async fn ever_new_ttls_do_not_grow_it() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    for ttl in 100..400 {
        scene.take(ttl, 1).await;
        assert!(scene.pool.pools.borrow().len() <= MAX_TTLS);
    }
    // Pools in use are not pushed out.
    let scene = PoolScene::set(GrantCost::RoundTrip);
    for ttl in 100..100 + i64::try_from(MAX_TTLS).unwrap() {
        scene.fill(ttl, WORTH_POOLING).await;
    }
    scene.take(10, 2 * WORTH_POOLING).await;
    assert_eq!((scene.ready(10), scene.pool.pools.borrow().len()), (0, MAX_TTLS));
    assert!(scene.ready(100) > 0);
}

#[actix::test]
async fn a_failed_grant_is_told_and_not_counted_as_ready() {
    let scene = PoolScene::set(GrantCost::RoundTrip);
    scene.store.go_away();
    for _ in 0..2 * WORTH_POOLING {
        assert!(scene.pool.take(120).await.is_err());
    }
    eventually("grants", || scene.granting() == 0).await;
    assert_eq!(scene.ready(120), 0);
    scene.store.come_back();
    assert!(scene.fill(120, 2).await > 0);
}

#[actix::test]
async fn what_cannot_be_revoked_is_tried_again_until_the_store_is_back() {
    let scene = PoolScene::set(GrantCost::Free);
    let leases = scene.take(120, 3).await;
    scene.store.go_away();
    scene.pool.discard(leases.clone());
    for tries in 1..4 {
        eventually("a try", || scene.store.begun(StoreCall::Revoke) == tries).await;
        eventually("its end", || scene.pool.doomed.borrow().len() == 3).await;
        scene.pool.sweep();
    }
    eventually("the last try", || scene.pool.doomed.borrow().len() == 3).await;
    scene.store.come_back();
    scene.pool.sweep();
    eventually("all tries", || scene.store.begun(StoreCall::Revoke) == 7).await;
    for lease in leases {
        assert_eq!(scene.store.revoke(lease).await, Ok(false));
    }
    assert!(scene.pool.doomed.borrow().is_empty());
    // A lease that the store does not revoke does not stop the others.
    let leases = scene.take(120, 2).await;
    scene.store.script(StoreCall::Revoke, [Fault::Refused(Reason::Denied)]);
    scene.pool.discard(leases.clone());
    eventually("both", || scene.store.begun(StoreCall::Revoke) == 12).await;
    assert_eq!(scene.store.revoke(leases[1]).await, Ok(false));
    assert!(scene.pool.doomed.borrow().is_empty());
}
