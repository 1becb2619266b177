//! The source of a value, and the messages about wrong or doubtful values.
//!
//! No message shows the value of a secret key: [`Mistake`] and [`Warning`] are made from values that are already masked.

use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueOrigin {
    /// A command-line flag as it was written (`--server.port`).
    Flag(String),
    Environment(String),
    /// `.env`, `app.conf`, `app.yaml` or `syncer.yaml`.
    File {
        path: PathBuf,
        /// Counted from 1; `None` if it is not known.
        line: Option<usize>,
        /// The name of the key as it is written there.
        name: String,
    },
    /// No source sets the key.
    Default,
}

impl ValueOrigin {
    /// The name of the key as it is written in the source.
    pub fn spelling(&self) -> Option<&str> {
        match self {
            Self::Flag(name) | Self::Environment(name) | Self::File { name, .. } => Some(name),
            Self::Default => None,
        }
    }
}

impl fmt::Display for ValueOrigin {
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

/// A mistake in the configuration. The daemon does not start with one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub origin: ValueOrigin,
    /// Empty if a source as a whole is wrong (a file that cannot be read).
    pub key: String,
    /// The value as given; cut, and masked if it is secret.
    pub value: String,
    /// What is wrong, and what is allowed.
    pub expected: String,
}

impl fmt::Display for Mistake {
    /// `conf/app.conf line 3: httpport (server.port) = "abc": not a number; write 1 to 65535`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            let plain = |name: &str| name.trim_start_matches('-') == self.key;
            match (&self.origin, self.origin.spelling()) {
                // The origin of a flag or a variable already shows this name.
                (ValueOrigin::File { .. }, Some(name)) if !plain(name) => write!(f, "{name} ({})", self.key)?,
                _ => f.write_str(&self.key)?,
            }
            write!(f, " = {:?}: ", self.value)?;
        }
        f.write_str(&self.expected)
    }
}

/// All mistakes: first those of whole sources, then key by key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} mistake(s)", .0.len())]
pub struct Mistakes(pub Vec<Mistake>);

/// A message about a doubtful value. The daemon starts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub origin: ValueOrigin,
    /// A sentence that names the key.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

/// A value as messages show it: cut after 100 characters, so that the wrong file does not fill the terminal.
pub(super) fn shown(value: &str) -> String {
    const LIMIT: usize = 100;
    match value.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}
