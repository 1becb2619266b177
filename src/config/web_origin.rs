//! Origins of pages: what `server.cors.origins` lists, what browsers send, and what a server's own pages have. Pure.

use std::net::Ipv6Addr;

use super::endpoint::{Scheme, parse_port, split_host_port};

/// Scheme, host and port of a page (RFC 6454). Two origins are equal if they mean the same: the case of letters does not count, a
/// port that is the default of the scheme can be absent, and an IPv6 address has many spellings. A dot at the end of a name
/// counts, because it does in browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin {
    /// In lower case, without `://`.
    scheme: String,
    /// In lower case, without brackets.
    host: String,
    /// `None` for the default of the scheme.
    port: Option<u16>,
}

impl WebOrigin {
    /// Parses an element of the configuration. The error says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        if matches!(text, "*" | "null") {
            return Err(format!("list each origin, because {text:?} would allow every page"));
        }
        if !text.is_ascii() {
            return Err(format!("{text:?}: write the host in ASCII, as browsers send it (xn--…)"));
        }
        Self::of_header(text).ok_or_else(|| {
            format!("{text:?}: write scheme, host and port of a page, such as https://portal.example:8443")
        })
    }

    /// Parses the header `Origin`. `None` for all that is not one origin: an empty text, `null`, a list, a URL with a path.
    pub fn of_header(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if is_scheme { Self::at(scheme, authority) } else { None }
    }

    /// The origin of a server's own pages: its scheme, and the host and port that a request names.
    pub fn of_server(scheme: Scheme, authority: &str) -> Option<Self> {
        match scheme {
            Scheme::Http => Self::at("http", authority),
            Scheme::Https => Self::at("https", authority),
        }
    }

    fn at(scheme: &str, authority: &str) -> Option<Self> {
        let (host, port) = split_host_port(authority).filter(|(host, _)| host.is_ascii())?;
        let port = match port {
            None => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(parse_port(port)?),
            Some(_) => return None,
        };
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let host = host.parse::<Ipv6Addr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
        Some(Self { scheme, host, port: port.filter(|_| port != default) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a page of this origin is a page of the plain server with this `Host`.
    fn check(origin: &str, host: &str, is_own: bool) {
        let (page, server) = (WebOrigin::of_header(origin), WebOrigin::of_server(Scheme::Http, host));
        assert_eq!(page.is_some() && page == server, is_own, "{origin:?} at {host:?}");
    }

    #[test]
    fn spellings_of_one_origin_are_equal() {
        check("http://h:30100", "h:30100", true);
        check("http://127.0.0.1:30100", "127.0.0.1:30100", true);
        check("HTTP://Registry.Example:30100", "registry.example:30100", true);
        check("http://h", "h:80", true);
        check("http://h:80", "h", true);
        check("http://[::1]:30100", "[0:0::1]:30100", true);
        check("http://[FD00::A]", "[fd00::a]", true);
        check("http://h.:30100", "h.:30100", true);
    }

    #[test]
    fn other_origins_differ() {
        check("http://h:30101", "h:30100", false);
        check("http://h", "h:30100", false);
        check("http://h:30100", "h", false);
        check("https://h:30100", "h:30100", false);
        check("http://h.:30100", "h:30100", false);
        check("http://h.evil.example:30100", "h:30100", false);
        check("http://localhost:30100", "127.0.0.1:30100", false);
        check("http://[::ffff:127.0.0.1]:30100", "127.0.0.1:30100", false);
        assert_eq!(
            WebOrigin::of_header("https://h"),
            WebOrigin::of_server(Scheme::Https, "H:443"),
            "TLS has a default port of its own"
        );
    }

    #[test]
    fn what_is_no_origin_is_nobodys() {
        for text in [
            "",
            "null",
            "*",
            "h",
            "h:30100",
            "http:",
            "http://",
            "://h",
            "http://h/",
            "http://h/path",
            "http://h?q",
            "http://u@h",
            "http://u:p@h",
            "http://h:",
            "http://h:+80",
            "http://h:0",
            "http://h:65536",
            "http://h http://h",
            "http://h, http://h",
            "http://::1",
            "http://[::1",
            "http://[h]",
            "1http://h",
        ] {
            assert_eq!(WebOrigin::of_header(text), None, "{text:?}");
            check(text, text, false);
        }
        for host in ["", "u@h", "h/", "a b", "h:x"] {
            assert_eq!(WebOrigin::of_server(Scheme::Http, host), None, "{host:?}");
        }
    }

    #[test]
    fn the_configuration_says_what_to_write() {
        assert_eq!(
            WebOrigin::parse("https://portal.example"),
            WebOrigin::parse("https://PORTAL.example:443")
        );
        for (text, part) in [
            ("*", "every page"),
            ("null", "every page"),
            ("http://münchen.example", "xn--"),
            ("http://portal.example/", "such as https://portal.example:8443"),
            ("portal.example", "such as"),
        ] {
            let error = WebOrigin::parse(text).err().unwrap_or_default();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
