//! What the store needs to know to reach etcd, checked before anything is tried. It reads no configuration itself.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{EtcdEndpoint, Scheme};

/// Where etcd is and how to talk to it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// Tried in this order; at least one. All with the same scheme.
    pub endpoints: Vec<EtcdEndpoint>,
    /// Certificates; needed as soon as one endpoint is reached by TLS.
    pub tls: Option<TlsOptions>,
    /// Of an etcd with authentication enabled; ignored by one without.
    pub credentials: Option<Credentials>,
    /// Limit of one attempt to connect, TLS handshake included. Within a call the limit of the call counts as well.
    pub connect_timeout: Duration,
    /// Limit of one request. A write, a look at the revision or a grant takes at most [`LONGEST_CALL`] of it: a client
    /// waits for them, and it is better told soon that etcd is away. A page of a listing takes at most
    /// [`LONGEST_PAGE`].
    pub request_timeout: Duration,
    /// How often etcd is asked for its members, whose addresses are tried after the endpoints: so a cluster is found
    /// though its endpoints are gone. `None`: never.
    pub sync_interval: Option<Duration>,
}

/// No write, grant, revocation or look at the revision takes longer, whatever [`EtcdOptions::request_timeout`] says.
pub const LONGEST_CALL: Duration = Duration::from_secs(2);

/// No page of a listing takes longer.
pub const LONGEST_PAGE: Duration = Duration::from_secs(10);

/// Name and password of an etcd user.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// Its password; never logged.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Certificates, all PEM files. They are read at the start, and before each connection if they have changed.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The authorities that may have signed etcd's certificate. May be absent only under [`Verification::Nothing`].
    pub ca: Option<PathBuf>,
    /// Our certificate, where etcd asks for one.
    pub identity: Option<ClientIdentity>,
    /// The name etcd's certificate must bear, if it is not the endpoint's host.
    pub server_name: Option<String>,
    /// How much of etcd's certificate is checked.
    pub verification: Verification,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The certificate and what is between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The password of the key; read only if the key is encrypted.
    pub password: PathBuf,
}

/// How much of etcd's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Signed by a known authority, and names the host.
    Full,
    /// Signed by a known authority; which host it names does not matter. For clusters whose certificates were made for
    /// a server that never looked at the name.
    AuthorityOnly,
    /// Nothing: whoever answers is taken for etcd.
    Nothing,
}

/// An option that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(pub String);

impl EtcdOptions {
    /// Without certificates and credentials, with the limits of the shipped configuration, at these endpoints only.
    pub fn plain(endpoints: impl IntoIterator<Item = EtcdEndpoint>) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            tls: None,
            credentials: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            sync_interval: None,
        }
    }

    pub(super) fn call_limit(&self) -> Duration {
        self.request_timeout.min(LONGEST_CALL)
    }

    pub(super) fn page_limit(&self) -> Duration {
        self.request_timeout.min(LONGEST_PAGE)
    }

    /// Whether they can work at all.
    pub(super) fn check(&self) -> Result<(), OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError("no etcd endpoint is given".to_owned()));
        }
        if self.connect_timeout.is_zero() || self.request_timeout.is_zero() {
            return Err(OptionsError("the time limits of etcd must be longer than nothing".to_owned()));
        }
        let is_encrypted = |endpoint: &&EtcdEndpoint| endpoint.scheme == Scheme::Https;
        match self.endpoints.iter().find(is_encrypted) {
            Some(endpoint) if self.tls.is_none() => {
                Err(OptionsError(format!("{endpoint}: https needs certificates, and none are given")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let endpoint = |text: &str| EtcdEndpoint::parse(text).unwrap();
        let check = |options: EtcdOptions| options.check().map_err(|error| error.0);
        assert_eq!(check(EtcdOptions::plain([endpoint("etcd:2379")])), Ok(()));
        let message = check(EtcdOptions::plain([endpoint("https://etcd:2379")])).unwrap_err();
        assert!(message.contains("https://etcd:2379") && message.contains("certificates"), "{message}");
        assert!(check(EtcdOptions::plain([])).is_err());
        let hasty =
            EtcdOptions { request_timeout: Duration::ZERO, ..EtcdOptions::plain([endpoint("etcd:1")]) };
        assert!(check(hasty).is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", Credentials { user: "root".to_owned(), password: "hush".to_owned() });
        assert!(shown.contains("root") && !shown.contains("hush"), "{shown}");
    }
}
