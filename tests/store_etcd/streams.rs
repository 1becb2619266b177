//! Large listings and watches, together with writers and compactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use service_center::store::{Event, Op, Store, StoreError, WatchError};

use service_center::store::etcd::EtcdStore;

use crate::fake::FakeEtcd;
use crate::support::etcd::Etcd;
use crate::{
    Watching, at, connect, event_key, event_revision, eventually, fill, key, list, put, txn, within, write,
};

/// A listing of 10,000 keys with 20 MB and some large values, while clients write. It shows one revision, and no key is missing.
#[tokio::test]
async fn a_large_listing_beside_writers() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let size = |n: usize| if n % 1_000 == 999 { 700_000 } else { 1_500 };
    let keys = |n: usize| txn(vec![put(format_args!("list/{n:05}"), vec![b'x'; size(n)])]);
    fill(&store, 1_000, (0..10_000).map(keys)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (store, stop) = (store.clone(), stop.clone());
        tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let rewrite = put(format_args!("list/{:05}", n * 37 % 9_000), "changed");
                let delete = Op::Delete(key(format_args!("list/{:05}", 9_000 + n % 900)));
                let ops = vec![rewrite, delete, put(format!("list/0{n}/new"), "x")];
                write(&store, ops).await;
            }
            n
        })
    };
    let (before, revision) = list(&store, "/cse-sr/list/").await.unwrap();
    let mut watching = Watching::start(&store, "/cse-sr/list/", revision + 1);
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
    assert!(before.iter().all(|entry| entry.mod_revision <= revision));
    assert!(before.is_sorted_by(|left, right| left.key < right.key));
    // The listing and the later events lead to the current state.
    let last = write(&store, vec![put("list/end", "x")]).await;
    let mut state: BTreeMap<_, _> = before.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
    for event in watching.until(last).await {
        match event {
            Event::Put(entry) => drop(state.insert(entry.key.clone(), entry)),
            Event::Delete { key, .. } => drop(state.remove(&key)),
        }
    }
    let (now, _) = list(&store, "/cse-sr/list/").await.unwrap();
    assert_eq!(state.len(), now.len());
    assert!(now.iter().eq(state.values()));
}

/// Values so large that a page with the usual number of keys would exceed every limit.
#[tokio::test]
async fn pages_of_megabytes() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let large = |n: usize| txn(vec![put(format_args!("{n:03}"), vec![b'x'; 1_000_000])]);
    fill(&store, 20, (0..150).map(large)).await;
    let (entries, _) = list(&store, "/cse-sr/").await.unwrap();
    assert_eq!(entries.len(), 150);
    assert!(entries.iter().all(|entry| entry.value.len() == 1_000_000));
}

/// The revision of the first page is gone before the last one is asked for.
#[tokio::test]
async fn a_listing_overtaken_by_a_compaction_says_so() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let values = |n: usize| txn(vec![put(format_args!("{n:03}"), vec![b'x'; 200_000])]);
    fill(&store, 20, (0..400).map(values)).await;
    let mut pages = store.list(&["/cse-sr/"]);
    let first = within("the first page", pages.next()).await.unwrap().unwrap();
    assert!(first.entries.len() < 400);
    let now = write(&store, vec![put("more", "x")]).await;
    etcd.ctl(&["compact", &now.to_string()]);
    let error = loop {
        match within("a page", pages.next()).await {
            Some(Ok(page)) => assert_eq!(page.revision, first.revision),
            Some(Err(error)) => break error,
            None => panic!("the listing ended as if it were whole"),
        }
    };
    assert!(
        matches!(&error, StoreError::Aborted { message, .. } if message.contains("compacted")),
        "{error:?}"
    );
    assert!(within("the end", pages.next()).await.is_none());
    assert_eq!(list(&store, "/cse-sr/").await.unwrap().0.len(), 401);
}

/// A watch that begins at an old revision gets answers of many megabytes, in fragments. Revisions are not split.
#[tokio::test]
async fn bursts_come_in_whole_revisions() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let start = write(&store, vec![put("start", "x")]).await + 1;
    let mut live = Watching::start(&store, "/cse-sr/", start);
    let mut last = 0;
    for round in 0..40 {
        let ops = (0..100).map(|n| put(format_args!("{round}/{n}"), vec![b'x'; 11_000])).collect();
        last = write(&store, ops).await;
    }
    for round in 0..300 {
        last = write(&store, vec![put(format_args!("small/{round}"), "x"), put("same", "x")]).await;
    }
    let mut late = Watching::start(&store, "/cse-sr/", start);
    for watching in [&mut live, &mut late] {
        let events = watching.until(last).await;
        assert_eq!(events.len(), 40 * 100 + 300 * 2);
        let mut revisions: BTreeMap<_, usize> = BTreeMap::new();
        for event in &events {
            *revisions.entry(event_revision(event)).or_default() += 1;
        }
        assert!(revisions.values().all(|count| *count == 100 || *count == 2), "{revisions:?}");
    }
}

/// A compaction does not affect a watch that has caught up. It ends a watch that starts before it.
#[tokio::test]
async fn compaction_under_watches() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let start = write(&store, vec![put("a", "1")]).await;
    let mut watching = Watching::start(&store, "/cse-sr/", start);
    let middle = write(&store, vec![put("a", "2")]).await;
    watching.until(middle).await;
    etcd.ctl(&["compact", &middle.to_string()]);
    let last = write(&store, vec![put("a", "3")]).await;
    assert_eq!(watching.until(last).await.len(), 1);
    let mut late = Watching::start(&store, "/cse-sr/", start);
    assert_eq!(late.next().await, Err(WatchError::Compacted));
}

/// A consumer that does not read does not delay others, and loses nothing within the bound.
#[tokio::test]
async fn a_consumer_that_pauses_gets_everything_later() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let start = write(&store, vec![put("start", "x")]).await + 1;
    let mut slow = Watching::start(&store, "/cse-sr/", start);
    let mut fast = Watching::start(&store, "/cse-sr/", start);
    let last = fill(&store, 1_000, (0..20_000).map(|n| txn(vec![put(format_args!("n/{n}"), "x")]))).await;
    assert_eq!(fast.until(last).await.len(), 20_000);
    let events = slow.until(last).await;
    assert_eq!(events.len(), 20_000);
    let distinct: std::collections::BTreeSet<_> = events.iter().map(event_key).collect();
    assert_eq!(distinct.len(), 20_000);
}

/// Nothing happens for longer than the store trusts a silent watch. The store asks etcd for signs of life and gets them, and the watch goes on.
#[tokio::test]
async fn a_quiet_watch_stays() {
    let etcd = FakeEtcd::start().await;
    let store = EtcdStore::connect(at([etcd.endpoint()])).await.unwrap();
    let mut watching = Watching::start(&store, "/cse-sr/", 1);
    {
        let quiet = eventually("signs of life", || async { etcd.signs_of_life() >= 4 });
        let mut next = std::pin::pin!(watching.next());
        tokio::select! {
            biased;
            ended = &mut next => panic!("nothing was to come: {ended:?}"),
            () = quiet => {}
        }
    }
    etcd.put("/cse-sr/a", 7);
    assert_eq!(watching.until(7).await.len(), 1);
}
