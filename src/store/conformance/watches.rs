//! Cases about watching.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    StoreUnderTest, Watching, area, brief, commit, event_key, event_revision, key, list_all, put,
    unconditional, within, write,
};
use crate::store::port::{Event, Key, Op, Revision, WatchError};

/// Past revisions come first, then the live ones.
pub async fn from_the_past(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (a, b) = (key(&area, "a"), key(&area, "b"));
    write(store, vec![put(&a, "0")]).await;
    let first = write(store, vec![put(&a, "1")]).await.revision;
    write(store, vec![put(&b, "1")]).await;
    let deleted = write(store, vec![Op::Delete(a.clone())]).await.revision;
    let mut watching = Watching::start(store, &area, first);
    let past = watching.events_until(deleted).await;
    assert_eq!(brief(&area, &past), ["+a", "+b", "-a"]);
    let Event::Put(entry) = &past[0] else { panic!("the first is a put: {past:?}") };
    assert_eq!((entry.value.as_ref(), entry.version, entry.mod_revision), (&b"1"[..], 2, first));
    assert_eq!(past[2], Event::Delete { key: a.clone(), revision: deleted });
    let live = write(store, vec![put(&a, "2")]).await.revision;
    let events = watching.events_until(live).await;
    assert_eq!(brief(&area, &events), ["+a"]);
    let Event::Put(entry) = &events[0] else { panic!("a put: {events:?}") };
    assert_eq!((entry.version, entry.create_revision), (1, live), "created anew");
}

/// Events below the requested revision do not come.
pub async fn from_the_future(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let a = key(&area, "a");
    let now = write(store, vec![put(&a, "0")]).await.revision;
    let from = now + 3;
    let mut watching = Watching::start(store, &area, from);
    let mut last = now;
    for n in 1..40 {
        last = write(store, vec![put(&a, n.to_string())]).await.revision;
    }
    let events = watching.events_until(last).await;
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event_revision(event) >= from), "only from {from} on: {events:?}");
}

/// History is bounded: the watcher learns that it must list again.
pub async fn from_a_compacted_revision(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let a = key(&area, "a");
    let first = write(store, vec![put(&a, "1")]).await.revision;
    let second = write(store, vec![put(&a, "2")]).await.revision;
    (subject.forget)(second).await;
    let mut watching = Watching::start(store, &area, first);
    assert_eq!(watching.next().await, Err(WatchError::Compacted), "revision {first} is no longer kept");
    let (entries, revision) = list_all(store, &area).await;
    assert_eq!(entries.len(), 1);
    let mut again = Watching::start(store, &area, revision + 1);
    let third = write(store, vec![put(&a, "3")]).await.revision;
    assert_eq!(
        brief(&area, &again.events_until(third).await),
        ["+a"],
        "after a new listing the watch goes on"
    );
}

/// A compaction ends no watch that is not behind it, and no key is lost. A second one finds nothing to do.
pub async fn a_compaction_keeps_what_is_current(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (a, b) = (key(&area, "a"), key(&area, "b"));
    write(store, vec![put(&b, "1")]).await;
    let mut current = Watching::start(store, &area, write(store, vec![put(&a, "1")]).await.revision + 1);
    let compacted = write(store, vec![put(&a, "2")]).await.revision;
    within("a compaction", store.compact(compacted)).await.expect("a compaction");
    let again = within("a compaction", store.compact(compacted)).await;
    assert_eq!(again, Ok(false), "the history is compacted as far already");
    let before = within("a compaction", store.compact(compacted - 1)).await;
    assert_eq!(before, Ok(false), "the history is compacted farther already");
    let mut late = Watching::start(store, &area, compacted + 1);
    let last = write(store, vec![put(&a, "3")]).await.revision;
    assert_eq!(brief(&area, &current.events_until(last).await), ["+a", "+a"]);
    assert_eq!(brief(&area, &late.events_until(last).await), ["+a"]);
    let (entries, _) = list_all(store, &area).await;
    let values: Vec<&[u8]> = entries.iter().map(|entry| entry.value.as_ref()).collect();
    assert_eq!(values, [&b"3"[..], b"1"]);
}

/// The prefix is text, as in a listing.
pub async fn only_the_prefix(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let all = ["a", "b", "b/c", "bc", "c"];
    let start = write(store, all.iter().map(|name| put(&key(&area, name), "x")).collect()).await.revision;
    let last =
        write(store, vec![Op::DeletePrefix(key(&area, "")), put(&key("/elsewhere-conformance/", "x"), "x")])
            .await
            .revision;
    let mut watching = Watching::start(store, &format!("{area}b"), start);
    let events = watching.events_until(last).await;
    assert_eq!(brief(&area, &events), ["+b", "+b/c", "+bc", "-b", "-b/c", "-bc"]);
}

/// Neither small revisions nor large ones. Each batch ends with a whole revision.
pub async fn whole_revisions_are_never_split(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let start = store.revision().await.expect("a revision") + 1;
    let mut expected: BTreeMap<Revision, usize> = BTreeMap::new();
    let mut live = Watching::start(store, &area, start);
    for round in 0..30 {
        let keys = (0..100).map(|n| put(&key(&area, format_args!("{round:02}/{n:03}")), vec![b'x'; 100]));
        expected.insert(write(store, keys.collect()).await.revision, 100);
    }
    let large = (0..100).map(|n| put(&key(&area, format_args!("large/{n:03}")), vec![b'x'; 12_000]));
    expected.insert(write(store, large.collect()).await.revision, 100);
    let last = write(store, vec![Op::DeletePrefix(key(&area, ""))]).await.revision;
    expected.insert(last, 3_100);
    let mut past = Watching::start(store, &area, start);
    for watching in [&mut live, &mut past] {
        let mut seen = BTreeMap::new();
        for batch in watching.batches_until(last).await {
            let mut counts: BTreeMap<Revision, usize> = BTreeMap::new();
            for event in &batch.events {
                *counts.entry(event_revision(event)).or_default() += 1;
            }
            for (revision, count) in counts {
                assert!(seen.insert(revision, count).is_none(), "revision {revision} came in two batches");
            }
        }
        assert_eq!(seen, expected, "all events of each revision at once");
    }
}

/// For example, an unregistration deletes `inst/leases/…` first.
pub async fn deletions_come_in_the_order_given(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let order = ["inst/leases/x", "z", "inst/files/x", "a", "y"];
    let keys: Vec<Key> = order.iter().map(|name| key(&area, name)).collect();
    let start = write(store, keys.iter().map(|key| put(key, "x")).collect()).await.revision;
    let last = write(store, keys.iter().cloned().map(Op::Delete).collect()).await.revision;
    let mut watching = Watching::start(store, &area, start);
    let expected: Vec<String> =
        ["+", "-"].iter().flat_map(|sign| order.iter().map(move |name| format!("{sign}{name}"))).collect();
    assert_eq!(brief(&area, &watching.events_until(last).await), expected);
}

pub async fn a_prefix_deletion_comes_in_key_order(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let order = ["b", "c/d", "a", "c", "c-d"];
    let start = write(store, order.iter().map(|name| put(&key(&area, name), "x")).collect()).await.revision;
    let last = write(store, vec![Op::DeletePrefix(key(&area, ""))]).await.revision;
    let mut watching = Watching::start(store, &area, start + 1);
    assert_eq!(brief(&area, &watching.events_until(last).await), ["-a", "-b", "-c", "-c-d", "-c/d"]);
}

pub async fn everything_exactly_once_beside_eight_writers(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let start = store.revision().await.expect("a revision") + 1;
    let mut early = Watching::start(store, &area, start);
    let writers = (0..8).map(|writer| {
        let (store, area) = (store.clone(), area.clone());
        tokio::spawn(async move {
            let mut last = 0;
            for round in 0..60 {
                let own = key(&area, format_args!("{writer}/{}", round % 5));
                let fresh = key(&area, format_args!("fresh/{writer}/{round:03}"));
                let txns = vec![unconditional(vec![put(&own, "x")]), unconditional(vec![put(&fresh, "x")])];
                for outcome in super::submit(&store, txns).await {
                    last = last.max(outcome.expect("a write").revision);
                }
                if round % 3 == 2 {
                    last = last.max(commit(&store, unconditional(vec![Op::Delete(fresh)])).await.revision);
                }
            }
            last
        })
    });
    let writers = tokio::spawn(futures_util::future::join_all(writers));
    let mut seen = Vec::new();
    while seen.len() < 8 * (60 + 60 + 20) {
        seen.extend(early.next().await.expect("a batch").events);
    }
    let last = writers.await.expect("the writers").into_iter().map(|last| last.expect("a writer")).max();
    let last = last.expect("eight writers");
    assert_eq!(early.reached, last, "the last event is that of the last write");
    assert_eq!(seen.len(), 8 * (60 + 60 + 20), "each change once");
    let distinct: BTreeSet<(Revision, Key)> =
        seen.iter().map(|event| (event_revision(event), event_key(event).clone())).collect();
    assert_eq!(distinct.len(), seen.len(), "no change comes twice");
    let mut versions: BTreeMap<Key, i64> = BTreeMap::new();
    for event in &seen {
        match event {
            Event::Put(entry) => {
                let version = versions.entry(entry.key.clone()).or_default();
                *version += 1;
                assert_eq!(entry.version, *version, "every version of {} comes, in order", entry.key);
            }
            Event::Delete { key, .. } => assert_eq!(versions.remove(key), Some(1), "{key} was there"),
        }
    }
    let late = Watching::start(store, &area, start).events_until(last).await;
    assert_eq!(late, seen, "a later watch of the same past sees the same");
}

/// A listing and a watch from the next revision together show every change, while others write.
pub async fn after_a_listing_nothing_is_missed(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let writer = {
        let (store, area) = (store.clone(), area.clone());
        tokio::spawn(async move {
            let mut last = 0;
            for round in 0..150 {
                let name = key(&area, format_args!("{:02}", round * 7 % 40));
                let op = if round % 4 == 3 { Op::Delete(name) } else { put(&name, round.to_string()) };
                last = last.max(write(&store, vec![op]).await.revision);
            }
            last.max(write(&store, vec![put(&key(&area, "end"), "x")]).await.revision)
        })
    };
    let mut listings = Vec::new();
    for _ in 0..5 {
        let (entries, revision) = list_all(store, &area).await;
        listings.push((entries, revision, Watching::start(store, &area, revision + 1)));
    }
    let last = writer.await.expect("the writer");
    let (expected, _) = list_all(store, &area).await;
    for (entries, revision, mut watching) in listings {
        let mut state: BTreeMap<Key, _> =
            entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        for event in watching.events_until(last).await {
            match event {
                Event::Put(entry) => drop(state.insert(entry.key.clone(), entry)),
                Event::Delete { key, .. } => {
                    assert!(state.remove(&key).is_some(), "{key} was deleted but not known at {revision}");
                }
            }
        }
        let state: Vec<_> = state.into_values().collect();
        assert_eq!(state, expected, "the listing of {revision} and the events after it");
    }
}
