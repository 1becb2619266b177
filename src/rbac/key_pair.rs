//! The RSA keys of tokens: the private key signs them, the public key verifies them. Every node has the same pair.
//!
//! | file | read | written |
//! | --- | --- | --- |
//! | private key | PKCS#1 (`RSA PRIVATE KEY`), PKCS#8 (`PRIVATE KEY`), both without a password | PKCS#1, since the original reads nothing else |
//! | public key | PKIX (`PUBLIC KEY`), PKCS#1 (`RSA PUBLIC KEY`) | PKIX, for the same reason |
//!
//! Keys have 2048 to 4096 bits, which is what the library signs with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::rsa::pkcs1::EncodeRsaPrivateKey as _;
use ::rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use getrandom::SysRng;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{Document, ObjectIdentifier, SecretDocument};
use ring::rsa;

use crate::domain::account::Account;
use crate::tls::pem::{self, PemError};

use super::token::{Signer, Verifier};

/// Bits of a generated key.
pub const GENERATED_BITS: usize = 4096;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

const HOW_TO_MAKE: &str = "service-center keys --out DIR makes a pair of keys";

/// Why keys cannot be used: the file, what is wrong with it, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyPairError {
    #[error("{0}; {HOW_TO_MAKE}")]
    File(PemError),
    #[error("{}: {why}; {HOW_TO_MAKE}", path.display())]
    Key { path: PathBuf, why: KeyMistake },
    #[error(
        "{} is not the public key of {}; use both files of one pair, on every node the same pair; {HOW_TO_MAKE}",
        public.display(), private.display()
    )]
    Strangers { private: PathBuf, public: PathBuf },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyMistake {
    #[error("the file holds no key in PEM ({0})")]
    NotPem(String),
    #[error("the file holds '{found}', expected is {expected}")]
    Other { found: String, expected: &'static str },
    #[error(
        "the key is protected by a password, which cannot be given; remove it: openssl rsa -in OLD -out NEW"
    )]
    Encrypted,
    #[error("the key is not an RSA key")]
    NotRsa,
    #[error("the key cannot be used ({0}); it must be an RSA key of 2048 to 4096 bits")]
    Rejected(String),
    #[error("the key is damaged: its signatures are not valid")]
    Damaged,
}

/// Both keys, checked: they belong together.
#[derive(Clone)]
pub struct KeyPair {
    private: Arc<rsa::KeyPair>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair")
    }
}

impl KeyPair {
    /// Reads both files.
    pub fn load(private: &Path, public: &Path) -> Result<Self, KeyPairError> {
        let text = |path: &Path| {
            let bytes = pem::read(path).map_err(KeyPairError::File)?;
            Ok::<_, KeyPairError>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let wrong = |path: &Path| {
            let path = path.to_owned();
            move |why| KeyPairError::Key { path, why }
        };
        let pair = private_key(&text(private)?).map_err(wrong(private))?;
        let public_key = public_key(&text(public)?).map_err(wrong(public))?;
        if pair.public().as_ref() != public_key {
            return Err(KeyPairError::Strangers { private: private.to_owned(), public: public.to_owned() });
        }
        let pair = Self { private: Arc::new(pair) };
        // The library does not check every number of a key when it reads it, so a damaged key may only show when it signs.
        if !pair.works() {
            return Err(wrong(private)(KeyMistake::Damaged));
        }
        Ok(pair)
    }

    /// Whether the public key verifies what the private key signs.
    fn works(&self) -> bool {
        let account = Account { name: "probe".to_owned(), ..Account::default() };
        let signed = self.signer().sign(&account, ["probe"], Duration::from_secs(1), 0);
        signed.is_ok_and(|token| self.verifier().verify(&token, 0).is_ok())
    }

    pub fn signer(&self) -> Signer {
        Signer::new(Arc::clone(&self.private))
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new(self.private.public())
    }
}

fn not_pem(error: impl fmt::Display) -> KeyMistake {
    KeyMistake::NotPem(error.to_string())
}

fn private_key(text: &str) -> Result<rsa::KeyPair, KeyMistake> {
    const EXPECTED: &str = "'RSA PRIVATE KEY' or 'PRIVATE KEY'";
    if text.contains("ENCRYPTED") {
        return Err(KeyMistake::Encrypted);
    }
    let (label, key) = SecretDocument::from_pem(section(text)).map_err(not_pem)?;
    let pair = match label {
        "RSA PRIVATE KEY" => rsa::KeyPair::from_der(key.as_bytes()),
        "PRIVATE KEY" => {
            let info = pkcs8::PrivateKeyInfo::try_from(key.as_bytes()).map_err(|error| rejected(&error))?;
            if info.algorithm.oid != RSA_ENCRYPTION {
                return Err(KeyMistake::NotRsa);
            }
            rsa::KeyPair::from_der(info.private_key)
        }
        found => return Err(KeyMistake::Other { found: found.to_owned(), expected: EXPECTED }),
    };
    pair.map_err(|error| rejected(&error))
}

/// The first key in the text. OpenSSL may write other lines around it.
fn section(text: &str) -> &str {
    const END: &str = "-----END ";
    let text = text.find("-----BEGIN ").map_or(text, |begin| &text[begin..]);
    let after = text
        .find(END)
        .and_then(|end| text[end + END.len()..].find("-----").map(|dashes| end + END.len() + dashes));
    after.map_or(text, |dashes| &text[..dashes + 5])
}

fn rejected(error: &dyn fmt::Display) -> KeyMistake {
    KeyMistake::Rejected(error.to_string())
}

/// The key in the form that ring compares and verifies with: the DER of PKCS#1.
fn public_key(text: &str) -> Result<Vec<u8>, KeyMistake> {
    const EXPECTED: &str = "'PUBLIC KEY' or 'RSA PUBLIC KEY'";
    let (label, key) = Document::from_pem(section(text)).map_err(not_pem)?;
    match label {
        "RSA PUBLIC KEY" => Ok(key.as_bytes().to_vec()),
        "PUBLIC KEY" => {
            let info = SubjectPublicKeyInfoRef::try_from(key.as_bytes()).map_err(|error| rejected(&error))?;
            if info.algorithm.oid != RSA_ENCRYPTION {
                return Err(KeyMistake::NotRsa);
            }
            Ok(info.subject_public_key.raw_bytes().to_vec())
        }
        found => Err(KeyMistake::Other { found: found.to_owned(), expected: EXPECTED }),
    }
}

/// A new pair as texts of PEM files.
pub struct GeneratedPair {
    pub private: String,
    pub public: String,
}

impl fmt::Debug for GeneratedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeneratedPair")
    }
}

/// The library cannot make or write a key.
#[derive(Debug, thiserror::Error)]
#[error("no pair of keys can be made: {0}")]
pub struct GenerateError(String);

/// Makes a pair of keys with this many bits. Takes seconds for 4096.
pub fn generate(bits: usize) -> Result<GeneratedPair, GenerateError> {
    let failed = |error: &dyn fmt::Display| GenerateError(error.to_string());
    let private = ::rsa::PrivateKey::new(&mut SysRng, bits).map_err(|error| failed(&error))?;
    let public = private.to_public_key().to_public_key_pem(LineEnding::LF).map_err(|error| failed(&error))?;
    let private = private.to_pkcs1_pem(LineEnding::LF).map_err(|error| failed(&error))?;
    Ok(GeneratedPair { private: private.as_str().to_owned(), public })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ::rsa::PrivateKey;
    use ::rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPublicKey as _};
    use ::rsa::pkcs8::EncodePrivateKey as _;

    use super::super::test_keys::{Files, PRIVATE, PUBLIC};
    use super::*;

    /// The text of the error.
    fn load(private: &str, public: &str) -> Result<KeyPair, String> {
        let files = Files::new(private, public);
        let loaded = KeyPair::load(&files.private(), &files.public());
        loaded.map_err(|error| error.to_string().replace(&files.folder().display().to_string(), "DIR"))
    }

    fn check(private: &str, public: &str, expected: &str) {
        let error = load(private, public).unwrap_err();
        assert!(error.contains(expected), "{error:?} has {expected:?}");
        assert!(error.contains("service-center keys --out DIR"), "{error:?} says what to do");
        assert!(!error.contains('\n'), "{error:?} is one line");
        assert!(!error.contains("MII"), "{error:?} has no key");
    }

    #[test]
    fn each_form_is_read() {
        let key = PrivateKey::from_pkcs1_pem(PRIVATE).unwrap();
        let pkcs8 = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        let public = key.to_public_key().to_pkcs1_pem(LineEnding::LF).unwrap();
        let windows = PRIVATE.replace('\n', "\r\n");
        let around = format!("Key attributes: none\n{PRIVATE}{PUBLIC}the end\n");
        for private in [PRIVATE, pkcs8.as_str(), &windows, &around] {
            for public in [PUBLIC, &public, &PUBLIC.replace('\n', "\r\n")] {
                load(private, public).unwrap();
            }
        }
    }

    #[test]
    fn each_mistake_is_named() {
        check("", PUBLIC, "DIR/private.key: the file holds no key in PEM");
        check("no key", PUBLIC, "DIR/private.key: the file holds no key in PEM");
        check(PRIVATE, "", "DIR/public.key: the file holds no key in PEM");
        check(&PRIVATE[..600], PUBLIC, "DIR/private.key: the file holds no key in PEM");
        check(PUBLIC, PUBLIC, "DIR/private.key: the file holds 'PUBLIC KEY', expected is 'RSA PRIVATE KEY'");
        check(PRIVATE, PRIVATE, "DIR/public.key: the file holds 'RSA PRIVATE KEY', expected is 'PUBLIC KEY'");
        let encrypted = PRIVATE.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n", 1);
        check(&encrypted, PUBLIC, "DIR/private.key: the key is protected by a password");
        check(&PRIVATE.replace("RSA PRIVATE", "ENCRYPTED PRIVATE"), PUBLIC, "protected by a password");
        let elliptic = rcgen::KeyPair::generate().unwrap();
        check(&elliptic.serialize_pem(), PUBLIC, "DIR/private.key: the key is not an RSA key");
        check(PRIVATE, &elliptic.public_key_pem(), "DIR/public.key: the key is not an RSA key");
        let files = Files::new(PRIVATE, PUBLIC);
        let absent = files.folder().join("absent.key");
        let error = KeyPair::load(&absent, &files.public()).unwrap_err().to_string();
        assert!(error.contains("absent.key: ") && error.contains("service-center keys"), "{error}");
        let error = KeyPair::load(&files.private(), &absent).unwrap_err().to_string();
        assert!(error.contains("absent.key: "), "{error}");
    }

    /// A key with a changed byte either works all the same or is rejected: no login fails later.
    #[test]
    fn damaged_keys_are_rejected() {
        let (_, key) = SecretDocument::from_pem(PRIVATE).unwrap();
        let mut rejected = 0;
        for at in (0..key.as_bytes().len()).step_by(97) {
            let mut damaged = key.as_bytes().to_vec();
            damaged[at] ^= 2;
            let Ok(damaged) = SecretDocument::try_from(damaged) else {
                continue;
            };
            let damaged = damaged.to_pem("RSA PRIVATE KEY", pkcs8::LineEnding::LF).unwrap();
            match load(&damaged, PUBLIC) {
                Ok(pair) => assert!(pair.works(), "byte {at}"),
                Err(_) => rejected += 1,
            }
        }
        assert!(rejected > 5, "{rejected} keys were rejected");
    }

    #[test]
    fn short_keys_are_rejected() {
        let short = generate(1024).unwrap();
        check(&short.private, &short.public, "DIR/private.key: the key cannot be used");
        check(&short.private, &short.public, "2048 to 4096 bits");
    }

    #[test]
    fn keys_of_two_pairs_are_rejected() {
        let other = generate(2048).unwrap();
        load(&other.private, &other.public).unwrap();
        check(PRIVATE, &other.public, "DIR/public.key is not the public key of DIR/private.key");
        check(&other.private, PUBLIC, "DIR/public.key is not the public key of DIR/private.key");
    }

    #[test]
    fn debug_output_has_no_key() {
        let pair = load(PRIVATE, PUBLIC).unwrap();
        assert_eq!(format!("{pair:?}"), "KeyPair");
        assert_eq!(format!("{:?}", pair.signer()), "Signer");
        assert_eq!(format!("{:?}", generate(1024).unwrap()), "GeneratedPair");
    }
}
