//! `scripts/cluster.sh` starts two nodes and etcd, and leaves nothing behind.

use std::net::{SocketAddr, TcpListener, TcpStream};

use rustix::process::Signal;

use crate::support::eventually::{GENEROUS, eventually};
use crate::support::script::ClusterScript;

const SCRIPT: &str = "cluster.sh";

/// The addresses on which something listens while the script runs.
fn addresses(cluster: &ClusterScript) -> [SocketAddr; 4] {
    [(1, 30100), (2, 30100), (3, 2379), (3, 2380)].map(|(host, port)| cluster.address(host, port))
}

#[track_caller]
fn assert_silent(addresses: &[SocketAddr]) {
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} is still served");
    }
}

#[test]
fn it_runs_until_it_is_told_to_stop_and_leaves_nothing_behind() {
    let cluster = ClusterScript::new(1);
    let mut script = cluster.run(SCRIPT);
    eventually(2 * GENEROUS, || {
        assert_eq!(script.0.exit_status(), None, "{}", script.0.log());
        if script.0.log().contains("Running until Ctrl-C") { Ok(()) } else { Err(script.0.log()) }
    });
    for address in addresses(&cluster) {
        assert!(TcpStream::connect(address).is_ok(), "{address}");
    }
    script.0.signal(Signal::TERM);
    // Of signals that wait at the same time, bash handles the lowest number first, which is SIGINT: the first must have arrived.
    eventually(GENEROUS, || if script.0.log().contains("Stopping.") { Ok(()) } else { Err(script.0.log()) });
    // Further signals do not interrupt its clean-up.
    script.0.signal(Signal::TERM);
    script.0.signal(Signal::INT);
    assert_eq!(script.0.wait(GENEROUS).unwrap().code(), Some(143));
    assert_silent(&addresses(&cluster));
}

/// If another server uses one of the addresses, the script notices it and starts nothing.
#[test]
fn another_process_on_its_addresses_is_told() {
    let cluster = ClusterScript::new(2);
    for taken in addresses(&cluster) {
        let foreign = TcpListener::bind(taken).unwrap();
        let mut script = cluster.run(SCRIPT);
        assert_eq!(script.0.wait(GENEROUS).unwrap().code(), Some(1), "{}", script.0.log());
        assert!(
            script.0.log().contains(&format!("{taken} is taken by another process")),
            "{}",
            script.0.log()
        );
        drop(foreign);
        // A process that another test starts holds a copy of the socket until it runs its program.
        eventually(GENEROUS, || TcpStream::connect(taken).is_err());
        assert_silent(&addresses(&cluster));
        assert!(!cluster.folder().exists(), "nor is its folder touched");
    }
}
