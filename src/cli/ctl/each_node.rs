//! Asks each node of a cluster the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{Address, Client, Target};
use super::failure::Failure;
use super::output::{shown, text};
use super::session::Session;

/// For help texts.
pub const HELP: &str = "Ask each node of the cluster, and each address of --addr";

/// What the nodes have answered.
pub struct Answers {
    /// The address of each node, and its items.
    pub of_nodes: Vec<(String, Vec<Value>)>,
    /// Why a node has not answered. Standard error has the reason of each.
    pub failure: Option<Failure>,
}

impl Answers {
    /// The items of all nodes. Each has the address of its node as its member `node`.
    pub fn items(&self) -> Vec<Value> {
        let of_node = |(node, items): &(String, Vec<Value>)| {
            let named = items.iter().map(|item| {
                let mut item = item.clone();
                item["node"] = json!(node);
                item
            });
            named.collect::<Vec<_>>()
        };
        self.of_nodes.iter().flat_map(of_node).collect()
    }

    /// Fails with the exit code of a node that has not answered.
    pub fn complete(self) -> Result<(), Failure> {
        self.failure.map_or(Ok(()), |failure| Err(Failure::silent(failure.code)))
    }
}

/// All items of a list, or the first `most` of each node. With [`Extent::EachNode`], of each node; else of the first.
pub async fn pages(
    session: &mut Session<'_, '_>,
    extent: Extent,
    rest: &str,
    query: &[(&str, String)],
    most: Option<usize>,
) -> Result<Answers, Failure> {
    let mut answers = Answers { of_nodes: Vec::new(), failure: None };
    if extent == Extent::OneNode {
        let items = session.pages(rest, query, most).await?;
        answers.of_nodes.push((session.client.address(), items));
        return Ok(answers);
    }
    for node in nodes(session).await? {
        match ask(session, &node, rest, query, most).await {
            Ok(items) => answers.of_nodes.push((node, items)),
            Err(why) => {
                session.note(&format!("error: {node}: {}", why.text));
                answers.failure = Some(why);
            }
        }
    }
    Ok(answers)
}

/// How many nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    OneNode,
    EachNode,
}

impl Extent {
    pub fn new(all_nodes: bool) -> Self {
        if all_nodes { Self::EachNode } else { Self::OneNode }
    }
}

/// The addresses of all nodes, sorted. A node that has lost the store is in no list, so the addresses of the user count, too.
async fn nodes(session: &mut Session<'_, '_>) -> Result<BTreeSet<String>, Failure> {
    let listed = session.pages("admin/nodes", &[], None).await?;
    // Nodes of the original answer nothing of this.
    let ours = listed.iter().filter(|node| node.get("ours") != Some(&Value::Bool(false)));
    let mut nodes: BTreeSet<String> = ours
        .map(|node| {
            let endpoint = text(node, "/endpoint");
            node_address(endpoint).map_or_else(|_| endpoint.to_owned(), |address| address.to_string())
        })
        .collect();
    // The node that has answered is in its own list, perhaps under another address.
    let answered = session.client.address();
    let others = session.client.target().addresses.iter().map(Address::to_string);
    nodes.extend(others.filter(|address| *address != answered));
    Ok(nodes)
}

/// Asks another node, with the token and the certificates of this one.
async fn ask(
    session: &mut Session<'_, '_>,
    node: &str,
    rest: &str,
    query: &[(&str, String)],
    most: Option<usize>,
) -> Result<Vec<Value>, Failure> {
    let address = Address::parse(node).map_err(Failure::unreachable)?;
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
    let items = session.pages(rest, query, most).await;
    session.client = first;
    items
}

/// The address in the endpoint of a node: `rest://10.12.0.1:30100/?sslEnabled=true` is HTTPS.
fn node_address(endpoint: &str) -> Result<Address, String> {
    let (address, parameters) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let is_https = parameters.split('&').any(|parameter| parameter == "sslEnabled=true");
    Address::parse(&format!("{}://{address}", if is_https { "https" } else { "http" }))
}

/// Sorts events of several nodes by their times.
pub fn sort_events(events: &mut [Value]) {
    events.sort_by_key(|event| shown(event, "/time"));
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
    fn items_name_their_node() {
        let of_nodes =
            vec![("a".to_owned(), vec![json!({"time": "2"})]), ("b".to_owned(), vec![json!({"time": "1"})])];
        let mut items = Answers { of_nodes, failure: None }.items();
        sort_events(&mut items);
        assert_eq!(items, [json!({"time": "1", "node": "b"}), json!({"time": "2", "node": "a"})]);
    }
}
