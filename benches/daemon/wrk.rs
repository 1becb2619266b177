//! Runs wrk against an address and reads what it counted.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::compare::{Counted, Drive};
use crate::support::process::Process;

/// Threads of wrk. It shares the cores with the server; two keep the server busy.
const THREADS: usize = 2;
/// How much longer than asked a run of wrk may take.
const SLACK: Duration = Duration::from_secs(20);
/// The shortest duration that wrk knows. A shorter run is interrupted, and counts what it has by then.
const SHORTEST: Duration = Duration::from_secs(1);

/// A load to be put on a server, again and again.
pub struct Load {
    script: &'static str,
    scheme: &'static str,
    arguments: Vec<String>,
    connections: usize,
    folder: TempDir,
}

impl Load {
    /// These requests in turn, each a method, a path and perhaps a consumer's id. All have the token, if there is one.
    pub fn replay(
        connections: usize,
        requests: &[(&str, String, Option<&str>)],
        token: Option<&str>,
    ) -> Result<Self, String> {
        let lines: Vec<String> = requests
            .iter()
            .map(|(method, path, consumer)| format!("{method} {path} {}", consumer.unwrap_or("-")))
            .collect();
        Self::new("replay.lua", connections, &lines, token.into_iter().map(str::to_owned).collect())
    }

    /// Registrations in these services, `each` in one before the next one's turn. `word` makes their ids unique.
    pub fn register(connections: usize, services: &[&str], each: usize, word: &str) -> Result<Self, String> {
        Self::new("register.lua", connections, services, vec![each.to_string(), word.to_owned()])
    }

    fn new<L: AsRef<str>>(
        script: &'static str,
        connections: usize,
        lines: &[L],
        arguments: Vec<String>,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("a file for wrk: {error}");
        let folder = tempfile::tempdir().map_err(failed)?;
        let file = folder.path().join("lines");
        let text: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
        fs::write(&file, text).map_err(failed)?;
        let mut all = vec![file.display().to_string()];
        all.extend(arguments);
        Ok(Self { script, scheme: "http", arguments: all, connections, folder })
    }

    /// The same over TLS, on kept connections. wrk checks no certificate.
    pub fn over_tls(self) -> Self {
        Self { scheme: "https", ..self }
    }

    fn run_once(&self, address: SocketAddr, length: Duration) -> Result<Counted, String> {
        let mut command = Command::new("wrk");
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/wrk"))
            .args(["--latency", "--timeout", "10s"])
            .arg(format!("--threads={}", THREADS.min(self.connections)))
            .arg(format!("--connections={}", self.connections))
            .arg(format!("--duration={}s", length.max(SHORTEST).as_secs()))
            .args(["--script", self.script])
            .arg(format!("{}://{address}/", self.scheme))
            .arg("--")
            .args(&self.arguments)
            .stdin(Stdio::null());
        let log = self.folder.path().join("output");
        fs::remove_file(&log).ok();
        let mut process =
            Process::spawn("wrk", &mut command, &log).map_err(|error| format!("wrk: {error}"))?;
        if length < SHORTEST && process.wait(length).is_err() {
            process.signal(Signal::INT);
        }
        process.wait(length + SLACK)?;
        counted(&process.log())
    }
}

impl Drive for Load {
    fn run(&self, address: SocketAddr, length: Duration) -> Result<Counted, String> {
        let counted = self.run_once(address, length);
        // On a busy machine an interrupted run may not have got to an answer.
        if length < SHORTEST && counted.is_err() { self.run_once(address, SHORTEST) } else { counted }
    }
}

fn counted(output: &str) -> Result<Counted, String> {
    let line = output.lines().find_map(|line| line.strip_prefix("COUNTED "));
    let line = line.ok_or_else(|| format!("wrk says: {output}"))?;
    let value = |name: &str| -> Result<u64, String> {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.and_then(|word| word.parse().ok()).ok_or_else(|| format!("no {name} in: {line}"))
    };
    for kind in ["connect", "read", "write", "status", "timeout"] {
        let count = value(kind)?;
        if count > 0 {
            return Err(format!("{count} errors of kind `{kind}`: {line}"));
        }
    }
    let (requests, time) = (value("requests")?, Duration::from_micros(value("microseconds")?));
    if requests == 0 || time.is_zero() {
        return Err(format!("nothing was answered: {line}"));
    }
    Ok(Counted {
        rate: requests as f64 / time.as_secs_f64(),
        requests,
        p50: Duration::from_micros(value("p50")?),
        p99: Duration::from_micros(value("p99")?),
    })
}
