//! What the outcome of a transaction means to the client that waits for it.

use super::registry::messages::Committed;
use crate::error::{Code, Error};
use crate::metrics;
use crate::store::{Reason, StoreError, TxnOutcome};

/// The error for the client when the store fails.
pub(super) fn store_error(error: &StoreError) -> Error {
    match error {
        StoreError::Aborted { message, .. } if error.is_final() => {
            Error::new(Code::Internal, message.clone())
        }
        StoreError::Aborted { reason: Reason::Busy, message } => {
            metrics::REFUSED_FOR_LOAD.add(1);
            Error::new(Code::Overloaded, message.clone())
        }
        StoreError::Aborted { message, .. } | StoreError::Unknown { message } => {
            Error::new(Code::Unavailable, message.clone())
        }
    }
}

/// The answer to a committed write.
pub(super) fn committed<T>(value: T, outcome: &TxnOutcome) -> Committed<T> {
    Committed { value, revision: outcome.changed.then_some(outcome.revision) }
}

/// The answer when nothing was written.
pub(super) fn unchanged<T>(value: T) -> Committed<T> {
    Committed { value, revision: None }
}
