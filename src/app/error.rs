//! The errors that end the daemon or a command.

use std::io;
use std::net::SocketAddr;

use super::transfer::TransferError;
use crate::error::Error;
use crate::store::embedded::OpenError;
use crate::store::etcd::ConnectError;
use crate::tls::TlsError;

/// An error outside the configuration. The text names what failed, and says what to do if that is not obvious.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the daemon cannot handle signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Embedded(#[from] OpenError),
    /// An error of etcd that does not go away by waiting.
    #[error("etcd: {0}")]
    Etcd(#[from] ConnectError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("server.host '{host}' cannot be resolved: {error}")]
    Host { host: String, error: io::Error },
    #[error("server.host '{0}' has no address; write an address or a name of this machine")]
    NoAddress(String),
    #[error("the daemon cannot listen on {address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("this node cannot register itself: {0}")]
    Register(Error),
    #[error(transparent)]
    Transfer(#[from] TransferError),
}
