//! Which transactions leave together, in which order, and when.

#![allow(clippy::unwrap_used, reason = "tests")]

use futures_util::FutureExt;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::actors::tests::{eventually, store};
use crate::clock::Clock;
use crate::recorder::Recorder;
use crate::store::faulty::{Fault, StoreCall};
use crate::store::{Compare, LeaseId};

/// On it nothing waits too long, however slow the machine is.
fn still() -> Clock {
    Clock::manual(1_790_000_000)
}

fn put(key: &str) -> Op {
    Op::Put { key: key.into(), value: "v".into(), lease: None }
}

fn txn(ops: impl IntoIterator<Item = Op>) -> Txn {
    Txn { then: ops.into_iter().collect(), ..Txn::default() }
}

fn queue(txns: impl IntoIterator<Item = Txn>) -> VecDeque<WaitingTxn> {
    let (since, reply) = (Monotonic::ZERO, || oneshot::channel().0);
    let waiting = |txn: Txn| WaitingTxn { size: txn_size(&txn), txn, since, reply: reply(), request: None };
    txns.into_iter().map(waiting).collect()
}

/// All batches, in the order they leave.
fn batches(txns: impl IntoIterator<Item = Txn>) -> Vec<Vec<Txn>> {
    let mut waiting = queue(txns);
    let mut batches = Vec::new();
    while !waiting.is_empty() {
        batches.push(take_batch(&mut waiting).into_iter().map(|waiting| waiting.txn).collect());
    }
    batches
}

#[track_caller]
fn check(txns: Vec<Txn>, expected: &[&[usize]]) {
    let of = |txn: &Txn| txns.iter().position(|known| known == txn).unwrap();
    let taken: Vec<Vec<usize>> =
        batches(txns.clone()).iter().map(|batch| batch.iter().map(of).collect()).collect();
    assert_eq!(taken, expected);
}

#[test]
fn writers_of_one_key_go_apart_in_their_order() {
    let write =
        |key: &str, value: &'static str| txn([Op::Put { key: key.into(), value: value.into(), lease: None }]);
    check(
        vec![write("/a", "1"), write("/a", "2"), write("/b", "1"), write("/a", "3"), write("/b", "2")],
        &[&[0, 2], &[1, 4], &[3]],
    );
}

#[test]
fn one_that_is_passed_over_keeps_its_keys_for_itself() {
    // The third writes no key of the first. But it must not leave before the second.
    check(
        vec![txn([put("/a")]), txn([put("/a"), put("/b")]), txn([put("/b")]), txn([put("/c")])],
        &[&[0, 3], &[1], &[2]],
    );
}

#[test]
fn prefixes_count_for_all_below_them() {
    let delete = |prefix: &str| txn([Op::DeletePrefix(prefix.into())]);
    check(vec![txn([put("/a/b")]), delete("/a/"), txn([put("/a/c")])], &[&[0], &[1], &[2]]);
    check(vec![delete("/a/"), delete("/a/b/"), delete("/c/")], &[&[0, 2], &[1]]);
    check(vec![delete("/a/b/"), delete("/a/"), txn([put("/ab")])], &[&[0, 2], &[1]]);
}

#[test]
fn the_other_branch_counts_and_reads_do_not() {
    let either = Txn {
        compares: vec![Compare::Absent("/x".into())],
        then: vec![put("/a")],
        otherwise: vec![Op::Delete("/b".into())],
    };
    let read = txn([Op::Get("/a".into()), Op::GetPrefix("/b".into())]);
    check(vec![either, txn([put("/b")]), read], &[&[0, 2], &[1]]);
}

#[test]
fn batches_are_bounded_in_number_and_bytes() {
    let many = batches((0..300).map(|number| txn([put(&format!("/{number}"))])));
    assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [120, 120, 60]);
    let of = |key: usize, bytes: usize| {
        txn([Op::Put {
            key: format!("/{key}").into(),
            value: vec![0; bytes].into(),
            lease: Some(LeaseId(1)),
        }])
    };
    let sizes: Vec<Txn> =
        [600_000, 300_000, 200_000, 1_400_000, 10].into_iter().enumerate().map(|(k, s)| of(k, s)).collect();
    check(sizes, &[&[0, 1], &[2], &[3], &[4]]);
}

/// `=key` compares the key, `+key` puts it, `-prefix/` deletes all keys below the prefix.
#[track_caller]
fn check_short(short: &[&str], expected: &[&[usize]]) {
    let parse = |short: &&str| {
        let mut txn = Txn::default();
        for part in short.split(' ') {
            let (kind, key) = part.split_at(1);
            match kind {
                "=" => txn.compares.push(Compare::Present(key.into())),
                "+" => txn.then.push(put(key)),
                _ => txn.then.push(Op::DeletePrefix(key.into())),
            }
        }
        txn
    };
    let mut waiting = queue(short.iter().map(parse));
    waiting.iter_mut().enumerate().for_each(|(at, waiting)| waiting.size = at);
    let mut taken: Vec<Vec<usize>> = Vec::new();
    while !waiting.is_empty() {
        taken.push(take_batch(&mut waiting).iter().map(|waiting| waiting.size).collect());
    }
    assert_eq!(taken, expected, "{short:?}");
}

#[test]
fn what_depends_on_another_waits_for_the_next_batch() {
    check_short(&["+a", "+b", "+c"], &[&[0, 1, 2]]);
    check_short(&["+a", "+a", "+b", "+a"], &[&[0, 2], &[1], &[3]]);
    check_short(&["+s/i", "-s/", "+t"], &[&[0, 2], &[1]]);
    check_short(&["-s/", "+s/i", "+t"], &[&[0, 2], &[1]]);
    check_short(&["+s", "=s +i", "=t +j"], &[&[0, 2], &[1]]);
    // Keys that are only compared do not clash.
    check_short(&["=s +i", "=s +j", "+s"], &[&[0, 1, 2]]);
    // A transaction that waits holds back the transactions that depend on it.
    check_short(&["+a", "+a +b", "+b"], &[&[0], &[1], &[2]]);
}

#[test]
fn many_that_write_one_key_are_not_all_looked_through() {
    let mut waiting = queue((0..2 * MAX_PASSED_OVER).map(|_| txn([put("/a")])));
    waiting.extend(queue([txn([put("/b")])]));
    assert_eq!(take_batch(&mut waiting).len(), 1);
    assert_eq!(waiting.len(), 2 * MAX_PASSED_OVER);
    assert_eq!(waiting.back().unwrap().txn, txn([put("/b")]), "the order stays");
}

fn clash(a: &Txn, b: &Txn) -> bool {
    let covers = |a: &Key, b: &Key| a == b || a.ends_with('/') && b.starts_with(&**a);
    writes(a).any(|a| writes(b).any(|b| covers(a, b) || covers(b, a)))
}

#[test]
fn whatever_comes_all_of_it_leaves_once_in_an_order_that_keeps_conflicts() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut op = |number: usize| {
            let key = format!("/{}/{}", random.random_range(0..3), random.random_range(0..6));
            match random.random_range(0..12) {
                0 => Op::DeletePrefix(format!("/{}/", random.random_range(0..3)).into()),
                1 => Op::Get(key.into()),
                2..4 => Op::Delete(key.into()),
                _ => Op::Put { key: key.into(), value: number.to_string().into(), lease: None },
            }
        };
        let txns: Vec<Txn> =
            (0..40).map(|number| txn([put(&format!("/only/{number}")), op(number), op(number)])).collect();
        let batches = batches(txns.clone());
        let place = |txn: &Txn| batches.iter().position(|batch| batch.contains(txn)).unwrap();
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), txns.len(), "seed {seed}");
        for (at, later) in txns.iter().enumerate() {
            for earlier in txns.iter().take(at).filter(|earlier| clash(earlier, later)) {
                assert!(place(earlier) < place(later), "seed {seed}: {earlier:?} and {later:?}");
            }
        }
    }
}

#[actix::test]
async fn the_more_are_on_their_way_the_more_gather() {
    let store = store();
    store.shut(StoreCall::Batch);
    let batcher = Batcher::new(Arc::new(store.clone()), still(), Recorder::default());
    let all = (0..820).map(|number| {
        let batcher = batcher.clone();
        async move { batcher.submit(txn([put(&format!("/{number}"))])).await }
    });
    let all = actix::spawn(join_all(all.collect::<Vec<_>>()));
    eventually("batches", || store.begun(StoreCall::Batch) == MAX_IN_FLIGHT).await;
    let sizes = || store.batches().iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(), [1, 33, 65, 97, 120, 120, 120, 120]);
    store.let_through(StoreCall::Batch, 1);
    eventually("the next batch", || store.begun(StoreCall::Batch) == 9).await;
    store.open(StoreCall::Batch);
    let outcomes = all.await.unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|outcome| outcome.succeeded)));
    assert_eq!(sizes()[8..], [120, 24]);
}

#[actix::test]
async fn each_gets_its_own_outcome() {
    let store = store();
    let batcher = Batcher::new(Arc::new(store.clone()), still(), Recorder::default());
    store.shut(StoreCall::Batch);
    let txns = (0..40).map(|number| match number {
        33 => txn([Op::Put { key: "/leased".into(), value: "v".into(), lease: Some(LeaseId(77)) }]),
        _ if number % 2 == 0 => txn([put(&format!("/{number}"))]),
        _ => Txn { compares: vec![Compare::Present(format!("/{number}").into())], ..Txn::default() },
    });
    let all = join_all(txns.map(|txn| batcher.submit(txn)).collect::<Vec<_>>());
    let (outcomes, ()) = tokio::join!(all, async { store.open(StoreCall::Batch) });
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(outcome) => assert_eq!(outcome.succeeded, number % 2 == 0, "{number}"),
            Err(StoreError::Aborted { reason: Reason::LeaseNotFound, .. }) => assert_eq!(number, 33),
            Err(error) => panic!("{number}: {error}"),
        }
    }
}

#[actix::test]
async fn a_batch_that_fails_does_not_stop_the_next() {
    let store = store();
    let batcher = Batcher::new(Arc::new(store.clone()), still(), Recorder::default());
    store.script(StoreCall::Batch, [Fault::UnknownNotDone, Fault::Refused(Reason::Unavailable)]);
    let outcome = |outcome: TxnAnswer| outcome.map(|outcome| outcome.succeeded);
    assert!(matches!(outcome(batcher.submit(txn([put("/a")])).await), Err(StoreError::Unknown { .. })));
    assert!(matches!(outcome(batcher.submit(txn([put("/a")])).await), Err(StoreError::Aborted { .. })));
    assert_eq!(outcome(batcher.submit(txn([put("/a")])).await), Ok(true));
}

#[actix::test]
async fn one_too_many_is_refused_and_the_others_are_not_lost() {
    let store = store();
    store.shut(StoreCall::Batch);
    let batcher = Batcher::new(Arc::new(store.clone()), still(), Recorder::default());
    // Nobody waits for these transactions. They are done all the same.
    let mut accepted = 0;
    let refused = loop {
        match batcher.submit(txn([put(&format!("/{accepted:05}"))])).now_or_never() {
            None => accepted += 1,
            Some(outcome) => break outcome,
        }
    };
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StoreError::Aborted { reason: Reason::Busy, .. }), "{refused:?}");
    let told = crate::actors::outcome::store_error(&refused);
    assert_eq!(told.code, crate::error::Code::Overloaded, "the store has not failed");
    assert_eq!(accepted, MAX_WAITING + (1 + 33 + 65 + 97 + 4 * MAX_TXNS));
    store.open(StoreCall::Batch);
    eventually("all of them", || store.batches().iter().map(Vec::len).sum::<usize>() == accepted).await;
    assert!(batcher.submit(txn([put("/last")])).await.unwrap().succeeded);
}

#[actix::test]
async fn one_that_has_waited_too_long_is_refused_and_never_sent() {
    let (store, clock) = (store(), Clock::manual(1_790_000_000));
    store.shut(StoreCall::Batch);
    let batcher = Batcher::new(Arc::new(store.clone()), clock.clone(), Recorder::default());
    let submit = |key: &'static str| {
        let batcher = batcher.clone();
        actix::spawn(async move { batcher.submit(txn([put(key)])).await })
    };
    let on_its_way = submit("/a");
    eventually("the first batch", || store.begun(StoreCall::Batch) == 1).await;
    let late = submit("/b");
    eventually("the second one in the queue", || batcher.state.borrow().waiting.len() == 1).await;
    clock.advance(MAX_WAIT / 2);
    let in_time = submit("/c");
    eventually("the third one in the queue", || batcher.state.borrow().waiting.len() == 2).await;
    clock.advance(MAX_WAIT / 2);
    store.open(StoreCall::Batch);
    assert!(on_its_way.await.unwrap().unwrap().succeeded, "what had left is done");
    let refused = late.await.unwrap().unwrap_err();
    assert!(matches!(refused, StoreError::Aborted { reason: Reason::Busy, .. }), "{refused:?}");
    assert!(in_time.await.unwrap().unwrap().succeeded);
    let sent: Vec<Txn> = store.batches().into_iter().flatten().collect();
    assert_eq!(sent, [txn([put("/a")]), txn([put("/c")])]);
    assert_eq!(batcher.state.borrow().bytes, 0);
}
