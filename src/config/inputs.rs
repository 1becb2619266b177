//! What the process was started with. The only place that reads the process' environment; everything else is handed
//! [`Inputs`], so that tests need no global state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The raw material of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Relative paths and `.env` start here; empty: the process' own.
    pub working_dir: PathBuf,
    /// The environment's variables.
    pub environment: BTreeMap<String, String>,
    /// Variables whose value is no UTF-8.
    pub garbled: Vec<String>,
    /// `--key=value` flags in the order given: the name without dashes, the value.
    pub flags: Vec<(String, String)>,
    /// `--conf`: the folder with `app.conf` and `app.yaml`.
    pub conf_dir: Option<PathBuf>,
    /// CPU cores of the machine: the default of `server.workers`. 0 counts as 1.
    pub cores: usize,
}

impl Inputs {
    /// The process' environment and working directory; no flags.
    pub fn from_process() -> Self {
        let mut inputs = Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            ..Self::default()
        };
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(inputs.environment.insert(name, value)),
                Err(_) => inputs.garbled.push(name),
            }
        }
        inputs
    }

    /// A path as an operator would write it: below the working directory, relative to it.
    pub(super) fn displayed(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.working_dir).map_or_else(|_| path.to_owned(), Path::to_owned)
    }
}
