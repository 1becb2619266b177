//! Loopback addresses that no other test of this or another run uses.
//!
//! Each address is its own 127.x.y.z: the kernel takes 127.0.0.1 as the near end of a connection it opens, so a port
//! that was free a moment ago cannot be taken by somebody's outgoing connection before the daemon binds it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address of this test's own. 127.0.x.y is left to people.
pub fn loopback() -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // A run takes more addresses than a byte counts, and some tests listen on a fixed port of theirs.
    let [round, last] = [number / 250, number % 250].map(|part| part.to_le_bytes()[0]);
    IpAddr::V4(Ipv4Addr::new(127, 1 + high.wrapping_add(round) % 250, low, 1 + last))
}

/// A loopback address with a port nobody listens on.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((loopback(), 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn addresses_are_distinct_and_free() {
        let addresses: Vec<SocketAddr> = (0..50).map(|_| free_address().unwrap()).collect();
        assert_eq!(addresses.iter().collect::<HashSet<_>>().len(), 50);
        for address in addresses {
            assert!(address.ip().is_loopback());
            TcpListener::bind(address).unwrap();
        }
    }
}
