//! Sends many transactions in few requests. One transaction of etcd holds them as nested transactions, so that the compares of
//! each decide only about itself. If etcd refuses a request because of one transaction, it does not say which. The request is
//! then halved until that transaction is alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::Instant;

use super::entries::Skipped;
use super::failure::unavailable;
use super::nodes::{Effect, Nodes};
use super::space::Space;
use super::txn::{
    MAX_OPS, batch_outcomes, batch_request, needs, outcome, puts, request, revision, weight, width,
};
use crate::store::port::{Reason, StoreError, Txn, TxnOutcome, TxnResult};

/// Transactions in one request. This leaves each of them 8 operations in a list, see [`width`].
const MAX_TXNS: usize = 120;
/// Bytes in one request. etcd accepts 1.5 MiB.
const MAX_BYTES: usize = 1_000_000;
/// Concurrent requests of one call that does not fit into one request.
const IN_FLIGHT: usize = 4;

/// What all batches share. Cheap to clone.
#[derive(Clone)]
pub(super) struct BatchContext {
    pub nodes: Nodes,
    pub skipped: Arc<Skipped>,
    pub space: Arc<Space>,
}

/// Submits transactions that do not depend on each other. Returns one outcome for each, in order. Takes at most twice the limit
/// of a call. Transactions left after that are not done, and their outcome says so.
pub(super) async fn submit(shared: BatchContext, txns: Vec<Txn>) -> Vec<TxnResult> {
    let limit = shared.nodes.call_limit();
    let batch = Batch { shared: &shared, txns: &txns, limit, deadline: Instant::now() + limit * 2 };
    let mut outcomes: Vec<Option<TxnResult>> = txns.iter().map(|_| None).collect();
    let requests = requests(&txns);
    let mut answers = futures_util::stream::iter(requests.into_iter().map(|indices| batch.settle(indices)))
        .buffer_unordered(IN_FLIGHT);
    while let Some(settled) = answers.next().await {
        for (index, outcome) in settled {
            if let Some(slot) = outcomes.get_mut(index) {
                *slot = Some(outcome);
            }
        }
    }
    outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap_or_else(|| Err(unavailable("the transaction was not submitted"))))
        .collect()
}

/// The transactions of each request, by index.
fn requests(txns: &[Txn]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..txns.len()).collect();
    // A wide transaction lowers the number of transactions in its request, so the wide ones go together.
    order.sort_by_key(|index| txns.get(*index).map_or(0, width) > MAX_OPS - MAX_TXNS);
    let mut requests: Vec<Vec<usize>> = Vec::new();
    let mut current: Vec<usize> = Vec::new();
    let (mut bytes, mut widest) = (0, 0);
    for index in order {
        let Some(txn) = txns.get(index) else { continue };
        let (txn_bytes, txn_width) = (weight(txn), width(txn));
        let fits = current.len() < MAX_TXNS
            && bytes + txn_bytes <= MAX_BYTES
            && current.len() + 1 + widest.max(txn_width) <= MAX_OPS;
        if !fits && !current.is_empty() {
            requests.push(std::mem::take(&mut current));
            (bytes, widest) = (0, 0);
        }
        current.push(index);
        bytes += txn_bytes;
        widest = widest.max(txn_width);
    }
    if !current.is_empty() {
        requests.push(current);
    }
    requests
}

struct Batch<'a> {
    shared: &'a BatchContext,
    txns: &'a [Txn],
    limit: Duration,
    deadline: Instant,
}

impl Batch<'_> {
    async fn settle(&self, indices: Vec<usize>) -> Vec<(usize, TxnResult)> {
        let mut settled = Vec::with_capacity(indices.len());
        // The first half goes before the second, so that the first of two conflicting transactions wins.
        let mut waiting = vec![indices];
        while let Some(indices) = waiting.pop() {
            match self.request(&indices).await {
                Ok(outcomes) => settled.extend(indices.into_iter().zip(outcomes.into_iter().map(Ok))),
                Err(error) => match self.parts(&indices, &error) {
                    Some((first, second)) => {
                        waiting.push(second);
                        waiting.push(first);
                    }
                    None => settled.extend(
                        indices.into_iter().map(|index| (index, Err(self.named(index, error.clone())))),
                    ),
                },
            }
        }
        settled
    }

    /// The two parts to try after an error of a whole request; `None` if the error is final for each transaction.
    fn parts(&self, indices: &[usize], error: &StoreError) -> Option<(Vec<usize>, Vec<usize>)> {
        let StoreError::Aborted { reason, .. } = error else { return None };
        if indices.len() < 2 {
            return None;
        }
        match reason {
            Reason::LeaseNotFound
            | Reason::DuplicateKey
            | Reason::TooLarge
            | Reason::TooManyOps
            | Reason::Denied
            | Reason::Refused => {
                let (first, second) = indices.split_at(indices.len() / 2);
                Some((first.to_vec(), second.to_vec()))
            }
            // A full etcd still deletes, so that instances can unregister.
            Reason::NoSpace => {
                let needs_space = |index: &usize| self.txns.get(*index).is_some_and(puts);
                let (full, free): (Vec<usize>, Vec<usize>) =
                    indices.iter().partition(|index| needs_space(index));
                (!full.is_empty() && !free.is_empty()).then_some((free, full))
            }
            Reason::Unavailable | Reason::Busy => None,
        }
    }

    /// Adds the transaction's keys to the error of a missing permission, because etcd does not name the key.
    fn named(&self, index: usize, error: StoreError) -> StoreError {
        match (error, self.txns.get(index)) {
            (StoreError::Aborted { reason: Reason::Denied, message }, Some(txn)) => {
                let message = format!("{message}; {}", needs(txn));
                StoreError::Aborted { reason: Reason::Denied, message }
            }
            (error, _) => error,
        }
    }

    async fn request(&self, indices: &[usize]) -> Result<Vec<TxnOutcome>, StoreError> {
        let BatchContext { nodes, skipped, space } = self.shared;
        let limit = self.limit.min(self.deadline.saturating_duration_since(Instant::now()));
        if limit.is_zero() {
            return Err(unavailable("the time limit was reached before the transaction was submitted alone"));
        }
        let txns: Vec<&Txn> = indices.iter().filter_map(|index| self.txns.get(*index)).collect();
        let (before, alarmed) = (nodes.seen(), space.is_alarmed());
        let answer = nodes
            .call(Effect::Writes, limit, |clients| {
                let request = match txns.as_slice() {
                    [single] => request(single),
                    many => batch_request(many),
                };
                async move { clients.kv.clone().txn(request).await }
            })
            .await;
        let answer = match answer {
            Err(StoreError::Aborted { reason: Reason::NoSpace, message }) if !alarmed => {
                return Err(match space.may_be_written(nodes, &txns, before, self.deadline).await {
                    Ok(false) => StoreError::Aborted { reason: Reason::NoSpace, message },
                    Ok(true) | Err(_) => {
                        StoreError::Unknown { message: format!("{message} (but it may have been written)") }
                    }
                });
            }
            answer => answer?,
        };
        let revision = revision(&answer);
        nodes.saw(revision);
        let outcomes = match txns.len() {
            1 => Some(vec![outcome(&answer, revision, skipped)]),
            count => batch_outcomes(&answer, count, skipped),
        };
        let outcomes = outcomes.ok_or_else(|| StoreError::Unknown {
            message: format!("etcd's answer to {} transactions does not have the expected form", txns.len()),
        })?;
        if txns.iter().any(|txn| puts(txn)) {
            space.has_room();
        }
        Ok(outcomes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use bytes::Bytes;

    use super::*;
    use crate::store::port::Op;

    fn wide(ops: usize, value_bytes: usize) -> Txn {
        let put = |n: usize| Op::Put {
            key: format!("/{n}").into(),
            value: Bytes::from(vec![0; value_bytes]),
            lease: None,
        };
        Txn { compares: Vec::new(), then: (0..ops).map(put).collect(), otherwise: Vec::new() }
    }

    fn check(txns: &[Txn], expected: &[usize]) {
        let requests = requests(txns);
        assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), expected);
        let mut all: Vec<usize> = requests.concat();
        all.sort_unstable();
        assert_eq!(all, (0..txns.len()).collect::<Vec<_>>(), "each exactly once");
        for indices in &requests {
            let widest = indices.iter().map(|index| width(&txns[*index])).max().unwrap();
            assert!(indices.len() == 1 || indices.len() + widest <= MAX_OPS);
        }
    }

    #[test]
    fn requests_keep_to_what_etcd_takes() {
        check(&[], &[]);
        check(&vec![wide(2, 10); 250], &[120, 120, 10]);
        check(&vec![wide(8, 10); 121], &[120, 1]);
        check(&vec![wide(9, 10); 121], &[119, 2]);
        check(&[wide(127, 1), wide(128, 1), wide(2, 1), wide(2, 1)], &[2, 1, 1]);
        check(&vec![wide(1, 300_000); 7], &[3, 3, 1]);
        check(&[wide(1, 10), wide(1, 2_000_000), wide(1, 10)], &[1, 1, 1]);
        let mut mixed = vec![wide(2, 1); 100];
        mixed.insert(50, wide(60, 1));
        check(&mixed, &[100, 1]);
    }
}
