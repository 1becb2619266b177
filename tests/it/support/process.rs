//! A child process. Its output goes to a file, and it is killed by its id at the latest when it is dropped.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::eventually::{GENEROUS, try_eventually};

/// A failing test prints so many bytes from the end of the log.
const SHOWN_LOG_BYTES: usize = 16 * 1024;

/// A child process. Dropping it kills the process, and prints the end of its output if the test fails.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` without input, and appends both outputs to `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> io::Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log)?;
        Self::spawn_onto(name, command, out.into(), log)
    }

    /// As [`Process::spawn`], but the standard output goes elsewhere.
    pub fn spawn_onto(name: &str, command: &mut Command, out: Stdio, log: &Path) -> io::Result<Self> {
        let err = OpenOptions::new().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub fn kill9(&mut self) -> ExitStatus {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a child of ours can be waited for")
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a child of ours takes signals");
    }

    /// Limits the size of the files that the process writes, in bytes. `None` removes the limit.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(self.pid()), Resource::Fsize, limit).expect("a child of ours takes limits");
    }

    /// Its peak resident memory, in kilobytes.
    pub fn peak_memory(&self) -> usize {
        self.memory("VmHWM:")
    }

    /// Its resident memory, in kilobytes.
    pub fn resident_memory(&self) -> usize {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes")
    }

    /// The CPU time of all its threads, user and system.
    pub fn cpu_time(&self) -> Duration {
        // Field 2 is the name, in parentheses, which may contain blanks. Fields 14 and 15 are utime and stime, in ticks of 10 ms.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let after_name = stat.rsplit(") ").next().expect("a name in parentheses");
        let ticks: u64 = after_name
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number of ticks"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Sends SIGSTOP, and waits until every thread has stopped, which happens after the signal is sent.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
        let all_stand = || {
            let tasks = std::fs::read_dir(&tasks).map_err(|error| error.to_string())?;
            let running = tasks.flatten().any(|task| {
                std::fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| !stands(stat))
            });
            if running { Err("a thread still runs".to_owned()) } else { Ok(()) }
        };
        try_eventually(GENEROUS, all_stand).expect("a stopped process stands still");
    }

    /// Waits for its end; the exit status, or `Err` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let name = self.name.clone();
        try_eventually(limit, || self.exit_status())
            .map_err(|_| format!("{name} has not ended within {limit:?}"))
    }

    /// Sends SIGTERM and waits; the exit status, or `Err` if it still runs after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        self.signal(Signal::TERM);
        self.wait(limit)
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of its output.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let mut start = log.len().saturating_sub(SHOWN_LOG_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log[start..].to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.exit_status();
        if ended.is_none() {
            self.child.kill().and_then(|()| self.child.wait()).ok();
        }
        if thread::panicking() {
            let state =
                ended.map_or_else(|| "was running".to_owned(), |status| format!("had ended: {status}"));
            let text = format!(
                "--- {} (process {}) {state}; its output ends:\n{}\n---\n",
                self.name,
                self.child.id(),
                self.log_tail()
            );
            io::stderr().write_all(text.as_bytes()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::eventually::{GENEROUS, eventually};

    fn shell(script: &str) -> (Process, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let process =
            Process::spawn("sh", Command::new("sh").args(["-c", script]), &dir.path().join("log")).unwrap();
        (process, dir)
    }

    #[test]
    fn terminate_returns_the_exit_code_and_the_log_is_kept() {
        let (mut process, _dir) =
            shell("trap 'echo bye >&2; exit 7' TERM; echo ready; while :; do sleep 0.05; done");
        eventually(GENEROUS, || process.log().contains("ready"));
        assert_eq!(process.terminate(GENEROUS).unwrap().code(), Some(7));
        assert_eq!(process.log_tail(), "ready\nbye\n");
    }

    #[test]
    fn kill9_leaves_no_exit_code() {
        let (mut process, _dir) = shell("trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done");
        eventually(GENEROUS, || process.log().contains("ready"));
        assert!(process.terminate(Duration::ZERO).unwrap_err().contains("sh has not ended"));
        eventually(GENEROUS, || process.log().contains("no"));
        assert_eq!(process.exit_status(), None);
        assert_eq!(process.kill9().code(), None);
    }

    #[test]
    fn drop_ends_the_process() {
        let (process, _dir) = shell("while :; do sleep 0.05; done");
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
