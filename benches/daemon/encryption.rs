//! A certificate of the run, and both ends of TLS with it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name in the certificate.
const NAME: &str = "bench.test";
/// The files, as the daemon expects them.
const CERTIFICATE: &str = "server.cer";
const KEY: &str = "server_key.pem";
const AUTHORITY: &str = "trust.cer";

/// A protocol over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name in a handshake.
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Http1 => b"http/1.1".to_vec(),
            Self::Http2 => b"h2".to_vec(),
        }
    }
}

/// A self-signed certificate in a folder.
pub struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes one.
    pub fn make() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("a folder for a certificate: {error}"))?;
        let made = generate_simple_self_signed([NAME.to_owned()]).map_err(|error| error.to_string())?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        for (name, content) in [(CERTIFICATE, &certificate), (KEY, &key), (AUTHORITY, &certificate)] {
            let path = folder.path().join(name);
            fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(Self { folder })
    }

    /// The folder with its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What clients use that trust it. They resume the session of an earlier connection with the same value.
    pub fn client(&self, protocol: Protocol) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(self.folder())?).map_err(|error| error.to_string())?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.bytes()];
        Ok(Arc::new(config))
    }
}

/// What a server with the certificate in this folder uses.
pub fn server(folder: &Path) -> Result<Arc<ServerConfig>, String> {
    let path = folder.join(KEY);
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate(folder)?], key);
    let mut config = config.map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![Protocol::Http2.bytes(), Protocol::Http1.bytes()];
    Ok(Arc::new(config))
}

fn certificate(folder: &Path) -> Result<CertificateDer<'static>, String> {
    let path = folder.join(CERTIFICATE);
    CertificateDer::from_pem_file(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Connects over TLS.
pub async fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, String> {
    let failed = |error: std::io::Error| format!("{address} over TLS: {error}");
    let tcp = TcpStream::connect(address).await.map_err(failed)?;
    tcp.set_nodelay(true).map_err(failed)?;
    let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await.map_err(failed)
}
