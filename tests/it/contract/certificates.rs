//! The certificates of the HTTPS port while the daemon runs: renewed, broken, and counted.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::daemon::{Daemon, Settings};
use crate::support::eventually::{GENEROUS, eventually, eventually_async};
use crate::support::http::{AsyncConnection, Client};
use crate::support::net::free_address;

/// A CA with the certificates that it has signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    server: (String, String),
    client: ClientConfig,
}

impl Authority {
    /// Its own certificate is valid for ten years longer than the server's, which ends with the year before `year`.
    fn new(name: &str, year: i32) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(year + 10, 1, 1);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
        };
        let (certificate, key) = issue("client.test");
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        Self { server: issue("node.test"), issuer, client }
    }

    /// Replaces the files of the port.
    fn install(&self, folder: &Path) {
        std::fs::write(folder.join("server.cer"), &self.server.0).unwrap();
        std::fs::write(folder.join("server_key.pem"), &self.server.1).unwrap();
        std::fs::write(folder.join("trust.cer"), self.issuer.pem()).unwrap();
    }

    /// A client that trusts this CA, and has a certificate of this CA.
    async fn connect(&self, address: SocketAddr) -> Result<Https, String> {
        self.connect_trusting(self, address).await
    }

    /// A client that trusts another CA, and has a certificate of this CA. In TLS 1.3 it learns that the server rejects its certificate
    /// only when it reads, so a request belongs to the attempt.
    async fn connect_trusting(&self, other: &Self, address: SocketAddr) -> Result<Https, String> {
        let mut connection = self.handshake(other, address).await?;
        get(&mut connection, "/v4/default/registry/version").await.map(|_| connection)
    }

    async fn handshake(&self, other: &Self, address: SocketAddr) -> Result<Https, String> {
        let mut config = other.client.clone();
        config.client_auth_cert_resolver = Arc::clone(&self.client.client_auth_cert_resolver);
        let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let name = ServerName::try_from("node.test").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        Ok(AsyncConnection::over(stream.map_err(|error| error.to_string())?))
    }
}

type Https = AsyncConnection<TlsStream<TcpStream>>;

async fn get(connection: &mut Https, path: &str) -> Result<String, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: node.test\r\n\r\n");
    connection.send(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let answer = connection.read_response("GET").await.map_err(|error| error.to_string())?;
    assert_eq!(answer.status, 200);
    Ok(answer.text())
}

const SECONDS_A_DAY: f64 = 86_400.0;

/// The days of the server's certificate and of its CA, and whether the files could be used at last.
async fn metrics(connection: &mut Https) -> (f64, f64, f64) {
    let page = get(connection, "/metrics").await.unwrap();
    let value = |metric: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("service_center_{metric} ")));
        line.unwrap_or_else(|| panic!("no {metric} in {page}")).parse().unwrap()
    };
    (
        value(r#"certificate_expiry_seconds{certificate="server"}"#) / SECONDS_A_DAY,
        value(r#"certificate_expiry_seconds{certificate="server_ca"}"#) / SECONDS_A_DAY,
        value(r#"certificates_last_reload_successful{files="server"}"#),
    )
}

/// Injected: the files of the port are replaced, first by broken ones, then by those of another CA with SIGHUP, then without. New
/// connections use the new files, on both sides. The first connection stays open all the time.
#[tokio::test]
async fn replaced_certificates_of_the_port_are_used_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] =
        [("first", 2050), ("second", 2060), ("third", 2020)].map(|(name, year)| Authority::new(name, year));
    first.install(folder.path());
    let settings =
        Settings::default().conf("ssl_mode", "1").conf("ssl.dir", &folder.path().display().to_string());
    let mut daemon = Daemon::spawn(settings).unwrap();
    eventually(GENEROUS, || {
        assert_eq!(daemon.process().exit_status(), None);
        daemon.process().log().contains("listening on https://")
    });
    let address = daemon.address();
    let mut kept = first.connect(address).await.unwrap();
    assert!(second.connect_trusting(&first, address).await.is_err(), "its CA is unknown");
    let (days, days_of_ca, is_usable) = metrics(&mut kept).await;
    // From 2050 to 2060.
    assert!((days_of_ca - days - 3652.0).abs() < 1e-6, "{days_of_ca} {days}");
    assert_eq!(is_usable, 1.0);

    let broken = "the certificates of the HTTPS port cannot be used, so the old ones stay in use";
    std::fs::write(folder.path().join("server.cer"), &second.server.0).unwrap();
    eventually(GENEROUS, || daemon.process().log().contains(broken));
    assert_eq!(daemon.process().log().matches(broken).count(), 1);
    assert!(daemon.process().log().contains("do not belong together"), "{}", daemon.process().log());
    daemon.process().signal(Signal::HUP);
    eventually(GENEROUS, || daemon.process().log().matches(broken).count() == 2);
    assert_eq!(metrics(&mut first.connect(address).await.unwrap()).await.2, 0.0);

    second.install(folder.path());
    daemon.process().signal(Signal::HUP);
    eventually_async(GENEROUS, async || second.connect(address).await).await;
    assert!(first.connect(address).await.is_err(), "the server's certificate is another");
    assert!(first.connect_trusting(&second, address).await.is_err(), "the CA of clients is another");
    // The metrics follow the certificates.
    eventually_async(GENEROUS, async || {
        let (new_days, _, is_usable) = metrics(&mut kept).await;
        let is_shown = new_days > days + 3600.0 && is_usable == 1.0;
        if is_shown { Ok(()) } else { Err(format!("{new_days} {is_usable}")) }
    })
    .await;

    // It has expired, so no client accepts it.
    third.install(folder.path());
    eventually(GENEROUS, || {
        daemon.process().log().contains("the certificates of the HTTPS port have changed and are in use")
    });
    eventually_async(GENEROUS, async || metrics(&mut kept).await.0 < 0.0).await;
    let refused = third.connect(address).await.err().unwrap();
    assert!(refused.contains("expired"), "{refused}");
}

/// The separate address of the metrics has the certificate of the server, or none of its own: as its URL says.
#[tokio::test]
async fn the_separate_address_of_the_metrics_speaks_what_its_url_says() {
    let authority = Authority::new("first", 2050);
    for scheme in ["https", "http"] {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), free_address().unwrap());
        authority.install(folder.path());
        let settings = Settings::default()
            .conf("ssl_mode", "1")
            .conf("ssl.dir", &folder.path().display().to_string())
            .conf("metrics_prometheus_listen_url", &format!("{scheme}://{elsewhere}/metrics"));
        let mut daemon = Daemon::spawn(settings).unwrap();
        eventually(GENEROUS, || {
            assert_eq!(daemon.process().exit_status(), None);
            daemon.process().log().contains("listening on https://")
        });
        let page = if scheme == "https" {
            let mut connection = authority.handshake(&authority, elsewhere).await.unwrap();
            get(&mut connection, "/metrics").await.unwrap()
        } else {
            let client = Client::new(elsewhere);
            tokio::task::spawn_blocking(move || client.get("/metrics").unwrap().text()).await.unwrap()
        };
        assert!(
            page.contains("service_center_certificate_expiry_seconds{certificate=\"server\"} "),
            "{page}"
        );
    }
}
