//! What is refused before anything of a request is looked at: too many requests of a client address, and changes that a page of
//! another origin asks for. Nothing of a refused request is executed, whatever its body is.

use std::net::{IpAddr, Ipv4Addr};

use actix_http::header;
use actix_http::{Method, RequestHead};
use tokio::time::Instant;

use super::router::{RouteLookup, Router};
use crate::config::{AddressLookup, RateConfig};
use crate::error::{Code, Error};
use crate::http::client_address::client_address;
use crate::http::middleware::cors::{Cors, Intent, PageTrust, Readers, asked_method};
use crate::http::rate_limit::ConfiguredRate;
use crate::http::reply::Reply;
use crate::http::route::{Handler, Route};
use crate::http::spec::{Pages, Rate};
use crate::metrics;

/// Characters of an `Origin` that an answer shows.
const SHOWN: usize = 100;

pub(super) struct Gate {
    pub(super) cors: Cors,
    rate: Option<AddressRate>,
}

impl Gate {
    pub(super) fn new(cors: Cors, rate: Option<RateConfig>, lookups: Vec<AddressLookup>) -> Self {
        Self { cors, rate: rate.map(|rate| AddressRate::new(rate, lookups)) }
    }

    /// The answer to a request that goes no further.
    pub(super) fn refusal<S>(&self, head: &RequestHead, found: &RouteLookup<S>) -> Option<Reply> {
        let over = self.rate.as_ref().filter(|_| is_counted(found)).and_then(|rate| rate.refusal(head));
        over.or_else(|| self.foreign_change(head, found))
    }

    fn foreign_change<S>(&self, head: &RequestHead, found: &RouteLookup<S>) -> Option<Reply> {
        let needs_trust = match found {
            // CORS does not keep a page from reading a websocket, so the handshake is refused.
            RouteLookup::Route(route, _) if self.cors.readers() == Readers::Listed => {
                route.changes() || matches!(route.handler, Handler::Websocket(_))
            }
            RouteLookup::Route(route, _) => route.changes(),
            _ => Intent::of(&head.method) == Intent::Change,
        };
        if !needs_trust || self.cors.caller(head) != PageTrust::Foreign {
            return None;
        }
        metrics::REFUSED_FOR_ORIGIN.add(1);
        let origin = head.headers.get(header::ORIGIN).map_or(&[][..], |value| value.as_bytes());
        let origin: String = String::from_utf8_lossy(origin).chars().take(SHOWN).collect();
        let detail = format!(
            "a page of the origin {origin:?} may not do this: the origin is neither the server's own nor listed in \
             server.cors.origins"
        );
        Some(Reply::error(&Error::new(Code::Forbidden, detail)))
    }

    /// The answer to `OPTIONS`.
    pub(super) fn options<S>(&self, head: &RequestHead, router: &Router<S>) -> Reply {
        let asked = asked_method(&head.headers).map(|asked| asked.as_bytes().to_ascii_uppercase());
        let method = asked.map_or(Some(Method::GET), |asked| Method::from_bytes(&asked).ok());
        // What is no method is granted to nobody.
        let method = method.unwrap_or(Method::OPTIONS);
        let (pages, intent) = match router.find(&method, &head.uri) {
            RouteLookup::Route(route, _) => (route.operation.pages, intent(route)),
            _ => (Pages::OtherOrigins, Intent::of(&method)),
        };
        self.cors.options(head, pages, intent)
    }
}

fn intent<S>(route: &Route<S>) -> Intent {
    if route.changes() { Intent::Change } else { Intent::Read }
}

fn is_counted<S>(found: &RouteLookup<S>) -> bool {
    !matches!(found, RouteLookup::Route(route, _) if route.operation.rate == Rate::Free)
}

/// The limit of requests per client address.
struct AddressRate {
    limit: ConfiguredRate,
    begin: Instant,
    lookups: Vec<AddressLookup>,
}

/// What counts as one client. A client with IPv6 has a whole /64 network of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4(address) => write!(f, "address {address}"),
            Self::V6([a, b, c, d]) => {
                let network = std::net::Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0);
                write!(f, "network {network}/64")
            }
        }
    }
}

impl AddressRate {
    fn new(config: RateConfig, lookups: Vec<AddressLookup>) -> Self {
        let limit = ConfiguredRate::new(config, "server.limit.connections");
        Self { limit, begin: Instant::now(), lookups }
    }

    fn refusal(&self, head: &RequestHead) -> Option<Reply> {
        let client = Client::of(client_address(head, &self.lookups));
        self.limit.refusal(client, self.begin.elapsed(), || format!("the {client}"))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let client = |text: &str| Client::of(text.parse().unwrap());
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:10.0.0.9"), client("10.0.0.9"));
        assert_ne!(client("10.0.0.9"), client("10.0.0.8"));
        assert_eq!(client("2001:db8:1:2:3::1").to_string(), "network 2001:db8:1:2::/64");
        assert_eq!(client("10.0.0.9").to_string(), "address 10.0.0.9");
    }
}
