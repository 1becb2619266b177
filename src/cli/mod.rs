//! The command line: what is asked for, and what is answered at once.
//!
//! Owns the arguments, the help and the printing of `check-config`. It runs nothing of the registry: [`start`] hands back
//! a [`Job`] for the caller to run, or the exit code.

mod args;
mod check;
mod terminal;

use std::ffi::OsString;
use std::io::IsTerminal;

pub use args::{Command, Invocation, Task, parse};
pub use terminal::Terminal;

use crate::config::{Config, Inputs, Sources, Warning, logging};

/// Exit code of a wrong command line or configuration (`EX_USAGE` of sysexits).
pub const EXIT_USAGE: u8 = 64;

/// What is left to do after the command line and the configuration are read.
#[derive(Debug)]
pub enum Next {
    /// Nothing: everything is said. The process ends with this code.
    Exit(u8),
    /// Run this.
    Run(Box<Job>),
}

/// Something to run, with a configuration that holds no mistake.
#[derive(Debug)]
pub struct Job {
    /// What.
    pub task: Task,
    /// How.
    pub config: Config,
    /// What the operator should know; [`Job::open_log`] writes it.
    pub warnings: Vec<Warning>,
}

impl Job {
    /// Sets up the log of the process and writes the warnings to it. An error is told on the terminal, and is the exit
    /// code.
    pub fn open_log(&self, terminal: &mut Terminal<'_>) -> Result<(), u8> {
        if let Err(error) = logging::start(&self.config.log) {
            terminal.complain(&error.to_string());
            return Err(EXIT_USAGE);
        }
        if let Some(file) = &self.config.log.file
            && std::io::stderr().is_terminal()
        {
            // Else a terminal stays silent, and nobody knows why. A pipe may be one that nobody reads.
            terminal.complain(&format!("logging to {}", file.path.display()));
        }
        for warning in &self.warnings {
            log::warn!("configuration: {warning}");
        }
        Ok(())
    }
}

/// Reads the arguments (without the program's name) and the configuration, answers what can be answered at once.
///
/// `inputs` is the process' surroundings ([`Inputs::from_process`]); flags and `--conf` are added here.
pub fn start(args: impl IntoIterator<Item = OsString>, inputs: Inputs, terminal: &mut Terminal<'_>) -> Next {
    let invocation = match parse(args) {
        Ok(invocation) => invocation,
        Err(errors) => {
            for error in errors {
                terminal.complain(&error);
            }
            terminal.complain("service-center --help shows what can be asked for");
            return Next::Exit(EXIT_USAGE);
        }
    };
    let Invocation { command, flags, conf_dir } = invocation;
    let load = || Sources::gather(&Inputs { flags, conf_dir, ..inputs }).load();
    match command {
        Command::Help => {
            terminal.say(args::HELP.trim_end());
            Next::Exit(0)
        }
        Command::Version => {
            terminal.say(&format!("service-center {}", env!("CARGO_PKG_VERSION")));
            Next::Exit(0)
        }
        Command::CheckConfig => Next::Exit(check::report(&load(), terminal)),
        Command::Run(task) => {
            let loaded = load();
            match loaded.config {
                Ok(config) => Next::Run(Box::new(Job { task, config, warnings: loaded.warnings })),
                Err(mistakes) => {
                    check::complain(&mistakes, &loaded.warnings, terminal);
                    Next::Exit(EXIT_USAGE)
                }
            }
        }
    }
}
