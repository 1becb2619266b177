//! What the sources say, key by key. `gather` reads flags and variables into it, `files` the files. Which source wins is
//! decided in `precedence`, what a value means in `reader`.

use std::collections::BTreeMap;

use super::keys::{Key, Kind};
use super::origin::{Mistake, Origin, Warning};

/// The sources, first found wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Flag,
    Environment,
    DotEnv,
    AppConf,
    AppYaml,
    SyncerYaml,
}

/// A value in a source.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub layer: Layer,
    /// `None`: the source names the key and gives no value, which means the default.
    pub value: Option<String>,
    pub origin: Origin,
}

/// Everything the sources say, key by key.
#[derive(Debug, Default)]
pub struct Sources {
    /// By key, then by entry (empty but for maps), each in order of precedence.
    pub(super) found: BTreeMap<&'static str, BTreeMap<String, Vec<Found>>>,
    pub(super) variables: Variables,
    pub(super) cores: usize,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Warning>,
}

/// The environment's variables, then those of `.env`.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub environment: BTreeMap<String, String>,
    pub dot_env: BTreeMap<String, String>,
}

impl Variables {
    pub fn find(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| self.dot_env.get(name)).cloned()
    }
}

impl Sources {
    pub(super) fn add(&mut self, key: &'static Key, entry: String, found: Found) {
        self.found.entry(key.name).or_default().entry(entry).or_default().push(found);
    }

    pub(super) fn warn(&mut self, origin: Origin, text: impl Into<String>) {
        self.warnings.push(Warning { origin, text: text.into() });
    }

    /// A mistake of a source as a whole, or of a line that is no setting.
    pub(super) fn refuse_source(&mut self, origin: Origin, expected: impl Into<String>) {
        self.mistakes.push(Mistake {
            origin,
            key: String::new(),
            value: String::new(),
            expected: expected.into(),
        });
    }
}

/// An empty text is a value of a text key (`LOG_FILE=''` is standard output); for any other it means the default.
pub(super) fn explicit(key: &Key, value: &str) -> Option<String> {
    let value = value.trim();
    let text = matches!(key.kind, Kind::Text | Kind::Secret | Kind::List);
    (text || !value.is_empty()).then(|| value.to_owned())
}

pub(super) fn suggestion(near: Option<&str>, dashes: &str) -> String {
    near.map(|near| format!("; did you mean {dashes}{near}?")).unwrap_or_default()
}
