//! An etcd with users. The store gets a token, renews it when etcd does not know it any more, and checks its rights.

use service_center::store::etcd::{ConnectError, Credentials, EtcdOptions, EtcdStore};
use service_center::store::{KeepAlive, Op, Reason, Store, StoreError};

use crate::support::etcd::Etcd;
use crate::{
    Watching, at, attempt, connect, eventually, key, list, put, put_leased, submit, txn, within, write,
};

/// Creates the users `root` and `registry` with the password `open`. `registry` has all rights that the registry needs.
fn guarded() -> Etcd {
    guarded_with(&[
        "--prefix=true readwrite /cse-sr/",
        "--prefix=true readwrite /lock/",
        "--prefix=true readwrite /service-center/",
    ])
}

/// As above, but `registry` has these permissions.
fn guarded_with(permissions: &[&str]) -> Etcd {
    let etcd = Etcd::start();
    let run = |command: &str| drop(etcd.ctl(&command.split(' ').collect::<Vec<_>>()));
    for command in
        ["user add root:open", "user grant-role root root", "user add registry:open", "role add registry"]
    {
        run(command);
    }
    for permission in permissions {
        run(&format!("role grant-permission registry {permission}"));
    }
    run("user grant-role registry registry");
    run("auth enable");
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
    // The missing right is named also if the request needs many rights.
    let own = txn(vec![put("c", "x")]);
    let outcomes = submit(&store, vec![own.clone(), txn(vec![foreign]), own]).await;
    let denied: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    let [StoreError::Aborted { reason: Reason::Denied, message }] = denied.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert!(message.contains("permission denied") && message.contains(r#"writes "/other/a""#), "{message}");
    match list(&store, "/other/").await {
        Err(StoreError::Aborted { reason: Reason::Denied, message }) => {
            assert!(message.contains(r#"begins with "/other/""#), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// The store does not start with a part of its rights. It names the missing right, with the command that grants it.
#[tokio::test]
async fn missing_permissions_are_named_at_the_start() {
    // The user has all other rights.
    for (prefix, permissions, missing) in [
        ("/lock/", &[][..], "read /lock/, nor write /lock/:"),
        ("/lock/", &["--prefix=true read /lock/"], "may not write /lock/:"),
        ("/service-center/", &[], "read /service-center/, nor write /service-center/:"),
        ("/cse-sr/", &["--prefix=true read /cse-sr/"], "may not write /cse-sr/:"),
        ("/cse-sr/", &["--prefix=true write /cse-sr/"], "may not read /cse-sr/:"),
        ("/cse-sr/", &["--prefix=true readwrite /cse-sr/ms/"], "read /cse-sr/, nor write /cse-sr/:"),
    ] {
        let others = ["/cse-sr/", "/lock/", "/service-center/"].into_iter().filter(|other| *other != prefix);
        let others = others.map(|other| format!("--prefix=true readwrite {other}"));
        let all: Vec<String> = others.chain(permissions.iter().map(|text| (*text).to_owned())).collect();
        let permissions: Vec<&str> = all.iter().map(String::as_str).collect();
        let etcd = guarded_with(&permissions);
        match EtcdStore::connect(options(&etcd, "registry", "open")).await {
            Err(ConnectError::Denied(why)) => {
                assert!(why.starts_with(r#"user "registry" may not "#) && why.contains(missing), "{why}");
                assert!(why.contains("etcdctl role grant-permission"), "{why}");
            }
            other => panic!("{permissions:?}: {other:?}"),
        }
    }
}

/// A node that starts checks that it may delete the locks, and does not delete them.
#[tokio::test]
async fn looking_for_permissions_changes_nothing() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let lock = Op::Put { key: "/lock//dep-queue".into(), value: "another node".into(), lease: None };
    let written = attempt(&store, vec![lock, put("ms/files/", "x"), put("sys", "x")]).await.unwrap().revision;
    let other = connect(&etcd).await;
    assert_eq!(other.revision().await, Ok(written));
    let (entries, _) = list(&other, "/").await.unwrap();
    assert_eq!(entries.len(), 3);
}

/// When a permission is removed later, the operations that need it name it.
#[tokio::test]
async fn a_permission_taken_away_is_named_with_the_key() {
    let etcd = guarded();
    let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
    etcd.ctl(&["--user=root:open", "role", "revoke-permission", "registry", "--prefix=true", "/lock/"]);
    let lock = Op::Put { key: "/lock//dep-queue".into(), value: "x".into(), lease: None };
    match attempt(&store, vec![lock]).await {
        Err(StoreError::Aborted { reason: Reason::Denied, message }) => {
            assert!(message.contains(r#"writes "/lock//dep-queue""#), "{message}");
        }
        other => panic!("{other:?}"),
    }
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

/// etcd keeps tokens in memory, so it knows none after a restart. Open streams go on, and new calls succeed.
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
        // The first attempt may still use the old token.
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

/// A change of users makes every token invalid while etcd runs.
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
