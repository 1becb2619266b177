//! Real etcd processes, one alone or a cluster, on loopback addresses of their own. Their data is removed when they are dropped.
//!
//! A test can freeze a server and thaw it, or kill it and start it again on the same ports and data. Dropping a server kills it.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;
use tempfile::TempDir;

use super::eventually::{GENEROUS, eventually};
use super::net::free_address;
use super::process::Process;

/// Files of a server that speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate authority of both sides.
    pub ca: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The certificate and key of a client, if the server requires one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How servers are started.
#[derive(Clone, Debug, Default)]
pub struct EtcdSetup {
    /// The server uses no TLS without it.
    pub tls: Option<TlsFiles>,
    /// Further flags of etcd, such as `--quota-backend-bytes=…`.
    pub flags: Vec<String>,
}

/// One etcd server.
#[derive(Debug)]
pub struct Etcd {
    process: Option<Process>,
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    /// `name=http://peer` of every member.
    members: String,
    setup: EtcdSetup,
    dir: TempDir,
}

impl Etcd {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::start_with(EtcdSetup::default())
    }

    /// As [`Etcd::start`], with a setup.
    pub fn start_with(setup: EtcdSetup) -> Self {
        cluster_with(1, &setup).remove(0)
    }

    /// As [`Etcd::start_with`], for clients at this address.
    pub fn start_at(client: SocketAddr, setup: EtcdSetup) -> Self {
        let mut server = prepare(1, &setup).remove(0);
        server.client = client;
        server.launch();
        server.wait_until_it_answers();
        server
    }

    /// The URL for clients, such as `http://127.1.2.3:4567`.
    pub fn endpoint(&self) -> String {
        let scheme = if self.setup.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.client)
    }

    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.client
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> u32 {
        self.running().id()
    }

    /// Stops the process with SIGSTOP. Its connections stay, and it answers nothing.
    pub fn freeze(&self) {
        self.running().freeze();
    }

    /// Lets the process go on after [`Etcd::freeze`].
    pub fn thaw(&self) {
        self.running().signal(Signal::CONT);
    }

    /// Kills the process. The data stays.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// Starts it again after [`Etcd::kill`], on the same ports and data, and waits until it answers.
    pub fn restart(&mut self) {
        self.launch();
        self.wait_until_it_answers();
    }

    /// As [`Etcd::restart`], but does not wait, because a member without its majority does not answer.
    pub fn respawn(&mut self) {
        self.launch();
    }

    /// Copies its data for [`Etcd::set_back`]. The server is down meanwhile.
    pub fn back_up(&mut self) {
        self.kill();
        copy_folder(&self.data(), &self.backup());
        self.restart();
    }

    /// Restores the copy of [`Etcd::back_up`], so that its revision goes back. The server is down meanwhile.
    pub fn set_back(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data()).expect("its data can be removed");
        copy_folder(&self.backup(), &self.data());
        self.restart();
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn backup(&self) -> PathBuf {
        self.dir.path().join("backup")
    }

    /// Runs `etcdctl` against this server; its output. Fails the test if the command fails.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        // Its own limit of 5 s is short for a busy machine.
        let patient = ["--command-timeout=60s", "--dial-timeout=60s"];
        match self.try_ctl(&[&patient[..], arguments].concat()) {
            Ok(output) => output,
            Err(why) => panic!("etcdctl {arguments:?}: {why}"),
        }
    }

    /// As [`Etcd::ctl`], with the error as text.
    pub fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(arguments).output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// A command that runs `etcdctl` against this server.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("etcdctl"));
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.endpoint()));
        if let Some(tls) = &self.setup.tls {
            command.arg(format!("--cacert={}", tls.ca.display()));
            // A test certificate may name another host on purpose.
            command.arg("--insecure-skip-tls-verify");
            if let Some((certificate, key)) = &tls.client {
                command
                    .arg(format!("--cert={}", certificate.display()))
                    .arg(format!("--key={}", key.display()));
            }
        }
        command.args(arguments);
        command
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server is running")
    }

    fn launch(&mut self) {
        let scheme = if self.setup.tls.is_some() { "https" } else { "http" };
        let (client, peer) = (self.client, self.peer);
        let mut command = Command::new(program("etcd"));
        command
            .arg(format!("--name={}", self.name))
            .arg(format!("--data-dir={}", self.data().display()))
            .arg(format!("--listen-client-urls={scheme}://{client}"))
            .arg(format!("--advertise-client-urls={scheme}://{client}"))
            .arg(format!("--listen-peer-urls=http://{peer}"))
            .arg(format!("--initial-advertise-peer-urls=http://{peer}"))
            .arg(format!("--initial-cluster={}", self.members))
            .arg("--initial-cluster-state=new")
            .arg("--logger=zap")
            .arg("--log-level=warn");
        if !self.members.contains(',') {
            // A server alone waits for no other members.
            command.args(["--heartbeat-interval=20", "--election-timeout=200"]);
        }
        if has_flag("--unsafe-no-fsync") {
            command.arg("--unsafe-no-fsync");
        }
        if let Some(tls) = &self.setup.tls {
            command.arg(format!("--cert-file={}", tls.certificate.display()));
            command.arg(format!("--key-file={}", tls.key.display()));
            if tls.client.is_some() {
                command.arg("--client-cert-auth").arg(format!("--trusted-ca-file={}", tls.ca.display()));
            }
        }
        command.args(&self.setup.flags);
        let log = self.dir.path().join("log");
        self.process = Some(Process::spawn(&self.name, &mut command, &log).expect("etcd starts"));
    }

    fn wait_until_it_answers(&mut self) {
        eventually(GENEROUS, || {
            if let Some(status) = self.process.as_mut().and_then(Process::exit_status) {
                panic!("etcd has ended: {status}");
            }
            match self.try_ctl(&["--command-timeout=2s", "endpoint", "health"]) {
                // The server answers, but only to users.
                Err(why) if why.contains("user name is empty") => Ok(why),
                health => health,
            }
        });
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file can be copied");
        }
    }
}

/// Starts a cluster and waits until all servers answer.
pub fn cluster(size: usize) -> Vec<Etcd> {
    cluster_with(size, &EtcdSetup::default())
}

/// As [`cluster`], with a setup.
pub fn cluster_with(size: usize, setup: &EtcdSetup) -> Vec<Etcd> {
    let mut servers = prepare(size, setup);
    for server in &mut servers {
        server.launch();
    }
    for server in &mut servers {
        server.wait_until_it_answers();
    }
    servers
}

/// Servers that do not run yet.
fn prepare(size: usize, setup: &EtcdSetup) -> Vec<Etcd> {
    let address = || free_address().expect("a free loopback address");
    let peers: Vec<(String, SocketAddr)> =
        (0..size).map(|number| (format!("etcd{number}"), address())).collect();
    let members: Vec<String> = peers.iter().map(|(name, peer)| format!("{name}=http://{peer}")).collect();
    peers
        .into_iter()
        .map(|(name, peer)| Etcd {
            process: None,
            name,
            client: address(),
            peer,
            members: members.join(","),
            setup: setup.clone(),
            dir: tempfile::tempdir().expect("a temporary folder"),
        })
        .collect()
}

/// The path of a program: on `PATH`, or where a package or an installation without root rights puts it.
pub fn program(name: &str) -> PathBuf {
    let paths = env::var_os("PATH").unwrap_or_default();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join(".local/bin");
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".local/bin"));
    env::split_paths(&paths)
        .chain([project])
        .chain(home)
        .chain(["/usr/local/bin".into(), "/usr/bin".into()])
        .map(|folder| folder.join(name))
        .find(|path| fs::metadata(path).is_ok_and(|file| file.is_file()))
        .unwrap_or_else(|| panic!("{name} is neither on the path nor in .local/bin nor in /usr/bin"))
}

/// Whether the etcd on `PATH` knows a flag.
pub fn has_flag(flag: &str) -> bool {
    static HELP: OnceLock<String> = OnceLock::new();
    let help = HELP.get_or_init(|| {
        let output = Command::new(program("etcd")).arg("--help").output().expect("etcd runs");
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
    });
    help.contains(flag)
}
