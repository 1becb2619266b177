//! The built daemon as a process, with a folder and an address of its own.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
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
/// The port of a daemon whose configuration names none.
const DEFAULT_PORT: u16 = 30100;

/// The configuration of a daemon: `conf/app.conf`, `conf/app.yaml`, further files and environment variables.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    conf: Vec<(String, String)>,
    yaml: Vec<(String, Value)>,
    environment: Vec<(String, String)>,
    files: Vec<(String, String)>,
    tls: Option<Arc<ClientConfig>>,
    program: Option<PathBuf>,
    host: Option<IpAddr>,
    survives_file_limit: bool,
}

impl Settings {
    /// Adds a line to `conf/app.conf`.
    pub fn conf(mut self, key: &str, value: &str) -> Self {
        self.conf.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a key to `conf/app.yaml`, its parts joined by dots.
    pub fn yaml(mut self, key: &str, value: Value) -> Self {
        self.yaml.push((key.to_owned(), value));
        self
    }

    /// Adds an environment variable.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a file to the working directory, such as a key.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// Its clients use HTTPS with this configuration.
    pub fn reached_by(mut self, tls: ClientConfig) -> Self {
        self.tls = Some(Arc::new(tls));
        self
    }

    /// Runs this program instead of the built daemon.
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Lets a write beyond the limit on file sizes fail, as on a full disk, instead of ending the process.
    pub fn surviving_file_limit(mut self) -> Self {
        self.survives_file_limit = true;
        self
    }

    /// Listens on this address and the default port, which the configuration does not name. No other test may use the address.
    pub fn on_default_port_of(mut self, host: IpAddr) -> Self {
        self.host = Some(host);
        self
    }

    fn address(&self) -> std::io::Result<SocketAddr> {
        self.host.map_or_else(free_address, |host| Ok((host, DEFAULT_PORT).into()))
    }

    fn write(&self, folder: &Path, address: SocketAddr) -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut conf = format!("httpaddr = {}\n", address.ip());
        if self.host.is_none() {
            conf.push_str(&format!("httpport = {}\n", address.port()));
        }
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

    fn write_files(&self, folder: &Path) -> std::io::Result<()> {
        self.files.iter().try_for_each(|(path, content)| {
            let path = folder.join(path);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, content)
        })
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

/// A folder with a configuration in which the program can run. Dropping this removes the folder.
#[derive(Debug)]
pub struct Installation {
    settings: Settings,
    address: SocketAddr,
    folder: TempDir,
}

impl Installation {
    /// Creates a folder, and chooses an address that no other test uses.
    pub fn new(settings: Settings) -> Result<Self, StartFailure> {
        let failed = |error: std::io::Error| StartFailure(format!("cannot install the daemon: {error}"));
        let folder = tempfile::tempdir().map_err(failed)?;
        let address = settings.address().map_err(failed)?;
        settings.write(&folder.path().join("conf"), address).map_err(failed)?;
        settings.write_files(folder.path()).map_err(failed)?;
        Ok(Self { settings, address, folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address on which a daemon of this folder listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs the program with these arguments until it ends. If it does not end within [`GENEROUS`], it is killed, and the call fails.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished, StartFailure> {
        self.run_within(GENEROUS, arguments)
    }

    /// As [`Installation::run`], with another limit.
    pub fn run_within(&self, limit: Duration, arguments: &[&str]) -> Result<Finished, StartFailure> {
        let failed = |error: std::io::Error| StartFailure(format!("cannot run {arguments:?}: {error}"));
        let output = self.folder.path().join("run.log");
        fs::remove_file(&output).or_else(absent_is_fine).map_err(failed)?;
        let mut process = self.spawn(arguments, &output).map_err(failed)?;
        let status = process.wait(limit).map_err(StartFailure)?;
        Ok(Finished { code: status.code(), output: process.log() })
    }

    fn spawn(&self, arguments: &[&str], output: &Path) -> std::io::Result<Process> {
        Process::spawn("service-center", &mut self.command(arguments), output)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let built = || PathBuf::from(env!("CARGO_BIN_EXE_service-center"));
        let program = self.settings.program.clone().unwrap_or_else(built);
        let mut command =
            Command::new(if self.settings.survives_file_limit { Path::new("sh") } else { &program });
        if self.settings.survives_file_limit {
            command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(&program);
        }
        // The environment of the tests must not configure the daemon.
        command.args(arguments).current_dir(self.folder.path()).env_clear().env("RUST_BACKTRACE", "1");
        command.envs(self.settings.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn spawn_daemon(&self) -> Result<Process, StartFailure> {
        self.spawn(&[], &self.folder.path().join("output.log"))
            .map_err(|error| StartFailure(format!("cannot start the daemon: {error}")))
    }
}

fn absent_is_fine(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// How a run of the program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output and standard error.
    pub output: String,
}

/// A daemon: its folder, its address and its process. Dropping this kills the process and removes the folder.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    installation: Installation,
}

impl Daemon {
    /// Starts a daemon in a fresh folder and waits until it serves.
    pub fn start(settings: Settings) -> Result<Self, StartFailure> {
        Self::start_in(Installation::new(settings)?)
    }

    /// Starts a daemon in an existing folder and waits until it serves.
    pub fn start_in(installation: Installation) -> Result<Self, StartFailure> {
        let mut daemon = Self { process: installation.spawn_daemon()?, installation };
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts a daemon in a fresh folder. It may not serve yet.
    pub fn spawn(settings: Settings) -> Result<Self, StartFailure> {
        let installation = Installation::new(settings)?;
        Ok(Self { process: installation.spawn_daemon()?, installation })
    }

    /// As [`Daemon::spawn`], in an existing folder.
    pub fn spawn_in(installation: Installation) -> Result<Self, StartFailure> {
        Ok(Self { process: installation.spawn_daemon()?, installation })
    }

    /// As [`Daemon::spawn`], with this as its standard output.
    pub fn spawn_onto(settings: Settings, out: Stdio) -> Result<Self, StartFailure> {
        let installation = Installation::new(settings)?;
        let log = installation.folder().join("output.log");
        let process = Process::spawn_onto("service-center", &mut installation.command(&[]), out, &log)
            .map_err(|error| StartFailure(format!("cannot start the daemon: {error}")))?;
        Ok(Self { process, installation })
    }

    /// Waits until the daemon serves, at most for [`GENEROUS`]. Fails if the daemon ends.
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

    /// Starts the daemon again with the same folder, address and settings, and waits until it serves. If it still runs, it is killed
    /// first.
    pub fn restart(&mut self) -> Result<(), StartFailure> {
        self.respawn()?;
        self.wait_ready()
    }

    /// As [`Daemon::restart`], without the waiting.
    pub fn respawn(&mut self) -> Result<(), StartFailure> {
        if self.process.exit_status().is_none() {
            self.process.kill9();
        }
        self.process = self.installation.spawn_daemon()?;
        Ok(())
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> ExitStatus {
        self.process.kill9()
    }

    /// Sends SIGTERM; the exit status, or `Err` if the daemon still runs after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        self.process.terminate(limit)
    }

    /// The process, for signals of other kinds and its output.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.installation.address()
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address()).over_tls(self.installation.settings.tls.clone())
    }

    /// A number from `/metrics`, by its full name.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn metric(&self, name: &str) -> usize {
        let text = self.client().get("/metrics").expect("the metrics").text();
        let number = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        number.unwrap_or_else(|| panic!("no number {name} in {text}"))
    }

    /// Its installation. The folder holds `conf/`, the data and `output.log`.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Its working directory.
    pub fn folder(&self) -> PathBuf {
        self.installation.folder().to_owned()
    }
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
            .environment("LOG_LEVEL", "debug")
            .file("etc/ssl/trust.cer", "a CA");
        settings.write_files(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("etc/ssl/trust.cer")).unwrap(), "a CA");
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

        let settings = Settings::default().on_default_port_of("127.9.9.9".parse().unwrap());
        let address = settings.address().unwrap();
        assert_eq!(address.port(), 30100);
        settings.write(folder.path(), address).unwrap();
        let conf = fs::read_to_string(folder.path().join("app.conf")).unwrap();
        assert_eq!(conf, "httpaddr = 127.9.9.9\n", "nothing names the port");
    }

    #[test]
    fn a_program_is_run_to_its_end() {
        let installation = Installation::new(stand_in().environment("die", "1")).unwrap();
        for _ in 0..2 {
            let finished = installation.run(&[]).unwrap();
            assert_ne!(finished.code, Some(0));
            assert_eq!(finished.output.matches("no good configuration").count(), 1, "{finished:?}");
        }
    }
}
