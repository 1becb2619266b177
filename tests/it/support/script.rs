//! Scripts of the project that start a cluster, on addresses and in a folder of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::eventually::GENEROUS;
use super::process::Process;

/// One run of a script.
pub struct ClusterScript {
    net: [u8; 3],
    folder: TempDir,
}

impl ClusterScript {
    /// A run on addresses that no other test uses. Each run in this binary has another number: those of `contract::script` have 1 and 2,
    /// that of `troubleshooting` has 3, and that of `contract::package` has 4.
    pub fn new(number: u8) -> Self {
        let id = std::process::id().to_le_bytes();
        let net = [127, 64 | (id[0] >> 2), id[1] ^ number];
        Self { net, folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// The first three bytes of its addresses.
    pub fn net(&self) -> String {
        let [a, b, c] = self.net;
        format!("{a}.{b}.{c}")
    }

    /// An address of the run.
    pub fn address(&self, host: u8, port: u16) -> SocketAddr {
        let [a, b, c] = self.net;
        (IpAddr::from(Ipv4Addr::new(a, b, c, host)), port).into()
    }

    /// The folder that the script makes.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("cluster")
    }

    /// Starts a script of the folder `scripts`.
    pub fn run(&self, script: &str) -> RunningScript {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(root.join("scripts").join(script));
        command
            .env("SERVICE_CENTER", env!("CARGO_BIN_EXE_service-center"))
            .env("CLUSTER_NET", self.net())
            .env("CLUSTER_DIR", self.folder());
        let log = self.folder.path().join("log");
        RunningScript(Process::spawn(script, &mut command, &log).expect("the script starts"))
    }
}

/// The running script. When this is dropped, also because an assertion fails, the script ends the processes that it has started.
pub struct RunningScript(pub Process);

impl Drop for RunningScript {
    fn drop(&mut self) {
        if self.0.exit_status().is_none() {
            self.0.signal(Signal::TERM);
            // If the script does not end, it is killed, and the processes that it has started stay.
            self.0.wait(GENEROUS).ok();
        }
    }
}
