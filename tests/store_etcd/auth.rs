//! An etcd with users: the token is fetched, renewed when etcd does not know it any more, and rights are kept.

use service_center::store::etcd::{ConnectError, Credentials, EtcdOptions, EtcdStore};
use service_center::store::{KeepAlive, Op, Reason, Store, StoreError};

use crate::support::etcd::Etcd;
use crate::{
    Watching, at, attempt, eventually, key, list, put, put_leased, reason, submit, txn, within, write,
};

/// `root`, and `registry` which may do everything below `/cse-sr/`; both with password `open`.
fn guarded() -> Etcd {
    let etcd = Etcd::start();
    for command in [
        "user add root:open",
        "user grant-role root root",
        "user add registry:open",
        "role add registry",
        "role grant-permission registry --prefix=true readwrite /cse-sr/",
        "user grant-role registry registry",
        "auth enable",
    ] {
        etcd.ctl(&command.split(' ').collect::<Vec<_>>());
    }
    etcd
}

fn options(etcd: &Etcd, user: &str, password: &str) -> EtcdOptions {
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    EtcdOptions { credentials: Some(credentials), ..at([etcd.endpoint()]) }
}

async fn everything_works(store: &EtcdStore) {
    let lease = store.grant(600).await.unwrap().id;
    let written = write(store, vec![put("a", "x"), put_leased("b", lease)]).await;
    assert_eq!(within("a renewal", store.keep_alive(vec![lease])).await, [KeepAlive::Renewed(600)]);
    let bookmark = store.bookmark().await.unwrap();
    assert!(bookmark > written && store.revision().await.unwrap() >= bookmark);
    assert!(Watching::start(store, "/cse-sr/", written).until(bookmark).await.len() >= 3);
    assert_eq!(list(store, &key("b")).await.unwrap().0.len(), 1);
    assert!(store.revoke(lease).await.unwrap());
}

#[tokio::test]
async fn a_user_with_rights_below_the_root_of_the_registry() {
    let etcd = guarded();
    let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
    everything_works(&store).await;
    let foreign = Op::Put { key: "/other/a".into(), value: "x".into(), lease: None };
    let foreign = submit(&store, vec![txn(vec![foreign])]).await.remove(0);
    assert_eq!(reason(&foreign), Some(Reason::Denied), "{foreign:?}");
    let foreign = list(&store, "/other/").await;
    assert!(matches!(&foreign, Err(StoreError::Aborted { reason: Reason::Denied, .. })), "{foreign:?}");
}

#[tokio::test]
async fn the_wrong_password_and_no_password() {
    let etcd = guarded();
    let refused = EtcdStore::connect(options(&etcd, "registry", "wrong")).await;
    assert!(matches!(refused, Err(ConnectError::Denied(_))), "{refused:?}");
    let refused = EtcdStore::connect(at([etcd.endpoint()])).await;
    assert!(matches!(refused, Err(ConnectError::Denied(_))), "{refused:?}");
}

/// As etcd's own client does.
#[tokio::test]
async fn credentials_are_ignored_where_nobody_asks_for_them() {
    let etcd = Etcd::start();
    let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
    everything_works(&store).await;
}

/// Tokens live in etcd's memory: after a restart none is known. What is open goes on, what is new works.
#[tokio::test]
async fn a_token_that_etcd_forgot_is_renewed() {
    let mut etcd = guarded();
    let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
    let lease = store.grant(600).await.unwrap().id;
    let start = write(&store, vec![put_leased("kept", lease)]).await;
    let mut watching = Watching::start(&store, "/cse-sr/", start);
    watching.until(start).await;
    everything_works(&store).await;
    for _ in 0..2 {
        etcd.kill();
        etcd.restart();
        eventually("writes", || async { attempt(&store, vec![put("again", "x")]).await.is_ok() }).await;
        everything_works(&store).await;
        eventually("renewals", || async { store.keep_alive(vec![lease]).await == [KeepAlive::Renewed(600)] })
            .await;
        // The first attempt may still carry the old token.
        let last = write(&store, vec![put("last", "x")]).await;
        within("the watch", async {
            while watching.reached < last {
                if watching.next().await.is_err() {
                    watching = Watching::start(&store, "/cse-sr/", watching.reached + 1);
                }
            }
        })
        .await;
    }
}

/// A change of users makes every token old, while etcd runs.
#[tokio::test]
async fn a_change_of_rights_does_not_disturb() {
    let etcd = guarded();
    let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
    everything_works(&store).await;
    for n in 0..3 {
        etcd.ctl(&["--user=root:open", "user", "add", &format!("other{n}:open")]);
        everything_works(&store).await;
    }
}
