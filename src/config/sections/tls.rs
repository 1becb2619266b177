//! Keys of TLS on the listening port. Opens no file.

use std::path::PathBuf;

use super::super::keys::table;
use super::super::reader::ConfigReader;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// A cipher suite for TLS 1.2 that this server offers. The reference has no names for those with ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    EcdheRsaAes128GcmSha256,
    EcdheRsaAes256GcmSha384,
    EcdheRsaChacha20Poly1305,
    EcdheEcdsaAes128GcmSha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheEcdsaChacha20Poly1305,
}

const CIPHERS: [(&str, Cipher); 6] = [
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Cipher::EcdheRsaAes128GcmSha256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Cipher::EcdheRsaAes256GcmSha384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Cipher::EcdheRsaChacha20Poly1305),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Cipher::EcdheEcdsaAes128GcmSha256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Cipher::EcdheEcdsaAes256GcmSha384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", Cipher::EcdheEcdsaChacha20Poly1305),
];

/// The folder with the certificates of the listening port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles(PathBuf);

impl TlsFiles {
    /// The CA certificates.
    pub fn trust(&self) -> PathBuf {
        self.0.join("trust.cer")
    }

    pub fn certificate(&self) -> PathBuf {
        self.0.join("server.cer")
    }

    /// The private key, which may be encrypted.
    pub fn key(&self) -> PathBuf {
        self.0.join("server_key.pem")
    }

    /// The password of the private key. The file may be absent.
    pub fn password(&self) -> PathBuf {
        self.0.join("cert_pwd")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub enable: bool,
    pub files: TlsFiles,
    pub min_version: TlsVersion,
    /// Whether clients must show a certificate signed by `trust.cer`.
    pub verify_client: bool,
    /// In order of preference. Empty: all that this server offers.
    pub ciphers: Vec<Cipher>,
}

impl TlsConfig {
    pub(in super::super) fn read(reader: &mut ConfigReader) -> Self {
        let enable = reader.switch(&table::SSL_ENABLE);
        let others =
            [&table::SSL_DIR, &table::SSL_MIN_VERSION, &table::SSL_VERIFY_CLIENT, &table::SSL_CIPHERS];
        let given = others.into_iter().find(|key| !key.is_untouched(&reader.text(key)));
        if let Some(key) = given.filter(|_| !reader.is_given(&table::SSL_ENABLE)) {
            // An operator who relies on the default of the reference would not notice that the port has no TLS.
            let text = "ssl.enable is not set, so the port speaks plain HTTP (HTTPS in the reference); set ssl.enable to true or \
                        false";
            reader.warn(key, text);
        }
        let dir = reader.text_if_any(&table::SSL_DIR).unwrap_or_else(|| "etc/ssl".to_owned());
        reader.settle(&table::SSL_DIR, &dir);
        let version = reader.choice(&table::SSL_MIN_VERSION);
        if enable && matches!(version, "TLSv1.0" | "TLSv1.1") {
            let text = format!(
                "ssl.minVersion = {version:?} acts as TLSv1.2, because older versions are not offered"
            );
            reader.warn(&table::SSL_MIN_VERSION, text);
        }
        let min_version = if version == "TLSv1.3" { TlsVersion::Tls13 } else { TlsVersion::Tls12 };
        let names = reader.list(&table::SSL_CIPHERS);
        let known = |name: &String| CIPHERS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let ciphers: Vec<Cipher> = names.iter().filter_map(known).map(|(_, cipher)| *cipher).collect();
        let left_out: Vec<&str> =
            names.iter().filter(|name| known(name).is_none()).map(String::as_str).collect();
        if enable && !names.is_empty() && ciphers.is_empty() && min_version == TlsVersion::Tls12 {
            let all: Vec<&str> = CIPHERS.iter().map(|(name, _)| *name).collect();
            let expected =
                format!("this server offers none of these suites; write some of {}", all.join(","));
            reader.refuse(&table::SSL_CIPHERS, expected);
        } else if enable && !left_out.is_empty() {
            let text = format!(
                "ssl.ciphers: {} left out, because this server does not offer them",
                left_out.join(",")
            );
            reader.warn(&table::SSL_CIPHERS, text);
        }
        let files = TlsFiles(PathBuf::from(dir));
        Self { enable, files, min_version, verify_client: reader.switch(&table::SSL_VERIFY_CLIENT), ciphers }
    }
}
