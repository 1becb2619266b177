//! The environment of the process and its flags, as plain values. No other code reads the environment, so that tests need no
//! global state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Relative paths and `.env` are looked for here. Empty: the working directory of the process.
    pub working_dir: PathBuf,
    pub environment: BTreeMap<String, String>,
    /// Names of variables whose value is not valid UTF-8.
    pub not_utf8: Vec<String>,
    /// `--key=value` in the order given: the name without dashes, and the value.
    pub flags: Vec<(String, String)>,
    /// `--conf`: the folder with `app.conf` and `app.yaml`.
    pub conf_dir: Option<PathBuf>,
    /// CPU cores of the machine, the default of `server.workers`. 0 counts as 1.
    pub cores: usize,
}

impl Inputs {
    /// The environment and the working directory of the process, and no flags.
    pub fn from_process() -> Self {
        let mut inputs = Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            ..Self::default()
        };
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(inputs.environment.insert(name, value)),
                Err(_) => inputs.not_utf8.push(name),
            }
        }
        inputs
    }

    /// A path as messages show it: relative to the working directory if it is below it.
    pub(super) fn displayed(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.working_dir).map_or_else(|_| path.to_owned(), Path::to_owned)
    }
}
