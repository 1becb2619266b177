//! Connections to etcd: TCP, TLS where the endpoint asks for it, and the gRPC channel above them. Every time limit of
//! connecting lies here, so that a connection that cannot be made is known as such: nothing was sent.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

use super::options::{Address, OptionsError, TlsOptions, Transport, Verification};

/// Pings on a connection with open streams. etcd's server ends a connection that pings more often than each 5 s, or
/// while no stream is open, so this is a last resort only: what must be noticed sooner has a time limit of its own
/// (calls, renewals) or asks for a sign of life within its stream (watches).
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// One stream's receive window, and a connection's. The default of 64 KiB makes a page of a listing wait for many
/// round trips.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Makes channels to one endpoint.
#[derive(Clone)]
pub(super) struct Connector {
    address: Arc<Address>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    limit: Duration,
}

impl Connector {
    pub fn new(address: Address, tls: Option<&TlsOptions>, limit: Duration) -> Result<Self, OptionsError> {
        let tls = match (address.transport, tls) {
            (Transport::Plain, _) => None,
            (Transport::Tls, None) => {
                return Err(OptionsError(format!("{address}: https needs certificates, and none are given")));
            }
            (Transport::Tls, Some(tls)) => {
                let host = address.host.trim_start_matches('[').trim_end_matches(']');
                let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
                let name = ServerName::try_from(name.clone())
                    .map_err(|_| OptionsError(format!("{name:?} cannot be the name of a TLS server")))?;
                Some((TlsConnector::from(Arc::new(client_config(tls)?)), name))
            }
        };
        Ok(Self { address: Arc::new(address), tls, limit })
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A channel with a connection of its own, made when first used and again after it is lost. Must be called within
    /// the runtime that is to drive it.
    pub fn channel(&self) -> Result<Channel, OptionsError> {
        let bad =
            |error: &dyn std::fmt::Display| OptionsError(format!("etcd endpoint {}: {error}", self.address));
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let origin: Uri = format!("{scheme}://{}", self.address).parse().map_err(|error| bad(&error))?;
        // The connector does TLS itself (tonic's has no way to leave the host name unchecked), so for tonic the
        // endpoint is a plain one; `origin` puts the right scheme into the requests.
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))
            .map_err(|error| bad(&error))?
            .origin(origin)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(false);
        Ok(endpoint.connect_with_connector_lazy(self.clone()))
    }

    async fn connect(self) -> io::Result<TokioIo<Connection>> {
        let address = self.address.clone();
        let named = |error: io::Error| io::Error::new(error.kind(), format!("connect {address}: {error}"));
        let attempt = async {
            let host = self.address.host.trim_start_matches('[').trim_end_matches(']');
            let tcp = TcpStream::connect((host, self.address.port)).await?;
            tcp.set_nodelay(true)?;
            match self.tls {
                None => Ok(Box::new(tcp) as Connection),
                Some((tls, name)) => Ok(Box::new(tls.connect(name, tcp).await?) as Connection),
            }
        };
        match tokio::time::timeout(self.limit, attempt).await {
            Ok(connected) => connected.map(TokioIo::new).map_err(named),
            Err(_) => {
                let waited = format!("no connection within {:?}", self.limit);
                Err(named(io::Error::new(io::ErrorKind::TimedOut, waited)))
            }
        }
    }
}

/// Either kind of connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Connection = Box<dyn Duplex>;

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

fn client_config(tls: &TlsOptions) -> Result<ClientConfig, OptionsError> {
    let bad = |what: &str, why: &dyn std::fmt::Display| OptionsError(format!("{what} for etcd: {why}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    if let Some(pem) = &tls.ca {
        for certificate in certificates("the CA certificates", pem)? {
            roots.add(certificate).map_err(|error| bad("the CA certificates", &error))?;
        }
    } else if tls.verification != Verification::Nothing {
        return Err(bad("the CA certificates", &"none are given, and verification needs them"));
    }
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS", &error))?;
    let builder = match tls.verification {
        Verification::Full => builder.with_root_certificates(roots),
        Verification::AuthorityOnly => {
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| bad("the CA certificates", &error))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyName(inner)))
        }
        Verification::Nothing => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        }
    };
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates("our certificate", &identity.certificate)?;
            builder
                .with_client_auth_cert(chain, private_key(&identity.key)?)
                .map_err(|error| bad("our certificate", &error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, OptionsError> {
    let all: Result<Vec<_>, _> = rustls_pemfile::certs(&mut &*pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(OptionsError(format!("{what} for etcd: no PEM certificate in it"))),
        Err(error) => Err(OptionsError(format!("{what} for etcd: {error}"))),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, OptionsError> {
    match rustls_pemfile::private_key(&mut &*pem) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(OptionsError("our key for etcd: no PEM private key in it".to_owned())),
        Err(error) => Err(OptionsError(format!("our key for etcd: {error}"))),
    }
}

/// Checks everything but the name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is the last thing looked at, so this error means that the signatures and the dates were good.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
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
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Checks only that the other side holds the key of the certificate it shows.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
