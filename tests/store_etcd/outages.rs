//! etcd is frozen, killed and started again under a running store. Calls end within their limits, and their errors say what is certain.

use std::net::TcpListener;
use std::time::Duration;

use service_center::store::etcd::{ConnectError, EtcdOptions, EtcdStore};
use service_center::store::{KeepAlive, Reason, Store, StoreError, WatchError};

use crate::support::etcd::{Etcd, cluster};
use crate::support::net::free_address;
use crate::{Watching, at, attempt, event_key, eventually, eventually_ok, key, list, put, within, write};

fn is_unknown_or_away<T: std::fmt::Debug>(answer: &Result<T, StoreError>) -> bool {
    matches!(
        answer,
        Err(StoreError::Unknown { .. } | StoreError::Aborted { reason: Reason::Unavailable, .. })
    )
}

/// Asserts that each call of the store ends by its own limit.
async fn everything_ends(store: &EtcdStore) {
    let lease = service_center::store::LeaseId(77);
    let written = within("a write", attempt(store, vec![put("a", "x")])).await;
    assert!(is_unknown_or_away(&written), "{written:?}");
    let granted = within("a grant", store.grant(60)).await;
    assert!(is_unknown_or_away(&granted), "{granted:?}");
    let revoked = within("a revocation", store.revoke(lease)).await;
    assert!(is_unknown_or_away(&revoked), "{revoked:?}");
    let revision = within("a revision", store.revision()).await;
    assert!(is_unknown_or_away(&revision), "{revision:?}");
    let bookmark = within("a bookmark", store.bookmark()).await;
    assert!(is_unknown_or_away(&bookmark), "{bookmark:?}");
    let renewed = within("a renewal", store.keep_alive(vec![lease])).await;
    assert!(matches!(renewed.as_slice(), [KeepAlive::Unanswered(_)]), "{renewed:?}");
    let listed = within("a listing", list(store, "/cse-sr/")).await;
    assert!(is_unknown_or_away(&listed), "{listed:?}");
    let watched = within("the end of the watch", Watching::start(store, "/cse-sr/", 1).next()).await;
    assert!(matches!(watched, Err(WatchError::Lost(_))), "{watched:?}");
}

#[tokio::test]
async fn a_frozen_etcd_ends_every_call_and_is_used_again() {
    let etcd = Etcd::start();
    let store = EtcdStore::connect(at([etcd.endpoint()])).await.unwrap();
    let start = write(&store, vec![put("a", "0")]).await;
    let mut watching = Watching::start(&store, "/cse-sr/", start);
    watching.until(start).await;
    for _ in 0..2 {
        etcd.freeze();
        let first = attempt(&store, vec![put("frozen", "x")]).await;
        assert!(matches!(first, Err(StoreError::Unknown { .. })), "it left and may be done later: {first:?}");
        // The store notices the silent stream although its connection is open.
        let lost = watching.next().await;
        assert!(matches!(lost, Err(WatchError::Lost(_))), "{lost:?}");
        eventually("the store knows", || async { store.away().is_some() }).await;
        let later = attempt(&store, vec![put("later", "x")]).await;
        assert_eq!(crate::reason(&later), Some(Reason::Unavailable), "nothing is sent while it is away");
        everything_ends(&store).await;
        etcd.thaw();
        eventually("writes", || async { attempt(&store, vec![put("a", "1")]).await.is_ok() }).await;
        let last = write(&store, vec![put("a", "2")]).await;
        watching = Watching::start(&store, "/cse-sr/", watching.reached + 1);
        assert!(!watching.until(last).await.is_empty());
        assert!(!list(&store, "/cse-sr/").await.unwrap().0.iter().any(|entry| entry.key.ends_with("later")));
    }
}

#[tokio::test]
async fn a_killed_etcd_is_used_again() {
    let mut etcd = Etcd::start();
    let store = EtcdStore::connect(at([etcd.endpoint()])).await.unwrap();
    let lease = store.grant(600).await.unwrap().id;
    let start = write(&store, vec![put("a", "0"), crate::put_leased("b", lease)]).await;
    let mut watching = Watching::start(&store, "/cse-sr/", start);
    for round in 0..3 {
        etcd.kill();
        everything_ends(&store).await;
        let lost = loop {
            if let Err(error) = watching.next().await {
                break error;
            }
        };
        assert!(matches!(lost, WatchError::Lost(_)), "{lost:?}");
        let refused = attempt(&store, vec![put("a", "x")]).await;
        assert_eq!(
            crate::reason(&refused),
            Some(Reason::Unavailable),
            "a refused connection is sure: {refused:?}"
        );
        etcd.restart();
        eventually("writes", || async { attempt(&store, vec![put("a", format!("{round}"))]).await.is_ok() })
            .await;
        eventually("renewals", || async { store.keep_alive(vec![lease]).await == [KeepAlive::Renewed(600)] })
            .await;
        let last = store.bookmark().await.unwrap();
        watching = Watching::start(&store, "/cse-sr/", watching.reached + 1);
        watching.until(last).await;
        assert_eq!(list(&store, "/cse-sr/b").await.unwrap().0.len(), 1);
    }
}

#[tokio::test]
async fn nobody_there_at_the_start() {
    let address = free_address().unwrap();
    let options = at([address.to_string()]);
    let refused = within("an answer", EtcdStore::connect(options)).await;
    assert!(
        matches!(&refused, Err(ConnectError::Unreachable(why)) if why.contains(&address.port().to_string()))
    );
    let silent = TcpListener::bind(free_address().unwrap()).unwrap();
    let options = EtcdOptions {
        connect_timeout: Duration::from_millis(500),
        ..at([silent.local_addr().unwrap().to_string()])
    };
    let unanswered = within("an answer", EtcdStore::connect(options)).await;
    assert!(matches!(unanswered, Err(ConnectError::Unreachable(_))), "{unanswered:?}");
    let wrong = within("an answer", EtcdStore::connect(EtcdOptions::plain([]))).await;
    assert!(matches!(wrong, Err(ConnectError::Options(_))), "{wrong:?}");
}

/// One address refuses connections or accepts them and answers nothing. The store uses the other address.
#[tokio::test]
async fn one_good_endpoint_is_enough() {
    let etcd = Etcd::start();
    let dead = free_address().unwrap();
    let silent = TcpListener::bind(free_address().unwrap()).unwrap();
    for bad in [dead, silent.local_addr().unwrap()] {
        for endpoints in [[bad.to_string(), etcd.endpoint()], [etcd.endpoint(), bad.to_string()]] {
            let store = within("a store", EtcdStore::connect(at(endpoints))).await.unwrap();
            let lease = store.grant(600).await.unwrap().id;
            for n in 0..20 {
                write(&store, vec![put(n, "x")]).await;
                assert_eq!(store.keep_alive(vec![lease]).await, [KeepAlive::Renewed(600)]);
            }
            let last = store.bookmark().await.unwrap();
            Watching::start(&store, "/cse-sr/", last).until(last).await;
            assert_eq!(list(&store, "/cse-sr/").await.unwrap().0.len(), 20);
            within("closing", store.close()).await;
        }
    }
}

/// A cluster loses a member. The store goes on, whichever member it is.
#[tokio::test]
async fn a_cluster_without_one_member() {
    let mut members = cluster(3);
    let endpoints: Vec<String> = members.iter().map(Etcd::endpoint).collect();
    let store = EtcdStore::connect(at(endpoints)).await.unwrap();
    let lease = eventually_ok("a grant", || store.grant(600)).await.id;
    let start = eventually_ok("a write", || attempt(&store, vec![put("start", "x")])).await.revision;
    let mut watching = Watching::start(&store, "/cse-sr/", start);
    for (round, member) in members.iter_mut().enumerate() {
        if round == 1 {
            member.freeze()
        } else {
            member.kill()
        }
        // The cluster may have to elect a new leader first.
        eventually("writes", || async { attempt(&store, vec![put(round, "x")]).await.is_ok() }).await;
        eventually("renewals", || async { store.keep_alive(vec![lease]).await == [KeepAlive::Renewed(600)] })
            .await;
        let last = eventually_ok("a bookmark", || store.bookmark()).await;
        eventually_watched(&store, &mut watching, last).await;
        if round == 1 { member.thaw() } else { member.restart() }
    }
    let (entries, _) = eventually_ok("a listing", || list(&store, "/cse-sr/")).await;
    assert_eq!(entries.iter().filter(|entry| entry.key.len() == 9).count(), 3);
    // Without a majority nothing is written, and every call ends.
    members[0].kill();
    members[1].kill();
    let written = within("a write", attempt(&store, vec![put("minority", "x")])).await;
    assert!(is_unknown_or_away(&written), "{written:?}");
    everything_ends(&store).await;
}

/// Watches until a revision. After each loss the watch starts again from its last revision.
async fn eventually_watched(store: &EtcdStore, watching: &mut Watching, revision: i64) {
    within("the watch", async {
        while watching.reached < revision {
            match watching.next().await {
                Ok(_) => {}
                Err(WatchError::Lost(_)) => {
                    *watching = Watching::start(store, "/cse-sr/", watching.reached + 1)
                }
                Err(WatchError::Compacted) => panic!("nothing was compacted"),
                Err(WatchError::SetBack(to)) => panic!("nothing was set back to {to}"),
                Err(WatchError::Closed) => panic!("nothing was closed"),
            }
        }
    })
    .await;
}

/// Injected: etcd is restored from a backup, so its revision is below the last one of the watch. Without a check the watch would wait
/// forever.
#[tokio::test]
async fn a_watch_of_an_etcd_that_was_set_back_says_so() {
    let mut etcd = Etcd::start();
    let store = EtcdStore::connect(at([etcd.endpoint()])).await.unwrap();
    let kept = write(&store, vec![put("kept", "x")]).await;
    etcd.back_up();
    eventually("etcd", || async { store.revision().await.is_ok() }).await;
    let mut reached = kept;
    for number in 0..20 {
        reached = write(&store, vec![put(number, "x")]).await;
    }
    Watching::start(&store, "/cse-sr/", kept).until(reached).await;
    etcd.set_back();
    let end = within("the end", async {
        loop {
            match Watching::start(&store, "/cse-sr/", reached + 1).next().await {
                Err(WatchError::Lost(_)) => {}
                end => return end,
            }
        }
    });
    let Err(WatchError::SetBack(revision)) = end.await else { panic!("it goes on") };
    assert!(kept <= revision && revision < reached, "{kept}, {revision}, {reached}");
    let (entries, listed) = list(&store, "/cse-sr/").await.unwrap();
    assert_eq!((entries.len(), listed), (1, revision));
    let next = write(&store, vec![put("next", "x")]).await;
    let events = Watching::start(&store, "/cse-sr/", listed + 1).until(next).await;
    assert_eq!(events.iter().map(event_key).collect::<Vec<_>>(), [&key("next")]);
}
