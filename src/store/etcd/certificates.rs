//! The TLS configuration of connections to etcd, read from the files in the options.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};

use super::options::{ClientIdentity, OptionsError, TlsOptions, Verification};
use crate::tls::any_name::AnyName;
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
