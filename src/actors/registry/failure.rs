//! Why a dependency request is not applied. What the store said is kept as it is until a client is told: whether a request
//! is tried again depends on that, not on a client's error code.

use super::core::store_error;
use crate::error::Error;
use crate::store::StoreError;

/// Why a dependency request is not applied.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum DependencyFailure {
    /// The store did not take its writes.
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
    /// Whether the same request would fail again, so that nothing may wait behind it.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => error.is_final(),
            Self::Request(_) => true,
            Self::Later(_) => false,
        }
    }
}

/// What a client is told.
impl From<DependencyFailure> for Error {
    fn from(failure: DependencyFailure) -> Self {
        match failure {
            DependencyFailure::Store(error) => store_error(&error),
            DependencyFailure::Request(error) | DependencyFailure::Later(error) => error,
        }
    }
}
