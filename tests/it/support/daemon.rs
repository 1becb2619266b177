//! The built daemon as a process of its own, in a folder of its own, on an address of its own.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::{Map, Value};
use tempfile::TempDir;

use super::eventually::{GENEROUS, try_eventually};
use super::http::Client;
use super::net::free_address;
use super::process::Process;

/// Answers 200 once the daemon can serve.
const READINESS: &str = "/v4/default/registry/health/readiness";
/// The limit of one readiness probe.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// What a daemon is told: by `conf/app.conf`, by `conf/app.yaml` and by environment variables.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    conf: Vec<(String, String)>,
    yaml: Vec<(String, Value)>,
    environment: Vec<(String, String)>,
    program: Option<PathBuf>,
}

impl Settings {
    /// With this line in `conf/app.conf`.
    pub fn conf(mut self, key: &str, value: &str) -> Self {
        self.conf.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With this key, its parts joined by dots, in `conf/app.yaml`.
    pub fn yaml(mut self, key: &str, value: Value) -> Self {
        self.yaml.push((key.to_owned(), value));
        self
    }

    /// With this environment variable.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs this program instead of the built daemon: another release of it, or a stand-in.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    fn write(&self, folder: &Path, address: SocketAddr) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut conf = format!("httpaddr = {}\nhttpport = {}\n", address.ip(), address.port());
        for (key, value) in &self.conf {
            conf.push_str(&format!("{key} = {value}\n"));
        }
        fs::write(folder.join("app.conf"), conf)?;
        if self.yaml.is_empty() {
            return Ok(());
        }
        let text = serde_yaml_ng::to_string(&self.yaml_document()).map_err(std::io::Error::other)?;
        fs::write(folder.join("app.yaml"), text)
    }

    fn yaml_document(&self) -> Value {
        let mut document = Value::Object(Map::new());
        for (key, value) in &self.yaml {
            let place = key.split('.').fold(&mut document, |place, part| &mut place[part]);
            *place = value.clone();
        }
        document
    }
}

/// Why a daemon does not serve.
#[derive(Debug)]
pub struct StartFailure(String);

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A daemon: its folder and address, and its process while it runs. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    settings: Settings,
    address: SocketAddr,
    folder: TempDir,
}

impl Daemon {
    /// Starts a daemon in a fresh folder and waits until it serves.
    pub fn start(settings: Settings) -> Result<Self, StartFailure> {
        let mut daemon = Self::spawn(settings)?;
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts a daemon in a fresh folder on a fresh loopback address. It may not serve yet.
    pub fn spawn(settings: Settings) -> Result<Self, StartFailure> {
        let failed = |error: std::io::Error| StartFailure(format!("cannot start the daemon: {error}"));
        let folder = tempfile::tempdir().map_err(failed)?;
        let address = free_address().map_err(failed)?;
        settings.write(&folder.path().join("conf"), address).map_err(failed)?;
        let process = spawn_process(folder.path(), &settings).map_err(failed)?;
        Ok(Self { process, settings, address, folder })
    }

    /// Waits until it serves, or has ended, or [`GENEROUS`] is over.
    pub fn wait_ready(&mut self) -> Result<(), StartFailure> {
        let client = self.client().limited(PROBE_LIMIT);
        let process = &mut self.process;
        let answered = try_eventually(GENEROUS, || match process.exit_status() {
            Some(status) => Ok(Err(format!("the daemon has ended: {status}"))),
            None => match client.get(READINESS) {
                Ok(response) if response.status == 200 => Ok(Ok(())),
                Ok(response) => Err(format!("readiness says {}: {}", response.status, response.text())),
                Err(error) => Err(error.to_string()),
            },
        });
        answered
            .and_then(|served| served)
            .map_err(|why| StartFailure(format!("{why}; its output ends:\n{}", self.process.log_tail())))
    }

    /// Starts it again, with the same folder, address and settings, and waits until it serves. Ends it first, hard, if it
    /// still runs.
    pub fn restart(&mut self) -> Result<(), StartFailure> {
        self.respawn()?;
        self.wait_ready()
    }

    /// As [`Daemon::restart`], without the waiting.
    pub fn respawn(&mut self) -> Result<(), StartFailure> {
        if self.process.exit_status().is_none() {
            self.process.kill9();
        }
        self.process = spawn_process(self.folder.path(), &self.settings)
            .map_err(|error| StartFailure(format!("cannot start the daemon: {error}")))?;
        Ok(())
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> ExitStatus {
        self.process.kill9()
    }

    /// SIGTERM; the exit status within `limit`, or `Err` if it runs on.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        self.process.terminate(limit)
    }

    /// The process, for signals of other kinds and its output.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Its working directory: `conf/`, what it stores and `output.log` lie here.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

fn spawn_process(folder: &Path, settings: &Settings) -> std::io::Result<Process> {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_service-center"));
    let mut command = Command::new(settings.program.clone().unwrap_or_else(built));
    // Nothing of the environment the tests run in may configure the daemon.
    command.current_dir(folder).env_clear().env("RUST_BACKTRACE", "1");
    command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
    Process::spawn("service-center", &mut command, &folder.join("output.log"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::support::eventually::eventually;

    fn stand_in() -> Settings {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/stand-in");
        Settings::default().program(&program)
    }

    #[test]
    fn a_daemon_is_started_ended_and_started_again() {
        let mut daemon = Daemon::start(stand_in()).unwrap();
        let address = daemon.address();
        let starts = daemon.folder().join("starts");
        assert_eq!(daemon.client().get("/").unwrap().status, 200);
        daemon.kill9();
        assert!(daemon.client().get("/").is_err());
        daemon.restart().unwrap();
        assert_eq!((daemon.address(), fs::read_to_string(&starts).unwrap().as_str()), (address, "xx"));
        assert_eq!(daemon.terminate(GENEROUS).unwrap().code(), Some(3));
        assert!(daemon.process().log().ends_with("bye\n"));
        daemon.respawn().unwrap();
        eventually(GENEROUS, || daemon.client().get("/").is_ok());
        let folder = daemon.folder();
        drop(daemon);
        assert!(!folder.exists());
    }

    #[test]
    fn a_daemon_that_ends_shows_its_output() {
        let failure = Daemon::start(stand_in().environment("die", "1")).unwrap_err().to_string();
        assert!(failure.contains("has ended") && failure.contains("no good configuration"), "{failure}");
    }

    #[test]
    fn settings_become_files() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default()
            .conf("manager_cluster", "\"127.0.0.1:2379\"")
            .yaml("quota.cap.service.limit", json!(2))
            .yaml("quota.cap.tag.limit", json!(3))
            .yaml("registry.service.retire.cron", json!("* * * * *"))
            .environment("LOG_LEVEL", "debug");
        settings.write(folder.path(), "127.9.9.9:1234".parse().unwrap()).unwrap();
        let conf = fs::read_to_string(folder.path().join("app.conf")).unwrap();
        assert_eq!(conf, "httpaddr = 127.9.9.9\nhttpport = 1234\nmanager_cluster = \"127.0.0.1:2379\"\n");
        let yaml = fs::read_to_string(folder.path().join("app.yaml")).unwrap();
        let yaml: Value = serde_yaml_ng::from_str(&yaml).unwrap();
        assert_eq!(
            yaml,
            json!({
                "quota": {"cap": {"service": {"limit": 2}, "tag": {"limit": 3}}},
                "registry": {"service": {"retire": {"cron": "* * * * *"}}},
            })
        );
        assert_eq!(settings.environment, [("LOG_LEVEL".to_owned(), "debug".to_owned())]);
    }
}
