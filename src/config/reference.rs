//! Makes `conf/app.conf` and the tables of `docs/configuration.md` from the table of keys.
//!
//! Only a test calls it: it compares the files with these texts, or writes them. It is here because the table is not public.

use super::keys::table::GROUPS;
use super::keys::{ConfigKey, KeyStanding, ValueKind, foreign};

/// The line of `docs/configuration.md` before the tables.
pub const TABLES_BEGIN: &str = "<!-- tables: made from the table of keys, do not edit -->";

/// The line after the tables.
pub const TABLES_END: &str = "<!-- end of tables -->";

const APP_CONF_HEAD: &str = r#"# Configuration of service-center. Each line shows a key with its default, commented out.
# Format: key = value. A comment is a line of its own. Quotes around a value are dropped. ${NAME} and ${NAME||value} are
# replaced by the variable of the environment. `service-center check-config` shows each effective value and its source.
# docs/configuration.md describes everything. "The reference" is Apache ServiceComb Service-Center, whose files are read as
# they are.
#
# For a cluster, remove the # of these two lines on each node, and write the address of the node and the addresses of etcd.
# Nothing else is needed.

# httpaddr = 10.12.0.1
# manager_cluster = "10.12.0.4:2379,10.12.0.5:2379"

"#;

/// The text of `conf/app.conf`.
pub fn app_conf() -> String {
    let mut out = APP_CONF_HEAD.to_owned();
    for group in GROUPS {
        out.push_str(&format!("\n# ---- {} ----\n", group.title));
        for key in group.keys {
            out.push('\n');
            for line in wrapped(key.effect, 116) {
                out.push_str(&format!("# {line}\n"));
            }
            if let Some(derived) = key.derived {
                out.push_str(&format!("# If it is not set: {derived}.\n"));
            }
            let name = key.old.unwrap_or(key.name);
            match key.kind {
                ValueKind::Map => out.push_str(&format!("# {name}.zone = z1\n")),
                _ => out.push_str(format!("# {name} = {}", key.default).trim_end()),
            }
            if key.kind != ValueKind::Map {
                out.push('\n');
            }
        }
    }
    out
}

/// The tables of `docs/configuration.md`.
pub fn tables() -> String {
    let mut out = String::new();
    for group in GROUPS {
        out.push_str(&format!("\n### {}\n\n", group.title));
        out.push_str("| key | `app.conf` | environment | type | default | the reference ships | effect |\n");
        out.push_str("|---|---|---|---|---|---|---|\n");
        for key in group.keys {
            out.push_str(&row(key));
        }
    }
    out.push_str("\n### Keys of the reference that are not read\n\n");
    out.push_str("| key | `app.conf` | environment | what it is | what happens if it is set |\n|---|---|---|---|---|\n");
    for key in foreign::KEYS {
        let standing = match key.standing {
            KeyStanding::Refused(why) => format!("the daemon does not start: {why}"),
            KeyStanding::Without(why) => format!("a warning: {why}"),
            KeyStanding::Silent | KeyStanding::Read | KeyStanding::Ours => "nothing".to_owned(),
        };
        let old = key.old_name();
        out.push_str(&format!(
            "| `{}` | `{old}` | `{}` | {} | {} |\n",
            key.name,
            key.env_name(),
            cell(key.effect),
            cell(&standing)
        ));
    }
    out.push('\n');
    out
}

fn row(key: &ConfigKey) -> String {
    let default = match (key.default, key.derived) {
        ("", Some(derived)) => derived.to_owned(),
        ("", None) => "none".to_owned(),
        (value, _) => format!("`{value}`"),
    };
    let shipped = match (key.shipped.first(), key.standing) {
        (_, KeyStanding::Ours) => "no such key".to_owned(),
        (None, _) => "not in the file".to_owned(),
        (Some(&""), _) => "empty".to_owned(),
        (Some(value), _) => format!("`{}`", value.replace(',', ", ")),
    };
    let env =
        if key.kind == ValueKind::Map { format!("{}_NAME", key.dotted_env_name()) } else { key.env_name() };
    let (name, old) = match key.kind {
        ValueKind::Map => (format!("{}.NAME", key.name), format!("{}.NAME", key.name)),
        _ => (key.name.to_owned(), key.old_name()),
    };
    let (kind, effect) = (kind(key), cell(key.effect));
    format!("| `{name}` | `{old}` | `{env}` | {kind} | {default} | {shipped} | {effect} |\n")
}

fn kind(key: &ConfigKey) -> String {
    match key.kind {
        ValueKind::Text => "text".to_owned(),
        ValueKind::Secret => "text, secret".to_owned(),
        ValueKind::Choice(words) => words.join(", "),
        ValueKind::Switch => "true or false".to_owned(),
        ValueKind::Integer(min, u64::MAX) => format!("number from {min}"),
        ValueKind::Integer(min, max) => format!("number, {min} to {max}"),
        ValueKind::Duration(0, _) => "duration".to_owned(),
        ValueKind::Duration(min, max) => format!("duration, {} to {}", span(min), span(max)),
        ValueKind::Ratio => "number above 0, at most 1".to_owned(),
        ValueKind::List => "comma list".to_owned(),
        ValueKind::Cron => "cron".to_owned(),
        ValueKind::Map => "text".to_owned(),
    }
}

fn span(milliseconds: u64) -> String {
    match milliseconds {
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Breaks a text between words into lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
