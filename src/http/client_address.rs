//! The address of a client, as the configuration says where to find it.

use std::net::{IpAddr, Ipv4Addr};

use actix_http::RequestHead;
use actix_http::header::HeaderName;

use crate::config::AddressLookup;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The address of the client, from the first place that has one; else the other end of the connection.
pub fn client_address(head: &RequestHead, lookups: &[AddressLookup]) -> IpAddr {
    let peer = head.peer_addr.map(|peer| peer.ip());
    let last = |name: &HeaderName| head.headers.get_all(name).last()?.to_str().ok();
    let found = lookups.iter().find_map(|lookup| match lookup {
        AddressLookup::Peer => peer,
        AddressLookup::ForwardedFor => last(&X_FORWARDED_FOR)?.rsplit(',').next()?.trim().parse().ok(),
        AddressLookup::RealIp => last(&X_REAL_IP)?.trim().parse().ok(),
    });
    found.or(peer).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;
    use AddressLookup::{ForwardedFor, Peer, RealIp};

    fn check(lookups: &[AddressLookup], headers: &[(&'static str, &'static str)], expected: &str) {
        let mut head = RequestHead::default();
        head.peer_addr = Some("10.0.0.9:5000".parse().unwrap());
        for (name, value) in headers {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let found = client_address(&head, lookups).to_string();
        assert_eq!(found, expected, "{lookups:?} {headers:?}");
    }

    #[test]
    fn the_first_place_with_an_address_counts() {
        let (forwarded, real) = (("x-forwarded-for", "1.1.1.1, 2.2.2.2"), ("x-real-ip", "3.3.3.3"));
        check(&[Peer, ForwardedFor, RealIp], &[forwarded, real], "10.0.0.9");
        check(&[ForwardedFor, RealIp, Peer], &[forwarded, real], "2.2.2.2");
        check(&[RealIp, ForwardedFor], &[forwarded, real], "3.3.3.3");
        check(&[ForwardedFor, RealIp], &[real], "3.3.3.3");
        check(&[ForwardedFor], &[], "10.0.0.9");
        check(&[], &[forwarded, real], "10.0.0.9");
        check(&[ForwardedFor], &[forwarded, ("x-forwarded-for", "4.4.4.4,2001:db8::7")], "2001:db8::7");
        check(&[ForwardedFor], &[("x-forwarded-for", "1.1.1.1, unknown")], "10.0.0.9");
        check(&[RealIp], &[("x-real-ip", " 3.3.3.3 ")], "3.3.3.3");
    }
}
