//! The data that a new process finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use service_center::clock::Clock;
use service_center::store::embedded::faulty_disk::FaultyDisk;
use service_center::store::embedded::{EmbeddedStore, OpenError, Options};
use service_center::store::{Op, Store};

use super::{eventually, grant, list, open, options, put, put_leased, within, write};

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("not/yet/there");
    let store = EmbeddedStore::open(&folder, options(), Clock::system()).unwrap();
    let lease = grant(&store, 600).await;
    write(&store, vec![put("/a", "1"), put_leased("/b", "2", lease), put("/c/ü", [0xff, 0, 1])]).await;
    write(&store, vec![put("/a", vec![b'x'; 100_000]), Op::Delete("/c/ü".into())]).await;
    write(&store, vec![put("/d", "")]).await;
    let before = list(&store).await;
    assert_eq!(before.0.len(), 3);
    within("closing", store.close()).await;

    let store = EmbeddedStore::open(&folder, options(), Clock::system()).unwrap();
    assert_eq!(list(&store).await, before, "keys, values, revisions, versions and leases");
    assert_eq!(store.revision().await, Ok(before.1));
    assert_eq!(store.stats().keys, 3);
    let next = write(&store, vec![put("/e", "x")]).await;
    assert_eq!(next.revision, before.1 + 1, "revisions go on");
    assert_eq!(store.revoke(lease).await, Ok(true), "the lease goes on");
    let (entries, _) = list(&store).await;
    assert!(entries.iter().all(|entry| &*entry.key != "/b"), "and takes its key with it");
    within("closing", store.close()).await;
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_free_after_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), options(), Clock::system()).unwrap();
    let error = EmbeddedStore::open(dir.path(), options(), Clock::system()).map(drop).unwrap_err();
    assert!(matches!(&error, OpenError::Locked { pid, .. } if *pid == Some(std::process::id())), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    within("closing", store.close()).await;
    let store = EmbeddedStore::open(dir.path(), options(), Clock::system()).unwrap();
    within("closing", store.close()).await;
}

#[tokio::test]
async fn dropping_the_store_frees_the_folder_and_keeps_what_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), options(), Clock::system()).unwrap();
    write(&store, vec![put("/a", "1")]).await;
    drop(store);
    let mut again = None;
    eventually("the folder to be free", || {
        again = EmbeddedStore::open(dir.path(), options(), Clock::system()).ok();
        again.is_some()
    })
    .await;
    assert_eq!(list(&again.unwrap()).await.0.len(), 1);
}

#[tokio::test]
async fn snapshots_take_the_place_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options { snapshot_log_bytes: 20_000, ..options() };
    let store = EmbeddedStore::open(dir.path(), small(), Clock::system()).unwrap();
    let lease = grant(&store, 600).await;
    let mut round = 0;
    while store.stats().snapshots < 5 {
        round += 1;
        assert!(round < 20_000, "snapshots should be made: {:?}", store.stats());
        let key = format!("/folder-{}/{}", round % 7, round % 50);
        let op = if round % 11 == 0 {
            Op::Delete(key.into())
        } else {
            put_leased(&key, format!("{round:0300}"), lease)
        };
        write(&store, vec![op, put("/last", round.to_string())]).await;
    }
    let before = list(&store).await;
    within("closing", store.close()).await;
    let count = |prefix: &str| {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(prefix)).count()
    };
    assert_eq!(count("snapshot-"), 1, "older snapshots are removed");
    assert!(count("log-") <= 2, "segments that a snapshot holds are removed");
    let store = EmbeddedStore::open(dir.path(), small(), Clock::system()).unwrap();
    assert_eq!(list(&store).await, before);
    assert!(store.stats().snapshot_bytes > 0);
    assert_eq!(store.revoke(lease).await, Ok(true));
    assert_eq!(list(&store).await.0.len(), 1, "all but /last hung on the lease");
    within("closing", store.close()).await;
}

/// Many revisions in a group, many groups, leases in a snapshot, and a replay after a snapshot.
#[tokio::test]
async fn the_same_state_from_log_and_from_snapshot() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let lease = grant(&store, 600).await;
    for round in 0..50 {
        let leased = (0..20).map(|n| put_leased(&format!("/l/{n}"), format!("{round}"), lease)).collect();
        let plain = vec![put(&format!("/p/{round}"), vec![7; round * 100]), Op::DeletePrefix("/x".into())];
        let mixed = vec![put(&format!("/x/{round}"), "x"), put("/y", round.to_string())];
        let txn = |then| service_center::store::Txn { then, ..Default::default() };
        let outcomes = store.batch(vec![txn(leased), txn(plain), txn(mixed)]).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    let before = list(&store).await;
    within("closing", store.close()).await;
    let from_log = open(&disk);
    assert_eq!(list(&from_log).await, before);
    within("closing", from_log.close()).await;
    let eager = Options { snapshot_log_bytes: 1, ..options() };
    let snapshotting = EmbeddedStore::open_on(Arc::new(disk.clone()), eager, Clock::system()).unwrap();
    eventually("a snapshot", || snapshotting.stats().snapshots > 0).await;
    within("closing", snapshotting.close()).await;
    let from_snapshot = open(&disk);
    assert_eq!(list(&from_snapshot).await, before);
    assert_eq!(from_snapshot.revoke(lease).await, Ok(true));
    assert!(list(&from_snapshot).await.0.iter().all(|entry| !entry.key.starts_with("/l/")));
    within("closing", from_snapshot.close()).await;
}

/// Also in the middle of a snapshot, of the start of a segment, and of removals.
#[tokio::test]
async fn a_power_cut_at_any_moment_loses_nothing_answered() {
    const WRITES: u64 = 2_000;
    let disk = FaultyDisk::new();
    let eager = || Options { snapshot_log_bytes: 3_000, ..options() };
    let store = Arc::new(EmbeddedStore::open_on(Arc::new(disk.clone()), eager(), Clock::system()).unwrap());
    let answered = Arc::new(AtomicU64::new(0));
    let taken = Arc::new(AtomicU64::new(0));
    let (writer, last, count) = (store.clone(), answered.clone(), taken.clone());
    let photographer = std::thread::spawn(move || {
        let mut photos = Vec::new();
        let mut kept = [0, 1, 17, 100, 10_000].into_iter().cycle();
        loop {
            let before = answered.load(Ordering::SeqCst);
            if before == u64::MAX {
                return photos;
            }
            // The moment is random, once in some writes.
            if photos.last().is_none_or(|(last, _)| before >= last + 5) {
                photos.push((before, disk.after_power_cut(kept.next().unwrap_or(0))));
                count.store(photos.len() as u64, Ordering::SeqCst);
            }
            std::thread::yield_now();
        }
    });
    for n in 1..=WRITES * 20 {
        let key = format!("/k/{}", n % 40);
        write(&*writer, vec![put(&key, format!("{n:0100}")), put("/count", n.to_string())]).await;
        last.store(n, Ordering::SeqCst);
        // On a busy machine the other thread may have taken too few photos by then.
        if n >= WRITES && taken.load(Ordering::SeqCst) > 10 {
            break;
        }
    }
    last.store(u64::MAX, Ordering::SeqCst);
    let photos = photographer.join().unwrap();
    assert!(store.stats().snapshots > 0 && photos.len() > 10, "{} photos, {:?}", photos.len(), store.stats());
    within("closing", store.close()).await;
    for (before, photo) in photos {
        let opened = EmbeddedStore::open_on(Arc::new(photo), eager(), Clock::system());
        let store = opened.unwrap_or_else(|error| panic!("after {before} answered writes: {error}"));
        let (entries, _) = list(&store).await;
        let count = entries.iter().find(|entry| &*entry.key == "/count");
        let count: u64 = count.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
        assert!(count >= before, "{before} writes were answered, {count} are there");
        write(&store, vec![put("/after", "x")]).await;
        within("closing", store.close()).await;
    }
}
