//! TLS of the HTTPS port. Its certificates are in the files that the original uses: `trust.cer`, `server.cer`, `server_key.pem`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring::cipher_suite;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use crate::config::{Cipher, TlsConfig, TlsFiles, TlsVersion};
use crate::http::server::PROTOCOLS;
use crate::tls::expiry::Expiries;
use crate::tls::files::FileSet;
use crate::tls::{TlsError, pem};

/// Reads the files of the port, or returns `None` if TLS is off. An error names the file. Handshakes after a change use the new files;
/// connections that are open go on.
pub fn server(config: &TlsConfig) -> Result<Option<Arc<FileSet<ServerConfig>>>, TlsError> {
    let TlsConfig { enable, files, min_version, verify_client, ciphers } = config;
    if !*enable {
        return Ok(None);
    }
    let versions = match min_version {
        TlsVersion::Tls12 => vec![&rustls::version::TLS12, &rustls::version::TLS13],
        TlsVersion::Tls13 => vec![&rustls::version::TLS13],
    };
    let provider = CryptoProvider { cipher_suites: suites(ciphers), ..ring::default_provider() };
    let trust = verify_client.then(|| files.trust());
    let paths =
        [files.certificate(), files.key(), files.password()].into_iter().chain(trust.clone()).collect();
    let port = Port { files: files.clone(), trust, versions, provider: Arc::new(provider) };
    let set = FileSet::open("server", "the certificates of the HTTPS port", paths, move |expiries| {
        port.load(expiries)
    })?;
    Ok(Some(Arc::new(set)))
}

/// What the configuration says of the port's TLS.
struct Port {
    files: TlsFiles,
    /// The CA certificates, if clients need a certificate.
    trust: Option<PathBuf>,
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
}

impl Port {
    fn load(&self, expiries: &mut Expiries) -> Result<ServerConfig, TlsError> {
        let Self { files, trust, versions, provider } = self;
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(TlsError::Library)?;
        let builder = if let Some(path) = trust {
            let mut roots = RootCertStore::empty();
            for certificate in expiries.certificates("server_ca", path)? {
                roots.add(certificate).map_err(|error| TlsError::Authority { path: path.clone(), error })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| TlsError::Verifier { path: path.clone(), error })?;
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = (files.certificate(), files.key());
        let chain = expiries.certificates("server", &certificate)?;
        let private_key = pem::private_key(&key, &files.password())?;
        let config = builder.with_single_cert(chain, private_key);
        let mut config = config.map_err(|error| TlsError::Pair { certificate, key, error })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
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
