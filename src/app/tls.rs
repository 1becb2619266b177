//! TLS of the HTTPS port. Its certificates are in the files that the original uses: `trust.cer`, `server.cer`, `server_key.pem`.

use std::sync::Arc;

use rustls::crypto::ring::cipher_suite;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use crate::config::{Cipher, TlsConfig, TlsVersion};
use crate::tls::{TlsError, pem};

/// The TLS configuration of the port, or `None` if TLS is off. An error names the file.
pub fn server(config: &TlsConfig) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let TlsConfig { enable, files, min_version, verify_client, ciphers } = config;
    if !*enable {
        return Ok(None);
    }
    let provider = Arc::new(CryptoProvider { cipher_suites: suites(ciphers), ..ring::default_provider() });
    let versions: &[&SupportedProtocolVersion] = match min_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS12, &rustls::version::TLS13],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Library)?;
    let builder = if *verify_client {
        let mut roots = RootCertStore::empty();
        let path = files.trust();
        for certificate in pem::certificates(&path)? {
            roots.add(certificate).map_err(|error| TlsError::Authority { path: path.clone(), error })?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| TlsError::Verifier { path, error })?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let (certificate, key) = (files.certificate(), files.key());
    let chain = pem::certificates(&certificate)?;
    let private_key = pem::private_key(&key, &files.password())?;
    let config = builder.with_single_cert(chain, private_key);
    let config = config.map_err(|error| TlsError::Pair { certificate, key, error })?;
    Ok(Some(Arc::new(config)))
}

/// All suites of TLS 1.3, then the configured suites of TLS 1.2 in their order. All suites if none is configured.
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
