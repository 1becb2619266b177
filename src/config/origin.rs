//! Where a value came from, and what is said about a wrong or a doubtful one.
//!
//! Owns the texts an operator sees. A value of a secret key never reaches a text: [`Mistake`] and [`Warning`] are built
//! from values that are masked already.

use std::fmt;
use std::path::PathBuf;

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A command-line flag, as spelled (`--server.port`).
    Flag(String),
    /// A variable of the process' environment.
    Environment(String),
    /// A line of a file (`.env`, `app.conf`, `app.yaml`, `syncer.yaml`).
    File {
        /// The file, as it was opened.
        path: PathBuf,
        /// The line, counted from 1, where it is known.
        line: Option<usize>,
        /// The name as spelled there.
        name: String,
    },
    /// Nothing sets it.
    Default,
}

impl Origin {
    /// The name of the source alone: `conf/app.conf`, `environment`, `command line`, `default`.
    pub fn source(&self) -> String {
        match self {
            Self::Flag(_) => "command line".to_owned(),
            Self::Environment(_) => "environment".to_owned(),
            Self::File { path, .. } => path.display().to_string(),
            Self::Default => "default".to_owned(),
        }
    }

    /// The name as spelled in the source, if there is one.
    pub fn spelling(&self) -> Option<&str> {
        match self {
            Self::Flag(name) | Self::Environment(name) | Self::File { name, .. } => Some(name),
            Self::Default => None,
        }
    }
}

impl fmt::Display for Origin {
    /// `conf/app.conf line 3`, `environment SERVER_PORT`, `flag --server.port`, `default`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File { path, line: Some(line), .. } => write!(f, "{} line {line}", path.display()),
            Self::File { path, line: None, .. } => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong with the configuration. The daemon does not start with any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub origin: Origin,
    /// The key; empty where the source as a whole is wrong (a file that cannot be read).
    pub key: String,
    /// The value as given, cut and, for a secret, masked.
    pub value: String,
    /// What is wrong, and what would be right.
    pub expected: String,
}

impl fmt::Display for Mistake {
    /// `conf/app.conf line 3: httpport (server.port) = "abc": not a number; write 1 to 65535`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            let plain = |name: &str| name.trim_start_matches('-') == self.key;
            match (&self.origin, self.origin.spelling()) {
                // The origin of a flag or a variable shows the spelling already.
                (Origin::File { .. }, Some(name)) if !plain(name) => write!(f, "{name} ({})", self.key)?,
                _ => f.write_str(&self.key)?,
            }
            write!(f, " = {:?}: ", self.value)?;
        }
        f.write_str(&self.expected)
    }
}

/// All that is wrong: whole sources first, then key by key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} mistake(s)", .0.len())]
pub struct Mistakes(pub Vec<Mistake>);

/// Something an operator should know; the daemon starts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it stands.
    pub origin: Origin,
    /// A whole sentence that names the key.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

/// A value for a text: cut after 100 characters, so that a wrong file does not flood the terminal.
pub(super) fn shown(value: &str) -> String {
    const LIMIT: usize = 100;
    match value.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}
