//! What is measured: daemons as child processes, and the store they run on.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::encryption::Certificate;
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::{Etcd, EtcdSetup, cluster_with, has_flag, program};
use crate::support::eventually::{GENEROUS, try_eventually};
use crate::usage;

/// The two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The embedded store.
    Embedded,
    /// An etcd of the run's own, one member.
    Etcd,
}

impl Kind {
    /// Its name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
        }
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        [Self::Embedded, Self::Etcd]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("{name} is no store: embedded, etcd"))
    }
}

/// A store that daemons can run on: the members of an etcd, or nothing but their own folders.
pub struct Backing {
    etcd: Vec<Etcd>,
}

impl Backing {
    /// Starts what the store needs.
    pub fn start(kind: Kind) -> Self {
        match kind {
            Kind::Embedded => Self { etcd: Vec::new() },
            Kind::Etcd => Self::start_members(1),
        }
    }

    /// Starts an etcd of so many members.
    pub fn start_members(count: usize) -> Self {
        Self { etcd: cluster_with(count, &EtcdSetup { flags: etcd_flags(), ..Default::default() }) }
    }

    /// Starts a daemon on it and waits until it serves.
    pub fn node(&self) -> Result<Node, String> {
        self.start_node(self.settings())
    }

    /// So many daemons on it, each at an address of its own. The embedded store has room for one.
    pub fn nodes(&self, count: usize) -> Result<Vec<Node>, String> {
        (0..count).map(|_| self.node()).collect()
    }

    /// As [`Backing::node`]; the daemon speaks TLS only.
    pub fn node_over_tls(&self, certificate: &Certificate) -> Result<Node, String> {
        let settings = self
            .settings()
            .yaml("ssl.enable", json!(true))
            .yaml("ssl.verifyClient", json!(0))
            .yaml("ssl.dir", json!(certificate.folder()));
        let daemon = Daemon::spawn(settings).map_err(|why| why.to_string())?;
        // It opens the port when it serves.
        try_eventually(GENEROUS, || TcpStream::connect(daemon.address()).map(drop))
            .map_err(|why| format!("a daemon over TLS: {why}"))?;
        Ok(self.node_of(daemon))
    }

    /// As [`Backing::node`]; the daemon counts nothing of its requests.
    pub fn node_without_metrics(&self) -> Result<Node, String> {
        self.start_node(self.settings().yaml("metrics.enable", json!(false)))
    }

    /// As [`Backing::node`]; the daemon keeps no record of events.
    pub fn node_without_record(&self) -> Result<Node, String> {
        self.start_node(self.settings().yaml("events.memory.maxEvents", json!(0)))
    }

    /// As [`Backing::node`]; the daemon traces this share of the requests.
    pub fn node_traced(&self, endpoint: &str, rate: f64) -> Result<Node, String> {
        let settings = self.settings().yaml("tracing.otlp.endpoint", json!(endpoint));
        self.start_node(settings.yaml("tracing.sampler.rate", json!(rate)))
    }

    /// As [`Backing::node`]; the daemon has accounts.
    pub fn node_with(&self, accounts: &Accounts) -> Result<Node, String> {
        let settings = self
            .settings()
            .yaml("rbac.enable", json!(true))
            .yaml("rbac.privateKeyFile", json!(accounts.private))
            .yaml("rbac.publicKeyFile", json!(accounts.public))
            .environment("SC_INIT_ROOT_PASSWORD", accounts.root_password);
        self.start_node(settings)
    }

    /// As [`Backing::node`]; the daemon uses this member of the etcd as long as it answers.
    pub fn node_at(&self, member: usize) -> Result<Node, String> {
        self.start_node(self.settings_at(member))
    }

    /// The number of the member that leads.
    pub fn leader(&self) -> Result<usize, String> {
        let leads = |etcd: &Etcd| {
            let status = etcd.try_ctl(&["endpoint", "status", "--write-out=json"]).ok()?;
            let status: serde_json::Value = serde_json::from_str(&status).ok()?;
            let status = &status[0]["Status"];
            (status["leader"].as_u64()? == status["header"]["member_id"].as_u64()?).then_some(())
        };
        self.etcd.iter().position(|etcd| leads(etcd).is_some()).ok_or_else(|| "no member leads".to_owned())
    }

    /// CPU time of each member of the etcd.
    pub fn members_cpu(&self) -> Result<Vec<Duration>, String> {
        self.etcd.iter().map(|etcd| usage::cpu(etcd.pid())).collect()
    }

    /// The URL of the first member of the etcd.
    pub fn endpoint(&self) -> Result<String, String> {
        self.etcd.first().map(Etcd::endpoint).ok_or_else(|| "no etcd".to_owned())
    }

    /// Resident bytes of the first member of the etcd.
    pub fn etcd_resident(&self) -> Result<u64, String> {
        self.etcd.first().map_or(Ok(0), |etcd| usage::resident(etcd.pid()))
    }

    fn settings(&self) -> Settings {
        self.settings_at(0)
    }

    fn settings_at(&self, member: usize) -> Settings {
        // Half a million instances are more than the default quotas allow. An instance may beat once in its lease of a
        // minute (the storm).
        let settings = Settings::default()
            .yaml("quota.cap.service.limit", json!(10_000_000))
            .yaml("quota.cap.instance.limit", json!(10_000_000))
            .yaml("registry.instance.minTimes", json!(1))
            .environment("LOG_LEVEL", "WARN");
        match self.etcd.get(member) {
            Some(etcd) => settings.conf("manager_cluster", &format!("\"{}\"", etcd.address())),
            None => settings,
        }
    }

    fn start_node(&self, settings: Settings) -> Result<Node, String> {
        let daemon = Daemon::start(settings).map_err(|why| why.to_string())?;
        Ok(self.node_of(daemon))
    }

    fn node_of(&self, daemon: Daemon) -> Node {
        Node { daemon, etcd: self.etcd.first().map(Etcd::pid) }
    }
}

/// What a daemon with accounts is started with.
pub struct Accounts<'a> {
    /// The file of the private key.
    pub private: &'a Path,
    /// The file of the public key.
    pub public: &'a Path,
    /// The password of the account `root`.
    pub root_password: &'a str,
}

/// The flags that docs/operations.md recommends, then those of the environment variable ETCD_FLAGS, which win over them.
fn chosen_flags() -> Vec<String> {
    // 8 GiB, the largest quota it recommends: the default of 2 GiB is near after a million registrations.
    let recommended = ["--backend-batch-interval=10ms", "--quota-backend-bytes=8589934592"];
    let chosen = std::env::var("ETCD_FLAGS").unwrap_or_default();
    recommended.into_iter().chain(chosen.split_whitespace()).map(str::to_owned).collect()
}

fn etcd_flags() -> Vec<String> {
    let mut flags = chosen_flags();
    // The tests switch it off where they can; a figure without the disk would be worth nothing.
    if has_flag("--unsafe-no-fsync") {
        flags.push("--unsafe-no-fsync=false".to_owned());
    }
    flags
}

/// The version of the etcd that is measured, and its flags.
pub fn etcd() -> String {
    let said = Command::new(program("etcd")).arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = said.lines().next().and_then(|line| line.strip_prefix("etcd Version: "));
    format!("etcd {} with {}", version.unwrap_or("of an unknown version"), chosen_flags().join(" "))
}

/// A daemon that serves.
pub struct Node {
    daemon: Daemon,
    /// The process id of the etcd it runs on.
    etcd: Option<u32>,
}

impl Node {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    /// Its process.
    pub fn pid(&mut self) -> u32 {
        self.daemon.process().id()
    }

    /// CPU time it has used.
    pub fn cpu(&mut self) -> Result<Duration, String> {
        usage::cpu(self.pid())
    }

    /// CPU time of the etcd it runs on, if it runs on one.
    pub fn etcd_cpu(&self) -> Result<Duration, String> {
        self.etcd.map_or(Ok(Duration::ZERO), usage::cpu)
    }

    /// Resident bytes of the etcd it runs on, if it runs on one.
    pub fn etcd_resident(&self) -> Result<u64, String> {
        self.etcd.map_or(Ok(0), usage::resident)
    }

    /// Resident bytes.
    pub fn resident(&mut self) -> Result<u64, String> {
        usage::resident(self.pid())
    }

    /// The sum of a family of its metrics, or 0 if nothing was counted.
    pub fn metric(&self, family: &str) -> Result<f64, String> {
        let page = self.daemon.client().get("/metrics").map_err(|error| error.to_string())?.text();
        let value = |line: &str| {
            let rest = line.strip_prefix(family)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        };
        Ok(page.lines().filter_map(value).sum())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.kill9();
    }

    /// SIGTERM; the time until the process has ended.
    pub fn stop(&mut self) -> Result<Duration, String> {
        let begin = Instant::now();
        let status = self.daemon.terminate(GENEROUS)?;
        if status.success() { Ok(begin.elapsed()) } else { Err(format!("a daemon ended with {status}")) }
    }

    /// Waits until the daemon serves.
    pub fn wait_ready(&mut self) -> Result<(), String> {
        self.daemon.wait_ready().map_err(|why| why.to_string())
    }

    /// A new process on the same folder and address, which may not serve yet.
    pub fn respawn(&mut self) -> Result<(), String> {
        self.daemon.respawn().map_err(|why| why.to_string())
    }
}

/// Raises the limit on open files to what is allowed, and returns it: thousands of watchers hold one each.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    in_force.unwrap_or(u64::MAX)
}
