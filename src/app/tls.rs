//! Certificates of the HTTPS port, from the folder the original uses: `trust.cer`, `server.cer`, `server_key.pem`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rustls::crypto::ring::cipher_suite;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::encrypted_pem::{self, KeyError};
use crate::config::{Cipher, TlsConfig, TlsVersion};

/// Why the port cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library does not take the versions or suites.
    #[error("TLS: {0}")]
    Library(rustls::Error),
    /// A file that cannot be read, or is no PEM.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: io::Error,
    },
    /// A file without what it is for.
    #[error("{}: holds no {what}", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A key that its password does not open.
    #[error("{}: {error}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: KeyError,
    },
    /// An authority that is none.
    #[error("{}: {error}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// Authorities by which no client can be verified.
    #[error("{}: {error}", path.display())]
    Verifier {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: VerifierBuilderError,
    },
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

/// The TLS side of the port; an error names the file.
pub fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, TlsError> {
    let provider =
        Arc::new(CryptoProvider { cipher_suites: suites(&config.ciphers), ..ring::default_provider() });
    let versions: &[&SupportedProtocolVersion] = match config.min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Library)?;
    let builder = if config.verify_client {
        let mut roots = RootCertStore::empty();
        let path = config.trust_file();
        for certificate in certificates(&path)? {
            roots.add(certificate).map_err(|error| TlsError::Authority { path: path.clone(), error })?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| TlsError::Verifier { path, error })?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = certificates(&config.certificate_file())?;
    let key = private_key(config)?;
    let config = builder.with_single_cert(chain, key).map_err(|error| TlsError::Pair {
        certificate: config.certificate_file(),
        key: config.key_file(),
        error,
    })?;
    Ok(Arc::new(config))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    move |error| TlsError::File { path: path.to_owned(), error }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(failed(path))?;
    let found: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    let found = found.map_err(failed(path))?;
    if found.is_empty() {
        return Err(TlsError::Nothing { path: path.to_owned(), what: "certificate" });
    }
    Ok(found)
}

/// The configured suites of TLS 1.2, in their order; none means all. Those of TLS 1.3 are not configurable.
fn suites(chosen: &[Cipher]) -> Vec<SupportedCipherSuite> {
    let all = ring::default_provider().cipher_suites;
    if chosen.is_empty() {
        return all;
    }
    let suite = |cipher: &Cipher| match cipher {
        Cipher::EcdheRsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        Cipher::EcdheRsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        Cipher::EcdheRsaChacha20Poly1305 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        Cipher::EcdheEcdsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        Cipher::EcdheEcdsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        Cipher::EcdheEcdsaChacha20Poly1305 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    };
    all.into_iter().filter(|suite| suite.tls13().is_some()).chain(chosen.iter().map(suite)).collect()
}

fn private_key(config: &TlsConfig) -> Result<PrivateKeyDer<'static>, TlsError> {
    let path = config.key_file();
    let mut pem = fs::read(&path).map_err(failed(&path))?;
    if encrypted_pem::is_encrypted(&pem) {
        let password_file = config.password_file();
        let password = fs::read(&password_file).map_err(failed(&password_file))?;
        let opened = encrypted_pem::decrypt(&pem, password.trim_ascii_end());
        pem = opened.map_err(|error| TlsError::Key { path: path.clone(), error })?;
    }
    let key = rustls_pemfile::private_key(&mut pem.as_slice()).map_err(failed(&path))?;
    key.ok_or(TlsError::Nothing { path, what: "private key" })
}
