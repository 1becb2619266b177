//! What lies in the store after each write, races of two nodes, unknown outcomes, and failed logins.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;

use super::core::{AccountCore, AccountRules};
use super::messages::{
    ChangePassword, CreateAccount, CreateRole, DeleteAccount, DeleteRole, LoginFailed, MigrateRoles,
    PasswordChange, RemoveEndedLock, UpdateAccount, UpdateRole,
};
use super::{accounts, logins, roles};
use crate::actors::registry::messages::WriteReply;
use crate::actors::registry::rules::DependencyMode;
use crate::actors::tests::Stage;
use crate::clock::Clock;
use crate::domain::account::{Account, Role, RolePermission, RoleResource};
use crate::domain::event::Revision;
use crate::domain::quota::Quotas;
use crate::error::Code;
use crate::store::faulty::{Fault, StoreCall};
use crate::store::{Compare, Op, Store, Txn};

const NOW: u64 = 1_700_000_000;

/// Two nodes on one store, and a clock that stands still.
struct AccountScene {
    stage: Stage,
    clock: Clock,
    node: Rc<AccountCore>,
    other: Rc<AccountCore>,
}

impl AccountScene {
    async fn set() -> Self {
        Self::with(Quotas::default()).await
    }

    async fn with(quotas: Quotas) -> Self {
        let clock = Clock::manual(NOW);
        let stage = Stage::set_by(clock.clone(), DependencyMode::Direct).await;
        let [node, other] = [(); 2].map(|()| start(&stage, &clock, quotas));
        Self { stage, clock, node, other }
    }

    async fn seen<T>(&self, reply: WriteReply<T>) -> Result<T, Code> {
        match reply {
            Ok(committed) => Ok(self.stage.seen(committed).await),
            Err(error) => Err(error.code),
        }
    }

    async fn create(&self, name: &str, roles: &[&str]) -> Result<(), Code> {
        self.seen(
            accounts::create(Rc::clone(&self.node), CreateAccount { account: account(name, roles) }).await,
        )
        .await
    }

    async fn update(&self, name: &str, roles: &[&str], status: &str, by: &str) -> Result<(), Code> {
        let message = UpdateAccount {
            name: name.to_owned(),
            roles: (!roles.is_empty()).then(|| texts(roles)),
            status: Some(status.to_owned()),
            by: by.into(),
        };
        self.seen(accounts::update(Rc::clone(&self.node), message).await).await
    }

    async fn delete(&self, name: &str, by: &str) -> Result<(), Code> {
        let message = DeleteAccount { name: name.to_owned(), by: by.into() };
        self.seen(accounts::delete(Rc::clone(&self.node), message).await).await
    }

    async fn change_password(&self, name: &str, hash: &str, seen: Revision) -> Result<PasswordChange, Code> {
        let message = ChangePassword { name: name.to_owned(), hash: hash.to_owned(), seen };
        self.seen(accounts::change_password(Rc::clone(&self.node), message).await).await
    }

    async fn create_role(&self, name: &str) -> Result<(), Code> {
        self.seen(roles::create(Rc::clone(&self.node), CreateRole { role: role(name) }).await).await
    }

    async fn update_role(&self, name: &str) -> Result<(), Code> {
        let message = UpdateRole { name: name.to_owned(), permissions: role("").permissions };
        self.seen(roles::update(Rc::clone(&self.node), message).await).await
    }

    async fn delete_role(&self, name: &str) -> Result<(), Code> {
        self.seen(roles::delete(Rc::clone(&self.node), DeleteRole { name: name.to_owned() }).await).await
    }

    async fn fail(&self, node: &Rc<AccountCore>, account: &str) {
        let message = LoginFailed { account: account.to_owned(), address: "::1".to_owned() };
        self.seen(logins::failed(Rc::clone(node), message).await).await.unwrap();
    }

    /// The lock of an account for the address `::1`: status, and seconds until it ends.
    fn lock(&self, account: &str) -> Option<(String, i64)> {
        let snapshot = self.stage.reader.load();
        let lock = snapshot.access.lock(&format!("{account}::::1"))?;
        Some((lock.status.clone(), lock.release_at - i64::try_from(self.clock.unix_seconds()).unwrap()))
    }

    fn seen_account(&self, name: &str) -> (Arc<Account>, Revision) {
        self.stage.reader.load().access.account(name).cloned().unwrap()
    }

    /// All that access control has in the store: keys and values, with `*` in place of random ids.
    async fn dump(&self) -> Vec<String> {
        let prefixes = [
            "/cse-sr/accounts/",
            "/cse-sr/roles/",
            "/cse-sr/idx-role-account/",
            "/cse-sr/account-locks/",
            "/cse-sr/role-migrated",
            "/service-center/logins/",
        ];
        let mut lines = Vec::new();
        let mut pages = self.stage.store.list(&prefixes);
        while let Some(page) = pages.next().await {
            for entry in page.unwrap().entries {
                let value = std::str::from_utf8(&entry.value).unwrap();
                lines.push(format!("{} {}", entry.key, without_random_id(value)).trim_end().to_owned());
            }
        }
        lines.sort();
        lines
    }

    async fn put(&self, entries: &[(&str, &str)]) {
        let put = |(key, value): &(&str, &str)| {
            let value = Bytes::from((*value).to_owned());
            let then = vec![Op::Put { key: (*key).into(), value, lease: None }];
            Txn { compares: vec![Compare::Absent((*key).into())], then, otherwise: Vec::new() }
        };
        for outcome in self.stage.store.batch(entries.iter().map(put).collect()).await {
            assert!(outcome.unwrap().succeeded);
        }
        self.stage.count().await;
    }
}

fn start(stage: &Stage, clock: &Clock, quotas: Quotas) -> Rc<AccountCore> {
    let rules = AccountRules {
        quotas,
        release_after: Duration::from_secs(900),
        keep_attempts: Duration::from_secs(1200),
    };
    let store = Arc::new(stage.store.clone());
    AccountCore::new(store, stage.reader.clone(), stage.freshness.clone(), clock.clone(), rules)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn account(name: &str, roles: &[&str]) -> Account {
    Account {
        id: "i".to_owned(),
        name: name.to_owned(),
        password: "hash".to_owned(),
        roles: texts(roles),
        status: "active".to_owned(),
        ..Account::default()
    }
}

fn role(name: &str) -> Role {
    let labels = [("serviceName".to_owned(), "<a&b>".to_owned())].into_iter().collect();
    let resource = RoleResource { kind: "service".to_owned(), labels };
    let permission = RolePermission { resources: vec![Some(resource)], verbs: texts(&["get"]) };
    Role { name: name.to_owned(), permissions: vec![Some(permission)], ..Role::default() }
}

fn without_random_id(value: &str) -> String {
    match value.split_once("{\"id\":\"").and_then(|(_, rest)| rest.split_once('"')) {
        Some((id, rest)) if id.len() == 32 => format!("{{\"id\":\"*\"{rest}"),
        _ => value.to_owned(),
    }
}

const PERMS: &str = r#""perms":[{"resources":[{"type":"service","labels":{"serviceName":"\u003ca\u0026b\u003e"}}],"verbs":["get"]}]"#;

/// The expected bytes are written by the layout of the original's documents: there is no recorded dump of its accounts.
#[actix::test]
async fn the_store_holds_what_the_original_writes() {
    let scene = AccountScene::set().await;
    for name in ["r1", "r2"] {
        scene.create_role(name).await.unwrap();
    }
    let dropped = Account {
        role: "x".to_owned(),
        current_password: "x".to_owned(),
        create_time: "1".to_owned(),
        token_expiration_time: "30m".to_owned(),
        ..account("a", &["r1", "r2", "r1"])
    };
    let created = accounts::create(Rc::clone(&scene.node), CreateAccount { account: dropped }).await;
    scene.seen(created).await.unwrap();
    let role = |name: &str, updated: u64| {
        format!(
            r#"/cse-sr/roles/{name} {{"id":"*","name":"{name}",{PERMS},"createTime":"1700000000","updateTime":"{updated}"}}"#
        )
    };
    let account = |hash: &str, roles: &str, status: &str, updated: u64| {
        format!(
            r#"/cse-sr/accounts/a {{"id":"i","name":"a","password":"{hash}","roles":[{roles}],"tokenExpirationTime":"30m","status":"{status}","createTime":"1700000000","updateTime":"{updated}"}}"#
        )
    };
    assert_eq!(
        scene.dump().await,
        [
            account("hash", r#""r1","r2""#, "active", NOW),
            "/cse-sr/idx-role-account/r1/a".to_owned(),
            "/cse-sr/idx-role-account/r2/a".to_owned(),
            role("r1", NOW),
            role("r2", NOW),
        ]
    );
    scene.clock.advance(Duration::from_secs(5));
    scene.update("a", &["r2"], "", "root").await.unwrap();
    scene.update("a", &[], "inactive", "root").await.unwrap();
    let (_, revision) = scene.seen_account("a");
    assert_eq!(scene.change_password("a", "hash2", revision).await, Ok(PasswordChange::Done));
    scene.update_role("r1").await.unwrap();
    assert_eq!(
        scene.dump().await,
        [
            account("hash2", r#""r2""#, "inactive", NOW + 5),
            "/cse-sr/idx-role-account/r2/a".to_owned(),
            role("r1", NOW + 5),
            role("r2", NOW),
        ]
    );
    scene.delete("a", "root").await.unwrap();
    scene.delete_role("r2").await.unwrap();
    assert_eq!(scene.dump().await, [role("r1", NOW + 5)]);
}

/// Documents of an old release of the original, written by its layout: one `role`, and no key below the role.
#[actix::test]
async fn old_documents_are_read() {
    let scene = AccountScene::set().await;
    scene
        .put(&[
            ("/cse-sr/roles/r1", r#"{"id":"1","name":"r1","perms":[],"createTime":"1","updateTime":"1"}"#),
            ("/cse-sr/accounts/old", r#"{"id":"2","name":"old","password":"$2a$14$x","role":"r1"}"#),
        ])
        .await;
    let (old, revision) = scene.seen_account("old");
    assert_eq!(old.role_names().collect::<Vec<_>>(), ["r1"]);
    assert!(old.is_active());
    assert_eq!(scene.delete_role("r1").await, Err(Code::RoleInUse));
    assert_eq!(scene.change_password("old", "new", revision).await, Ok(PasswordChange::Done));
    let written = r#"{"id":"2","name":"old","password":"new","roles":["r1"],"updateTime":"1700000000"}"#;
    let lines = scene.dump().await;
    assert_eq!(lines[0], format!("/cse-sr/accounts/old {written}"));
    assert_eq!(lines[1], "/cse-sr/idx-role-account/r1/old");
    scene.delete("old", "root").await.unwrap();
    scene.delete_role("r1").await.unwrap();
    assert_eq!(scene.dump().await, [""; 0]);
}

#[actix::test]
async fn each_mistake_has_its_code() {
    let scene = AccountScene::set().await;
    scene.create_role("r").await.unwrap();
    assert_eq!(scene.create_role("r").await, Err(Code::RoleExists));
    for roles in [["no"].as_slice(), &["r", "no"], &[""], &["r/a"]] {
        assert_eq!(scene.create("a", roles).await, Err(Code::AccountHasInvalidRole), "{roles:?}");
    }
    scene.create("a", &["r"]).await.unwrap();
    assert_eq!(scene.create("a", &["r"]).await, Err(Code::AccountExists));
    assert_eq!(scene.create("a", &["no"]).await, Err(Code::AccountHasInvalidRole), "roles come first");
    scene.create("root", &["r"]).await.unwrap();
    for (name, roles, status, by, code) in [
        ("root", &["no"][..], "", "root", Code::BuiltInAccount),
        ("a", &["no"], "", "a", Code::OwnAccount),
        ("b", &["no"], "", "root", Code::AccountNotExists),
        ("a", &["no"], "", "root", Code::AccountHasInvalidRole),
        ("a", &[""], "", "root", Code::AccountHasInvalidRole),
        ("a", &[], "", "root", Code::InvalidParameters),
    ] {
        assert_eq!(scene.update(name, roles, status, by).await, Err(code), "{name} {roles:?}");
    }
    assert_eq!(scene.delete("root", "a").await, Err(Code::BuiltInAccount));
    assert_eq!(scene.delete("a", "a").await, Err(Code::OwnAccount));
    assert_eq!(scene.delete("b", "a").await, Err(Code::AccountNotExists));
    assert_eq!(scene.change_password("b", "h", 1).await, Err(Code::AccountNotExists));
    assert_eq!(scene.delete_role("r").await, Err(Code::RoleInUse));
    for built_in in ["admin", "developer"] {
        assert_eq!(scene.update_role(built_in).await, Err(Code::BuiltInRole));
        assert_eq!(scene.delete_role(built_in).await, Err(Code::BuiltInRole));
    }
    assert_eq!(scene.update_role("no").await, Err(Code::RoleNotExists));
    assert_eq!(scene.delete_role("no").await, Err(Code::RoleNotExists));
}

#[actix::test]
async fn quotas_hold_also_for_creations_at_the_same_time() {
    let scene = AccountScene::with(Quotas { accounts: 3, roles: 2, ..Quotas::default() }).await;
    let made = join_all(["r1", "r2", "r3", "r4"].map(|name| scene.create_role(name))).await;
    assert_eq!(made, [Ok(()), Ok(()), Err(Code::RoleQuota), Err(Code::RoleQuota)]);
    let made = join_all(["a", "b", "c", "d"].map(|name| scene.create(name, &["r1"]))).await;
    assert_eq!(made, [Ok(()), Ok(()), Ok(()), Err(Code::AccountQuota)]);
    // What exists from the start is always written.
    scene.create_role("admin").await.unwrap();
    scene.create("root", &["admin"]).await.unwrap();
    scene.delete("a", "root").await.unwrap();
    scene.delete("b", "root").await.unwrap();
    scene.create("d", &["r1"]).await.unwrap();
}

#[actix::test]
async fn a_changed_account_keeps_its_password_until_the_caller_has_looked_again() {
    let scene = AccountScene::set().await;
    scene.create_role("r").await.unwrap();
    scene.create("a", &["r"]).await.unwrap();
    let (_, seen) = scene.seen_account("a");
    scene.update("a", &["r"], "inactive", "root").await.unwrap();
    assert_eq!(scene.change_password("a", "new", seen).await, Ok(PasswordChange::Outdated));
    let (account, seen) = scene.seen_account("a");
    assert_eq!((account.password.as_str(), account.status.as_str()), ("hash", "inactive"));
    assert_eq!(scene.change_password("a", "new", seen).await, Ok(PasswordChange::Done));
    assert_eq!(scene.seen_account("a").0.password, "new");
}

#[actix::test]
async fn one_of_two_nodes_creates_an_account() {
    let scene = AccountScene::set().await;
    scene.create_role("r").await.unwrap();
    for round in 0..20 {
        let name = format!("a{round}");
        let create = |core: &Rc<AccountCore>, id: &str| {
            let account = Account { id: id.to_owned(), ..account(&name, &["r"]) };
            accounts::create(Rc::clone(core), CreateAccount { account })
        };
        let (first, second) = tokio::join!(create(&scene.node, "1"), create(&scene.other, "2"));
        let codes = [scene.seen(first).await, scene.seen(second).await];
        let winner = if codes[0].is_ok() { "1" } else { "2" };
        assert!(codes.contains(&Ok(())) && codes.contains(&Err(Code::AccountExists)), "{codes:?}");
        assert_eq!(scene.seen_account(&name).0.id, winner);
    }
}

#[actix::test]
async fn an_account_never_has_a_role_that_another_node_deletes() {
    let scene = AccountScene::set().await;
    let (mut taken, mut deleted) = (0, 0);
    for round in 0..20 {
        let (name, role) = (format!("a{round}"), format!("r{round}"));
        scene.create_role("base").await.ok();
        scene.create_role(&role).await.unwrap();
        scene.create(&name, &["base"]).await.unwrap();
        let take = UpdateAccount {
            name: name.clone(),
            roles: Some(vec![role.clone()]),
            status: None,
            by: "root".into(),
        };
        let take = accounts::update(Rc::clone(&scene.node), take);
        let delete = roles::delete(Rc::clone(&scene.other), DeleteRole { name: role.clone() });
        // The order in which the transactions arrive changes from round to round.
        let (take, delete) = if round % 2 == 0 {
            tokio::join!(take, delete)
        } else {
            let (delete, take) = tokio::join!(delete, take);
            (take, delete)
        };
        let codes = (scene.seen(take).await, scene.seen(delete).await);
        scene.stage.count().await;
        let snapshot = scene.stage.reader.load();
        let has_role = snapshot.access.account(&name).unwrap().0.roles.contains(&role);
        match codes {
            (Ok(()), Err(Code::RoleInUse)) => {
                assert!(has_role && snapshot.access.role(&role).is_some());
                taken += 1;
            }
            (Err(Code::AccountHasInvalidRole), Ok(())) => {
                assert!(!has_role && snapshot.access.role(&role).is_none());
                deleted += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken + deleted, 20);
}

#[actix::test]
async fn updates_of_two_nodes_both_count() {
    let scene = AccountScene::set().await;
    for name in ["r1", "r2"] {
        scene.create_role(name).await.unwrap();
    }
    scene.create("a", &["r1"]).await.unwrap();
    for round in 0..10 {
        let status = if round % 2 == 0 { "inactive" } else { "active" };
        let change = |roles: Option<&str>, status: Option<&str>| UpdateAccount {
            name: "a".to_owned(),
            roles: roles.map(|role| texts(&[role])),
            status: status.map(str::to_owned),
            by: "root".into(),
        };
        let role = if round % 2 == 0 { "r2" } else { "r1" };
        let (first, second) = tokio::join!(
            accounts::update(Rc::clone(&scene.node), change(Some(role), None)),
            accounts::update(Rc::clone(&scene.other), change(None, Some(status))),
        );
        scene.seen(first).await.unwrap();
        scene.seen(second).await.unwrap();
        let (account, _) = scene.seen_account("a");
        assert_eq!((account.roles.as_slice(), account.status.as_str()), (&[role.to_owned()][..], status));
        let index: Vec<String> =
            scene.dump().await.into_iter().filter(|line| line.contains("idx-role")).collect();
        assert_eq!(index, [format!("/cse-sr/idx-role-account/{role}/a")]);
    }
}

#[actix::test]
async fn unknown_outcomes_are_settled() {
    for fault in [Fault::UnknownDone, Fault::UnknownNotDone, Fault::UnknownLate] {
        let scene = AccountScene::set().await;
        let unsure = |before: usize| {
            let faults = (0..before).map(|_| Fault::None).chain([fault]);
            scene.stage.store.script(StoreCall::Batch, faults);
        };
        unsure(0);
        assert_eq!(scene.create_role("r").await, Ok(()), "{fault:?}");
        unsure(0);
        assert_eq!(scene.create("a", &["r"]).await, Ok(()), "{fault:?}");
        unsure(1);
        assert_eq!(scene.update("a", &["r"], "inactive", "root").await, Ok(()), "{fault:?}");
        let (_, seen) = scene.seen_account("a");
        unsure(1);
        assert_eq!(scene.change_password("a", "new", seen).await, Ok(PasswordChange::Done), "{fault:?}");
        unsure(1);
        scene.fail(&scene.node, "a").await;
        scene.fail(&scene.node, "a").await;
        assert_eq!(scene.lock("a").unwrap().0, "attempted", "{fault:?}: one failure counts once");
        unsure(1);
        assert_eq!(scene.delete("a", "root").await, Ok(()), "{fault:?}");
        unsure(1);
        assert_eq!(scene.delete_role("r").await, Ok(()), "{fault:?}");
        let left = scene.dump().await;
        assert_eq!(left.len(), 2, "the lock and its count: {left:?}");
        scene.create_role("r").await.unwrap();
        scene.create("a", &["r"]).await.unwrap();
        let before = scene.dump().await;
        // What was on its way arrives, and changes nothing.
        for outcome in scene.stage.store.finish_late().await.into_iter().flatten() {
            assert!(!outcome.unwrap().changed, "{fault:?}");
        }
        assert_eq!(scene.dump().await, before, "{fault:?}");
    }
}

#[actix::test]
async fn a_store_that_is_away_is_an_error() {
    let scene = AccountScene::set().await;
    scene.stage.store.go_away();
    assert_eq!(scene.create_role("r").await, Err(Code::Unavailable));
    let failure = LoginFailed { account: "a".to_owned(), address: "::1".to_owned() };
    let reply = logins::failed(Rc::clone(&scene.node), failure).await;
    assert_eq!(scene.seen(reply).await, Err(Code::Unavailable));
    scene.stage.store.come_back();
    assert_eq!(scene.create_role("r").await, Ok(()));
}

#[actix::test]
async fn failures_of_all_nodes_count_together_and_survive_a_restart() {
    let scene = AccountScene::set().await;
    scene.fail(&scene.node, "a").await;
    assert_eq!(scene.lock("a"), Some(("attempted".to_owned(), 1200)));
    scene.clock.advance(Duration::from_secs(10));
    scene.fail(&scene.other, "a").await;
    assert_eq!(scene.lock("a"), Some(("attempted".to_owned(), 1200)));
    let restarted = start(&scene.stage, &scene.clock, Quotas::default());
    scene.fail(&restarted, "a").await;
    assert_eq!(scene.lock("a"), Some(("banned".to_owned(), 900)));
    assert_eq!(
        scene.dump().await,
        [
            r#"/cse-sr/account-locks/a::::1 {"key":"a::::1","status":"banned","releaseAt":1700000910}"#,
            r#"/service-center/logins/a::::1 {"fullAt":1700001800}"#,
        ]
    );
    // After the ban one failure has come back.
    scene.clock.advance(Duration::from_secs(900));
    scene.fail(&scene.node, "a").await;
    assert_eq!(scene.lock("a").unwrap().0, "attempted");
    scene.fail(&scene.node, "a").await;
    assert_eq!(scene.lock("a").unwrap().0, "banned");
}

#[actix::test]
async fn failures_at_the_same_time_are_all_counted() {
    let scene = AccountScene::set().await;
    let nodes = [&scene.node, &scene.other, &scene.node, &scene.other];
    join_all(nodes.map(|node| scene.fail(node, "a"))).await;
    scene.stage.count().await;
    assert_eq!(scene.lock("a").unwrap().0, "banned");
}

#[actix::test]
async fn a_ban_of_a_node_of_the_original_stays() {
    let scene = AccountScene::set().await;
    let lock = r#"{"key":"a::::1","status":"banned","releaseAt":1700000500}"#;
    scene.put(&[("/cse-sr/account-locks/a::::1", lock)]).await;
    scene.fail(&scene.node, "a").await;
    assert_eq!(scene.lock("a"), Some(("banned".to_owned(), 500)));
}

#[actix::test]
async fn names_that_no_account_can_have_are_not_recorded() {
    let scene = AccountScene::set().await;
    for name in ["", "a b", "a/b", "-a", &"x".repeat(65)] {
        scene.fail(&scene.node, name).await;
    }
    assert_eq!(scene.dump().await, [""; 0]);
    scene.fail(&scene.node, "nobody").await;
    assert_eq!(scene.dump().await.len(), 2);
}

#[actix::test]
async fn made_up_names_do_not_fill_the_store() {
    let scene = AccountScene::set().await;
    scene.create_role("r").await.unwrap();
    scene.create("known", &["r"]).await.unwrap();
    scene.fail(&scene.node, "early").await;
    let lock = |number: usize| {
        let lock = format!(r#"{{"key":"x{number}::::1","status":"attempted","releaseAt":1700000500}}"#);
        (format!("/cse-sr/account-locks/x{number}::::1"), lock)
    };
    let locks: Vec<(String, String)> = (1..logins::MAX_LOCKS).map(lock).collect();
    for some in locks.chunks(100) {
        let some: Vec<(&str, &str)> = some.iter().map(|(key, lock)| (key.as_str(), lock.as_str())).collect();
        scene.put(&some).await;
    }
    for name in ["late", "early", "early", "known"] {
        scene.fail(&scene.node, name).await;
    }
    let statuses = ["late", "early", "known"].map(|name| scene.lock(name).map(|(status, _)| status));
    assert_eq!(statuses, [None, Some("banned".to_owned()), Some("attempted".to_owned())]);
    scene.clock.advance(Duration::from_secs(500));
    assert_eq!(logins::clean_once(&scene.node).await, Ok(logins::MAX_LOCKS - 1));
    scene.stage.count().await;
    scene.fail(&scene.node, "late").await;
    assert_eq!(scene.lock("late").unwrap().0, "attempted");
}

#[actix::test]
async fn ended_records_are_deleted() {
    let scene = AccountScene::set().await;
    scene.fail(&scene.node, "a").await;
    scene
        .put(&[("/cse-sr/account-locks/foreign", "no lock"), ("/service-center/logins/x", "no count")])
        .await;
    let key = || RemoveEndedLock { key: "a::::1".to_owned() };
    let reply = logins::remove_ended(Rc::clone(&scene.node), key()).await.unwrap();
    assert_eq!(reply.revision, None, "neither has ended");
    assert_eq!(logins::clean_once(&scene.node).await, Ok(1), "the count that cannot be read");
    // The count ends after 900 s, the lock after 1,200 s.
    scene.clock.advance(Duration::from_secs(901));
    assert_eq!(logins::clean_once(&scene.node).await, Ok(1));
    scene.clock.advance(Duration::from_secs(300));
    let reply = logins::remove_ended(Rc::clone(&scene.node), key()).await;
    scene.seen(reply).await.unwrap();
    assert_eq!(scene.lock("a"), None);
    assert_eq!(scene.dump().await, ["/cse-sr/account-locks/foreign no lock"]);
    for _ in 0..3 {
        scene.fail(&scene.node, "a").await;
    }
    scene.clock.advance(Duration::from_secs(1800));
    let both = tokio::join!(logins::clean_once(&scene.node), logins::clean_once(&scene.other));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 2, "each record is deleted once");
}

#[actix::test]
async fn roles_get_the_permission_for_config_once() {
    let scene = AccountScene::set().await;
    scene
        .put(&[
            ("/cse-sr/roles/old", r#"{"id":"1","name":"old","createTime":"1","updateTime":"1"}"#),
            ("/cse-sr/roles/odd", "no role"),
        ])
        .await;
    let migrate = async |node: &Rc<AccountCore>| {
        let reply = roles::migrate(Rc::clone(node), MigrateRoles).await;
        scene.seen(reply).await
    };
    let both = tokio::join!(migrate(&scene.node), migrate(&scene.other));
    assert_eq!(both, (Ok(()), Ok(())));
    let expected = [
        "/cse-sr/role-migrated true",
        "/cse-sr/roles/odd no role",
        r#"/cse-sr/roles/old {"id":"1","name":"old","perms":[{"resources":[{"type":"config"}],"verbs":["*"]}],"createTime":"1","updateTime":"1700000000"}"#,
    ];
    assert_eq!(scene.dump().await, expected);
    // Later roles are left as they are.
    scene.create_role("new").await.unwrap();
    let before = scene.dump().await;
    migrate(&scene.node).await.unwrap();
    assert_eq!(scene.dump().await, before);
}
