//! The options of the store on etcd, and their checks. It reads no configuration itself.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{EtcdEndpoint, Scheme};

/// Where etcd is and how to connect to it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// At least one, all with the same scheme. Tried in this order.
    pub endpoints: Vec<EtcdEndpoint>,
    /// Needed if an endpoint uses TLS.
    pub tls: Option<TlsOptions>,
    /// For an etcd with authentication. An etcd without authentication ignores them.
    pub credentials: Option<Credentials>,
    /// Limit of one attempt to connect, including the TLS handshake. Within a call the limit of the call applies too.
    pub connect_timeout: Duration,
    /// Limit of one request. A page of a listing takes at most 10 s of it.
    pub request_timeout: Duration,
    /// Limit of all other calls, whatever `request_timeout` is. An etcd that answers nothing for so long is away.
    pub longest_call: Duration,
    /// How often to ask etcd for its members. Their addresses are tried after the endpoints, so that the cluster is found even
    /// if all endpoints are gone. `None`: never.
    pub sync_interval: Option<Duration>,
}

/// [`EtcdOptions::longest_call`] of the daemon. Clients wait for these calls, and should soon learn that etcd is away.
pub const LONGEST_CALL: Duration = Duration::from_secs(2);

/// The longest page of a listing, whatever [`EtcdOptions::request_timeout`] is.
const LONGEST_PAGE: Duration = Duration::from_secs(10);

/// Name and password of an etcd user. The password is never logged.
#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// PEM files of certificates. They are read at the start, and before each connection if they have changed.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The authorities that may have signed etcd's certificate. May be absent only with [`Verification::Nothing`].
    pub ca: Option<PathBuf>,
    /// This client's certificate, if etcd asks for one.
    pub identity: Option<ClientIdentity>,
    /// The name in etcd's certificate, if it differs from the endpoint's host.
    pub server_name: Option<String>,
    pub verification: Verification,
}

#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The certificate and its intermediate certificates.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The file with the key's password. Read only if the key is encrypted.
    pub password: PathBuf,
}

/// What is checked of etcd's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// A known authority has signed it, and it names the host.
    Full,
    /// A known authority has signed it. The host does not matter. For clusters whose certificates were made for the original
    /// server, which does not check the name.
    AuthorityOnly,
    /// Nothing. Any server that answers is taken for etcd.
    Nothing,
}

/// An option that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionsError(pub String);

impl EtcdOptions {
    /// Without certificates, credentials and members, with the limits of the shipped configuration.
    #[cfg(feature = "test-doubles")]
    pub fn plain(endpoints: impl IntoIterator<Item = EtcdEndpoint>) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            tls: None,
            credentials: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            longest_call: LONGEST_CALL,
            sync_interval: None,
        }
    }

    pub(super) fn call_limit(&self) -> Duration {
        self.request_timeout.min(self.longest_call)
    }

    pub(super) fn page_limit(&self) -> Duration {
        self.request_timeout.min(LONGEST_PAGE)
    }

    pub(super) fn check(&self) -> Result<(), OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError("no etcd endpoint is given".to_owned()));
        }
        if self.connect_timeout.is_zero() || self.request_timeout.is_zero() {
            return Err(OptionsError("the time limits of etcd must be longer than 0".to_owned()));
        }
        let is_encrypted = |endpoint: &&EtcdEndpoint| endpoint.scheme == Scheme::Https;
        match self.endpoints.iter().find(is_encrypted) {
            Some(endpoint) if self.tls.is_none() => {
                Err(OptionsError(format!("{endpoint}: https needs certificates, but none are configured")))
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
