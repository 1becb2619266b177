//! The limits of a transaction that do not depend on the stored data. They are etcd's limits with etcd's texts, so that both
//! stores refuse the same transactions.

use std::collections::HashSet;

use super::super::port::{Compare, Op, Reason, StoreError, Txn};

/// etcd's `--max-request-bytes`.
const REQUEST_BYTES: usize = 1_572_864;

/// etcd's `--max-txn-ops`, for compares and for each branch.
const OPERATIONS: usize = 128;

/// About the bytes that etcd's encoding adds to each key and value.
const OVERHEAD: usize = 16;

/// Checks a transaction and returns its size in bytes.
pub(super) fn check(txn: &Txn) -> Result<usize, StoreError> {
    for count in [txn.compares.len(), txn.then.len(), txn.otherwise.len()] {
        if count > OPERATIONS {
            return Err(refused(Reason::TooManyOps, "etcdserver: too many operations in txn request"));
        }
    }
    let compares = txn.compares.iter().map(compare_text);
    let ops = txn.then.iter().chain(&txn.otherwise).map(op_text);
    let mut size = 0;
    for (key, value, prefix) in compares.chain(ops) {
        if key.is_empty() && prefix == Reach::Key {
            return Err(refused(Reason::Refused, "etcdserver: key is not provided"));
        }
        size += key.len() + value + OVERHEAD;
    }
    if size > REQUEST_BYTES {
        return Err(refused(Reason::TooLarge, "etcdserver: request is too large"));
    }
    for branch in [&txn.then, &txn.otherwise] {
        if writes_twice(branch) {
            return Err(refused(Reason::DuplicateKey, "etcdserver: duplicate key given in txn request"));
        }
    }
    Ok(size)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Key,
    Prefix,
}

fn refused(reason: Reason, message: &str) -> StoreError {
    StoreError::Aborted { reason, message: message.to_owned() }
}

fn compare_text(compare: &Compare) -> (&str, usize, Reach) {
    match compare {
        Compare::Absent(key) | Compare::Present(key) | Compare::Unchanged { key, .. } => (key, 0, Reach::Key),
        Compare::ValueIs { key, value } => (key, value.len(), Reach::Key),
        Compare::NoneBelow(prefix) => (prefix, 0, Reach::Prefix),
        Compare::NoneBelowIs { prefix, value } => (prefix, value.len(), Reach::Prefix),
    }
}

fn op_text(op: &Op) -> (&str, usize, Reach) {
    match op {
        Op::Put { key, value, .. } => (key, value.len(), Reach::Key),
        Op::Delete(key) | Op::Get(key) => (key, 0, Reach::Key),
        Op::DeletePrefix(prefix) | Op::GetPrefix(prefix) => (prefix, 0, Reach::Prefix),
    }
}

/// Whether a branch puts a key twice, or puts and deletes it. It may delete a key twice, as in etcd.
fn writes_twice(branch: &[Op]) -> bool {
    let puts = |op: &Op| if let Op::Put { key, .. } = op { Some(key.clone()) } else { None };
    // Nearly all transactions have two or three operations. Comparing each with each needs no memory.
    if branch.len() <= 8 {
        return branch.iter().enumerate().any(|(at, op)| {
            let Op::Put { key, .. } = op else { return false };
            branch.iter().enumerate().any(|(other_at, other)| other_at != at && writes(other, key))
        });
    }
    let keys: HashSet<_> = branch.iter().filter_map(puts).collect();
    let put_count = branch.iter().filter(|op| matches!(op, Op::Put { .. })).count();
    let deleted = |op: &Op| match op {
        Op::Delete(key) => keys.contains(key),
        Op::DeletePrefix(prefix) => keys.iter().any(|key| key.starts_with(&**prefix)),
        _ => false,
    };
    keys.len() < put_count || branch.iter().any(deleted)
}

fn writes(op: &Op, key: &str) -> bool {
    match op {
        Op::Put { key: written, .. } | Op::Delete(written) => **written == *key,
        Op::DeletePrefix(prefix) => key.starts_with(&**prefix),
        Op::Get(_) | Op::GetPrefix(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::port::Key;

    fn put(key: String) -> Op {
        Op::Put { key: Key::from(key), value: bytes::Bytes::new(), lease: None }
    }

    /// The same rule for few and for many operations.
    #[test]
    fn a_key_is_written_once() {
        for padding in [0, 60] {
            let check = |mut ops: Vec<Op>, expected: bool| {
                ops.extend((0..padding).map(|n| put(format!("padding/{n}"))));
                assert_eq!(writes_twice(&ops), expected, "{ops:?}");
            };
            let a = || put("a/1".to_owned());
            check(vec![a(), put("a/2".to_owned())], false);
            check(vec![a(), a()], true);
            check(vec![a(), Op::Delete("a/1".into())], true);
            check(vec![Op::DeletePrefix("a/".into()), a()], true);
            check(vec![Op::DeletePrefix("b".into()), a()], false);
            check(vec![Op::Delete("x".into()), Op::Delete("x".into()), Op::DeletePrefix("x".into())], false);
            check(vec![a(), Op::Get("a/1".into()), Op::GetPrefix("a".into())], false);
        }
    }

    #[test]
    fn an_empty_key_is_refused_and_an_empty_prefix_is_everything() {
        assert!(check(&Txn { then: vec![Op::Get("".into())], ..Txn::default() }).is_err());
        assert!(check(&Txn { compares: vec![Compare::Absent("".into())], ..Txn::default() }).is_err());
        assert!(check(&Txn { then: vec![Op::GetPrefix("".into())], ..Txn::default() }).is_ok());
    }
}
