//! A real Prometheus and `promtool`, of Debian's package `prometheus`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::etcd::program;
use super::eventually::{GENEROUS, eventually};
use super::http::Client;
use super::net::free_address;
use super::process::Process;

/// A Prometheus on a loopback address of its own. Dropping it ends the process and removes its data.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    client: Client,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts it and waits until it answers. `config` gets its address. `rules` is the content of `alerts.yml`, beside the configuration.
    pub fn start(config: impl FnOnce(SocketAddr) -> String, rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address().expect("a free loopback address");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("prometheus.yml"), config(address)).expect("a file can be written");
        fs::write(path("alerts.yml"), rules).expect("a file can be written");
        let mut command = Command::new(program("prometheus"));
        command
            .arg(format!("--config.file={}", path("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let process = Process::spawn("prometheus", &mut command, &path("log")).expect("prometheus starts");
        let mut prometheus = Self { process, client: Client::new(address), _folder: folder };
        prometheus.wait_ready();
        prometheus
    }

    fn wait_ready(&mut self) {
        eventually(GENEROUS, || {
            if let Some(status) = self.process.exit_status() {
                panic!("prometheus has ended: {status}: {}", self.process.log_tail());
            }
            self.client.get("/-/ready").is_ok_and(|answer| answer.status == 200)
        });
    }

    /// The series of an expression now, or the error of Prometheus.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.api(&format!("/api/v1/query?query={}", escaped(expression)))?;
        match data["result"].as_array() {
            // The value of a scalar is no list of series.
            Some(_) if data["resultType"] == "scalar" => Ok(vec![data["result"].clone()]),
            Some(series) => Ok(series.clone()),
            None => Err(format!("no list: {data}")),
        }
    }

    /// The member `data` of an answer of its API.
    pub fn api(&self, target: &str) -> Result<Value, String> {
        let mut answer = self.client.get(target).map_err(|error| error.to_string())?.json();
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        Ok(answer["data"].take())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// Runs `promtool` in a folder; both its outputs. `Err` if it fails.
pub fn promtool(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program("promtool"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("promtool runs");
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(text) } else { Err(text) }
}
