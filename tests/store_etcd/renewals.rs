//! Renewals together with leases that have expired and are not revoked yet. etcd answers a renewal of such a lease only after it is revoked.

use futures_util::future::join_all;
use service_center::store::etcd::EtcdStore;
use service_center::store::{KeepAlive, LeaseId, Store, StoreError};

use crate::fake::{FakeEtcd, GRANTS_TO_ONE_LOST, LIVING_TTL};
use crate::support::etcd::Etcd;
use crate::{at, connect, eventually, eventually_ok, put_leased, within, write};

async fn grant_many(store: &EtcdStore, count: usize, ttl_seconds: i64) -> Vec<LeaseId> {
    let mut leases = Vec::new();
    while leases.len() < count {
        let grants =
            (0..500.min(count - leases.len())).map(|_| eventually_ok("a grant", || store.grant(ttl_seconds)));
        leases.extend(join_all(grants).await.into_iter().map(|granted| granted.id));
    }
    leases
}

/// etcd loses one grant of a burst. The caller gets the others.
#[tokio::test]
async fn a_lost_grant_loses_no_other_of_its_burst() {
    let etcd = FakeEtcd::start().await;
    let store = EtcdStore::connect(at([etcd.endpoint()])).await.unwrap();
    // If the machine stands still meanwhile, more of them count as lost. Then the test tries again.
    eventually("all grants but one", || async {
        let granted = within("grants", store.grants(LIVING_TTL, GRANTS_TO_ONE_LOST)).await.unwrap();
        granted.len() == GRANTS_TO_ONE_LOST - 1
    })
    .await;
}

/// A thousand living leases are mixed with forty that have expired and are not revoked. All living leases are renewed, although etcd answers
/// nothing after an expired one in the same stream.
#[tokio::test]
async fn expired_leases_do_not_hold_up_the_living() {
    let etcd = FakeEtcd::start().await;
    let store = EtcdStore::connect(at([etcd.endpoint()])).await.unwrap();
    let living: Vec<LeaseId> = (1..=1_000).map(LeaseId).collect();
    let dead: Vec<LeaseId> = (2_001..=2_040).map(LeaseId).collect();
    etcd.expire(&dead);
    let mixed: Vec<LeaseId> =
        living.chunks(25).zip(&dead).flat_map(|(some, dead)| [&[*dead], some].concat()).collect();
    // If the machine stands still for seconds, a lane takes etcd for dead. Then the test tries again.
    eventually("the living to be renewed", || async {
        let answers = within("renewals", store.keep_alive(mixed.clone())).await;
        let (of_dead, of_living): (Vec<_>, Vec<_>) =
            mixed.iter().zip(&answers).partition(|(lease, _)| dead.contains(lease));
        for (lease, answer) in of_dead {
            assert!(matches!(answer, KeepAlive::Unanswered(_)), "{lease} is not revoked: {answer:?}");
        }
        of_living.iter().all(|(_, answer)| **answer == KeepAlive::Renewed(LIVING_TTL))
    })
    .await;
    assert!(etcd.held_up() > 0, "etcd has answered all it was asked");
    // When the store knows the expired leases, it answers for them at once, and a single renewal does not wait.
    let again = within("a renewal", store.keep_alive(vec![living[0]])).await;
    assert_eq!(again, [KeepAlive::Renewed(LIVING_TTL)]);
    etcd.revoke_expired();
    eventually("the end of the dead", || async {
        store.keep_alive(dead.clone()).await.iter().all(|answer| *answer == KeepAlive::NotFound)
    })
    .await;
}

/// More renewals than fit into a window, by several callers, with some leases twice in a call.
#[tokio::test]
async fn many_renewals_by_many_callers() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let leases = grant_many(&store, 6_000, 600).await;
    let callers = (0..4).map(|caller| {
        let mut mine = leases[caller * 1_000..caller * 1_000 + 3_000].to_vec();
        mine.push(mine[0]);
        store.keep_alive(mine)
    });
    for answers in within("renewals", join_all(callers)).await {
        assert_eq!(answers, vec![KeepAlive::Renewed(600); 3_001]);
    }
}

/// While etcd is frozen, every renewal ends unanswered within its limit. Afterwards renewals succeed, and no lease is lost.
#[tokio::test]
async fn renewals_end_while_etcd_is_frozen() {
    let etcd = Etcd::start();
    let store = EtcdStore::connect(at([etcd.endpoint()])).await.unwrap();
    let leases = grant_many(&store, 200, 600).await;
    write(&store, leases.iter().take(100).enumerate().map(|(n, lease)| put_leased(n, *lease)).collect())
        .await;
    let before = within("renewals", store.keep_alive(leases.clone())).await;
    assert_eq!(before, vec![KeepAlive::Renewed(600); 200]);
    etcd.freeze();
    for _ in 0..3 {
        let answers = within("renewals", store.keep_alive(leases.clone())).await;
        assert!(answers.iter().all(|answer| matches!(answer, KeepAlive::Unanswered(_))), "{answers:?}");
    }
    etcd.thaw();
    eventually("all to be renewed", || async {
        store.keep_alive(leases.clone()).await.iter().all(|answer| *answer == KeepAlive::Renewed(600))
    })
    .await;
}

/// Renewals through a follower, which forwards them to the leader.
#[tokio::test]
async fn followers_forward_renewals() {
    for member in &crate::support::etcd::cluster(3) {
        let store = EtcdStore::connect(at([member.endpoint()])).await.unwrap();
        let living = grant_many(&store, 300, 600).await;
        let dead = eventually_ok("a revoked lease", || async {
            let lease = store.grant(600).await?.id;
            assert!(store.revoke(lease).await?);
            Ok::<_, StoreError>(lease)
        })
        .await;
        let mut mixed = living.clone();
        mixed.insert(100, dead);
        let mut expected = vec![KeepAlive::Renewed(600); 300];
        expected.insert(100, KeepAlive::NotFound);
        eventually("all answers", || async {
            let answers = within("renewals", store.keep_alive(mixed.clone())).await;
            for (answer, expected) in answers.iter().zip(&expected) {
                assert!(answer == expected || matches!(answer, KeepAlive::Unanswered(_)), "{answer:?}");
            }
            answers == expected
        })
        .await;
    }
}
