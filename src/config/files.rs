//! Reads the files among the sources: `.env`, `app.conf`, `app.yaml` and `syncer.yaml`. Warns about keys that are not known.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use super::expand::expand;
use super::inputs::Inputs;
use super::keys::{self, ConfigKey, NamedKey, Spelling, ValueKind};
use super::origin::{Mistake, ValueOrigin, shown};
use super::sources::{FoundValue, Layer, Sources, explicit, suggestion};
use super::{dot_env, ini, yaml};

/// A configuration file has a page or two. A larger one is the wrong file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How many unknown names of a file are reported.
const MAX_UNKNOWN: usize = 20;

/// The run mode of beego if no source sets one. It decides which section of `app.conf` is read.
const DEFAULT_RUN_MODE: &str = "prod";

impl Sources {
    pub(super) fn read_dot_env(&mut self, inputs: &Inputs) {
        let path = inputs.working_dir.join(".env");
        let Some(file) = self.read_file(&path, inputs) else { return };
        let origin = |line, name: &str| ValueOrigin::File {
            path: inputs.displayed(&path),
            line,
            name: name.to_owned(),
        };
        let (settings, skipped) = dot_env::parse(&file.text);
        for line in skipped {
            // Other programs may read this file and understand the line. Show only the name: the line may hold a password.
            if key_of_variable(&line.name).is_some() {
                let text = format!(
                    "{} is not read; write NAME=value, with quotes around a value that has spaces or #",
                    shown(&line.name)
                );
                self.warn(origin(line.number, &line.name), text);
            }
        }
        for (name, value) in settings {
            if file.is_not_utf8_in(&value) {
                if let Some(key) = key_of_variable(&name) {
                    self.refuse_value_not_utf8(origin(dot_env::line_of(&file.text, &name), &name), key);
                }
                continue;
            }
            // If a variable is set twice, the first value counts, as in dotenvy.
            self.variables.dot_env.entry(name).or_insert(value);
        }
        let names: Vec<String> = keys::all().filter(|key| key.is_read()).map(ConfigKey::env_name).collect();
        let unknown: Vec<(String, String)> = self
            .variables
            .dot_env
            .keys()
            .filter(|name| key_of_variable(name).is_none())
            .filter_map(|name| {
                // .env may hold variables of other programs. Warn only if the name is close to a known one.
                let near = super::nearest::nearest(name, names.iter().map(String::as_str))?;
                (near.len() > 6 && near.len().abs_diff(name.len()) <= 2)
                    .then(|| (name.clone(), near.to_owned()))
            })
            .take(MAX_UNKNOWN)
            .collect();
        for (name, near) in unknown {
            self.warn(origin(None, &name), format!("{name} is not a known variable; did you mean {near}?"));
        }
    }

    pub(super) fn read_app_conf(&mut self, conf: &Path, inputs: &Inputs) {
        let mode = self.variables.find("BEEGO_RUNMODE").filter(|mode| !mode.is_empty());
        let own =
            mode.as_ref().map(|mode| conf.join(format!("{mode}.app.conf"))).filter(|path| path.is_file());
        let path = own.unwrap_or_else(|| conf.join("app.conf"));
        let Some(file) = self.read_file(&path, inputs) else { return };
        let origin = |line, name: &str| ValueOrigin::File {
            path: inputs.displayed(&path),
            line: Some(line),
            name: name.to_owned(),
        };
        let (lines, bad) = ini::parse(&file.text);
        for bad in bad {
            // Show only the first word: the rest may be a password.
            let word = bad.text.split([' ', '\t', ':']).next().unwrap_or_default();
            self.refuse_source(origin(bad.number, ""), format!("\"{} …\": {}", shown(word), bad.expected));
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
                let text =
                    format!("section [{}] is not read, because the run mode is {mode}", shown(&line.section));
                self.warn(origin(line.number, ""), text);
            }
        }
        let mut unknown = 0;
        // The section of the run mode overrides the global part, wherever it is in the file.
        let global = lines.iter().filter(|line| line.section == ini::GLOBAL);
        let sectioned = lines.iter().filter(|line| line.section == mode && mode != ini::GLOBAL);
        for line in global.chain(sectioned) {
            let origin = origin(line.number, &line.key);
            match keys::find(&line.key, Spelling::Either) {
                NamedKey::Key(key) | NamedKey::Entry(key, _) if file.is_not_utf8_in(&line.value) => {
                    self.refuse_value_not_utf8(origin, key);
                }
                NamedKey::Key(key) => self.add_line(key, String::new(), line, origin),
                NamedKey::Entry(key, entry) => self.add_line(key, entry, line, origin),
                NamedKey::Ignored => {}
                NamedKey::Unknown => self.warn_unknown(&mut unknown, origin, &line.key, Spelling::Either),
            }
        }
    }

    /// Adds a line of `app.conf`. It replaces an earlier line with the same key. A line without a value is ignored, as in beego.
    fn add_line(&mut self, key: &'static ConfigKey, entry: String, line: &ini::IniLine, origin: ValueOrigin) {
        let (value, unset) = self.expanded(&line.value);
        let value = value.trim().to_owned();
        self.warn_unset(&unset, &origin, key);
        if value.is_empty() {
            return;
        }
        let all = self.found.entry(key.name).or_default().entry(entry).or_default();
        let earlier = all.iter().position(|found| found.layer == Layer::AppConf).map(|at| all.remove(at));
        all.push(FoundValue { layer: Layer::AppConf, value: Some(value.clone()), origin: origin.clone() });
        let differs = |found: &FoundValue| !key.same(found.value.as_deref().unwrap_or_default(), &value);
        // A section overrides the global part on purpose. Two lines in one part are probably a mistake.
        if let Some(earlier) = earlier.filter(|_| line.section == ini::GLOBAL).filter(differs) {
            let text =
                format!("{} is set twice; the value here is used, not that of {}", line.key, earlier.origin);
            self.warn(origin, text);
        }
    }

    pub(super) fn read_yaml(&mut self, path: &Path, layer: Layer, inputs: &Inputs) {
        let Some(file) = self.read_file(path, inputs) else { return };
        let origin = |line, name: &str| ValueOrigin::File {
            path: inputs.displayed(path),
            line,
            name: name.to_owned(),
        };
        let leaves = match yaml::parse(&file.text) {
            Ok(leaves) => leaves,
            Err(broken) => return self.refuse_source(origin(broken.line, ""), broken.message),
        };
        let mut unknown = 0;
        for leaf in leaves {
            let origin = origin(leaf.line, &leaf.key);
            let is_not_utf8 = leaf.value.as_ref().is_some_and(|value| file.is_not_utf8_in(value));
            let (key, entry) = match keys::find(&leaf.key, Spelling::Dotted) {
                NamedKey::Key(key) | NamedKey::Entry(key, _) if is_not_utf8 => {
                    self.refuse_value_not_utf8(origin, key);
                    continue;
                }
                NamedKey::Key(key)
                    if key.kind == ValueKind::Map && leaf.value.as_deref().is_none_or(str::is_empty) =>
                {
                    continue;
                }
                NamedKey::Key(key) if key.kind == ValueKind::Map => {
                    self.mistakes.push(Mistake {
                        origin,
                        key: key.name.to_owned(),
                        value: shown(&leaf.value.unwrap_or_default()),
                        expected: "write pairs below the key, one on each line, such as zone: z1".to_owned(),
                    });
                    continue;
                }
                NamedKey::Key(key) => (key, String::new()),
                NamedKey::Entry(key, entry) => (key, entry),
                NamedKey::Ignored => continue,
                // For example `cluster:` with nothing below it.
                NamedKey::Unknown if leaf.value.is_none() && keys::is_parent(&leaf.key) => continue,
                NamedKey::Unknown => {
                    self.warn_unknown(&mut unknown, origin, &leaf.key, Spelling::Dotted);
                    continue;
                }
            };
            let value = leaf.value.map(|value| {
                let (value, unset) = self.expanded(&value);
                self.warn_unset(&unset, &origin, key);
                value
            });
            let value = value.and_then(|value| explicit(key, &value));
            self.add(key, entry, FoundValue { layer, value, origin });
        }
    }

    fn expanded(&self, value: &str) -> (String, Vec<String>) {
        expand(value, &|name| self.variables.find(name))
    }

    fn warn_unset(&mut self, unset: &[String], origin: &ValueOrigin, key: &ConfigKey) {
        for name in unset {
            let text = format!(
                "{}: the variable {name:?} is not set; set it, or write a default: ${{{name}||value}}",
                key.name
            );
            self.warn(origin.clone(), text);
        }
    }

    fn warn_unknown(&mut self, count: &mut usize, origin: ValueOrigin, name: &str, spelling: Spelling) {
        *count += 1;
        match (*count).cmp(&(MAX_UNKNOWN + 1)) {
            std::cmp::Ordering::Less => {
                let near = suggestion(keys::nearest_key(name, spelling), "");
                self.warn(origin, format!("{} is not a known key{near}", shown(name)));
            }
            std::cmp::Ordering::Equal => {
                self.warn(origin, "there are more unknown keys, which are not listed")
            }
            std::cmp::Ordering::Greater => {}
        }
    }

    fn read_file(&mut self, path: &Path, inputs: &Inputs) -> Option<FileText> {
        let origin = || ValueOrigin::File { path: inputs.displayed(path), line: None, name: String::new() };
        let mut bytes = Vec::new();
        let read =
            std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
                self.refuse_source(
                    origin(),
                    "the file is larger than 1 MiB, so it is not a configuration file",
                );
                None
            }
            Ok(_) => Some(FileText::new(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // A part of the path is a file instead of a folder. The same as no file.
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => None,
            Err(error) => {
                self.refuse_source(origin(), format!("cannot be read: {error}"));
                None
            }
        }
    }

    fn refuse_value_not_utf8(&mut self, origin: ValueOrigin, key: &ConfigKey) {
        self.mistakes.push(Mistake {
            origin,
            key: key.name.to_owned(),
            value: String::new(),
            expected: "the value is not valid UTF-8; save the file as UTF-8".to_owned(),
        });
    }
}

/// The key that a variable sets.
fn key_of_variable(name: &str) -> Option<&'static ConfigKey> {
    keys::all().find(|key| key.env_name() == name || key.dotted_env_name() == name)
}

/// The text of a file. Bytes that are not valid UTF-8 are replaced, because comments are often in GBK. A replaced byte in a value
/// that is read is a mistake.
struct FileText {
    text: String,
    is_not_utf8: bool,
}

impl FileText {
    fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, is_not_utf8: false },
            Err(error) => {
                Self { text: String::from_utf8_lossy(error.as_bytes()).into_owned(), is_not_utf8: true }
            }
        }
    }

    /// Whether bytes in this part of the text were replaced.
    fn is_not_utf8_in(&self, part: &str) -> bool {
        self.is_not_utf8 && part.contains(char::REPLACEMENT_CHARACTER)
    }
}
