//! Cases about transactions and batches.

use bytes::Bytes;

use super::{
    StoreUnderTest, area, assert_aborted, attempt, commit, dead_lease, find, grant, key, names, present, put,
    put_leased, submit, unconditional, write,
};
use crate::store::port::{Compare, Key, Op, Reason, Txn};

fn conditional(compares: Vec<Compare>, then: Vec<Op>) -> Txn {
    Txn { compares, then, otherwise: Vec::new() }
}

/// Each kind of compare, once true and once false.
pub async fn compares_of_every_kind(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (there, absent, gone) = (key(&area, "there"), key(&area, "absent"), key(&area, "gone"));
    write(store, vec![put(&gone, "x")]).await;
    write(store, vec![Op::Delete(gone.clone())]).await;
    let first = write(store, vec![put(&there, "one")]).await.revision;
    let last = write(store, vec![put(&there, "two")]).await.revision;
    let value =
        |key: &Key, value: &'static str| Compare::ValueIs { key: key.clone(), value: Bytes::from(value) };
    write(store, vec![put(&key(&area, "z"), "other")]).await;
    let unchanged = |key: &Key, mod_revision| Compare::Unchanged { key: key.clone(), mod_revision };
    let none_below_is = |prefix: &str, value: &'static str| Compare::NoneBelowIs {
        prefix: key(&area, prefix),
        value: Bytes::from(value),
    };
    let cases = [
        (Compare::Absent(absent.clone()), true),
        (Compare::Absent(gone.clone()), true),
        (Compare::Absent(there.clone()), false),
        (Compare::Present(there.clone()), true),
        (Compare::Present(absent.clone()), false),
        (Compare::Present(gone.clone()), false),
        (unchanged(&there, last), true),
        (unchanged(&there, first), false),
        (unchanged(&absent, last), false),
        (value(&there, "two"), true),
        (value(&there, "one"), false),
        (value(&there, "two "), false),
        (value(&there, "tw"), false),
        (value(&absent, "two"), false),
        (value(&absent, ""), false),
        (none_below_is("", "three"), true),
        (none_below_is("", "two"), false),
        (none_below_is("", "other"), false),
        (none_below_is("the", "other"), true),
        (none_below_is("the", "two"), false),
        (none_below_is("", "one"), true),
        (none_below_is("absent", "one"), false),
        (none_below_is("gone", "one"), false),
    ];
    for (compare, holds) in cases {
        let outcome = commit(store, conditional(vec![compare.clone()], Vec::new())).await;
        assert_eq!(outcome.succeeded, holds, "{compare:?}");
    }
}

pub async fn all_compares_must_hold(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (a, b) = (key(&area, "a"), key(&area, "b"));
    write(store, vec![put(&a, "1")]).await;
    let both = |second: Compare| conditional(vec![Compare::Present(a.clone()), second], vec![put(&b, "2")]);
    assert!(!commit(store, both(Compare::Present(b.clone()))).await.succeeded);
    assert!(find(store, &b).await.is_none(), "a failed compare writes nothing");
    assert!(commit(store, both(Compare::Absent(b.clone()))).await.succeeded);
    assert_eq!(present(store, &b).await.value, "2");
}

pub async fn the_branch_not_taken_does_nothing(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (door, then, otherwise) = (key(&area, "door"), key(&area, "then"), key(&area, "else"));
    let txn = Txn {
        compares: vec![Compare::Absent(door.clone())],
        then: vec![put(&door, "taken"), put(&then, "x")],
        otherwise: vec![put(&otherwise, "x"), Op::Get(door.clone())],
    };
    let first = commit(store, txn.clone()).await;
    assert!(first.succeeded && first.changed && first.reads.is_empty(), "{first:?}");
    assert!(find(store, &otherwise).await.is_none());
    let second = commit(store, txn).await;
    assert!(!second.succeeded && second.changed, "{second:?}");
    assert!(second.revision > first.revision);
    assert_eq!(second.reads.len(), 1);
    assert_eq!(second.reads[0][0].value, "taken", "else reads what is there");
    assert_eq!(present(store, &then).await.version, 1);
    assert_eq!(present(store, &otherwise).await.version, 1);
}

/// `changed` is false for reads, for nothing, and for a deletion of nothing.
pub async fn changed_says_whether_something_was_written(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (a, b) = (key(&area, "a"), key(&area, "b"));
    let created = write(store, vec![put(&a, "1")]).await;
    assert!(created.changed);
    let quiet: [(&str, Vec<Op>); 5] = [
        ("a read", vec![Op::Get(a.clone())]),
        ("a deletion of nothing", vec![Op::Delete(b.clone())]),
        ("a prefix deletion of nothing", vec![Op::DeletePrefix(key(&area, "zzz"))]),
        ("nothing", Vec::new()),
        ("reads and deletions of nothing", vec![Op::GetPrefix(a.clone()), Op::Delete(b.clone())]),
    ];
    for (what, ops) in quiet {
        let outcome = write(store, ops).await;
        assert!(!outcome.changed, "{what} changes nothing, got {outcome:?}");
        assert!(outcome.revision >= created.revision, "{what}: {outcome:?}");
    }
    let same = write(store, vec![put(&a, "1")]).await;
    assert!(
        same.changed && same.revision > created.revision,
        "a put of the same value is a change: {same:?}"
    );
    let mixed = write(store, vec![Op::Delete(b.clone()), Op::Delete(a.clone())]).await;
    assert!(mixed.changed && mixed.revision > same.revision, "{mixed:?}");
    let failed = commit(store, conditional(vec![Compare::Present(a.clone())], vec![put(&a, "3")])).await;
    assert!(!failed.succeeded && !failed.changed, "{failed:?}");
}

pub async fn operations_of_every_kind(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let all = ["a/1", "a/2", "a/2/x", "a2", "b"];
    write(store, all.iter().map(|name| put(&key(&area, name), *name)).collect()).await;
    let outcome = write(store, vec![Op::Get(key(&area, "b")), Op::GetPrefix(key(&area, "a/"))]).await;
    assert_eq!(outcome.reads[0].len(), 1);
    let read: Vec<&str> = outcome.reads[1].iter().map(|entry| &entry.key[area.len()..]).collect();
    assert_eq!(read, ["a/1", "a/2", "a/2/x"], "GetPrefix reads in key order");
    write(store, vec![Op::Delete(key(&area, "a/1")), Op::Delete(key(&area, "nothing"))]).await;
    assert_eq!(names(store, &area).await, ["a/2", "a/2/x", "a2", "b"].map(str::to_owned).into());
    write(store, vec![Op::DeletePrefix(key(&area, "a/"))]).await;
    assert_eq!(names(store, &area).await, ["a2", "b"].map(str::to_owned).into());
    write(store, vec![Op::DeletePrefix(key(&area, "a")), put(&key(&area, "c"), "c")]).await;
    assert_eq!(names(store, &area).await, ["b", "c"].map(str::to_owned).into());
    write(store, vec![Op::DeletePrefix(key(&area, ""))]).await;
    assert!(names(store, &area).await.is_empty());
}

/// One list for each read, which is empty if there is no key.
pub async fn reads_come_in_the_order_asked(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    write(store, vec![put(&key(&area, "a"), "1"), put(&key(&area, "b"), "2")]).await;
    let outcome = write(
        store,
        vec![
            Op::Get(key(&area, "b")),
            put(&key(&area, "z"), "3"),
            Op::Get(key(&area, "nothing")),
            Op::GetPrefix(key(&area, "nothing")),
            Op::Delete(key(&area, "nothing")),
            Op::Get(key(&area, "a")),
        ],
    )
    .await;
    let read: Vec<Vec<Bytes>> = outcome
        .reads
        .iter()
        .map(|entries| entries.iter().map(|entry| entry.value.clone()).collect())
        .collect();
    assert_eq!(read, [vec![Bytes::from("2")], vec![], vec![], vec![Bytes::from("1")]]);
}

pub async fn a_transaction_sees_its_own_writes(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (a, b) = (key(&area, "a"), key(&area, "b"));
    write(store, vec![put(&b, "old")]).await;
    let ops = vec![Op::Get(a.clone()), put(&a, "new"), Op::Get(a.clone()), Op::Delete(b.clone()), Op::Get(b)];
    let outcome = write(store, ops).await;
    assert!(outcome.reads[0].is_empty(), "read before the put: {outcome:?}");
    assert_eq!(outcome.reads[1][0].value, "new");
    assert_eq!(outcome.reads[1][0].mod_revision, outcome.revision);
    assert!(outcome.reads[2].is_empty(), "read after the deletion: {outcome:?}");
}

pub async fn a_batch_of_120_fails_one_by_one(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let taken = |n: usize| n % 7 == 3;
    let files = |n: usize| key(&area, format_args!("files/{n:03}"));
    let leases = |n: usize| key(&area, format_args!("leases/{n:03}"));
    write(store, (0..120).filter(|n| taken(*n)).map(|n| put(&files(n), "taken")).collect()).await;
    let txns = (0..120)
        .map(|n| Txn {
            compares: vec![Compare::Absent(files(n))],
            then: vec![put(&files(n), n.to_string()), put(&leases(n), "7")],
            otherwise: vec![Op::Get(files(n))],
        })
        .collect();
    let before = store.revision().await.expect("a revision");
    for (n, outcome) in submit(store, txns).await.into_iter().enumerate() {
        let outcome = outcome.unwrap_or_else(|error| panic!("transaction {n}: {error:?}"));
        assert_eq!(outcome.succeeded, !taken(n), "transaction {n}: {outcome:?}");
        if taken(n) {
            assert_eq!(outcome.reads[0][0].value, "taken", "transaction {n} reads by its else branch");
            assert!(!outcome.changed, "transaction {n} only read");
        } else {
            assert!(outcome.changed && outcome.reads.is_empty(), "transaction {n}: {outcome:?}");
            assert!(outcome.revision > before, "transaction {n}: {outcome:?}");
            let entry = present(store, &files(n)).await;
            assert_eq!((entry.value, entry.mod_revision), (Bytes::from(n.to_string()), outcome.revision));
        }
    }
}

pub async fn an_empty_batch_and_an_empty_transaction(subject: StoreUnderTest) {
    let store = &subject.store;
    assert!(submit(store, Vec::new()).await.is_empty());
    let outcome = commit(store, Txn::default()).await;
    assert!(outcome.succeeded && !outcome.changed && outcome.reads.is_empty(), "{outcome:?}");
}

/// etcd refuses a whole request because of one dead lease, so its store halves the request.
pub async fn a_dead_lease_fails_only_its_own_transaction(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let alive = grant(store, 600).await;
    let dead = dead_lease(store).await;
    let is_dead = |n: usize| n == 5 || n == 17 || n == 18;
    let txns = (0..40)
        .map(|n| {
            let lease = if is_dead(n) { dead } else { alive };
            let name = key(&area, format_args!("{n:02}"));
            conditional(vec![Compare::Absent(name.clone())], vec![put_leased(&name, "x", lease)])
        })
        .collect();
    for (n, outcome) in submit(store, txns).await.into_iter().enumerate() {
        if is_dead(n) {
            assert_aborted(&outcome, Reason::LeaseNotFound, &format!("transaction {n} on a dead lease"));
        } else {
            let outcome =
                outcome.unwrap_or_else(|error| panic!("transaction {n} on a live lease: {error:?}"));
            assert!(outcome.succeeded && outcome.changed, "transaction {n}: {outcome:?}");
        }
    }
    assert_eq!(names(store, &area).await.len(), 37, "what was aborted wrote nothing");
    let unused = Txn {
        compares: vec![Compare::Absent(key(&area, "00"))],
        then: vec![put_leased(&key(&area, "zz"), "x", dead)],
        otherwise: vec![Op::Get(key(&area, "00"))],
    };
    assert!(!commit(store, unused).await.succeeded, "a dead lease in the branch not taken does not matter");
}

pub async fn errors_of_one_leave_the_others_of_a_batch(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let names: Vec<Key> = (0..4).map(|n| key(&area, n)).collect();
    let dead = dead_lease(store).await;
    let txns = vec![
        unconditional(vec![put(&names[0], "x")]),
        unconditional(vec![put(&names[1], "x"), put(&names[1], "y")]),
        unconditional(vec![put_leased(&names[2], "x", dead)]),
        unconditional(vec![put(&names[3], "x")]),
    ];
    let outcomes = submit(store, txns).await;
    assert!(outcomes[0].is_ok() && outcomes[3].is_ok(), "{outcomes:?}");
    assert_aborted(&outcomes[1], Reason::DuplicateKey, "a key written twice");
    assert_aborted(&outcomes[2], Reason::LeaseNotFound, "a dead lease");
    assert_eq!(super::names(store, &area).await, ["0", "3"].map(str::to_owned).into());
}

/// The limit is 1.5 MiB.
pub async fn a_request_too_large_is_refused(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (small, large) = (key(&area, "small"), key(&area, "large"));
    let outcome = attempt(store, unconditional(vec![put(&large, vec![b'x'; 1_700_000])])).await;
    assert_aborted(&outcome, Reason::TooLarge, "1.7 MB in one value");
    let many = (0..100).map(|n| put(&key(&area, n), vec![b'x'; 17_000])).collect();
    assert_aborted(&attempt(store, unconditional(many)).await, Reason::TooLarge, "1.7 MB in 100 values");
    assert!(names(store, &area).await.is_empty(), "what is refused writes nothing");
    write(store, vec![put(&large, vec![b'x'; 1_200_000])]).await;
    assert_eq!(present(store, &large).await.value.len(), 1_200_000, "1.2 MB are allowed");
    write(store, vec![put(&small, "x")]).await;
}

/// The limit is 128 operations in a branch.
pub async fn too_many_operations_are_refused(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let puts =
        |count: usize| (0..count).map(|n| put(&key(&area, format_args!("{n:03}")), "x")).collect::<Vec<_>>();
    assert_aborted(&attempt(store, unconditional(puts(129))).await, Reason::TooManyOps, "129 puts");
    let otherwise = Txn { compares: Vec::new(), then: Vec::new(), otherwise: puts(129) };
    assert_aborted(&attempt(store, otherwise).await, Reason::TooManyOps, "129 puts in the else branch");
    let compares = (0..129).map(|n| Compare::Absent(key(&area, n))).collect();
    assert_aborted(
        &attempt(store, conditional(compares, Vec::new())).await,
        Reason::TooManyOps,
        "129 compares",
    );
    assert!(names(store, &area).await.is_empty(), "what is refused writes nothing");
    write(store, puts(128)).await;
    assert_eq!(names(store, &area).await.len(), 128, "128 are allowed");
}

/// Two puts of a key, or a put and a deletion of a key.
pub async fn a_key_written_twice_is_refused(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (a, b) = (key(&area, "a/1"), key(&area, "b"));
    write(store, vec![put(&a, "old")]).await;
    let twice: [(&str, Vec<Op>); 4] = [
        ("two puts", vec![put(&a, "1"), put(&b, "2"), put(&a, "3")]),
        ("a put, then a deletion", vec![put(&a, "1"), Op::Delete(a.clone())]),
        ("a deletion, then a put", vec![Op::Delete(a.clone()), put(&a, "1")]),
        ("a prefix deletion over a put", vec![Op::DeletePrefix(key(&area, "a/")), put(&a, "1")]),
    ];
    for (what, ops) in twice {
        let then = attempt(store, unconditional(ops.clone())).await;
        assert_aborted(&then, Reason::DuplicateKey, what);
        let otherwise = Txn { compares: Vec::new(), then: Vec::new(), otherwise: ops };
        assert_aborted(
            &attempt(store, otherwise).await,
            Reason::DuplicateKey,
            &format!("{what}, in the else branch"),
        );
    }
    let either = Txn {
        compares: vec![Compare::Present(b.clone())],
        then: vec![put(&a, "1")],
        otherwise: vec![put(&a, "2")],
    };
    assert!(!commit(store, either).await.succeeded, "one key in both branches is fine");
    assert_eq!(present(store, &a).await.value, "2");
}

pub async fn versions_and_revisions_count(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let (a, b) = (key(&area, "a"), key(&area, "b"));
    let first = write(store, vec![put(&a, "1"), put(&b, "1")]).await.revision;
    let second = write(store, vec![put(&a, "2")]).await.revision;
    assert!(second > first);
    let entry = present(store, &a).await;
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (first, second, 2));
    let entry = present(store, &b).await;
    assert_eq!(
        (entry.create_revision, entry.mod_revision, entry.version),
        (first, first, 1),
        "one revision for both"
    );
    write(store, vec![Op::Delete(a.clone())]).await;
    let again = write(store, vec![put(&a, "3")]).await.revision;
    let entry = present(store, &a).await;
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (again, again, 1), "created anew");
}

/// Values that are not text, the empty value, and a value with every byte.
pub async fn values_are_bytes(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    let every: Vec<u8> = (0..=255).cycle().take(1_000).collect();
    let values: [&[u8]; 6] = [b"", b"\0", b"\xff\xfe\x00", &every, &every[..22], &every[..24]];
    for (n, value) in values.iter().enumerate() {
        let name = key(&area, format_args!("{n}/ü € 𝄞"));
        write(store, vec![put(&name, value)]).await;
        let entry = present(store, &name).await;
        assert_eq!(entry.value, *value, "value {n}");
        let is = Compare::ValueIs { key: name.clone(), value: Bytes::copy_from_slice(value) };
        assert!(commit(store, conditional(vec![is], Vec::new())).await.succeeded, "value {n} compares");
    }
    let (entries, _) = super::list_all(store, &area).await;
    let listed: Vec<&[u8]> = entries.iter().map(|entry| entry.value.as_ref()).collect();
    assert_eq!(listed, values);
}

pub async fn one_of_many_creators_wins(subject: StoreUnderTest) {
    let (store, area) = (&subject.store, area());
    for round in 0..20 {
        let name = key(&area, round);
        let attempts = (0..16).map(|n: u32| {
            let txn = Txn {
                compares: vec![Compare::Absent(name.clone())],
                then: vec![put(&name, n.to_string())],
                otherwise: vec![Op::Get(name.clone())],
            };
            let store = store.clone();
            tokio::spawn(async move { commit(&store, txn).await })
        });
        let mut winners = Vec::new();
        let mut seen = Vec::new();
        for (n, outcome) in futures_util::future::join_all(attempts).await.into_iter().enumerate() {
            let outcome = outcome.expect("a creator");
            if outcome.succeeded {
                winners.push(n.to_string())
            } else {
                seen.push(outcome.reads[0][0].value.clone())
            }
        }
        assert_eq!(winners.len(), 1, "exactly one creator wins, got {winners:?}");
        assert!(seen.iter().all(|value| *value == winners[0]), "the losers read the winner");
    }
}

pub async fn counters_under_compare_lose_nothing(subject: StoreUnderTest) {
    let store = &subject.store;
    let counter = key(&area(), "counter");
    write(store, vec![put(&counter, "0")]).await;
    let tasks = (0..6).map(|_| {
        let (store, counter) = (store.clone(), counter.clone());
        tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                let now = present(&store, &counter).await;
                let value: u32 = std::str::from_utf8(&now.value).expect("digits").parse().expect("a number");
                let unchanged = Compare::Unchanged { key: counter.clone(), mod_revision: now.mod_revision };
                let txn = conditional(vec![unchanged], vec![put(&counter, (value + 1).to_string())]);
                done += u32::from(commit(&store, txn).await.succeeded);
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.expect("an incrementer");
    }
    let entry = present(store, &counter).await;
    assert_eq!((entry.value, entry.version), (Bytes::from("60"), 61));
}
