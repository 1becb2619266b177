//! Parses the arguments into a command and flags. Every key of the configuration is a flag. All mistakes are reported at once.
//!
//! A parser of declared options does not fit: the names of flags come from the table of keys, each key has two names in any
//! case, and keys of pairs have names that only the operator knows.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::config::{is_known_flag, nearest_flag};

pub(super) const HELP: &str = "\
service-center: a microservice registry

usage: service-center [COMMAND] [OPTION]... [--KEY=VALUE]...

commands
  serve                 run the registry (the default)
  check-config          print each effective setting and where it comes from
  check-health          exit with 0 if the daemon with this configuration serves, else with 1
  export --to FILE      write everything the store holds to a file
  import --from FILE    read the file of an export into an empty store
  keys --out DIR        make private.key and public.key, which accounts need
  ctl COMMAND           ask a running node: service-center ctl --help lists the commands

options
  --conf DIR            the folder with app.conf and app.yaml (default: conf, or $APP_ROOT/conf)
  --KEY=VALUE           set a key of the configuration, such as --server.port=30101 or --httpaddr 10.12.0.1
  -h, --help            print this text and exit
  -v, --version         print the version and exit

Each setting comes from the first of these that names it: option, environment (SERVER_PORT), .env, conf/app.conf,
conf/app.yaml, default.
docs/configuration.md lists every key.

exit codes: 0 done or stopped; 1 check-health: the daemon does not serve; 64 the command line or the configuration has a mistake;
69 the daemon or the command failed, and the log says why; 70 an internal fault
";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CliCommand {
    /// Needs a configuration without mistakes.
    Run(CliTask),
    CheckConfig,
    CheckHealth,
    /// Makes a pair of keys in the folder. Needs no configuration.
    Keys {
        out: PathBuf,
    },
    Help,
    Version,
}

/// A command that opens the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CliTask {
    Serve,
    Export { to: PathBuf },
    Import { from: PathBuf },
}

/// The parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    pub command: CliCommand,
    /// Keys of the configuration and their values, in the order given.
    pub flags: Vec<(String, String)>,
    /// `--conf`.
    pub conf_dir: Option<PathBuf>,
}

pub(super) const COMMANDS: [&str; 7] =
    ["serve", "check-config", "check-health", "export", "import", "keys", "ctl"];
const OPTIONS: [&str; 6] = ["conf", "to", "from", "out", "help", "version"];

/// Parses the arguments (without the name of the program), or returns all mistakes.
///
/// `--help` and `--version` win over everything else, so that they also work beside a mistake.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Vec<String>> {
    let mut errors = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let (mut flags, mut conf_dir, mut paths) = (Vec::new(), None, Paths::default());
    let (mut help, mut version) = (false, false);
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        let arg = match arg.into_string() {
            Ok(arg) => arg,
            Err(arg) => {
                errors.push(format!("the argument {:?} is not valid UTF-8", arg.to_string_lossy()));
                continue;
            }
        };
        match arg.as_str() {
            "-h" | "--help" => help = true,
            "-v" | "-V" | "--version" => version = true,
            _ => match arg.strip_prefix("--") {
                Some(option) => {
                    let (name, value) = match option.split_once('=') {
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (option.to_owned(), None),
                    };
                    if !OPTIONS.contains(&name.as_str()) && !is_known_flag(&name) {
                        errors.push(unknown_option(&name));
                        continue;
                    }
                    let follows = |arg: &OsString| !arg.to_string_lossy().starts_with("--");
                    let value =
                        value.or_else(|| args.next_if(follows).and_then(|arg| arg.into_string().ok()));
                    match (name.as_str(), value) {
                        ("help" | "version", _) => errors.push(format!("--{name} takes no value")),
                        (_, None) => errors.push(format!("--{name} needs a value: --{name}=VALUE")),
                        ("conf" | "to" | "from" | "out", Some(path)) if path.is_empty() => {
                            errors.push(format!("--{name} needs a path"));
                        }
                        ("conf", Some(path)) => conf_dir = Some(PathBuf::from(path)),
                        ("to", Some(path)) => paths.to = Some(PathBuf::from(path)),
                        ("from", Some(path)) => paths.from = Some(PathBuf::from(path)),
                        ("out", Some(path)) => paths.out = Some(PathBuf::from(path)),
                        (_, Some(value)) => flags.push((name, value)),
                    }
                }
                None if arg.starts_with('-') && arg.len() > 1 => {
                    errors.push(format!("unknown option {arg}; options begin with two dashes"));
                }
                None => words.push(arg),
            },
        }
    }
    if help || version {
        let command = if help { CliCommand::Help } else { CliCommand::Version };
        return Ok(Invocation { command, flags, conf_dir });
    }
    let command = command(&words, paths, &mut errors);
    match command {
        Some(command) if errors.is_empty() => Ok(Invocation { command, flags, conf_dir }),
        _ => Err(errors),
    }
}

/// Paths that belong to one command each.
#[derive(Default)]
struct Paths {
    to: Option<PathBuf>,
    from: Option<PathBuf>,
    out: Option<PathBuf>,
}

fn command(words: &[String], paths: Paths, errors: &mut Vec<String>) -> Option<CliCommand> {
    let Paths { to, from, out } = paths;
    if let Some(extra) = words.get(1) {
        errors.push(format!("unexpected argument {extra:?}"));
    }
    let word = words.first().map_or("serve", String::as_str);
    if to.is_some() && word != "export" {
        errors.push("--to belongs to export".to_owned());
    }
    if from.is_some() && word != "import" {
        errors.push("--from belongs to import".to_owned());
    }
    if out.is_some() && word != "keys" {
        errors.push("--out belongs to keys".to_owned());
    }
    match word {
        "serve" => Some(CliCommand::Run(CliTask::Serve)),
        "check-config" => Some(CliCommand::CheckConfig),
        "check-health" => Some(CliCommand::CheckHealth),
        "help" => Some(CliCommand::Help),
        "version" => Some(CliCommand::Version),
        "export" => match to {
            Some(to) => Some(CliCommand::Run(CliTask::Export { to })),
            None => {
                errors.push("export needs --to FILE".to_owned());
                None
            }
        },
        "import" => match from {
            Some(from) => Some(CliCommand::Run(CliTask::Import { from })),
            None => {
                errors.push("import needs --from FILE".to_owned());
                None
            }
        },
        "keys" => match out {
            Some(out) => Some(CliCommand::Keys { out }),
            None => {
                errors.push("keys needs --out DIR".to_owned());
                None
            }
        },
        // As the first argument it never comes here.
        "ctl" => {
            errors.push("ctl must be the first argument".to_owned());
            None
        }
        other => {
            let near = crate::config::nearest(other, COMMANDS).map(|near| format!("; did you mean {near}?"));
            errors.push(format!("unknown command {other:?}{}", near.unwrap_or_default()));
            None
        }
    }
}

fn unknown_option(name: &str) -> String {
    let near = nearest_flag(name, &OPTIONS).map(|near| format!("; did you mean --{near}?"));
    format!("unknown option --{name}{}", near.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, Vec<String>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn check(line: &str, command: CliCommand, flags: &[(&str, &str)], conf: Option<&str>) {
        let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let expected = Invocation { command, flags, conf_dir: conf.map(PathBuf::from) };
        assert_eq!(parsed(line), Ok(expected), "{line:?}");
    }

    #[test]
    fn arguments_are_parsed() {
        let serve = || CliCommand::Run(CliTask::Serve);
        check("", serve(), &[], None);
        check("serve", serve(), &[], None);
        check("--server.port=30101", serve(), &[("server.port", "30101")], None);
        check("--httpaddr 10.12.0.1 serve", serve(), &[("httpaddr", "10.12.0.1")], None);
        check("--log.file= --conf /etc/sc", serve(), &[("log.file", "")], Some("/etc/sc"));
        check("--conf=a=b", serve(), &[], Some("a=b"));
        check("--registry.instance.ttl -1", serve(), &[("registry.instance.ttl", "-1")], None);
        check(
            "check-config --registry.instance.properties.zone=z1",
            CliCommand::CheckConfig,
            &[("registry.instance.properties.zone", "z1")],
            None,
        );
        check("export --to x.json", CliCommand::Run(CliTask::Export { to: "x.json".into() }), &[], None);
        check("import --from=x.json", CliCommand::Run(CliTask::Import { from: "x.json".into() }), &[], None);
        check("check-health --server.port=1", CliCommand::CheckHealth, &[("server.port", "1")], None);
        check("keys --out etc/keys", CliCommand::Keys { out: "etc/keys".into() }, &[], None);
        for line in ["--help", "-h", "help", "serve --help", "--nonsense --help", "-v -h"] {
            assert_eq!(parsed(line).map(|i| i.command), Ok(CliCommand::Help), "{line}");
        }
        for line in ["--version", "-v", "-V", "version"] {
            assert_eq!(parsed(line).map(|i| i.command), Ok(CliCommand::Version), "{line}");
        }
    }

    fn check_errors(line: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(parsed(line), Err(expected), "{line:?}");
    }

    #[test]
    fn all_mistakes_are_reported() {
        check_errors("sevre", &["unknown command \"sevre\"; did you mean serve?"]);
        check_errors("serve now", &["unexpected argument \"now\""]);
        check_errors("--server.prot=1", &["unknown option --server.prot; did you mean --server.port?"]);
        check_errors(
            "--htpaddr x",
            &["unknown option --htpaddr; did you mean --httpaddr?", "unknown command \"x\""],
        );
        check_errors("--cnf=x", &["unknown option --cnf; did you mean --conf?"]);
        check_errors("--server.port", &["--server.port needs a value: --server.port=VALUE"]);
        check_errors("--conf --server.port=1", &["--conf needs a value: --conf=VALUE"]);
        check_errors("--conf=", &["--conf needs a path"]);
        check_errors("--help=all", &["--help takes no value"]);
        check_errors("-x", &["unknown option -x; options begin with two dashes"]);
        check_errors("export", &["export needs --to FILE"]);
        check_errors("keys", &["keys needs --out DIR"]);
        check_errors("keys --out=", &["--out needs a path", "keys needs --out DIR"]);
        check_errors("keys now --out x", &["unexpected argument \"now\""]);
        check_errors("--conf x ctl", &["ctl must be the first argument"]);
        check_errors("serve --out x", &["--out belongs to keys"]);
        check_errors("import --to x", &["--to belongs to export", "import needs --from FILE"]);
        check_errors(
            "--zzzzzzzzzzzz=1 --server.hots=2 import",
            &[
                "unknown option --zzzzzzzzzzzz",
                "unknown option --server.hots; did you mean --server.host?",
                "import needs --from FILE",
            ],
        );
    }

    #[cfg(unix)]
    #[test]
    fn arguments_that_are_not_utf8_are_rejected() {
        use std::os::unix::ffi::OsStringExt;
        assert!(parse([OsString::from_vec(vec![b'-', b'-', 0xff])]).is_err());
    }
}
