//! Reads certificates and private keys from PEM files, for the HTTPS port and for connections to etcd. Keys may be encrypted. Files may
//! be replaced while the process runs. This module opens no connection and knows no configuration.

mod key_error;
mod old_encryption;

pub mod any_name;
pub mod expiry;
pub mod files;
pub mod pem;

use std::path::PathBuf;

use rustls::server::VerifierBuilderError;

use self::pem::PemError;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library rejects the versions or the suites.
    #[error("TLS: {0}")]
    Library(rustls::Error),
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("{}: a certificate is not one of a CA: {error}", path.display())]
    Authority { path: PathBuf, error: rustls::Error },
    #[error("{}: these CA certificates cannot verify a peer: {error}", path.display())]
    Verifier { path: PathBuf, error: VerifierBuilderError },
    #[error("the certificate of the peer cannot be checked, because no CA file is given")]
    NoAuthority,
    #[error("{} and {} do not belong together: {error}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, error: rustls::Error },
}
