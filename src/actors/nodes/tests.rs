//! Two nodes on one store in memory. Each has its own watch, which can lose events.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::actors::lifeline::Lifelines;
use crate::actors::scrub::ScrubParts;
use crate::actors::tests::{PATIENCE, Stage, eventually};
use crate::store::faulty::FaultyStore;

struct Node {
    stage: Stage,
    nodes: Mailbox<NodesActor>,
    alarms: Alarms,
    clock: Clock,
}

impl Node {
    async fn start(store: FaultyStore, name: &str, company: Company) -> Self {
        let stage = Stage::set_on(store).await;
        let (alarms, clock) = (Alarms::default(), Clock::system());
        let lifelines = Lifelines::default();
        lifelines.release();
        let scrub = ScrubParts {
            store: Arc::new(stage.store.clone()),
            reader: stage.reader.clone(),
            freshness: stage.freshness.clone(),
            watch: stage.watch.clone(),
            alarms: alarms.clone(),
            clock: clock.clone(),
            period: None,
        };
        let scrub = Mailbox::start_here(&lifelines, || ScrubActor::new(scrub));
        let parts = NodesParts {
            store: Arc::new(stage.store.clone()),
            reader: stage.reader.clone(),
            freshness: stage.freshness.clone(),
            watch: stage.watch.clone(),
            hub: stage.hub.clone(),
            scrub,
            alarms: alarms.clone(),
            contact: Contact::new(alarms.clone()),
            limits: NodeLimits::default(),
            clock: clock.clone(),
        };
        let facts = NodeFacts {
            node: name.to_owned(),
            endpoint: format!("rest://{name}:30100"),
            api_version: "2.2.0".to_owned(),
            company,
            pace: Duration::from_millis(50),
        };
        let nodes = Mailbox::start_here(&lifelines, || NodesActor::new(parts, facts));
        Self { stage, nodes, alarms, clock }
    }

    async fn list(&self) -> Vec<NodeRow> {
        ask(&self.nodes, ListNodes, PATIENCE).await.unwrap()
    }

    /// What it knows of the other node.
    async fn other(&self) -> Option<(NodeSummary, messages::SeenNode)> {
        self.list().await.into_iter().find_map(|row| match row {
            NodeRow::Other { summary, seen, .. } => Some((summary, seen)),
            _ => None,
        })
    }

    /// Waits until the other node's summary is compared, with this result.
    async fn until(&self, expected: Agreement) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.other().await.is_none_or(|(_, seen)| seen.agreement != expected) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "not {expected:?} within {PATIENCE:?}");
    }

    /// Waits until it knows so many other nodes.
    async fn until_known(&self, count: usize) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while self.list().await.len() != count + 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "not {count} nodes within {PATIENCE:?}");
    }

    /// Whether the alarm is in the list, and whether it is active.
    fn alarm(&self) -> Option<bool> {
        self.alarms.list(self.clock.monotonic()).pop().map(|alarm| alarm.is_active)
    }
}

fn name(row: &NodeRow) -> Option<String> {
    match row {
        NodeRow::Own { summary, .. } | NodeRow::Other { summary, .. } => Some(summary.node.clone()),
        NodeRow::Foreign { .. } => None,
    }
}

/// Two nodes. They share the store behind their faulty ones.
async fn two() -> [Node; 2] {
    let store = crate::actors::tests::store();
    let other = FaultyStore::new(store.inner());
    let one = Node::start(store, "one", Company::Shared).await;
    [one, Node::start(other, "two", Company::Shared).await]
}

#[actix::test]
async fn nodes_know_each_other_and_agree() {
    let [one, two] = two().await;
    one.stage.registered("a").await;
    for node in [&one, &two] {
        node.until(Agreement::Agree).await;
        assert_eq!(node.alarm(), None);
        let mut names: Vec<String> = node.list().await.iter().filter_map(name).collect();
        names.sort();
        assert_eq!(names, ["one", "two"]);
    }
    let (summary, seen) = two.other().await.unwrap();
    assert_eq!((summary.node.as_str(), summary.endpoint.as_str()), ("one", "rest://one:30100"));
    assert!(seen.age_seconds >= 0.0 && summary.services >= 1);
    // It says goodbye.
    ask(&one.nodes, EndSummary, PATIENCE).await.unwrap();
    two.until_known(0).await;
}

/// One of them loses the event of a registration. Both raise the alarm. The store is right, and the node that was wrong is repaired.
#[actix::test]
async fn a_node_that_shows_something_else_is_found_and_repaired() {
    let [one, two] = two().await;
    one.until(Agreement::Agree).await;
    two.until(Agreement::Agree).await;
    two.stage.store.lose_events(|key| key.contains("/inst/"));
    one.stage.registered("a").await;
    eventually("events are lost", || two.stage.store.lost_events() > 1).await;
    two.stage.store.lose_nothing();
    // Something that is not lost, so that both are at one revision again.
    let put = crate::store::Op::Put { key: keys::domain("d9"), value: Bytes::new(), lease: None };
    let txn = crate::store::Txn { then: vec![put], ..Default::default() };
    one.stage.store.inner().batch(vec![txn]).await.remove(0).unwrap();
    // The next summary tells.
    eventually("it is repaired", || two.stage.entry("a").is_some()).await;
    eventually("there was an alarm", || two.alarm().is_some()).await;
    for node in [&one, &two] {
        node.until(Agreement::Agree).await;
        eventually("no alarm goes on", || node.alarm() != Some(true)).await;
    }
}

#[actix::test]
async fn a_node_alone_writes_nothing() {
    let node = Node::start(crate::actors::tests::store(), "one", Company::Alone).await;
    let rows = node.list().await;
    assert!(matches!(rows.as_slice(), [NodeRow::Own { summary, .. }] if summary.node == "one"), "{rows:?}");
    let mut pages = node.stage.store.inner().list(&[keys::NODES]);
    assert_eq!(pages.next().await.unwrap().unwrap().entries, []);
}

/// A summary of another version, and one that nobody could have written.
#[actix::test]
async fn what_cannot_be_read_counts_as_absent() {
    let node = Node::start(crate::actors::tests::store(), "one", Company::Shared).await;
    for value in ["?", "[]", "{\"digest\":\"no\",\"revision\":3,\"node\":\"odd\"}"] {
        let key = keys::node_summary("other");
        let put = crate::store::Op::Put { key, value: value.into(), lease: None };
        let txn = crate::store::Txn { then: vec![put], ..Default::default() };
        node.stage.store.inner().batch(vec![txn]).await.remove(0).unwrap();
    }
    node.until_known(1).await;
    let (summary, seen) = node.other().await.unwrap();
    assert_eq!((summary.node.as_str(), seen.agreement), ("odd", Agreement::Unknown));
}
