//! Transactions that do not go through the batcher of the RegistryActor.

use std::sync::Arc;

use super::store_step::store_step;
use crate::store::{Store, StoreError, Txn, TxnOutcome};
use crate::trace;

/// Commits one transaction as a batch of its own.
pub(super) async fn commit_alone(store: &Arc<dyn Store>, txn: Txn) -> Result<TxnOutcome, StoreError> {
    let mut step = store_step(&**store, trace::traced().as_ref(), "batch", 1);
    let outcome = store.batch(vec![txn]).await.pop();
    let outcome = outcome
        .unwrap_or_else(|| Err(StoreError::Unknown { message: "the store answered nothing".to_owned() }));
    outcome.inspect_err(|error| step.fail(error))
}
