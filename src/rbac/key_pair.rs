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

use ::rsa::pkcs1::EncodeRsaPrivateKey as _;
use ::rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use getrandom::SysRng;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{Document, ObjectIdentifier, SecretDocument};
use ring::rsa;

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
    #[error("the key has {0} bits; it must have 2048 to 4096 bits")]
    Size(usize),
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
        Ok(Self { private: Arc::new(pair) })
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
    let (label, key) = SecretDocument::from_pem(text).map_err(not_pem)?;
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

fn rejected(error: &dyn fmt::Display) -> KeyMistake {
    KeyMistake::Rejected(error.to_string())
}

/// The key in the form that ring compares and verifies with: the DER of PKCS#1.
fn public_key(text: &str) -> Result<Vec<u8>, KeyMistake> {
    const EXPECTED: &str = "'PUBLIC KEY' or 'RSA PUBLIC KEY'";
    let (label, key) = Document::from_pem(text).map_err(not_pem)?;
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
