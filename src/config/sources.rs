//! The values of all sources, by key. `gather` adds flags and variables, `files` adds the files. `precedence` decides which
//! source wins, and `reader` parses the value.

use std::collections::BTreeMap;

use super::keys::{ConfigKey, ValueKind};
use super::origin::{Mistake, ValueOrigin, Warning};

/// The sources. The first that names a key wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Flag,
    Environment,
    DotEnv,
    AppConf,
    AppYaml,
    SyncerYaml,
}

/// A value that a source gives a key.
#[derive(Clone, Debug)]
pub(super) struct FoundValue {
    pub layer: Layer,
    /// `None` if the source names the key without a value. It then means the default.
    pub value: Option<String>,
    pub origin: ValueOrigin,
}

/// The values of all sources, by key.
#[derive(Debug, Default)]
pub struct Sources {
    /// By key, then by entry (empty except for maps).
    pub(super) found: BTreeMap<&'static str, BTreeMap<String, Vec<FoundValue>>>,
    pub(super) variables: Variables,
    pub(super) cores: usize,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<Warning>,
}

/// The variables of the environment and of `.env`. The environment wins.
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
    pub(super) fn add(&mut self, key: &'static ConfigKey, entry: String, found: FoundValue) {
        self.found.entry(key.name).or_default().entry(entry).or_default().push(found);
    }

    pub(super) fn warn(&mut self, origin: ValueOrigin, text: impl Into<String>) {
        self.warnings.push(Warning { origin, text: text.into() });
    }

    /// A mistake in a source as a whole, or in a line that is not a setting.
    pub(super) fn refuse_source(&mut self, origin: ValueOrigin, expected: impl Into<String>) {
        self.mistakes.push(Mistake {
            origin,
            key: String::new(),
            value: String::new(),
            expected: expected.into(),
        });
    }
}

/// The value that a text gives a key. An empty text is a value for a key of text (`LOG_FILE=''` is standard output). For any other
/// key it means the default.
pub(super) fn explicit(key: &ConfigKey, value: &str) -> Option<String> {
    let value = value.trim();
    let text = matches!(key.kind, ValueKind::Text | ValueKind::Secret | ValueKind::List);
    (text || !value.is_empty()).then(|| value.to_owned())
}

pub(super) fn suggestion(near: Option<&str>, dashes: &str) -> String {
    near.map(|near| format!("; did you mean {dashes}{near}?")).unwrap_or_default()
}
