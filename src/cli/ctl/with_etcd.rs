//! `diagnose --etcd-addr`: compares the dump of a node with etcd, as the original does. The one command that speaks to etcd.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use super::names::service_name;
use super::output::{items, shown, text};
use super::session::Session;
use crate::app::{StoredEntry, stored};
use crate::config::{EtcdConfig, EtcdEndpoint, EtcdTls, Scheme};

/// Where services and instances are in etcd. The original compares these.
const PREFIXES: [&str; 2] = ["/cse-sr/ms/files/", "/cse-sr/inst/files/"];
/// A comparison waits so long for each request to etcd.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub struct EtcdFlags {
    /// Addresses of etcd, separated by commas: compare the dump of the node with etcd. Default: $CSE_REGISTRY_ADDRESS; without both, the
    /// node compares itself with its store
    #[arg(long, value_name = "URLS")]
    etcd_addr: Option<String>,
    /// File with the certificates of the CAs of etcd. Default: $SSL_ROOT/trust.cer
    #[arg(long, value_name = "FILE")]
    etcd_ca: Option<PathBuf>,
    /// File with a certificate for etcd. Default: $SSL_ROOT/server.cer
    #[arg(long, value_name = "FILE")]
    etcd_cert: Option<PathBuf>,
    /// File with the private key for etcd. Default: $SSL_ROOT/server_key.pem
    #[arg(long, value_name = "FILE")]
    etcd_key: Option<PathBuf>,
    /// Is rejected: write the password into a file, and name it with --etcd-pass-file
    #[arg(long, value_name = "PASSWORD", hide = true)]
    etcd_pass: Option<String>,
    /// File with the password of the private key for etcd. Default: $SSL_ROOT/cert_pwd
    #[arg(long, value_name = "FILE")]
    etcd_pass_file: Option<PathBuf>,
}

impl EtcdFlags {
    /// `None`: neither the option nor the variable names etcd.
    pub fn config(&self, session: &Session<'_, '_>) -> Result<Option<EtcdConfig>, String> {
        let variable = |name: &str| session.environment.get(name).filter(|value| !value.is_empty()).cloned();
        let Some(addresses) = self.etcd_addr.clone().or_else(|| variable("CSE_REGISTRY_ADDRESS")) else {
            return Ok(None);
        };
        if self.etcd_pass.is_some() {
            return Err("a password is not taken from the command line, where all users of the machine can read it; write it into a \
                        file, and name the file with --etcd-pass-file"
                .to_owned());
        }
        let endpoints = addresses.split(',').map(str::trim).filter(|it| !it.is_empty());
        let endpoints: Vec<EtcdEndpoint> = endpoints.map(EtcdEndpoint::parse).collect::<Result<_, _>>()?;
        let Some(first) = endpoints.first() else { return Err("--etcd-addr names no address".to_owned()) };
        let root = variable("SSL_ROOT").map(PathBuf::from);
        let in_root = |name: &str| root.as_ref().map(|root| root.join(name)).filter(|path| path.exists());
        let file = |option: &Option<PathBuf>, name: &str| option.clone().or_else(|| in_root(name));
        let tls = match first.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let ca_file = file(&self.etcd_ca, "trust.cer");
                let identity =
                    file(&self.etcd_cert, "server.cer").zip(file(&self.etcd_key, "server_key.pem"));
                Some(EtcdTls {
                    ca_file: ca_file
                        .ok_or("the certificate of etcd cannot be checked: --etcd-ca FILE names its CA")?,
                    identity,
                    password_file: file(&self.etcd_pass_file, "cert_pwd").unwrap_or_default(),
                    server_name: None,
                    verifies_name: true,
                })
            }
        };
        let timeout = session.client.target().timeout;
        Ok(Some(EtcdConfig {
            endpoints,
            connect_timeout: timeout,
            request_timeout: timeout.max(LIMIT),
            sync_interval: None,
            login: None,
            tls,
        }))
    }
}

/// The entries that differ, in the form of `admin/diagnose`, with the name of each.
pub async fn compare(session: &mut Session<'_, '_>, etcd: &EtcdConfig) -> Result<Vec<Value>, Failure> {
    let there = stored(etcd, &PREFIXES).await.map_err(Failure::unreachable)?;
    let dump = session.get("admin/dump?options=cache").await?;
    let here = ["/cache/services", "/cache/instances"].map(|list| items(&dump, list)).concat();
    Ok(differences(&here, &there))
}

/// Compares by key and by the revision of the last write.
fn differences(here: &[Value], there: &[StoredEntry]) -> Vec<Value> {
    let mut left: BTreeMap<&str, &Value> = here.iter().map(|entry| (text(entry, "/key"), entry)).collect();
    let mut found = Vec::new();
    for stored in there {
        let entry = left.remove(stored.key.as_str());
        let revision = entry.and_then(|entry| entry.get("rev")).and_then(Value::as_i64);
        let difference = match revision {
            Some(revision) if revision == stored.revision => continue,
            Some(_) => "different",
            None => "onlyThere",
        };
        // What cannot be read is `unknown`, as in the original.
        let document = serde_json::from_slice(&stored.value).unwrap_or_default();
        let document = entry.map_or(document, |entry| entry["value"].clone());
        found.push(json!({
            "key": stored.key, "difference": difference, "name": named(&document),
            "revisionHere": revision, "revisionThere": stored.revision,
        }));
    }
    found.extend(left.into_iter().map(|(key, entry)| {
        json!({"key": key, "difference": "onlyHere", "name": named(&entry["value"]), "revisionHere": entry["rev"]})
    }));
    found.sort_by(|a, b| text(a, "/key").cmp(text(b, "/key")));
    found
}

/// A service or an instance in the words of the original.
fn named(document: &Value) -> String {
    if document.get("endpoints").is_some() || document.get("instanceId").is_some() {
        format!("[{}]", shown(document, "/endpoints"))
    } else if document.get("serviceName").is_some() {
        service_name(document)
    } else {
        "unknown".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The case of the original's own test: 1 is only in the cache, 2 differs, 3 and 5 are only in etcd, 4 is equal. 5 cannot be read.
    #[test]
    fn the_groups_are_those_of_the_original() {
        let here = |number: i64, revision: i64| {
            let value = json!({"appId": "a", "serviceName": number.to_string(), "version": "1"});
            json!({"key": format!("/{number}"), "rev": revision, "value": value})
        };
        let there = |number: i64, revision: i64, value: &str| StoredEntry {
            key: format!("/{number}"),
            revision,
            value: value.as_bytes().to_vec(),
        };
        let service = r#"{"appId":"a","serviceName":"n","version":"1"}"#;
        let found = differences(
            &[here(1, 1), here(2, 1), here(4, 2)],
            &[there(2, 2, service), there(3, 1, service), there(4, 2, service), there(5, 1, "broken")],
        );
        let found: Vec<[&str; 3]> =
            found.iter().map(|it| ["/key", "/difference", "/name"].map(|part| text(it, part))).collect();
        let expected = [
            ["/1", "onlyHere", "a/1@1"],
            ["/2", "different", "a/2@1"],
            ["/3", "onlyThere", "a/n@1"],
            ["/5", "onlyThere", "unknown"],
        ];
        assert_eq!(found, expected);
    }
}
