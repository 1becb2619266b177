//! `diagnose`: compares what a node shows with what its store holds.

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Address, Client, Target};
use super::failure::{Failure, NO};
use super::output::{items, shown, text};
use super::session::Session;
use super::with_etcd::{self, EtcdFlags};
use crate::config::logging::printable;

/// Compare what the node shows with what the store holds. Exit code 1: they differ
#[derive(Args)]
pub struct Diagnose {
    /// Ask each node of the cluster
    #[arg(long, conflicts_with = "etcd_addr")]
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
        let mut reports = Vec::new();
        let mut failure = None;
        // As in the original, the variable alone is enough.
        if let Some(etcd) = self.etcd.config(session).map_err(Failure::usage)?.filter(|_| !self.all_nodes) {
            let entries = with_etcd::compare(session, &etcd).await?;
            reports.push(json!({"node": session.client.address(), "entries": entries}));
        } else if self.all_nodes {
            // Nodes of the original answer nothing of this.
            let nodes = session.pages("admin/nodes", &[], None).await?;
            for node in nodes.iter().filter(|node| node.get("ours") != Some(&Value::Bool(false))) {
                let endpoint = shown(node, "/endpoint");
                match ask(session, &endpoint).await {
                    Ok(entries) => reports.push(json!({"node": endpoint, "entries": entries})),
                    Err(why) => {
                        session.note(&format!("error: {endpoint}: {}", why.text));
                        failure = Some(why);
                    }
                }
            }
        } else {
            let entries = session.pages("admin/diagnose", &[], None).await?;
            reports.push(json!({"node": session.client.address(), "entries": entries}));
        }
        let is_equal = reports.iter().all(|report| items(report, "/entries").is_empty());
        let output = session.output;
        if output.is_text() {
            reports.iter().for_each(|report| print(session, report, self.all_nodes));
        } else {
            output.value(session.terminal, &Value::Array(reports))?;
        }
        match failure {
            Some(failure) => Err(Failure::silent(failure.code)),
            None if is_equal => Ok(()),
            None => Err(Failure::silent(NO)),
        }
    }
}

/// Asks another node, with the token and the certificates of this one.
async fn ask(session: &mut Session<'_, '_>, endpoint: &str) -> Result<Vec<Value>, Failure> {
    let address = node_address(endpoint).map_err(Failure::unreachable)?;
    let old = session.client.target();
    // A token never goes from an encrypted connection to a plain one.
    let may_send = address.is_https || old.addresses.iter().all(|old| !old.is_https);
    let target = Target {
        addresses: vec![address],
        tls: Arc::clone(&old.tls),
        token: old.token.clone().filter(|_| may_send),
        domain: old.domain.clone(),
        timeout: old.timeout,
    };
    let first = std::mem::replace(&mut session.client, Client::new(target));
    let entries = session.pages("admin/diagnose", &[], None).await;
    session.client = first;
    entries
}

/// The address in the endpoint of a node: `rest://10.12.0.1:30100/?sslEnabled=true` is HTTPS.
fn node_address(endpoint: &str) -> Result<Address, String> {
    let (address, parameters) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let is_https = parameters.split('&').any(|parameter| parameter == "sslEnabled=true");
    Address::parse(&format!("{}://{address}", if is_https { "https" } else { "http" }))
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
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_asked_at_their_endpoints() {
        for (endpoint, expected) in [
            ("rest://10.12.0.1:30100", "http://10.12.0.1:30100"),
            ("rest://10.12.0.1:30100/", "http://10.12.0.1:30100"),
            ("rest://sc.test:1/?sslEnabled=true", "https://sc.test:1"),
        ] {
            assert_eq!(node_address(endpoint).unwrap().to_string(), expected);
        }
    }

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
