//! Whether the nodes and etcd hold the same instances with the same documents.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::etcd::Etcd;
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request};

/// The documents of a service's instances, by instance id.
pub type Instances = BTreeMap<String, Value>;

fn by_id(documents: impl IntoIterator<Item = Value>) -> Result<Instances, String> {
    let keyed = documents.into_iter().map(|document| match document["instanceId"].as_str() {
        Some(id) => Ok((id.to_owned(), document)),
        None => Err(format!("no instance: {document}")),
    });
    keyed.collect()
}

/// The instances in etcd of a service of the default project.
pub fn in_etcd(etcd: &Etcd, service: &str) -> Result<Instances, String> {
    let prefix = format!("/cse-sr/inst/files/default/default/{service}/");
    let values = etcd.try_ctl(&["get", "--prefix", "--print-value-only", &prefix])?;
    let documents = values.lines().filter(|line| !line.is_empty());
    let documents: Result<Vec<Value>, _> = documents.map(serde_json::from_str).collect();
    by_id(documents.map_err(|error| error.to_string())?)
}

/// The instances of a service that a node shows from its memory.
pub fn on_node(client: &Client, service: &str) -> Result<Instances, String> {
    let target = format!("/v4/default/registry/microservices/{service}/instances");
    let request = Request::new("GET", &target).header("X-ConsumerId", service);
    let response = client.send(&request).map_err(|error| error.to_string())?;
    if response.status != 200 {
        return Err(format!("{}: {}", response.status, response.text()));
    }
    by_id(response.json()["instances"].as_array().cloned().unwrap_or_default())
}

/// Waits until etcd holds exactly these ids, and each node shows what etcd holds; the documents.
#[track_caller]
pub fn agree_on(nodes: &[&Daemon], etcd: &Etcd, service: &str, ids: &[String]) -> Instances {
    let mut wanted = ids.to_vec();
    wanted.sort();
    eventually(GENEROUS, || {
        let held = in_etcd(etcd, service)?;
        let found: Vec<String> = held.keys().cloned().collect();
        if found != wanted {
            return Err(format!("etcd holds {}", difference(&found, &wanted)));
        }
        all_show(nodes, service, &held)?;
        Ok(held)
    })
}

/// Waits until each node shows exactly what etcd holds, whatever that is.
#[track_caller]
pub fn agree(nodes: &[&Daemon], etcd: &Etcd, service: &str) -> Instances {
    eventually(GENEROUS, || {
        let held = in_etcd(etcd, service)?;
        all_show(nodes, service, &held).map(|()| held)
    })
}

fn all_show(nodes: &[&Daemon], service: &str, held: &Instances) -> Result<(), String> {
    for node in nodes {
        let shown = on_node(&node.client(), service)?;
        if shown != *held {
            let names = |of: &Instances| of.keys().cloned().collect::<Vec<_>>();
            let address = node.address();
            return Err(format!("{address} shows {}", difference(&names(&shown), &names(held))));
        }
    }
    Ok(())
}

/// The ids that should not be there, and the missing ones. If both are empty, the documents differ.
fn difference(found: &[String], wanted: &[String]) -> String {
    let without = |these: &[String], those: &[String]| -> Vec<String> {
        let those: BTreeSet<&String> = those.iter().collect();
        these.iter().filter(|id| !those.contains(id)).take(5).cloned().collect()
    };
    let (extra, missing) = (without(found, wanted), without(wanted, found));
    format!("{} instances; too many: {extra:?}…, missing: {missing:?}…", found.len())
}
