//! `scripts/cluster.sh` starts two nodes and etcd, and leaves nothing behind.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::eventually::{GENEROUS, eventually};
use crate::support::process::Process;

/// One run of the script, on addresses and in a folder of its own.
struct Cluster {
    net: [u8; 3],
    folder: TempDir,
}

impl Cluster {
    /// A run on addresses that no other test uses.
    fn new(last: u8) -> Self {
        let id = std::process::id().to_le_bytes();
        Self { net: [127, 64 | (id[0] >> 2), id[1] ^ last], folder: tempfile::tempdir().unwrap() }
    }

    fn address(&self, host: u8, port: u16) -> SocketAddr {
        let [a, b, c] = self.net;
        (IpAddr::from(Ipv4Addr::new(a, b, c, host)), port).into()
    }

    /// The addresses on which something listens while the script runs.
    fn addresses(&self) -> [SocketAddr; 4] {
        [(1, 30100), (2, 30100), (3, 2379), (3, 2380)].map(|(host, port)| self.address(host, port))
    }

    fn run(&self) -> RunningScript {
        let [a, b, c] = self.net;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(root.join("scripts/cluster.sh"));
        command
            .env("SERVICE_CENTER", env!("CARGO_BIN_EXE_service-center"))
            .env("CLUSTER_NET", format!("{a}.{b}.{c}"))
            .env("CLUSTER_DIR", self.folder.path().join("cluster"));
        RunningScript(Process::spawn("cluster.sh", &mut command, &self.folder.path().join("log")).unwrap())
    }
}

/// The running script. When this is dropped, also because an assertion fails, the script ends the processes that it has started.
struct RunningScript(Process);

impl Drop for RunningScript {
    fn drop(&mut self) {
        if self.0.exit_status().is_none() {
            self.0.signal(Signal::TERM);
            // If the script does not end, it is killed, and the processes that it has started stay.
            self.0.wait(GENEROUS).ok();
        }
    }
}

#[track_caller]
fn assert_silent(addresses: &[SocketAddr]) {
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} is still served");
    }
}

#[test]
fn it_runs_until_it_is_told_to_stop_and_leaves_nothing_behind() {
    let cluster = Cluster::new(1);
    let mut script = cluster.run();
    eventually(2 * GENEROUS, || {
        assert_eq!(script.0.exit_status(), None, "{}", script.0.log());
        if script.0.log().contains("Running until Ctrl-C") { Ok(()) } else { Err(script.0.log()) }
    });
    for address in cluster.addresses() {
        assert!(TcpStream::connect(address).is_ok(), "{address}");
    }
    script.0.signal(Signal::TERM);
    // Of signals that wait at the same time, bash handles the lowest number first, which is SIGINT: the first must have arrived.
    eventually(GENEROUS, || if script.0.log().contains("Stopping.") { Ok(()) } else { Err(script.0.log()) });
    // Further signals do not interrupt its clean-up.
    script.0.signal(Signal::TERM);
    script.0.signal(Signal::INT);
    assert_eq!(script.0.wait(GENEROUS).unwrap().code(), Some(143));
    assert_silent(&cluster.addresses());
}

/// If another server uses one of the addresses, the script notices it and starts nothing.
#[test]
fn another_process_on_its_addresses_is_told() {
    let cluster = Cluster::new(2);
    for taken in cluster.addresses() {
        let foreign = TcpListener::bind(taken).unwrap();
        let mut script = cluster.run();
        assert_eq!(script.0.wait(GENEROUS).unwrap().code(), Some(1), "{}", script.0.log());
        assert!(
            script.0.log().contains(&format!("{taken} is taken by another process")),
            "{}",
            script.0.log()
        );
        drop(foreign);
        // A process that another test starts holds a copy of the socket until it runs its program.
        eventually(GENEROUS, || TcpStream::connect(taken).is_err());
        assert_silent(&cluster.addresses());
        assert!(!cluster.folder.path().join("cluster").exists(), "nor is its folder touched");
    }
}
