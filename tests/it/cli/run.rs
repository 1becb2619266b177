//! Runs the command line, with a home folder of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::Daemon;

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The standard output, if the command has succeeded.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        &self.out
    }

    /// The standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The command must have failed with this code and these words.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(words), "{words:?} is missing: {self:?}");
    }

    /// The cells of a table, line by line, without the rule below the headings.
    pub fn cells(&self) -> Vec<Vec<&str>> {
        let lines = self.out.lines().filter(|line| !line.starts_with('+'));
        lines.map(|line| line.split('|').map(str::trim).collect()).collect()
    }
}

/// A user of the command line.
pub struct User {
    home: TempDir,
    environment: Vec<(String, String)>,
    program: PathBuf,
}

impl User {
    /// `HOSTING_SERVER_IP` and `--addr` are not set: each command names its address.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_service-center"));
        Self { home, environment: Vec::new(), program }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The folder of contexts and tokens.
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("service-center")
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command under the name of the original's tool.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0("scctl").args(arguments).env_clear().current_dir(self.home.path());
        command.env("XDG_CONFIG_HOME", self.home.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.type_in("", arguments)
    }

    /// Runs a command with this standard input.
    pub fn type_in(&self, input: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that reads nothing may have ended.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command against a daemon.
    pub fn at(&self, daemon: &Daemon, arguments: &[&str]) -> Ran {
        self.type_at(daemon, "", arguments)
    }

    pub fn type_at(&self, daemon: &Daemon, input: &str, arguments: &[&str]) -> Ran {
        let addr = url(daemon);
        let mut all = vec!["--addr", &addr];
        all.extend_from_slice(arguments);
        self.type_in(input, &all)
    }
}

/// The address of a daemon without TLS.
pub fn url(daemon: &Daemon) -> String {
    format!("http://{}", daemon.address())
}

/// The address of a node that answers one request with this status and this error code, or with no JSON without a code.
pub fn answering(status: u16, code: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let body = match code {
        "" => "no JSON".to_owned(),
        _ => format!("{{\"errorCode\":\"{code}\",\"errorMessage\":\"m\",\"detail\":\"\\u001b[2J\"}}"),
    };
    let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The head of a request without a body comes at once.
        drop(stream.read(&mut [0; 4096]));
        drop(stream.write_all(answer.as_bytes()));
    });
    address
}
