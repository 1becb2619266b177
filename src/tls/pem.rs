//! Reads certificates and private keys from PEM files. Errors name the file.
//!
//! An encrypted key is in PKCS#8 (`ENCRYPTED PRIVATE KEY`, which OpenSSL writes since 1.0), or in the older form that deployments of the
//! original have (see `old_encryption`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::key_error::KeyError;
use super::old_encryption;

/// The certificates of all public CAs have a fifth of this size. A larger file is the wrong file.
const MAX_BYTES: u64 = 1 << 20;

const BEGIN_PKCS8: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END_PKCS8: &str = "-----END ENCRYPTED PRIVATE KEY-----";

#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct PemError {
    path: PathBuf,
    why: PemMistake,
}

#[derive(Debug, thiserror::Error)]
enum PemMistake {
    #[error(transparent)]
    Io(io::Error),
    #[error("the file is longer than 1 MiB")]
    TooLong,
    #[error(transparent)]
    Form(rustls::pki_types::pem::Error),
    #[error("the file holds no certificate")]
    NoCertificate,
    #[error(transparent)]
    Key(KeyError),
    #[error("the password in {} does not open the key", .0.display())]
    Password(PathBuf),
}

impl PemError {
    fn of(path: &Path) -> impl Fn(PemMistake) -> Self {
        move |why| Self { path: path.to_owned(), why }
    }
}

pub fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    let failed = PemError::of(path);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(PemMistake::Io(error)))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| failed(PemMistake::Io(error)))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Err(failed(PemMistake::TooLong));
    }
    Ok(bytes)
}

/// All certificates in a file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let failed = PemError::of(path);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.map_err(|error| failed(PemMistake::Form(error)))?;
    if found.is_empty() { Err(failed(PemMistake::NoCertificate)) } else { Ok(found) }
}

/// Where the password of a private key is.
#[derive(Clone)]
pub enum Password<'a> {
    Given(&'a str),
    /// In this file, which is read only if the key is encrypted.
    In(PathBuf),
}

impl Password<'_> {
    fn read(&self) -> Result<Vec<u8>, PemError> {
        match self {
            Self::Given(password) => Ok(password.as_bytes().to_vec()),
            Self::In(file) => read(file),
        }
    }
}

/// The first private key in a file. If it is encrypted, the password is read from another file.
pub fn private_key(path: &Path, password_file: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    open_key(path, &Password::In(password_file.to_owned()))
}

/// The first private key in a file.
pub fn open_key(path: &Path, password: &Password<'_>) -> Result<PrivateKeyDer<'static>, PemError> {
    let pem = read(path)?;
    let text = String::from_utf8_lossy(&pem);
    let closed = |error| match (error, password) {
        (KeyError::Password, Password::In(file)) => PemMistake::Password(file.clone()),
        (error, _) => PemMistake::Key(error),
    };
    let key = match pkcs8_section(&text) {
        Some(section) => pkcs8_key(section, password.read()?.trim_ascii_end()).map_err(closed),
        None if old_encryption::is_encrypted(&text) => {
            let opened = old_encryption::decrypt(&text, password.read()?.trim_ascii_end());
            opened.map_err(closed).and_then(|pem| plain_key(&pem))
        }
        None => plain_key(&pem),
    };
    key.map_err(PemError::of(path))
}

fn plain_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, PemMistake> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => PemMistake::Key(KeyError::NoKey),
        error => PemMistake::Form(error),
    })
}

/// The part of the text that is an encrypted PKCS#8 key.
fn pkcs8_section(text: &str) -> Option<&str> {
    let section = &text[text.find(BEGIN_PKCS8)?..];
    Some(section.find(END_PKCS8).map_or(section, |end| &section[..end + END_PKCS8.len()]))
}

fn pkcs8_key(section: &str, password: &[u8]) -> Result<PrivateKeyDer<'static>, KeyError> {
    let document = SecretDocument::from_pem(section);
    let (_, document) = document.map_err(|error| KeyError::Damaged(error.to_string()))?;
    // An unknown encryption has parameters of another form.
    let unsupported = || KeyError::Unsupported(String::new());
    let encrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| unsupported())?;
    match encrypted.decrypt(password) {
        Ok(key) => Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into()),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs8::pkcs5::Error::NoPbes1CryptSupport,
        )) => Err(unsupported()),
        // With a wrong password the padding is wrong, or by chance the result is not a key.
        Err(_) => Err(KeyError::Password),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    // Made by OpenSSL for this test, and used nowhere else. The password is `Test#Pwd1`.
    /// Not encrypted.
    const PLAIN: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+HdXjJ7F0DeTbsWz\n\
IkNrTOCG3PwGLlHK+gGk/4q8wmmhRANCAASsk1TECtVNZ6NQg+J5pPHTKauZSKNz\n\
tQltbASOaT+rkvW9ehEL/KJKtppuMUceZDhlGOQ+SRQThU56A3xjDW0n\n\
-----END PRIVATE KEY-----\n\
";
    /// As OpenSSL 3 writes it: PBES2, PBKDF2 with HMAC-SHA256, AES-256-CBC.
    const PBKDF2: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAig9ULj6WknYQICCAAw\n\
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEHGlGxzFOYEzoDOn0fct7QsEgZD7\n\
D+bR62iHetPRqz3t3ClP/5R+OBFte0PrrLeM+4A8xxIAG1nngFQpYtACsujV/9KY\n\
i1m3ZQeHsCjMVA0BYC9nkxWGnDZwsg4QGYzPQbfEG7ZYE2VlznUFOvDwKosnIMUv\n\
fVdauEErXgpTTpU0pAbSeCHI8qAFHilyqpI/090cLXQEYlhmoZna3keJJ+GeD40=\n\
-----END ENCRYPTED PRIVATE KEY-----\n\
";
    /// PBES2 with scrypt.
    const SCRYPT: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAi3g21pUAVY9AICBAAC\n\
AQgCAQEwHQYJYIZIAWUDBAEqBBDvDUW+PH5h2AxwJOlwLgbVBIGQo2po2n5Fz5Aw\n\
6G9rdHyimCQtkvp3sfd9oYhm0HZ3zcdwyBc/0+q6niaJTAHy4t7mqTW0+laKHfb2\n\
t+NGOua5t/xPV1oqUWmMqIGfKaa231Uh2F6lPbMCmm5RMI+YJ3klsWhvE0A2kAAG\n\
0WKWVP3zUJ7RQ5NoeijEQJdbesAkJSNsf7+5LzF9CN00NlOT4B7k\n\
-----END ENCRYPTED PRIVATE KEY-----\n\
";
    /// PBES1 with triple DES, as versions before 1.0 wrote it. Not supported.
    const PBES1: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
MIGxMBwGCiqGSIb3DQEMAQMwDgQIpQsKFEJgj08CAggABIGQK1koZxMbE0PVSL6a\n\
rteq4HwoBPPlKvCH1jFdDBR+tHfQuZ0ROAWbgq8uRZtMQyu8LxyMbmJUFtxpD3kX\n\
2Zfs93pCqMv/sXO25wRDmnsOWStX4kFIrxe6O3OOr4kB7YRz1/5X8G9SizOVdsrk\n\
rAGYfM6wg+5834SK9g4vqNaOb0KLNoDlODC1SnV8ykVpLzia\n\
-----END ENCRYPTED PRIVATE KEY-----\n\
";

    fn key(pem: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
        let folder = tempfile::tempdir().unwrap();
        let (path, password_path) = (folder.path().join("key.pem"), folder.path().join("cert_pwd"));
        fs::write(&path, pem).unwrap();
        if let Some(password) = password {
            fs::write(&password_path, password).unwrap();
        }
        private_key(&path, &password_path).map_err(|error| error.to_string())
    }

    /// The public point is in every form of the key.
    fn is_the_key(der: &[u8]) -> bool {
        let plain = key(PLAIN, None).unwrap();
        let point = &plain.secret_der()[plain.secret_der().len() - 64..];
        der.windows(64).any(|window| window == point)
    }

    #[test]
    fn encrypted_keys_open_with_their_password_only() {
        for encrypted in [PBKDF2, SCRYPT] {
            let opened = key(encrypted, Some("Test#Pwd1\n")).unwrap();
            assert!(is_the_key(opened.secret_der()));
            let beside = format!(
                "a bag\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{encrypted}rest\n"
            );
            assert!(is_the_key(key(&beside, Some("Test#Pwd1")).unwrap().secret_der()));
            assert!(key(encrypted, Some("wrong")).unwrap_err().contains("cert_pwd does not open the key"));
            assert!(key(encrypted, None).unwrap_err().contains("cert_pwd"), "names the file that is absent");
        }
    }

    #[test]
    fn files_without_a_key_or_certificate_are_named() {
        assert!(key(PBES1, Some("Test#Pwd1")).unwrap_err().contains("openssl pkey"));
        assert!(key("", None).unwrap_err().ends_with("key.pem: the file holds no private key"));
        let cut = &PBKDF2[..PBKDF2.len() / 2];
        assert!(key(cut, Some("Test#Pwd1")).unwrap_err().contains("key.pem: "));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        fs::write(&path, vec![b'x'; 1 << 21]).unwrap();
        assert!(certificates(&path).unwrap_err().to_string().contains("1 MiB"));
        fs::write(&path, "no certificate").unwrap();
        assert!(certificates(&path).unwrap_err().to_string().contains("holds no certificate"));
    }
}
