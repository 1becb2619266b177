//! `service-center ctl`, and `scctl`: asks a node over HTTP, and changes what it is told to. One file a command.
//!
//! Invariant: it speaks to nodes as any other client does. It imports nothing of the store, the cache and the actors.

mod client;
mod context;
mod contexts;
mod debug;
mod delete;
mod describe;
mod diagnose;
mod drain;
mod each_node;
mod event_line;
mod events;
mod examples;
mod explain;
mod failure;
mod get;
mod health;
mod history;
mod login;
mod names;
mod options;
mod output;
mod reference;
mod session;
mod set;
mod times;
mod top;
mod version;
mod watching;
mod with_etcd;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use clap_complete::Shell;

use self::client::Client;
use self::failure::Failure;
use self::options::GlobalOptions;
use self::output::Output;
use self::session::Session;
use super::terminal::Terminal;
use crate::clock::Clock;

pub use self::reference::page;

/// The name under which the user has called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    ServiceCenter,
    Scctl,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::ServiceCenter => "service-center ctl",
            Self::Scctl => "scctl",
        }
    }
}

/// Ask a node of the registry, and change what it holds
#[derive(Parser)]
#[command(version, subcommand_required = true, arg_required_else_help = true, infer_subcommands = false)]
struct Ctl {
    #[command(flatten, next_help_heading = "Options of all commands")]
    options: GlobalOptions,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Subcommand)]
enum CtlCommand {
    Get(get::Get),
    Describe(describe::Describe),
    History(history::History),
    Explain(explain::Explain),
    Events(events::Events),
    Diagnose(diagnose::Diagnose),
    /// Ask whether the node is healthy. Exit code 0: healthy, 2: not reachable, 3: not healthy
    Health,
    Top(top::Top),
    Set(set::Set),
    Drain(drain::Drain),
    Delete(delete::Delete),
    Debug(debug::Debug),
    Login(login::Login),
    Context(context::ContextCommand),
    /// Print a script that completes commands in a shell
    Completion {
        /// The shell
        #[arg(value_parser = clap::value_parser!(Shell))]
        shell: Shell,
    },
    /// Print the version of this program and, if it can be reached, of the node
    #[command(visible_alias = "ver")]
    Version,
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// The commands, under the name by which the user calls them.
fn command(program: Program) -> Command {
    examples::add(Ctl::command(), program).name(program.name()).bin_name(program.name())
}

/// Runs a command. Returns the exit code.
pub(super) fn run(
    program: Program,
    args: impl Iterator<Item = OsString>,
    environment: &BTreeMap<String, String>,
    terminal: &mut Terminal<'_>,
) -> u8 {
    let args = std::iter::once(OsString::from(program.name())).chain(args);
    let parsed =
        command(program).try_get_matches_from(args).and_then(|matches| Ctl::from_arg_matches(&matches));
    let outcome = match parsed {
        Ok(ctl) => carry_out(program, ctl, environment, terminal),
        Err(error) if error.use_stderr() => {
            error.to_string().trim_end().lines().for_each(|line| terminal.note(line));
            return super::EXIT_USAGE;
        }
        Err(help) => {
            terminal.say(help.to_string().trim_end());
            Ok(())
        }
    };
    match outcome {
        Ok(()) => 0,
        Err(Failure { code, text }) => {
            if !text.is_empty() {
                terminal.note(&format!("error: {text}"));
            }
            code
        }
    }
}

fn carry_out(
    program: Program,
    ctl: Ctl,
    environment: &BTreeMap<String, String>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Failure> {
    let Ctl { options, command } = ctl;
    let output = Output::new(options.output, options.no_headers, environment);
    // Commands that speak to no node.
    let command = match command {
        CtlCommand::Context(command) => return command.run(&options, environment, output, terminal),
        CtlCommand::Completion { shell } => {
            terminal.write(&reference::completion(program, shell));
            return Ok(());
        }
        CtlCommand::Man { folder } => return reference::write_man_pages(&folder),
        command => command,
    };
    let (place, target) = options.place(environment)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unreachable(format!("no thread can wait: {error}")))?;
    let mut session = Session {
        terminal,
        client: Client::new(target),
        output,
        place,
        clock: Clock::system(),
        verbose: options.verbose,
        is_scctl: program == Program::Scctl,
        environment,
    };
    runtime.block_on(async {
        match command {
            CtlCommand::Get(command) => command.run(&mut session).await,
            CtlCommand::Describe(command) => command.run(&mut session).await,
            CtlCommand::History(command) => command.run(&mut session).await,
            CtlCommand::Explain(command) => command.run(&mut session).await,
            CtlCommand::Events(command) => command.run(&mut session).await,
            CtlCommand::Diagnose(command) => command.run(&mut session).await,
            CtlCommand::Top(command) => command.run(&mut session).await,
            CtlCommand::Health => health::run(&mut session).await,
            CtlCommand::Set(command) => command.run(&mut session).await,
            CtlCommand::Drain(command) => command.run(&mut session).await,
            CtlCommand::Delete(command) => command.run(&mut session).await,
            CtlCommand::Debug(command) => command.run(&mut session).await,
            CtlCommand::Login(command) => command.run(&mut session).await,
            CtlCommand::Version => version::run(&mut session).await,
            CtlCommand::Context(_) | CtlCommand::Completion { .. } | CtlCommand::Man { .. } => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        command(Program::Scctl).debug_assert();
        command(Program::ServiceCenter).debug_assert();
    }
}
