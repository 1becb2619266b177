//! The errors of reading a private key.

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("the file holds no private key")]
    NoKey,
    /// The text names the cipher, if it is known.
    #[error(
        "{0}this version cannot read the encryption of the key; convert the key with openssl pkey -aes256 -in … -out …"
    )]
    Unsupported(String),
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
