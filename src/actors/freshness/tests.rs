//! Who waits for what, and who asks the store.

#![allow(clippy::unwrap_used, reason = "tests")]

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::*;
use crate::actors::tests::{PATIENCE, eventually, store};
use crate::cache::{SnapshotBuilder, SnapshotPublisher, cell};
use crate::store::faulty::{Fault, FaultyStore, StoreCall};
use crate::store::{Op, Reason, Txn};

struct Scene {
    store: FaultyStore,
    publisher: SnapshotPublisher,
    reader: SnapshotReader,
    freshness: Freshness,
}

impl Scene {
    fn set() -> Self {
        let store = store();
        let (publisher, reader) = cell::cell();
        let freshness = Freshness::new(Arc::new(store.clone()), reader.clone());
        Self { store, publisher, reader, freshness }
    }

    /// A write outside the snapshot's knowledge; its revision.
    async fn write(&self) -> Revision {
        let put = Op::Put { key: "/cse-sr/x".into(), value: "v".into(), lease: None };
        let outcomes = self.store.batch(vec![Txn { then: vec![put], ..Txn::default() }]).await;
        outcomes.first().unwrap().as_ref().unwrap().revision
    }

    fn publish(&self, revision: Revision) {
        self.publisher.publish(SnapshotBuilder::default().publish(revision).0);
    }
}

/// From now on time is not the machine's: it stands still while anything can go on, and then moves to the next deadline.
fn time_passes_when_all_wait() {
    tokio::time::pause();
}

#[actix::test]
async fn it_returns_when_the_snapshot_holds_what_was_committed_before() {
    let scene = Scene::set();
    let revision = scene.write().await;
    scene.publish(revision - 1);
    let caught_up = actix::spawn({
        let (freshness, reader) = (scene.freshness.clone(), scene.reader.clone());
        async move { (freshness.try_catch_up().await, reader.load().revision) }
    });
    eventually("the look-up", || scene.store.begun(StoreCall::Revision) == 1).await;
    scene.publish(revision);
    assert_eq!(caught_up.await.unwrap(), (Ok(()), revision));
    assert_eq!(scene.freshness.try_catch_up().await, Ok(()));
}

#[actix::test]
async fn a_store_that_does_not_answer_leaves_the_snapshot_as_it_is() {
    let scene = Scene::set();
    time_passes_when_all_wait();
    scene.store.script(StoreCall::Revision, [Fault::Refused(Reason::Unavailable)]);
    assert_eq!(scene.freshness.try_catch_up().await, Err(Behind));
    scene.store.shut(StoreCall::Revision);
    assert_eq!(scene.freshness.try_catch_up().await, Err(Behind), "the limit is over");
}

#[actix::test]
async fn who_comes_while_one_is_on_its_way_shares_the_next() {
    let scene = Scene::set();
    scene.publish(1_000);
    scene.store.shut(StoreCall::Revision);
    let first = actix::spawn({
        let freshness = scene.freshness.clone();
        async move { freshness.try_catch_up().await.is_ok() }
    });
    eventually("the first look-up", || scene.store.begun(StoreCall::Revision) == 1).await;
    let others: Vec<_> = (0..50)
        .map(|_| {
            let freshness = scene.freshness.clone();
            actix::spawn(async move { freshness.try_catch_up().await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    scene.store.open(StoreCall::Revision);
    assert!(first.await.unwrap());
    assert!(join_all(others).await.into_iter().all(|other| other.unwrap()));
    assert_eq!(scene.store.begun(StoreCall::Revision), 2);
}

#[actix::test]
async fn a_look_up_given_up_half_way_serves_nobody() {
    let scene = Scene::set();
    scene.publish(1_000);
    scene.store.shut(StoreCall::Revision);
    let first = actix::spawn({
        let freshness = scene.freshness.clone();
        async move { freshness.try_catch_up().await.is_ok() }
    });
    eventually("the first look-up", || scene.store.begun(StoreCall::Revision) == 1).await;
    let others: Vec<_> = (0..3)
        .map(|_| {
            let freshness = scene.freshness.clone();
            actix::spawn(async move { freshness.try_catch_up().await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    // The first ends; the one whose turn comes is given up; those behind it ask for themselves.
    scene.store.let_through(StoreCall::Revision, 1);
    assert!(first.await.unwrap());
    eventually("the second look-up", || scene.store.begun(StoreCall::Revision) == 2).await;
    let mut others = others.into_iter();
    others.next().unwrap().abort();
    eventually("a third look-up", || scene.store.begun(StoreCall::Revision) == 3).await;
    scene.store.open(StoreCall::Revision);
    for other in others {
        assert!(other.await.unwrap(), "it was served by a look-up that was given up");
    }
}

#[actix::test]
async fn a_revision_that_never_comes_is_gone_round_by_one_bookmark_for_all() {
    let scene = Scene::set();
    scene.write().await;
    scene.publish(0);
    scene.store.shut(StoreCall::Bookmark);
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let freshness = scene.freshness.clone();
            actix::spawn(async move { freshness.try_catch_up().await.is_ok() })
        })
        .collect();
    eventually("a bookmark", || scene.store.begun(StoreCall::Bookmark) == 1).await;
    scene.store.open(StoreCall::Bookmark);
    let publish = actix::spawn({
        let store = scene.store.clone();
        async move { store.bookmark().await.unwrap() }
    });
    let bookmark = tokio::time::timeout(PATIENCE, publish).await.unwrap().unwrap();
    scene.publish(bookmark);
    assert!(join_all(callers).await.into_iter().all(|caller| caller.unwrap()));
    assert!(scene.store.begun(StoreCall::Bookmark) <= 4, "{}", scene.store.begun(StoreCall::Bookmark));
}

#[actix::test]
async fn no_bookmark_no_certainty() {
    let scene = Scene::set();
    scene.write().await;
    scene.publish(0);
    scene.store.script(StoreCall::Bookmark, [Fault::UnknownDone]);
    assert_eq!(scene.freshness.try_catch_up().await, Err(Behind));
}

#[actix::test]
async fn a_silent_store_keeps_reads_waiting_once_and_is_asked_by_one() {
    let scene = Scene::set();
    time_passes_when_all_wait();
    scene.publish(1_000);
    scene.store.shut(StoreCall::Revision);
    assert_eq!(scene.freshness.try_catch_up().await, Err(Behind));
    eventually("a probe", || scene.store.begun(StoreCall::Revision) == 2).await;
    for _ in 0..1_000 {
        assert_eq!(scene.freshness.catch_up().now_or_never(), Some(()), "it is known that nobody answers");
    }
    assert_eq!(scene.freshness.try_catch_up().await, Err(Behind), "who must be sure learns it at once, too");
    assert_eq!(scene.store.begun(StoreCall::Revision), 2, "nobody but the probe has asked");
    tokio::time::sleep(PROBE_PAUSE + SURE_LIMIT).await;
    assert_eq!(scene.store.begun(StoreCall::Revision), 3, "the probe asks again");
    scene.store.open(StoreCall::Revision);
    tokio::time::sleep(PROBE_PAUSE + SURE_LIMIT).await;
    assert_eq!(scene.store.begun(StoreCall::Revision), 3, "it was answered, and is the last");
    scene.freshness.catch_up().await;
    assert_eq!(scene.store.begun(StoreCall::Revision), 4, "reads ask the store again");
}

#[actix::test]
async fn a_store_that_refuses_is_asked_each_time() {
    let scene = Scene::set();
    scene.publish(1_000);
    scene.store.script(StoreCall::Revision, [Fault::Refused(Reason::Unavailable)]);
    scene.freshness.catch_up().await;
    scene.freshness.catch_up().await;
    assert_eq!(scene.store.begun(StoreCall::Revision), 2);
}
