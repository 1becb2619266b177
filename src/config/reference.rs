//! The texts made from the table of keys: `conf/app.conf` and the tables of `docs/configuration.md`. A test keeps the files
//! equal to them.

use super::keys::table::GROUPS;
use super::keys::{Key, Kind, Standing, foreign};

/// The line after which the tables of `docs/configuration.md` stand.
pub const TABLES_BEGIN: &str = "<!-- tables: made from the table of keys, do not edit -->";

/// The line before which they end.
pub const TABLES_END: &str = "<!-- end of tables -->";

const APP_CONF_HEAD: &str = r#"# Configuration of service-center. Every line is a default, commented out: a key that is not set has the value shown.
# Format: key = value; a comment begins a line; quotes around a value are dropped; ${NAME} and ${NAME||value} are replaced by
# the environment's. `service-center check-config` shows what counts, and where it comes from; docs/configuration.md says more.
# "The reference" is Apache ServiceComb Service-Center, whose files this server reads as they are.
#
# A cluster: on each node remove the # of these two lines, with that node's address and with those of etcd.
# Nothing else is needed.

# httpaddr = 10.12.0.1
# manager_cluster = "10.12.0.4:2379,10.12.0.5:2379"

"#;

/// The shipped `conf/app.conf`.
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
                out.push_str(&format!("# Not set: {derived}.\n"));
            }
            let name = key.old.unwrap_or(key.name);
            match key.kind {
                Kind::Map => out.push_str(&format!("# {name}.zone = z1\n")),
                _ => out.push_str(format!("# {name} = {}", key.default).trim_end()),
            }
            if key.kind != Kind::Map {
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
            Standing::Refused(why) => format!("no start: {why}"),
            Standing::Without(why) => format!("a warning: {why}"),
            Standing::Silent | Standing::Read | Standing::Ours => "nothing".to_owned(),
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

fn row(key: &Key) -> String {
    let default = match (key.default, key.derived) {
        ("", Some(derived)) => derived.to_owned(),
        ("", None) => "none".to_owned(),
        (value, _) => format!("`{value}`"),
    };
    let shipped = match (key.shipped.first(), key.standing) {
        (_, Standing::Ours) => "not its key".to_owned(),
        (None, _) => "not in the file".to_owned(),
        (Some(&""), _) => "empty".to_owned(),
        (Some(value), _) => format!("`{}`", value.replace(',', ", ")),
    };
    let env = if key.kind == Kind::Map { format!("{}_NAME", key.dotted_env_name()) } else { key.env_name() };
    let (name, old) = match key.kind {
        Kind::Map => (format!("{}.NAME", key.name), format!("{}.NAME", key.name)),
        _ => (key.name.to_owned(), key.old_name()),
    };
    let (kind, effect) = (kind(key), cell(key.effect));
    format!("| `{name}` | `{old}` | `{env}` | {kind} | {default} | {shipped} | {effect} |\n")
}

fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Text => "text".to_owned(),
        Kind::Secret => "text, secret".to_owned(),
        Kind::Choice(words) => words.join(", "),
        Kind::Switch => "true or false".to_owned(),
        Kind::Integer(min, u64::MAX) => format!("number from {min}"),
        Kind::Integer(min, max) => format!("number, {min} to {max}"),
        Kind::Duration(0, _) => "duration".to_owned(),
        Kind::Duration(min, max) => format!("duration, {} to {}", span(min), span(max)),
        Kind::Ratio => "number above 0, at most 1".to_owned(),
        Kind::List => "comma list".to_owned(),
        Kind::Cron => "cron".to_owned(),
        Kind::Map => "text".to_owned(),
    }
}

fn span(milliseconds: u64) -> String {
    match milliseconds {
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// A text for a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A text in lines of at most `width` characters, cut between words.
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
