//! The page of the commands, the man pages and the completions, all made from the commands themselves.

use std::fmt::Write as _;
use std::path::Path;

use clap::{ArgAction, Command, CommandFactory as _};

use super::failure::Failure;
use super::{Ctl, Program, command};
use crate::cli::args::{COMMANDS, HELP};

const HEAD: &str = "\
# The command line

`service-center ctl` asks any node of a cluster, over HTTP or HTTPS. `scctl` is the same program under the name of the original's tool: a link to
`service-center`. All examples write `scctl`.

<!-- The rest is made from the commands: WRITE_GENERATED=1 cargo test --test it cli:: -->

";

/// `docs/cli.md`.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str(INTRODUCTION);
    let root = built(Program::Scctl);
    write(&mut page, &root, "scctl");
    page
}

const INTRODUCTION: &str = "\
## Exit codes

| code | meaning |
| --- | --- |
| 0 | done; the answer is yes |
| 1 | the answer is no: it does not exist, it differs, it is not found, not all consumers know, or a question was answered with no |
| 64 | the command line or a file that it names has a mistake |
| 69 | no node can be reached, or its answer cannot be used |
| 75 | the node rejects the request because of its load; try again later |
| 77 | the token is missing, has ended, or does not allow it |

`health` has the exit codes of the original: 0 healthy, 2 not reachable, the answer of another server or the code 500003, 3 not healthy.

## Output

Data goes to standard output, messages go to standard error. On a terminal a cell of a table has at most 35 characters, and headings are bold
unless `NO_COLOR` is set. In a pipe nothing is cut and nothing is colored. Control characters and formatting characters of bidirectional text
are shown escaped. `get service -o wide` shows three endpoints of a service, and `+` with the number of the others; `-o json` has all.

Under the name `scctl`, `get service` and `get instance` have the columns of the original. `service-center ctl` adds a column at the end: the
numbers of instances by status, and the status of each instance.

## Environment and files

| variable | meaning |
| --- | --- |
| `HOSTING_SERVER_IP` | the address without `--addr` and without a context: `http://$HOSTING_SERVER_IP:30100` |
| `SSL_ROOT` | the folder with `trust.cer`, `server.cer`, `server_key.pem` and `cert_pwd` |
| `SCCTL_CONTEXT` | the context without `--context` |
| `SCCTL_TOKEN` | the token without `--token` and `--token-file` |
| `NO_COLOR` | no colors, if it is not empty |
| `XDG_CONFIG_HOME` | the folder `service-center` in it holds `contexts.yaml` and `tokens.yaml`; without it: `~/.config` |

Only their owner may read these two files. The token of a context is sent to the address of the context. A command with `--all-nodes` sends its
token also to each node that the registry lists and to each address of `--addr`, but never from HTTPS to plain HTTP. No other address gets it.

With `--addr` and without `--context`, no context is used. A change asks for the name of a protected context if the context is in use, or if it
names the address. Addresses are compared as they are written, because a name may mean another host tomorrow: `localhost:30100` and
`127.0.0.1:30100` are two addresses. So give a protected context each address of its cluster, separated by commas.

## Man pages and completions

The Debian package installs man pages and completions. The archive has them in `man` and `completions`. To read and use them there:

```sh
man man/scctl-get-instance.1
source completions/bash/scctl    # in bash; for good: copy it to ~/.local/share/bash-completion/completions/
```

For zsh, copy `completions/zsh/_scctl` to a folder of `$fpath`; for fish, `completions/fish/scctl.fish` to `~/.config/fish/completions/`. `scctl
completion SHELL` prints the same.

## Commands

";

/// The whole tree, with the options of all commands in each command.
fn built(program: Program) -> Command {
    let mut root = command(program);
    root.build();
    root
}

fn write(page: &mut String, command: &Command, path: &str) {
    let _ = writeln!(page, "### {path}\n");
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        // The commands end their paragraphs without a full stop.
        let about = about.to_string().replace("\n\n", ".\n\n");
        let _ = writeln!(page, "{about}.\n");
    }
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        let _ = writeln!(page, "Also: `{}`.\n", aliases.join("`, `"));
    }
    let mut usage = command.clone();
    let usage = usage.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim();
    let _ = writeln!(page, "```text\n{usage}\n```\n");
    let is_root = path == "scctl";
    let arguments: Vec<&clap::Arg> = command
        .get_arguments()
        .filter(|argument| {
            !argument.is_hide_set() && argument.get_id() != "help" && (is_root || !argument.is_global_set())
        })
        .collect();
    if !arguments.is_empty() {
        let _ = writeln!(page, "| argument | meaning |\n| --- | --- |");
        for argument in arguments {
            let _ = writeln!(page, "| {} | {} |", spelled(argument), meaning(argument));
        }
        page.push('\n');
    }
    if let Some(example) = command.get_after_help() {
        let example = example.to_string();
        let _ = writeln!(page, "```shell\n{}\n```\n", example.strip_prefix("Example: ").unwrap_or(&example));
    }
    for child in command.get_subcommands().filter(|child| !child.is_hide_set() && child.get_name() != "help")
    {
        write(page, child, &format!("{path} {}", child.get_name()));
    }
}

/// `-o`, `--output FORMAT`.
fn spelled(argument: &clap::Arg) -> String {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let names = argument.get_value_names().unwrap_or_default();
    let value = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    if argument.is_positional() {
        return format!("`{value}`");
    }
    let mut spelled: Vec<String> = Vec::new();
    spelled.extend(argument.get_short().map(|short| format!("`-{short}`")));
    let value = if takes_value { format!(" {value}") } else { String::new() };
    spelled.extend(argument.get_long().map(|long| format!("`--{long}{value}`")));
    spelled.join(", ")
}

fn meaning(argument: &clap::Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default().replace('\n', " ").replace('|', "\\|");
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() && argument.get_id() != "protected" {
        let _ = write!(text, ". One of {}", values.join(", "));
    }
    let defaults = argument.get_default_values();
    if takes_value && let Some(default) = defaults.first() {
        let _ = write!(text, ". Default: `{}`", default.to_string_lossy());
    }
    text
}

/// Writes a man page for each command into a folder, and one for the daemon.
pub fn write_man_pages(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command(Program::Scctl).disable_help_subcommand(true), folder)
        .map_err(failed)?;
    std::fs::write(folder.join("service-center.1"), page_of_daemon()).map_err(failed)
}

/// The man page of the daemon: its `--help`, where a line of one word is a heading.
fn page_of_daemon() -> String {
    let mut page = format!(
        ".TH service-center 1 \"\" \"service-center {}\"\n.SH NAME\nservice\\-center \\- a microservice registry\n\
         .SH SYNOPSIS\n.nf\n",
        env!("CARGO_PKG_VERSION")
    );
    for line in HELP.lines().skip(2) {
        let _ = if !line.is_empty() && line.chars().all(|c| c.is_ascii_lowercase()) {
            writeln!(page, ".SH {}\n.nf", line.to_uppercase())
        } else {
            writeln!(page, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"))
        };
    }
    page.push_str(".fi\n.SH SEE ALSO\n.BR scctl (1)\n");
    page
}

/// A script for a shell.
pub fn completion(program: Program, shell: clap_complete::Shell) -> String {
    let (mut root, name) = match program {
        Program::Scctl => (command(program), "scctl"),
        Program::ServiceCenter => {
            // Without the name under which it is called, so that it gets that of its place.
            let ctl = Ctl::command().name("ctl");
            let others = COMMANDS.into_iter().filter(|name| *name != "ctl").map(Command::new);
            (Command::new("service-center").subcommands(others).subcommand(ctl), "service-center")
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut root, name, &mut script);
    // For bash, clap_complete spells the dash of the program's name in two ways, which then do not meet.
    String::from_utf8_lossy(&script).replace("service__subcmd__center", "service__center")
}
