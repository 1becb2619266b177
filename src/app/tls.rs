//! Certificates of the HTTPS port, from the folder the original uses: `trust.cer`, `server.cer`, `server_key.pem`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::{TlsConfig, TlsVersion};

/// The TLS side of the port; an error names the file.
pub fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(CryptoProvider { ..ring::default_provider() });
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
    let key = private_key(&config.key_file())?;
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

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read(path)?;
    if String::from_utf8_lossy(&pem).contains("ENCRYPTED") {
        return Err(format!(
            "{}: the key is encrypted; write it without a password (openssl pkey -in … -out …)",
            path.display()
        ));
    }
    let key = rustls_pemfile::private_key(&mut pem.as_slice())
        .map_err(|error| format!("{}: {error}", path.display()))?;
    key.ok_or_else(|| format!("{}: holds no private key", path.display()))
}
