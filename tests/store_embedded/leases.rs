//! Leases under a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use service_center::clock::Clock;
use service_center::store::embedded::faulty_disk::{DiskFault, FaultyDisk};
use service_center::store::embedded::{EmbeddedStore, Options};
use service_center::store::{KeepAlive, LeaseId, Reason, Store, StoreError};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::support::scale::Scale;
use super::{attempt, grant, list, options, put, put_leased, say, within, write};

struct LeaseScene {
    disk: FaultyDisk,
    clock: Clock,
    store: EmbeddedStore,
}

impl LeaseScene {
    fn new() -> Self {
        Self::on(FaultyDisk::new())
    }

    fn on(disk: FaultyDisk) -> Self {
        let clock = Clock::manual(1_700_000_000);
        let store = EmbeddedStore::open_on(Arc::new(disk.clone()), options(), clock.clone()).unwrap();
        Self { disk, clock, store }
    }

    /// Lets time pass while the store runs.
    async fn pass(&self, mut time: Duration) {
        while !time.is_zero() {
            let stride = time.min(Duration::from_millis(500));
            self.clock.advance(stride);
            within("a look", self.store.poke()).await;
            time -= stride;
        }
    }

    async fn keys(&self) -> Vec<String> {
        list(&self.store).await.0.iter().map(|entry| entry.key.to_string()).collect()
    }
}

#[tokio::test]
async fn a_lease_ends_when_its_time_is_over() {
    let scene = LeaseScene::new();
    let (short, long) = (grant(&scene.store, 30).await, grant(&scene.store, 90).await);
    write(&scene.store, vec![put_leased("/short", "x", short), put_leased("/long", "x", long)]).await;
    scene.pass(Duration::from_secs(29)).await;
    assert_eq!(scene.keys().await, ["/long", "/short"]);
    scene.pass(Duration::from_millis(1_500)).await;
    assert_eq!(scene.keys().await, ["/long"]);
    scene.pass(Duration::from_secs(58)).await;
    assert_eq!(scene.keys().await, ["/long"]);
    scene.pass(Duration::from_secs(2)).await;
    assert!(scene.keys().await.is_empty());
    assert_eq!(scene.store.stats().leases, 0);
}

#[tokio::test]
async fn thousands_of_leases_end_together_while_others_beat() {
    let scene = LeaseScene::new();
    let mut beating = Vec::new();
    for n in 0..3_000 {
        let lease = grant(&scene.store, 30).await;
        write(&scene.store, vec![put_leased(&format!("/{n:04}"), "x", lease)]).await;
        if n % 100 == 0 {
            beating.push(lease);
        }
    }
    for _ in 0..12 {
        scene.pass(Duration::from_secs(10)).await;
        let answers = scene.store.keep_alive(beating.clone()).await;
        assert!(answers.iter().all(|answer| *answer == KeepAlive::Renewed(30)), "{answers:?}");
    }
    let keys = scene.keys().await;
    assert_eq!(keys.len(), 30);
    assert!(keys.iter().all(|key| key.ends_with("00")), "{keys:?}");
}

#[tokio::test]
async fn a_stall_ends_no_lease() {
    let scene = LeaseScene::new();
    let lease = grant(&scene.store, 30).await;
    write(&scene.store, vec![put_leased("/a", "x", lease)]).await;
    scene.pass(Duration::from_secs(20)).await;
    // The machine stands still for an hour, so no heartbeat could come.
    scene.clock.advance(Duration::from_secs(3_600));
    within("a look", scene.store.poke()).await;
    scene.pass(Duration::from_secs(8)).await;
    assert_eq!(scene.keys().await, ["/a"]);
    scene.pass(Duration::from_secs(3)).await;
    assert!(scene.keys().await.is_empty(), "it goes on where it stood");
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_does_not_matter() {
    let scene = LeaseScene::new();
    let lease = grant(&scene.store, 30).await;
    write(&scene.store, vec![put_leased("/a", "x", lease)]).await;
    scene.clock.jump(2_000_000_000);
    scene.pass(Duration::from_secs(29)).await;
    scene.clock.jump(1_000_000_000);
    assert_eq!(scene.keys().await, ["/a"]);
    scene.pass(Duration::from_secs(2)).await;
    assert!(scene.keys().await.is_empty());
}

/// Injected, at random: the wall clock jumps, and the machine stands still for a while. A lease that is renewed in time by the monotonic clock
/// never ends. A lease that is not renewed ends when its time is over.
#[tokio::test]
async fn random_jumps_and_stalls_end_no_lease_that_is_beaten() {
    let seeds = Scale::of_this_run().choose(20, 1_000);
    let first: u64 = rand::random();
    say(&format!("figure: clock jumps: {seeds} seeds from {first}"));
    for seed in (0..seeds).map(|number| first.wrapping_add(number)) {
        let mut random = StdRng::seed_from_u64(seed);
        let scene = LeaseScene::new();
        let (beaten, silent) = (grant(&scene.store, 30).await, grant(&scene.store, 90).await);
        write(&scene.store, vec![put_leased("/beaten", "x", beaten), put_leased("/silent", "x", silent)])
            .await;
        // The store runs for 85 s in all, so the lease without renewals has not ended yet.
        for _ in 0..17 {
            match random.random_range(0..4) {
                0 => scene.clock.jump(random.random_range(0..4_000_000_000)),
                1 => {
                    scene.clock.advance(Duration::from_secs(random.random_range(60..100_000)));
                    within("a look", scene.store.poke()).await;
                }
                _ => {}
            }
            scene.pass(Duration::from_secs(5)).await;
            assert_eq!(scene.keys().await, ["/beaten", "/silent"], "seed {seed}");
            let renewed = scene.store.keep_alive(vec![beaten]).await;
            assert_eq!(renewed, [KeepAlive::Renewed(30)], "seed {seed}");
        }
        scene.pass(Duration::from_secs(20)).await;
        assert_eq!(scene.keys().await, ["/beaten"], "seed {seed}: its time is over");
        within("closing", scene.store.close()).await;
    }
}

#[tokio::test]
async fn after_a_restart_each_lease_has_its_full_time() {
    let scene = LeaseScene::new();
    let (used, unused) = (grant(&scene.store, 30).await, grant(&scene.store, 30).await);
    let emptied = grant(&scene.store, 30).await;
    write(&scene.store, vec![put_leased("/a", "x", used), put_leased("/b", "x", emptied)]).await;
    write(&scene.store, vec![put("/b", "x")]).await;
    scene.pass(Duration::from_secs(25)).await;
    within("closing", scene.store.close()).await;

    let scene = LeaseScene::on(scene.disk);
    let answers = scene.store.keep_alive(vec![unused, emptied]).await;
    assert_eq!(answers, [KeepAlive::NotFound, KeepAlive::NotFound], "leases without keys are forgotten");
    scene.pass(Duration::from_secs(28)).await;
    assert_eq!(scene.keys().await, ["/a", "/b"]);
    scene.pass(Duration::from_secs(3)).await;
    assert_eq!(scene.keys().await, ["/b"]);
    assert_eq!(scene.store.keep_alive(vec![used]).await, [KeepAlive::NotFound]);
}

#[tokio::test]
async fn a_write_on_an_ended_lease_is_refused() {
    let scene = LeaseScene::new();
    let lease = grant(&scene.store, 30).await;
    scene.pass(Duration::from_secs(31)).await;
    for lease in [lease, LeaseId(12_345), LeaseId(0), LeaseId(-1)] {
        let outcome = attempt(&scene.store, vec![put_leased("/a", "x", lease)]).await;
        assert!(
            matches!(outcome, Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. })),
            "{outcome:?}"
        );
    }
    assert!(scene.keys().await.is_empty());
}

#[tokio::test]
async fn on_a_full_disk_leases_end_later() {
    let scene = LeaseScene::new();
    let lease = grant(&scene.store, 30).await;
    write(&scene.store, vec![put_leased("/a", "x", lease), put_leased("/b", "x", lease)]).await;
    scene.disk.fail(DiskFault::NoSpaceAfter(10));
    scene.pass(Duration::from_secs(40)).await;
    assert_eq!(scene.keys().await, ["/a", "/b"], "an end that cannot be written is not shown");
    scene.disk.fail(DiskFault::None);
    scene.pass(Duration::from_secs(2)).await;
    assert!(scene.keys().await.is_empty());
}

#[tokio::test]
async fn a_beat_in_time_is_enough_on_a_full_disk() {
    let scene = LeaseScene::new();
    let lease = grant(&scene.store, 30).await;
    write(&scene.store, vec![put_leased("/a", "x", lease)]).await;
    scene.disk.fail(DiskFault::NoSpaceAfter(0));
    scene.pass(Duration::from_secs(40)).await;
    assert_eq!(scene.store.keep_alive(vec![lease]).await, [KeepAlive::Renewed(30)], "it never ended");
    scene.disk.fail(DiskFault::None);
    scene.pass(Duration::from_secs(28)).await;
    assert_eq!(scene.keys().await, ["/a"]);
}

/// A larger tolerance allows a test to move the clock in one large step.
#[tokio::test]
async fn a_larger_tolerance_takes_large_strides() {
    let clock = Clock::manual(0);
    let options = Options { late_tolerance: Duration::from_secs(1_000_000), ..options() };
    let store = EmbeddedStore::open_on(Arc::new(FaultyDisk::new()), options, clock.clone()).unwrap();
    let lease = grant(&store, 30).await;
    write(&store, vec![put_leased("/a", "x", lease)]).await;
    clock.advance(Duration::from_secs(31));
    within("a look", store.poke()).await;
    assert!(list(&store).await.0.is_empty());
}
