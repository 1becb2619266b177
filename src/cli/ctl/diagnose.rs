//! `diagnose`: compares what a node shows with what its store holds.

use clap::Args;
use serde_json::{Value, json};

use super::each_node::{self, Answers, Extent};
use super::failure::{Failure, NO};
use super::output::{items, shown, text};
use super::session::Session;
use super::with_etcd::{self, EtcdFlags};
use crate::config::logging::printable;

/// Compare what the node shows with what the store holds. Exit code 1: they differ
#[derive(Args)]
pub struct Diagnose {
    #[arg(long, help = each_node::HELP, conflicts_with = "etcd_addr")]
    all_nodes: bool,
    #[command(flatten)]
    etcd: EtcdFlags,
}

/// The groups of entries, in the order and with the headings of the original.
const GROUPS: [(&str, &str); 3] = [
    ("onlyHere", "found in cache but not in etcd"),
    ("different", "found different between cache and etcd"),
    ("onlyThere", "found in etcd but not in cache"),
];

impl Diagnose {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        // As in the original, the variable alone is enough.
        let etcd = self.etcd.config(session).map_err(Failure::usage)?.filter(|_| !self.all_nodes);
        let answers = match etcd {
            Some(etcd) => {
                let entries = with_etcd::compare(session, &etcd).await?;
                Answers { of_nodes: vec![(session.client.address(), entries)], failure: None }
            }
            None => {
                each_node::pages(session, Extent::new(self.all_nodes), "admin/diagnose", &[], None).await?
            }
        };
        let report = |(node, entries): &(String, Vec<Value>)| json!({"node": node, "entries": entries});
        let reports: Vec<Value> = answers.of_nodes.iter().map(report).collect();
        let is_equal = reports.iter().all(|report| items(report, "/entries").is_empty());
        let output = session.output;
        if output.is_text() {
            reports.iter().for_each(|report| print(session, report, self.all_nodes));
        } else {
            output.value(session.terminal, &Value::Array(reports))?;
        }
        answers.complete()?;
        if is_equal { Ok(()) } else { Err(Failure::silent(NO)) }
    }
}

/// Prints the entries on standard output and a summary on standard error, as the original does. If nothing differs, the original
/// prints nothing.
fn print(session: &mut Session<'_, '_>, report: &Value, is_named: bool) {
    let entries = items(report, "/entries");
    if is_named {
        let verdict =
            if entries.is_empty() { "shows what the store holds" } else { "differs from the store" };
        session.terminal.say(&printable(&format!("{}: {verdict}", text(report, "/node"))));
    }
    let mut summary = Vec::new();
    for (difference, heading) in GROUPS {
        let mut group = entries.iter().filter(|entry| text(entry, "/difference") == difference).peekable();
        if group.peek().is_none() {
            continue;
        }
        summary.push(format!("{}. {heading}", summary.len() + 1));
        session.terminal.say(&format!("{}. {heading}, details:", summary.len()));
        for entry in group {
            session.terminal.say(&printable(&format!("  {}", entry_line(entry))));
        }
    }
    if !summary.is_empty() {
        session.note(&format!("error: {}", summary.join(" ")));
    }
}

/// `  instance: /cse-sr/inst/files/default/default/S/I (revision 7 here, 9 in the store)`.
fn entry_line(entry: &Value) -> String {
    let (key, name) = (text(entry, "/key"), text(entry, "/name"));
    let name = if name.is_empty() { String::new() } else { format!("{name} ") };
    let kind = match key {
        _ if key.starts_with("/cse-sr/ms/files/") => "service: ",
        _ if key.starts_with("/cse-sr/inst/files/") => "instance: ",
        _ => "",
    };
    let revisions =
        [("/revisionHere", "here"), ("/revisionThere", "in the store")].map(|(pointer, place)| {
            let revision = shown(entry, pointer);
            if matches!(revision.as_str(), "" | "0") { String::new() } else { format!("{revision} {place}") }
        });
    let revisions: Vec<&str> = revisions.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    let revisions =
        if revisions.is_empty() { String::new() } else { format!(" (revision {})", revisions.join(", ")) };
    format!("{kind}{name}{key}{revisions}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_in_a_line() {
        let entry = json!({"key": "/cse-sr/inst/files/d/p/s/i", "revisionHere": 7, "revisionThere": 9});
        assert_eq!(
            entry_line(&entry),
            "instance: /cse-sr/inst/files/d/p/s/i (revision 7 here, 9 in the store)"
        );
        assert_eq!(entry_line(&json!({"key": "/cse-sr/x"})), "/cse-sr/x");
    }
}
