//! The contexts: named addresses with their settings, in `contexts.yaml`, and the token of each, in `tokens.yaml`.
//!
//! Both files are in the folder `service-center` of `$XDG_CONFIG_HOME` (`~/.config` without it). Only their owner may read them. A token
//! is kept with the address that has given it, and is sent there. `--all-nodes` sends it to the other nodes of the cluster, too.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::keys::write_new;
use super::failure::Failure;

const CONTEXTS: &str = "contexts.yaml";
const TOKENS: &str = "tokens.yaml";
/// A larger file is the wrong file.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contexts {
    /// The context in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    pub contexts: BTreeMap<String, Context>,
}

/// An address and how to speak to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Context {
    /// As `--addr`: several are separated by commas.
    pub addr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_file: Option<PathBuf>,
    /// The certificate of the node is not checked.
    pub insecure: bool,
    /// A change needs the name of the context.
    pub protected: bool,
}

/// A token. It has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedToken {
    /// The `addr` of the context when the token was given.
    pub addr: String,
    pub account: String,
    pub token: String,
}

/// The folder of the two files.
#[derive(Clone, Debug)]
pub struct ConfigFolder(PathBuf);

impl ConfigFolder {
    /// `None`: the environment names neither `XDG_CONFIG_HOME` nor `HOME`, so nothing is kept.
    pub fn of(environment: &BTreeMap<String, String>) -> Option<Self> {
        let named = |name: &str| environment.get(name).filter(|path| Path::new(path).is_absolute());
        let base = named("XDG_CONFIG_HOME").map(PathBuf::from);
        let base = base.or_else(|| named("HOME").map(|home| Path::new(home).join(".config")))?;
        Some(Self(base.join("service-center")))
    }

    pub fn contexts(&self) -> Result<Contexts, Failure> {
        self.read(CONTEXTS)
    }

    pub fn write_contexts(&self, contexts: &Contexts) -> Result<(), Failure> {
        self.write(CONTEXTS, contexts).map(drop)
    }

    /// The tokens by the names of their contexts. Fails if other users may read them.
    pub fn tokens(&self) -> Result<BTreeMap<String, SavedToken>, Failure> {
        let path = self.0.join(TOKENS);
        if fs::metadata(&path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
            let path = path.display();
            return Err(Failure::usage(format!(
                "{path}: other users may read the tokens in this file; run chmod 600 '{path}'"
            )));
        }
        self.read(TOKENS)
    }

    /// Returns the path of the file.
    pub fn write_tokens(&self, tokens: &BTreeMap<String, SavedToken>) -> Result<PathBuf, Failure> {
        self.write(TOKENS, tokens)
    }

    fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Failure> {
        let path = self.0.join(name);
        let failed = |why: String| Failure::usage(format!("{}: {why}", path.display()));
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
            Ok(metadata) if metadata.len() > MAX_BYTES => {
                return Err(failed("the file is longer than 1 MiB".to_owned()));
            }
            _ => {}
        }
        let text = fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
        // The error of the parser may quote the file, which may hold a token.
        serde_yaml_ng::from_str(&text).map_err(|error| {
            let place = error.location().map(|at| format!("line {}: ", at.line())).unwrap_or_default();
            failed(format!("{place}the file has not the form that this command writes; correct or remove it"))
        })
    }

    /// Replaces a file at once, so that a reader never sees half of it.
    fn write(&self, name: &str, value: &impl Serialize) -> Result<PathBuf, Failure> {
        let path = self.0.join(name);
        let failed = |why: String| Failure::usage(format!("{}: {why}", path.display()));
        let text = serde_yaml_ng::to_string(value).map_err(|error| failed(error.to_string()))?;
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.0).map_err(|error| failed(error.to_string()))?;
        let new = self.0.join(format!("{name}.{}", std::process::id()));
        write_new(&new, &text).map_err(Failure::usage)?;
        fs::rename(&new, &path).map_err(|error| failed(error.to_string()))?;
        Ok(path)
    }
}
