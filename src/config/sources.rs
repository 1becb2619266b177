//! Gathers what each source says: flags, environment, `.env`, `conf/app.conf`, `conf/app.yaml`, `conf/syncer.yaml`.
//!
//! Finds files, takes them apart and names what nobody knows. Which source wins is `precedence`'s, what a value means the
//! reader's.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::expand::expand;
use super::inputs::Inputs;
use super::keys::{self, Key, Kind, Named, Spelling};
use super::origin::{Mistake, Origin, Warning, shown};
use super::{ini, yaml};

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
    dot_env: BTreeMap<String, String>,
}

impl Variables {
    pub fn find(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| self.dot_env.get(name)).cloned()
    }
}

/// A configuration file is a page or two; what is larger is the wrong file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Unknown names reported of one file.
const MAX_UNKNOWN: usize = 20;

/// The run mode that beego takes where nothing says one: it decides which section of `app.conf` counts.
const DEFAULT_RUN_MODE: &str = "prod";

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

    fn add(&mut self, key: &'static Key, entry: String, found: Found) {
        self.found.entry(key.name).or_default().entry(entry).or_default().push(found);
    }

    fn warn(&mut self, origin: Origin, text: impl Into<String>) {
        self.warnings.push(Warning { origin, text: text.into() });
    }

    /// A mistake of a source as a whole, or of a line that is no setting.
    fn refuse_source(&mut self, origin: Origin, expected: impl Into<String>) {
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
                Named::Unknown(near) => {
                    let expected = format!("unknown flag{}", suggestion(near, "--"));
                    self.mistakes.push(Mistake { origin, key: name.clone(), value: shown(value), expected });
                }
            }
        }
    }

    fn read_dot_env(&mut self, inputs: &Inputs) {
        let path = inputs.working_dir.join(".env");
        let Some(text) = self.read_file(&path, inputs) else { return };
        let text = text.trim_start_matches('\u{feff}');
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            match item {
                // As dotenvy itself does: of a variable given twice the first counts.
                Ok((name, value)) => drop(self.variables.dot_env.entry(name).or_insert(value)),
                Err(error) => {
                    // The line may hold a password: its number is enough.
                    let line = match &error {
                        dotenvy::Error::LineParse(line, _) => text
                            .lines()
                            .position(|l| l.trim_end() == line.lines().next().unwrap_or("").trim_end()),
                        _ => None,
                    };
                    let line = line.map(|at| at + 1);
                    let origin = Origin::File { path: displayed(&path, inputs), line, name: String::new() };
                    self.refuse_source(origin, "write NAME=value; a value with spaces or # stands in quotes");
                }
            }
        }
        let names: Vec<String> = keys::all().filter(|key| key.is_read()).map(Key::env_name).collect();
        let unknown: Vec<(String, String)> = self
            .variables
            .dot_env
            .keys()
            .filter(|name| {
                !keys::all().any(|key| key.env_name() == **name || key.dotted_env_name() == **name)
            })
            .filter_map(|name| {
                // .env may hold variables of other programs: only a near miss is worth a word.
                let near = super::nearest::nearest(name, names.iter().map(String::as_str))?;
                (near.len() > 6 && near.len().abs_diff(name.len()) <= 2)
                    .then(|| (name.clone(), near.to_owned()))
            })
            .take(MAX_UNKNOWN)
            .collect();
        for (name, near) in unknown {
            let origin = Origin::File { path: displayed(&path, inputs), line: None, name: name.clone() };
            self.warn(origin, format!("{name} is no known variable; did you mean {near}?"));
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

    fn read_app_conf(&mut self, conf: &Path, inputs: &Inputs) {
        let mode = self.variables.find("BEEGO_RUNMODE").filter(|mode| !mode.is_empty());
        let own =
            mode.as_ref().map(|mode| conf.join(format!("{mode}.app.conf"))).filter(|path| path.is_file());
        let path = own.unwrap_or_else(|| conf.join("app.conf"));
        let Some(text) = self.read_file(&path, inputs) else { return };
        let origin = |line, name: &str| Origin::File {
            path: displayed(&path, inputs),
            line: Some(line),
            name: name.to_owned(),
        };
        let (lines, bad) = ini::parse(&text);
        for bad in bad {
            self.refuse_source(origin(bad.number, ""), format!("{:?}: {}", shown(&bad.text), bad.expected));
        }
        let stated = lines.iter().find(|l| l.section == ini::GLOBAL && l.key.eq_ignore_ascii_case("runmode"));
        let mode = mode
            .or_else(|| stated.map(|line| self.expanded(&line.value).0))
            .map_or_else(|| DEFAULT_RUN_MODE.to_owned(), |mode| mode.to_lowercase());
        let counted = |section: &str| section == ini::GLOBAL || section == mode;
        let mut foreign = HashSet::new();
        for line in lines.iter().filter(|line| !counted(&line.section)) {
            if !["dev", "prod", "test"].contains(&line.section.as_str())
                && foreign.insert(line.section.as_str())
            {
                let text = format!("section [{}] is not read: the run mode is {mode}", shown(&line.section));
                self.warn(origin(line.number, ""), text);
            }
        }
        let mut unknown = 0;
        // The section of the run mode after the global part, wherever it stands.
        let global = lines.iter().filter(|line| line.section == ini::GLOBAL);
        let sectioned = lines.iter().filter(|line| line.section == mode && mode != ini::GLOBAL);
        for line in global.chain(sectioned) {
            let origin = origin(line.number, &line.key);
            match keys::find(&line.key, Spelling::Either) {
                Named::Key(key) => self.add_line(key, String::new(), line, origin),
                Named::Entry(key, entry) => self.add_line(key, entry, line, origin),
                Named::Ignored => {}
                Named::Unknown(near) => self.warn_unknown(&mut unknown, origin, &line.key, near),
            }
        }
    }

    /// A line of `app.conf`; replaces an earlier one. Without a value it says nothing, as in beego.
    fn add_line(&mut self, key: &'static Key, entry: String, line: &ini::Line, origin: Origin) {
        let (value, unset) = self.expanded(&line.value);
        let value = value.trim().to_owned();
        self.warn_unset(&unset, &origin, key);
        if value.is_empty() {
            return;
        }
        let all = self.found.entry(key.name).or_default().entry(entry).or_default();
        let earlier = all.iter().position(|found| found.layer == Layer::AppConf).map(|at| all.remove(at));
        all.push(Found { layer: Layer::AppConf, value: Some(value.clone()), origin: origin.clone() });
        let differs = |found: &Found| !key.same(found.value.as_deref().unwrap_or_default(), &value);
        // A section overrides the global part on purpose; twice in one part is a slip.
        if let Some(earlier) = earlier.filter(|_| line.section == ini::GLOBAL).filter(differs) {
            let text = format!(
                "{} is set a second time; this one counts, not the one of {}",
                line.key, earlier.origin
            );
            self.warn(origin, text);
        }
    }

    fn read_yaml(&mut self, path: &Path, layer: Layer, inputs: &Inputs) {
        let Some(text) = self.read_file(path, inputs) else { return };
        let origin =
            |line, name: &str| Origin::File { path: displayed(path, inputs), line, name: name.to_owned() };
        let leaves = match yaml::parse(&text) {
            Ok(leaves) => leaves,
            Err(broken) => return self.refuse_source(origin(broken.line, ""), broken.message),
        };
        let mut unknown = 0;
        for leaf in leaves {
            let origin = origin(leaf.line, &leaf.key);
            let (key, entry) = match keys::find(&leaf.key, Spelling::Dotted) {
                Named::Key(key)
                    if key.kind == Kind::Map && leaf.value.as_deref().is_none_or(str::is_empty) =>
                {
                    continue;
                }
                Named::Key(key) if key.kind == Kind::Map => {
                    self.mistakes.push(Mistake {
                        origin,
                        key: key.name.to_owned(),
                        value: shown(&leaf.value.unwrap_or_default()),
                        expected: "write pairs below the key, one a line: zone: z1".to_owned(),
                    });
                    continue;
                }
                Named::Key(key) => (key, String::new()),
                Named::Entry(key, entry) => (key, entry),
                Named::Ignored => continue,
                Named::Unknown(near) => {
                    self.warn_unknown(&mut unknown, origin, &leaf.key, near);
                    continue;
                }
            };
            let value = leaf.value.map(|value| {
                let (value, unset) = self.expanded(&value);
                self.warn_unset(&unset, &origin, key);
                value
            });
            let value = value.and_then(|value| explicit(key, &value));
            self.add(key, entry, Found { layer, value, origin });
        }
    }

    fn expanded(&self, value: &str) -> (String, Vec<String>) {
        expand(value, &|name| self.variables.find(name))
    }

    fn warn_unset(&mut self, unset: &[String], origin: &Origin, key: &Key) {
        for name in unset {
            let text = format!(
                "{}: the variable {name:?} is not set and has no default (${{{name}||value}})",
                key.name
            );
            self.warn(origin.clone(), text);
        }
    }

    fn warn_unknown(&mut self, count: &mut usize, origin: Origin, name: &str, near: Option<String>) {
        *count += 1;
        match (*count).cmp(&(MAX_UNKNOWN + 1)) {
            std::cmp::Ordering::Less => {
                self.warn(origin, format!("{} is no known key{}", shown(name), suggestion(near, "")));
            }
            std::cmp::Ordering::Equal => self.warn(origin, "more unknown keys follow; they are not listed"),
            std::cmp::Ordering::Greater => {}
        }
    }

    fn read_file(&mut self, path: &Path, inputs: &Inputs) -> Option<String> {
        let origin = |line| Origin::File { path: displayed(path, inputs), line, name: String::new() };
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
                self.refuse_source(
                    origin(None),
                    "the file is larger than 1 MiB: this is no configuration file",
                );
                None
            }
            Ok(_) => match String::from_utf8(bytes) {
                Ok(text) => Some(text),
                Err(error) => {
                    let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
                    let line = good.filter(|byte| **byte == b'\n').count() + 1;
                    self.refuse_source(origin(Some(line)), "the file is not UTF-8");
                    None
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // Part of the path is a file: the same as not there.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => None,
            Err(error) => {
                self.refuse_source(origin(None), format!("cannot be read: {error}"));
                None
            }
        }
    }
}

/// An empty text is a value of a text key (`LOG_FILE=''` is standard output); for any other it means the default.
fn explicit(key: &Key, value: &str) -> Option<String> {
    let value = value.trim();
    let text = matches!(key.kind, Kind::Text | Kind::Secret | Kind::List);
    (text || !value.is_empty()).then(|| value.to_owned())
}

fn suggestion(near: Option<String>, dashes: &str) -> String {
    near.map(|near| format!("; did you mean {dashes}{near}?")).unwrap_or_default()
}

/// A path as an operator would write it: below the working directory, relative to it.
fn displayed(path: &Path, inputs: &Inputs) -> PathBuf {
    path.strip_prefix(&inputs.working_dir).map_or_else(|_| path.to_owned(), Path::to_owned)
}
