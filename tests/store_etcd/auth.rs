//! An etcd with users. The store gets a token, renews it when etcd does not know it any more, and checks its rights.

use std::collections::HashSet;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use service_center::store::etcd::{ConnectError, Credentials, EtcdOptions, EtcdStore};
use service_center::store::{KeepAlive, Op, Reason, Store, StoreError};

use crate::support::etcd::{Etcd, EtcdSetup};
use crate::{
    Watching, at, attempt, connect, eventually, key, list, patient, put, put_leased, submit, txn, within,
    write,
};

/// Creates the users `root` and `registry` with the password `open`. `registry` has all rights that the registry needs.
fn guarded() -> Etcd {
    guarded_with(&PERMISSIONS)
}

const PERMISSIONS: [&str; 3] = [
    "--prefix=true readwrite /cse-sr/",
    "--prefix=true readwrite /lock/",
    "--prefix=true readwrite /service-center/",
];

/// As above, but `registry` has these permissions.
fn guarded_with(permissions: &[&str]) -> Etcd {
    let etcd = start(&[]);
    guard(&etcd, permissions);
    etcd
}

/// Guarded as by [`guarded`], by an etcd with these flags.
fn guarded_by(flags: &[&str]) -> Etcd {
    let etcd = start(flags);
    guard(&etcd, &PERMISSIONS);
    etcd
}

/// An etcd with these flags, which hashes passwords at the least cost.
fn start(flags: &[&str]) -> Etcd {
    let flags = flags.iter().chain(&["--bcrypt-cost=4"]).map(|flag| (*flag).to_owned()).collect();
    Etcd::start_with(EtcdSetup { flags, ..EtcdSetup::default() })
}

fn guard(etcd: &Etcd, permissions: &[&str]) {
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
}

/// The key of an etcd that signs its tokens (JWT), and the flag for tokens that live `seconds`.
fn signed_tokens(seconds: u32) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "only the tests of tokens sign with this key").unwrap();
    let flag = format!("--auth-token=jwt,priv-key={},sign-method=HS256,ttl={seconds}s", key.display());
    (folder, flag)
}

/// Ends every token of `registry`, by a new password that is the old one.
fn end_tokens(etcd: &Etcd) {
    let mut command =
        etcd.command(&["--user=root:open", "user", "passwd", "registry", "--interactive=false"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let mut running = command.spawn().unwrap();
    running.stdin.take().unwrap().write_all(b"open\n").unwrap();
    assert!(running.wait().unwrap().success());
}

/// How many logins etcd has seen, by `etcdctl` too.
async fn logins(etcd: &Etcd) -> usize {
    let mut page = String::new();
    let mut connection = TcpStream::connect(etcd.address()).await.unwrap();
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", etcd.address());
    connection.write_all(request.as_bytes()).await.unwrap();
    connection.read_to_string(&mut page).await.unwrap();
    let started = |line: &&str| line.starts_with("grpc_server_started_total{grpc_method=\"Authenticate\"");
    let line = page.lines().find(started).unwrap_or("0");
    line.split(' ').next_back().unwrap().parse().unwrap()
}

/// Clients that write, read and renew all the time. A request that fails ends the test.
struct Load {
    store: Arc<EtcdStore>,
    is_over: Arc<AtomicBool>,
    clients: JoinSet<usize>,
}

impl Load {
    const CLIENTS: usize = 8;

    fn start(store: &Arc<EtcdStore>) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let mut clients = JoinSet::new();
        for number in 0..Self::CLIENTS {
            let (store, is_over) = (Arc::clone(store), Arc::clone(&is_over));
            clients.spawn(async move {
                let lease = store.grant(600).await.unwrap().id;
                let mut rounds = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let written = write(&store, vec![put_leased(number, lease)]).await;
                    assert!(store.revision().await.unwrap() >= written);
                    assert_eq!(store.keep_alive(vec![lease]).await, [KeepAlive::Renewed(600)]);
                    assert_eq!(list(&store, &key(number)).await.unwrap().0.len(), 1);
                    rounds += 1;
                }
                assert!(store.revoke(lease).await.unwrap());
                rounds
            });
        }
        Self { store: Arc::clone(store), is_over, clients }
    }

    /// Every client had every request answered. A watch from `start` then shows what every client wrote.
    async fn end(self, start: i64) {
        self.is_over.store(true, Ordering::Relaxed);
        let rounds = within("the clients' last requests", self.clients.join_all()).await;
        assert!(rounds.iter().all(|count| *count > 0), "{rounds:?}");
        let last = self.store.revision().await.unwrap();
        let events = Watching::start(&self.store, "/cse-sr/", start).until(last).await;
        let keys: HashSet<_> = events.iter().map(|event| crate::event_key(event).clone()).collect();
        assert_eq!(keys.len(), Self::CLIENTS);
        assert!(events.len() > rounds.iter().sum::<usize>(), "each write and each end of a lease");
    }
}

fn options(etcd: &Etcd, user: &str, password: &str) -> EtcdOptions {
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    EtcdOptions { credentials: Some(credentials), ..patient(etcd) }
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

/// Signed tokens live a few seconds, however much they are used. No request shows it.
#[tokio::test]
async fn signed_tokens_that_end_under_load_fail_no_request() {
    let (_key, flag) = signed_tokens(2);
    let etcd = guarded_by(&[&flag]);
    let store = Arc::new(EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap());
    let start = store.revision().await.unwrap() + 1;
    let before = logins(&etcd).await;
    let load = Load::start(&store);
    eventually("four further tokens", || async { logins(&etcd).await >= before + 4 }).await;
    load.end(start).await;
}

/// A change of a password ends the user's simple tokens, and every signed token. All requests that are refused together wait
/// for one login.
#[tokio::test]
async fn changes_of_users_under_load_fail_no_request() {
    const CHANGES: usize = 5;
    let (_key, flag) = signed_tokens(600);
    for flag in ["--auth-token=simple", &flag] {
        let etcd = guarded_by(&[flag]);
        let store = Arc::new(EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap());
        let start = store.revision().await.unwrap() + 1;
        let mut watching = Watching::start(&store, "/cse-sr/", start);
        let before = logins(&etcd).await;
        let load = Load::start(&store);
        for _ in 0..CHANGES {
            let known = logins(&etcd).await;
            end_tokens(&etcd);
            // Beside the login of etcdctl.
            eventually("a new token", || async { logins(&etcd).await >= known + 2 }).await;
        }
        load.end(start).await;
        // Of etcdctl and of the store. A login that runs during a change may give a token that is old at once.
        let seen = logins(&etcd).await - before;
        assert!(seen <= CHANGES * (1 + 2), "{flag}: {seen} logins");
        // A watch that was open stays open.
        watching.until(store.revision().await.unwrap()).await;
    }
}

/// Simple tokens end when they were not used for some time. What comes then finds a new one.
#[tokio::test]
async fn simple_tokens_that_end_while_nothing_happens_fail_no_request() {
    let etcd = guarded_by(&["--auth-token-ttl=1"]);
    let store = Arc::new(EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap());
    for _ in 0..2 {
        let before = logins(&etcd).await;
        // The store looks at its nodes, less often than tokens end.
        eventually("a new token", || async { logins(&etcd).await > before }).await;
        everything_works(&store).await;
    }
    assert_eq!(store.away(), None);
}

/// The first that meets an old token is a watch. etcd 3.4 answers that a permission is missing.
#[tokio::test]
async fn a_watch_that_meets_an_old_token_is_opened_with_a_new_one() {
    let (_key, flag) = signed_tokens(600);
    for flag in ["--auth-token=simple", &flag] {
        let etcd = guarded_by(&[flag]);
        let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
        let written = write(&store, vec![put("a", "x")]).await;
        for _ in 0..3 {
            end_tokens(&etcd);
            assert_eq!(Watching::start(&store, "/cse-sr/", written).until(written).await.len(), 1);
        }
    }
}

/// The store logs in as soon as etcd asks for it.
#[tokio::test]
async fn authentication_that_is_turned_on_and_off_fails_no_request() {
    let etcd = start(&[]);
    let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
    everything_works(&store).await;
    guard(&etcd, &PERMISSIONS);
    everything_works(&store).await;
    etcd.ctl(&["--user=root:open", "auth", "disable"]);
    everything_works(&store).await;
    etcd.ctl(&["auth", "enable"]);
    everything_works(&store).await;
}

/// Some releases of etcd let every user compact, others only users with the role `root`. Each answers clearly, and the other calls go on.
#[tokio::test]
async fn a_compaction_is_done_or_denied() {
    let etcd = guarded();
    let store = EtcdStore::connect(options(&etcd, "registry", "open")).await.unwrap();
    write(&store, vec![put("a", "1")]).await;
    let revision = write(&store, vec![put("a", "2")]).await;
    let compacted = within("a compaction", store.compact(revision)).await;
    assert!(
        matches!(&compacted, Ok(true) | Err(StoreError::Aborted { reason: Reason::Denied, .. })),
        "{compacted:?}"
    );
    let from_then = etcd.try_ctl(&["--user=root:open", "get", "/cse-sr/a", "--rev=2"]);
    assert_eq!(from_then.is_err(), compacted.is_ok(), "{from_then:?}");
    write(&store, vec![put("a", "3")]).await;
}
