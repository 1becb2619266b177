//! Loopback addresses that no other test of this or another run uses.
//!
//! Each address is a 127.x.y.z of its own. Outgoing connections start from 127.0.0.1, so they cannot take a port of such an address between
//! the moment it is chosen and the moment the daemon binds it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpSocket;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that only this test uses. 127.0.x.y is left to people.
pub fn loopback() -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // A run uses more addresses than one byte can count. Some tests use a fixed port, so no address may come twice.
    let [round, last] = [number / 250, number % 250].map(|part| part.to_le_bytes()[0]);
    IpAddr::V4(Ipv4Addr::new(127, 1 + high.wrapping_add(round) % 250, low, 1 + last))
}

/// A loopback address with a free port.
pub fn free_address() -> io::Result<SocketAddr> {
    bound()?.local_addr()
}

/// A socket on a free port. A process that another test starts holds a copy of it until it runs its program. The socket does not listen,
/// so that meanwhile another one can be bound, and connections are refused.
fn bound() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((loopback(), 0).into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn addresses_are_distinct_and_free() {
        let held: Vec<TcpSocket> = (0..50).map(|_| bound().unwrap()).collect();
        let addresses: HashSet<SocketAddr> = held.iter().map(|socket| socket.local_addr().unwrap()).collect();
        assert_eq!(addresses.len(), 50);
        for address in addresses {
            assert!(address.ip().is_loopback());
            assert!(TcpStream::connect(address).is_err());
            TcpListener::bind(address).unwrap();
        }
    }
}
