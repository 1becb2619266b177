//! Gathers what each source says: flags, environment, `.env`, `conf/app.conf`, `conf/app.yaml`, `conf/syncer.yaml`.
//!
//! This file: flags and variables; `files` has the rest. Which source wins is `precedence`'s, what a value means the reader's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::files::displayed;
use super::inputs::Inputs;
use super::keys::{self, Key, Kind, Named, Spelling};
use super::origin::{Mistake, Origin, Warning, shown};

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
    environment: BTreeMap<String, String>,
    pub dot_env: BTreeMap<String, String>,
}

impl Variables {
    pub fn find(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| self.dot_env.get(name)).cloned()
    }
}

impl Sources {
    /// Reads every source. What cannot be read is kept as a mistake, and the others are read all the same.
    pub fn gather(inputs: &Inputs) -> Self {
        let mut sources = Self { cores: inputs.cores.max(1), ..Self::default() };
        sources.variables.environment.clone_from(&inputs.environment);
        sources.read_flags(&inputs.flags);
        sources.read_dot_env(inputs);
        let (environment, dot_env) = (inputs.environment.clone(), sources.variables.dot_env.clone());
        sources
            .read_variables(&environment, Layer::Environment, &|name| Origin::Environment(name.to_owned()));
        let file = inputs.working_dir.join(".env");
        sources.read_variables(&dot_env, Layer::DotEnv, &|name| Origin::File {
            path: displayed(&file, inputs),
            line: None,
            name: name.to_owned(),
        });
        sources.refuse_garbled(&inputs.garbled);
        let conf = sources.conf_dir(inputs);
        sources.read_app_conf(&conf, inputs);
        sources.read_yaml(&conf.join("app.yaml"), Layer::AppYaml, inputs);
        sources.read_yaml(&conf.join("syncer.yaml"), Layer::SyncerYaml, inputs);
        sources
    }

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

    fn conf_dir(&mut self, inputs: &Inputs) -> PathBuf {
        if let Some(dir) = &inputs.conf_dir {
            let dir = inputs.working_dir.join(dir);
            if !dir.is_dir() {
                self.mistakes.push(Mistake {
                    origin: Origin::Flag("--conf".to_owned()),
                    key: "conf".to_owned(),
                    value: dir.display().to_string(),
                    expected: "no such folder: name the one that holds app.conf or app.yaml".to_owned(),
                });
            }
            return dir;
        }
        match self.variables.find("APP_ROOT").filter(|root| !root.is_empty()) {
            Some(root) => {
                let dir = inputs.working_dir.join(root).join("conf");
                if !dir.is_dir() {
                    let text = format!("APP_ROOT is set and {} is no folder: no file is read", dir.display());
                    self.warn(Origin::Environment("APP_ROOT".to_owned()), text);
                }
                dir
            }
            None => inputs.working_dir.join("conf"),
        }
    }

    fn read_flags(&mut self, flags: &[(String, String)]) {
        for (name, value) in flags {
            let origin = Origin::Flag(format!("--{name}"));
            match keys::find(name, Spelling::Either) {
                Named::Key(key) if key.kind == Kind::Map => self.mistakes.push(Mistake {
                    origin,
                    key: key.name.to_owned(),
                    value: shown(value),
                    expected: format!("name the pair: --{}.zone=z1", key.name),
                }),
                Named::Key(key) => {
                    let found = Found { layer: Layer::Flag, value: explicit(key, value), origin };
                    // Of a flag given twice the last counts, as everywhere else.
                    let all = self.found.entry(key.name).or_default().entry(String::new()).or_default();
                    all.retain(|found| found.layer != Layer::Flag);
                    all.insert(0, found);
                }
                Named::Entry(key, entry) => {
                    self.add(key, entry, Found { layer: Layer::Flag, value: Some(value.clone()), origin });
                }
                Named::Ignored => self.warn(origin, format!("{name} is not read by this server")),
                Named::Unknown => {
                    let near = keys::nearest_flag(name, &[]);
                    let expected = format!("unknown flag{}", suggestion(near, "--"));
                    self.mistakes.push(Mistake { origin, key: name.clone(), value: shown(value), expected });
                }
            }
        }
    }

    fn read_variables(
        &mut self,
        variables: &BTreeMap<String, String>,
        layer: Layer,
        origin: &dyn Fn(&str) -> Origin,
    ) {
        for key in keys::all() {
            if key.kind == Kind::Map {
                let prefix = format!("{}_", key.dotted_env_name());
                for (name, value) in variables {
                    if let Some(entry) = name.strip_prefix(&prefix).filter(|entry| !entry.is_empty()) {
                        let found = Found { layer, value: Some(value.clone()), origin: origin(name) };
                        self.add(key, entry.to_owned(), found);
                    }
                }
                continue;
            }
            // The reference looks numbers up under the name of app.conf, too.
            let old = matches!(key.kind, Kind::Integer(..)).then(|| key.old_name());
            let names = [Some(key.env_name()), Some(key.dotted_env_name()), old];
            let hit =
                names.into_iter().flatten().find_map(|name| Some((variables.get(&name)?.clone(), name)));
            if let Some((value, name)) = hit {
                let found = Found { layer, value: explicit(key, &value), origin: origin(&name) };
                self.add(key, String::new(), found);
            }
        }
    }

    fn refuse_garbled(&mut self, garbled: &[String]) {
        for key in keys::all() {
            let name = key.env_name();
            if garbled.contains(&name) {
                self.mistakes.push(Mistake {
                    origin: Origin::Environment(name),
                    key: key.name.to_owned(),
                    value: String::new(),
                    expected: "the value is not UTF-8".to_owned(),
                });
            }
        }
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
