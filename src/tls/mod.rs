//! What both sides of TLS read: certificates and keys in PEM, encrypted ones too, from files that may be replaced while the
//! process runs. It opens no connection and knows no configuration.

mod key_error;
mod old_encryption;

pub mod files;
pub mod pem;

use std::path::PathBuf;

use rustls::server::VerifierBuilderError;

use self::pem::PemError;

/// Why a side of TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library does not take the versions or suites.
    #[error("TLS: {0}")]
    Library(rustls::Error),
    /// A file.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// An authority that is none.
    #[error("{}: {error}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// Authorities by which nobody can be verified.
    #[error("{}: {error}", path.display())]
    Verifier {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: VerifierBuilderError,
    },
    /// The other side is to be verified, and by nobody.
    #[error("no CA is given, and the other side's certificate is to be checked")]
    NoAuthority,
    /// Certificate and key that do not belong together.
    #[error("{} and {}: {error}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}
