//! The actor on a store in memory whose watch loses events.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;

use super::*;
use crate::actors::lifeline::Lifelines;
use crate::actors::registry::rules::DependencyMode;
use crate::actors::tests::{PATIENCE, Stage, eventually, tenant};
use crate::alarm::Alarm;
use crate::store::faulty::{Fault, StoreCall};
use crate::store::keys;
use crate::store::{Op, Reason, Txn};

struct Scene {
    stage: Stage,
    scrub: Mailbox<ScrubActor>,
    alarms: Alarms,
    clock: Clock,
}

impl Scene {
    async fn set(period: Option<Duration>) -> Self {
        Self::on(Stage::set().await, period)
    }

    /// What is held stays held, however slow the machine is.
    async fn set_outside_time() -> Self {
        Self::on(Stage::set_by(Clock::manual(1_790_000_000), DependencyMode::Direct).await, None)
    }

    fn on(stage: Stage, period: Option<Duration>) -> Self {
        let (alarms, clock) = (Alarms::default(), Clock::system());
        let parts = ScrubParts {
            store: Arc::new(stage.store.clone()),
            reader: stage.reader.clone(),
            freshness: stage.freshness.clone(),
            watch: stage.watch.clone(),
            alarms: alarms.clone(),
            clock: clock.clone(),
            period,
        };
        let lifelines = Lifelines::default();
        lifelines.release();
        let scrub = Mailbox::start_here(&lifelines, || ScrubActor::new(parts));
        Self { stage, scrub, alarms, clock }
    }

    async fn compare(&self) -> Result<ComparedPage, Error> {
        self.compare_from(None, 200).await
    }

    async fn compare_from(&self, after: Option<PlaceInReport>, limit: usize) -> Result<ComparedPage, Error> {
        ask(&self.scrub, Compare { after, limit }, PATIENCE).await.unwrap()
    }

    /// Registers instances that this node learns of by a listing. So it does not know that their leases have time left, and takes the
    /// ends of these leases for expiries. Returns the leases.
    async fn listed(&self, ids: &[&str]) -> Vec<i64> {
        let Stage { store, reader, .. } = &self.stage;
        let (listing, lists) = (reader.load().listing, store.begun(StoreCall::List));
        store.shut(StoreCall::List);
        store.end_watches(crate::store::WatchError::Compacted);
        eventually("it lists again", || store.begun(StoreCall::List) > lists).await;
        for id in ids {
            self.stage.register(id).await.unwrap();
        }
        store.open(StoreCall::List);
        eventually("it has listed again", || reader.load().listing > listing).await;
        let lease = |id: &&str| self.stage.entry(id)?.lease.as_ref().map(|mark| mark.lease());
        ids.iter().filter_map(lease).collect()
    }

    /// Makes the watch lose the events of all keys that contain one of these texts, while `writing` runs.
    async fn losing(&self, parts: &'static [&'static str], writing: impl Future<Output = ()>) {
        self.stage.store.lose_events(move |key| parts.iter().any(|part| key.contains(part)));
        let before = self.stage.store.lost_events();
        writing.await;
        eventually("events are lost", || self.stage.store.lost_events() > before).await;
        // Something that is not lost comes after all of them.
        let put = Op::Put { key: keys::domain("later"), value: "".into(), lease: None };
        self.stage
            .store
            .inner()
            .batch(vec![Txn { then: vec![put], ..Txn::default() }])
            .await
            .remove(0)
            .unwrap();
        self.stage.count().await;
        self.stage.store.lose_nothing();
    }

    fn alarm(&self) -> Option<Alarm> {
        self.alarms.list(self.clock.monotonic()).pop()
    }

    fn kinds(page: &ComparedPage) -> Vec<(DifferenceKind, String)> {
        let key = |difference: &Difference| {
            let parts: Vec<&str> = difference.key.split('/').collect();
            format!("{}/{}", parts[3], parts.last().unwrap())
        };
        page.differences.iter().map(|difference| (difference.kind, key(difference))).collect()
    }
}

#[actix::test]
async fn nothing_differs_while_all_is_well() {
    let scene = Scene::set(None).await;
    for id in ["a", "b"] {
        scene.stage.registered(id).await;
    }
    scene.stage.unregister("b").await.unwrap();
    let page = scene.compare().await.unwrap();
    assert_eq!((page.total, page.differences.len(), page.next), (0, 0, None));
    // The service, its name, an instance with its lease, the domain and the project.
    assert!(page.compared >= 6, "{}", page.compared);
    assert_eq!(page.revision, scene.stage.reader.load().revision);
    assert_eq!(scene.alarm(), None);
}

/// Lost: a registration, a change, and a goodbye.
#[actix::test]
async fn what_the_watch_has_lost_is_found_and_repaired() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    for id in ["changed", "gone", "stays"] {
        stage.registered(id).await;
    }
    let before = stage.reader.load_full();
    scene
        .losing(&["/inst/"], async {
            stage.register("new").await.unwrap();
            stage.register_on("changed", "elsewhere").await.unwrap();
            let key = |id: &str| keys::instance(&tenant(), stage.service.as_str(), id);
            let lease = keys::lease(&tenant(), stage.service.as_str(), "gone");
            let then = vec![Op::Delete(lease), Op::Delete(key("gone"))];
            stage.store.inner().batch(vec![Txn { then, ..Txn::default() }]).await.remove(0).unwrap();
        })
        .await;
    assert!(stage.entry("new").is_none() && stage.entry("gone").is_some());
    let (found, repairs) = (metrics::SNAPSHOT_DIFFERENCES.value(), metrics::SNAPSHOT_REPAIRS.value());
    let page = scene.compare().await.unwrap();
    use DifferenceKind::{Different, OnlyHere, OnlyThere};
    let expected = [
        (Different, "files/changed"),
        (OnlyHere, "files/gone"),
        (OnlyThere, "files/new"),
        (OnlyHere, "leases/gone"),
        (OnlyThere, "leases/new"),
    ];
    assert_eq!(Scene::kinds(&page), expected.map(|(kind, key)| (kind, key.to_owned())));
    let changed = &page.differences[0];
    assert!(changed.here < changed.there && changed.here <= Some(before.revision), "{changed:?}");
    assert_eq!((page.total, page.repaired), (5, 5));
    assert!(stage.entry("gone").is_none() && stage.entry("new").unwrap().lease.is_some());
    assert_eq!(stage.document("changed").host_name, "elsewhere");
    assert!(metrics::SNAPSHOT_DIFFERENCES.value() >= found + 5);
    assert!(metrics::SNAPSHOT_REPAIRS.value() >= repairs + 5);
    let alarm = scene.alarm().unwrap();
    assert!(!alarm.is_active && alarm.detail.contains("5 entries"), "{alarm:?}");
    assert_eq!(scene.compare().await.unwrap().total, 0);
}

/// Lost: parts of a service, the whole service, and entries that belong to no service.
#[actix::test]
async fn all_trees_are_compared() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    let put = |key: &str, value: String| Op::Put { key: key.into(), value: value.into(), lease: None };
    let document = |id: &str, name: &str| {
        format!(
            "{{\"serviceId\":\"{id}\",\"appId\":\"default\",\"serviceName\":\"{name}\",\"version\":\"1\"}}"
        )
    };
    let rule = "{\"Dependency\":[]}".to_owned();
    let account = "{\"name\":\"a\",\"roles\":[\"r\"]}".to_owned();
    let entries = [
        ("/cse-sr/ms/files/default/default/other", document("other", "other")),
        ("/cse-sr/ms/indexes/default/default//default/other/1", "other".to_owned()),
        ("/cse-sr/ms/alias/default/default//default/nick/1", "other".to_owned()),
        ("/cse-sr/ms/tags/default/default/other", "{\"a\":\"b\"}".to_owned()),
        ("/cse-sr/ms/schema-ref/default/default/other/x", "hash".to_owned()),
        ("/cse-sr/ms/schema-sum/default/default/other/x", "sum".to_owned()),
        ("/cse-sr/ms/dep-rules/default/default/c//default/other/1", rule.clone()),
        ("/cse-sr/ms/dep-rules/default/default/p//default/other/0.0.0+", rule),
        ("/cse-sr/inst/overrides/default/default/other/i", String::new()),
        ("/cse-sr/domains/d9", String::new()),
        ("/cse-sr/projects/d9/p9", String::new()),
        ("/cse-sr/accounts/a", account),
        ("/cse-sr/roles/r", "{\"name\":\"r\"}".to_owned()),
        ("/cse-sr/account-locks/a::b", "{\"key\":\"a::b\",\"status\":\"banned\"}".to_owned()),
    ];
    let mut expected: Vec<String> = entries.iter().map(|(key, _)| (*key).to_owned()).collect();
    expected.sort();
    let write = |then: Vec<Op>| async move {
        stage.store.inner().batch(vec![Txn { then, ..Txn::default() }]).await.remove(0).unwrap();
    };
    const ALL: &[&str] = &["other", "nick", "d9", "accounts", "roles", "account-locks"];
    for (writes, kind) in [
        (
            entries.iter().map(|(key, value)| put(key, value.clone())).collect::<Vec<_>>(),
            DifferenceKind::OnlyThere,
        ),
        (entries.iter().map(|(key, _)| Op::Delete((*key).into())).collect(), DifferenceKind::OnlyHere),
    ] {
        scene.losing(ALL, write(writes)).await;
        let page = scene.compare().await.unwrap();
        assert!(page.differences.iter().all(|difference| difference.kind == kind), "{page:?}");
        let found: Vec<&str> = page.differences.iter().map(|difference| &*difference.key).collect();
        assert_eq!(found, expected);
        assert_eq!((page.repaired, scene.compare().await.unwrap().total), (expected.len(), 0));
    }
    let snapshot = stage.reader.load();
    assert!(snapshot.access.account("a").is_none() && !snapshot.domains.contains("d9"));
}

#[actix::test]
async fn a_held_expiry_is_no_difference() {
    let scene = Scene::set_outside_time().await;
    let Scene { stage, .. } = &scene;
    let leases = scene.listed(&["a"]).await;
    // As an expiry: the document goes before the lease.
    stage.store.inner().revoke(crate::store::LeaseId(leases[0])).await.unwrap();
    eventually("the expiry is held", || stage.reader.load().held_count() == 1).await;
    assert_eq!(scene.compare().await.unwrap().total, 0);
    assert!(stage.entry("a").is_some());
}

/// Without anybody who asks, within a period. The paused time passes as soon as nothing else is to do.
#[actix::test]
async fn a_difference_is_found_and_repaired_within_a_period() {
    let scene = Scene::set(Some(Duration::from_secs(1))).await;
    let Scene { stage, .. } = &scene;
    stage.registered("a").await;
    scene.losing(&["/inst/"], async { drop(stage.register("b").await.unwrap()) }).await;
    eventually("the instance is shown", || stage.entry("b").is_some()).await;
    eventually("the alarm is over", || scene.alarm().is_some_and(|alarm| !alarm.is_active)).await;
}

#[actix::test]
async fn a_wish_does_not_wait_for_the_period() {
    let scene = Scene::set(Some(Duration::from_secs(3600))).await;
    let Scene { stage, .. } = &scene;
    scene.losing(&["/inst/"], async { drop(stage.register("b").await.unwrap()) }).await;
    tell(&scene.scrub, CompareNow).unwrap();
    eventually("the instance is shown", || stage.entry("b").is_some()).await;
}

/// If nothing comes any more, not even a bookmark, nothing can be compared. Then the store is listed again.
#[actix::test]
async fn a_watch_that_brings_nothing_is_replaced() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    stage.store.lose_events(|_| true);
    stage.register("b").await.unwrap();
    let listing = stage.reader.load().listing;
    assert_eq!(scene.compare().await.unwrap_err().code, Code::Unavailable);
    eventually("it is listed again", || stage.reader.load().listing > listing).await;
    stage.store.lose_nothing();
    assert!(stage.entry("b").is_some());
    assert_eq!(scene.compare().await.unwrap().total, 0);
}

/// A listing does not know that instances have expired.
#[actix::test]
async fn what_is_held_is_not_dropped_by_a_listing() {
    let scene = Scene::set_outside_time().await;
    let Scene { stage, .. } = &scene;
    for lease in scene.listed(&["a", "b", "c", "d", "e", "f"]).await {
        stage.store.inner().revoke(crate::store::LeaseId(lease)).await.unwrap();
    }
    eventually("the expiries are held", || stage.reader.load().held_count() == 6).await;
    // A watch that has brought something is ended at once.
    let listing = stage.reader.load().listing;
    tell(&stage.watch, ListAgain).unwrap();
    eventually("it is listed again", || stage.reader.load().listing > listing).await;
    assert_eq!(stage.reader.load().held_count(), 6);
    stage.registered("later").await;
    assert!(stage.entry("a").is_some() && stage.entry("f").is_some());
    assert_eq!(scene.compare().await.unwrap().total, 0);
}

/// The snapshot does not reach the revision of the store, but the watch works.
#[actix::test]
async fn a_watch_that_is_late_is_not_replaced() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    let (listing, bookmarks) = (stage.reader.load().listing, stage.store.begun(StoreCall::Bookmark));
    stage.store.shut(StoreCall::Bookmark);
    stage.store.lose_events(|key| key.contains("/lost"));
    stage.register("lost1").await.unwrap();
    let writing = async {
        eventually("it has to wait", || stage.store.begun(StoreCall::Bookmark) > bookmarks).await;
        stage.registered("comes").await;
        stage.register("lost2").await.unwrap();
    };
    let (compared, ()) = futures_util::future::join(scene.compare(), writing).await;
    assert_eq!(compared.unwrap_err().code, Code::Unavailable);
    stage.store.lose_nothing();
    stage.store.open(StoreCall::Bookmark);
    // Something that is not lost comes after what was.
    stage.registered("last").await;
    assert_eq!(scene.compare().await.unwrap().repaired, 4);
    assert_eq!(stage.reader.load().listing, listing);
}

/// The second repair no longer notes events about the keys of the first one.
#[actix::test]
async fn a_repair_takes_the_place_of_the_one_before() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    stage.registered("a").await;
    let keys = vec![keys::instance(&tenant(), stage.service.as_str(), "a")];
    let begun = stage.store.begun(StoreCall::Batch);
    stage.store.shut(StoreCall::Batch);
    let repair = |keys: Vec<Key>| ask(&stage.watch, RepairKeys(keys), PATIENCE);
    let opening = async {
        eventually("both read", || stage.store.begun(StoreCall::Batch) >= begun + 2).await;
        stage.store.open(StoreCall::Batch);
    };
    let (first, second, ()) = futures_util::future::join3(repair(keys.clone()), repair(keys), opening).await;
    assert_eq!(first.unwrap().unwrap_err().code, Code::Unavailable);
    assert_eq!(second.unwrap().unwrap(), 1);
}

#[actix::test]
async fn pages_are_those_of_one_comparison() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    scene
        .losing(&["/inst/"], async {
            for id in ["a", "b", "c"] {
                stage.register(id).await.unwrap();
            }
        })
        .await;
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = scene.compare_from(after, 4).await.unwrap();
        assert_eq!((page.total, page.repaired), (6, 6));
        found.extend(page.differences.iter().map(|difference| Key::clone(&difference.key)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(found.len() == 6 && found.is_sorted(), "{found:?}");
    let last = PlaceInReport { comparison: 1, index: 4 };
    assert_eq!(scene.compare().await.unwrap().total, 0);
    let anew = scene.compare_from(Some(last), 4).await.unwrap();
    assert_eq!(anew.total, 0, "the place is that of an older comparison");
}

/// An instance that changes all the time never differs twice in the same way.
/// Three ask while a comparison runs. It has read a part of the store before they asked, so the next one answers them: one for all three.
#[actix::test]
async fn those_who_wait_share_one_comparison() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    stage.registered("a").await;
    let lists = stage.store.begun(StoreCall::List);
    stage.store.shut(StoreCall::List);
    let first = scene.compare();
    let others = async {
        eventually("the first one reads", || stage.store.begun(StoreCall::List) > lists).await;
        let asked = futures_util::future::join_all((0..3).map(|_| scene.compare()));
        let open = async {
            // The actor answers this from its last report, after it has taken the others.
            scene.compare_from(Some(PlaceInReport { comparison: 0, index: 0 }), 1).await.unwrap();
            stage.store.open(StoreCall::List);
        };
        futures_util::future::join(asked, open).await.0
    };
    let (first, others) = futures_util::future::join(first, others).await;
    assert!(others.into_iter().chain([first]).all(|page| page.unwrap().total == 0));
    let trees = keys::READ_MODEL.len();
    assert_eq!(stage.store.begun(StoreCall::List) - lists, 2 * trees, "each comparison reads each tree once");
}

#[actix::test]
async fn what_is_just_changing_does_not_count() {
    let scene = Scene::set(None).await;
    let Scene { stage, .. } = &scene;
    stage.registered("a").await;
    let is_over = Cell::new(false);
    let changing = async {
        let mut number = 0;
        while !is_over.get() {
            number += 1;
            stage.register_on("a", &format!("host{number}")).await.unwrap();
            stage.register(&format!("b{}", number % 5)).await.unwrap();
            stage.unregister(&format!("b{}", number % 5)).await.unwrap();
        }
        number
    };
    let comparing = async {
        for _ in 0..20 {
            assert_eq!(scene.compare().await.unwrap().total, 0);
        }
        is_over.set(true);
    };
    let (changes, ()) = futures_util::future::join(changing, comparing).await;
    assert!(changes > 3, "{changes}");
}

#[actix::test]
async fn a_store_that_does_not_answer_ends_the_comparison() {
    let scene = Scene::set(None).await;
    scene.stage.store.script(StoreCall::List, [Fault::Refused(Reason::Unavailable)]);
    assert_eq!(scene.compare().await.unwrap_err().code, Code::Unavailable);
    assert_eq!(scene.compare().await.unwrap().total, 0);
}
