//! The TLS configuration of connections to etcd, read from the files in the options, and the check of etcd's certificate.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::options::{ClientIdentity, OptionsError, TlsOptions, Verification};
use crate::tls::expiry::Expiries;
use crate::tls::files::FileSet;
use crate::tls::{TlsError, pem};

/// The configuration of a handshake. It is read again when the files have changed.
pub(super) type Certificates = FileSet<ClientConfig>;

pub(super) fn open(options: &TlsOptions) -> Result<Certificates, OptionsError> {
    let TlsOptions { ca, identity, .. } = options;
    let of_identity = identity
        .iter()
        .flat_map(|identity| [identity.certificate.clone(), identity.key.clone(), identity.password.clone()]);
    let paths = ca.iter().cloned().chain(of_identity).collect();
    let options = options.clone();
    FileSet::open("etcd", "the certificates for etcd", paths, move |expiries| {
        client_config(&options, expiries)
    })
    .map_err(|why| OptionsError(format!("the certificates for etcd: {why}")))
}

fn client_config(options: &TlsOptions, expiries: &mut Expiries) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    if let Some(ca) = &options.ca {
        for certificate in expiries.certificates("etcd_ca", ca)? {
            roots.add(certificate).map_err(|error| TlsError::Authority { path: ca.clone(), error })?;
        }
    } else if options.verification != Verification::Nothing {
        return Err(TlsError::NoAuthority);
    }
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Library)?;
    let builder = match options.verification {
        Verification::Full => builder.with_root_certificates(roots),
        Verification::AuthorityOnly => {
            let path = options.ca.clone().unwrap_or_default();
            let authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| TlsError::Verifier { path, error })?;
            let verifier = AnyName { authority: Some(authority), provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Verification::Nothing => {
            let verifier = AnyName { authority: None, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { certificate, key, password }) => {
            let chain = expiries.certificates("etcd_client", certificate)?;
            let private_key = pem::private_key(key, password)?;
            builder.with_client_auth_cert(chain, private_key).map_err(|error| TlsError::Pair {
                certificate: certificate.clone(),
                key: key.clone(),
                error,
            })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Does not check the name in etcd's certificate. Checks the rest if there is an authority. It always checks that the other
/// side holds the certificate's key.
#[derive(Debug)]
struct AnyName {
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        // The name is checked last, so this error means that the signatures and the dates are valid.
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
