//! The errors that end the daemon or a command.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::transfer::TransferError;
use crate::error::Error;
use crate::rbac::KeyPairError;
use crate::store::embedded::OpenError;
use crate::store::etcd::ConnectError;
use crate::tls::TlsError;

/// Exit code if the daemon or a command fails for a reason outside its configuration (`EX_UNAVAILABLE` of sysexits).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// Exit code of a wrong configuration (`EX_USAGE` of sysexits).
const EXIT_USAGE: u8 = 64;

/// An error that shows itself only when the daemon or a command runs. The text names what failed, and says what to do if that is not
/// obvious.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the daemon cannot handle signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Embedded(#[from] OpenError),
    /// An error of etcd that does not go away by waiting.
    #[error("etcd: {0}")]
    Etcd(#[from] ConnectError),
    #[error(
        "etcd cannot be reached: no answer within {0:?}; nothing was done, start the command again when etcd answers"
    )]
    StoreAway(Duration),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `key` is the key of the configuration that names the host.
    #[error("{key} '{host}' cannot be resolved: {error}")]
    Host { key: &'static str, host: String, error: io::Error },
    #[error("{key} '{host}' has no address; write an address or a name of this machine")]
    NoAddress { key: &'static str, host: String },
    #[error("the daemon cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("this node cannot register itself: {0}")]
    Register(Error),
    #[error(transparent)]
    Keys(#[from] KeyPairError),
    /// The text never shows the password.
    #[error("SC_INIT_ROOT_PASSWORD cannot be the password of the account \"root\": {0}")]
    RootPassword(Cow<'static, str>),
    #[error("tracing.otlp.endpoint: {0}")]
    Traces(String),
    #[error("the threads that hash passwords cannot be started: {0}")]
    Hasher(io::Error),
    #[error("the built-in roles and the account \"root\" cannot be written: {0}")]
    Accounts(Error),
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

impl AppError {
    /// 64 for what an operator corrects in the configuration or in its files, 69 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Keys(_) | Self::RootPassword(_) | Self::Traces(_) => EXIT_USAGE,
            _ => EXIT_UNAVAILABLE,
        }
    }
}
