//! Batches: limits and refusals of etcd that affect a whole batch, and the outcome of each transaction.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use service_center::metrics::FOREIGN_VALUES;
use service_center::store::{Compare, LeaseId, Op, Reason, Store, StoreError, Txn};

use crate::support::etcd::{Etcd, EtcdSetup};
use crate::{absent, attempt, connect, key, list, put, put_leased, reason, submit, txn, within, write};

/// etcd allows 128 operations in a transaction and its nested ones together: 120 nested transactions with 8 each, and 119 with 9.
#[tokio::test]
async fn many_and_wide_transactions_are_cut_as_etcd_counts() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    for (round, (count, width)) in
        [(120, 8), (121, 8), (120, 9), (250, 2), (40, 90), (3, 128)].into_iter().enumerate()
    {
        let wide =
            |n: usize| txn((0..width).map(|op| put(format_args!("{round}/{n:03}/{op:03}"), "x")).collect());
        for (n, outcome) in submit(&store, (0..count).map(wide).collect()).await.into_iter().enumerate() {
            assert!(outcome.as_ref().is_ok_and(|done| done.changed), "{count} of {width}: {n}: {outcome:?}");
        }
        let (entries, _) = list(&store, &key(format_args!("{round}/"))).await.unwrap();
        assert_eq!(entries.len(), count * width);
    }
    let compares = |n: usize| Txn {
        compares: (0..20).map(|op| absent(format_args!("none/{n}/{op}"))).collect(),
        then: vec![put(format_args!("some/{n}"), "x")],
        otherwise: Vec::new(),
    };
    assert!(submit(&store, (0..120).map(compares).collect()).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn more_bytes_than_a_request_takes_are_cut() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let large = |n: usize| txn(vec![put(format_args!("{n:02}"), vec![b'x'; 400_000])]);
    let mut txns: Vec<Txn> = (0..20).map(large).collect();
    txns.push(txn(vec![put("huge", vec![b'x'; 2_500_000])]));
    let mut outcomes = submit(&store, txns).await;
    assert_eq!(reason(&outcomes.pop().unwrap()), Some(Reason::TooLarge));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let (entries, _) = list(&store, "/cse-sr/").await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.value.len()).sum::<usize>(), 20 * 400_000);
}

/// One ended lease fails a batch, and etcd does not name it. The same happens with a key in two transactions.
#[tokio::test]
async fn the_guilty_are_found_by_halving() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let alive = store.grant(600).await.unwrap().id;
    let dead = LeaseId(1_234_567);
    let is_dead = |n: usize| [0, 17, 18, 63, 119].contains(&n);
    let mut txns: Vec<Txn> = (0..120)
        .map(|n| Txn {
            compares: vec![absent(n)],
            then: vec![put_leased(n, if is_dead(n) { dead } else { alive }), put(format_args!("{n}/b"), "x")],
            otherwise: Vec::new(),
        })
        .collect();
    txns.push(txn(vec![put("twice", "first")]));
    txns.push(txn(vec![put("twice", "second")]));
    let outcomes = submit(&store, txns).await;
    for (n, outcome) in outcomes.iter().take(120).enumerate() {
        let expected = is_dead(n).then_some(Reason::LeaseNotFound);
        assert_eq!(reason(outcome), expected, "{n}: {outcome:?}");
        assert_eq!(outcome.is_ok(), !is_dead(n), "{n}: {outcome:?}");
    }
    assert!(outcomes[120].is_ok() && outcomes[121].is_ok(), "apart they do not collide: {outcomes:?}");
    let (entries, _) = list(&store, "/cse-sr/").await.unwrap();
    assert_eq!(entries.len(), 115 * 2 + 1);
    assert_eq!(entries.last().unwrap().value, "second", "the later one comes later");
}

#[tokio::test]
async fn nothing_below_is_a_compare() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    write(&store, vec![put("a/b", "x"), put("ab", "x")]).await;
    for (prefix, holds) in [("a/", false), ("a", false), ("a/b", false), ("a/c", true), ("b", true)] {
        let compares = vec![Compare::NoneBelow(key(prefix))];
        let asked = Txn { compares, then: Vec::new(), otherwise: Vec::new() };
        assert_eq!(submit(&store, vec![asked]).await[0].as_ref().unwrap().succeeded, holds, "{prefix}");
    }
}

/// A full etcd refuses puts, and carries out deletions, also from the same batch.
#[tokio::test]
async fn a_full_etcd_deletes() {
    let setup =
        EtcdSetup { flags: vec!["--quota-backend-bytes=20000000".to_owned()], ..EtcdSetup::default() };
    let etcd = Etcd::start_with(setup);
    let store = connect(&etcd).await;
    let lease = store.grant(600).await.unwrap().id;
    write(&store, vec![put("old", "x"), put_leased("leased", lease)]).await;
    // Batches run side by side, so that some are under way when the quota is exceeded.
    let fills = (0..60).map(|n| {
        let txns: Vec<Txn> =
            (0..20).map(|part| txn(vec![put(format_args!("fill/{n}/{part}"), vec![b'x'; 40_000])])).collect();
        let store = Arc::clone(&store);
        async move { (n, submit(&store, txns).await) }
    });
    let filled: Vec<_> = futures_util::stream::iter(fills).buffer_unordered(6).collect().await;
    let (there, _) = list(&store, "/cse-sr/fill/").await.unwrap();
    for (n, outcomes) in filled {
        for (part, outcome) in outcomes.iter().enumerate() {
            let written = there.iter().any(|entry| entry.key == key(format_args!("fill/{n}/{part}")));
            match outcome {
                Ok(_) => assert!(written, "{n}/{part} was acknowledged"),
                Err(StoreError::Aborted { reason: Reason::NoSpace, .. }) => {
                    assert!(!written, "{n}/{part} was refused, and is there");
                }
                // etcd applies a batch that is under way when the quota is exceeded, but answers "no space".
                Err(StoreError::Unknown { message }) if message.contains("space exceeded") => {}
                Err(other) => panic!("{n}/{part}: {other:?}"),
            }
        }
    }
    // etcd knows the size of its file only after a write.
    crate::eventually("the end of the space", || async {
        attempt(&store, vec![put("fill/more", vec![b'x'; 1_000_000])]).await.is_err()
    })
    .await;
    crate::eventually("the alarm, which refuses small ones too", || async {
        etcd.ctl(&["alarm", "list"]).contains("NOSPACE")
    })
    .await;
    let mut txns: Vec<Txn> = (0..10).map(|n| txn(vec![put(format_args!("new/{n}"), "x")])).collect();
    txns.insert(4, txn(vec![Op::Delete(key("old"))]));
    let outcomes = submit(&store, txns).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        if n == 4 {
            assert!(outcome.as_ref().is_ok_and(|done| done.changed), "the deletion: {outcome:?}");
        } else {
            assert_eq!(reason(outcome), Some(Reason::NoSpace), "{n}: {outcome:?}");
        }
    }
    assert!(within("a revocation", store.revoke(lease)).await.unwrap(), "leases can end");
    let (entries, _) = list(&store, "/cse-sr/").await.unwrap();
    assert!(entries.iter().all(|entry| entry.key.starts_with("/cse-sr/fill/")));
}

/// A key of another program may be invalid UTF-8. Such keys are left out and counted.
#[tokio::test]
async fn keys_that_are_no_text_are_left_out() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let start = write(&store, vec![put("a", "x")]).await;
    let mut watching = crate::Watching::start(&store, "/cse-sr/", start + 1);
    let mut command = etcd.command(&["put"]);
    command.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/cse-sr/\xff")).arg("x");
    assert!(command.output().unwrap().status.success());
    let end = write(&store, vec![put("z", "x")]).await;
    assert_eq!(watching.until(end).await.len(), 1, "the watch goes on");
    let before = FOREIGN_VALUES.value();
    assert!(before > 0);
    let (entries, _) = list(&store, "/cse-sr/").await.unwrap();
    assert_eq!(entries.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["/cse-sr/a", "/cse-sr/z"]);
    assert!(FOREIGN_VALUES.value() > before);
    let read = attempt(&store, vec![Op::GetPrefix(key(""))]).await.unwrap();
    assert_eq!(read.reads[0].len(), 2);
}

/// A dropped future does not stop a submitted batch. Many callers at once do not disturb each other.
#[tokio::test]
async fn many_callers_at_once() {
    let etcd = Etcd::start();
    let store = connect(&etcd).await;
    let tasks = (0..200).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for round in 0..5 {
                let name = format!("{n}/{round}");
                let value = Bytes::from(name.clone());
                let asked = Txn {
                    compares: vec![absent(&name)],
                    then: vec![put(&name, value.clone())],
                    otherwise: Vec::new(),
                };
                assert!(submit(&store, vec![asked]).await[0].as_ref().unwrap().succeeded);
                let read = attempt(&store, vec![Op::Get(key(&name))]).await.unwrap();
                assert_eq!(read.reads[0][0].value, value);
                let bookmark = within("a bookmark", store.bookmark()).await.unwrap();
                assert!(bookmark > read.revision);
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.unwrap();
    }
    crate::eventually("the end of the bookmarks", || async {
        list(&store, "/cse-sr/bookmarks/").await.unwrap().0.is_empty()
    })
    .await;
    assert_eq!(list(&store, "/cse-sr/").await.unwrap().0.len(), 1_000);
}
