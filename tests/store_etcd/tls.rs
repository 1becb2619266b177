//! An etcd with TLS. The tests create the certificates.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use service_center::store::etcd::{
    ClientIdentity, ConnectError, EtcdOptions, EtcdStore, TlsOptions, Verification,
};
use service_center::store::{KeepAlive, Reason, Store};
use tempfile::TempDir;

use crate::support::etcd::{Etcd, EtcdSetup, TlsFiles};
use crate::{Watching, at, attempt, eventually, list, put, put_leased, reason, within, write};

/// The files of a certificate authority, a server certificate and a client certificate.
struct Certificates {
    dir: TempDir,
}

/// Whose certificate is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expired {
    Nobodys,
    TheServers,
    TheClients,
}

impl Certificates {
    fn made_for(server_name: &str) -> Self {
        let certificates = Self { dir: tempfile::tempdir().unwrap() };
        certificates.make(server_name, Expired::Nobodys);
        certificates
    }

    /// Replaces all files by new ones, of a new authority.
    fn make(&self, server_name: &str, expired: Expired) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(self.path("ca.pem"), authority.pem()).unwrap();
        let server = ("server", server_name, Expired::TheServers);
        for (file, name, is_over) in [server, ("client", "client", Expired::TheClients)] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            if expired == is_over {
                params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            }
            let certificate = params.signed_by(&key, &authority).unwrap();
            fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
            fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn etcd(&self) -> Etcd {
        let tls = TlsFiles {
            ca: self.path("ca.pem"),
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client: Some((self.path("client.pem"), self.path("client.key"))),
        };
        Etcd::start_with(EtcdSetup { tls: Some(tls), ..EtcdSetup::default() })
    }

    fn options(&self, verification: Verification) -> TlsOptions {
        TlsOptions {
            ca: Some(self.path("ca.pem")),
            identity: Some(ClientIdentity {
                certificate: self.path("client.pem"),
                key: self.path("client.key"),
                password: self.path("cert_pwd"),
            }),
            server_name: None,
            verification,
        }
    }
}

async fn connect(etcd: &Etcd, tls: TlsOptions) -> Result<EtcdStore, ConnectError> {
    let options = EtcdOptions { tls: Some(tls), ..at([etcd.endpoint()]) };
    within("an answer", EtcdStore::connect(options)).await
}

async fn everything_works(store: &EtcdStore) {
    let lease = store.grant(600).await.unwrap().id;
    let written = write(store, vec![put_leased("a", lease)]).await;
    assert_eq!(within("a renewal", store.keep_alive(vec![lease])).await, [KeepAlive::Renewed(600)]);
    assert_eq!(Watching::start(store, "/cse-sr/", written).until(written).await.len(), 1);
    assert_eq!(list(store, "/cse-sr/a").await.unwrap().0.len(), 1);
}

fn unreachable(answer: Result<EtcdStore, ConnectError>, says: &str) {
    match answer {
        Err(ConnectError::Unreachable(why)) => assert!(why.contains(says), "{why}"),
        other => panic!("expected a failed handshake, got {other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_that_names_the_host() {
    let certificates = Certificates::made_for("etcd.test");
    let etcd = certificates.etcd();
    let named =
        TlsOptions { server_name: Some("etcd.test".to_owned()), ..certificates.options(Verification::Full) };
    everything_works(&connect(&etcd, named).await.unwrap()).await;
    let misnamed = connect(&etcd, certificates.options(Verification::Full)).await;
    unreachable(misnamed, "etcd's certificate is for another name");
}

#[tokio::test]
async fn a_certificate_that_names_another_host() {
    let certificates = Certificates::made_for("another.test");
    let etcd = certificates.etcd();
    everything_works(&connect(&etcd, certificates.options(Verification::AuthorityOnly)).await.unwrap()).await;
    let stranger = Certificates::made_for("another.test");
    let other_authority =
        TlsOptions { ca: Some(stranger.path("ca.pem")), ..certificates.options(Verification::AuthorityOnly) };
    unreachable(connect(&etcd, other_authority).await, "etcd's certificate is signed by no CA");
    let unchecked = TlsOptions { ca: None, ..certificates.options(Verification::Nothing) };
    everything_works(&connect(&etcd, unchecked).await.unwrap()).await;
}

/// How an etcd refuses the certificate of another authority. An etcd that is built with a newer Go names the authority.
fn is_certificate_of_a_stranger(why: &str) -> bool {
    ["etcd demands a client certificate", "etcd does not know the CA of our certificate"]
        .iter()
        .any(|words| why.contains(words))
}

/// Each mismatch of the two sides is reported with its cause instead of as a broken transport.
#[tokio::test]
async fn what_is_wrong_with_a_handshake_is_told() {
    let certificates = Certificates::made_for("etcd.test");
    let etcd = certificates.etcd();
    let options = || certificates.options(Verification::AuthorityOnly);
    let anonymous = TlsOptions { identity: None, ..options() };
    unreachable(connect(&etcd, anonymous).await, "etcd demands a client certificate");
    let stranger = Certificates::made_for("etcd.test");
    let unknown = TlsOptions { identity: stranger.options(Verification::Nothing).identity, ..options() };
    match connect(&etcd, unknown).await {
        Err(ConnectError::Unreachable(why)) => assert!(is_certificate_of_a_stranger(&why), "{why}"),
        other => panic!("expected a failed handshake, got {other:?}"),
    }

    let plain = at([format!("http://{}", etcd.address())]);
    unreachable(within("an answer", EtcdStore::connect(plain)).await, "write https://");
    let unencrypted = Etcd::start();
    let endpoint = format!("https://{}", unencrypted.address());
    let encrypted = EtcdOptions { tls: Some(options()), ..at([endpoint]) };
    unreachable(within("an answer", EtcdStore::connect(encrypted)).await, "is https:// right?");

    let expired = Certificates::made_for("etcd.test");
    expired.make("etcd.test", Expired::TheServers);
    let etcd = expired.etcd();
    let refused = connect(&etcd, expired.options(Verification::AuthorityOnly)).await;
    unreachable(refused, "etcd's certificate is expired");
}

/// etcd refuses the certificate of the store, so it never sees the write. The write is reported as not done.
#[tokio::test]
async fn an_expired_certificate_fails_writes_surely() {
    let certificates = Certificates::made_for("etcd.test");
    let mut etcd = certificates.etcd();
    let store = connect(&etcd, certificates.options(Verification::AuthorityOnly)).await.unwrap();
    let before = fs::read(certificates.path("client.pem")).unwrap();
    let key = fs::read(certificates.path("client.key")).unwrap();
    // etcd trusts another authority from now on; what this side shows stays what it was.
    certificates.make("etcd.test", Expired::Nobodys);
    fs::write(certificates.path("client.pem"), before).unwrap();
    fs::write(certificates.path("client.key"), key).unwrap();
    etcd.kill();
    etcd.respawn();
    for _ in 0..20 {
        let refused = attempt(&store, vec![put("a", "x")]).await;
        assert_eq!(reason(&refused), Some(Reason::Unavailable), "{refused:?}");
    }
    eventually("the reason", || async { store.away().is_some_and(|why| is_certificate_of_a_stranger(&why)) })
        .await;
}

/// All files are replaced under a running store, and etcd accepts only the new ones. The next connection uses them.
#[tokio::test]
async fn renewed_certificates_are_used_without_a_restart() {
    let certificates = Certificates::made_for("etcd.test");
    let mut etcd = certificates.etcd();
    let store = connect(&etcd, certificates.options(Verification::AuthorityOnly)).await.unwrap();
    everything_works(&store).await;
    for _ in 0..2 {
        certificates.make("etcd.test", Expired::Nobodys);
        etcd.kill();
        etcd.restart();
        eventually("writes", || async { attempt(&store, vec![put("a", "x")]).await.is_ok() }).await;
        everything_works(&store).await;
    }
    // Invalid files change nothing.
    let good = fs::read(certificates.path("client.pem")).unwrap();
    fs::write(certificates.path("client.pem"), "no certificate").unwrap();
    let why = store.certificates().unwrap().reload().unwrap_err().to_string();
    assert!(why.contains("client.pem"), "{why}");
    etcd.kill();
    etcd.respawn();
    eventually("writes", || async { attempt(&store, vec![put("a", "x")]).await.is_ok() }).await;
    fs::write(certificates.path("client.pem"), good).unwrap();
    assert_eq!(store.certificates().unwrap().reload(), Ok(()));
}

#[tokio::test]
async fn certificates_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, absent) = (folder.path().join("empty.pem"), folder.path().join("absent.pem"));
    fs::write(&empty, "no certificate").unwrap();
    for (ca, verification, says) in [
        (Some(empty), Verification::Full, "empty.pem"),
        (Some(absent), Verification::AuthorityOnly, "absent.pem"),
        (None, Verification::Full, "no CA"),
        (None, Verification::AuthorityOnly, "no CA"),
    ] {
        let tls = TlsOptions { ca, identity: None, server_name: None, verification };
        let options = EtcdOptions { tls: Some(tls), ..at(["https://127.0.0.1:1"]) };
        match EtcdStore::connect(options).await {
            Err(ConnectError::Options(why)) => assert!(why.0.contains(says), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
