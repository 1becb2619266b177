//! Certificates of the HTTPS port, from the folder the original uses: `trust.cer`, `server.cer`, `server_key.pem`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::cipher_suite;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::encrypted_pem;
use crate::config::{Cipher, TlsConfig, TlsVersion};

/// The TLS side of the port; an error names the file.
pub fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
    let provider =
        Arc::new(CryptoProvider { cipher_suites: suites(&config.ciphers), ..ring::default_provider() });
    let versions: &[&SupportedProtocolVersion] = match config.min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("TLS: {error}"))?;
    let builder = if config.verify_client {
        let mut roots = RootCertStore::empty();
        let path = config.trust_file();
        for certificate in certificates(&path)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let chain = certificates(&config.certificate_file())?;
    let key = private_key(config)?;
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        format!("{} and {}: {error}", config.certificate_file().display(), config.key_file().display())
    })?;
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    let found = found.map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{}: holds no certificate", path.display()));
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

fn private_key(config: &TlsConfig) -> Result<PrivateKeyDer<'static>, String> {
    let path = config.key_file();
    let fail = |why: String| format!("{}: {why}", path.display());
    let mut pem = read(&path)?;
    if encrypted_pem::is_encrypted(&pem) {
        let password = read(&config.password_file())?;
        pem = encrypted_pem::decrypt(&pem, password.trim_ascii_end()).map_err(fail)?;
    }
    let key = rustls_pemfile::private_key(&mut pem.as_slice()).map_err(|error| fail(error.to_string()))?;
    key.ok_or_else(|| fail("holds no private key".to_owned()))
}
