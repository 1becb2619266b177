//! Transactions that do not go through the batcher of the RegistryActor.

use std::sync::Arc;

use crate::store::{Store, StoreError, Txn, TxnOutcome};

/// Commits one transaction as a batch of its own.
pub(super) async fn commit_alone(store: &Arc<dyn Store>, txn: Txn) -> Result<TxnOutcome, StoreError> {
    let outcome = store.batch(vec![txn]).await.pop();
    outcome.unwrap_or_else(|| Err(StoreError::Unknown { message: "the store answered nothing".to_owned() }))
}
