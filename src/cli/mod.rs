//! The command line: its arguments, `--help`, `--version`, `check-config`, `check-health`, `keys`, and `ctl` for running nodes.
//!
//! It runs nothing of the registry. [`start`] prints what can be printed at once and returns the exit code, or it returns a
//! [`ConfiguredTask`] for the caller to run.

mod args;
mod check;
mod ctl;
mod health;
mod keys;
mod progress;
mod terminal;

use std::ffi::OsString;
use std::io::IsTerminal;

pub use args::CliTask;
use args::{CliCommand, Invocation};
pub use ctl::page as reference_of_ctl;
pub use health::EXIT_UNHEALTHY;
pub use progress::Progress;
pub use terminal::Terminal;

use crate::config::{Config, Inputs, Sources, Warning, logging};

/// Exit code of a wrong command line or configuration (`EX_USAGE` of sysexits).
pub const EXIT_USAGE: u8 = 64;

/// What is left to do after the command line and the configuration are read.
#[derive(Debug)]
pub enum Started {
    /// Nothing. The process ends with this code.
    Exit(u8),
    Run(Box<ConfiguredTask>),
}

/// A task to run, with a configuration that has no mistake.
#[derive(Debug)]
pub struct ConfiguredTask {
    pub task: CliTask,
    pub config: Config,
    /// Written to the log by [`ConfiguredTask::open_log`].
    pub warnings: Vec<Warning>,
}

impl ConfiguredTask {
    /// Sets up the log of the process and writes the warnings to it. On an error it prints the reason and returns the exit code.
    pub fn open_log(&self, terminal: &mut Terminal<'_>) -> Result<(), u8> {
        if let Err(error) = logging::start(&self.config.log) {
            terminal.complain(&error.to_string());
            return Err(EXIT_USAGE);
        }
        if let Some(file) = &self.config.log.file
            && std::io::stderr().is_terminal()
        {
            // Without this line a person at a terminal sees nothing. Only to a terminal, because nobody may read a pipe.
            terminal.complain(&format!("logging to {}", file.path.display()));
        }
        for warning in &self.warnings {
            log::warn!("configuration: {warning}");
        }
        Ok(())
    }
}

/// The name under which the program is `service-center ctl`: that of the original's tool.
const SCCTL: &str = "scctl";

/// What the name by which the program was called adds to its arguments: `scctl get service` means `service-center scctl get service`.
pub fn implied_argument(program: Option<&OsString>) -> Option<OsString> {
    let name = std::path::Path::new(program?).file_stem()?;
    (name == SCCTL).then(|| SCCTL.into())
}

/// Reads the arguments (without the name of the program) and the configuration.
///
/// `inputs` is the environment of the process ([`Inputs::from_process`]). The flags and `--conf` are added to it here.
pub fn start(
    args: impl IntoIterator<Item = OsString>,
    inputs: Inputs,
    terminal: &mut Terminal<'_>,
) -> Started {
    let mut args = args.into_iter().peekable();
    let ctl = args.peek().and_then(|word| match word.to_str() {
        Some("ctl") => Some(ctl::Program::ServiceCenter),
        Some(SCCTL) => Some(ctl::Program::Scctl),
        _ => None,
    });
    if let Some(program) = ctl {
        return Started::Exit(ctl::run(program, args.skip(1), &inputs.environment, terminal));
    }
    let invocation = match args::parse(args) {
        Ok(invocation) => invocation,
        Err(errors) => {
            for error in errors {
                terminal.complain(&error);
            }
            terminal.complain("run service-center --help for the list of commands and options");
            return Started::Exit(EXIT_USAGE);
        }
    };
    let Invocation { command, flags, conf_dir } = invocation;
    let load = || Sources::gather(&Inputs { flags, conf_dir, ..inputs }).load();
    match command {
        CliCommand::Help => {
            terminal.say(args::HELP.trim_end());
            Started::Exit(0)
        }
        CliCommand::Version => {
            terminal.say(&format!("service-center {}", env!("CARGO_PKG_VERSION")));
            Started::Exit(0)
        }
        CliCommand::CheckConfig => Started::Exit(check::report(&load(), terminal)),
        CliCommand::CheckHealth => {
            let loaded = load();
            Started::Exit(match &loaded.config {
                Ok(config) => health::report(config, terminal),
                Err(mistakes) => {
                    check::complain(mistakes, &loaded.warnings, terminal);
                    EXIT_USAGE
                }
            })
        }
        CliCommand::Keys { out } => Started::Exit(keys::create(&out, terminal)),
        CliCommand::Run(task) => {
            let loaded = load();
            match loaded.config {
                Ok(config) => {
                    Started::Run(Box::new(ConfiguredTask { task, config, warnings: loaded.warnings }))
                }
                Err(mistakes) => {
                    check::complain(&mistakes, &loaded.warnings, terminal);
                    Started::Exit(EXIT_USAGE)
                }
            }
        }
    }
}
