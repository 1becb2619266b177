//! `context`.

use std::collections::BTreeMap;

use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};

use super::super::terminal::Terminal;
use super::client::Address;
use super::contexts::ConfigFolder;
use super::failure::Failure;
use super::options::GlobalOptions;
use super::output::{Column, Listing, Output, column, shown};

/// Name addresses with their settings, and choose between them
#[derive(Args)]
pub struct ContextCommand {
    #[command(subcommand)]
    what: ContextKind,
}

#[derive(Subcommand)]
enum ContextKind {
    /// List the contexts
    List,
    /// Choose the context that commands without --context use
    Use {
        /// Name of the context
        name: String,
    },
    /// Make a context, or change one: with --addr, --domain, --project, --ca, --cert, --key, --pass-file and --insecure
    Set {
        /// Name of the context
        name: String,
        /// Whether a change asks for the name of the context, also with --yes
        #[arg(long, value_name = "WHETHER", num_args = 0..=1, default_missing_value = "true", action = ArgAction::Set)]
        protected: Option<bool>,
    },
}

impl ContextCommand {
    /// Speaks to no node.
    pub fn run(
        self,
        options: &GlobalOptions,
        environment: &BTreeMap<String, String>,
        output: Output,
        terminal: &mut Terminal<'_>,
    ) -> Result<(), Failure> {
        let folder = ConfigFolder::of(environment).ok_or_else(|| {
            Failure::usage("there is no place for contexts: set XDG_CONFIG_HOME or HOME to a folder")
        })?;
        match self.what {
            ContextKind::List => list(&folder, output, terminal),
            ContextKind::Use { name } => {
                let mut contexts = folder.contexts()?;
                if !contexts.contexts.contains_key(&name) {
                    return Err(Failure::no(format!(
                        "there is no context '{name}'; `context set` makes one"
                    )));
                }
                contexts.current = Some(name);
                folder.write_contexts(&contexts)
            }
            ContextKind::Set { name, protected } => set(&folder, &name, protected, options),
        }
    }
}

fn list(folder: &ConfigFolder, output: Output, terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let contexts = folder.contexts()?;
    let tokens = folder.tokens()?;
    let item = |(name, context): (&String, &super::contexts::Context)| {
        let account = tokens.get(name).filter(|saved| saved.addr == context.addr).map(|saved| &saved.account);
        json!({
            "name": name, "current": contexts.current.as_ref() == Some(name), "addr": context.addr,
            "domain": context.domain, "project": context.project, "protected": context.protected, "account": account,
        })
    };
    let items = contexts.contexts.iter().map(item).collect();
    let mark = |item: &Value, pointer: &str, mark: &str| {
        if item.pointer(pointer) == Some(&Value::Bool(true)) { mark.to_owned() } else { String::new() }
    };
    let columns = vec![
        Column("CURRENT", Box::new(move |item| mark(item, "/current", "*"))),
        column("NAME", "/name"),
        column("ADDRESS", "/addr"),
        column("DOMAIN", "/domain"),
        column("PROJECT", "/project"),
        Column("PROTECTED", Box::new(move |item| mark(item, "/protected", "yes"))),
        column("ACCOUNT", "/account"),
    ];
    output.list(terminal, &Listing { columns, items, name: |item| shown(item, "/name") })
}

fn set(
    folder: &ConfigFolder,
    name: &str,
    protected: Option<bool>,
    options: &GlobalOptions,
) -> Result<(), Failure> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Failure::usage(
            "the name of a context has at least one character, and no control characters",
        ));
    }
    if options.token.is_some() || options.token_file.is_some() || options.pass.is_some() {
        return Err(Failure::usage(
            "a context keeps no token and no password that is given as an option; use `login` and --pass-file",
        ));
    }
    let mut contexts = folder.contexts()?;
    let context = contexts.contexts.entry(name.to_owned()).or_default();
    if let Some(addr) = &options.addr {
        for address in addr.split(',') {
            Address::parse(address.trim()).map_err(Failure::usage)?;
        }
        context.addr.clone_from(addr);
    }
    if context.addr.is_empty() {
        return Err(Failure::usage(format!("the context '{name}' is new and needs an address: --addr URL")));
    }
    let replace = |old: &mut Option<String>, new: &Option<String>| {
        if new.is_some() {
            old.clone_from(new);
        }
    };
    replace(&mut context.domain, &options.domain);
    replace(&mut context.project, &options.project);
    for (old, new) in [
        (&mut context.ca, &options.ca),
        (&mut context.cert, &options.cert),
        (&mut context.key, &options.key),
        (&mut context.pass_file, &options.pass_file),
    ] {
        if let Some(path) = new {
            // Commands run in other folders.
            let path = std::path::absolute(path).map_err(|error| Failure::usage(error.to_string()))?;
            *old = Some(path);
        }
    }
    context.insecure = (context.insecure || options.insecure) && !options.peer;
    context.protected = protected.unwrap_or(context.protected);
    contexts.current.get_or_insert_with(|| name.to_owned());
    folder.write_contexts(&contexts)
}
