//! The server configurations of the scenarios, as differences from the default settings.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;

use crate::support::daemon::Settings;
use crate::support::net::loopback;

/// The password of `root` in the scenarios.
const ROOT_PASSWORD: &str = "Golden#Pwd1";

/// The settings of a profile; `None` if there is no such profile.
pub fn settings(profile: &str) -> Option<Settings> {
    let quota = |settings: Settings| {
        ["service", "instance", "schema", "tag"]
            .into_iter()
            .fold(settings, |settings, what| settings.yaml(&format!("quota.cap.{what}.limit"), json!(2)))
    };
    let plain = Settings::default();
    let rbac = || accounts().environment("SC_INIT_ROOT_PASSWORD", ROOT_PASSWORD);
    let settings = match profile {
        "plain" => plain,
        "quota" | "quota-tight" => quota(plain),
        "limit" => plain.yaml("server.limit.connections", json!(1)),
        "schema-disabled" => plain.yaml("registry.schema.disable", json!(true)),
        "shared" => plain
            .yaml("registry.service.globalVisible", json!("SharedA,SharedB"))
            .yaml("registry.instance.properties", json!({"engineID": "e1", "engineName": "n1"}))
            .yaml(
                "registry.instance.datacenter",
                json!({"name": "dcn", "region": "r1", "availableZone": "z1"}),
            ),
        "retire" => plain
            .yaml("registry.service.retire.cron", json!("* * * * *"))
            .yaml("registry.schema.retire.cron", json!("* * * * *")),
        "settings" => plain
            .yaml("environment", json!("prod"))
            .yaml("registry.instance.endpoint", json!("reg.example:7777"))
            .yaml(
                "registry.instance.datacenter",
                json!({"name": "dc", "region": "re", "availableZone": "az"}),
            )
            .yaml("registry.instance.properties", json!({"zone": "z1", "rack": "r2"}))
            .yaml("registry.instance.ttl", json!(40))
            .yaml("registry.instance.minInterval", json!("10s"))
            .yaml("registry.instance.minTimes", json!(5))
            .yaml("registry.service.globalVisible", json!("SharedOne,SharedTwo"))
            .yaml("server.request.maxBodyBytes", json!(1000))
            .yaml("server.request.maxHeaderBytes", json!(4096))
            .yaml("server.pprof.mode", json!(1)),
        "tls" => https(plain, "0"),
        "tls-client" => https(plain, "1"),
        "rbac" => behind_proxy(rbac()),
        // Long enough that a busy machine sends the next request of a scenario before the lock ends.
        "rbac-lock" => behind_proxy(rbac())
            .yaml("rbac.releaseLockAfter", json!("15s"))
            .yaml("rbac.retainLockHistoryFor", json!("20s")),
        "rbac-no-root" => accounts(),
        "rbac-quota" => {
            rbac().yaml("quota.cap.account.limit", json!(3)).yaml("quota.cap.role.limit", json!(4))
        }
        "rbac-scope" => rbac().yaml("rbac.scope", json!("role")),
        _ => return None,
    };
    Some(settings)
}

/// Accounts, with the keys that the tokens in the scenarios are signed with.
fn accounts() -> Settings {
    Settings::default()
        .yaml("rbac.enable", json!(true))
        .file("private.key", include_str!("../../../golden/operations/keys/private.key"))
        .file("public.key", include_str!("../../../golden/operations/keys/public.key"))
}

/// The scenarios take the addresses of clients from `X-Forwarded-For`.
fn behind_proxy(settings: Settings) -> Settings {
    settings.yaml("server.limit.ipLookups", json!("X-Forwarded-For,RemoteAddr"))
}

/// HTTPS on an address that the server's certificate names. Clients have a certificate of the same CA if the server verifies them.
fn https(settings: Settings, verify_client: &str) -> Settings {
    let host = loopback();
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let new_key = || KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, new_key()).expect("a CA");
    let issue = |usage| {
        let key = new_key();
        let mut params = CertificateParams::new([host.to_string()]).expect("a name");
        params.extended_key_usages = vec![usage];
        (params.signed_by(&key, &ca).expect("a certificate").pem(), key.serialize_pem())
    };
    let (certificate, key) = issue(ExtendedKeyUsagePurpose::ServerAuth);
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a CA");
    let client = ClientConfig::builder().with_root_certificates(roots);
    let client = if verify_client == "1" {
        let (certificate, key) = issue(ExtendedKeyUsagePurpose::ClientAuth);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        client.with_client_auth_cert(vec![certificate], key).expect("they belong together")
    } else {
        client.with_no_client_auth()
    };
    settings
        .yaml("ssl.enable", json!(true))
        .yaml("ssl.verifyClient", json!(verify_client))
        .file("etc/ssl/trust.cer", &ca.pem())
        .file("etc/ssl/server.cer", &certificate)
        .file("etc/ssl/server_key.pem", &key)
        .reached_by(client)
        .on_default_port_of(host)
}
