//! Why a dependency request is not applied. The error of the store is kept until a client is answered, because whether a
//! request is tried again depends on it, not on the error code for the client.

use super::core::store_error;
use crate::error::Error;
use crate::store::StoreError;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DependencyFailure {
    /// The store rejected or did not answer its writes.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It breaks a rule of the registry.
    #[error("{0}")]
    Request(Error),
    /// It is not applied now: another node holds the lock, or other nodes keep writing the same rules.
    #[error("{0}")]
    Later(Error),
}

impl DependencyFailure {
    /// Whether the same request would fail again. Then no other request may wait for it.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => error.is_final(),
            Self::Request(_) => true,
            Self::Later(_) => false,
        }
    }
}

impl From<DependencyFailure> for Error {
    fn from(failure: DependencyFailure) -> Self {
        match failure {
            DependencyFailure::Store(error) => store_error(&error),
            DependencyFailure::Request(error) | DependencyFailure::Later(error) => error,
        }
    }
}
