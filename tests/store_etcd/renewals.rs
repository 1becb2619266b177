//! Renewals beside leases that have expired and are not yet revoked: etcd answers those only when they are.

use futures_util::future::join_all;
use service_center::store::etcd::EtcdStore;
use service_center::store::{KeepAlive, LeaseId, Store};

use crate::support::etcd::Etcd;
use crate::{connect, eventually, put_leased, within, write};

async fn grant_many(store: &EtcdStore, count: usize, ttl_seconds: i64) -> Vec<LeaseId> {
    let mut leases = Vec::new();
    while leases.len() < count {
        let grants = (0..500.min(count - leases.len())).map(|_| store.grant(ttl_seconds));
        leases.extend(join_all(grants).await.into_iter().map(|granted| granted.unwrap().id));
    }
    leases
}

/// 4,000 leases expire at one moment; etcd revokes a thousand a second. A thousand living ones, mixed with forty of the
/// dead, are all renewed.
#[tokio::test]
async fn expired_leases_do_not_hold_up_the_living() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let living = grant_many(&store, 1_000, 600).await;
    let doomed = grant_many(&store, 4_000, 20).await;
    let renewed = within("renewals", store.keep_alive(doomed.clone())).await;
    assert!(renewed.iter().all(|answer| *answer == KeepAlive::Renewed(20)), "{renewed:?}");
    // While nothing runs, time passes: at the end all of them are over at once.
    etcd.freeze();
    tokio::time::sleep(std::time::Duration::from_secs(22)).await;
    etcd.thaw();
    eventually("etcd", || async { store.revision().await.is_ok() }).await;
    let late = &doomed[3_960..];
    let mixed: Vec<LeaseId> =
        living.chunks(25).zip(late).flat_map(|(some, dead)| [&[*dead], some].concat()).collect();
    let is_dead = |lease: &LeaseId| late.contains(lease);
    let answers = within("renewals", store.keep_alive(mixed.clone())).await;
    for (lease, answer) in mixed.iter().zip(&answers) {
        if is_dead(lease) {
            assert!(!matches!(answer, KeepAlive::Renewed(_)), "{lease}: {answer:?}");
        } else {
            assert_eq!(*answer, KeepAlive::Renewed(600), "{lease}");
        }
    }
    let held_up = answers.iter().filter(|answer| matches!(answer, KeepAlive::Unanswered(_))).count();
    assert!(held_up > 0, "none was between its end and its revocation: this has tested nothing");
    // Once known, the dead are answered at once, and those who come alone are not held up either.
    let again = within("a renewal", store.keep_alive(vec![living[0]])).await;
    assert_eq!(again, [KeepAlive::Renewed(600)]);
    eventually("the revocation of all", || async {
        store.keep_alive(late.to_vec()).await.iter().all(|answer| *answer == KeepAlive::NotFound)
    })
    .await;
}

/// More than fits into a window, several callers, some leases twice in a call.
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

/// With etcd frozen every renewal ends unanswered within its limit; afterwards they work again, and no lease was lost.
#[tokio::test]
async fn renewals_end_while_etcd_is_frozen() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let leases = grant_many(&store, 200, 600).await;
    write(&store, leases.iter().take(100).enumerate().map(|(n, lease)| put_leased(n, *lease)).collect())
        .await;
    let before = within("renewals", store.keep_alive(leases.clone())).await;
    assert_eq!(before, vec![KeepAlive::Renewed(600); 200]);
    etcd.freeze();
    for _ in 0..3 {
        let asked = store.keep_alive(leases.clone());
        let answers = tokio::time::timeout(crate::CALL_PATIENCE, asked).await.expect("renewals have a limit");
        assert!(answers.iter().all(|answer| matches!(answer, KeepAlive::Unanswered(_))), "{answers:?}");
    }
    etcd.thaw();
    eventually("all to be renewed", || async {
        store.keep_alive(leases.clone()).await.iter().all(|answer| *answer == KeepAlive::Renewed(600))
    })
    .await;
}

/// Through followers too, which forward each renewal to the leader and are held up there.
#[tokio::test]
async fn followers_forward_renewals() {
    let members = crate::support::etcd::cluster(3);
    for member in &members {
        let store = connect(member).await;
        let living = grant_many(&store, 300, 600).await;
        let dead = grant_many(&store, 1, 600).await[0];
        assert!(store.revoke(dead).await.unwrap());
        let mut mixed = living.clone();
        mixed.insert(100, dead);
        let mut expected = vec![KeepAlive::Renewed(600); 300];
        expected.insert(100, KeepAlive::NotFound);
        assert_eq!(within("renewals", store.keep_alive(mixed)).await, expected);
    }
    // All servers stand still until leases are over, so that many are at their end at once.
    let store = connect(&members[0]).await;
    let living = grant_many(&store, 300, 600).await;
    let doomed = grant_many(&store, 2_000, 15).await;
    for member in &members {
        member.freeze();
    }
    tokio::time::sleep(std::time::Duration::from_secs(17)).await;
    for member in &members {
        member.thaw();
    }
    let mixed = [&living[..150], &doomed[1_990..], &living[150..]].concat();
    // A new leader may give all of them their time again; then nothing holds up anything.
    eventually("the living to be renewed", || async {
        let answers = store.keep_alive(mixed.clone()).await;
        let is_renewed = |answer: &KeepAlive| *answer == KeepAlive::Renewed(600);
        answers[..150].iter().all(is_renewed) && answers[160..].iter().all(is_renewed)
    })
    .await;
}
