//! Why the daemon or a command ends other than well.

use std::io;
use std::net::SocketAddr;

use super::transfer::TransferError;
use crate::error::Error;
use crate::store::embedded::OpenError;
use crate::store::etcd::ConnectError;
use crate::tls::TlsError;

/// Something outside the configuration is wrong. The text names it, and what to do where that is not plain.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The system lets no signal be handled.
    #[error("signals cannot be handled: {0}")]
    Signals(io::Error),
    /// The embedded store.
    #[error(transparent)]
    Embedded(#[from] OpenError),
    /// etcd, for a reason that waiting does not mend.
    #[error("etcd: {0}")]
    Etcd(#[from] ConnectError),
    /// Certificates of the port.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configured host, which is not understood.
    #[error("server.host '{host}': {error}")]
    Host {
        /// As configured.
        host: String,
        /// What the system said.
        error: io::Error,
    },
    /// The configured host has no address.
    #[error("server.host '{0}' has no address")]
    NoAddress(String),
    /// The port.
    #[error("{address}: {error}")]
    Listen {
        /// Where the daemon is to listen.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The store refuses this node's own entry.
    #[error("this node cannot register itself: {0}")]
    Register(Error),
    /// An export or an import.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}
