//! A failing disk, a full queue, and a watcher that does not read.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use service_center::clock::Clock;
use service_center::store::embedded::faulty_disk::{DiskFault, FaultyDisk};
use service_center::store::embedded::{Disk, EmbeddedStore, Options};
use service_center::store::{Compare, KeepAlive, Op, Reason, Store, StoreError, Txn, TxnOutcome, WatchError};

use super::{attempt, eventually, grant, list, open, options, put, put_leased, within, write};

const LOG: &str = "log-00000000000000000001";

/// Opens a store that makes a snapshot at once.
fn open_eager(disk: &FaultyDisk) -> EmbeddedStore {
    let eager = Options { snapshot_log_bytes: 1, ..options() };
    EmbeddedStore::open_on(Arc::new(disk.clone()), eager, Clock::system()).unwrap()
}

fn reason(outcome: &Result<TxnOutcome, StoreError>) -> Option<Reason> {
    match outcome {
        Err(StoreError::Aborted { reason, .. }) => Some(*reason),
        _ => None,
    }
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_on_disk() {
    let disk = FaultyDisk::new();
    let store = Arc::new(open(&disk));
    let before = write(&*store, vec![put("/a", "old")]).await.revision;
    let mut watching = store.watch("/", before + 1);
    disk.fail(DiskFault::HoldSyncs);
    let writer = store.clone();
    let writing = tokio::spawn(async move { attempt(&*writer, vec![put("/a", "new")]).await });
    eventually("the sync to be held", || disk.syncs_held() == 1).await;
    let reader = store.clone();
    let reading = tokio::spawn(async move { write(&*reader, vec![Op::Get("/a".into())]).await });
    let lister = store.clone();
    let listing = tokio::spawn(async move { list(&*lister).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
        assert!(!writing.is_finished() && !reading.is_finished() && !listing.is_finished());
        assert_eq!(store.revision().await, Ok(before));
        assert!(watching.next().now_or_never().is_none());
    }
    assert_eq!(list(&open(&disk.after_power_cut(0))).await.0[0].value, "old", "it is not on disk");
    disk.fail(DiskFault::None);
    let written = within("the write", writing).await.unwrap().unwrap();
    assert_eq!(store.revision().await, Ok(written.revision));
    assert_eq!(within("the read", reading).await.unwrap().reads[0][0].value, "new");
    assert_eq!(within("the listing", listing).await.unwrap().0[0].value, "new");
    assert_eq!(within("the watch", watching.next()).await.unwrap().unwrap().revision, written.revision);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let lease = grant(&store, 600).await;
    write(&store, vec![put("/a", "1"), put_leased("/b", "1", lease)]).await;
    let mut expected = list(&store).await;
    for room in (0..200).step_by(3) {
        disk.fail(DiskFault::NoSpaceAfter(room));
        let txn = |compares, then| Txn { compares, then, otherwise: vec![Op::Get("/a".into())] };
        let outcomes = store
            .batch(vec![
                txn(
                    Vec::new(),
                    vec![put("/a", vec![b'x'; 300]), put_leased("/c", "2", lease), Op::Delete("/b".into())],
                ),
                txn(vec![Compare::Present("/c".into())], vec![put("/d", "x")]),
                txn(vec![Compare::Absent("/nothing".into())], vec![Op::GetPrefix("/".into())]),
            ])
            .await;
        assert_eq!(reason(&outcomes[0]), Some(Reason::NoSpace), "{room} bytes left: {outcomes:?}");
        let compared = outcomes[1].as_ref().unwrap();
        assert!(!compared.succeeded, "what was refused was never there");
        assert_eq!(compared.reads[0][0].value, "1");
        assert_eq!(outcomes[2].as_ref().unwrap().reads[0], expected.0, "reads go on");
        assert_eq!(list(&store).await, expected, "listings go on");
        assert_eq!(store.keep_alive(vec![lease]).await, [KeepAlive::Renewed(600)], "beats go on");
        let revoked = store.revoke(lease).await;
        assert!(matches!(revoked, Err(StoreError::Aborted { reason: Reason::NoSpace, .. })), "{revoked:?}");
        disk.fail(DiskFault::None);
        let outcome = write(&store, vec![put("/a", "1")]).await;
        assert_eq!(outcome.revision, expected.1 + 1, "it works again, and the revision goes on");
        let now = list(&store).await;
        assert_eq!(now.0[1], expected.0[1], "the key of the lease was not touched");
        expected = now;
    }
    assert!(store.stats().groups_refused > 0);
    let reopened = open(&disk.after_power_cut(0));
    assert_eq!(list(&reopened).await, expected, "the log is whole");
    assert_eq!(store.revoke(lease).await, Ok(true));
    let left: Vec<String> = list(&store).await.0.iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(left, ["/a"], "the lease still held /b and nothing else");
}

#[tokio::test]
async fn a_failed_write_is_refused_and_the_next_one_works() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    write(&store, vec![put("/a", "1")]).await;
    disk.fail(DiskFault::Writes);
    assert_eq!(reason(&attempt(&store, vec![put("/a", "2")]).await), Some(Reason::Refused));
    disk.fail(DiskFault::None);
    write(&store, vec![put("/b", "1")]).await;
    let expected = list(&store).await;
    assert_eq!(expected.0[0].value, "1");
    assert_eq!(list(&open(&disk.after_power_cut(0))).await, expected);
}

#[tokio::test]
async fn an_unknown_outcome_ends_the_process() {
    for fault in [DiskFault::Syncs, DiskFault::WritesAndTruncations] {
        let disk = FaultyDisk::new();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let heard = messages.clone();
        let on_fatal = Arc::new(move |message: &str| heard.lock().unwrap().push(message.to_owned()));
        let options = Options { on_fatal, ..options() };
        let store = EmbeddedStore::open_on(Arc::new(disk.clone()), options, Clock::system()).unwrap();
        write(&store, vec![put("/a", "1")]).await;
        let mut watching = store.watch("/", store.revision().await.unwrap() + 1);
        disk.fail(fault);
        let outcome = attempt(&store, vec![put("/a", "2")]).await;
        assert!(matches!(outcome, Err(StoreError::Unknown { .. })), "{fault:?}: {outcome:?}");
        let end = within("the end of the watch", watching.next()).await;
        assert!(
            matches!(end, Some(Err(WatchError::Closed))),
            "{fault:?}: what is unknown is not shown: {end:?}"
        );
        assert_eq!(reason(&attempt(&store, vec![put("/a", "3")]).await), Some(Reason::Unavailable));
        assert!(store.revision().await.is_err());
        within("closing", store.close()).await;
        let messages = messages.lock().unwrap().clone();
        assert_eq!(messages.len(), 1, "{fault:?}: {messages:?}");
        assert!(messages[0].contains("log-00000000000000000001"), "{messages:?}");
        disk.fail(DiskFault::None);
        let found = list(&open(&disk.after_power_cut(0))).await.0[0].value.clone();
        assert!(found == "1" || found == "2", "{fault:?}");
    }
}

/// The process is killed between a write and its sync. The next process finds the write and shows it, and then the power fails.
#[tokio::test]
async fn what_a_new_process_shows_stays() {
    let disk = FaultyDisk::new();
    let store = Arc::new(open(&disk));
    write(&*store, vec![put("/a", "1")]).await;
    disk.fail(DiskFault::HoldSyncs);
    let writing = tokio::spawn({
        let store = store.clone();
        async move { attempt(&*store, vec![put("/b", "2")]).await }
    });
    eventually("the sync to be held", || disk.syncs_held() == 1).await;
    let found = disk.after_kill();
    assert_eq!(list(&open(&found.after_power_cut(0))).await.0.len(), 1, "it is not on disk");
    let shown = list(&open(&found)).await;
    assert_eq!(shown.0.len(), 2, "it is in what the system holds of the file");
    assert_eq!(list(&open(&found.after_power_cut(0))).await, shown);
    disk.fail(DiskFault::None);
    assert!(within("the write", writing).await.unwrap().is_ok());
}

/// A sync fails, and the process must end. The system takes the unwritten data for written: a later sync of the same file reports success.
#[tokio::test]
async fn what_a_failed_sync_left_out_is_written_by_the_next_process() {
    let disk = FaultyDisk::new();
    let store = EmbeddedStore::open_on(
        Arc::new(disk.clone()),
        Options { on_fatal: Arc::new(|_| {}), ..options() },
        Clock::system(),
    )
    .unwrap();
    write(&store, vec![put("/a", "1")]).await;
    disk.fail(DiskFault::Syncs);
    assert!(attempt(&store, vec![put("/b", "2")]).await.is_err());
    disk.fail(DiskFault::None);
    let found = disk.after_kill();
    let store = open(&found);
    assert_eq!(list(&store).await.0.len(), 2);
    for n in 0..3 {
        write(&store, vec![put(&format!("/c/{n}"), "3")]).await;
    }
    let shown = list(&store).await;
    assert_eq!(list(&open(&found.after_power_cut(0))).await, shown);
}

/// The process is killed between the renaming of files and the sync of the folder.
#[tokio::test]
async fn the_names_a_new_process_finds_stay() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    write(&store, vec![put("/a", "1")]).await;
    within("closing", store.close()).await;
    let found = FaultyDisk::new();
    for name in disk.list().unwrap() {
        let mut file = found.create(&name).unwrap();
        file.write_all(&disk.contents(&name).unwrap()).unwrap();
        file.sync().unwrap();
    }
    assert!(found.after_power_cut(0).list().unwrap().is_empty());
    let store = open(&found);
    write(&store, vec![put("/b", "2")]).await;
    let shown = list(&store).await;
    assert_eq!(shown.0.len(), 2);
    assert_eq!(list(&open(&found.after_power_cut(0))).await, shown);
}

#[tokio::test]
async fn a_full_queue_refuses_after_a_limit() {
    let disk = FaultyDisk::new();
    let options = Options { queue_wait: Duration::from_millis(50), ..options() };
    let store = Arc::new(EmbeddedStore::open_on(Arc::new(disk.clone()), options, Clock::system()).unwrap());
    disk.fail(DiskFault::HoldSyncs);
    let refused = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..100)
        .map(|n| {
            let (store, refused) = (store.clone(), refused.clone());
            tokio::spawn(async move {
                let outcome = attempt(&*store, vec![put(&format!("/{n:02}"), vec![0; 1_400_000])]).await;
                refused.fetch_add(usize::from(outcome.is_err()), Ordering::SeqCst);
                outcome
            })
        })
        .collect();
    eventually("some to be refused", || refused.load(Ordering::SeqCst) > 0).await;
    disk.fail(DiskFault::None);
    let mut kept = 0;
    for writer in writers {
        let outcome = within("a writer", writer).await.unwrap();
        match reason(&outcome) {
            None => kept += usize::from(outcome.is_ok()),
            Some(reason) => assert_eq!(reason, Reason::Unavailable),
        }
    }
    assert!(kept >= 40, "64 MiB hold some 46 of 1.4 MB, {kept} were kept");
    assert_eq!(list(&*store).await.0.len(), kept, "what was refused was not done");
}

#[tokio::test]
async fn an_answer_that_is_late_is_unknown() {
    let disk = FaultyDisk::new();
    let options = Options { answer_wait: Duration::from_millis(50), ..options() };
    let store = EmbeddedStore::open_on(Arc::new(disk.clone()), options, Clock::system()).unwrap();
    disk.fail(DiskFault::HoldSyncs);
    let outcome = attempt(&store, vec![put("/a", "1")]).await;
    assert!(matches!(outcome, Err(StoreError::Unknown { .. })), "{outcome:?}");
    assert!(matches!(
        store.keep_alive(vec![service_center::store::LeaseId(7)]).await[0],
        KeepAlive::Unanswered(_)
    ));
    disk.fail(DiskFault::None);
    eventually("the write to be done all the same", || store.stats().keys == 1).await;
}

#[tokio::test]
async fn a_slow_watcher_lists_again_and_delays_nobody() {
    let disk = FaultyDisk::new();
    let options = Options { history_events: 100, ..options() };
    let store = EmbeddedStore::open_on(Arc::new(disk), options, Clock::system()).unwrap();
    let first = write(&store, vec![put("/a", "0")]).await.revision;
    let mut slow = store.watch("/", first);
    let mut quick = store.watch("/", first + 1);
    assert_eq!(within("the first", slow.next()).await.unwrap().unwrap().revision, first);
    for n in 1..=500 {
        let written = write(&store, vec![put("/a", n.to_string())]).await.revision;
        let batch = within("an event", quick.next()).await.unwrap().unwrap();
        assert_eq!((batch.revision, batch.events.len()), (written, 1), "the other watcher misses nothing");
    }
    assert_eq!(within("the end", slow.next()).await, Some(Err(WatchError::Compacted)));
    assert!(within("the end", slow.next()).await.is_none());
}

#[tokio::test]
async fn without_room_for_a_snapshot_the_log_goes_on() {
    let disk = FaultyDisk::new();
    let eager = Options { snapshot_log_bytes: 1, ..options() };
    let store = open(&disk);
    write(&store, vec![put("/a", "1")]).await;
    within("closing", store.close()).await;
    disk.fail(DiskFault::NoSpaceAfter(100));
    let store = EmbeddedStore::open_on(Arc::new(disk.clone()), eager, Clock::system()).unwrap();
    within("a look", store.poke()).await;
    within("another look", store.poke()).await;
    disk.fail(DiskFault::None);
    write(&store, vec![put("/b", "1")]).await;
    let expected = list(&store).await;
    within("closing", store.close()).await;
    let store = open(&disk.after_power_cut(0));
    assert_eq!(list(&store).await, expected);
}

/// Some file systems need space to overwrite.
#[tokio::test]
async fn a_store_without_space_opens() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
        let disk = FaultyDisk::new();
        let store = open(&disk);
        write(&store, vec![put("/a", "1")]).await;
        let expected = list(&store).await;
        within("closing", store.close()).await;
        disk.fail(DiskFault::Rewrites(kind));
        assert_eq!(list(&open(&disk)).await, expected, "{kind:?}");
    }
}

/// Both bookmarks are put before the first one is deleted, with the second one. Its own deletion then changes nothing.
#[tokio::test]
async fn the_registrys_watch_reaches_bookmarks_that_overlap() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let before = write(&store, vec![put("/elsewhere", "1")]).await.revision;
    let (mut first, mut second) = (store.bookmark(), store.bookmark());
    disk.fail(DiskFault::HoldSyncs);
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    disk.fail(DiskFault::None);
    eventually("both bookmarks", || store.stats().keys == 3).await;
    let first = within("the first bookmark", first).await.unwrap();
    let reached = store.revision().await.unwrap();
    write(&store, vec![put("/elsewhere", "2")]).await;
    let second = within("the second bookmark", second).await.unwrap();
    for bookmark in [first, second] {
        assert!((before + 1..=reached).contains(&bookmark), "{bookmark} of {before} to {reached}");
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_get_its_name_leaves_no_file() {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    write(&store, vec![put("/a", "1")]).await;
    let expected = list(&store).await;
    within("closing", store.close()).await;
    disk.fail(DiskFault::RenamesTo("snapshot-"));
    within("closing", open_eager(&disk).close()).await;
    let names = disk.list().unwrap();
    assert_eq!(names, ["identity", LOG, "log-00000000000000000002"]);
    assert_eq!(list(&open(&disk)).await, expected);
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_keeps_no_other_file() {
    let disk = FaultyDisk::new();
    disk.fail(DiskFault::RemovalOf(LOG));
    for last_group in [10, 20, 30] {
        let store = open(&disk);
        for n in 0..10 {
            write(&store, vec![put("/a", n.to_string())]).await;
        }
        let expected = list(&store).await;
        within("closing", store.close()).await;
        let store = open_eager(&disk);
        within("closing", store.close()).await;
        assert_eq!(store.stats().snapshots, 1);
        let (log, snapshot) = (format!("log-{:020}", last_group + 1), format!("snapshot-{last_group:020}"));
        assert_eq!(disk.list().unwrap(), ["identity", LOG, &log, &snapshot]);
        assert_eq!(list(&open(&disk)).await, expected);
    }
}
