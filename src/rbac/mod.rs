//! Access control: passwords, keys, tokens, permissions, and the count of failed logins.
//!
//! Invariant: everything here is a function of its arguments. Accounts, roles and the time come from the caller. Only
//! [`key_pair`] reads files, and only [`hasher`] owns threads. No `Debug` output contains a password, a hash, a key or a token.

pub mod attempts;
pub mod hasher;
pub mod key_pair;
pub mod password;
pub mod permissions;
pub mod resource;
pub mod signed_in;
#[cfg(test)]
pub mod test_keys;
pub mod token;

pub use attempts::{Attempts, LockStatus};
pub use hasher::{Busy, Hasher};
pub use key_pair::{KeyPair, KeyPairError};
pub use permissions::{Grant, Labels, Permissions};
pub use resource::{Resource, Verb};
pub use token::{Claims, Signer, Verifier, bearer};
