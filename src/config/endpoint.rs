//! Addresses: where this server listens, which address it publishes, and where etcd is. Pure: names are not resolved.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

/// An address of etcd. `Display` writes it as a URL: `http://10.12.0.4:2379`, `https://[fe80::1]:2379`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EtcdEndpoint {
    /// `http` if the text has no scheme. `https` encrypts the connection.
    pub scheme: Scheme,
    /// A name or an address. An IPv6 address has no brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for EtcdEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}:{}", bracketed(&self.host), self.port)
    }
}

impl EtcdEndpoint {
    /// Parses `[http://|https://]host:port[/]`, with brackets around an IPv6 host.
    pub fn parse(text: &str) -> Result<Self, String> {
        // This check is first, because the other messages show the text, which may hold a password.
        if text.contains('@') {
            let advice =
                "write the user into registry.etcd.username and registry.etcd.password, not into an endpoint";
            return Err(advice.to_owned());
        }
        let (scheme, rest) = match text.split_once("://") {
            None => (Scheme::Http, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, _)) => {
                return Err(format!(
                    "{text:?}: the scheme {scheme:?} is not known; write http:// or https://"
                ));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let wrong = || format!("{text:?}: write host:port, such as 10.12.0.4:2379 or https://[fd00::4]:2379");
        let (host, port) = split_host_port(rest).ok_or_else(wrong)?;
        let port = port.and_then(parse_port).ok_or_else(wrong)?;
        Ok(Self { scheme, host: host.to_owned(), port })
    }
}

/// Where a separate listener serves one path: `http://127.0.0.1:9090/metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUrl {
    /// With `https` the listener uses the certificate of the server.
    pub scheme: Scheme,
    /// A name or an address. An IPv6 address has no brackets.
    pub host: String,
    pub port: u16,
    /// Begins with a slash.
    pub path: String,
}

impl ListenUrl {
    /// Parses `http://host[:port][/path]` or the same with `https`. Without a port: 80, or 443 with `https`. Without a path:
    /// `default_path`.
    pub fn parse(text: &str, default_path: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            _ => {
                return Err(format!(
                    "begin with http:// or https://, such as http://127.0.0.1:9090{default_path}"
                ));
            }
        };
        if rest.contains('@') {
            return Err("leave out the user: whoever reaches the address may read the metrics".to_owned());
        }
        if let Some(mark) = rest.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(format!("leave out what begins with '{mark}': only a path can be served"));
        }
        let (place, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let wrong = || format!("write a host and a port, such as http://127.0.0.1:9090{default_path}");
        let (host, port) = split_host_port(place).ok_or_else(wrong)?;
        let port = match port {
            Some(port) => parse_port(port).ok_or_else(|| "write a port from 1 to 65535".to_owned())?,
            None => default_port,
        };
        let path = if matches!(path, "" | "/") { default_path } else { path };
        let is_plain = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~'))
        };
        if !path.split('/').skip(1).all(is_plain) {
            return Err(
                "write a path of letters, digits and -._~ between single slashes, without one at its end"
                    .to_owned(),
            );
        }
        Ok(Self { scheme, host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// A cluster of the list `registry.etcd.cluster.endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdCluster {
    /// In a list without names: the name of this node's own cluster.
    pub name: String,
    /// The addresses as they were written. The addresses of other clusters may be service centers, not members of etcd.
    pub endpoints: Vec<String>,
}

/// Splits the list into clusters. `h1:1,h2:2` is one cluster called `own`. In `a=h1:1,h2:2,b=h3:3` each piece with `=` begins a
/// cluster.
pub fn parse_clusters(text: &str, own: &str) -> Vec<EtcdCluster> {
    let mut clusters: Vec<EtcdCluster> = Vec::new();
    for piece in text.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        let (name, endpoint) = match piece.split_once('=') {
            Some((name, endpoint)) => (Some(name.trim()), endpoint.trim()),
            None => (None, piece),
        };
        let at = match (name, clusters.len()) {
            (None, 0) => push(&mut clusters, own),
            (None, count) => count - 1,
            (Some(name), _) => match clusters.iter().position(|cluster| cluster.name == name) {
                Some(at) => at,
                None => push(&mut clusters, name),
            },
        };
        if let Some(cluster) = clusters.get_mut(at).filter(|_| !endpoint.is_empty()) {
            cluster.endpoints.push(endpoint.to_owned());
        }
    }
    clusters
}

fn push(clusters: &mut Vec<EtcdCluster>, name: &str) -> usize {
    clusters.push(EtcdCluster { name: name.to_owned(), endpoints: Vec::new() });
    clusters.len() - 1
}

/// Splits `host`, `host:port`, `[v6]` and `[v6]:port` into the host without brackets and the port. `None` for any other form,
/// also for an IPv6 address without brackets, where a port cannot be recognized.
pub fn split_host_port(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            if !is_ipv6(host) {
                return None;
            }
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let of_a_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let named = !host.is_empty() && host.chars().all(of_a_name);
    (named || is_ipv6(host)).then_some((host, port))
}

/// A port from 1 to 65535.
pub fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// Parses `server.host`: a name, an IPv4 address, or an IPv6 address with or without a zone and brackets. Returns the host
/// without brackets.
pub fn parse_listen_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(inner) if is_ipv6(inner) => return Ok(inner.to_owned()),
        None if text.is_empty() || is_ipv6(text) => return Ok(text.to_owned()),
        _ => {}
    }
    match split_host_port(text) {
        Some((host, None)) if !text.starts_with('[') => Ok(host.to_owned()),
        Some((_, Some(_))) => {
            Err("write the address without a port; the key of the port is server.port".to_owned())
        }
        _ => Err("write an IP address or a host name, such as 10.12.0.1".to_owned()),
    }
}

/// Whether a server on this host listens on every address of the machine. Such a host does not say how others reach the node.
pub fn is_wildcard(host: &str) -> bool {
    let unzoned = host.split_once('%').map_or(host, |(address, _)| address);
    host.is_empty() || unzoned.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// A host as a URL has it: with brackets around an IPv6 address.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "-"));
    !zone.is_empty() && !zone.contains(['/', ']', '[', ' ']) && address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(text: &str, own: &str) -> Vec<(String, Vec<String>)> {
        parse_clusters(text, own).into_iter().map(|c| (c.name, c.endpoints)).collect()
    }

    fn expected(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        list.iter()
            .map(|(name, all)| ((*name).to_owned(), all.iter().map(|e| (*e).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn a_list_without_names_is_the_own_cluster() {
        assert_eq!(clusters("127.0.0.1:2379", "default"), expected(&[("default", &["127.0.0.1:2379"])]));
        assert_eq!(
            clusters("127.0.0.1:2379, 127.0.0.2:2379,", "sc-0"),
            expected(&[("sc-0", &["127.0.0.1:2379", "127.0.0.2:2379"])])
        );
        assert_eq!(clusters("", "default"), expected(&[]));
    }

    #[test]
    fn named_clusters() {
        assert_eq!(clusters("sc-0=A,B", "sc-0"), expected(&[("sc-0", &["A", "B"])]));
        assert_eq!(clusters("sc-0=A,sc-1=B,C", "sc-0"), expected(&[("sc-0", &["A"]), ("sc-1", &["B", "C"])]));
        assert_eq!(clusters("sc-1=A,B,sc-2=C", "sc-0"), expected(&[("sc-1", &["A", "B"]), ("sc-2", &["C"])]));
        assert_eq!(clusters("a=,b=X,a=Y", "a"), expected(&[("a", &["Y"]), ("b", &["X"])]));
    }

    fn check(text: &str, url: Option<&str>) {
        let got = EtcdEndpoint::parse(text).map(|endpoint| endpoint.to_string()).ok();
        assert_eq!(got.as_deref(), url, "{text:?}");
    }

    #[test]
    fn etcd_endpoints() {
        check("10.0.0.1:2379", Some("http://10.0.0.1:2379"));
        check("http://etcd-0.local:2379/", Some("http://etcd-0.local:2379"));
        check("HTTPS://h:1", Some("https://h:1"));
        check("[fd00::4]:2379", Some("http://[fd00::4]:2379"));
        for wrong in [
            "",
            "10.0.0.1",
            "10.0.0.1:",
            "10.0.0.1:0",
            "10.0.0.1:65536",
            "10.0.0.1:http",
            "ftp://a:1",
            "fd00::4:2379",
            "u:p@h:1",
            "h:1/path",
            "http://",
            "[fd00::4]2379",
            "[h]:1",
            "a b:1",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn listening_hosts() {
        for (text, host) in [
            ("127.0.0.1", "127.0.0.1"),
            ("sc.local", "sc.local"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("[fe80::1%eth0]", "fe80::1%eth0"),
            ("", ""),
        ] {
            assert_eq!(parse_listen_host(text).as_deref(), Ok(host), "{text:?}");
        }
        for wrong in ["10.0.0.1:30100", "[::1]:30100", "http://h", "a b", "[h]", "[", "::g"] {
            assert!(parse_listen_host(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn wildcards() {
        for wildcard in ["", "0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::%eth0"] {
            assert!(is_wildcard(wildcard), "{wildcard:?}");
        }
        for single in ["127.0.0.1", "::1", "localhost", "0.0.0.1"] {
            assert!(!is_wildcard(single), "{single:?}");
        }
    }
}
