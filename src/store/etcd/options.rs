//! What the store needs to know to reach etcd, checked before anything is tried. It reads no configuration itself.

use std::fmt;
use std::time::Duration;

use tonic::transport::Uri;

/// Where etcd is and how to talk to it.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// `http://host:port` (plain), `https://host:port` (TLS), or `host:port`: TLS if [`EtcdOptions::tls`] is given.
    pub endpoints: Vec<String>,
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

/// Certificates, all PEM.
#[derive(Clone)]
pub struct TlsOptions {
    /// The authorities that may have signed etcd's certificate. May be absent only under [`Verification::Nothing`].
    pub ca: Option<Vec<u8>>,
    /// Our certificate, where etcd asks for one.
    pub identity: Option<ClientIdentity>,
    /// The name etcd's certificate must bear, if it is not the endpoint's host.
    pub server_name: Option<String>,
    /// How much of etcd's certificate is checked.
    pub verification: Verification,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions")
            .field("ca", &self.ca.is_some())
            .field("identity", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .field("verification", &self.verification)
            .finish()
    }
}

/// A certificate with its key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate and what is between it and its authority.
    pub certificate: Vec<u8>,
    /// Its private key, not encrypted.
    pub key: Vec<u8>,
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

/// One endpoint, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
    pub transport: Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl EtcdOptions {
    /// Plain, without credentials, with the limits of the shipped configuration.
    pub fn plain<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            tls: None,
            credentials: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        }
    }

    pub(super) fn call_limit(&self) -> Duration {
        self.request_timeout.min(LONGEST_CALL)
    }

    pub(super) fn page_limit(&self) -> Duration {
        self.request_timeout.min(LONGEST_PAGE)
    }

    /// The endpoints, in the order given.
    pub(super) fn addresses(&self) -> Result<Vec<Address>, OptionsError> {
        if self.endpoints.is_empty() {
            return Err(OptionsError("no etcd endpoint is given".to_owned()));
        }
        if self.connect_timeout.is_zero() || self.request_timeout.is_zero() {
            return Err(OptionsError("the time limits of etcd must be longer than nothing".to_owned()));
        }
        self.endpoints.iter().map(|endpoint| self.address(endpoint)).collect()
    }

    fn address(&self, endpoint: &str) -> Result<Address, OptionsError> {
        let bad = |why: &str| OptionsError(format!("etcd endpoint {endpoint:?}: {why}"));
        let (transport, rest) = match endpoint.trim().split_once("://") {
            Some(("http", rest)) => (Transport::Plain, rest),
            Some(("https", rest)) => (Transport::Tls, rest),
            Some((scheme, _)) => return Err(bad(&format!("the scheme is {scheme}, not http or https"))),
            None if self.tls.is_some() => (Transport::Tls, endpoint.trim()),
            None => (Transport::Plain, endpoint.trim()),
        };
        if transport == Transport::Tls && self.tls.is_none() {
            return Err(bad("https needs certificates, and none are given"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let uri: Uri = format!("http://{rest}").parse().map_err(|error| bad(&format!("{error}")))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("no host"))?;
        let port = uri.port_u16().ok_or_else(|| bad("no port (host:port is expected)"))?;
        if uri.path() != "/" || uri.query().is_some() || rest.contains('@') {
            return Err(bad("only host:port is expected"));
        }
        Ok(Address { host: host.to_owned(), port, transport })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(endpoint: &str, tls: Option<TlsOptions>) -> Result<(String, u16, Transport), String> {
        let options = EtcdOptions { tls, ..EtcdOptions::plain([endpoint]) };
        options
            .addresses()
            .map(|mut all| all.remove(0))
            .map(|address| (address.host, address.port, address.transport))
            .map_err(|error| error.0)
    }

    fn certificates() -> Option<TlsOptions> {
        Some(TlsOptions { ca: None, identity: None, server_name: None, verification: Verification::Nothing })
    }

    #[test]
    fn the_scheme_decides_the_transport() {
        let plain = |host: &str| Ok((host.to_owned(), 2379, Transport::Plain));
        let tls = |host: &str| Ok((host.to_owned(), 2379, Transport::Tls));
        assert_eq!(check("10.0.0.1:2379", None), plain("10.0.0.1"));
        assert_eq!(check("etcd:2379", certificates()), tls("etcd"));
        assert_eq!(check("http://etcd:2379/", certificates()), plain("etcd"));
        assert_eq!(check(" https://etcd:2379 ", certificates()), tls("etcd"));
        assert_eq!(check("http://[::1]:2379", None), plain("[::1]"));
    }

    #[test]
    fn what_cannot_work_is_named() {
        for bad in ["etcd", "http://etcd", "unix://x:1", "http://:2379", "http://a:1/x", "a b:1", "u@h:1", ""]
        {
            let message = check(bad, None).unwrap_err();
            assert!(message.contains(&format!("{bad:?}")), "{message}");
        }
        assert!(check("https://etcd:2379", None).unwrap_err().contains("certificates"));
        assert!(EtcdOptions::plain(Vec::<String>::new()).addresses().is_err());
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", Credentials { user: "root".to_owned(), password: "hush".to_owned() });
        assert!(shown.contains("root") && !shown.contains("hush"), "{shown}");
    }
}
