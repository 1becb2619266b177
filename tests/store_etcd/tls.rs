//! An etcd with TLS, with certificates made here.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use service_center::store::etcd::{
    ClientIdentity, ConnectError, EtcdOptions, EtcdStore, TlsOptions, Verification,
};
use service_center::store::{KeepAlive, Store};
use tempfile::TempDir;

use crate::support::etcd::{Etcd, EtcdSetup, TlsFiles};
use crate::{Watching, list, put_leased, within, write};

/// An authority with a server's certificate and a client's.
struct Certificates {
    dir: TempDir,
}

impl Certificates {
    fn made_for(server_name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        for (file, name) in [("server", server_name), ("client", "client")] {
            let key = KeyPair::generate().unwrap();
            let certificate =
                CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
            fs::write(dir.path().join(format!("{file}.pem")), certificate.pem()).unwrap();
            fs::write(dir.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
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
            ca: Some(self.read("ca.pem")),
            identity: Some(ClientIdentity {
                certificate: self.read("client.pem"),
                key: self.read("client.key"),
            }),
            server_name: None,
            verification,
        }
    }
}

async fn connect(etcd: &Etcd, tls: TlsOptions) -> Result<EtcdStore, ConnectError> {
    let options = EtcdOptions { tls: Some(tls), ..EtcdOptions::plain([etcd.endpoint()]) };
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
        Err(ConnectError::Unreachable(why)) => assert!(why.to_lowercase().contains(says), "{why}"),
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
    unreachable(connect(&etcd, certificates.options(Verification::Full)).await, "certificate");
}

#[tokio::test]
async fn a_certificate_that_names_another_host() {
    let certificates = Certificates::made_for("another.test");
    let etcd = certificates.etcd();
    everything_works(&connect(&etcd, certificates.options(Verification::AuthorityOnly)).await.unwrap()).await;
    let stranger = Certificates::made_for("another.test");
    let other_authority =
        TlsOptions { ca: Some(stranger.read("ca.pem")), ..certificates.options(Verification::AuthorityOnly) };
    unreachable(connect(&etcd, other_authority).await, "certificate");
    let unchecked = TlsOptions { ca: None, ..certificates.options(Verification::Nothing) };
    everything_works(&connect(&etcd, unchecked).await.unwrap()).await;
}

#[tokio::test]
async fn a_server_that_demands_our_certificate() {
    let certificates = Certificates::made_for("etcd.test");
    let etcd = certificates.etcd();
    let anonymous = TlsOptions { identity: None, ..certificates.options(Verification::AuthorityOnly) };
    let refused = connect(&etcd, anonymous).await;
    assert!(matches!(refused, Err(ConnectError::Unreachable(_))), "{refused:?}");
    let plain = EtcdOptions::plain([etcd.address().to_string()]);
    let refused = within("an answer", EtcdStore::connect(plain)).await;
    assert!(matches!(refused, Err(ConnectError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn certificates_that_are_none() {
    let bad = |ca: &[u8], verification| {
        let ca = (!ca.is_empty()).then(|| ca.to_vec());
        let tls = TlsOptions { ca, identity: None, server_name: None, verification };
        EtcdOptions { tls: Some(tls), ..EtcdOptions::plain(["https://127.0.0.1:1"]) }
    };
    for options in [
        bad(b"no certificate", Verification::Full),
        bad(b"", Verification::Full),
        bad(b"", Verification::AuthorityOnly),
    ] {
        let refused = EtcdStore::connect(options).await;
        assert!(matches!(refused, Err(ConnectError::Options(_))), "{refused:?}");
    }
}
