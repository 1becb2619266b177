//! Translates transactions to etcd's form and its answers back, and measures transactions by etcd's rules. Pure.

use etcd_client as etcd;
use etcd_client::{CompareOp, DeleteOptions, GetOptions, PutOptions, TxnOp, TxnOpResponse, TxnResponse};

use super::entries::{Skipped, entry, prefix_end, prefix_start};
use crate::store::port::{Compare, Op, Revision, Txn, TxnOutcome};

/// The most operations in one list of a transaction: etcd's default for `--max-txn-ops`.
pub(super) const MAX_OPS: usize = 128;

/// The bytes of an operation or a compare without its key and value, rounded up.
const FRAME_BYTES: usize = 48;

/// The length of the longest list of a transaction. etcd counts the lists around a nested transaction too: the transactions in
/// a batch of `n` may be at most `128 - n` wide.
pub(super) fn width(txn: &Txn) -> usize {
    txn.compares.len().max(txn.then.len()).max(txn.otherwise.len())
}

/// About the bytes of a transaction in a request.
pub(super) fn weight(txn: &Txn) -> usize {
    let compares = txn.compares.iter().map(|compare| match compare {
        Compare::Absent(key) | Compare::Present(key) | Compare::NoneBelow(key) => key.len() * 2,
        Compare::Unchanged { key, .. } => key.len(),
        Compare::ValueIs { key, value } => key.len() + value.len(),
        Compare::NoneBelowIs { prefix, value } => prefix.len() * 2 + value.len(),
    });
    let ops = txn.then.iter().chain(&txn.otherwise).map(|op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete(key) | Op::Get(key) => key.len(),
        Op::DeletePrefix(key) | Op::GetPrefix(key) => key.len() * 2,
    });
    FRAME_BYTES + compares.chain(ops).map(|bytes| bytes + FRAME_BYTES).sum::<usize>()
}

/// Whether a transaction may need space. Deletions need none.
pub(super) fn puts(txn: &Txn) -> bool {
    txn.then.iter().chain(&txn.otherwise).any(|op| matches!(op, Op::Put { .. }))
}

/// The keys of a kind that an error message names. It counts the others.
const NAMED_KEYS: usize = 3;

/// The rights that a transaction needs, for an error message: `it reads "/a" and writes "/b"`.
pub(super) fn needs(txn: &Txn) -> String {
    let (mut read, mut written): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for compare in &txn.compares {
        read.push(match compare {
            Compare::Absent(key) | Compare::Present(key) | Compare::NoneBelow(key) => key,
            Compare::Unchanged { key, .. } | Compare::ValueIs { key, .. } => key,
            Compare::NoneBelowIs { prefix, .. } => prefix,
        });
    }
    for op in txn.then.iter().chain(&txn.otherwise) {
        match op {
            Op::Put { key, .. } | Op::Delete(key) | Op::DeletePrefix(key) => written.push(key),
            Op::Get(key) | Op::GetPrefix(key) => read.push(key),
        }
    }
    let named = |verb: &str, mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.dedup();
        let first: Vec<String> = keys.iter().take(NAMED_KEYS).map(|key| format!("{key:?}")).collect();
        let more = keys.len().saturating_sub(NAMED_KEYS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!keys.is_empty()).then(|| format!("{verb} {}{more}", first.join(", ")))
    };
    let each: Vec<String> = [named("reads", read), named("writes", written)].into_iter().flatten().collect();
    format!("it {}", each.join(" and "))
}

pub(super) fn request(txn: &Txn) -> etcd::Txn {
    etcd::Txn::new()
        .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(txn.then.iter().map(op).collect::<Vec<_>>())
        .or_else(txn.otherwise.iter().map(op).collect::<Vec<_>>())
}

/// One request for many transactions.
pub(super) fn batch_request(txns: &[&Txn]) -> etcd::Txn {
    let nested: Vec<TxnOp> = txns.iter().map(|txn| TxnOp::txn(request(txn))).collect();
    let ops = txns.iter().flat_map(|txn| txn.then.iter().chain(&txn.otherwise));
    // etcd's quota counts only puts at the top level, so nested puts would exceed it and fill the disk. This put is counted
    // but never done, because a transaction without compares never does its second branch. Its key is one that the nested
    // transactions put, because etcd checks the right to put it.
    let counted = ops.into_iter().find_map(|op| match op {
        Op::Put { key, .. } => Some(TxnOp::put(&**key, "", None)),
        _ => None,
    });
    etcd::Txn::new().and_then(nested).or_else(counted.into_iter().collect::<Vec<_>>())
}

fn compare(compare: &Compare) -> etcd::Compare {
    match compare {
        Compare::Absent(key) => etcd::Compare::create_revision(&**key, CompareOp::Equal, 0),
        Compare::Present(key) => etcd::Compare::version(&**key, CompareOp::NotEqual, 0),
        Compare::Unchanged { key, mod_revision } => {
            etcd::Compare::mod_revision(&**key, CompareOp::Equal, *mod_revision)
        }
        Compare::NoneBelow(prefix) => {
            etcd::Compare::create_revision(prefix_start(prefix), CompareOp::Equal, 0)
                .with_range(prefix_end(prefix.as_bytes()))
        }
        Compare::NoneBelowIs { prefix, value } => {
            etcd::Compare::value(prefix_start(prefix), CompareOp::NotEqual, &**value)
                .with_range(prefix_end(prefix.as_bytes()))
        }
        Compare::ValueIs { key, value } => etcd::Compare::value(&**key, CompareOp::Equal, &**value),
    }
}

fn op(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(&**key, &**value, options)
        }
        Op::Delete(key) => TxnOp::delete(&**key, None),
        Op::DeletePrefix(prefix) => TxnOp::delete(&**prefix, Some(DeleteOptions::new().with_prefix())),
        Op::Get(key) => TxnOp::get(&**key, None),
        Op::GetPrefix(prefix) => TxnOp::get(&**prefix, Some(GetOptions::new().with_prefix())),
    }
}

/// The outcome in etcd's answer to one transaction. `revision` is the revision of the whole request.
pub(super) fn outcome(answer: &TxnResponse, revision: Revision, skipped: &Skipped) -> TxnOutcome {
    let mut changed = false;
    let mut reads = Vec::new();
    for response in answer.op_responses() {
        match response {
            TxnOpResponse::Put(_) => changed = true,
            TxnOpResponse::Delete(delete) => changed |= delete.deleted() > 0,
            TxnOpResponse::Get(mut get) => {
                reads.push(get.take_kvs().into_iter().filter_map(|pair| entry(pair, skipped)).collect());
            }
            // A transaction of the port has no nested transactions.
            TxnOpResponse::Txn(_) => {}
        }
    }
    TxnOutcome { succeeded: answer.succeeded(), revision, changed, reads }
}

/// The outcomes in etcd's answer to a batch, in order; `None` if the answer has another form.
pub(super) fn batch_outcomes(
    answer: &TxnResponse,
    asked: usize,
    skipped: &Skipped,
) -> Option<Vec<TxnOutcome>> {
    let revision = revision(answer);
    let outcomes: Vec<TxnOutcome> = answer
        .op_responses()
        .iter()
        .filter_map(|response| match response {
            TxnOpResponse::Txn(nested) => Some(outcome(nested, revision, skipped)),
            _ => None,
        })
        .collect();
    (outcomes.len() == asked).then_some(outcomes)
}

/// The store's revision after a request.
pub(super) fn revision(answer: &TxnResponse) -> Revision {
    answer.header().map_or(0, etcd::ResponseHeader::revision)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_a_transaction_needs_is_told() {
        let put = |key: &str| Op::Put { key: key.into(), value: Bytes::new(), lease: None };
        let lock = Txn {
            compares: vec![Compare::Absent("/lock".into())],
            then: vec![put("/lock")],
            ..Txn::default()
        };
        assert_eq!(needs(&lock), r#"it reads "/lock" and writes "/lock""#);
        let then = ["/e", "/d", "/c", "/b", "/a", "/a"].map(put).into();
        assert_eq!(needs(&Txn { then, ..Txn::default() }), r#"it writes "/a", "/b", "/c" and 2 more"#);
        let otherwise = vec![Op::GetPrefix("/p/".into()), Op::DeletePrefix("/q/".into())];
        assert_eq!(needs(&Txn { otherwise, ..Txn::default() }), r#"it reads "/p/" and writes "/q/""#);
    }
}
