//! Damaged files. An incomplete end is cut. All other damage is refused with its kind and place.

use std::sync::Arc;

use service_center::clock::Clock;
use service_center::store::embedded::faulty_disk::FaultyDisk;
use service_center::store::embedded::{EmbeddedStore, OpenError, Options};
use service_center::store::{Entry, Op, Revision, Store, Txn};

use super::{eventually, grant, list, open, options, put, put_leased, refusal, try_open, within, write};

const LOG: &str = "log-00000000000000000001";
const HEADER: usize = 40;

/// A log with groups of every kind; the length of the log and the entries of the store after each group.
async fn recorded() -> (FaultyDisk, Vec<(usize, (Vec<Entry>, Revision))>) {
    let disk = FaultyDisk::new();
    let store = open(&disk);
    let length = || disk.contents(LOG).unwrap().len();
    let lease = grant(&store, 600).await;
    let groups: Vec<Vec<Vec<Op>>> = vec![
        vec![vec![put("/a/1", "one"), put("/a/2", vec![b'2'; 40])]],
        vec![vec![
            put_leased("/l/0123456789abcdef0123456789abcdef", "x", lease),
            put_leased("/l/2", "y", lease),
        ]],
        vec![
            vec![put("/a/1", "")],
            vec![put("/b/1", "two")],
            vec![put("/b/2", "three"), Op::Delete("/a/2".into())],
        ],
        vec![vec![Op::DeletePrefix("/b/".into())], vec![put("/b/2", vec![0; 30])]],
        vec![vec![put("/ü", "€")]],
    ];
    let mut states = vec![(length(), list(&store).await)];
    for group in groups {
        let txns = group.into_iter().map(|then| Txn { then, ..Txn::default() }).collect();
        let outcomes = store.batch(txns).await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        states.push((length(), list(&store).await));
    }
    assert_eq!(store.revoke(lease).await, Ok(true));
    states.push((length(), list(&store).await));
    within("closing", store.close()).await;
    (disk, states)
}

fn with_log(disk: &FaultyDisk, bytes: Vec<u8>) -> FaultyDisk {
    let copy = disk.copy();
    copy.set_contents(LOG, bytes);
    copy
}

#[tokio::test]
async fn a_log_cut_at_any_byte_holds_all_whole_groups() {
    let (disk, states) = recorded().await;
    let log = disk.contents(LOG).unwrap();
    assert_eq!(states[0].0, HEADER);
    for cut in 0..=log.len() {
        let copy = with_log(&disk, log[..cut].to_vec());
        if cut < HEADER {
            let error = refusal(&copy);
            assert!(matches!(error, OpenError::Damaged { offset: 0, .. }), "cut at {cut}: {error}");
            continue;
        }
        let (whole, expected) = states.iter().rev().find(|(length, _)| *length <= cut).unwrap();
        let store = open(&copy);
        assert_eq!(list(&store).await, *expected, "cut at {cut}");
        assert_eq!(copy.contents(LOG).unwrap().len(), *whole, "the torn end is gone");
        let next = write(&store, vec![put("/after", "x")]).await;
        assert_eq!(next.revision, expected.1 + 1, "cut at {cut}");
        let after = list(&store).await;
        within("closing", store.close()).await;
        let store = open(&copy);
        assert_eq!(list(&store).await, after, "reopened after a cut at {cut} and a write");
        within("closing", store.close()).await;
    }
}

#[tokio::test]
async fn a_log_damaged_at_any_byte_is_refused_or_the_torn_end_is_cut() {
    let (disk, states) = recorded().await;
    let log = disk.contents(LOG).unwrap();
    let lengths: Vec<usize> = states.iter().map(|(length, _)| *length).collect();
    let last_group = lengths[lengths.len() - 2];
    for at in 0..log.len() {
        for flip in [0x01, 0x80] {
            let mut bad = log.clone();
            bad[at] ^= flip;
            let copy = with_log(&disk, bad.clone());
            if at >= last_group {
                let store = open(&copy);
                assert_eq!(list(&store).await, states[states.len() - 2].1, "byte {at}");
                within("closing", store.close()).await;
                continue;
            }
            match refusal(&copy) {
                OpenError::Damaged { path, offset, .. } => {
                    assert!(path.ends_with(LOG), "byte {at}: {}", path.display());
                    let group = lengths.iter().rev().find(|length| **length <= at).copied().unwrap_or(0);
                    assert_eq!(offset, group as u64, "byte {at}: the group that holds it");
                }
                OpenError::Format { path, found } => {
                    assert!((8..12).contains(&at) && path.ends_with(LOG) && found != 1, "byte {at}");
                }
                other => panic!("byte {at}: {other}"),
            }
            assert_eq!(copy.contents(LOG).unwrap(), bad, "a refused file is left as it is");
        }
    }
}

#[tokio::test]
async fn a_log_with_zeros_or_garbage_behind_is_cut() {
    let (disk, states) = recorded().await;
    let log = disk.contents(LOG).unwrap();
    let garbage: Vec<u8> = (0..5_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    // These bytes of the log do not prove a later group, because its number is too low.
    let repeated = log[HEADER..].to_vec();
    for tail in [vec![0; 1], vec![0; 4_096], vec![0xff; 100], garbage, repeated] {
        let copy = with_log(&disk, [log.clone(), tail].concat());
        let store = open(&copy);
        assert_eq!(list(&store).await, states.last().unwrap().1);
        within("closing", store.close()).await;
        assert_eq!(copy.contents(LOG).unwrap(), log);
    }
}

#[tokio::test]
async fn another_format_is_refused_with_what_to_do() {
    let (disk, _) = recorded().await;
    let names = ["identity", LOG];
    for name in names {
        let copy = disk.copy();
        let mut bytes = disk.contents(name).unwrap();
        bytes[8] = 2;
        copy.set_contents(name, bytes);
        let error = refusal(&copy);
        assert!(matches!(&error, OpenError::Format { path, found: 2 } if path.ends_with(name)), "{error:?}");
        assert!(error.to_string().contains("start the version that wrote it"), "{error}");
    }
}

/// A disk with a snapshot and a log after it; their names, and the entries of the store.
async fn with_snapshot() -> (FaultyDisk, String, String, (Vec<Entry>, Revision)) {
    let (disk, _) = recorded().await;
    let eager = Options { snapshot_log_bytes: 1, ..options() };
    let store = EmbeddedStore::open_on(Arc::new(disk.clone()), eager, Clock::system()).unwrap();
    eventually("a snapshot", || store.stats().snapshots > 0).await;
    within("closing", store.close()).await;
    let store = open(&disk);
    for n in 0..3 {
        write(&store, vec![put("/after", n.to_string())]).await;
    }
    let state = list(&store).await;
    within("closing", store.close()).await;
    let names = service_center::store::embedded::Disk::list(&disk).unwrap();
    let named = |prefix: &str| names.iter().rfind(|name| name.starts_with(prefix)).unwrap().clone();
    assert!(disk.contents(LOG).is_none(), "the first segment is gone: {names:?}");
    (disk.clone(), named("snapshot-"), named("log-"), state)
}

#[tokio::test]
async fn a_snapshot_cut_or_damaged_at_any_byte_is_refused() {
    let (disk, snapshot, _, state) = with_snapshot().await;
    let good = disk.contents(&snapshot).unwrap();
    for at in 0..good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        for bytes in [good[..at].to_vec(), damaged] {
            let copy = disk.copy();
            copy.set_contents(&snapshot, bytes);
            match refusal(&copy) {
                OpenError::Damaged { path, .. } => assert!(path.ends_with(&snapshot), "byte {at}"),
                OpenError::Format { path, .. } => assert!(path.ends_with(&snapshot) && (8..12).contains(&at)),
                other => panic!("byte {at}: {other}"),
            }
        }
    }
    let store = open(&disk.copy());
    assert_eq!(list(&store).await, state);
    within("closing", store.close()).await;
}

fn remove(disk: &FaultyDisk, name: &str) -> FaultyDisk {
    let copy = disk.copy();
    service_center::store::embedded::Disk::remove(&copy, name).unwrap();
    copy
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (disk, snapshot, log, state) = with_snapshot().await;
    let error = refusal(&remove(&disk, &snapshot));
    assert!(matches!(&error, OpenError::Missing { path, .. } if path.ends_with(&snapshot)), "{error}");
    let error = refusal(&remove(&disk, &log));
    assert!(matches!(&error, OpenError::Missing { .. }), "{error}");
    let nothing_left = remove(&remove(&disk, &log), &snapshot);
    let error = refusal(&nothing_left);
    assert!(
        matches!(&error, OpenError::Missing { .. }),
        "an identity without a log is no new store: {error}"
    );
    let store = open(&remove(&disk, "identity"));
    assert_eq!(list(&store).await, state, "the identity alone can be made again");
    within("closing", store.close()).await;
}

#[tokio::test]
async fn a_gap_in_the_log_is_named() {
    let (disk, snapshot, log, _) = with_snapshot().await;
    // The segment after the snapshot is missing, and a later one exists.
    let later = remove(&disk, &log);
    later.set_contents("log-00000000000000000099", disk.contents(&log).unwrap());
    let error = refusal(&later);
    assert!(matches!(&error, OpenError::Missing { path, .. } if path.ends_with(&log)), "{error}");
    assert!(later.contents(&snapshot).is_some(), "nothing is removed");
    // A segment between two others is missing.
    let between = disk.copy();
    between.set_contents("log-00000000000000000099", disk.contents(&log).unwrap());
    let error = refusal(&between);
    assert!(matches!(&error, OpenError::Missing { .. }), "{error}");
    assert!(error.to_string().contains("goes on at group 99"), "{error}");
    // A segment has the name of another one.
    let renamed = disk.copy();
    let (first, _) = recorded().await;
    renamed.set_contents(&log, first.contents(LOG).unwrap());
    assert!(matches!(refusal(&renamed), OpenError::Foreign { .. } | OpenError::Damaged { .. }));
}

#[tokio::test]
async fn superfluous_files_of_an_interrupted_removal_are_removed() {
    let (disk, _, _, state) = with_snapshot().await;
    disk.set_contents(LOG, vec![1, 2, 3]);
    disk.set_contents("snapshot-00000000000000000001", vec![1, 2, 3]);
    let store = open(&disk);
    assert_eq!(list(&store).await, state);
    within("closing", store.close()).await;
    assert!(disk.contents(LOG).is_none() && disk.contents("snapshot-00000000000000000001").is_none());
}

#[tokio::test]
async fn files_of_another_store_are_refused() {
    let (disk, snapshot, log, _) = with_snapshot().await;
    let (other, other_snapshot, other_log, _) = with_snapshot().await;
    assert_eq!((&snapshot, &log), (&other_snapshot, &other_log));
    for name in [&snapshot, &log] {
        let copy = disk.copy();
        copy.set_contents(name, other.contents(name).unwrap());
        let error = refusal(&copy);
        assert!(matches!(&error, OpenError::Foreign { path } if path.ends_with(name)), "{error}");
    }
}

#[tokio::test]
async fn unfinished_files_are_removed() {
    const FOREIGN: [&str; 3] = ["log-book.unfinished", "thesis.unfinished", ".unfinished"];
    let (disk, _, _, state) = with_snapshot().await;
    let own = ["snapshot-00000000000000000099", "log-00000000000000000099", "identity"];
    for name in own.map(|name| format!("{name}.unfinished")).into_iter().chain(FOREIGN.map(str::to_owned)) {
        disk.set_contents(&name, vec![1, 2, 3]);
    }
    let store = try_open(&disk).unwrap();
    assert_eq!(list(&store).await, state);
    within("closing", store.close()).await;
    let mut left = service_center::store::embedded::Disk::list(&disk).unwrap();
    left.retain(|name| name.ends_with(".unfinished"));
    left.sort_by_key(|name| FOREIGN.iter().position(|foreign| foreign == name));
    assert_eq!(left, FOREIGN);
}
