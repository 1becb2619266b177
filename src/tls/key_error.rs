//! Why a private key is not read.

/// Why a key stays closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("holds no private key")]
    NoKey,
    /// With the cipher, if it is known.
    #[error(
        "{0}the key is encrypted in a way this version does not read; convert it: openssl pkey -aes256 -in … -out …"
    )]
    Unsupported(String),
    /// It says how it is encrypted in a way nobody understands.
    #[error("the key is damaged: {0}")]
    Damaged(String),
    #[error("the password does not open the key")]
    Password,
}

impl KeyError {
    pub(super) fn damaged(how: &str) -> Self {
        Self::Damaged(how.to_owned())
    }
}
